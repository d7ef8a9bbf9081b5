"""The frozen runs of experiments/unique_tokens: what its README says of them."""

import importlib.util
import pathlib

import numpy as np
import pandas as pd
import pytest

from scaling.gin_config import load_study
from scaling.sweeps.plan import plan

HOME = pathlib.Path(__file__).parents[2] / "experiments" / "unique_tokens"
spec = importlib.util.spec_from_file_location("unique_tokens_figure", HOME / "figure.py")
figure = importlib.util.module_from_spec(spec)
spec.loader.exec_module(figure)


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_csv(HOME / "results.csv")


def test_the_frozen_runs_are_those_that_the_gin_file_plans(runs):
    planned = plan(load_study("sweeps/unique_tokens.gin").config)
    assert {e.run_id for e in planned} == set(runs.run_id)
    assert (runs.status == "ok").all() and (runs.n_unique_tokens <= runs.subset).all()


def test_less_text_is_never_better_beyond_noise(runs):
    """Noise of a run: 0.019 nats (transferred_sweep), of a difference of two 0.027."""
    wide = figure.losses(runs)
    assert (np.diff(wide.to_numpy(), axis=1) < 2.5 * 0.027).all()


def test_a_token_read_again_is_worth_less_than_a_fresh_one():
    """D' / U: 1 at one epoch, rising less than the epochs do, towards 1 + R."""
    epochs = np.array([1.0, 2.0, 5.0, 1000.0])
    counted = figure.counted(epochs, 4.0)
    assert counted[0] == 1 and (counted[1:] < epochs[1:]).all() and counted[-1] == pytest.approx(5.0)
