"""The grammar of laws: parameters with their kinds, and forms made of them.

A form says what a law predicts from which columns. Two kinds share one interface:

- `SumOfPowers`: sum_k coefficient_k * prod column^-exponent. A log-sum-exp of expressions linear in
  the free numbers, fitted with exact derivatives in NumPy (`fitting/log_sum_exp.py`).
- `SmoothForm`: any positive smooth function, written once for NumPy and JAX; derivatives by JAX
  (`fitting/traced.py`).

`theta` are the *natural coordinates*, in the order of `Form.names`: the log of a coefficient, of a
constant and of a positive parameter, the value of an exponent and of a real one. Fits run in centred
coordinates (`forms/coordinates.py`), where the parameters hardly trade against each other.

Where a column is asked for, "1/n_tokens" stands for the reciprocal of n_tokens: `term("c", b="1/n_tokens")`
is c D^b, a term that grows.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from scaling.config import did_you_mean
from scaling.errors import UserError

_MOST = 20.0  # of an exponent: L = x^-20 halves over 3.5% of x, no law of training does


def direction(column: str) -> tuple[str, float]:
    """The column, and 1 for itself or -1 for its reciprocal, of "n_tokens" or "1/n_tokens"."""
    return (column[2:], -1.0) if column.startswith("1/") else (column, 1.0)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One free number of a form; made by `constant`, `coefficient`, `exponent`, `positive`, `real`.

    low, high: closed bounds, in the parameter's own units. start: range from which starts are drawn
    (a constant and a coefficient start as a share of the typical loss instead). powers: of a
    coefficient, (exponent or number, column) pairs of its term coefficient * prod column^-exponent.
    unit: of a positive parameter, the column in whose geometric mean `start` and bounds are counted.
    """

    name: str
    kind: str
    low: float
    high: float
    start: tuple[float, float]
    powers: tuple[tuple[str | float, str], ...] = ()
    unit: str | None = None

    @property
    def logarithmic(self) -> bool:
        """Whether theta holds its log."""
        return self.kind in ("constant", "coefficient", "positive")


def constant(name: str) -> Parameter:
    """An irreducible part of the prediction: at least 0, and 0 is an ordinary value."""
    return Parameter(name, "constant", 0.0, np.inf, (0.0, 1.0))


def coefficient(name: str, **powers: str) -> Parameter:
    """What multiplies prod column^-exponent: `coefficient("A", alpha="n_params")`."""
    return Parameter(name, "coefficient", 0.0, np.inf, (0.0, 1.0), tuple(powers.items()))


def exponent(name: str, low: float = 0.0, high: float = _MOST, start=(0.05, 1.0)) -> Parameter:
    return Parameter(name, "exponent", low, high, start)


def positive(name: str, start=(0.1, 10.0), low=1e-12, high=1e12, unit: str | None = None) -> Parameter:
    """A scale: searched in its log, within [low, high] (times the unit's geometric mean, if any)."""
    return Parameter(name, "positive", low, high, start, unit=unit)


