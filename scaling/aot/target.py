"""What a step is compiled for: `v5p:4x4x8`, or `h200:8`, of one or several slices, under a mesh."""

import dataclasses
import math
import re

from scaling.accounting.hardware import ACCELERATORS, GPU, TPU
from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig


def mesh_in_words(mesh: MeshConfig) -> str:
    """As `--mesh` takes it, axes of one device left out but for `data`."""
    return ",".join(f"{a}={n}" for a, n in mesh.to_json().items() if n > 1) or "data=1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """chip: a key of `ACCELERATORS`. layout: chips along each axis of one slice; of GPUs that is a node."""

    chip: str
    layout: tuple[int, ...]
    n_slices: int = 1

    @classmethod
    def parse(cls, text: str, n_slices: int = 1) -> "Target":
        """Raises `UserError` for an unknown chip or layout, with those there are."""
        if n_slices < 1:
            raise UserError(f"--slices {n_slices}: expected at least 1")
        chip, _, layout = text.partition(":")
        if chip not in ACCELERATORS:
            usual = {name: a.layouts[:5][-1] for name, a in ACCELERATORS.items()}
            meant = did_you_mean(chip, ACCELERATORS)
            raise UserError(f"--aot {text}: no chip {chip!r}{meant}; known:"
                            f" {', '.join(f'{name}:{layout}' for name, layout in usual.items())}")
        accelerator = ACCELERATORS[chip]
        sizes = tuple(map(int, layout.split("x"))) if re.fullmatch(r"\d+(x\d+)*", layout) else ()
        if len(sizes) != accelerator.axes or 0 in sizes:
            raise UserError(
                f"--aot {text}: expected {chip}: and {accelerator.axes} numbers of chips, as"
                f" {', '.join(accelerator.layouts)}"
            )
        return cls(chip=chip, layout=sizes, n_slices=n_slices)

    @property
    def accelerator(self) -> TPU | GPU:
        return ACCELERATORS[self.chip]

    @property
    def per_slice(self) -> int:
        """Devices."""
        return self.n_devices // self.n_slices

    @property
    def topology_name(self) -> str:
        return f"{self.chip}:{'x'.join(map(str, self.layout))}"

    @property
    def n_chips(self) -> int:
        return math.prod(self.layout) * self.n_slices

    @property
    def n_devices(self) -> int:
        return self.n_chips * self.accelerator.devices_per_chip

    def __str__(self) -> str:
        slices = f" x {self.n_slices} slices" if self.n_slices > 1 else ""
        devices = f", {self.n_devices} devices" if self.n_devices != self.n_chips else ""
        return f"{self.topology_name}{slices} ({self.n_chips} chips{devices})"

    def check_mesh(self, mesh: MeshConfig) -> None:
        """Raises `UserError` where a mesh does not use every device once, or cuts a slice."""
        shown = mesh_in_words(mesh)
        if mesh.size != self.n_devices:
            raise UserError(f"--mesh {shown} has {mesh.size} devices, and {self} has {self.n_devices}")
        if mesh.data % self.n_slices:
            raise UserError(f"--mesh {shown}: data does not divide by the {self.n_slices} slices")

    def default_mesh(self, experiment: Experiment) -> MeshConfig:
        """As much `fsdp` inside a slice as the model's width divides by; the rest is `data`."""
        fsdp = math.gcd(self.per_slice, experiment.model.d_model)
        return MeshConfig(data=self.n_devices // fsdp, fsdp=fsdp)
