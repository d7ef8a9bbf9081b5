"""Lower bounds of a Huber objective over whole boxes of exponents, for sums of falling powers.

The law is m = E + sum_k A_k exp(-alpha_k x_k) with E, A_k >= 0 and x_k the centred log of a column;
t = m / loss is the ratio whose log is the residual. Three facts make the bounds tight.

1. For fixed exponents t is linear in (E, A), and w huber(log t) is convex in t up to log t = delta.
   Beyond, it bends a little; a straight line replaces it there (`Minorant`), at a price that vanishes
   as the range of the residual shrinks.
2. Let each term be a mixture of the powers in the box: a convex problem (`mixtures`). Its dual says
   that any slopes s_i = g_i'(t_i), at any t_i, bound it from below by
   sum_i [g_i(t_i) - s_i t_i] + sum over terms of the least of A phi(alpha), where
   phi(alpha) = sum_i s_i exp(-alpha x_i) / loss_i: one exponent at a time (`lower_bound`). Slopes at the
   relaxed optimum give a tight bound; bad ones a weak one, never a wrong one.
3. The same bound of the objective minus a linear function of (E, A) says how far that function can
   go before the objective passes a ceiling. That narrows the residuals' ranges (`narrowed`): back to 1.

Rounding: every sum is moved outwards by 1e-12 of the sum of its terms' sizes, some hundred times the
error it can have.
"""

import dataclasses

import numpy as np

from scaling.laws.fitting.minorant import Minorant, huber
from scaling.laws.fitting.mixtures import atoms, furthest, middle_atoms, term_of_atom

SLACK = 1e-12
_PIECES = 4  # of an exponent's range, each with its own Taylor polynomial
_NEWTON_STEPS = 8


