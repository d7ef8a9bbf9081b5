"""How fast a compiled update runs, and which parts of the model its time goes to."""

from scaling.profiling.breakdown import Breakdown, breakdown
from scaling.profiling.pace import Pace, Rehearsal

__all__ = ["Breakdown", "Pace", "Rehearsal", "breakdown"]
