"""The best learning rate and batch of a run, and the critical batch. Batches are in tokens."""

from scaling.laws.forms.grammar import (
    SmoothForm,
    SumOfPowers,
    coefficient,
    exponent,
    positive,
    term,
)

STEP_LEARNING_RATE = SumOfPowers(
    name="step_lr",
    source="Li et al. 2025 (Step Law)",
    formula="lr = c N^alpha D^beta",
    target="lr",
    terms=(term("c", alpha="1/n_params", beta="1/n_tokens"),),
    signed=("alpha", "beta"),
    objective="log_squares",
)

STEP_BATCH = SumOfPowers(
    name="step_batch",
    source="Li et al. 2025 (Step Law)",
    formula="batch = d D^gamma",
    target="batch_tokens",
    terms=(term("d", gamma="1/n_tokens"),),
    signed=("gamma",),
    objective="log_squares",
)

DEEPSEEK_LEARNING_RATE = SumOfPowers(
    name="deepseek_lr",
    source="Bi et al. 2024 (DeepSeek LLM)",
    formula="lr = a C^alpha",
    target="lr",
    terms=(term("a", alpha="1/flops"),),
    signed=("alpha",),
    objective="log_squares",
)

DEEPSEEK_BATCH = SumOfPowers(
    name="deepseek_batch",
    source="Bi et al. 2024 (DeepSeek LLM)",
    formula="batch = a C^alpha",
    target="batch_tokens",
    terms=(term("a", alpha="1/flops"),),
    signed=("alpha",),
    objective="log_squares",
)

CRITICAL_BATCH_OF_LOSS = SmoothForm(
    name="critical_batch_loss",
    source="McCandlish et al. 2018; Kaplan et al. 2020",
    formula="batch = B* / L^(1/alpha_B)",
    target="batch_tokens",
    free=(positive("B*", start=(1e5, 1e10), low=1.0, high=1e18),
          exponent("alpha_B", low=1e-3, start=(0.1, 1.0))),
    inputs=("loss",),
    value=lambda p, x, xp: vars(p)["B*"] * x.loss ** (-1.0 / p.alpha_B),
    objective="log_squares",
)

CRITICAL_BATCH_OF_TOKENS = SumOfPowers(
    name="critical_batch_tokens",
    source="Zhang et al. 2024 (how critical batch size scales in pre-training)",
    formula="batch = c D^b",
    target="batch_tokens",
    terms=(term("c", b="1/n_tokens"),),
    signed=("b",),
    objective="log_squares",
)

# Runs of several batches to one loss: twice the fewest steps, and twice the fewest tokens, at B*.
CRITICAL_BATCH_OF_STEPS = SmoothForm(
    name="critical_batch_steps",
    source="McCandlish et al. 2018; Zhang et al. 2024",
    formula="steps = S_min (1 + B* / batch)",
    target="n_steps",
    free=(coefficient("S_min"),
          positive("B*", start=(0.03, 30.0), low=1e-6, high=1e6, unit="batch_tokens")),
    inputs=("batch_tokens",),
    value=lambda p, x, xp: p.S_min * (1.0 + vars(p)["B*"] / x.batch_tokens),
    objective="log_squares",
)
