"""Derivatives of any smooth form by JAX, for many problems at once. The only file here that needs JAX."""

import contextlib
import dataclasses
import functools
from types import SimpleNamespace

import numpy as np

from scaling.laws.fitting.objectives import Objective
from scaling.laws.fitting.problem import Problem
from scaling.laws.forms.coordinates import Centring
from scaling.laws.forms.grammar import SmoothForm
from scaling.results.cache_folder import keep_compiled_programs

# A call works on so many blocks of so many points, each block of any problem: one compilation (4 seconds)
# serves every number of problems and of points.
_BLOCKS, _POINTS = 8, 64
_AT_ONCE = 1 << 12  # blocks made ready at once


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

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        return self._evaluated(theta[None])[1][0]

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        log_value, jacobian, curvature = self._evaluated(theta)
        goal = self.objective
        loss, pull, bend = goal.pulls(log_value, self.log_target, self.scale, goal.delta)
        used = np.broadcast_to(self.weights > 0, loss.shape)
        if not used.all():  # a point without weight may lie where the law has no value
            loss, pull, bend = (np.where(used, a, 0.0) for a in (loss, pull, bend))
            jacobian = np.where(used[:, :, None], jacobian, 0.0)
        turned = np.swapaxes(jacobian, 1, 2)
        return ((self.weights * loss).sum(axis=-1), (turned @ (self.weights * pull)[:, :, None])[:, :, 0],
                turned @ ((self.weights * bend)[:, :, None] * jacobian) + curvature)

    def _evaluated(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each problem: log of the law, (problems, points), its derivatives, (problems, points, p), and
        the sum of its second derivatives, each times the objective's pull, (problems, p, p)."""
        run = _compiled(self.form, dataclasses.replace(self.objective, delta=0.0))
        delta = np.float64(self.objective.delta)  # one type, one compilation: a Python float is another
        (count, p), n = theta.shape, self.log_target.shape[-1]
        shared, blocks = self._blocks, -(-n // _POINTS)
        points, curvature = np.empty((count, n, 1 + p)), np.empty((count, p, p))
        step = max(1, _AT_ONCE // blocks)
        for begin in range(0, count, step):
            rows = np.arange(begin, min(begin + step, count))
            data = np.empty((len(rows), blocks, 2 + len(shared), _POINTS))
            for i, values in enumerate((self.log_target, self.weights)):
                data[:, :, i] = _in_blocks(values if len(values) == 1 else values[rows], 0.0)
            data[:, :, 2:] = shared.transpose(1, 0, 2)
            data = data.reshape(len(rows) * blocks, -1, _POINTS)
            of_block = np.repeat(theta[rows], blocks, axis=0)
            parts = []
            with _jax().enable_x64(True):
                for at in range(0, len(data), _BLOCKS):
                    given = _filled_up(of_block[at : at + _BLOCKS]), _filled_up(data[at : at + _BLOCKS])
                    parts.append(run(*given, delta, self.centring.matrix, self.centring.offset))
            each, bent = (np.concatenate([np.asarray(a) for a in arrays])[: len(data)]
                          for arrays in zip(*parts))
            points[rows] = each.reshape(len(rows), blocks * _POINTS, -1)[:, :n]
            curvature[rows] = bent.reshape(len(rows), blocks, p, p).sum(axis=1)
        return points[:, :, 0], points[:, :, 1:], curvature

    @functools.cached_property
    def _blocks(self) -> np.ndarray:
        """Scale and columns, (1 + columns, blocks, _POINTS). Filled up by the first point."""
        scale = np.broadcast_to(np.asarray(self.scale, float), self.log_target.shape[-1:])
        each = [scale, *(np.asarray(values, float) for values in self.columns.values())]
        return np.concatenate([_in_blocks(values[None], values[0]) for values in each])

    def _sharing(self, part: "Traced") -> "Traced":
        part.__dict__["_blocks"] = self._blocks  # it does not depend on the problems
        return part

    def take(self, problems: np.ndarray) -> "Traced":
        return self._sharing(super().take(problems))

    def with_delta(self, delta: float) -> "Traced":
        return self._sharing(super().with_delta(delta))


def _in_blocks(values: np.ndarray, fill: float) -> np.ndarray:
    """(rows, points) -> (rows, blocks, _POINTS)."""
    rows, n = values.shape
    out = np.full((rows, -(-n // _POINTS) * _POINTS), fill)
    out[:, :n] = values
    return out.reshape(rows, -1, _POINTS)


def _filled_up(blocks: np.ndarray) -> np.ndarray:
    """To _BLOCKS, by repeating the last."""
    if len(blocks) == _BLOCKS:
        return blocks
    return blocks[np.minimum(np.arange(_BLOCKS), len(blocks) - 1)]


@functools.cache
def _jax():
    """JAX, which keeps what it compiles (4 seconds a law) for the next process, if nobody said where."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        with contextlib.suppress(OSError):  # a folder that cannot be written costs time, not the fit
            keep_compiled_programs(jax.config)
    return jax


def _predictor(form: SmoothForm):
    """(theta (p,), matrix, offset, columns) -> log of the law (points,), traceable."""
    import jax.numpy as jnp

    roots = np.array([p.kind == "constant" for p in form.parameters])

    def log_value(theta, matrix, offset, columns):
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
        return jnp.log(form.value(SimpleNamespace(**given), SimpleNamespace(**columns), jnp))

    return log_value


@functools.lru_cache(maxsize=64)
def _compiled(form: SmoothForm, objective: Objective):
    """(theta (blocks, p), data (blocks, rows, points), delta, matrix, offset) -> log of the law and its
    derivatives (blocks, points, 1 + p), pulled second derivatives (blocks, p, p). The rows of data:
    targets, weights, scale, columns."""
    import jax
    import jax.numpy as jnp

    predict = _predictor(form)

    def one(theta, data, delta, matrix, offset):
        target, weights, scale, *columns = data
        law = lambda t: predict(t, matrix, offset, dict(zip(form.columns, columns)))  # noqa: E731
        log_value, jacobian = law(theta), jax.jacfwd(law)(theta)
        pull = objective.pulls(log_value, target, scale, delta, jnp)[1]
        used = weights > 0  # a point without weight may lie where the law has no value
        pull = jnp.where(used, weights * pull, 0.0)
        pulled = lambda t: jnp.where(used, pull * law(t), 0.0).sum()  # noqa: E731
        return jnp.concatenate([log_value[:, None], jacobian], axis=1), jax.hessian(pulled)(theta)

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, None, None)))
