"""Optimizers (optax) and learning-rate schedules, with every number a traced argument."""

from scaling.optim.adamw import AdamWConfig, Hyperparameters, apply_adamw, init_adamw
from scaling.optim.schedules import ScheduleConfig, schedule_factor

__all__ = [
    "AdamWConfig",
    "Hyperparameters",
    "ScheduleConfig",
    "apply_adamw",
    "init_adamw",
    "schedule_factor",
]
