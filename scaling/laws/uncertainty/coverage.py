"""How often intervals hold the truth: synthetic sweeps from known surfaces, fitted as any runs are.

A scenario is a surface, a design, the noise, and the fit's delta. Each of its sweeps has its own seed, so
that any one of them can be looked at alone. `tools/coverage.py` makes the table.
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from scaling.errors import UserError
from scaling.laws.allocation import SIX_N_D
from scaling.laws.fitting.point_fit import PointFit, fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.prediction import new_run
from scaling.laws.uncertainty.bootstrap import interval
from scaling.laws.uncertainty.model_error import NO_MODEL_ERROR, ModelError, model_error
from scaling.laws.uncertainty.noise import measured_noise
from scaling.laws.uncertainty.noise_trend import noise_trend
from scaling.laws.uncertainty.profile import profile
from scaling.laws.uncertainty.resampling import DEFAULT, POSTERIOR, resample
from scaling.laws.uncertainty.rolling_coverage import Runs, fold_errors

# E, A, B, alpha, beta, and the smallest budget in FLOPs. The first is Hoffmann et al.'s data refitted, the
# second a corpus of a few million tokens on a laptop, the third has unequal exponents.
SURFACES = {
    "chinchilla": ((1.82, 478.0, 2143.0, 0.347, 0.367), 1e18),
    "laptop": ((2.0, 73.0, 156.0, 0.39, 0.39), 3e11),
    "uneven": ((1.7, 400.0, 4000.0, 0.31, 0.42), 1e18),
}
BEYOND = (10, 100)  # times the largest compute in the sweep
_SAMPLES = 1000  # of a posterior, at least: more of them cost nothing, unlike refits
_STARTS = 24


@dataclasses.dataclass(frozen=True)
class Scenario:
    """surface: of SURFACES. design: of DESIGNS. noise: of NOISES, with standard deviation `size` of the log
    loss. delta: of the fit's Huber loss."""

    surface: str
    design: str
    noise: str
    size: float
    delta: float

    @property
    def name(self) -> str:
        return f"{self.surface}, {self.design}, {self.noise} {100 * self.size:g}%, delta {self.delta:g}"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Runs of a scenario. run_of_row: rows of one number are checkpoints of one run."""

    n_params: np.ndarray
    n_tokens: np.ndarray
    loss: np.ndarray
    run_of_row: np.ndarray


@dataclasses.dataclass(frozen=True)
class Covered:
    """Whether an interval held the truth, and its width. Widths of N* and of losses are of their logs."""

    method: str
    quantity: str
    inside: bool
    width: float


def true_loss(surface: str, n_params, n_tokens):
    (E, A, B, alpha, beta), _ = SURFACES[surface]
    return E + A * n_params**-alpha + B * n_tokens**-beta


def _optimal_n(surface: str, flops):
    (_, A, B, alpha, beta), _ = SURFACES[surface]
    ratio = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return ratio * (flops / 6) ** (beta / (alpha + beta))


def _isoflops(surface: str, budgets: int, span: float, sizes: Callable[[int], int], spread: float):
    lowest = SURFACES[surface][1]
    n, d = [], []
    for k, flops in enumerate(np.geomspace(lowest, span * lowest, budgets)):
        part = _optimal_n(surface, flops) * np.geomspace(1 / spread, spread, sizes(k))
        n.append(part)
        d.append(flops / 6 / part)
    return np.concatenate(n), np.concatenate(d)


def _scattered(surface: str, rng: np.random.Generator):
    lowest = SURFACES[surface][1]
    flops = np.exp(rng.uniform(np.log(lowest), np.log(1e3 * lowest), 240))
    n = _optimal_n(surface, flops) * np.exp(rng.uniform(-1.6, 1.6, 240))
    return n, flops / 6 / n


# (surface, rng) -> n_params, n_tokens. In "24 runs, 5 checkpoints" each run is also seen at a fifth, two
# fifths, ... of its tokens.
DESIGNS = {
    "12 runs": lambda s, rng: _isoflops(s, 3, 10, lambda k: 4, 2.8),
    "24 runs": lambda s, rng: _isoflops(s, 4, 10, lambda k: 6, 2.8),
    "66 runs": lambda s, rng: _isoflops(s, 9, 1000, lambda k: 6 + k % 4, 3.5),
    "240 runs": _scattered,
    "24 runs, 5 checkpoints": lambda s, rng: _isoflops(s, 4, 10, lambda k: 6, 2.8),
}


def _falling(rng, flops):
    """Twice its size at the smallest compute, half at the largest."""
    x = np.log(flops)
    return rng.standard_normal(len(x)) * 2.0 ** (1 - 2 * (x - x.min()) / np.ptp(x))


# (rng, flops) -> noise of unit size.
NOISES = {
    "normal": lambda rng, flops: rng.standard_normal(len(flops)),
    "heavy tails": lambda rng, flops: rng.standard_t(4, len(flops)) / np.sqrt(2.0),
    "falling": _falling,
}


def sweep(scenario: Scenario, seed: int) -> Sweep:
    """The runs of a scenario's sweep number `seed`. Raises `UserError` if a part of it does not exist."""
    for kind, name, known in (("surface", scenario.surface, SURFACES),
                              ("design", scenario.design, DESIGNS), ("noise", scenario.noise, NOISES)):
        if name not in known:
            raise UserError(f"no {kind} {name!r}; valid: {', '.join(known)}")
    rng = np.random.default_rng([zlib.crc32(scenario.name.split(", delta")[0].encode()), seed])
    n, d = DESIGNS[scenario.design](scenario.surface, rng)
    run = np.arange(len(n))
    noise = NOISES[scenario.noise](rng, n * d)
    if scenario.design.endswith("checkpoints"):
        shares = np.tile(np.arange(1, 6) / 5, len(n))
        run = np.repeat(run, 5)
        n, d = n[run], d[run] * shares
        noise = 0.8 * noise[run] + 0.6 * NOISES[scenario.noise](rng, n * d)
    return Sweep(n, d, true_loss(scenario.surface, n, d) * np.exp(scenario.size * noise), run)


