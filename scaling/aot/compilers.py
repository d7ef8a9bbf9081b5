"""The compilers for devices that are not there: libtpu, XLA's for NVIDIA GPUs, and what they are told."""

import importlib.util
import re
from importlib import metadata

import jax
from jax.experimental import topologies

from scaling.accounting.hardware import GPU, TPU
from scaling.aot.target import Target
from scaling.errors import UserError

# There is no TPU to ask or to share, and no GPU on which to time one kernel against another: without that,
# XLA's own products may find no tiling, so that all are cuBLAS's.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu", "TPU_LOG_DIR": "disabled", "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "XLA_FLAGS": "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false",
}
CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")
CUDNN, CUDA = (9, 10, 0), (12, 8, 0)  # assumed of a machine with GPUs: the least that knows all of them


def check_compiler(target: Target) -> None:
    """Raises `UserError` where the compiler is not installed, or libtpu is not the one that jax was built
    with: another compiles for minutes and then hands over a program that jax cannot read."""
    if isinstance(target.accelerator, GPU):
        if not any(importlib.util.find_spec(name) for name in CUDA_PLUGINS):
            raise UserError(f"--aot {target.topology_name} needs jax's CUDA plugin, which is not installed"
                            " (no GPU is needed): pip install 'scaling[cuda]'")
        return
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "--aot needs libtpu, the TPU compiler, which is not installed (no TPU is needed):"
            " pip install 'scaling[tpu]'"
        )
    asked = " ".join(metadata.requires("jax") or ())  # libtpu==0.0.42.*; extra == "tpu"
    known, found = re.search(r"libtpu==([\d.]+)\.\*", asked), metadata.version("libtpu")
    if known and not f"{found}.".startswith(f"{known[1]}."):
        raise UserError(f"--aot: libtpu {found} does not go with jax {metadata.version('jax')}, which wants"
                        f" {known[1]}.*: pip install 'scaling[tpu]'")


def abstract_devices(target: Target) -> list:
    """JAX devices of the target, to compile for. Raises `UserError` for a layout that libtpu refuses."""
    if isinstance(target.accelerator, GPU):
        nodes = f"1x{target.n_slices}x{target.per_slice}"  # partitions, hosts in each, devices in each
        return topologies.get_topology_desc(
            platform="cuda", topology=nodes, target_config=_gpu_config(target.accelerator)
        ).devices
    return _tpus(target, target.accelerator)


def _tpus(target: Target, tpu: TPU) -> list:
    options = {"chip_config_name": tpu.chip_config}
    if target.n_slices > 1:
        options["num_slices"] = target.n_slices
    try:
        topology = topologies.get_topology_desc(
            platform="tpu", topology_name=target.topology_name, **options
        )
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        raise UserError(
            f"--aot {target.topology_name}: libtpu makes no such layout ({str(error).splitlines()[0]});"
            f" usual ones: {', '.join(tpu.layouts)}"
        ) from None
    return topology.devices


def _gpu_config(gpu: GPU) -> str:
    """XLA's `GpuTargetConfigProto` as text; limits that all these devices share are CUDA's."""

    def version(name: str, numbers: tuple[int, int, int]) -> str:
        return f"{name} {{ {' '.join(f'{k}: {n}' for k, n in zip(('major', 'minor', 'patch'), numbers))} }}"

    return f"""
        gpu_device_info {{
          threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
          thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
          block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
          registers_per_block_limit: 65536 registers_per_core_limit: 65536
          shared_memory_per_block: 49152 shared_memory_per_block_optin: {gpu.shared_bytes_per_block}
          shared_memory_per_core: {gpu.shared_bytes_per_core}
          core_count: {gpu.cores} fpus_per_core: {gpu.fpus_per_core} clock_rate_ghz: {gpu.clock_ghz}
          memory_bandwidth: {gpu.hbm_bandwidth:.0f} l2_cache_size: {gpu.l2_bytes}
          device_memory_size: {gpu.hbm_bytes}
          cuda_compute_capability {{ major: {gpu.compute_capability} }}
        }}
        platform_name: "CUDA"
        {version("dnn_version_info", CUDNN)} {version("runtime_version", CUDA)}
        device_description_str: "{gpu.device_kind}"
    """
