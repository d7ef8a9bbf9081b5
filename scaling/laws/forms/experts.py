"""Mixtures of experts: active and total parameters, number of experts."""

from scaling.laws.forms.grammar import (
    SmoothForm,
    SumOfPowers,
    Term,
    coefficient,
    constant,
    exponent,
    positive,
    real,
    term,
)


def saturating(experts, start, most):
    """Clark's effective number of experts: E_start for one expert, at most E_max for many.

    1 / E^ = 1 / (E - 1 + (1/E_start - 1/E_max)^-1) + 1 / E_max.
    """
    return 1.0 / (1.0 / (experts - 1.0 + 1.0 / (1.0 / start - 1.0 / most)) + 1.0 / most)


def _routed(p, x, xp):
    size = xp.log10(x.n_params)
    experts = xp.log10(saturating(x.num_experts, p.E_start, p.E_max))
    return 10.0 ** (p.a * size + p.b * experts + p.c * size * experts + p.d)


ROUTED = SmoothForm(
    name="routed",
    source="Clark et al. 2022 (unified scaling laws for routed models)",
    formula="log10 L = a log10 N + b log10 E^ + c log10 N log10 E^ + d, N the dense parameters;"
            " 1/E^ = 1 / (E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max, E = num_experts",
    free=(
        real("a", (-0.2, 0.0)), real("b", (-0.3, 0.0)), real("c", (-0.02, 0.02)), real("d", (0.0, 2.0)),
        positive("E_start", start=(1.0, 10.0), low=1e-2, high=1e3),
        positive("E_max", start=(50.0, 1000.0), low=1.0, high=1e9),
    ),
    inputs=("n_params", "num_experts"),
    value=_routed,
    objective="log_squares",
)

MOE_SPARSITY = SumOfPowers(
    name="moe_sparsity",
    source="Abnar et al. 2025 (parameters vs FLOPs)",
    formula="e + a / N^alpha + b / D^beta + c / (1-S)^lambda + d / ((1-S)^delta N^gamma),"
            " N = n_total, 1-S = active_fraction of the experts",
    terms=(
        term("e"), term("a", alpha="n_total"), term("b", beta="n_tokens"),
        Term("c", (("lambda", "active_fraction"),)),
        term("d", delta="active_fraction", gamma="n_total"),
    ),
    signed=("lambda", "delta"),
)


def _joint(p, x, xp):
    log = xp.log(saturating(x.num_experts, p.E_start, p.E_max))
    size = p.a * xp.exp(p.delta * log + (p.alpha + p.gamma * log) * xp.log(x.n_active))
    data = p.b * xp.exp(p.omega * log + (p.beta + p.zeta * log) * xp.log(x.n_tokens))
    return p.c + size + data


MOE_JOINT = SmoothForm(
    name="moe_joint",
    source="Ludziejewski et al. 2025 (joint MoE scaling laws)",
    formula="c + a E^^delta N^(alpha + gamma ln E^) + b E^^omega D^(beta + zeta ln E^), N = n_active;"
            " 1/E^ = 1 / (E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max, E = num_experts",
    free=(
        constant("c"), coefficient("a", alpha="1/n_active"), coefficient("b", beta="1/n_tokens"),
        exponent("alpha", -20.0, start=(-0.5, -0.05)), exponent("beta", -20.0, start=(-0.5, -0.05)),
        real("delta", (-0.2, 0.2)), real("gamma", (-0.02, 0.02)),
        real("omega", (-0.2, 0.2)), real("zeta", (-0.02, 0.02)),
        positive("E_start", start=(1.0, 10.0), low=1e-2, high=1e3),
        positive("E_max", start=(50.0, 1000.0), low=1.0, high=1e9),
    ),
    inputs=("n_active", "n_tokens", "num_experts"),
    value=_joint,
)
