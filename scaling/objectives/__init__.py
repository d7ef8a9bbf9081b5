"""How tokens become a batch, and a batch a loss."""

from scaling.objectives.causal_lm import CausalLM
from scaling.objectives.losses import LossSums, cross_entropy

__all__ = ["CausalLM", "LossSums", "cross_entropy"]
