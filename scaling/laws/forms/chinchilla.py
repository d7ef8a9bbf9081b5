"""Laws that add a term of N and a term of D."""

import numpy as np

from scaling.laws.allocation import balanced
from scaling.laws.forms.grammar import (
    SmoothForm,
    SumOfPowers,
    coefficient,
    constant,
    exponent,
    positive,
    term,
)


def _optimum(p, flops, relation):
    return balanced(np.log(p.A), p.alpha, np.log(p.B), p.beta, flops, relation)


CHINCHILLA = SumOfPowers(
    name="chinchilla",
    source="Hoffmann et al. 2022, approach 3",
    formula="E + A / N^alpha + B / D^beta",
    terms=(term("E"), term("A", alpha="n_params"), term("B", beta="n_tokens")),
    closed_form=_optimum,
)

CHINCHILLA_SHARED = SumOfPowers(
    name="chinchilla_shared",
    source="Hoffmann et al. 2022 with alpha = beta, as Muennighoff et al. 2023 fit their C4 base law",
    formula="E + A / N^alpha + B / D^alpha",
    terms=(term("E"), term("A", alpha="n_params"), term("B", alpha="n_tokens")),
    closed_form=lambda p, flops, relation: balanced(
        np.log(p.A), p.alpha, np.log(p.B), p.alpha, flops, relation
    ),
)

# The power is monotone, so it leaves the compute-optimal N and D where they are.
CHINCHILLA_GAMMA = SmoothForm(
    name="chinchilla_gamma",
    source="Beck et al. 2025 (xLSTM scaling laws)",
    formula="E + (A / N^alpha + B / D^beta)^gamma",
    free=(
        constant("E"), coefficient("A", alpha="n_params"), coefficient("B", beta="n_tokens"),
        exponent("alpha"), exponent("beta"), positive("gamma", start=(0.3, 2.0), low=0.01, high=100.0),
    ),
    inputs=("n_params", "n_tokens"),
    value=lambda p, x, xp: p.E + (p.A * x.n_params**-p.alpha + p.B * x.n_tokens**-p.beta) ** p.gamma,
    closed_form=_optimum,
)