@dataclasses.dataclass(frozen=True)
class Question:
    """Is the objective below `ceiling` anywhere? Bounds have to hold for such points only.

    x: (columns, points) centred logs. loss, weights: (points,), above zero. delta: Huber's, in log
    loss; `inf` for squares. softest: a delta this small is as good as zero for finding slopes.
    """

    x: np.ndarray
    loss: np.ndarray
    weights: np.ndarray
    delta: float
    ceiling: float
    softest: float

    def objective(self, coefficients: np.ndarray, exponents: np.ndarray) -> np.ndarray:
        """At laws (boxes, 1 + columns) with E first, and (boxes, columns). Shape (boxes,)."""
        powers = np.exp(-exponents[:, :, None] * self.x)
        law = coefficients[:, :1] + (coefficients[:, 1:, None] * powers).sum(axis=1)
        residual = np.log(np.maximum(law / self.loss, 1e-300))
        return (self.weights * huber(residual, self.delta)).sum(axis=-1)

    def furthest_residual(self) -> np.ndarray:
        """The |residual| at which a point alone passes the ceiling, (points,)."""
        share = self.ceiling / self.weights
        near = np.sqrt(2 * share)
        if np.isfinite(self.delta):
            near = np.where(near <= self.delta, near, share / self.delta + self.delta / 2)
        return near * (1 + SLACK)

    def lowered(self, height: np.ndarray, profile: np.ndarray) -> np.ndarray:
        """Lowers `height` (..., 1) until residuals of height - profile (..., points) are affordable.

        Counts residuals above zero only. Newton's method comes from above, for the cost is convex:
        the result is too high rather than too low.
        """
        for _ in range(_NEWTON_STEPS):
            residual = np.maximum(height - profile, 0.0)
            cost = (self.weights * huber(residual, self.delta)).sum(axis=-1, keepdims=True)
            slope = (self.weights * np.minimum(residual, self.delta)).sum(axis=-1, keepdims=True)
            height = height - np.maximum(cost - self.ceiling, 0.0) / np.maximum(slope, 1e-300)
        return height + 1e-9


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Boxes of exponents, and what is known of the points in them that are under the ceiling.

    low, high: (boxes, columns) exponents. below, above: (boxes, points) ranges of the residuals.
    """

    low: np.ndarray
    high: np.ndarray
    below: np.ndarray
    above: np.ndarray

    def __len__(self) -> int:
        return len(self.low)

    def take(self, rows: np.ndarray) -> "Boxes":
        return Boxes(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def atoms(self, question: Question) -> np.ndarray:
        return atoms(self.low, self.high, question.x, question.loss)

    def minorant(self, question: Question) -> Minorant:
        return Minorant.of(question.weights, question.delta, self.below, self.above)

    def capped(self, question: Question) -> "Boxes":
        """`above` lowered to what the largest terms add up to that are affordable each by itself.

        A term alone already pushes up every point that lies below it.
        """
        log_loss = np.log(question.loss)
        edges = np.linspace(0, 1, _PIECES + 1)
        edges = self.low[..., None] + (self.high - self.low)[..., None] * edges
        falls = edges[..., None] * question.x[:, None, :]  # boxes, columns, edges, points
        fastest = np.maximum(falls[:, :, 1:], falls[:, :, :-1])
        slowest = np.minimum(falls[:, :, 1:], falls[:, :, :-1])
        profile, alone = log_loss + fastest, question.furthest_residual()
        term = question.lowered((profile + alone).min(axis=-1, keepdims=True), profile)
        constant = question.lowered((log_loss + alone).min(keepdims=True), log_loss)
        terms = (term - slowest).max(axis=2)  # over the pieces: boxes, columns, points
        highest = np.logaddexp(np.logaddexp.reduce(terms, axis=1), constant)
        return dataclasses.replace(self, above=np.minimum(self.above, highest - log_loss + 1e-9))

    def largest_terms(self, question: Question) -> np.ndarray:
        """Upper ends of E and A_k: no term exceeds a prediction. (boxes, 1 + columns)"""
        highest = (self.above + np.log(question.loss))[:, None]
        fastest = np.maximum(self.low[..., None] * question.x, self.high[..., None] * question.x)
        logs = np.concatenate([highest.min(axis=-1), (highest + fastest).min(axis=-1)], axis=1)
        return np.exp(np.minimum(logs, 700.0)) * (1 + SLACK)


def lower_bound(question, boxes, minorant, ratio, largest, pull=None) -> np.ndarray:
    """Bound of the objective minus pull . (E, A) over each box's points under the ceiling, (boxes,).

    ratio: (boxes, points) t at which the minorant's tangents are taken. largest: (boxes, 1 + columns)
    upper ends of (E, A). pull: of that shape, or nothing. Minus infinity where a ratio is no number.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        value, slope, _ = minorant.derivatives(ratio)
        product = slope * ratio
        bound = (value - product).sum(axis=-1)
        bound -= SLACK * (np.abs(value) + np.abs(product)).sum(axis=-1)
        per_unit = slope / question.loss  # of a term's value
        cost = [per_unit.sum(axis=-1) - SLACK * np.abs(per_unit).sum(axis=-1)]
        for k, x in enumerate(question.x):
            cost.append(_least(per_unit, x, boxes.low[:, k], boxes.high[:, k]))
        cost = np.stack(cost, axis=-1)
        if pull is not None:
            cost -= pull + SLACK * np.abs(pull)
        bound += (np.minimum(cost, 0.0) * largest).sum(axis=-1)
    return np.where(np.isfinite(bound), bound, -np.inf)


def _least(per_unit, x, low, high) -> np.ndarray:
    """Bound of phi(alpha) = sum_i per_unit_i exp(-alpha x_i) over alpha in [low, high], (boxes,).

    Taylor polynomials of degree 2 about the middles of a few pieces, with their remainders.
    """
    half = (high - low) / (2 * _PIECES)
    growth = np.abs(x) ** 3 * np.exp(half[:, None] * np.abs(x))
    least = np.full(len(low), np.inf)
    for piece in range(_PIECES):
        middle = low + half * (2 * piece + 1)
        term = per_unit * np.exp(-middle[:, None] * x)
        zeroth, first, second = term.sum(axis=-1), -(term * x).sum(axis=-1), (term * x**2).sum(axis=-1)
        size = np.abs(term)
        lost = (size * growth).sum(axis=-1) * half**3 / 6 + SLACK * (size * (1 + growth)).sum(axis=-1)
        ends = zeroth - np.abs(first) * half + second * half**2 / 2
        turn = np.clip(-first / np.where(second > 0, second, 1.0), -half, half)
        inside = zeroth + first * turn + second * turn**2 / 2
        least = np.minimum(least, np.where(second > 0, np.minimum(ends, inside), ends) - lost)
    return least


