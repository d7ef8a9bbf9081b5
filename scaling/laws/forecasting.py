"""What the laws say of a run that has not been trained, with intervals."""

import dataclasses

import numpy as np

from scaling.errors import UserError
from scaling.laws.fits import LawFits
from scaling.laws.prediction import new_run, new_run_interval
from scaling.laws.uncertainty.bootstrap import interval

_LEAST_WIDTH = 1e-6  # of a predictive interval's log: runs without noise

RULE = (
    "the mean of approaches 2 and 3, each by its precision; its intervals pool their bootstrap draws in"
    " those parts, so they are wider where the approaches disagree: a few budgets cannot tell which form"
    " holds beyond them"
)


@dataclasses.dataclass(frozen=True)
class ApproachForecast:
    """One approach's forecast, or the pooled one. Losses in nats per token, intervals at the fits' level.

    interval: of the law's value (uncertain parameters). predictive_interval: of a new run's loss
    (parameters, run-to-run noise, and model error from the rolling hold-out).
    noise, model_error: standard deviations of the log loss; pooled, the approaches' disagreement.
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
class _Drawn:
    """A summary with the draws it was made from: of the law's value, nats, and of a new run, logs."""

    summary: ApproachForecast
    law: np.ndarray
    new_run: np.ndarray


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A forecast at (N, D, C). The headline is `approaches[method]`: `pooled` where approaches 2 and 3
    both speak, else the one that does; see `rule`.

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
    drawn: dict[str, _Drawn] = {}
    problems = []
    if fits.chinchilla is not None:
        drawn[fits.chinchilla.law] = _by_chinchilla(fits, flops, at)
    if fits.isoflop is not None and fits.isoflop.frontier is not None:
        if at is None or fits.isoflop.reaches(at[0], flops):
            drawn["isoflop"] = _by_isoflop(fits, flops, at)
        else:
            problems.append(f"approach 2 is silent: N = {at[0]:.3g} is further from N*(C) than any"
                            " size of its profiles")
    if not drawn:
        raise UserError("forecast: no law of the loss was fitted: " + "; ".join(fits.problems))
    approaches = {name: of.summary for name, of in drawn.items()}
    if len(drawn) > 1:
        approaches["pooled"] = _pooled(list(drawn.values()), fits.level)
    if flops <= fits.largest_flops:
        problems.append("not beyond the runs in the fit: an interpolation")
    elif fits.chinchilla is not None and fits.holdouts[fits.chinchilla.law].caution:
        problems.append(fits.holdouts[fits.chinchilla.law].caution)
    method = "pooled" if len(drawn) > 1 else next(iter(drawn))
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
        "law": [name for name in forecast.approaches if name in laws["laws"]],
        "fits": laws,
        "data_hash": laws["data_hash"],
        "fitted_run_ids": laws["fitted_run_ids"],
        "targets": targets,
    }


def _by_chinchilla(fits: LawFits, flops: float, at) -> _Drawn:
    law = fits.chinchilla
    best = law.optimal(flops)
    n, d = at or (best["n_opt"], best["d_opt"])
    value, draws = law.log_loss(n, d)
    return _forecast(fits, law.law, law, flops, best, value, draws)


def _by_isoflop(fits: LawFits, flops: float, at) -> _Drawn:
    law = fits.isoflop
    value, draws = law.frontier.log_loss(flops)
    if at is not None:
        extra = np.log1p(law.off_optimum(at[0], flops) / np.exp(value))
        value, draws = value + extra, draws + extra
    return _forecast(fits, "isoflop", law, flops, law.optimal(flops), value, draws)


def _forecast(fits, approach, law, flops, best, value, draws) -> _Drawn:
    holdout = fits.holdouts[approach]
    e_folds = float(np.log(flops / fits.largest_flops))
    new = new_run(draws, law.noise, law.degrees_of_freedom, holdout.model_error, e_folds, fits.seed)
    holdout_rms = holdout.to_json()["rms_error_percent"]
    summary = ApproachForecast(
        approach=approach,
        loss=float(np.exp(value)),
        interval=tuple(interval(np.exp(draws), fits.level)),
        predictive_interval=new_run_interval(new, len(draws), fits.level),
        noise=law.noise,
        model_error=holdout.model_error.at(e_folds),
        n_opt=best["n_opt"],
        n_opt_interval=tuple(best["n_opt_interval"]),
        d_opt=best["d_opt"],
        d_opt_interval=tuple(best["d_opt_interval"]),
        holdout_percent=holdout_rms,
    )
    return _Drawn(summary, np.exp(draws), new)


def _pooled(parts: list[_Drawn], level: float) -> ApproachForecast:
    """Means of the approaches (in logs), intervals of their pooled draws; see `RULE`.

    An approach's weight is 1 / width^2 of its predictive interval: a linear pool of opinions (Stone 1961).
    Equal parts would let the wider approach set the interval: it then held all of 100 synthetic runs.
    Where an approach gives no draws (its optimum), the interval spans both.
    """
    each = [part.summary for part in parts]
    widths = np.array([-np.log(np.divide(*a.predictive_interval)) for a in each])
    weights = np.maximum(widths, _LEAST_WIDTH) ** -2.0
    weights /= weights.sum()
    replicates = min(len(part.law) for part in parts)

    def mean(values) -> float:
        return float(np.exp(weights @ np.log(list(values))))

    def span(pairs) -> tuple[float, float]:
        lows, highs = zip(*pairs)
        return min(lows), max(highs)

    return ApproachForecast(
        approach="pooled",
        loss=mean(a.loss for a in each),
        interval=tuple(interval(_in_parts([part.law for part in parts], weights), level)),
        predictive_interval=new_run_interval(
            _in_parts([part.new_run for part in parts], weights), replicates, level),
        noise=mean(a.noise for a in each),
        model_error=float(np.log(max(a.loss for a in each) / min(a.loss for a in each))),
        n_opt=mean(a.n_opt for a in each),
        n_opt_interval=span(a.n_opt_interval for a in each),
        d_opt=mean(a.d_opt for a in each),
        d_opt_interval=span(a.d_opt_interval for a in each),
        holdout_percent=None,
    )


def _in_parts(draws: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """The draws of several approaches in proportion to their weights, of each its first ones."""
    total = min(len(d) / w for d, w in zip(draws, weights))
    return np.concatenate([d[: max(1, round(total * w))] for d, w in zip(draws, weights)])


def _lists(value: ApproachForecast) -> dict:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(value).items()}
