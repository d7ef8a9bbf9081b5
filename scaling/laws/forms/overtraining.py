"""Loss by compute and tokens per parameter."""

import numpy as np

from scaling.laws.forms.grammar import SumOfPowers, Term, term


def _optimum(p, flops, relation):
    """At any C the bracket is least at M* = (b/a)^(1/(2 eta)); then C = k N^p (M N)."""
    ratio = np.exp((np.log(p.b) - np.log(p.a)) / (2 * p.eta))
    n_params = (flops / (relation.k * ratio)) ** (1 / (relation.p + 1))
    return n_params, ratio * n_params


# With C = 6 N D this is `chinchilla_shared`: alpha = beta = 2 eta, a = A 6^eta, b = B 6^eta.
OVERTRAINING = SumOfPowers(
    name="overtraining",
    source="Gadre et al. 2024, equation 4",
    formula="E + (a M^eta + b M^-eta) / C^eta, M = D / N",
    terms=(
        term("E"),
        Term("a", (("eta", "flops"), ("eta", "1/n_tokens"), ("eta", "n_params"))),
        Term("b", (("eta", "flops"), ("eta", "n_tokens"), ("eta", "1/n_params"))),
    ),
    closed_form=_optimum,
)
