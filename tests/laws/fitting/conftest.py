"""Small problems whose answers are known."""

import numpy as np
import pytest

from scaling.laws.fitting.log_sum_exp import LogSumExp
from scaling.laws.fitting.objectives import objective
from scaling.laws.fitting.traced import Traced
from scaling.laws.forms.coordinates import Centring
from scaling.laws.forms.grammar import SmoothForm, SumOfPowers, coefficient, constant, exponent, term

SUM = SumOfPowers(
    name="sum", source="", formula="E + A / x^alpha + B / y^beta",
    terms=(term("E"), term("A", alpha="x"), term("B", beta="y")),
)
SMOOTH = SmoothForm(
    name="smooth", source="", formula=SUM.formula, inputs=("x", "y"),
    free=(constant("E"), coefficient("A", alpha="x"), coefficient("B", beta="y"),
          exponent("alpha"), exponent("beta")),
    value=lambda p, x, xp: p.E + p.A * x.x**-p.alpha + p.B * x.y**-p.beta,
)
TRUTH = {"E": 1.7, "A": 400.0, "B": 1500.0, "alpha": 0.34, "beta": 0.37}


class Case:
    """Measurements of `TRUTH` at random points, and problems made of them."""

    def __init__(self, n, noise, seed=0, truth=TRUTH):
        rng = np.random.default_rng(seed)
        self.columns = {"x": np.exp(rng.uniform(16, 23, n)), "y": np.exp(rng.uniform(18, 26, n))}
        self.logs = {name: np.log(values) for name, values in self.columns.items()}
        law = np.exp(SUM.log_loss(SUM.theta(truth), self.logs)[0])
        self.loss = law * np.exp(noise * rng.standard_t(4, n))

    def problem(self, form=SUM, name="huber_log", delta=1e-3, **shared):
        centring = Centring.of(form, self.logs)
        shared = {
            "log_target": np.log(self.loss)[None], "weights": np.ones((1, len(self.loss))), "scale": 1.0,
            "objective": objective(name, delta), "roots": centring.roots,
            "low": centring.low[None], "high": centring.high[None], **shared,
        }
        if isinstance(form, SumOfPowers):
            return LogSumExp.of(form, self.logs, centring, **shared)
        return Traced.of(form, self.columns, centring, **shared)

    def centred(self, values, form=SUM):
        return Centring.of(form, self.logs).to_centred(form.theta(values))


@pytest.fixture(scope="session")
def case():
    """`case(n, noise)`."""
    return Case


@pytest.fixture(scope="session")
def forms():
    """The same law in both kinds."""
    return {"sum": SUM, "smooth": SMOOTH}


@pytest.fixture(scope="session")
def truth():
    return TRUTH
