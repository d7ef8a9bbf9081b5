"""Model families as pure functions. The only folder that imports flax."""

from scaling.models.config import DecoderConfig
from scaling.models.forward import ForwardMultipliers
from scaling.models.model import Model, build_model
from scaling.models.parameter import ParamSpec

__all__ = ["DecoderConfig", "ForwardMultipliers", "Model", "ParamSpec", "build_model"]
