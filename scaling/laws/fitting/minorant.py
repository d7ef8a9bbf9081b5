"""Convex functions that stay below the Huber loss of a logarithm."""

import dataclasses

import numpy as np

_WALL = 30.0  # curvature outside of a range: there, the loss's slope doubles within 1/30
_FIELDS = ("low", "high", "bend", "start", "value", "slope")


@dataclasses.dataclass(frozen=True)
class Minorant:
    """g(t) <= w huber_delta(log t) for log t in a known range, g convex in t > 0; many at once.

    Up to log t = `bend`, g is the loss itself, which is convex there. Beyond, it is the line of
    slope `slope` through (start, value). Outside of [low, high], where t is known not to be, a
    parabola is added. Shapes (problems, points), but weights (points,) and the numbers delta, lift, wall.
    """

    weights: np.ndarray
    delta: float
    lift: float
    wall: float
    low: np.ndarray
    high: np.ndarray
    bend: np.ndarray
    start: np.ndarray
    value: np.ndarray
    slope: np.ndarray

    @classmethod
    def of(cls, weights, delta: float, below: np.ndarray, above: np.ndarray) -> "Minorant":
        """For logs in [below, above], both (problems, points). weights: (points,)."""
        with np.errstate(over="ignore"):
            low, high = np.exp(below), np.exp(above)
        at_low, at_high = huber(below, delta), huber(above, delta)
        bend = _tangent_from(above, at_high, delta)
        start = np.exp(bend)
        # Where the whole range lies beyond the tangent's foot, the chord is higher.
        chord = below > bend + 1e-9
        rise = (at_high - at_low) / np.where(chord, np.maximum(high - low, 1e-300), 1.0)
        rise = np.clip(rise, 0.0, np.where(chord, min(delta, 1.0) / start, 0.0))  # it is, but for rounding
        return cls(
            weights=weights,
            delta=delta,
            lift=0.0,
            wall=_WALL * min(delta, 1.0),
            low=low,
            high=high,
            bend=np.where(chord, -np.inf, bend),
            start=np.where(chord, low, start),
            value=np.where(chord, at_low, huber(bend, delta)),
            slope=np.where(chord, rise, np.clip(bend, -delta, delta) / start),
        )

    def take(self, rows: np.ndarray) -> "Minorant":
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in _FIELDS})

    def derivatives(self, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """g, g' and g'' at t = ratio (problems, points), each of that shape."""
        residual = np.log(ratio)
        curved = residual <= self.bend
        clipped = np.clip(residual, -self.delta, self.delta)
        line = self.value + self.slope * (ratio - self.start)
        value = np.where(curved, clipped * (residual - clipped / 2) + self.lift, line)
        slope = np.where(curved, clipped / ratio, self.slope)
        inside = np.abs(residual) <= self.delta
        second = np.where(curved, (inside - clipped) / ratio**2, 0.0)
        outside = ratio - np.clip(ratio, self.low, self.high)
        value += self.wall * outside**2 / 2
        slope += self.wall * outside
        second += self.wall * (outside != 0)
        return self.weights * value, self.weights * slope, self.weights * second

    def softened(self, delta: float) -> "Minorant":
        """The same arms joined by a wider parabola: easier to minimise, but no longer below the loss."""
        if delta <= self.delta:
            return self
        wider = delta / self.delta
        lift = delta * (delta - self.delta) / 2  # keeps the arms where they are
        slope = self.slope * wider
        foot = np.minimum(slope, 0.3)
        for _ in range(6):  # foot exp(-foot) = slope: where the parabola has the arm's slope
            foot = np.minimum(slope * np.exp(foot), 0.3)
        bend = np.where(self.bend <= -delta, self.bend, np.maximum(foot, -delta))
        straight = np.isinf(self.bend)
        start = np.where(straight, self.start, np.exp(bend))
        value = np.where(straight, self.value * wider, huber(bend, delta) + lift)
        return dataclasses.replace(
            self, weights=self.weights / wider, delta=delta, lift=lift, wall=self.wall * wider,
            bend=bend, start=start, value=value, slope=slope,
        )

    def sharpened(self, soft: "Minorant", ratio: np.ndarray) -> np.ndarray:
        """Where this minorant has the slopes that its softened form has at `ratio`."""
        if soft is self:
            return ratio
        residual = np.log(ratio)
        target = residual / ratio * (self.delta / soft.delta)
        sharp = target
        for _ in range(4):  # sharp exp(-sharp) = target
            sharp = target * np.exp(sharp)
        sharp = np.exp(np.minimum(np.maximum(sharp, -self.delta), self.bend))
        return np.where((np.abs(residual) < soft.delta) & (residual <= soft.bend), sharp, ratio)


def huber(residual: np.ndarray, delta: float) -> np.ndarray:
    """r^2 / 2 up to |r| = delta, then straight on: delta (|r| - delta / 2)."""
    clipped = np.clip(residual, -delta, delta)
    return clipped * (residual - clipped / 2)


def _tangent_from(above: np.ndarray, target: np.ndarray, delta: float) -> np.ndarray:
    """The largest foot r whose tangent passes below `target` at log t = above, by bisection.

    huber(log t) is convex in t up to log t = min(delta, 1) and concave from there. So a tangent
    with its foot in the convex part that is below the loss at the range's end is below it
    everywhere in the range. Up to that end, if all of the range is convex.
    """
    last = min(delta, 1.0)
    low, high = np.zeros_like(above), np.clip(above, 0.0, last)
    with np.errstate(over="ignore"):
        for _ in range(24):
            middle = (low + high) / 2
            reached = middle**2 / 2 + middle * np.expm1(above - middle)
            passes = reached <= target * (1 - 1e-13)
            low, high = np.where(passes, middle, low), np.where(passes, high, middle)
    return np.where(above <= last, above, low)
