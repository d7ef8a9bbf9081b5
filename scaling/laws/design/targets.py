"""What a design is for: a number that the law gives, with its gradient by the law's parameters."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws.allocation import FlopsRelation
from scaling.laws.design.information import gradient
from scaling.laws.forms.grammar import Form

AT_FLOPS = ("n_opt", "d_opt", "loss")
EXPONENTS = ("n_exponent", "d_exponent")


@dataclasses.dataclass(frozen=True)
class Target:
    """A function of the law's natural coordinates, (draws, p) -> (draws,).

    logarithmic: whether it is the log of the named number, as for all but exponents: its standard
    deviation is then relative. name: as it was asked for.
    """

    name: str
    logarithmic: bool
    function: Callable[[np.ndarray], np.ndarray]

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """theta (p,) -> (p,)."""
        return gradient(self.function, theta)

    def in_its_units(self, value: float) -> float:
        """A value of the function as the number that was asked for."""
        return float(np.exp(value)) if self.logarithmic else float(value)


def target(text: str, form: Form, relation: FlopsRelation, flops: float) -> Target:
    """From its name. relation: of C to N and D; flops: where an exponent that varies with C is taken.

    A parameter of the law (`alpha`), `n_exponent` or `d_exponent` (of N*(C), D*(C)), `n_opt@C`, `d_opt@C`,
    `loss@C` (at the optimum), `loss@n_params=N,n_tokens=D` (every column of the law). Raises `UserError`.
    """
    name, at, point = (part.strip() for part in text.partition("@"))
    if not at:
        if name in form.names:
            i = form.names.index(name)
            return Target(text, form.parameters[i].logarithmic, lambda theta: theta[:, i])
        if name in EXPONENTS:
            return Target(text, False, _exponent(form, relation, EXPONENTS.index(name), flops))
        if name in AT_FLOPS:
            raise UserError(f"target {text!r}: at which budget? for example {name}@1e21")
        valid = (*form.names, *EXPONENTS, *(f"{n}@FLOPS" for n in AT_FLOPS))
        raise UserError(f"no target {text!r}{did_you_mean(text, valid)}")
    if name not in AT_FLOPS:
        raise UserError(f"no target {text!r}: before the @ stands one of {', '.join(AT_FLOPS)}")
    if "=" in point:
        if name != "loss":
            raise UserError(f"target {text!r}: {name} is at a budget, for example {name}@1e21")
        columns = _columns(text, point, form)
        return Target(text, True, lambda theta: form.log_value(theta, columns)[:, 0])
    budget = _positive(text, point)
    optimum = _optimum(form, relation)
    if name == "loss":
        return Target(text, True, lambda theta: _loss(form, theta, *optimum(theta, budget), budget))
    which = AT_FLOPS.index(name)
    return Target(text, True, lambda theta: np.log(optimum(theta, budget)[which]))


def _optimum(form: Form, relation: FlopsRelation) -> Callable:
    if form.allocation is None:
        raise UserError(f"{form.name} has no compute-optimal N and D; valid targets:"
                        f" {', '.join(form.names)}, loss@COLUMN=VALUE,...")
    return lambda theta, flops: form.allocation(theta, flops, relation)


def _exponent(form: Form, relation: FlopsRelation, which: int, flops: float) -> Callable:
    """Growth of log N*(C) or log D*(C) over the e-fold of C about `flops`."""
    optimum, half = _optimum(form, relation), np.exp(0.5)
    return lambda theta: np.log(optimum(theta, flops * half)[which] / optimum(theta, flops / half)[which])


def _loss(form: Form, theta: np.ndarray, n_params, n_tokens, flops: float) -> np.ndarray:
    """Each draw's log loss at its own (N, D), (draws,)."""
    columns = {"n_params": n_params[:, None], "n_tokens": n_tokens[:, None], "flops": flops}
    return np.log(form.predict(theta, {name: columns[name] for name in form.columns}))[:, 0]


def _columns(text: str, point: str, form: Form) -> dict[str, np.ndarray]:
    given = {}
    for part in point.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in form.columns:
            raise UserError(f"target {text!r}: {form.name} has no column {name!r}"
                            f"{did_you_mean(name, form.columns)}")
        given[name] = np.array([_positive(text, value)])
    missing = [name for name in form.columns if name not in given]
    if missing:
        raise UserError(f"target {text!r}: {form.name} also needs {', '.join(missing)}")
    return given


def _positive(text: str, word: str) -> float:
    if re.fullmatch(r"\d+(\.\d*)?([eE][+-]?\d+)?", word) and 0 < float(word) < np.inf:
        return float(word)
    raise UserError(f"target {text!r}: {word!r} is not a positive number")
