"""A law that is a straight line in logs, where every answer is known in closed form; one that is not."""

import dataclasses

import numpy as np
import pytest

from scaling.laws.fitting.point_fit import PointFit, fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.forms.power import PURE_POWER_LAW


@dataclasses.dataclass(frozen=True)
class Line:
    """log y = a - alpha log x by least squares, from runs of `run_of_row`; and its textbook answers."""

    x: np.ndarray
    y: np.ndarray
    run_of_row: np.ndarray
    point: PointFit

    @classmethod
    def of(cls, runs=20, rows_per_run=1, noise=0.02, seed=0, size=None):
        """size: (runs,) of the noise, times `noise`. Rows of one run share half of their noise."""
        rng = np.random.default_rng(seed)
        run = np.repeat(np.arange(runs), rows_per_run)
        x = np.exp(rng.uniform(0, 6, len(run)))
        shared, own = rng.standard_normal(runs)[run], rng.standard_normal(len(run))
        noise = noise * (np.ones(runs) if size is None else size)[run]
        mixed = own if rows_per_run == 1 else (shared + own) / np.sqrt(2)
        y = 3.0 * x**-0.3 * np.exp(noise * mixed)
        return cls(x, y, run, cls.fit(x, y))

    @staticmethod
    def fit(x, y, **options):
        return fit_form(PURE_POWER_LAW, {"x": x}, y, **{"objective": "log_squares", "starts": 8, **options})

    @property
    def design(self):
        return np.column_stack([np.ones(len(self.x)), -np.log(self.x)])

    @property
    def residuals(self):
        return np.log(self.y) - self.design @ np.linalg.lstsq(self.design, np.log(self.y), rcond=None)[0]

    def without(self, run):
        """Residuals of a run's rows about the line through all other runs."""
        inside = self.run_of_row != run
        line = np.linalg.lstsq(self.design[inside], np.log(self.y[inside]), rcond=None)[0]
        return (np.log(self.y) - self.design @ line)[~inside]

    @property
    def standard_error(self):
        """Of alpha by HC3 (CR3 by run): the sandwich of leave-one-run-out residuals."""
        bread = np.linalg.inv(self.design.T @ self.design)
        scores = np.stack([
            self.design[self.run_of_row == run].T @ self.without(run) for run in np.unique(self.run_of_row)
        ])
        return float(np.sqrt((bread @ scores.T @ scores @ bread)[1, 1]))


@pytest.fixture(scope="session")
def line():
    return Line.of()


@pytest.fixture(scope="session")
def checkpoints():
    """Eight runs of four checkpoints each."""
    return Line.of(runs=8, rows_per_run=4)


@pytest.fixture(scope="session")
def chinchilla_point():
    """(point, run_of_row) of 40 runs with 1% noise, delta 1e-3."""
    rng = np.random.default_rng(3)
    n, d = np.exp(rng.uniform(17, 22, 40)), np.exp(rng.uniform(20, 25, 40))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(0.004 * rng.standard_normal(40))
    return fit_form(CHINCHILLA, {"n_params": n, "n_tokens": d}, loss, 1e-3, 24), np.arange(40)


@pytest.fixture(scope="session")
def make_line():
    return Line.of


@pytest.fixture(scope="session")
def fit_line():
    return Line.fit
