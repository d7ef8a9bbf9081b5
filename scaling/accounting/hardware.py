"""Peaks of known accelerators: for MFU (model FLOPs utilisation), and to bound a step's time."""

import dataclasses

# Dense bfloat16 FLOP/s of one device as `jax.Device.device_kind` names it, from the vendors' data
# sheets: Google Cloud TPU system architecture pages; NVIDIA A100, H100 (SXM), H200, DGX B200 data sheets.
# A TPU v4 or v5p device is one chip (two cores in megacore); a TPU7x chip is two devices.
BF16_PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "TPU7x": 1153.5e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}


def peak_flops_per_second(device_kind: str) -> float | None:
    """Peak of one device, or None where the table does not know it (a CPU has no honest one)."""
    return BF16_PEAKS.get(device_kind)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One kind, as `scaling plan --aot` knows it. Bytes and rates are of one JAX device.

    device_kind: JAX's name. layouts: its usual numbers of chips, along each axis of a slice.
    devices_per_chip: 2 where JAX sees the halves of a chip.
    hbm_bytes, hbm_bandwidth: memory and bytes/s to it. usable: the share of it that a program may have.
    ici_bandwidth: bytes/s that leave a device over all its links to neighbours, one direction.
    dcn_bandwidth: bytes/s that leave a device for other slices, its share of the host's network
        cards; None where no figure is published.
    """

    device_kind: str
    layouts: tuple[str, ...]
    devices_per_chip: int = 1
    hbm_bytes: float
    usable: float = 1.0
    hbm_bandwidth: float
    ici_bandwidth: float
    dcn_bandwidth: float | None = None

    @property
    def peak(self) -> float:
        return BF16_PEAKS[self.device_kind]

    @property
    def axes(self) -> int:
        return self.layouts[0].count("x") + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TPU(Accelerator):
    """Slices are tori. chip_config: libtpu's name for how the halves of a chip are used."""

    chip_config: str = "default"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPU(Accelerator):
    """A slice is a node: NVLink joins its devices, network cards join the nodes.

    The rest is what XLA asks of a device that is not there (its `GpuDeviceInfoProto`): compute_capability,
    major; cores, multiprocessors; fpus_per_core; clock_ghz; l2_bytes; shared_bytes_per_core; and
    shared_bytes_per_block, the most that a block may opt into.
    """

    layouts: tuple[str, ...] = ("1", "2", "4", "8")
    # what JAX takes at start, unless XLA_PYTHON_CLIENT_MEM_FRACTION says another share
    usable: float = 0.75
    compute_capability: int
    cores: int
    fpus_per_core: int
    clock_ghz: float
    l2_bytes: int
    shared_bytes_per_core: int
    shared_bytes_per_block: int


_TORUS_2D = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_TORUS_3D = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")
_GIB, _GB = 2**30, 1e9

# docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}: bytes, bandwidth to them, and half of the
# "bidirectional inter-chip interconnect bandwidth" (v4's page gives 2400 Gbps one way). Between slices:
# the host's cards over its chips, "How to Scale Your Model" (jax-ml.github.io/scaling-book, TPUs).
TPUS = {
    "v4": TPU(
        device_kind="TPU v4", layouts=_TORUS_3D, chip_config="megacore",
        hbm_bytes=32 * _GIB, hbm_bandwidth=1200 * _GB, ici_bandwidth=300 * _GB,
    ),
    "v5e": TPU(
        device_kind="TPU v5 lite", layouts=_TORUS_2D,
        hbm_bytes=16 * _GIB, hbm_bandwidth=800 * _GIB, ici_bandwidth=200 * _GB,
        dcn_bandwidth=3.125 * _GB,
    ),
    "v5p": TPU(
        device_kind="TPU v5", layouts=_TORUS_3D,
        hbm_bytes=95 * _GIB, hbm_bandwidth=2765 * _GB, ici_bandwidth=600 * _GB,
        dcn_bandwidth=6.25 * _GB,
    ),
    "v6e": TPU(
        device_kind="TPU v6 lite", layouts=_TORUS_2D,
        hbm_bytes=32 * _GIB, hbm_bandwidth=1600 * _GB, ici_bandwidth=400 * _GB,
        dcn_bandwidth=12.5 * _GB,
    ),
    "tpu7x": TPU(
        device_kind="TPU7x", layouts=_TORUS_3D, devices_per_chip=2,
        hbm_bytes=96 * _GIB, hbm_bandwidth=3690 * _GB, ici_bandwidth=300 * _GB,
    ),
}

# NVIDIA's data sheets: bandwidths to memory, of NVLink (half of "bidirectional"), and of the network cards
# of a DGX, 200 (A100) or 400 Gb/s a GPU. The rest as XLA's own descriptions of these devices have it
# (openxla/xla, xla/backends/gpu/target_config/specs).
_HOPPER = {
    "compute_capability": 9, "cores": 132, "fpus_per_core": 128, "clock_ghz": 1.98, "l2_bytes": 52428800,
    "shared_bytes_per_core": 233472, "shared_bytes_per_block": 232448,
}
GPUS = {
    "a100": GPU(
        device_kind="NVIDIA A100-SXM4-80GB", hbm_bytes=85100068864, hbm_bandwidth=2039 * _GB,
        ici_bandwidth=300 * _GB, dcn_bandwidth=25 * _GB, compute_capability=8, cores=108, fpus_per_core=64,
        clock_ghz=1.41, l2_bytes=41943040, shared_bytes_per_core=167936, shared_bytes_per_block=166912,
    ),
    "h100": GPU(
        device_kind="NVIDIA H100 80GB HBM3", hbm_bytes=84942979072, hbm_bandwidth=3350 * _GB,
        ici_bandwidth=450 * _GB, dcn_bandwidth=50 * _GB, **_HOPPER,
    ),
    "h200": GPU(
        device_kind="NVIDIA H200", hbm_bytes=151397597184, hbm_bandwidth=4800 * _GB,
        ici_bandwidth=450 * _GB, dcn_bandwidth=50 * _GB, **_HOPPER,
    ),
    "b200": GPU(
        device_kind="NVIDIA B200", hbm_bytes=191514411008, hbm_bandwidth=7700 * _GB,
        ici_bandwidth=900 * _GB, dcn_bandwidth=50 * _GB, compute_capability=10, cores=148,
        fpus_per_core=128, clock_ghz=1.965, l2_bytes=132644864, shared_bytes_per_core=233472,
        shared_bytes_per_block=232448,
    ),
}
ACCELERATORS: dict[str, TPU | GPU] = {**TPUS, **GPUS}
