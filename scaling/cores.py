"""CPU cores that this process may use: under `taskset`, a container or Slurm fewer than the machine's."""

import os


def core_ids() -> list[int] | None:
    """Their numbers, ascending; None where the system cannot pin a process to cores (macOS)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def n_cores() -> int:
    """How many; all of the machine's where the system does not say which."""
    ids = core_ids()
    return len(ids) if ids is not None else os.cpu_count() or 1
