"""Laws of one variable."""

from scaling.laws.forms.grammar import SumOfPowers, term

POWER_LAW = SumOfPowers(
    name="power_law",
    source="Hestness et al. 2017; Henighan et al. 2020",
    formula="E + a x^-alpha",
    terms=(term("E"), term("a", alpha="x")),
)
PURE_POWER_LAW = SumOfPowers(
    name="pure_power_law",
    source="Kaplan et al. 2020",
    formula="a x^-alpha",
    terms=(term("a", alpha="x"),),
)
