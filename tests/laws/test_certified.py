"""Certificates: the optimum is proven, a worse point never is."""

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws import fit
from scaling.laws.certified import certificate_line, certify_fit
from scaling.laws.fitting.certificate import certify


@pytest.fixture(scope="module")
def law(surface):
    return fit("chinchilla", surface.sweep(np.random.default_rng(3), noise=0.012), bootstrap=20,
               delta=0.01, holdout=False)


def claim(law, objective):
    logs = [np.log(law.runs.n_params), np.log(law.runs.n_tokens)]
    return certify(logs, np.log(law.runs.loss), np.ones(len(law.runs)), 0.01, objective, most_seconds=60)


def test_the_optimum_is_certified(law):
    found = certify_fit(law, most_seconds=60)
    assert found.certified and found.counterexample is None
    assert found.gap <= 1e-3 * (1 + 1e-9)
    assert found.lower_bound <= law.point.objective
    assert "no parameters with exponents in [0, 3]" in certificate_line(found)


def test_a_worse_objective_is_refuted_with_parameters_that_are_lower(law):
    found = claim(law, 1.05 * law.point.objective)
    assert not found.certified
    if found.counterexample is not None:
        lower = found.counterexample
        parts = lower["E"] + sum(a * column**-e for a, e, column in zip(
            lower["coefficients"], lower["exponents"], (law.runs.n_params, law.runs.n_tokens)))
        r = np.log(parts) - np.log(law.runs.loss)
        value = np.where(np.abs(r) <= 0.01, r**2 / 2, 0.01 * (np.abs(r) - 0.005)).sum()
        assert value == pytest.approx(lower["objective"], rel=1e-6)
        assert law.point.objective * (1 - 1e-3) <= value < 1.05 * law.point.objective


def test_no_bound_passes_the_best_law_known(law):
    """The bound holds for every law, so also for the fit itself."""
    assert claim(law, 1.2 * law.point.objective).lower_bound <= law.point.objective * (1 + 1e-12)


def test_other_shapes_and_raw_residuals_are_refused(surface):
    runs = surface.sweep(np.random.default_rng(3), noise=0.012)
    for name, options in (("chinchilla_shared", {}), ("chinchilla", {"objective": "squares"})):
        with pytest.raises(UserError, match="--certify is for"):
            certify_fit(fit(name, runs, bootstrap=20, holdout=False, **options))
