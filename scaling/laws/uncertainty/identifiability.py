"""How far each parameter is known, in words, by profile likelihood and bootstrap together."""

import dataclasses

import numpy as np

from scaling.laws.fitting.point_fit import PointFit
from scaling.laws.uncertainty.bootstrap import interval
from scaling.laws.uncertainty.noise import measured_noise
from scaling.laws.uncertainty.profile import Profile, profile

_KNOWN = 2.0  # high / low of an interval up to which a parameter counts as identified
_RUNAWAY = 1e3  # a bootstrap's limit this many times from the estimate counts as open


@dataclasses.dataclass(frozen=True)
class Identifiability:
    """One parameter. low, high: the wider of profile and bootstrap on either side; None where open.
    words: "identified (7%)", "weakly identified (within a factor of 3)", "not identified above 5", "not
    identified", "at its bound, 0; not above 0.4".
    """

    parameter: str
    value: float
    low: float | None
    high: float | None
    words: str
    profile: Profile

    def to_json(self) -> dict:
        return {**dataclasses.asdict(self), "profile": self.profile.to_json()}


def identifiability(
    point: PointFit, draws: np.ndarray, run_of_row: np.ndarray, level: float = 0.9
) -> dict[str, Identifiability]:
    """Of every parameter of a fit, by name. draws: (replicates, p) natural coordinates, of a bootstrap.

    A side is open where the law fits as well (by the profile, at `level`) however far the parameter
    goes to that side, or where the bootstrap's interval runs off to a thousand times the estimate.
    """
    noise = measured_noise(point)
    values = point.form.values(draws)
    found = {}
    for i, name in enumerate(point.form.names):
        by_profile = profile(point, name, run_of_row, level, noise)
        found[name] = _describe(point, i, by_profile, interval(values[:, i], level))
    return found


def _describe(point: PointFit, at: int, by_profile: Profile, resampled: list[float]) -> Identifiability:
    name = point.form.names[at]
    value, parameter = point.params[name], point.form.parameters[at]
    low, high = min(by_profile.interval[0], resampled[0]), max(by_profile.interval[1], resampled[1])
    signed = not parameter.logarithmic and parameter.low < 0
    bound = name in point.receipt.at_bound
    open_above = by_profile.open_above or (not signed and not bound and high > _RUNAWAY * value > 0)
    open_below = by_profile.open_below or (not signed and value > 0 and low < value / _RUNAWAY)
    none = (None if open_below else float(low), None if open_above else float(high))
    return Identifiability(name, float(value), *none, _words(point, at, value, *none), by_profile)


def _words(point: PointFit, at: int, value: float, low: float | None, high: float | None) -> str:
    name, parameter = point.form.names[at], point.form.parameters[at]
    if name in point.receipt.at_bound:
        inwards = "" if value > 0 and low is not None or high is None else f"; not above {high:.2g}"
        return f"at its bound, {value:.3g}{inwards}" if value >= 1e-6 else f"at its bound, 0{inwards}"
    if low is None and high is None:
        return "not identified"
    if high is None:
        return f"not identified above {low:.2g}"
    if low is None:
        may_vanish = parameter.kind == "constant" or parameter.kind == "exponent" and parameter.low == 0
        return f"not identified below {high:.2g}" + (": it may be 0" if may_vanish else "")
    if low <= 0 or high / low > _KNOWN:
        if low <= 0:
            return f"weakly identified ({low:.2g} to {high:.2g})"
        return f"weakly identified (within a factor of {np.sqrt(high / low):.2g})"
    return f"identified ({100 * (high - low) / 2 / abs(value):.2g}%)"
