"""Posterior of a law's parameters by an ensemble sampler; needs the extra `posterior` (emcee)."""

import dataclasses

import numpy as np

from scaling.errors import UserError
from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.uncertainty.bootstrap import Bootstrap
from scaling.laws.uncertainty.noise import Noise, measured_noise

_BEND = 1.345  # deviations at which the likelihood turns from normal to exponential tails
POSTERIOR_BY = "posterior by emcee"  # as its record begins
_BLOCK = 1000  # steps between looks at the autocorrelation
_ENOUGH = 50  # autocorrelation times that a chain must be long (emcee's own advice)
_BURN_IN = 5  # autocorrelation times left out at the start
_SPREAD = 40.0  # of a centred coordinate without bounds, from the optimum: where the flat prior ends


@dataclasses.dataclass(frozen=True)
class Posterior:
    """draws: (samples, p) natural coordinates. deviation: (samples,) of the noise about the law, in
    units of the fit's residuals. autocorrelation: longest time among the coordinates, in steps; None if
    the chain is too short to tell. acceptance: share of proposals taken.
    """

    draws: np.ndarray
    deviation: np.ndarray
    steps: int
    walkers: int
    autocorrelation: float | None
    acceptance: float
    seed: int

    @property
    def converged(self) -> bool:
        """Whether the chain is at least 50 autocorrelation times long."""
        return self.autocorrelation is not None and self.steps >= _ENOUGH * self.autocorrelation

    def record(self, law: str) -> Bootstrap:
        """How the draws were made, and whether the chain is long enough to be trusted; as a bootstrap's."""
        length = ("too short to tell its autocorrelation" if self.autocorrelation is None else
                  f"{self.steps / self.autocorrelation:.0f} autocorrelation times")
        if not self.converged:
            length += f": under {_ENOUGH}, intervals may be too narrow"
        method = f"{POSTERIOR_BY}, {self.walkers} walkers x {self.steps} steps, {length}"
        return Bootstrap(method, len(self.draws), 0, self.seed)

    def to_json(self) -> dict:
        return {"steps": self.steps, "walkers": self.walkers, "autocorrelation": self.autocorrelation,
                "acceptance": self.acceptance, "converged": self.converged}


def posterior(
    point: PointFit,
    run_of_row: np.ndarray,
    samples: int = 2000,
    seed: int = 0,
    most_steps: int = 20_000,
) -> Posterior:
    """Samples the posterior with an ensemble of walkers, by emcee, each moved along the differences of
    others (ter Braak 2006, "Differential evolution Markov chain"; ter Braak and Vrugt 2008, its snooker
    move): on 24 runs the chain forgets in a third of the steps that Goodman and Weare's stretch moves take.

    Likelihood: noise that is normal up to 1.345 deviations and exponential beyond (Huber's least
    favourable), of a size that is sampled too. Prior: flat in constants, in the logs of terms at the
    middle of the data and in exponents, within the parameters' bounds; flat in the log of the noise. The
    chain grows in blocks of 1,000 steps until it is 50 autocorrelation times long, or `most_steps`: look
    at `converged`.

    Raises `UserError` if emcee is missing, rows share a run (they are not independent), or the
    objective is not symmetric.
    """
    emcee = imported_emcee()
    if len(np.unique(run_of_row)) < len(run_of_row):
        raise UserError("posterior: several rows of one run are not independent; keep one row a run,"
                        " or use a bootstrap, which keeps them together")
    if point.loss.over != 1.0:
        raise UserError(f"posterior: the objective {point.loss.name} is no likelihood; use huber_log")
    noise = measured_noise(point)
    p = len(point.theta)
    rng = np.random.default_rng(seed)
    walkers = max(4 * (p + 1), 32)
    start = _around(noise, point, walkers, rng)
    sampler = emcee.EnsembleSampler(
        walkers, p + 1, _log_probability, args=(point, noise), vectorize=True,
        moves=[(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],
    )
    sampler.random_state = np.random.RandomState(seed).get_state()
    state, time = start, None
    while sampler.iteration < most_steps:
        state = sampler.run_mcmc(state, min(_BLOCK, most_steps - sampler.iteration))
        times = sampler.get_autocorr_time(tol=0, quiet=True)
        time = float(times.max()) if np.isfinite(times).all() else None
        if time is not None and sampler.iteration >= _ENOUGH * time:
            break
    burnt = int(min(_BURN_IN * (time or sampler.iteration / 10), sampler.iteration / 2))
    chain = sampler.get_chain(discard=burnt, flat=True)
    chain = chain[np.linspace(0, len(chain) - 1, min(samples, len(chain))).astype(int)]
    return Posterior(
        draws=point.centring.to_natural(chain[:, :p]), deviation=np.exp(chain[:, p]),
        steps=sampler.iteration, walkers=walkers, autocorrelation=time,
        acceptance=float(np.mean(sampler.acceptance_fraction)), seed=seed,
    )


def imported_emcee():
    """The sampler's module. Raises `UserError` with the command that installs it."""
    try:
        import emcee
    except ImportError:
        raise UserError("the posterior needs emcee: pip install 'scaling[posterior]'") from None
    return emcee


def _around(noise: Noise, point: PointFit, walkers: int, rng) -> np.ndarray:
    """Walkers about the optimum, half as wide as the normal approximation, within the bounds."""
    p = len(noise.theta)
    values, axes = np.linalg.eigh(noise.jacobian.T @ noise.jacobian)
    width = noise.deviation / np.sqrt(np.maximum(values, 1e-8 * values.max()))
    theta = noise.theta + 0.5 * (rng.standard_normal((walkers, p)) * np.minimum(width, 1.0)) @ axes.T
    low, high = noise.problem.low[0], noise.problem.high[0]
    inside = 1e-3 * rng.random((walkers, p))
    theta = np.clip(theta, np.where(np.isfinite(low), low + inside, low),
                    np.where(np.isfinite(high), high - inside, high))
    theta[:, point.centring.roots] = np.abs(theta[:, point.centring.roots]) + 1e-3
    size = np.log(max(noise.deviation, 1e-12)) + 0.1 * rng.standard_normal(walkers)
    return np.column_stack([theta, size])


def _log_probability(at: np.ndarray, point: PointFit, noise: Noise) -> np.ndarray:
    """(walkers, p + 1) centred coordinates and log of the noise -> (walkers,)."""
    theta, size = at[:, :-1], at[:, -1]
    problem, roots = noise.problem, point.centring.roots
    low, high = problem.low[0], problem.high[0]
    allowed = ((theta >= low) & (theta <= high)).all(axis=1) & (theta[:, roots] > 0).all(axis=1)
    allowed &= (np.abs(theta - noise.theta) < _SPREAD).all(axis=1)
    with np.errstate(all="ignore"):
        law = problem.log_value(np.where(allowed[:, None], theta, noise.theta))
        target = problem.log_target[0]
        residual = np.exp(law) - np.exp(target) if point.loss.raw else law - target
        z = np.abs(residual / problem.scale) * np.exp(-size)[:, None]
    bent = np.minimum(z, _BEND)
    weights = problem.weights[0]
    log_likelihood = -(weights * bent * (z - bent / 2)).sum(axis=1) - weights.sum() * size
    # flat in a constant c = t^2, of which t is the coordinate: dc = 2 t dt
    prior = np.log(np.where(allowed[:, None], theta[:, roots], 1.0)).sum(axis=1)
    value = log_likelihood + prior
    return np.where(allowed & np.isfinite(value), value, -np.inf)
