"""FLOPs of one instruction of a compiled program: a product of matrices, or a kernel that makes some."""

import math
import re
from collections.abc import Sequence

import numpy as np

from scaling.aot.hlo import Array, Computation, Instruction

# products of queries x keys x head size: forward; the gradient of queries; that of keys and values, both
# of which make the scores and the gradient of the weights again
PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}


def product_flops(within: Computation, instruction: Instruction) -> float:
    """Of a product of matrices; TPUs write it as a convolution, heads as its spatial dimensions."""
    operands = within.operands(instruction)
    if instruction.opcode == "custom-call":
        arrays = [array for operand in operands for array in operand.arrays]
        target = instruction.attribute("custom_call_target") or ""
        if target.startswith('"__cublas'):
            return _cublas_flops(instruction, arrays[0])
        return _cudnn_flops(target, arrays) or _splash_flops(instruction.name, arrays)
    if instruction.opcode not in ("dot", "convolution"):
        return 0
    left, right = (operands[i].arrays[0].dims for i in (0, 1))
    if instruction.opcode == "dot":
        contracted = math.prod(left[i] for i in instruction.numbers("lhs_contracting_dims"))
        return 2 * instruction.arrays[0].size * contracted
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.rest)
    out = instruction.arrays[0].dims
    flops = 2 * out[labels[3].index("b")] * out[labels[3].index("f")] * right[labels[2].index("i")]
    window = _window(instruction.rest)
    for d in range(len(labels[1]) - 2):
        flops *= _valid(
            left[labels[1].index(str(d))], out[labels[3].index(str(d))], right[labels[2].index(str(d))],
            *(window[name][d] if name in window else default
              for name, default in (("stride", 1), ("pad", 0), ("lhs_dilate", 1), ("rhs_dilate", 1))),
        )
    groups = instruction.attribute("batch_group_count")
    return flops / int(groups) if groups else flops


def _window(rest: str) -> dict[str, list[int]]:
    """Low padding and sizes of each spatial dimension."""
    found = re.search(r"window=\{([^}]*)\}", rest)
    pairs = (item.split("=") for item in found[1].split()) if found else ()
    return {name: [int(part.split("_")[0]) for part in value.split("x")] for name, value in pairs}


def _valid(
    n_left: int, n_out: int, n_kernel: int, stride: int, pad: int, left_dilation: int, kernel_dilation: int
) -> int:
    """Pairs of output and kernel positions that meet a value, not padding or the gaps of dilation."""
    position = np.arange(n_out)[:, None] * stride + np.arange(n_kernel) * kernel_dilation - pad
    inside = (position >= 0) & (position <= (n_left - 1) * left_dilation)
    return int((inside & (position % left_dilation == 0)).sum())


def _cublas_flops(instruction: Instruction, left: Array) -> float:
    found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.rest)
    contracted = math.prod(left.dims[int(i)] for i in re.findall(r"\d+", found[1]))
    return 2 * instruction.arrays[0].size * contracted


def _cudnn_flops(target: str, operands: Sequence[Array]) -> float:
    """Of one call of cuDNN's attention; 0 for another's. Over the whole square, as `_splash_flops`.

    operands: queries [B, T, H, K] and keys [B, S, G, K] come first. Backward makes the scores again.
    """
    if not target.startswith('"__cudnn$fmha'):
        return 0
    queries, keys = operands[:2]
    return (5 if "Backward" in target else 2) * 2 * queries.size * keys.dims[1]


def _splash_flops(name: str, operands: Sequence[Array]) -> float:
    """Of one call of the kernel; 0 for a name that is not its own.

    Over the whole square: a causal or local mask lets it skip blocks, so that it does less.
    operands: queries [B, H, T, K] and keys [B, G, S, K] are the first floating ones; XLA may drop a B of 1.
    """
    kernel = re.match(r"splash_mha_(fwd|dq|dkv)_", name)
    if not kernel:
        return 0
    queries, keys = [operand for operand in operands if operand.dtype in ("f32", "bf16")][:2]
    return PRODUCTS[kernel[1]] * 2 * queries.size * keys.dims[-2]
