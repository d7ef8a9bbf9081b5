"""FLOPs, bytes moved and collectives of one update, counted in the compiled program of one device.

XLA's own cost analysis counts the body of a loop once. Here a loop counts as often as it runs, where
its condition compares a counter with a constant (every scan over layers does).
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from scaling.aot.collectives import COLLECTIVES, Collective, first_group
from scaling.aot.hlo import Array, Computation, Instruction, Module
from scaling.aot.loops import Frame, trip_count
from scaling.aot.products import product_flops

_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call",
    "after-all", "recv", "partition-id", "optimization-barrier", "iota",
}
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast", "AssumeGatherIndicesInBound")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one device and one update. flops: matrix products. nbytes: to and from HBM.

    unknown_loops: names of loops that were counted once, for their length is not in the program.
    """

    flops: float
    nbytes: float
    collectives: tuple[Collective, ...]
    unknown_loops: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def count(
    module: Module, n_devices: int, n_slices: int = 1, loops: bool = True, names_all: bool = False
) -> Cost:
    """loops: whether to multiply by trip counts; without, as XLA's cost analysis does.

    names_all: whether collectives name the devices of all slices, as between nodes of GPUs; a TPU's
        program names those of its own slice, and sends to others.
    """
    return _Counter(module, n_devices, n_slices, loops, names_all).cost()


