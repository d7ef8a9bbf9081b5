"""Parameters, FLOPs and memory by group, under named conventions; peaks of known hardware."""

from scaling.accounting.flops import (
    FLOPS_CONVENTIONS,
    exact_train_flops,
    forward_flops,
    train_flops,
    unmasked_score_flops,
)
from scaling.accounting.hardware import peak_flops_per_second
from scaling.accounting.memory import memory_by_group, rules_of_thumb
from scaling.accounting.parameters import active_parameters, count_parameters
from scaling.accounting.traced import traced_matmul_flops

__all__ = [
    "FLOPS_CONVENTIONS",
    "active_parameters",
    "count_parameters",
    "exact_train_flops",
    "forward_flops",
    "memory_by_group",
    "peak_flops_per_second",
    "traced_matmul_flops",
    "rules_of_thumb",
    "train_flops",
    "unmasked_score_flops",
]
