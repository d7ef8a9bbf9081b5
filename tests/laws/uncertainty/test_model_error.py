"""Model error: none by chance, and the size of what is there."""

import numpy as np
import pytest

from scaling.laws.uncertainty.model_error import FoldError, ModelError, model_error

REPLICATES = 200


def fold(errors, law=0.0, noise=0.01, distance=1.0, seed=0):
    """A fold whose law is known to a standard deviation `law`, the same at every row."""
    errors = np.atleast_1d(np.asarray(errors, float))
    shared = law * np.random.default_rng([9, seed]).standard_normal((REPLICATES, 1))
    return FoldError(errors, np.repeat(shared, len(errors), axis=1), noise, distance)


def test_no_folds_say_nothing():
    assert model_error([]) == ModelError(0.0, 0)


def test_a_large_error_is_found_at_its_size():
    """Errors of 1% per e-fold, known to 0.01%."""
    found = model_error([fold(0.01 * d, noise=1e-4, distance=d) for d in (0.5, 1.0, 2.0)])
    assert found.per_efold == pytest.approx(0.01, rel=1e-2) and found.folds == 3
    assert found.at(3.0) == pytest.approx(0.03, rel=1e-2)
    assert found.at(0.0) == found.at(-1.0) == 0.0


def test_errors_of_the_size_that_noise_gives_add_little():
    """Right forms: 10 runs a fold, 3 folds. Two tests at 30% find something in 30 to 51% of the sweeps if
    they were certain; where they do, no more than the folds' own noise."""
    rng = np.random.default_rng(0)
    added = np.array([
        model_error([fold(0.01 * rng.standard_normal(10), seed=i) for _ in range(3)]).per_efold
        for i in range(400)
    ])
    assert 0.49 < np.mean(added == 0) < 0.9
    assert np.sqrt(np.mean(added**2)) < 0.01 / 2


def test_errors_that_cancel_in_the_mean_are_seen():
    """A form that is off in opposite ways at small and large sizes."""
    found = model_error([fold(np.tile([0.05, -0.05], 5), noise=0.01)])
    assert found.per_efold == pytest.approx(0.05, rel=0.05)


def test_a_shared_error_within_the_laws_own_uncertainty_is_none():
    """All rows off by one standard deviation of the law: many rows are not many witnesses."""
    assert model_error([fold(np.full(20, 0.03), law=0.03, noise=0.003)]).per_efold < 0.015


def test_a_shared_error_that_noise_hides_row_by_row_is_seen_in_the_mean():
    rng = np.random.default_rng(1)
    found = model_error([fold(0.006 + 0.01 * rng.standard_normal(60)) for _ in range(3)])
    assert found.per_efold > 0.002


def test_a_fold_that_knows_more_counts_more():
    sure, vague = fold(0.002, noise=1e-4), fold(0.5, noise=0.45)
    assert model_error([sure, vague]).per_efold == pytest.approx(0.002, rel=0.05)


def test_it_does_not_depend_on_the_unit_of_loss():
    one = model_error([fold([0.01, 0.03], noise=0.003), fold(0.02, noise=0.004, distance=1.2)])
    two = model_error([fold([0.02, 0.06], noise=0.006), fold(0.04, noise=0.008, distance=1.2)])
    assert two.per_efold == pytest.approx(2 * one.per_efold) and one.per_efold > 0
