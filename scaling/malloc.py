"""How malloc serves a process that trains on CPU (Linux with glibc).

XLA takes a step's temporaries from malloc and gives them back. By default glibc maps such blocks afresh
each time, and the kernel finds, clears and looks up every page of 4 KiB of them: up to a fifth of a step.
Here blocks stay with the process, in one heap, on pages of 2 MiB where the kernel grants them: steps of
a hundred milliseconds and more take about a quarter less time, those of a few milliseconds as long as
before.

One heap is also the compiler's, which leaves it full of holes: see `compiling`.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

from scaling import accelerators

_VARIABLE = "GLIBC_TUNABLES"  # glibc reads it when a program starts, and only then
_TUNABLES = {
    "hugetlb": 1,  # madvise: takes effect unless the kernel's transparent_hugepage/enabled is `never`
    "mmap_max": 0,
    "arena_max": 1,  # other heaps hold blocks up to 64 MiB, and map bigger ones whatever mmap_max says
    "trim_threshold": 1 << 40,
    "top_pad": 64 << 20,
}
_TUNED = ":".join(f"glibc.malloc.{name}={value}" for name, value in _TUNABLES.items())


def restart_with_tuned_malloc() -> None:
    """Starts this command again, the same process with the same arguments, with malloc tuned as above.

    Does nothing where GLIBC_TUNABLES is set, to whatever, or where JAX may find an accelerator.
    """
    if sys.platform != "linux" or not sys.executable or _VARIABLE in os.environ:
        return
    if accelerators.may_be_here():
        return
    os.environ[_VARIABLE] = _TUNED
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


_LEAST_HOLE = 1100  # bytes; smaller blocks have lists of their own, which no other size has to search
_held: list[int] = []


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`. fordblks: free bytes. keepcost: those of them at the heap's end."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
        "keepcost",
    )]


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Around what compiles programs: the holes that the compiler leaves in the heap stay its own.

    XLA leaves ten thousand free pieces between those it keeps. To search them, and to lie scattered among
    them, costs the steps that follow 4 to 15% of their time. So they are taken when it is done, 150 to
    200 MB that the process holds anyway, and given back when it begins again. Does nothing where malloc
    is not tuned as above.
    """
    libc = ctypes.CDLL(None) if os.environ.get(_VARIABLE) == _TUNED else None
    if libc is None or not hasattr(libc, "mallinfo2"):  # glibc before 2.33
        yield
        return
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    libc.mallinfo2.restype = _MallInfo
    while _held:
        libc.free(_held.pop())
    yield
    free = libc.mallinfo2()
    end, size = libc.sbrk(0) - free.keepcost, free.fordblks - free.keepcost
    while size >= _LEAST_HOLE:
        block = libc.malloc(size)
        if block is not None and block < end:
            _held.append(block)
        else:  # no hole is so large any more
            libc.free(block)
            size = size * 4 // 5
