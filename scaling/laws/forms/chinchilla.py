"""Laws of N and D that add a term of each."""

from scaling.laws.allocation import optimal
from scaling.laws.forms.grammar import SumOfPowers, term

CHINCHILLA = SumOfPowers(
    name="chinchilla",
    source="Hoffmann et al. 2022, approach 3",
    formula="E + A / N^alpha + B / D^beta",
    terms=(term("E"), term("A", alpha="n_params"), term("B", beta="n_tokens")),
    allocation=optimal,
)
