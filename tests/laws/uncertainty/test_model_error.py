"""Model error: none by chance, and the size of what is there."""

import numpy as np
import pytest

from scaling.laws.uncertainty.model_error import FoldError, error_per_efold


def folds(error, variance, distance):
    return [FoldError(*map(float, each), True) for each in zip(error, variance, distance)]


def test_no_folds_say_nothing():
    assert error_per_efold([]) == 0.0


def test_a_large_error_is_found_at_its_size():
    """Errors of 1% per e-fold, known to 0.01%."""
    distance = np.array([0.5, 1.0, 2.0])
    found = error_per_efold(folds(0.01 * distance, np.full(3, 1e-8), distance))
    assert found == pytest.approx(0.01, rel=1e-2)


def test_errors_of_the_size_that_noise_gives_add_little():
    """Half of all sweeps add nothing; the rest no more than their folds can tell."""
    rng = np.random.default_rng(0)
    deviation, variance = 0.01, np.full(6, 1e-4)
    added = [error_per_efold(folds(deviation * rng.standard_normal(6), variance, np.ones(6)))
             for _ in range(400)]
    assert 0.4 < np.mean(np.array(added) == 0) < 0.75
    assert np.sqrt(np.mean(np.square(added))) < deviation


def test_a_fold_that_knows_more_counts_more():
    sure, vague = FoldError(0.002, 1e-8, 1.0, True), FoldError(0.5, 0.2, 1.0, True)
    assert error_per_efold([sure, vague]) == pytest.approx(0.002, rel=0.05)


def test_it_does_not_depend_on_the_unit_of_loss():
    one = folds([0.01, 0.03], [1e-5, 2e-5], [1.0, 1.2])
    two = folds([0.02, 0.06], [4e-5, 8e-5], [1.0, 1.2])
    assert error_per_efold(two) == pytest.approx(2 * error_per_efold(one))
