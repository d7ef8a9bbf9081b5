"""Whether JAX may find an accelerator here, told without starting it."""

import glob
import os

_DEVICE_FILES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")  # NVIDIA, AMD, TPUs


def may_be_here() -> bool:
    """Says no where JAX_PLATFORMS is `cpu`."""
    return os.environ.get("JAX_PLATFORMS") != "cpu" and any(map(glob.glob, _DEVICE_FILES))
