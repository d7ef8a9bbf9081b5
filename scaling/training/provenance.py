"""What ran: library versions, commit, device."""

import functools
import importlib.metadata
import pathlib
import platform
import subprocess

import jax

import scaling

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy",
             "tensorflow-datasets", "sentencepiece")


@functools.cache
def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"scaling": scaling.__version__, "python": platform.python_version(), **found}


@functools.cache
def commit() -> str | None:
    """The checkout's commit, `-dirty` if it was changed; None where the code is no checkout."""
    root = pathlib.Path(scaling.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def device_kind() -> str:
    """The first device's kind; a CPU's own name, since JAX calls every one of them `cpu`."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "cpu"
