"""Numbers as the page writes them. `^{...}` marks a superscript for `markup` and `figures`."""

import math
import re
from collections.abc import Sequence

MISSING = "–"
_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def count(value: float | None, digits: int = 3) -> str:
    """Parameters and tokens: 38.6k, 1.42M."""
    if value is None or not math.isfinite(value):
        return MISSING
    for size, suffix in _SUFFIXES:
        if abs(value) >= size:
            return f"{_plain(value / size, digits)}{suffix}"
    return _plain(value, digits)


def scientific(value: float | None, digits: int = 3) -> str:
    """FLOPs: 1.2 × 10^{13}, with no-break spaces."""
    if value is None or not math.isfinite(value) or value <= 0:
        return MISSING
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = f"10^{{{int(exponent)}}}".replace("-", "−")
    return power if mantissa == "1" else f"{mantissa}\u00a0×\u00a0{power}"


def tick(value: float) -> str:
    """A power-of-ten tick without spaces."""
    return scientific(value, 2).replace("\u00a0", "")


def tick_count(value: float) -> str:
    """A count as a tick: 50k, not 50.0k."""
    text = count(value)
    return re.sub(r"\.?0+(?=\D*$)", "", text) if "." in text else text


def decimals(value: float | None, places: int = 3, signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text.replace("-", "−")


def two_decimals(value: float | None) -> str:
    return decimals(value, 2)


def significant(value: float | None, digits: int = 3) -> str:
    """A coefficient of any size: 2.1, 41.3, 0.35, 1.2 × 10^{5}."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value and not 1e-3 <= abs(value) < 1e5:
        return scientific(value, digits)
    return _plain(value, digits)


def percent(value: float | None, signed: bool = True) -> str:
    return MISSING if value is None else f"{decimals(value, 2, signed)}%"


def interval(bounds: Sequence[float] | None, write=decimals) -> str:
    if bounds is None:
        return MISSING
    return f"[{write(bounds[0])}, {write(bounds[1])}]"


def duration(seconds: float | None) -> str:
    """12.8 s, 4 min 10 s, 3 h 20 min."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 100:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60}\u00a0min"


def is_number(value) -> bool:
    """Whether a value of unknown type, from a tag, is a positive number."""
    return isinstance(value, (int, float)) and 0 < value < math.inf


def _plain(value: float, digits: int) -> str:
    """`digits` significant digits without an exponent."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".replace("-", "−")
