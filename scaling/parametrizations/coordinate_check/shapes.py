"""The axes along which a base shape grows."""

from typing import Literal

from scaling.models import ModelConfig

Axis = Literal["width", "head_size", "mlp", "depth"]
AXES: dict[str, str] = {
    "width": "d_model, d_ff and the number of heads, of one size",
    "head_size": "d_model, d_ff and the size of heads, of one number",
    "mlp": "d_ff alone",
    "depth": "layers, of each stack",
}


def shape_at(base: ModelConfig, axis: Axis, factor: int) -> ModelConfig:
    """`base`, `factor` times as large along an axis of `AXES`; layers unrolled, so that taps see them."""
    base = base.replace(scan_layers=False)
    if axis == "depth":
        fields = [f for f in vars(base) if f in ("n_layers", "n_encoder_layers", "n_decoder_layers")]
        return base.replace(**{field: factor * getattr(base, field) for field in fields})
    if axis == "mlp":
        return base.replace(d_ff=factor * base.d_ff)
    heads = factor if axis == "width" else 1
    kv_heads = None if base.n_kv_heads is None else heads * base.n_kv_heads
    return base.replace(
        d_model=factor * base.d_model, d_ff=factor * base.d_ff, n_heads=heads * base.n_heads,
        n_kv_heads=kv_heads,
    )
