"""The restart keeps the process and its words, and blocks that are freed stay with it; holes are taken."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")

RESTARTS = """
import os, resource, sys
from scaling.malloc import restart_with_tuned_malloc
restart_with_tuned_malloc()
"""


def run(script: str, *words: str, **env: str) -> tuple[int, list[str]]:
    """Its process id as we know it, and the lines it printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    process = subprocess.Popen(
        [sys.executable, "-c", RESTARTS + script, *words], env=inherited | {"JAX_PLATFORMS": "cpu"} | env,
        stdout=subprocess.PIPE, text=True,
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return process.pid, out.splitlines()


def test_the_process_and_its_words_stay():
    words = ("--run-dir", "a folder with $HOME, 'quotes' and ü", "", "-b")
    pid, (own_pid, said, tunables) = run(
        "print(os.getpid()); print(sys.argv[1:]); print(os.environ['GLIBC_TUNABLES'])", *words
    )
    assert int(own_pid) == pid
    assert said == repr(list(words))
    assert "glibc.malloc.hugetlb=1" in tunables


@pytest.mark.parametrize("chosen", ["", "glibc.malloc.arena_max=4"])
def test_a_choice_of_the_users_stays(chosen):
    _, (tunables,) = run("print(os.environ['GLIBC_TUNABLES'])", GLIBC_TUNABLES=chosen)
    assert tunables == chosen


FAULTS_OF_A_BLOCK = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(256 << 20)
    ctypes.memset(block, 1, 256 << 20)
    libc.free(block)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc")
def test_a_block_is_not_mapped_again_each_time():
    _, (tuned,) = run(FAULTS_OF_A_BLOCK)
    _, (default,) = run(FAULTS_OF_A_BLOCK, GLIBC_TUNABLES="")
    assert int(tuned) < 10
    assert int(default) > 100  # 65,536 pages of 4 KiB, or 128 of 2 MiB where the kernel always gives those


HOLES = """
import ctypes, scaling.malloc
from scaling.malloc import compiling
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.mallinfo2.restype = scaling.malloc._MallInfo

def in_holes():
    free = libc.mallinfo2()
    return free.fordblks - free.keepcost

for _ in range(2):
    with compiling():
        at_start = in_holes()
        blocks = [libc.malloc(2000 + 7 * i) for i in range(8000)]
        for block in blocks[::2]:
            libc.free(block)
        made = in_holes()
    print(at_start, made, in_holes(), len(scaling.malloc._held))
    for block in blocks[1::2]:
        libc.free(block)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc")
def test_holes_are_taken_after_compiling_and_given_back_to_the_next():
    _, lines = run(HOLES)
    (_, made, left, _), (given_back, *_) = (map(int, line.split()) for line in lines)
    assert made > 100e6 and left < 0.05 * made
    assert given_back > 0.9 * made
    _, lines = run(HOLES, GLIBC_TUNABLES="")
    _, made, left, held = map(int, lines[0].split())
    assert held == 0 and left >= made
