"""Peak matrix throughput of known accelerators, for MFU (model FLOPs utilisation)."""

# Dense bfloat16 FLOP/s of one device as `jax.Device.device_kind` names it, from the vendors' data
# sheets: Google Cloud TPU system architecture pages; NVIDIA A100, H100 (SXM), H200 data sheets.
# A TPU v4 or v5p device is one chip (two cores in megacore).
BF16_PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}


def peak_flops_per_second(device_kind: str) -> float | None:
    """Peak of one device, or None where the table does not know it (a CPU has no honest one)."""
    return BF16_PEAKS.get(device_kind)
