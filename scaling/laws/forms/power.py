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

_COLUMNS = {"N": "n_params", "D": "n_tokens", "C": "flops"}

# Kaplan et al. write (N_c / N)^alpha_N, which is a / N^alpha_N with a = N_c^alpha_N.
KAPLAN = tuple(
    SumOfPowers(
        name=f"kaplan_{letter.lower()}",
        source="Kaplan et al. 2020",
        formula=f"a / {letter}^alpha_{letter} = ({letter}_c / {letter})^alpha_{letter}"
                f" with {letter}_c = a^(1/alpha_{letter})",
        terms=(term("a", **{f"alpha_{letter}": column}),),
    )
    for letter, column in _COLUMNS.items()
)

HESTNESS = tuple(
    SumOfPowers(
        name=f"hestness_{letter.lower()}",
        source="Hestness et al. 2017; Henighan et al. 2020",
        formula=f"E + a / {letter}^alpha",
        terms=(term("E"), term("a", alpha=column)),
    )
    for letter, column in _COLUMNS.items()
)
