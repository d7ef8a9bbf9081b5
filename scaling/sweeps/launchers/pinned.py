"""Becomes another program, pinned to cores and bound to die with the launcher (Linux).

    python -I -S pinned.py LAUNCHER_PID CORES PROGRAM [ARGUMENT]...

CORES is a list such as 0,1 or - for no pinning. A program of its own, and not a function run in
the launcher's fork: forking a process that has threads (jax starts some) can deadlock.
When the launcher dies, even by SIGKILL, the program gets SIGTERM, so that it saves and ends.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    launcher, cores, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if cores != "-":
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:  # it died before we asked to be told
        sys.exit(143)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
