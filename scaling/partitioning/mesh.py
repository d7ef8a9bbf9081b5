"""The device mesh, and which logical axis lies along which of its axes.

Parameters and activations have rules of their own: `embed` of a weight may be split over `fsdp`
(it is gathered before use), while `embed` of an activation stays whole and its `batch` is split
over all data axes. The axis `expert` is one of these, but for what experts with a capacity compute:
there it splits the experts, and the batch (`expert_batch`) lies along the others. A logical axis
without a rule is an error, never silently replicated.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scaling.config import Config
from scaling.cores import n_cores
from scaling.errors import UserError

MESH_AXES = ("data", "fsdp", "tensor", "expert")

PARAMETER_RULES: dict[str, str | None] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "mlp": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "kv": None,
    "length": None,
    "buckets": None,
    "expert": "expert",
}

ACTIVATION_RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp", "expert"),
    "expert_batch": ("data", "fsdp"),
    "expert": "expert",
    "length": None,
    "embed": None,
    "mlp": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "kv": None,
    "vocab": "tensor",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig(Config):
    """Sizes of the mesh axes; their product must be the number of devices used.

    microbatches: parts of a batch whose gradients are computed one after the other and summed: the same
        update in less memory.
    """

    data: int = 1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1
    microbatches: int = 1

    def validate(self) -> None:
        for axis in (*MESH_AXES, "microbatches"):
            self.require(getattr(self, axis) >= 1, axis, "an integer of at least 1")

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes in the order of `MESH_AXES`."""
        return tuple(getattr(self, axis) for axis in MESH_AXES)


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over the first `config.size` of the devices, by default those of this process.

    Neighbours in the mesh are neighbours in the machine's torus. Devices of several slices (`n` pods
    joined by a slower network) differ along `data` only, which must be a multiple of n.
    Raises `UserError` if there are fewer devices.
    """
    n_processes = jax.process_count() if devices is None else 1
    devices = jax.devices() if devices is None else devices
    if config.size > len(devices):
        raise UserError(
            f"mesh {' x '.join(map(str, config.shape))} needs {config.size} devices,"
            f" this process sees {len(devices)} ({devices[0].platform})"
        )
    if n_processes > 1 and config.size < len(devices):
        raise UserError(
            f"mesh {' x '.join(map(str, config.shape))} leaves out"
            f" {len(devices) - config.size} of the {len(devices)} devices of {n_processes}"
            f" processes; say --mesh data={len(devices)}, or another product of {len(devices)}"
        )
    chosen = devices[: config.size]
    n_slices = len({getattr(device, "slice_index", 0) for device in chosen})
    if n_slices == 1:
        ordered = mesh_utils.create_device_mesh(
            config.shape, chosen, allow_split_physical_axes=True
        )
    else:
        if config.data % n_slices:
            raise UserError(f"mesh data={config.data} does not divide by the {n_slices} slices")
        within = (config.data // n_slices, *config.shape[1:])
        across = (n_slices, *[1] * (len(within) - 1))
        ordered = mesh_utils.create_hybrid_device_mesh(
            within, across, chosen, allow_split_physical_axes=True
        )
    return Mesh(ordered, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def parameter_shardings(mesh: Mesh, specs: Any) -> Any:
    """Tree of `NamedSharding` with the structure of `specs` (a tree of `ParamSpec`)."""

    def sharding(spec) -> NamedSharding:
        for size, axis in zip(spec.shape, spec.axes):
            _check_divides(mesh, PARAMETER_RULES, axis, size)
        return NamedSharding(mesh, PartitionSpec(*(PARAMETER_RULES[axis] for axis in spec.axes)))

    return jax.tree.map(sharding, specs)


def check_batch(mesh: Mesh, name: str, n_rows: int, microbatches: int = 1) -> None:
    """Raises `UserError` where a batch, `name` in the message, does not divide over its devices."""
    n_shares = math.prod(mesh.shape[axis] for axis in ACTIVATION_RULES["batch"])
    sizes = " x ".join(f"{axis} {mesh.shape[axis]}" for axis in ACTIVATION_RULES["batch"])
    if n_rows % (n_shares * microbatches):
        parts = f"{microbatches} microbatches over " if microbatches > 1 else ""
        raise UserError(
            f"{name} = {n_rows} does not divide by {parts}the {n_shares} devices that share it"
            f" (mesh {sizes})"
        )


def batch_sharding(mesh: Mesh, leading_axes: int = 0) -> NamedSharding:
    """For arrays [..., batch, length] with some unsharded axes before the batch."""
    return NamedSharding(mesh, PartitionSpec(*([None] * leading_axes), ACTIVATION_RULES["batch"]))


@dataclasses.dataclass(frozen=True)
class Constrainer:
    """Pins an activation, named by its logical axes, to its sharding: `scaling.models`' `Constrain`."""

    mesh: Mesh

    @property
    def threads(self) -> int:
        """Cores that this process may use, where one CPU device has them all; else 1."""
        if self.mesh.size > 1 or self.mesh.devices.flat[0].platform != "cpu":
            return 1
        return n_cores()

    def __call__(self, x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, _activation(axes)))

    def on_each_device(
        self, function: Callable[..., jax.Array], inputs: tuple[tuple[str, ...], ...],
        output: tuple[str, ...],
    ) -> Callable[..., jax.Array]:
        """The function on each device's part; it must need nothing of the others'."""
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=tuple(map(_activation, inputs)),
            out_specs=_activation(output), check_vma=False,
        )


def _activation(axes: tuple[str, ...]) -> PartitionSpec:
    return PartitionSpec(*(ACTIVATION_RULES[axis] for axis in axes))


def _check_divides(mesh: Mesh, rules: dict, axis: str, size: int) -> None:
    along = rules[axis]
    if along is not None and size % mesh.shape[along]:
        raise UserError(
            f"the logical axis {axis!r} of size {size} does not divide by the mesh axis"
            f" {along!r} of size {mesh.shape[along]}"
        )
