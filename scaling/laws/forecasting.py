"""What the laws say of a run that has not been trained, with intervals."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from scaling.errors import UserError
from scaling.laws.fits import LawFits
from scaling.laws.prediction import new_run, new_run_interval
from scaling.laws.uncertainty.bootstrap import interval

RULE = (
    "approach 3, whose intervals are calibrated on synthetic sweeps and on published runs; approach 2"
    " stands beside it as a check (it sees a point a budget, so its intervals are wider)"
)


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
    """A forecast at (N, D, C). The headline is `approaches[method]`: the parametric law where there is one,
    else approach 2; see `rule`.

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
    approaches: dict[str, ApproachForecast] = {}
    problems = []
    if fits.chinchilla is not None:
        approaches[fits.chinchilla.law] = _by_chinchilla(fits, flops, at)
    if fits.isoflop is not None and fits.isoflop.frontier is not None:
        if at is None or fits.isoflop.reaches(at[0], flops):
            approaches["isoflop"] = _by_isoflop(fits, flops, at)
        else:
            problems.append(f"approach 2 is silent: N = {at[0]:.3g} is further from N*(C) than any"
                            " size of its profiles")
    if not approaches:
        raise UserError("forecast: no law of the loss was fitted: " + "; ".join(fits.problems))
    if flops <= fits.largest_flops:
        problems.append("not beyond the runs in the fit: an interpolation")
    elif fits.chinchilla is not None and fits.holdouts[fits.chinchilla.law].caution:
        problems.append(fits.holdouts[fits.chinchilla.law].caution)
    problems += _disagreement(list(approaches.values()))
    method, best = next(iter(approaches.items()))
    n, d = at or (best.n_opt, best.d_opt)
    return Forecast(float(flops), n, d, method, RULE, fits.level,
                    float(flops / fits.largest_flops), approaches, tuple(problems))


def seal_payload(fits: LawFits, forecast: Forecast, targets: list[dict]) -> dict:
    """Everything that a seal holds about a forecast; see `seals.seal`."""
    laws = fits.to_json()
    return {
        "forecast": forecast.to_json(),
        "level": forecast.level,
        "law": [name for name in forecast.approaches if name in laws["laws"]],
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
    return _forecast(fits, law.law, law, law.noise_at(flops), flops, best, value, draws)


def _by_isoflop(fits: LawFits, flops: float, at) -> ApproachForecast:
    law = fits.isoflop
    value, draws = law.frontier.log_loss(flops)
    if at is not None:
        extra = np.log1p(law.off_optimum(at[0], flops) / np.exp(value))
        value, draws = value + extra, draws + extra
    return _forecast(fits, "isoflop", law, law.noise, flops, law.optimal(flops), value, draws)


def _forecast(fits, approach, law, noise, flops, best, value, draws) -> ApproachForecast:
    holdout = fits.holdouts[approach]
    e_folds = float(np.log(flops / fits.largest_flops))
    new = new_run(draws, noise, law.degrees_of_freedom, holdout.model_error, e_folds, fits.seed)
    holdout_rms = holdout.to_json()["rms_error_percent"]
    return ApproachForecast(
        approach=approach,
        loss=float(np.exp(value)),
        interval=tuple(interval(np.exp(draws), fits.level)),
        predictive_interval=new_run_interval(new, len(draws), fits.level),
        noise=noise,
        model_error=holdout.model_error.at(e_folds),
        n_opt=best["n_opt"],
        n_opt_interval=tuple(best["n_opt_interval"]),
        d_opt=best["d_opt"],
        d_opt_interval=tuple(best["d_opt_interval"]),
        holdout_percent=holdout_rms,
    )


def _disagreement(told: list[ApproachForecast]) -> Iterator[str]:
    """Where approaches 2 and 3 differ by more than their intervals together allow."""
    if len(told) < 2:
        return
    two, three = sorted(told, key=lambda a: a.loss)
    apart = np.log(three.loss / two.loss)
    reach = np.hypot(np.log(two.interval[1] / two.loss), np.log(three.loss / three.interval[0]))
    if apart > reach:
        yield (f"approaches 2 and 3 differ by {100 * apart:.2g}%, more than their intervals allow: the"
               " law's form or the profiles' minima are off")


def _lists(value: ApproachForecast) -> dict:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(value).items()}
