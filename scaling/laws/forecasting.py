"""What the laws say of a run that has not been trained, with intervals."""

import dataclasses

import numpy as np

from scaling.errors import UserError
from scaling.laws.bootstrap import interval
from scaling.laws.fits import LawFits

RULE = (
    "approach 3, which uses every run, unless the predictive interval of approach 2 is less than"
    " half as wide; the intervals count uncertain parameters, run-to-run noise and the model error"
    " seen in the rolling hold-out"
)
_NOISE_DRAWS = 20  # per bootstrap replicate


@dataclasses.dataclass(frozen=True)
class ApproachForecast:
    """One approach's forecast. Losses in nats per token, intervals at the fits' level.

    interval: of the law's value (uncertain parameters). predictive_interval: of a new run's loss
    (parameters, run-to-run noise, and model error from the rolling hold-out).
    noise, model_error: standard deviations of the log loss.
    n_opt, d_opt: compute-optimal allocation at the forecast's FLOPs.
    """

    approach: str
    loss: float
    interval: tuple[float, float]
    predictive_interval: tuple[float, float]
    noise: float
    model_error: float
    n_opt: float
    n_opt_interval: tuple[float, float]
    d_opt: float
    d_opt_interval: tuple[float, float]
    holdout_percent: float | None


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A forecast at (N, D, C). The headline is the approach `method`; all stand in `approaches`.

    n_params, n_tokens: as asked, or the headline's optimum at C. extrapolation: C over the
    largest C in the fit.
    """

    flops: float
    n_params: float
    n_tokens: float
    method: str
    rule: str
    level: float
    extrapolation: float
    approaches: dict[str, ApproachForecast]
    problems: tuple[str, ...]

    @property
    def headline(self) -> ApproachForecast:
        return self.approaches[self.method]

    @property
    def loss(self) -> float:
        return self.headline.loss

    @property
    def interval(self) -> tuple[float, float]:
        return self.headline.interval

    @property
    def predictive_interval(self) -> tuple[float, float]:
        return self.headline.predictive_interval

    def to_json(self) -> dict:
        return {
            "flops": self.flops,
            "n_params": self.n_params,
            "n_tokens": self.n_tokens,
            "method": self.method,
            "rule": self.rule,
            "loss": self.loss,
            "interval": list(self.interval),
            "predictive_interval": list(self.predictive_interval),
            "level": self.level,
            "extrapolation": self.extrapolation,
            "approaches": {k: _lists(v) for k, v in self.approaches.items()},
            "problems": list(self.problems),
        }


def forecast(
    fits: LawFits,
    flops: float | None = None,
    n_params: float | None = None,
    n_tokens: float | None = None,
) -> Forecast:
    """Forecasts a run at C (compute-optimal there), or at (N, D), or at (N, D) known to cost C.

    Given only N and D, C follows from the runs' own relation C = k N^p D. Approach 2 forecasts
    the frontier L*(C); away from N*(C) its parabolas' mean curvature is added.
    Raises `UserError` if neither C nor both N and D are given.
    """
    for name, value in (("flops", flops), ("n_params", n_params), ("n_tokens", n_tokens)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise UserError(f"forecast: {name} = {value!r}: expected a positive number")
    given = n_params is not None and n_tokens is not None
    if (n_params is None) != (n_tokens is None) or (flops is None and not given):
        raise UserError("forecast: give flops, or both n_params and n_tokens")
    if flops is None:
        flops = fits.relation.flops(n_params, n_tokens)
    at = (float(n_params), float(n_tokens)) if given else None
    approaches, problems = {}, []
    if fits.chinchilla is not None:
        approaches["chinchilla"] = _by_chinchilla(fits, flops, at)
    if fits.isoflop is not None and fits.isoflop.frontier is not None:
        approaches["isoflop"] = _by_isoflop(fits, flops, at)
    if not approaches:
        raise UserError("forecast: no law of the loss was fitted: " + "; ".join(fits.problems))
    if flops <= fits.largest_flops:
        problems.append("not beyond the runs in the fit: an interpolation")
    method = _headline(approaches)
    best = approaches[method]
    n, d = at or (best.n_opt, best.d_opt)
    return Forecast(float(flops), n, d, method, RULE, fits.level,
                    float(flops / fits.largest_flops), approaches, tuple(problems))


def seal_payload(fits: LawFits, forecast: Forecast, targets: list[dict]) -> dict:
    """Everything that a seal holds about a forecast; see `seals.seal`."""
    laws = fits.to_json()
    return {
        "forecast": forecast.to_json(),
        "level": forecast.level,
        "law": laws["laws"].get(forecast.method),
        "fits": laws,
        "data_hash": laws["data_hash"],
        "fitted_run_ids": laws["fitted_run_ids"],
        "targets": targets,
    }


def _by_chinchilla(fits: LawFits, flops: float, at) -> ApproachForecast:
    law = fits.chinchilla
    best = law.optimal(flops)
    n, d = at or (best["n_opt"], best["d_opt"])
    value, draws = law.log_loss(n, d)
    return _forecast(fits, "chinchilla", law, flops, best, value, draws)


def _by_isoflop(fits: LawFits, flops: float, at) -> ApproachForecast:
    law = fits.isoflop
    value, draws = law.frontier.log_loss(flops)
    if at is not None:
        extra = np.log1p(law.off_optimum(at[0], flops) / np.exp(value))
        value, draws = value + extra, draws + extra
    return _forecast(fits, "isoflop", law, flops, law.optimal(flops), value, draws)


def _forecast(fits, approach, law, flops, best, value, draws) -> ApproachForecast:
    holdout = fits.holdouts[approach]
    model_error = holdout.model_error(float(np.log(flops / fits.largest_flops)))
    rng = np.random.default_rng([fits.seed, 1])
    shape = (_NOISE_DRAWS, len(draws))
    # Noise of equal size in nats at every loss. Runs further up are if anything quieter, so this
    # errs on the wide side. Student's t, because it was estimated from few residuals.
    noise = law.noise * float(np.exp(np.log(fits.runs.loss).mean() - value))
    new = draws + noise * rng.standard_t(law.degrees_of_freedom, shape)
    new += model_error * rng.standard_normal(shape)
    holdout_rms = holdout.to_json()["rms_error_percent"]
    return ApproachForecast(
        approach=approach,
        loss=float(np.exp(value)),
        interval=tuple(interval(np.exp(draws), fits.level)),
        predictive_interval=tuple(interval(np.exp(new).ravel(), fits.level)),
        noise=noise,
        model_error=model_error,
        n_opt=best["n_opt"],
        n_opt_interval=tuple(best["n_opt_interval"]),
        d_opt=best["d_opt"],
        d_opt_interval=tuple(best["d_opt_interval"]),
        holdout_percent=holdout_rms,
    )


def _headline(approaches: dict[str, ApproachForecast]) -> str:
    """The approach that speaks first, by `RULE`."""
    width = {k: np.diff(v.predictive_interval)[0] for k, v in approaches.items()}
    if len(width) == 1:
        return next(iter(width))
    return "isoflop" if width["isoflop"] < width["chinchilla"] / 2 else "chinchilla"


def _lists(value: ApproachForecast) -> dict:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(value).items()}
