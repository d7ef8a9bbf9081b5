"""The posterior: the textbook's on a straight line, honest about its chain, refused where it is wrong."""

import sys

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.uncertainty.posterior import posterior


def test_without_emcee_there_is_one_clear_line(line, monkeypatch):
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(UserError, match=r"needs emcee: pip install 'scaling\[posterior\]'"):
        posterior(line.point, line.run_of_row)


def test_on_a_line_it_is_that_of_the_normal_theory(make_line):
    """Flat priors, nearly normal noise, 200 runs: its mean is Huber's fit, its deviation that of alpha."""
    pytest.importorskip("emcee")
    line = make_line(runs=200, seed=3)
    found = posterior(line.point, line.run_of_row, samples=4000, seed=1)
    assert found.converged and 0.2 < found.acceptance < 0.9
    variance = (line.residuals**2).sum() / 198 * np.linalg.inv(line.design.T @ line.design)[1, 1]
    alpha = found.draws[:, 1]
    assert alpha.std() == pytest.approx(np.sqrt(variance), rel=0.12)
    huber = line.fit(line.x, line.y, objective="huber_log", delta=1.345 * line.residuals.std())
    assert abs(alpha.mean() - huber.params["alpha"]) < 0.3 * np.sqrt(variance)
    assert np.median(found.deviation) == pytest.approx(line.residuals.std(), rel=0.12)


def test_same_seed_same_chain(line):
    pytest.importorskip("emcee")
    one, same = (posterior(line.point, line.run_of_row, 50, seed=2, most_steps=200) for _ in "ab")
    np.testing.assert_array_equal(one.draws, same.draws)
    assert not one.converged  # 200 steps are too few, and it says so


def test_rows_of_one_run_are_refused(checkpoints):
    pytest.importorskip("emcee")
    with pytest.raises(UserError, match="several rows of one run"):
        posterior(checkpoints.point, checkpoints.run_of_row)
