"""One published number beside our refit of the same data, and the verdict."""

import dataclasses

REPLICATES = "replicates"
LOWER = "lower optimum"
CONVENTION = "convention"
DIFFERS = "does not replicate"
WITHIN = "within interval"
OURS_ONLY = "not published"
REFUSED = "refused"
VERDICTS = {
    REPLICATES: "ours agrees to 0.1%, or to the digits that are printed",
    LOWER: "the same objective on the same rows is lower at our parameters",
    CONVENTION: "another objective, another count or another procedure than ours, named in the reason",
    WITHIN: "ours differs, and the published value lies inside our 90% interval",
    DIFFERS: "ours differs, for another reason, given",
    OURS_ONLY: "no published value to compare with",
    REFUSED: "our fit refuses these rows; the reason says why",
}
TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """data: set of runs. fit: rows, form or objective within it. source: where the published value stands.

    interval: 90%, by resampling runs. excess: the published parameters' objective over ours, minus 1.
    exponent: whether the quantity is an exponent (the figure shows these).
    """

    data: str
    fit: str
    quantity: str
    published: float | None
    ours: float | None
    interval: tuple[float, float] | None
    excess: float | None
    verdict: str
    why: str
    source: str
    exponent: bool

    @property
    def difference(self) -> float | None:
        return None if None in (self.published, self.ours) else self.ours - self.published

    def to_json(self) -> dict:
        fields = dataclasses.asdict(self)
        return {**fields, "difference": self.difference}


def compare(
    data: str,
    fit: str,
    quantity: str,
    published: str | float | None,
    ours: float | None,
    *,
    interval=None,
    excess: float | None = None,
    otherwise: str | None = None,
    why: str = "",
    source: str = "",
    exponent: bool = False,
    within: float = TOLERANCE,
) -> Comparison:
    """published: as printed, a string, so that its last digit counts; or a stored float.

    within: relative difference that still replicates. otherwise: the verdict if it does not; without it,
    "lower optimum" where `excess` is positive, "within interval" where that is so, else "does not
    replicate". why: kept unless ours replicates.
    """
    value = None if published is None else float(published)
    interval = None if interval is None else (float(interval[0]), float(interval[1]))
    if ours is None:
        verdict = REFUSED
    elif value is None:
        verdict = OURS_ONLY
    elif abs(ours - value) <= max(within * abs(value), _half_a_digit(published)):
        verdict = REPLICATES
    elif otherwise is not None:
        verdict = otherwise
    elif excess is not None and excess > 0:
        verdict = LOWER
    elif interval is not None and interval[0] <= value <= interval[1]:
        verdict = WITHIN
    else:
        verdict = DIFFERS
    return Comparison(
        data=data, fit=fit, quantity=quantity, published=value,
        ours=None if ours is None else float(ours), interval=interval, excess=excess, verdict=verdict,
        why="" if verdict == REPLICATES else why, source=source, exponent=exponent,
    )


def _half_a_digit(published: str | float) -> float:
    """Half a unit of the last printed digit; 0 for a stored float, and for whole numbers."""
    if not isinstance(published, str):
        return 0.0
    digits = published.lower().split("e")[0]
    return 0.5 * 10.0 ** -len(digits.split(".")[1]) * (1 + 1e-9) if "." in digits else 0.0
