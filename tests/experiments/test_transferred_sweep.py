"""The frozen runs of experiments/transferred_sweep: what its README says of them."""

import pathlib
import sys

import numpy as np
import pytest

HOME = pathlib.Path(__file__).parents[2] / "experiments" / "transferred_sweep"
sys.path.insert(0, str(HOME))

import compare  # noqa: E402

from scaling.gin_config import load_study, load_transfer_study  # noqa: E402
from scaling.laws.approaches.isoflop import fit_isoflop  # noqa: E402
from scaling.laws.table.runs import usable_runs  # noqa: E402


@pytest.fixture(scope="module")
def runs():
    return compare.read_results()[0]


def test_the_arms_are_compared_at_the_same_sizes_and_tokens(runs):
    assert (runs.status == "ok").all() and runs.groupby("arm").size().to_dict() == dict.fromkeys(
        compare.ARMS, 23
    )
    tokens = runs.pivot(index=["budget", "d_model"], columns="arm", values="n_tokens")
    assert (tokens.nunique(axis=1) == 1).all()
    assert runs[runs.arm == "fixed"].learning_rate.nunique() == 1


def test_a_fixed_rate_loses_with_width_and_not_at_the_base(runs):
    wide = runs.pivot(index=["d_model", "budget"], columns="arm", values="loss")
    less = (wide.fixed - wide.transferred).groupby("d_model").mean()
    assert less[96] > 0.1 and less[64] > 0.02 and abs(less[32]) < 0.019  # the noise of a run
    assert np.polyfit(np.log2(less.index), less, 1)[0] > 0


def test_a_fixed_rate_bends_the_law_to_small_models(runs):
    exponents = {}
    for arm in compare.ARMS:
        table = usable_runs(runs[runs.arm == arm].reset_index(drop=True), "runs")
        exponents[arm] = fit_isoflop(table, bootstrap=50).exponents["n_opt"]
    assert exponents["transferred"] - exponents["fixed"] > 0.05
    assert exponents["rule"] - exponents["fixed"] > 0.05


def test_the_run_that_the_fixed_arm_s_law_chose_is_worse_at_equal_compute():
    targets = compare.read_results()[1]
    assert targets.train_flops.to_numpy() == pytest.approx(1.4e13, rel=0.01)
    assert targets.d_model["fixed"] < targets.d_model["transferred"]
    assert targets.loss["fixed"] - targets.loss["transferred"] > 3 * 0.019  # the noise of a run


def test_the_proxies_are_of_the_sweep_s_family():
    """Else `scaling plan --transfer` would refuse the file."""
    study = load_study("sweeps/demo.gin").config.base
    base = load_transfer_study(str(HOME / "tune.gin")).config.base
    assert base.data == study.data and base.parametrization == study.parametrization
    assert base.schedule == study.schedule and base.batch_size == 4
