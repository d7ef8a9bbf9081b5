"""Centred coordinates: where the parameters of a form hardly trade against each other.

A coefficient is counted as the log of its term at the columns' geometric means, an exponent in
units of the spread of its column's log, a scale relative to its column's geometric mean. A constant
is counted by its square root. It often wants to be zero: its log then runs off to minus infinity along
a curved valley; its root goes straight there, and zero is an ordinary stationary point.
"""

import dataclasses

import numpy as np

from scaling.laws.forms.grammar import Form, direction

TINY = 1e-60  # the smallest root: its square still has a log, and its inverse square a value


@dataclasses.dataclass(frozen=True)
class Centring:
    """The map between natural and centred coordinates of one form on one data set.

    natural = matrix @ v + offset, with v the centred coordinates except that the root r of a constant
    stands as 2 log |r|. roots: (p,) which are constants. low, high: (p,) bounds, centred; infinite for
    a coefficient.
    """

    matrix: np.ndarray
    offset: np.ndarray
    roots: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, form: Form, logs: dict[str, np.ndarray]) -> "Centring":
        """logs: natural logs of the form's columns, each (points,); nan or inf where not positive."""
        mean, spread = {}, {}
        for name in form.columns:
            finite = logs[name][np.isfinite(logs[name])]
            mean[name] = float(finite.mean()) if len(finite) else 0.0
            spread[name] = (float(finite.std()) if len(finite) else 0.0) or 1.0
        where = {name: i for i, name in enumerate(form.names)}
        n = len(where)
        matrix, offset = np.eye(n), np.zeros(n)
        over = [(where[name], spread[direction(column)[0]])
                for p in form.parameters for name, column in p.powers if name in where]
        scale = np.array([max((s for at, s in over if at == i), default=1.0) for i in range(n)])
        low, high = np.full(n, -np.inf), np.full(n, np.inf)
        for i, parameter in enumerate(form.parameters):
            if parameter.kind == "coefficient":
                for name, column in parameter.powers:
                    column, sign = direction(column)
                    if name in where:
                        matrix[i, where[name]] += sign * mean[column] / scale[where[name]]
                    else:
                        offset[i] += sign * name * mean[column]
            elif parameter.kind == "exponent":
                matrix[i, i] = 1.0 / scale[i]
                low[i], high[i] = parameter.low * scale[i], parameter.high * scale[i]
            elif parameter.kind == "positive":
                if parameter.unit:
                    column, sign = direction(parameter.unit)
                    offset[i] = sign * mean[column]
                low[i], high[i] = np.log(parameter.low), np.log(parameter.high)
            elif parameter.kind == "real":
                low[i], high[i] = parameter.low, parameter.high
        roots = np.array([p.kind == "constant" for p in form.parameters])
        return cls(matrix, offset, roots, low, high)

    def to_natural(self, centred, xp=np):
        """(..., p) centred -> natural; `xp` is numpy or jax.numpy."""
        logs = xp.where(self.roots, 2 * xp.log(xp.maximum(xp.abs(centred), TINY)), centred)
        return logs @ self.matrix.T + self.offset

    def to_centred(self, natural: np.ndarray) -> np.ndarray:
        v = (natural - self.offset) @ np.linalg.inv(self.matrix).T
        return np.where(self.roots, np.exp(np.where(self.roots, v, 0.0) / 2), v)
