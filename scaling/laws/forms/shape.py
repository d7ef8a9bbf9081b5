"""Loss by the width and depth of the model."""

from scaling.laws.forms.grammar import SumOfPowers, term

WIDTH_DEPTH = SumOfPowers(
    name="width_depth",
    source="McLeish et al. 2025 (Gemstones), three terms",
    formula="E + A / width^alpha + B / depth^beta + C / D^gamma",
    terms=(term("E"), term("A", alpha="width"), term("B", beta="depth"), term("C", gamma="n_tokens")),
)

WIDTH_DEPTH_PARAMS = SumOfPowers(
    name="width_depth_params",
    source="McLeish et al. 2025 (Gemstones), four terms",
    formula="E + A / width^alpha + B / depth^beta + C / N^gamma + F / D^delta",
    terms=(
        term("E"), term("A", alpha="width"), term("B", beta="depth"), term("C", gamma="n_params"),
        term("F", delta="n_tokens"),
    ),
)
