"""Proof that a fit is the global optimum: branch and bound over the exponents alone.

The coefficients are not searched: for a box of exponents they enter a convex problem, whose dual
bounds the objective (`bounds`). On the 240 Chinchilla runs this takes about 80 boxes where
interval arithmetic over all five parameters takes millions.
"""

import dataclasses
import heapq
import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np

from scaling.errors import UserError
from scaling.laws.fitting.bounds import Boxes, Question, lower_bound, narrowed
from scaling.laws.fitting.minorant import huber
from scaling.laws.fitting.mixtures import WIDE, even_mixture, lowest, nearest_law

_SAME = 1e-6  # residuals that nobody would tell apart, in log loss: objectives below this are zero
_WASTE = 1e-3  # share of the gap that each bound may lose for want of precision
_SOFT = 0.1  # of sqrt(gap) x typical residual: a parabola as wide costs little of the gap
_FAR = 700.0  # a log that exp can still take
_BATCH = 1 << 14  # points x boxes treated at once


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What branch and bound proved of E + sum_k A_k / N_k^alpha_k with E, A_k >= 0, alpha_k in `box`.

    lower_bound: no parameters have an objective below it.
    gap: (objective - lower_bound) / objective: no parameters are lower by a larger share.
    certified: whether `gap` is at most the one asked for. False when time ran out, or when the
        search found the counterexample.
    box: (low, high) of the exponent of each column.
    boxes, seconds: what the search took.
    counterexample: the lowest parameters found if they beat the objective, {E, coefficients,
        exponents, objective}, coefficients and exponents in the order of the columns; else None.
    """

    objective: float
    lower_bound: float
    gap: float
    certified: bool
    box: tuple[tuple[float, float], ...]
    boxes: int
    seconds: float
    counterexample: dict | None = None

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def certify(
    logs: Sequence[np.ndarray],
    log_loss: np.ndarray,
    weights: np.ndarray,
    delta: float,
    objective_at_optimum: float,
    *,
    box: tuple[float, float] = (0.0, 3.0),
    gap: float = 1e-3,
    most_seconds: float = 60.0,
    progress: Callable[[int, int, float, float], None] | None = None,
) -> Certificate:
    """Whether any parameters have an objective more than `gap` below `objective_at_optimum`.

    logs: natural logs of one, two or more columns, each (points,): one for E + A/N^alpha, two for
        E + A/N^alpha + B/D^beta. log_loss, weights: (points,).
    delta: the objective is sum_i weights_i huber_delta(log law_i - log_loss_i); `inf` for squares.
    box: range of every exponent. The coefficients need none: E and A_k are free in [0, inf), and a
        finite range that holds all competitive ones follows from the objective.
    gap: as a share of the objective (of that of residuals of 1e-6 at every point, if larger).
    most_seconds: the search stops soon after, with the gap proven by then.
    progress: called after each batch with boxes done, boxes open, proven gap and seconds.

    Raises `UserError` for shapes that do not match, values that are not finite, or options out of
    range. A parameter that is missing here (an objective given as a mean, other weights) makes
    the answer one to another question: pass the sum, as the fit minimised it.
    """
    x, log_loss, weights = _checked(logs, log_loss, weights, delta, objective_at_optimum, box, gap)
    begin = time.monotonic()
    search = _Search(x, log_loss, weights, delta, float(objective_at_optimum), box, gap)
    while search.open and time.monotonic() - begin < most_seconds:
        search.advance()
        if progress is not None:
            seconds = time.monotonic() - begin
            progress(search.done, len(search.heap), search.gap, seconds)
    return Certificate(
        objective=float(objective_at_optimum),
        lower_bound=search.lower_bound,
        gap=search.gap,
        certified=search.gap <= gap * (1 + 1e-9),
        box=((float(box[0]), float(box[1])),) * len(x),
        boxes=search.done,
        seconds=time.monotonic() - begin,
        counterexample=search.counterexample(),
    )


class _Search:
    """Open boxes, lowest bound first, and the best law seen."""

    def __init__(self, x, log_loss, weights, delta, objective, box, gap):
        self.objective, self.asked, self.done = objective, gap, 0
        used = weights > 0
        x, log_loss, weights = x[:, used], log_loss[used], weights[used]
        self.shift, self.middle = np.median(log_loss), x.mean(axis=1)
        self.unit = max(objective, float((weights * huber(np.full(len(weights), _SAME), delta)).sum()))
        self.best, self.best_law = objective, None
        typical = self.unit / min(delta, 1.0) / weights.sum()  # residual
        self.question = Question(
            x=x - self.middle[:, None],
            loss=np.exp(log_loss - self.shift),
            weights=weights,
            delta=delta,
            ceiling=objective - gap * self.unit,
            softest=_SOFT * np.sqrt(gap) * typical,
        )
        self.batch = max(1, _BATCH // len(weights))
        self.ticket = itertools.count()
        self.heap = []
        if self.question.ceiling > 0:  # nothing is below zero
            furthest = np.minimum(self.question.furthest_residual(), _FAR)
            low, high = (np.full(len(x), end, float) for end in box)
            self._push(0.0, low, high, -furthest, furthest, np.array([1.0] + [0.5] * len(x)))

    @property
    def open(self) -> bool:
        return bool(self.heap) and self.heap[0][0] < self.question.ceiling

    @property
    def lower_bound(self) -> float:
        lowest_open = self.heap[0][0] if self.heap else np.inf
        return max(0.0, float(min(lowest_open, self.question.ceiling)))

    @property
    def gap(self) -> float:
        return max(0.0, (self.objective - self.lower_bound) / self.unit)

    def _push(self, bound, low, high, below, above, terms) -> None:
        heapq.heappush(self.heap, (bound, next(self.ticket), low, high, below, above, terms))

    def advance(self) -> None:
        """Bounds the lowest boxes, narrows what survives, bounds again, and halves what is left."""
        taken = [heapq.heappop(self.heap) for _ in range(min(self.batch, len(self.heap)))]
        self.done += len(taken)
        bound, _, *parts, terms = (np.array(part) for part in zip(*taken))
        boxes, mixture = Boxes(*parts), even_mixture(terms)
        for begin in (WIDE, self.question.softest):
            question = self.question
            boxes = boxes.capped(question)
            basis, largest = boxes.atoms(question), boxes.largest_terms(question)
            waste = _WASTE * np.maximum(question.ceiling - bound, self.asked * self.unit)
            minorant = boxes.minorant(question)
            mixture, ratio = lowest(minorant, basis, mixture, waste, begin, question.softest)
            bound = np.maximum(bound, lower_bound(question, boxes, minorant, ratio, largest))
            self._look(boxes, mixture)
            keep = np.flatnonzero(bound < self.question.ceiling)
            if not len(keep):
                return
            boxes, bound, mixture = boxes.take(keep), bound[keep], mixture[keep]
            if begin == WIDE:
                boxes, empty = narrowed(
                    self.question, boxes, basis[keep], mixture, ratio[keep], largest[keep], bound
                )
                keep = np.flatnonzero(~empty)
                boxes, bound, mixture = boxes.take(keep), bound[keep], mixture[keep]
                if not len(keep):
                    return
        self._halve(bound, boxes, mixture)

    def _look(self, boxes: Boxes, mixture: np.ndarray) -> None:
        """The law nearest to each mixture is a candidate for the best.

        One that beats the objective by half the gap, or more, lowers the ceiling.
        """
        coefficients, exponents = nearest_law(boxes.low, boxes.high, mixture)
        values = self.question.objective(coefficients, exponents)
        lowest_one = int(np.argmin(values))
        if values[lowest_one] < self.best:
            self.best = float(values[lowest_one])
            self.best_law = coefficients[lowest_one], exponents[lowest_one]
        if self.best < self.objective - self.asked * self.unit / 2:
            ceiling = min(self.question.ceiling, self.best - self.asked * self.unit)
            self.question = dataclasses.replace(self.question, ceiling=ceiling)

    def _halve(self, bound, boxes, mixture) -> None:
        """Across the exponent that moves the predictions most."""
        terms, _ = nearest_law(boxes.low, boxes.high, mixture)
        terms = terms + 1e-6
        widest = np.argmax((boxes.high - boxes.low) * self.question.x.std(axis=1), axis=1)
        for i, k in enumerate(widest):
            middle = (boxes.low[i, k] + boxes.high[i, k]) / 2
            low, high = boxes.low[i].copy(), boxes.high[i].copy()
            low[k] = high[k] = middle
            known = boxes.below[i], boxes.above[i], terms[i]
            self._push(bound[i], boxes.low[i], high, *known)
            self._push(bound[i], low, boxes.high[i], *known)

    def counterexample(self) -> dict | None:
        if self.best_law is None or self.best > self.objective - 1e-9 * self.unit:
            return None
        (constant, *coefficients), exponents = self.best_law
        factor = np.exp(self.shift)
        return {
            "E": float(constant * factor),
            "coefficients": [float(a * factor * np.exp(alpha * m))
                             for a, alpha, m in zip(coefficients, exponents, self.middle)],
            "exponents": [float(a) for a in exponents],
            "objective": self.best,
        }


def _checked(logs, log_loss, weights, delta, objective, box, gap):
    x = np.asarray(logs, float)
    log_loss, weights = np.asarray(log_loss, float), np.asarray(weights, float)
    if x.ndim != 2 or log_loss.ndim != 1 or x.shape[1] != len(log_loss) or weights.shape != log_loss.shape:
        raise UserError(f"certify: logs {x.shape}, log_loss {log_loss.shape}, weights {weights.shape}:"
                        " expected (columns, points), (points,), (points,)")
    if not (np.isfinite(x).all() and np.isfinite(log_loss).all() and np.isfinite(weights).all()):
        raise UserError("certify: logs, log_loss and weights must be finite")
    if (weights < 0).any() or not (weights > 0).any():
        raise UserError("certify: weights must not be negative, nor all zero")
    if not delta > 0:
        raise UserError(f"certify: delta = {delta!r}: expected a positive number")
    if not (np.isfinite(objective) and objective >= 0):
        raise UserError(f"certify: objective_at_optimum = {objective!r}: expected zero or more")
    if not 0 <= box[0] < box[1] < np.inf:
        raise UserError(f"certify: box = {box!r}: expected 0 <= low < high")
    if not 0 < gap < 1:
        raise UserError(f"certify: gap = {gap!r}: expected a share between 0 and 1")
    if box[1] * np.ptp(x, axis=1).max() > _FAR / 2:
        raise UserError(f"certify: box = {box!r}: too wide, powers over these columns overflow")
    return x, log_loss, weights
