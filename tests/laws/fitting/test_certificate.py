"""The parts of a certificate: every bound is below every law that it speaks of, and the bounds meet."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls

from scaling.laws.fitting.bounds import Boxes, Question, lower_bound, narrowed
from scaling.laws.fitting.certificate import certify
from scaling.laws.fitting.minorant import Minorant, huber
from scaling.laws.fitting.mixtures import WIDE, even_mixture, lowest, nearest_law

POINTS, BOXES, LAWS = 20, 12, 200
DELTAS = [1e-3, 0.1, np.inf]
_BESIDE = pathlib.Path(__file__).resolve().parents[4] / "shared" / "published"
FOLDER = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE))


class Case:
    """Noisy runs of a law of two columns, random boxes of exponents, and random laws in each box, of
    which many have an objective below the ceiling."""

    def __init__(self, delta, seed):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-2, 2, (2, POINTS))
        loss = 1 + np.exp(-0.4 * x[0]) + np.exp(-0.3 * x[1])
        loss *= np.exp(0.02 * rng.standard_normal(POINTS))
        weights = rng.uniform(0.5, 2, POINTS)
        middle = rng.uniform(0, 1.5, (BOXES, 2))
        middle[0] = 0.4, 0.3  # one box about the truth
        half = rng.uniform(0.02, 0.5, (BOXES, 2))
        low, high = np.maximum(middle - half, 0.0), middle + half
        self.exponents = rng.uniform(low, high, (LAWS, BOXES, 2))
        terms = np.concatenate([
            np.ones((LAWS, BOXES, POINTS, 1)), np.exp(-self.exponents[:, :, None, :] * x.T)], axis=-1)
        best = np.array([[nnls(t / loss[:, None], np.ones(POINTS))[0] for t in row] for row in terms])
        self.coefficients = best * np.exp(0.01 * rng.standard_normal(best.shape))
        flat = [a.reshape(LAWS * BOXES, -1) for a in (self.coefficients, self.exponents)]
        question = Question(x=x, loss=loss, weights=weights, delta=delta, ceiling=np.inf, softest=1e-4)
        self.objective = question.objective(*flat).reshape(LAWS, BOXES)
        ceiling = float(np.quantile(self.objective, 0.6))
        self.question = Question(
            x=x, loss=loss, weights=weights, delta=delta, ceiling=ceiling, softest=1e-4)
        far = np.repeat(self.question.furthest_residual()[None], BOXES, axis=0)
        self.boxes = Boxes(low, high, -far, far).capped(self.question)
        law = (self.coefficients[:, :, None, :] * terms).sum(axis=-1)
        self.residual = np.log(law / loss)
        self.under = self.objective < ceiling

    def bounded(self):
        """(bound (boxes,), and what `narrowed` wants)."""
        question, boxes = self.question, self.boxes
        basis, largest = boxes.atoms(question), boxes.largest_terms(question)
        minorant = boxes.minorant(question)
        begin = even_mixture(np.full((BOXES, 3), 1.0))
        mixture, ratio = lowest(minorant, basis, begin, np.full(BOXES, 1e-4 * question.ceiling), WIDE,
                                question.softest)
        bound = lower_bound(question, boxes, minorant, ratio, largest)
        return bound, (basis, mixture, ratio, largest)


@pytest.fixture(scope="module", params=DELTAS, ids=str)
def case(request):
    return Case(request.param, seed=1)


def test_there_are_laws_to_speak_of(case):
    assert case.under.any(axis=0).sum() > 2 and case.under.sum() > 500


def test_bounds_are_below_every_law_of_their_box(case):
    bound, _ = case.bounded()
    assert (case.objective >= np.minimum(bound, case.question.ceiling)).all()
    assert (bound > 0).sum() > BOXES / 2  # and they say something


def test_ranges_hold_every_law_under_the_ceiling(case):
    """Before narrowing and after; a box that is found empty has no such law."""
    bound, (basis, mixture, ratio, largest) = case.bounded()
    assert (case.coefficients <= largest)[case.under].all()
    level = np.minimum(bound, 0.999 * case.question.ceiling)
    narrow, empty = narrowed(case.question, case.boxes, basis, mixture, ratio, largest, level)
    assert not case.under[:, empty].any()
    for boxes in (case.boxes, narrow):
        inside = (case.residual >= boxes.below) & (case.residual <= boxes.above)
        assert inside[case.under].all()
    assert ((narrow.above - narrow.below) <= (case.boxes.above - case.boxes.below) + 1e-12).all()


def test_mixtures_are_as_low_as_any_other(case):
    """Of the convex problem: no law of the box, itself nearly a mixture, is below it."""
    basis = case.boxes.atoms(case.question)
    minorant = case.boxes.minorant(case.question)
    _, (_, mixture, _, _) = case.bounded()
    value = lambda z: minorant.derivatives((basis @ z[..., None])[..., 0])[0].sum(axis=-1)  # noqa: E731
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1, 1.0):
        other = mixture * np.exp(size * rng.standard_normal(mixture.shape))
        assert (value(other) >= value(mixture) - 5e-3 * case.question.ceiling).all()
    _, exponents = nearest_law(case.boxes.low, case.boxes.high, mixture)
    rounding = 1e-12
    assert ((exponents >= case.boxes.low - rounding) & (exponents <= case.boxes.high + rounding)).all()


@pytest.mark.parametrize("delta", DELTAS)
def test_a_minorant_is_convex_and_below_the_loss(delta):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, 60)
    below, above = np.sort(rng.uniform(-3, 3, (2, 5, 60)), axis=0)
    minorant = Minorant.of(weights, delta, below, above)
    low, high = np.exp(below), np.exp(above)
    value = []
    for share in np.linspace(0, 1, 41):
        ratio = low + share * (high - low)
        value.append(minorant.derivatives(ratio)[0])
        assert (value[-1] <= weights * huber(np.log(ratio), delta) * (1 + 1e-9) + 1e-12).all()
    second = np.diff(np.array(value), n=2, axis=0)  # by values: the derivatives might be wrong alike
    assert (second >= -1e-9 * np.abs(value).max()).all()


class TestExactSurface:
    logs = np.log(np.array([np.geomspace(1e7, 1e9, 5).repeat(5), np.tile(np.geomspace(1e9, 1e11, 5), 5)]))
    loss = np.log(1.7 + 400 * np.exp(-0.34 * logs[0]) + 410 * np.exp(-0.28 * logs[1]))

    def claim(self, residual):
        """That no law is closer than one off by so much at every point."""
        objective = float(25 * huber(np.array([residual]), 1e-3)[0])
        return certify(self.logs, self.loss, np.ones(25), 1e-3, objective)

    def test_nothing_is_below_an_exact_fit(self):
        found = self.claim(0.0)
        assert found.certified and found.lower_bound == 0.0

    def test_a_claim_of_another_optimum_meets_the_law_itself(self):
        found = self.claim(1e-2)
        assert not found.certified and found.lower_bound <= 1e-12
        lower = found.counterexample
        law = lower["E"] + sum(a * np.exp(-e * x) for a, e, x in
                               zip(lower["coefficients"], lower["exponents"], self.logs))
        assert np.abs(np.log(law) - self.loss).max() < 1e-2

    def test_without_the_law_in_the_box_the_bound_rises(self):
        """Exponents of at least 0.6 cannot follow it, and the bound says by how much at least."""
        box = (0.6, 3.0)
        found = certify(self.logs, self.loss, np.ones(25), np.inf, 1.0, box=box, gap=1e-3)
        lowest_seen = found.counterexample["objective"]
        assert 0 < found.lower_bound <= lowest_seen
        again = certify(self.logs, self.loss, np.ones(25), np.inf, lowest_seen, box=box, gap=1e-2)
        assert again.certified and again.lower_bound >= (1 - 1e-2 - 1e-9) * lowest_seen


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the published runs")
def test_the_chinchilla_runs_have_no_lower_optimum():
    """Their objective by an independent fit; no exponents in [0, 3] are more than 0.1% below it."""
    runs = pd.read_csv(FOLDER / "chinchilla_epoch.csv")
    runs = runs.sort_values("loss").head(240)
    logs = [np.log(runs[name].to_numpy()) for name in ("n_params", "n_tokens")]
    found = certify(logs, np.log(runs.loss.to_numpy()), np.ones(240), 1e-3, 1.01827401778e-3,
                    box=(0.0, 3.0), gap=1e-3, most_seconds=300)
    assert found.certified and found.gap <= 1e-3 * (1 + 1e-9) and found.counterexample is None
