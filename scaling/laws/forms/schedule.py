"""Loss along a learning-rate schedule, at every step of a run."""

import numpy as np

from scaling.errors import UserError
from scaling.laws.forms.grammar import SmoothForm, coefficient, constant, exponent, positive

ANNEALING = SmoothForm(
    name="annealing",
    source="Tissue et al. 2024 (scaling law with learning rate annealing)",
    formula="L_0 + A / S_1^alpha - C S_2, S_1 = lr_sum, S_2 = lr_annealing (`schedule_areas`)",
    free=(
        constant("L_0"), coefficient("A", alpha="lr_sum"), exponent("alpha"),
        positive("C", start=(1e-3, 0.5), low=1e-9, high=1e3, unit="1/lr_annealing"),
    ),
    inputs=("lr_sum", "lr_annealing"),
    value=lambda p, x, xp: p.L_0 + p.A * x.lr_sum**-p.alpha - p.C * x.lr_annealing,
)


def schedule_areas(learning_rates: np.ndarray, decay: float = 0.999) -> tuple[np.ndarray, np.ndarray]:
    """Tissue et al.'s areas after each step: (lr_sum, lr_annealing), each (steps,).

    learning_rates: of every step, (steps,). lr_sum: S_1, the sum of the rates so far. lr_annealing:
    S_2 = sum_{i <= s} m_i with m_i = decay m_{i-1} + (lr_{i-1} - lr_i) and m_1 = 0, the sum of a slow
    memory of past drops. A rise counts against it, so hand over a schedule from the end of its warm-up.
    Raises `UserError` for rates that are not finite and at least 0, and a decay outside [0, 1).
    """
    rates = np.asarray(learning_rates, float)
    if rates.ndim != 1 or not len(rates) or not np.isfinite(rates).all() or (rates < 0).any():
        raise UserError("learning_rates: expected one finite rate of at least 0 for each step")
    if not 0.0 <= decay < 1.0:
        raise UserError(f"decay = {decay!r}: expected a number from 0 up to, not including, 1")
    momentum, memory = 0.0, np.zeros(len(rates))
    for i, drop in enumerate((rates[:-1] - rates[1:]).tolist(), start=1):
        momentum = decay * momentum + drop
        memory[i] = momentum
    return np.cumsum(rates), np.cumsum(memory)
