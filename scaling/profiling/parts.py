"""Which part of a model each instruction of its compiled program serves, and in which pass.

The model's code names its parts by `jax.named_scope`, and XLA keeps for each instruction the scopes that
it came from. Parts are named as the groups of `scaling.accounting.forward_flops` where they have products.
"""

import collections
import re
from typing import NamedTuple

from scaling.aot.collectives import COLLECTIVES
from scaling.aot.hlo import Computation, Instruction, Module, parse

PARTS = ("embedding", "attention", "attention_scores", "mlp", "router", "experts", "norm", "unembedding",
         "loss", "optimizer")
COMMUNICATION, SLICING, OTHER = "collectives", "slicing", "other"
CONTAINERS = ("while", "conditional", "call")
PASSES = ("forward", "recomputed", "backward")


class Place(NamedTuple):
    """part: of `PARTS`, or `COMMUNICATION`, `SLICING` (into and out of the stacks of scanned layers and of
    batches) or `OTHER`. stage: of `PASSES`."""

    part: str
    stage: str


def places(text: str) -> dict[str, Place | None]:
    """By the name of each instruction of a compiled program; None where it only runs others."""
    module = parse(text)
    return {
        name: None if instruction.opcode in CONTAINERS else _place(module, instruction)
        for computation in module.computations.values()
        for name, instruction in computation.instructions.items()
    }


def _place(module: Module, instruction: Instruction) -> Place:
    own = _named(instruction)
    if instruction.opcode.removesuffix("-start").removesuffix("-done") in COLLECTIVES:
        return Place(COMMUNICATION, own.stage)
    inside = module.computations.get(instruction.computation("calls") or "")
    if inside is None:
        return own
    # a product outweighs whatever is fused to it, which may have given the fusion its name
    products = _counted(inside, products=True)
    if products:
        return products.most_common(1)[0][0]
    everything = _counted(inside, products=False)
    return own if own.part in PARTS or not everything else everything.most_common(1)[0][0]


def _counted(computation: Computation, products: bool) -> collections.Counter[Place]:
    found = (
        _named(i) for i in computation.instructions.values()
        if not products or i.opcode in ("dot", "convolution", "ragged-dot")
    )
    return collections.Counter(place for place in found if place.part != OTHER)


def _named(instruction: Instruction) -> Place:
    found = re.search(r'op_name="([^"]*)"', instruction.rest)
    path = found[1] if found else ""
    scopes = [word for word in re.findall(r"\w+", path) if word in PARTS]
    stage = "forward"
    if "rematted_computation" in path:
        stage = "recomputed"
    elif "transpose(" in path:
        stage = "backward"
    rest = SLICING if "dynamic_" in path else OTHER
    return Place(scopes[-1] if scopes else rest, stage)
