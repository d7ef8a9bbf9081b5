"""Derivatives of any smooth form by JAX, for many problems at once. The only file here that needs JAX."""

import contextlib
import dataclasses
import functools

import numpy as np

from scaling.laws.fitting.objectives import Objective
from scaling.laws.fitting.problem import Problem
from scaling.laws.forms.coordinates import Centring
from scaling.laws.forms.grammar import SmoothForm
from scaling.results.cache_folder import keep_compiled_programs

_BATCH = 8  # problems a call: one compilation serves every number of problems, and few are filled up
_LEAST_POINTS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced(Problem):
    """A `SmoothForm` on columns (points,), in the coordinates of `centring`."""

    form: SmoothForm
    columns: dict[str, np.ndarray]
    centring: Centring

    @classmethod
    def of(cls, form: SmoothForm, columns: dict, centring: Centring, **shared) -> "Traced":
        return cls(form=form, columns={c: columns[c] for c in form.columns}, centring=centring, **shared)

    def _columns_at(self, points: np.ndarray) -> dict:
        return {"columns": {name: np.asarray(values)[points] for name, values in self.columns.items()}}

    def log_value(self, theta: np.ndarray) -> np.ndarray:
        return self.form.log_value(self.centring.to_natural(theta), self.columns)

    @property
    def _filled(self) -> np.ndarray:
        """Rows of the points, filled up to a size that many data sets share (2^k or 3 * 2^k): it is
        compiled for once. The added ones repeat the first point, and count nothing."""
        n = self.log_target.shape[-1]
        power = max(_LEAST_POINTS, 1 << (n - 1).bit_length())
        return np.arange(3 * power // 4 if n <= 3 * power // 4 else power) % n

    def _given(self, at: np.ndarray) -> tuple:
        scale = np.broadcast_to(np.asarray(self.scale, float), self.log_target.shape[-1:])
        columns = {name: np.asarray(values, float)[at] for name, values in self.columns.items()}
        return (self.centring.matrix, self.centring.offset), columns, scale[at]

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        jax = _jax()
        with jax.enable_x64(True):
            given = self._given(self._filled)[:2]
            n = self.log_target.shape[-1]
            return np.asarray(_compiled_jacobian(self.form)(theta, *given))[:n]

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        jax = _jax()
        n, points = len(theta), self.log_target.shape[-1]
        at = self._filled
        target = np.broadcast_to(self.log_target, (n, points))
        weights = np.broadcast_to(self.weights, (n, points))
        objective = dataclasses.replace(self.objective, delta=0.0)
        run = _compiled(self.form, objective)
        delta = np.float64(self.objective.delta)  # one type, one compilation: a Python float is another
        given, counted = self._given(at), np.arange(len(at)) < points
        parts = []
        with jax.enable_x64(True):
            for begin in range(0, n, _BATCH):
                rows = np.arange(begin, begin + _BATCH)[:, None] % n  # filled up by repeating
                out = run(theta[rows[:, 0]], target[rows, at], weights[rows, at] * counted, delta, *given)
                parts.append([np.asarray(a)[: n - begin] for a in out])
        return tuple(np.concatenate(arrays) for arrays in zip(*parts))


@functools.cache
def _jax():
    """JAX, which keeps what it compiles (4 seconds a law) for the next process, if nobody said where."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        with contextlib.suppress(OSError):  # a folder that cannot be written costs time, not the fit
            keep_compiled_programs(jax.config)
    return jax


def _predictor(form: SmoothForm):
    """(theta (p,), (matrix, offset), columns) -> log of the law (points,), traceable."""
    import jax.numpy as jnp

    roots = np.array([p.kind == "constant" for p in form.parameters])

    def log_value(theta, centring, columns):
        matrix, offset = centring
        # A constant's log is 2 log |root|; its exponential is the root squared, with derivatives
        # that stay finite at zero.
        values = {}
        natural = jnp.where(roots, 0.0, theta) @ matrix.T + offset
        for i, parameter in enumerate(form.parameters):
            if parameter.kind == "constant":
                values[parameter.name] = theta[i] ** 2
            else:
                values[parameter.name] = jnp.exp(natural[i]) if parameter.logarithmic else natural[i]
        given = {**values, **dict(form.fixed)}
        return jnp.log(form.value(_Namespace(given), _Namespace(columns), jnp))

    return log_value


class _Namespace:
    def __init__(self, values: dict):
        self.__dict__.update(values)


@functools.lru_cache(maxsize=64)
def _compiled_jacobian(form: SmoothForm):
    import jax

    return jax.jit(jax.jacfwd(_predictor(form)))


@functools.lru_cache(maxsize=64)
def _compiled(form: SmoothForm, objective: Objective):
    """(theta, target, weights, delta, centring, columns, scale) -> value, gradient, Hessian, batched."""
    import jax
    import jax.numpy as jnp

    predict = _predictor(form)

    def one(theta, target, weights, delta, centring, columns, scale):
        law = lambda t: predict(t, centring, columns)  # noqa: E731
        log_value, jacobian = law(theta), jax.jacfwd(law)(theta)
        loss, pull, bend = objective.pulls(log_value, target, scale, delta, jnp)
        used = weights > 0  # a point without weight may lie where the law has no value
        loss, pull, bend = (jnp.where(used, weights * a, 0.0) for a in (loss, pull, bend))
        jacobian = jnp.where(used[:, None], jacobian, 0.0)
        pulled = lambda t: jnp.where(used, pull * law(t), 0.0).sum()  # noqa: E731
        hessian = jacobian.T @ (bend[:, None] * jacobian) + jax.hessian(pulled)(theta)
        return loss.sum(), pull @ jacobian, hessian

    return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None, None, None, None)))
