"""Collectives of a compiled program: what they are called, who takes part, what they send."""

import dataclasses
import itertools
import math
import re

import numpy as np

from scaling.aot.hlo import Instruction

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind, over groups of one size. count: per update. nbytes: of the whole array, all together.

    group: devices that take part, None where the text does not say. between_slices: whether a group
    spans slices.
    """

    kind: str
    group: int | None
    between_slices: bool
    count: int
    nbytes: float

    @property
    def sent(self) -> float:
        """Bytes that leave a device at least, by the best algorithm for rings and tori."""
        whole = self.group is None or self.kind == "collective-permute"
        share = 1.0 if whole else (self.group - 1) / self.group
        return self.nbytes * share * (2 if self.kind == "all-reduce" else 1)


def by_kind(collectives: tuple[Collective, ...]) -> dict[str, tuple[int, float]]:
    """Count and bytes of each kind."""
    ordered = sorted(collectives, key=lambda c: c.kind)
    return {
        kind: (sum(c.count for c in group), sum(c.nbytes for c in group))
        for kind, items in itertools.groupby(ordered, key=lambda c: c.kind)
        for group in [list(items)]
    }


def first_group(instruction: Instruction, n_devices: int) -> list[int] | None:
    """Partitions that the first group of a collective joins; None where the text is not understood."""
    rest = instruction.rest
    if instruction.opcode.startswith("collective-permute"):
        pairs = re.search(r"source_target_pairs=\{\{(\d+),(\d+)\}", rest)
        moves = re.findall(r"\{(\d+),(\d+)\}", rest.split("source_target_pairs=")[1].split("}}")[0] + "}")
        return [int(x) for x in next((m for m in moves if m[0] != m[1]), pairs.groups())]
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return [int(x) for x in found[1].split(",")]
    if re.search(r"replica_groups=\{\}", rest):
        return list(range(n_devices))
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", rest):
        return _iota(found[3]).reshape(int(found[1]), int(found[2]))[0].tolist()
    found = re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((\[.*?\)?)\))? ?\{([^}]*)\}", rest)
    if found and ":" not in found[3]:
        axes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", found[1])}
        ids = _iota(found[2]) if found[2] else np.arange(n_devices)
        along = set(re.findall(r"'(\w+)'", found[3]))
        take = tuple(slice(None) if name in along else 0 for name in axes)
        return np.ravel(ids.reshape(tuple(axes.values()))[take]).tolist()
    return None


def _iota(text: str) -> np.ndarray:
    """`[8,2]T(1,0)`: counting up in that shape, transposed."""
    shape, _, order = text.partition("T")
    dims = tuple(map(int, re.findall(r"\d+", shape)))
    ids = np.arange(math.prod(dims)).reshape(dims)
    return ids.transpose(tuple(map(int, re.findall(r"\d+", order)))) if order else ids
