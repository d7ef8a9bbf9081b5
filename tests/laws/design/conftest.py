"""Laws of synthetic sweeps, and refits of them."""

import numpy as np
import pytest

from scaling.laws import fit


@pytest.fixture(scope="session")
def law(surface):
    """Of a sweep of 4 budgets x 6 sizes with run-to-run noise of 0.3%."""
    runs = surface.sweep()
    noise = 0.003 * np.random.default_rng(1).standard_normal(len(runs))
    return fit("chinchilla", runs.assign(loss=runs.loss * np.exp(noise)), bootstrap=100, holdout=False)


@pytest.fixture(scope="session")
def exact(surface):
    """Of the noise-free sweep, by least squares: the truth, and a way to refit."""
    return fit("chinchilla", surface.sweep(), bootstrap=20, objective="log_squares", holdout=False)


@pytest.fixture(scope="session")
def deviation():
    """Monte-Carlo standard deviation of a target over refits of a point fit to noisy losses."""

    def of(point, log_loss, noise, goal, draws=1500):
        rng = np.random.default_rng(0)
        noisy = log_loss + noise * rng.standard_normal((draws, len(log_loss)))
        theta, good = point.refit(noisy, np.ones((1, len(log_loss))))
        assert good.mean() > 0.99
        return goal.function(theta[good]).std()

    return of