class _Counter:
    def __init__(self, module: Module, n_devices: int, n_slices: int, loops: bool, names_all: bool):
        self.module, self.loops, self.names_all = module, loops, names_all
        self.n_devices, self.n_slices, self.per_slice = n_devices, n_slices, n_devices // n_slices
        self.flops = self.nbytes = 0.0
        self.collectives: dict[tuple[str, int | None, bool], list[float]] = {}
        self.unknown: list[str] = []
        self.seen: set[tuple[str, str]] = set()

    def cost(self) -> Cost:
        self._run(Frame(self.module.computations[self.module.entry]), 1)
        groups = (
            Collective(*key, int(n), nbytes) for key, (n, nbytes) in self.collectives.items()
        )
        ordered = sorted(groups, key=lambda c: -c.nbytes)
        return Cost(self.flops, self.nbytes, tuple(ordered), tuple(self.unknown))

    def _run(self, frame: Frame, times: int) -> None:
        """A computation whose instructions run one after another."""
        computation, computations = frame.computation, self.module.computations
        name = computation.root.name  # no two of a module's instructions share one
        for instruction in computation.instructions.values():
            if instruction.opcode == "while":
                body = Frame(computations[instruction.computation("body")], instruction, frame)
                self._run(body, times * self._trips(frame, instruction))
            elif instruction.opcode == "call":
                self._run(Frame(computations[instruction.computation("to_apply")]), times)
            elif instruction.opcode == "conditional":
                branches = instruction.attribute("branch_computations") or ""
                for branch in re.findall(r"%([\w.\-]+)", branches):
                    self._run(Frame(computations[branch]), times)
            else:
                self.nbytes += times * self._traffic(computation, instruction)
                for within, inner in self._fused(computation, instruction):
                    self.flops += times * product_flops(within, inner)
                    self._collective(name, within, inner, times, instruction)

    def _fused(
        self, computation: Computation, instruction: Instruction
    ) -> Iterator[tuple[Computation, Instruction]]:
        """The instruction and, of a fusion or what runs asynchronously, those inside."""
        yield computation, instruction
        called = instruction.computation("calls")
        if called in self.module.computations:
            inside = self.module.computations[called]
            for inner in inside.instructions.values():
                yield from self._fused(inside, inner)

    def _trips(self, frame: Frame, loop: Instruction) -> int:
        if not self.loops:
            return 1
        trips = trip_count(self.module, frame, loop)
        if trips is None and "_train_chunk)/while\"" not in loop.rest:
            self.unknown.append(loop.name)  # the one left out runs once an update: what is counted
        return 1 if trips is None else trips

    # --- collectives

    def _collective(
        self, where: str, within: Computation, instruction: Instruction, times: int, outer: Instruction
    ) -> None:
        kind = instruction.opcode.removesuffix("-start")
        between = instruction.opcode == "send" and re.search(r'transfer_type="(\w+)"', instruction.rest)
        if between:  # each slice has the same program, which names only its own devices
            kind = between[1].lower().replace("_", "-")
        elif kind not in COLLECTIVES:
            return
        # a TPU's asynchronous collective shows up in each fusion that it overlaps
        key = (where, instruction.attribute("channel_id") or instruction.name)
        if instruction is not outer and key in self.seen:
            return
        self.seen.add(key)
        nbytes = sum(operand.nbytes for operand in within.operands(instruction))  # a token has none
        if instruction.opcode == "send":
            group = self.n_slices
        else:
            groups = first_group(instruction, self.n_devices if self.names_all else self.per_slice)
            group = None if groups is None else len(groups)
            between = self.names_all and len({i // self.per_slice for i in groups or ()}) > 1
        if kind == "all-gather":
            nbytes *= group or 1
        if kind == "all-reduce" and outer.opcode == "fusion" and "all-reduce-scatter" in outer.rest:
            kind = "reduce-scatter"
        total = self.collectives.setdefault((kind, group, bool(between)), [0, 0.0])
        total[0] += times
        total[1] += times * nbytes

    # --- bytes to and from HBM

    def _traffic(self, computation: Computation, instruction: Instruction) -> float:
        opcode, operands = instruction.opcode, computation.operands(instruction)
        if opcode in _FREE or opcode.endswith(("-done", "-update")):
            return 0
        if opcode == "custom-call" and any(f'"{name}' in instruction.rest for name in _FREE_CALLS):
            return 0
        written = instruction.arrays[:1] if opcode.endswith("-start") else instruction.arrays
        if opcode == "custom-call" and '="__cu' in instruction.rest:  # cuBLAS, cuDNN: all but their scratch
            written = tuple(array for array in written if array.dtype not in ("s8", "u8"))
        if opcode in ("dynamic-slice", "gather", "slice"):
            return 2 * _hbm(written)
        if opcode == "dynamic-update-slice":
            return 2 * operands[1].nbytes if instruction.arrays[0].in_hbm else 0
        if opcode == "fusion":
            called = instruction.computation("calls")
            read = sum(
                self._read(called, i) for i, operand in enumerate(operands) if _hbm(operand.arrays)
            )
            return read + self._written(called, instruction.arrays)
        return _hbm(written) + sum(_hbm(operand.arrays) for operand in operands)

    def _read(self, name: str, index: int) -> float:
        """Bytes of its operand that a fusion reads: a slice of a stack of layers is not the stack."""
        computation = self.module.computations[name]
        parameter = computation.parameters[index]
        total = 0.0
        for user in self._users(computation, parameter):
            if user.opcode in ("dynamic-slice", "slice", "gather") and user.operands[0] != user.name:
                total += user.nbytes
            elif user.opcode == "fusion":
                for i, operand in enumerate(user.operands):
                    if operand == parameter.name:
                        total += self._read(user.computation("calls"), i)
            elif user.opcode == "dynamic-update-slice":  # in place
                total += 0
            elif user.opcode != "tuple":
                return parameter.nbytes
        return min(total, parameter.nbytes)

    def _users(self, computation: Computation, instruction: Instruction) -> list[Instruction]:
        found = []
        for user in computation.users.get(instruction.name, []):
            found += self._users(computation, user) if user.opcode == "bitcast" else [user]
        return found

    def _written(self, name: str, arrays: tuple[Array, ...]) -> float:
        computation = self.module.computations[name]
        root = computation.root
        parts = computation.operands(root) if root.opcode == "tuple" else [root]
        if len(parts) != len(arrays):  # a nested tuple
            return _hbm(arrays)
        total = 0.0
        for part, array in zip(parts, arrays):
            while part.opcode == "bitcast":
                part = computation.instructions[part.operands[0]]
            if not array.in_hbm or part.opcode == "parameter":
                continue
            if part.opcode == "dynamic-update-slice":
                total += computation.instructions[part.operands[1]].nbytes
            elif part.opcode == "fusion" and len(part.arrays) == 1:
                total += self._written(part.computation("calls"), (array,))
            else:
                total += array.nbytes
        return total


def _hbm(arrays: tuple[Array, ...]) -> float:
    return sum(a.nbytes for a in arrays if a.in_hbm)
