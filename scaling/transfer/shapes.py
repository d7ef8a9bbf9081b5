"""Shapes of proxies and targets: one base shape, scaled in width and depth."""

import re
from fractions import Fraction

from scaling.errors import UserError
from scaling.models import ModelConfig

WIDTHS = ("d_model", "d_ff", "n_heads", "n_kv_heads")  # fields that grow with the width
DEPTHS = ("n_layers", "n_encoder_layers", "n_decoder_layers")


def parse_shape(text: str) -> tuple[int, int]:
    """(width, layers of all stacks together) from `d256.L8`. Raises `UserError`."""
    match = re.fullmatch(r"d(\d+)\.L(\d+)", text)
    if not match or "0" in match.groups():
        raise UserError(f"shape {text!r}: expected a width and a number of layers, such as d256.L8")
    return int(match[1]), int(match[2])


def shape_name(model: ModelConfig) -> str:
    """`d256.L8`."""
    return f"d{model.d_model}.L{model.n_layers}"


def scaled(base: ModelConfig, d_model: int, n_layers: int) -> ModelConfig:
    """`base` at another width and depth: heads keep their size, the MLP its ratio, stacks theirs.

    Raises `UserError` unless each size is a multiple of the base's, or divides it.
    """
    for name, size, of_base in (("width", d_model, base.d_model), ("layers", n_layers, base.n_layers)):
        if max(size, of_base) % min(size, of_base):
            raise UserError(
                f"shape d{d_model}.L{n_layers}: its {name}, {size}, is no multiple of the base"
                f" shape's, {of_base} ({shape_name(base)}); the nearest are {_nearest(size, of_base)}"
            )
    sizes = {"d_model": d_model}
    for name, value in base.to_json().items():
        if name in (*WIDTHS, *DEPTHS) and name != "d_model" and value is not None:
            grown = Fraction(value) * (
                Fraction(d_model, base.d_model) if name in WIDTHS else Fraction(n_layers, base.n_layers)
            )
            if grown.denominator != 1:
                raise UserError(
                    f"shape d{d_model}.L{n_layers}: {name} would be {float(grown):g}, from {value} at"
                    f" {shape_name(base)}; expected a shape that keeps it whole"
                )
            sizes[name] = int(grown)
    return base.replace(**sizes)


def _nearest(size: int, of_base: int) -> str:
    below = size // of_base * of_base
    return " and ".join(str(n) for n in (below, below + of_base) if n)
