"""Training one experiment: a compiled program, a loop around it, checkpoints, a record."""

from scaling.training.branches import last_shared_step, trunk_of
from scaling.training.loop import train
from scaling.training.preemption import Preempted, StopRequest

__all__ = ["Preempted", "StopRequest", "last_shared_step", "train", "trunk_of"]