def covered(
    scenario: Scenario, seed: int, methods: Sequence[str], replicates: int, level: float = 0.9,
    forecast: bool = False,
) -> list[Covered]:
    """One sweep, fitted, with the intervals of every method: of `resampling.ALL_METHODS`, and "profile" for
    the parameters alone.

    Losses are those at the fit's own optimum for 10 and 100 times the largest compute: the law's value;
    the loss of a new run there, with noise of the scenario's size; and if `forecast`, for the default
    method, the forecast of that run, with the model error that the sweep's own rolling hold-out shows.
    """
    runs = sweep(scenario, seed)
    columns = {"n_params": runs.n_params, "n_tokens": runs.n_tokens}
    point = fit_form(CHINCHILLA, columns, runs.loss, scenario.delta, _STARTS)
    flops = 6 * runs.n_params * runs.n_tokens
    largest = float(flops.max())
    noise = measured_noise(point)
    trend = noise_trend(noise, runs.run_of_row, np.log(flops))
    new_noise = point.residual_deviation * float(trend.at(np.log(largest)))
    at = {times: _optimum(point.theta, times * largest) for times in BEYOND}
    truth = _truth(scenario, largest, at, np.random.default_rng([seed, 1]))
    found = []
    for method in methods:
        if method == "profile":
            ends = {name: profile(point, name, runs.run_of_row, level).interval
                    for name in ("E", "alpha", "beta")}
        else:
            n_draws = max(replicates, _SAMPLES) if method == POSTERIOR else replicates
            draws = resample(point, runs.run_of_row, method, n_draws, seed, noise=noise,
                             relative_noise=trend.of_rows(np.log(flops))).draws
            error = _model_error(runs, scenario.delta) if forecast and method == DEFAULT else None
            ends = _intervals(point, new_noise, draws, largest, at, level, seed, error)
        found += [Covered(method, name, bool(low <= truth[name] <= high), float(high - low))
                  for name, (low, high) in ends.items()]
    return found


def _optimum(theta: np.ndarray, flops: float):
    return CHINCHILLA.allocation(theta, flops, SIX_N_D)


def _truth(scenario: Scenario, largest: float, at: dict, rng: np.random.Generator) -> dict[str, float]:
    (E, _, _, alpha, beta), _ = SURFACES[scenario.surface]
    truth = {"E": E, "alpha": alpha, "beta": beta, "exponent of N*": beta / (alpha + beta)}
    for times, (n, d) in at.items():
        loss = float(np.log(true_loss(scenario.surface, n, d)))
        # noise that falls with compute goes on falling; its size at the largest budget is half
        size = scenario.size * (0.5 if scenario.noise == "falling" else 1.0)
        truth[f"N* at {times}x"] = float(np.log(_optimal_n(scenario.surface, times * largest)))
        truth[f"law at {times}x"] = loss
        truth[f"new run at {times}x"] = truth[f"forecast at {times}x"] = loss + size * float(NOISES[
            "normal" if scenario.noise == "falling" else scenario.noise](rng, np.ones(1))[0])
    return truth


def _model_error(runs: Sweep, delta: float) -> ModelError:
    flops = 6 * runs.n_params * runs.n_tokens
    return model_error(fold_errors(Runs(**dataclasses.asdict(runs), flops=flops), delta))


def _intervals(
    point: PointFit, noise: float, draws, largest, at, level, seed, error: ModelError | None
) -> dict[str, list[float]]:
    alpha, beta = draws[:, 3], draws[:, 4]
    ends = {"E": np.exp(draws[:, 0]), "alpha": alpha, "beta": beta,
            "exponent of N*": beta / (alpha + beta)}
    for times, (n, d) in at.items():
        logs = {"n_params": np.log([float(n)]), "n_tokens": np.log([float(d)])}
        law = point.form.log_loss(draws, logs)[:, 0]
        ends[f"N* at {times}x"] = np.log(_optimum(draws, times * largest)[0])
        ends[f"law at {times}x"] = law
        kinds = {"new run": NO_MODEL_ERROR} | ({} if error is None else {"forecast": error})
        for kind, off in kinds.items():
            ends[f"{kind} at {times}x"] = new_run(
                law, noise, point.degrees_of_freedom, off, float(np.log(times)), seed
            )
    return {name: interval(values[np.isfinite(values)], level) for name, values in ends.items()}
