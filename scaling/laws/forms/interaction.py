"""Laws in which N and D interact: what more of the one is worth depends on the other."""

import numpy as np

from scaling.laws.allocation import balanced
from scaling.laws.forms.grammar import SmoothForm, exponent, positive, real

# The sum inside has alpha = alpha_N / alpha_D and beta = 1; its power moves no optimum.
KAPLAN_JOINT = SmoothForm(
    name="kaplan_nd",
    source="Kaplan et al. 2020, equation 1.5",
    formula="((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D",
    free=(
        positive("N_c", start=(1.0, 1e8), low=1e-30, high=1e60, unit="n_params"),
        positive("D_c", start=(1.0, 1e8), low=1e-30, high=1e60, unit="n_tokens"),
        exponent("alpha_N", low=1e-4, start=(0.03, 0.5)),
        exponent("alpha_D", low=1e-4, start=(0.03, 0.5)),
    ),
    inputs=("n_params", "n_tokens"),
    value=lambda p, x, xp: (
        (p.N_c / x.n_params) ** (p.alpha_N / p.alpha_D) + p.D_c / x.n_tokens
    ) ** p.alpha_D,
    closed_form=lambda p, flops, relation: balanced(
        p.alpha_N / p.alpha_D * np.log(p.N_c), p.alpha_N / p.alpha_D, np.log(p.D_c), 1.0, flops, relation
    ),
)


def _farseer(p, x, xp):
    size = x.n_params
    floor = xp.exp(p.a3 * size**p.gamma + p.b3)
    falls = xp.exp(p.a1 * size**p.alpha + p.b1)
    return floor + xp.exp(p.a2 * size**p.beta + p.b2 - falls * xp.log(x.n_tokens))


FARSEER = SmoothForm(
    name="farseer",
    source="Li et al. 2025 (Farseer), equation 3",
    formula="exp(a3 N^gamma + b3) + exp(a2 N^beta + b2) D^(-exp(a1 N^alpha + b1))",
    free=(
        real("a3", (-1.0, 0.0)), exponent("gamma", -1.0, 1.0, start=(0.05, 0.3)), real("b3", (-0.5, 1.0)),
        real("a2", (0.0, 100.0)), exponent("beta", -1.0, 1.0, start=(-0.3, -0.05)), real("b2", (-5.0, 5.0)),
        real("a1", (-1.0, 0.0)), exponent("alpha", -1.0, 1.0, start=(0.05, 0.3)), real("b1", (-1.0, 1.0)),
    ),
    inputs=("n_params", "n_tokens"),
    value=_farseer,
)
