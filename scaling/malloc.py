"""How malloc serves a process that trains on CPU (Linux with glibc).

XLA takes a step's temporaries from malloc and gives them back. By default glibc maps such blocks afresh
each time, and the kernel finds, clears and looks up every page of 4 KiB of them: up to a fifth of a step.
Here blocks stay with the process, in one heap, on pages of 2 MiB where the kernel grants them. Steps of
tens of milliseconds and more take about a fifth less time on two cores. Steps of a few milliseconds, whose
blocks are small, take a tenth more there, as the threads share the heap, and no more on one core.
"""

import glob
import os
import sys

_VARIABLE = "GLIBC_TUNABLES"  # glibc reads it when a program starts, and only then
_TUNABLES = {
    "hugetlb": 1,  # madvise: takes effect unless the kernel's transparent_hugepage/enabled is `never`
    "mmap_max": 0,
    "arena_max": 1,  # other heaps hold blocks up to 64 MiB, and map bigger ones whatever mmap_max says
    "trim_threshold": 1 << 40,
    "top_pad": 64 << 20,
}
_ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")


def restart_with_tuned_malloc() -> None:
    """Starts this command again, the same process with the same arguments, with malloc tuned as above.

    Does nothing where GLIBC_TUNABLES is set, to whatever, or where JAX may find an accelerator.
    """
    if sys.platform != "linux" or not sys.executable or _VARIABLE in os.environ:
        return
    if os.environ.get("JAX_PLATFORMS") != "cpu" and any(map(glob.glob, _ACCELERATORS)):
        return
    os.environ[_VARIABLE] = ":".join(f"glibc.malloc.{name}={value}" for name, value in _TUNABLES.items())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
