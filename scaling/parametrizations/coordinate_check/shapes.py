"""The axes along which a base shape grows."""

from typing import Literal

from scaling.models import DecoderConfig

Axis = Literal["width", "head_size", "mlp", "depth"]
AXES: dict[str, str] = {
    "width": "d_model, d_ff and the number of heads, of one size",
    "head_size": "d_model, d_ff and the size of heads, of one number",
    "mlp": "d_ff alone",
    "depth": "layers",
}


def shape_at(base: DecoderConfig, axis: Axis, factor: int) -> DecoderConfig:
    """`base`, `factor` times as large along an axis of `AXES`; layers unrolled, so that taps see them."""
    base = base.replace(scan_layers=False)
    if axis == "depth":
        return base.replace(n_layers=factor * base.n_layers)
    if axis == "mlp":
        return base.replace(d_ff=factor * base.d_ff)
    heads = factor if axis == "width" else 1
    return base.replace(
        d_model=factor * base.d_model, d_ff=factor * base.d_ff, n_heads=heads * base.n_heads
    )
