"""Loss of models trained, or quantised afterwards, in few bits."""

from scaling.laws.forms.grammar import SmoothForm, coefficient, constant, exponent, positive

_KINDS = {"w": "weight_bits", "a": "activation_bits", "kv": "kv_bits"}


def _trained_in(name: str, kinds: tuple[str, ...]) -> SmoothForm:
    """Kumar et al.'s law with the precision of the named kinds of tensors varying."""

    def value(p, x, xp):
        p, x = vars(p), vars(x)
        size = x["n_params"]
        for kind in kinds:
            size = -size * xp.expm1(-x[_KINDS[kind]] / p[f"gamma_{kind}"])
        return p["E"] + p["A"] * size ** -p["alpha"] + p["B"] * x["n_tokens"] ** -p["beta"]

    factors = " ".join(f"(1 - e^(-P_{kind}/gamma_{kind}))" for kind in kinds)
    return SmoothForm(
        name=name,
        source="Kumar et al. 2024 (scaling laws for precision), equations 3 and 4",
        formula=f"E + A / N_eff^alpha + B / D^beta, N_eff = N {factors}, P the bits of "
                + ", ".join(_KINDS[kind].removesuffix("_bits") for kind in kinds),
        free=(
            constant("E"), coefficient("A", alpha="n_params"), coefficient("B", beta="n_tokens"),
            exponent("alpha"), exponent("beta"),
            *(positive(f"gamma_{kind}", start=(0.5, 8.0), low=1e-2, high=1e3) for kind in kinds),
        ),
        inputs=("n_params", "n_tokens", *(_KINDS[kind] for kind in kinds)),
        value=value,
    )


PRECISION_WEIGHTS = _trained_in("precision_weights", ("w",))
PRECISION = _trained_in("precision", ("w", "a", "kv"))

QUANTIZATION = SmoothForm(
    name="quantization",
    source="Kumar et al. 2024 (scaling laws for precision), equation 2",
    formula="loss_increase = C_T D^gamma_D / N^gamma_N e^(-P / gamma_post), P = post_bits",
    target="loss_increase",
    free=(
        coefficient("C_T", gamma_D="1/n_tokens", gamma_N="n_params"),
        exponent("gamma_D"), exponent("gamma_N"),
        positive("gamma_post", start=(0.2, 5.0), low=1e-2, high=1e3),
    ),
    inputs=("n_params", "n_tokens", "post_bits"),
    value=lambda p, x, xp: (
        p.C_T * x.n_tokens**p.gamma_D * x.n_params**-p.gamma_N * xp.exp(-x.post_bits / p.gamma_post)
    ),
)
