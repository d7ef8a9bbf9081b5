"""Case bootstraps of a sum of powers on an accelerator: the whole Newton iteration as one program.

For hundreds of thousands of replicates on a GPU. On a processor `PointFit.refit` is faster; both end
at the same optima.
"""

import functools

import numpy as np

from scaling.laws.fitting.log_sum_exp import LogSumExp
from scaling.laws.fitting.newton import Solution
from scaling.laws.forms.coordinates import TINY

_AIM, _STEPS, _DAMPING, _LONGEST_STEP = 1e-10, 60, 1e-4, 2.0


def bootstrap(
    problem: LogSumExp, optimum: np.ndarray, replicates: int, seed: int = 0, batch: int = 1 << 14
) -> Solution:
    """Minimises `replicates` resamples of one problem's points, each from its optimum (p,), centred.

    Points are drawn with replacement and independently, on the device, by `seed`. What is not at an
    optimum after 60 steps is given back unconverged: it needs `solver.refine`.
    """
    import jax

    parts = []
    with jax.enable_x64(True):
        run = _program(problem.objective, len(problem.design))
        given = (
            problem.design, problem.offset, problem.log_target[0], problem.weights[0],
            np.broadcast_to(problem.scale, problem.log_target[0].shape), problem.roots,
            problem.low[0], problem.high[0], optimum,
        )
        for number in range(-(-replicates // batch)):
            key = jax.random.fold_in(jax.random.key(seed), number)
            parts.append([np.asarray(a) for a in run(jax.random.split(key, batch), *given)])
    theta, value, gradient = (np.concatenate(arrays)[:replicates] for arrays in zip(*parts))
    return Solution(theta, value, gradient)


def draw_weights(replicates: int, points: int, seed: int = 0, batch: int = 1 << 14) -> np.ndarray:
    """The weights that `bootstrap` draws, (replicates, points)."""
    import jax

    rows = []
    with jax.enable_x64(True):
        for number in range(-(-replicates // batch)):
            key = jax.random.fold_in(jax.random.key(seed), number)
            rows.append(np.asarray(_draw(jax.random.split(key, batch), points)))
    return np.concatenate(rows)[:replicates]


def _draw(keys, points: int):
    import jax
    import jax.numpy as jnp

    def counts(key):
        return jnp.bincount(jax.random.randint(key, (points,), 0, points), length=points)

    return jax.vmap(counts)(keys).astype(float)


@functools.lru_cache(maxsize=8)
def _program(objective, points: int):
    """Compiled: keys (batch,) and the problem's arrays -> theta, value, scale-free gradient."""
    import jax
    import jax.numpy as jnp

    def derivatives(theta, weights, design, offset, target, scale, roots):
        logs = jnp.where(roots, 2 * jnp.log(jnp.maximum(jnp.abs(theta), TINY)), theta)
        terms = jnp.einsum("nkp,rp->rnk", design, logs) + offset
        log_value = jax.scipy.special.logsumexp(terms, axis=-1)
        share = jnp.exp(terms - log_value[..., None])
        loss, pull, bend = objective.pulls(log_value, target, scale, objective.delta, jnp)
        pull, bend = weights * pull, weights * bend
        jacobian = jnp.einsum("rnk,nkp->rnp", share, design)
        gradient = jnp.einsum("rn,rnp->rp", pull, jacobian)
        hessian = jnp.einsum("rnp,rnq->rpq", jacobian * (bend - pull)[..., None], jacobian)
        hessian += jnp.einsum("rnk,nkp,nkq->rpq", share * pull[..., None], design, design)
        inner = jnp.where(roots, 2 / jnp.where(jnp.abs(theta) < TINY, TINY, theta), 1.0)
        gradient = gradient * inner
        hessian *= inner[:, :, None] * inner[:, None, :]
        hessian -= jnp.eye(theta.shape[1]) * jnp.where(roots, gradient * inner / 2, 0.0)[:, None, :]
        return (weights * loss).sum(axis=-1), gradient, hessian

    def run(keys, design, offset, target, own, scale, roots, low, high, optimum):
        weights = _draw(keys, points) * own
        unit = (jnp.exp(target).mean() if objective.raw else 1.0) / scale.mean()
        total = weights.sum(axis=-1)

        def evaluated(theta):
            value, gradient, hessian = derivatives(theta, weights, design, offset, target, scale, roots)
            held = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
            gradient = jnp.where(held, 0.0, gradient)
            hessian = jnp.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
            rms = jnp.maximum(jnp.sqrt(2 * value / total), 1e-6)
            limit = (objective.delta if np.isfinite(objective.delta) else rms) * total * unit
            norm = jnp.abs(gradient).max(axis=-1) / limit
            return theta, value, gradient, hessian, jnp.where(jnp.isfinite(norm), norm, jnp.inf), limit

        def step(state):
            at, damping, count = state
            theta, value, gradient, hessian, norm, limit = at
            diagonal = jnp.diagonal(hessian, axis1=1, axis2=2)
            free = (diagonal != 0) | (gradient != 0)
            largest = jnp.abs(diagonal).max(axis=-1, keepdims=True)
            added = jnp.where(free, damping[:, None] * largest, 1.0)
            # Of a matrix that is not positive the factor is nan: no step, and more damping.
            factor = jnp.linalg.cholesky(hessian + added[:, None, :] * jnp.eye(theta.shape[1]))
            move = -jax.vmap(lambda f, g: jax.scipy.linalg.cho_solve((f, True), g))(factor, gradient)
            longest = jnp.abs(move).max(axis=-1, keepdims=True)
            move = move * jnp.minimum(1.0, _LONGEST_STEP / jnp.maximum(longest, 1e-300))
            new = evaluated(jnp.clip(theta + move, low, high))
            change, rounding = new[1] - value, 2e-15 * limit
            good = (change < -rounding) | ((change <= rounding) & (new[4] < norm))
            good &= jnp.isfinite(new[1]) & (norm > _AIM)
            at = tuple(
                jnp.where(good.reshape(good.shape + (1,) * (a.ndim - 1)), a, b) for a, b in zip(new, at)
            )
            return at, jnp.maximum(damping * jnp.where(good, 0.1, 8.0), 1e-14), count + 1

        def unfinished(state):
            at, damping, count = state
            return (count < _STEPS) & ((at[4] > _AIM) & (damping < 1e12)).any()

        begin = evaluated(jnp.broadcast_to(optimum, (len(keys), len(optimum))))
        at, _, _ = jax.lax.while_loop(unfinished, step, (begin, jnp.full(len(keys), _DAMPING), 0))
        return at[0], at[1], at[4]

    return jax.jit(run)
