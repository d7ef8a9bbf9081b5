"""A compiled program's text (HLO), parsed as far as counting what it costs needs."""

import dataclasses
import functools
import math
import re

_BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16} | {
    f"{kind}{bits}": bits / 8 for kind in "su" for bits in (2, 4, 8, 16, 32, 64)
}


@dataclasses.dataclass(frozen=True)
class Array:
    """dtype and dims of one array; in_hbm: false where the compiler keeps it on the chip."""

    dtype: str
    dims: tuple[int, ...]
    in_hbm: bool = True

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def nbytes(self) -> float:
        """0 for tokens and other values without bytes."""
        return self.size * (1 if self.dtype.startswith("f8") else _BYTES.get(self.dtype, 0))


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line. arrays: of its value, flat. rest: attributes, as text."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    arguments: str
    rest: str

    def attribute(self, name: str) -> str | None:
        """The value of `name=`, up to the comma, space or brace that ends it."""
        found = re.search(rf"\b{name}=(\{{[^}}]*\}}|[^\s,]+)", self.rest)
        return found[1] if found else None

    def computation(self, name: str) -> str | None:
        value = self.attribute(name)
        return value.lstrip("%") if value else None

    def numbers(self, name: str) -> tuple[int, ...]:
        return tuple(map(int, re.findall(r"\d+", self.attribute(name) or "")))

    @property
    def nbytes(self) -> float:
        return sum(a.nbytes for a in self.arrays)


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in order; the last root."""

    instructions: dict[str, Instruction]
    root: Instruction

    @functools.cached_property
    def parameters(self) -> dict[int, Instruction]:
        return {int(i.arguments): i for i in self.instructions.values() if i.opcode == "parameter"}

    @functools.cached_property
    def users(self) -> dict[str, list[Instruction]]:
        found: dict[str, list[Instruction]] = {}
        for instruction in self.instructions.values():
            for operand in dict.fromkeys(instruction.operands):
                found.setdefault(operand, []).append(instruction)
        return found

    def operands(self, instruction: Instruction) -> list[Instruction]:
        return [self.instructions[name] for name in instruction.operands if name in self.instructions]


@dataclasses.dataclass(frozen=True)
class Module:
    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Module:
    """Raises `ValueError` for text without an entry computation."""
    text = re.sub(r"kernel_metadata=\{\n.*\n\}\}", "kernel_metadata=}", text)  # JSON on lines of its own
    computations, entry, lines, name, root = {}, None, {}, None, None
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if head:
            name, lines, root = head[2], {}, None
            entry = name if head[1] else entry
        elif line.startswith("}") and name:
            computations[name] = Computation(lines, root)
            name = None
        elif name and (found := re.match(r"\s+(ROOT )?%?([\w.\-]+) = ", line)):
            instruction = _instruction(found[2], line[found.end():])
            lines[found[2]] = instruction
            root = instruction if found[1] or root is None else root
    if entry is None:
        raise ValueError("no entry computation in this text")
    return Module(computations, entry)


def _instruction(name: str, text: str) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shape, text = text[:end], text[end:].lstrip()
    start = text.index("(")
    end = _closing(text, start)
    arguments = text[start + 1 : end - 1]
    operands = tuple(re.findall(r"%([\w.\-]+)", arguments))
    return Instruction(name, text[:start], _arrays(shape), operands, arguments, text[end:])


def _arrays(text: str) -> tuple[Array, ...]:
    found = re.findall(r"([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?", text)
    return tuple(
        Array(dtype, tuple(map(int, re.findall(r"\d+", dims))), re.search(r"S\([1-9]", layout) is None)
        for dtype, dims, layout in found
    )


def _closing(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if not depth:
            return i + 1
    raise ValueError(f"unbalanced: {text[:80]}")
