"""The data folder, and a form refitted to some of its rows with intervals."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from scaling.errors import UserError
from scaling.laws.fitting.point_fit import PointFit, fit_form
from scaling.laws.forms.grammar import Form
from scaling.laws.uncertainty.bootstrap import case_weights, clusters, interval

LEVEL = 0.9


class MissingTable(UserError):
    """A data set that the folder lacks."""


@dataclasses.dataclass(frozen=True)
class Published:
    """Folder of normalised CSVs (`tools/fetch_published.py` lists them); bootstrap replicates a fit."""

    folder: pathlib.Path
    replicates: int = 400

    def read(self, name: str) -> pd.DataFrame:
        path = self.folder / name
        if not path.is_file():
            raise MissingTable(f"no {name} in {self.folder}; tools/fetch_published.py --list says whence")
        return pd.read_csv(path)


@dataclasses.dataclass(frozen=True)
class Refit:
    """The optimum, and natural coordinates of the resampled optima, (replicates, p); None without."""

    point: PointFit
    draws: np.ndarray | None

    @property
    def params(self) -> dict[str, float]:
        return self.point.params

    def interval(self, name: str) -> list[float] | None:
        where = self.point.form.names.index(name)
        return self.interval_of(lambda theta: self.point.form.values(theta)[..., where])

    def interval_of(self, quantity: Callable[[np.ndarray], np.ndarray]) -> list[float] | None:
        """Of a function of natural coordinates (..., p)."""
        return None if self.draws is None else interval(quantity(self.draws), LEVEL)

    def excess(self, published: dict[str, float]) -> float:
        """The objective at published parameters over its optimum, minus 1."""
        at = self.point.centring.to_centred(self.point.form.theta(published))
        return float(self.point.problem.value(at[None])[0] / self.point.objective - 1.0)


def refit(
    form: Form,
    columns: dict[str, np.ndarray],
    target: np.ndarray,
    runs: np.ndarray | None = None,
    replicates: int = 0,
    seed: int = 0,
    **options,
) -> Refit:
    """runs: names of the runs that rows belong to, (rows,); each row is a run of its own without them.

    options: of `fit_form`. Replicates draw whole runs with replacement.
    """
    point = fit_form(form, columns, target, **options)
    draws = None
    if replicates:
        rows = np.arange(len(target)) if runs is None else clusters(tuple(runs))
        theta, good = point.refit(np.log(target)[None], case_weights(rows, replicates, seed))
        draws = theta[good]
    return Refit(point, draws)


def columns_of(frame: pd.DataFrame, *names: str, **renamed: str) -> dict[str, np.ndarray]:
    """Columns as float64; `n_params="n_nonemb"` reads one under another name."""
    return {new: frame[old].to_numpy(float) for new, old in ({n: n for n in names} | renamed).items()}
