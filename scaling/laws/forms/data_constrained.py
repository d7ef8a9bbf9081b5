"""Loss when data are repeated."""

from scaling.laws.forms.grammar import SmoothForm, coefficient, constant, exponent, positive


def saturating(unique, used, decay, xp):
    """U + U R* (1 - e^(-R / R*)) with R = used / U - 1: U alone when nothing is repeated, `used` when
    repeats count in full. By expm1: 1 - e^-x loses every digit when R* is large."""
    repeats = xp.maximum(used / unique - 1.0, 0.0)
    return unique - unique * decay * xp.expm1(-repeats / decay)


def _loss(p, x, xp):
    """U_N is the compute-optimal N for U tokens under C = 6 N D (equation 4 of Hoffmann et al.), at
    most N; tokens beyond D are not used, so U is at most D."""
    unique = xp.minimum(x.unique_tokens, x.n_tokens)
    matched = (p.alpha * p.A / (p.beta * p.B)) ** (1 / p.alpha) * unique ** (p.beta / p.alpha)
    tokens = saturating(unique, x.n_tokens, vars(p)["R_D*"], xp)
    params = saturating(xp.minimum(matched, x.n_params), x.n_params, vars(p)["R_N*"], xp)
    return p.E + p.A * params**-p.alpha + p.B * tokens**-p.beta


# In Muennighoff et al. E, A, B, alpha and beta come from runs without repeats and are held, and only
# the two decay constants are fitted: `DATA_CONSTRAINED.fix(E=..., A=..., B=..., alpha=..., beta=...)`.
DATA_CONSTRAINED = SmoothForm(
    name="data_constrained",
    source="Muennighoff et al. 2023",
    formula="E + A / N'^alpha + B / D'^beta; D' = U + U R_D* (1 - e^(-R_D / R_D*)), R_D = D/U - 1;"
            " N' = U_N + U_N R_N* (1 - e^(-R_N / R_N*)), R_N = N/U_N - 1, U_N the compute-optimal N of U",
    free=(
        constant("E"), coefficient("A", alpha="n_params"), coefficient("B", beta="n_tokens"),
        exponent("alpha"), exponent("beta"),
        positive("R_D*", start=(1.0, 100.0), low=1e-3, high=1e9),
        positive("R_N*", start=(1.0, 100.0), low=1e-3, high=1e9),
    ),
    inputs=("n_params", "n_tokens", "unique_tokens"),
    value=_loss,
    steady=("unique_tokens",),
)