def real(name: str, start=(-1.0, 1.0), low: float = -np.inf, high: float = np.inf) -> Parameter:
    return Parameter(name, "real", low, high, start)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """A law as data. source: the paper. formula: as a reader writes it. target: column it predicts.

    closed_form: for laws of N and D, the compute-optimal (N, D) if a formula gives it: (parameters by
    name, flops, FlopsRelation) -> (n_params, n_tokens). objective: what its fits minimise unless told.
    steady: columns that may be the same in all runs and still leave every parameter its effect.
    fixed: parameters held, (name, value) pairs, in their own units.
    """

    name: str
    source: str
    formula: str
    target: str = "loss"
    closed_form: Callable | None = None
    objective: str = "huber_log"
    steady: tuple[str, ...] = ()
    fixed: tuple[tuple[str, float], ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        raise NotImplementedError

    def given(self, theta, xp=np) -> SimpleNamespace:
        """Every parameter by name, held ones too, in its own units, from natural coordinates (..., p)."""
        values = dict(self.fixed)
        for i, parameter in enumerate(self.parameters):
            at = theta[..., i]
            values[parameter.name] = xp.exp(at) if parameter.logarithmic else at
        return SimpleNamespace(**values)

    def predict(self, theta, columns: dict, xp=np):
        """Prediction for natural coordinates (..., p) given columns that broadcast with (..., points)."""
        return self.value(self.given(theta[..., None, :], xp), SimpleNamespace(**columns), xp)

    def log_value(self, theta: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Log of the prediction; theta (draws, p) or (p,), columns (points,) -> (draws, points)."""
        raise NotImplementedError

    @property
    def allocation(self) -> Callable | None:
        """(theta (..., p), flops, FlopsRelation) -> compute-optimal (n_params, n_tokens): in closed form
        or by search; None for a law that is not one of the loss by N and D alone."""
        from scaling.laws.allocation import allocate

        both = {"n_params", "n_tokens"}
        of_both = self.target == "loss" and both <= set(self.columns) <= {*both, "flops"}
        return functools.partial(allocate, self) if of_both else None

    def fix(self, **values: float) -> "Form":
        """The same form with some parameters held at given values (in their own units)."""
        self._check(values)
        return dataclasses.replace(self, fixed=self.fixed + tuple(values.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters by the paper's names, in the order of `theta`."""
        return tuple(p.name for p in self.parameters)

    def log_loss(self, theta: np.ndarray, logs: dict[str, np.ndarray]) -> np.ndarray:
        """`log_value` from the natural logs of the columns."""
        return self.log_value(theta, {name: np.exp(logs[name]) for name in self.columns})

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Natural coordinates (..., p) -> parameters in their own units (..., p)."""
        with np.errstate(over="ignore"):
            return np.where([p.logarithmic for p in self.parameters], np.exp(theta), theta)

    def theta(self, values: dict[str, float]) -> np.ndarray:
        """Parameters by name -> natural coordinates (p,)."""
        at = np.array([values[name] for name in self.names], float)
        logs = np.log(np.maximum(at, 1e-300), where=at > 0, out=np.full(at.shape, np.log(1e-300)))
        return np.where([p.logarithmic for p in self.parameters], logs, at)

    def named(self, theta: np.ndarray) -> dict[str, float]:
        return {name: float(value) for name, value in zip(self.names, self.values(theta))}

    def _check(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if name not in self.names:
                raise UserError(f"{self.name}: no parameter {name!r}{did_you_mean(name, self.names)}")
            if not np.isfinite(value) or (self.parameters[self.names.index(name)].logarithmic
                                          and value <= 0):
                raise UserError(f"{self.name}: {name} = {value!r}: expected a positive number")


@dataclasses.dataclass(frozen=True)
class Term:
    """coefficient * prod over (exponent, column) of column^-exponent; no pairs is a constant."""

    coefficient: str
    powers: tuple[tuple[str, str], ...] = ()


def term(name: str, **powers: str) -> Term:
    """`term("A", alpha="n_params")` is A / N^alpha; `term("E")` is a constant."""
    return Term(name, tuple(powers.items()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SumOfPowers(Form):
    """A sum of power terms. signed: exponents that may have either sign."""

    terms: tuple[Term, ...]
    signed: tuple[str, ...] = ()

    @property
    def coefficients(self) -> tuple[str, ...]:
        return tuple(t.coefficient for t in self.terms)

    @property
    def exponents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for t in self.terms for name, _ in t.powers))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Free coefficients and constants in the order of the terms, then free exponents."""
        held = dict(self.fixed)
        every = [
            dataclasses.replace(
                coefficient(t.coefficient) if t.powers else constant(t.coefficient),
                powers=tuple((held.get(e, e), c) for e, c in t.powers),
            )
            for t in self.terms
        ] + [exponent(name, -_MOST, start=(-1.0, 1.0)) if name in self.signed else exponent(name)
             for name in self.exponents]
        return tuple(p for p in every if p.name not in held)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(direction(column)[0] for t in self.terms for _, column in t.powers))

    def design(self, logs: dict[str, np.ndarray], n_points: int) -> tuple[np.ndarray, np.ndarray]:
        """M (points, terms, p) and m (points, terms) with log(term) = M . theta + m.

        `logs` maps each column to the natural logs of its values, shape (points,).
        """
        held, where = dict(self.fixed), {name: i for i, name in enumerate(self.names)}
        matrix = np.zeros((n_points, len(self.terms), len(where)))
        offset = np.zeros((n_points, len(self.terms)))
        for k, t in enumerate(self.terms):
            if t.coefficient in where:
                matrix[:, k, where[t.coefficient]] = 1.0
            else:
                offset[:, k] += np.log(held[t.coefficient])
            for name, column in t.powers:
                column, sign = direction(column)
                if name in where:
                    matrix[:, k, where[name]] -= sign * logs[column]
                else:
                    offset[:, k] -= sign * held[name] * logs[column]
        return matrix, offset

    def value(self, p, x, xp):
        """As `SmoothForm.value`."""
        p, x, total = vars(p), vars(x), 0.0
        for t in self.terms:
            part = p[t.coefficient]
            for name, column in t.powers:
                column, sign = direction(column)
                part = part * x[column] ** (-sign * p[name])
            total = total + part
        return total

    def log_value(self, theta: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
        return self.log_loss(theta, {name: np.log(columns[name]) for name in self.columns})

    def log_loss(self, theta: np.ndarray, logs: dict[str, np.ndarray]) -> np.ndarray:
        n_points = len(next(iter(logs.values()))) if logs else 1
        matrix, offset = self.design(logs, n_points)
        theta = np.atleast_2d(theta)
        n, k, p = matrix.shape
        terms = (theta @ matrix.reshape(n * k, p).T).reshape(len(theta), n, k) + offset
        return np.logaddexp.reduce(terms, axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmoothForm(Form):
    """A form by a function: `value(p, x, xp)` with p.NAME the parameters in their own units, x.COLUMN
    the columns, and xp the array library (`numpy` or `jax.numpy`). It broadcasts, and is positive."""

    free: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    value: Callable

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        held = dict(self.fixed)
        return tuple(
            dataclasses.replace(p, powers=tuple((held.get(e, e), c) for e, c in p.powers))
            for p in self.free
            if p.name not in held
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inputs

    def log_value(self, theta: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
        x = {name: np.asarray(columns[name], float) for name in self.columns}
        with np.errstate(all="ignore"):
            return np.log(self.predict(np.atleast_2d(theta), x))