def narrowed(question, boxes, basis, mixture, ratio, largest, level) -> tuple[Boxes, np.ndarray]:
    """The same boxes with narrower ranges of residuals, and which hold no point under the ceiling.

    basis, mixture, ratio: the boxes' atoms, their relaxed optimum, and t there. largest: as for
    `lower_bound`. level: (boxes,) a bound known so far, below the ceiling.
    """
    columns = len(question.x)
    terms = basis[..., middle_atoms(columns)]  # t = terms . (E, A) at the middle of the box
    directions = _principal(question, terms, ratio)
    bottom, top = _extents(question, boxes, basis, mixture, largest, directions, level)
    empty, known = (top < bottom).any(axis=-1), np.isfinite(bottom + top).all(axis=-1)
    bottom, top = (np.where((known & ~empty)[:, None], end, 0.0) for end in (bottom, top))
    centre, reach = (top + bottom) / 2, (top - bottom) / 2
    inverse = np.linalg.inv(directions)
    lost = np.matmul(np.abs(np.eye(1 + columns) - np.matmul(inverse, directions)), largest[..., None])
    most = np.matmul(inverse, centre[..., None]) + np.matmul(np.abs(inverse), reach[..., None]) + lost
    most = np.clip(most[..., 0], 0.0, largest) * (1 + SLACK)
    across = np.matmul(terms, inverse)  # t = across . directions . (E, A), but for what is lost
    lost = np.matmul(np.abs(terms - np.matmul(across, directions)), largest[..., None])
    size = np.matmul(np.abs(across), (np.abs(centre) + reach)[..., None])
    width = (np.matmul(np.abs(across), reach[..., None]) + lost + SLACK * size)[..., 0]
    high = np.matmul(across, centre[..., None])[..., 0] + width
    low = high - 2 * width
    for k, x in enumerate(question.x):  # and the exponent moves, from the middle to the ends
        moves = np.abs(x) * ((boxes.high - boxes.low)[:, k, None] / 2 * (1 + SLACK))
        part = most[:, k + 1, None] * terms[..., k + 1]
        high += part * np.expm1(moves)
        low += part * np.expm1(-moves)
    known = known[:, None]
    above = np.where(known, np.log(np.maximum(high, 1e-300)) + SLACK, np.inf)
    below = np.where(known, np.log(np.maximum(low, 1e-300)) - SLACK, -np.inf)
    above, below = np.minimum(boxes.above, above), np.maximum(boxes.below, below)
    empty |= (below > above).any(axis=-1)
    return dataclasses.replace(boxes, below=below, above=above), empty


def _extents(question, boxes, basis, mixture, largest, directions, level):
    """Lower and upper ends of directions . (E, A), each (boxes, 1 + columns)."""
    count = directions.shape[1]
    every = np.repeat(np.arange(len(boxes)), 2 * count)
    signed = np.concatenate([directions, -directions], axis=1).reshape(-1, count)
    minorant = boxes.minorant(question).take(every)
    ratio, force = furthest(
        minorant, basis[every], mixture[every], signed[:, term_of_atom(count - 1)],
        (question.ceiling - level)[every], question.softest,
    )
    least = lower_bound(
        question, boxes.take(every), minorant, ratio, largest[every], signed * force[:, None]
    )
    ends = ((question.ceiling - least) / force).reshape(len(boxes), 2, count)
    return -ends[:, 1], ends[:, 0]


def _principal(question, terms, ratio) -> np.ndarray:
    """Rows R such that the objective, smoothed, is about |R (E, A)|^2 / 2 around its optimum.

    terms: (boxes, points, 1 + columns). Returns (boxes, 1 + columns, 1 + columns). Any regular
    matrix would do.
    """
    wide = max(question.delta, 0.01)
    curved = np.where(np.abs(np.log(ratio)) < wide, 1.0, 0.05)
    weights = question.weights * (question.delta / wide if np.isfinite(wide) else 1.0)
    bend = weights * curved / ratio**2
    hessian = np.matmul(np.swapaxes(terms, 1, 2), bend[..., None] * terms)
    trace = np.trace(hessian, axis1=1, axis2=2)[:, None, None]
    hessian += 1e-9 * trace * np.eye(hessian.shape[-1])
    return np.swapaxes(np.linalg.cholesky(hessian), 1, 2)
