"""Functional forms as sums of power terms: loss = sum_k coefficient_k * prod column^-exponent.

Every form here is a log-sum-exp of expressions linear in its free numbers (the logs of the
coefficients, and the exponents), which is what lets one solver fit all of them to the exact
optimum. A form is data: adding one is naming its terms.

Coordinates. `theta` has the logs of the coefficients first, then the exponents, in the order of
`Form.parameters`. Fits run in *centred* coordinates (logs of the columns minus their mean, the
exponents times the columns' spread), where the terms are far less correlated, with the square
roots of constant terms in place of their logs (`objective.LogHuber` says why).
"""

import dataclasses

import numpy as np

from scaling.laws.fitting.objective import TINY


@dataclasses.dataclass(frozen=True)
class Term:
    """coefficient * prod over (exponent, column) of column^-exponent; no pairs is a constant."""

    coefficient: str
    powers: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Form:
    """A law by its terms. `source` is where the form comes from."""

    name: str
    terms: tuple[Term, ...]
    source: str

    @property
    def coefficients(self) -> tuple[str, ...]:
        return tuple(term.coefficient for term in self.terms)

    @property
    def exponents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for term in self.terms for name, _ in term.powers))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names by the paper, in the order of `theta`: coefficients, then exponents."""
        return self.coefficients + self.exponents

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for term in self.terms for _, column in term.powers))

    def design(self, logs: dict[str, np.ndarray]) -> np.ndarray:
        """M with log(term_k at point i) = M[i, k] . theta; shape (points, terms, parameters).

        `logs` maps each column to the natural logs of its values, shape (points,).
        """
        n_points = len(next(iter(logs.values())))
        where = {name: i for i, name in enumerate(self.parameters)}
        matrix = np.zeros((n_points, len(self.terms), len(where)))
        for k, term in enumerate(self.terms):
            matrix[:, k, where[term.coefficient]] = 1.0
            for exponent, column in term.powers:
                matrix[:, k, where[exponent]] -= logs[column]
        return matrix

    def log_loss(self, theta: np.ndarray, logs: dict[str, np.ndarray]) -> np.ndarray:
        """Log of the law's value; theta (draws, parameters) -> (draws, points)."""
        terms = np.einsum("rj,ikj->rik", np.atleast_2d(theta), self.design(logs))
        return np.logaddexp.reduce(terms, axis=-1)

    def named(self, theta: np.ndarray) -> dict[str, float]:
        """Parameters by name, coefficients exponentiated; one theta, shape (parameters,)."""
        n = len(self.terms)
        values = np.concatenate([np.exp(theta[:n]), theta[n:]])
        return {name: float(value) for name, value in zip(self.parameters, values)}


@dataclasses.dataclass(frozen=True)
class Centring:
    """The linear map between natural and centred coordinates of one data set.

    shift: (terms, parameters) mean over points of the design's exponent part.
    scale: (exponents,) spread of each exponent's log column.
    roots: (parameters,) the coefficients of constant terms.
    """

    shift: np.ndarray
    scale: np.ndarray
    roots: np.ndarray

    @classmethod
    def of(cls, form: Form, design: np.ndarray) -> "Centring":
        n_terms = len(form.terms)
        part = design[:, :, n_terms:]
        spread = part.std(axis=0).max(axis=0)
        roots = np.array([not t.powers for t in form.terms] + [False] * len(form.exponents))
        return cls(part.mean(axis=0), np.where(spread > 0, spread, 1.0), roots)

    def centred_design(self, design: np.ndarray) -> np.ndarray:
        n_terms = design.shape[1]
        out = design.copy()
        out[:, :, n_terms:] = (out[:, :, n_terms:] - self.shift) / self.scale
        return out

    def to_natural(self, centred: np.ndarray) -> np.ndarray:
        """(..., parameters) centred -> natural."""
        n_terms = len(self.shift)
        exponents = centred[..., n_terms:] / self.scale
        root = np.maximum(np.abs(centred), TINY)
        coefficients = np.where(self.roots, 2 * np.log(root), centred)[..., :n_terms]
        coefficients = coefficients - exponents @ self.shift.T
        return np.concatenate([coefficients, exponents], axis=-1)

    def to_centred(self, natural: np.ndarray) -> np.ndarray:
        n_terms = len(self.shift)
        exponents = natural[..., n_terms:]
        coefficients = natural[..., :n_terms] + exponents @ self.shift.T
        coefficients = np.where(self.roots[:n_terms], np.exp(coefficients / 2), coefficients)
        return np.concatenate([coefficients, exponents * self.scale], axis=-1)


CHINCHILLA = Form(
    "chinchilla",
    (Term("E"), Term("A", (("alpha", "n_params"),)), Term("B", (("beta", "n_tokens"),))),
    "Hoffmann et al. 2022, approach 3: L(N, D) = E + A / N^alpha + B / D^beta",
)
POWER_LAW = Form(
    "power_law",
    (Term("E"), Term("a", (("alpha", "x"),))),
    "Hestness et al. 2017, Henighan et al. 2020: L(x) = E + a x^-alpha",
)
PURE_POWER_LAW = Form(
    "pure_power_law",
    (Term("a", (("alpha", "x"),)),),
    "Kaplan et al. 2020: L(x) = a x^-alpha",
)
