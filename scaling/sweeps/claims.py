"""Who trains a run: exactly-once claims in the run's own folder, safe against SIGKILL.

A claim is a file `claim.<generation>` that appears whole or not at all (a hard link to a finished
temporary file) and is never changed or removed; the newest generation owns the run. Generation
g + 1 may be made only when g is over, and the link makes sure that one process makes it.
g is over if

- `claim.<g>.released` stands beside it: its owner let go (Ctrl-C, SIGTERM, a full disk), or
- its owner ran on this machine and that process is gone (process id and start time), or
- its lease ran out: the owner touches the file several times a lease, and an observer
  has watched it stay untouched for a whole lease *on the observer's own monotonic clock*. So
  clocks that disagree, or a laptop that slept, take no run away from a living owner.

An owner that was stopped for longer than its lease finds a newer generation when it wakes and must
not write any more (`Claim.is_mine`, and `on_lost` from the renewing thread).

Attempts. Only a death that somebody saw counts against a run: a launcher that is still alive a
moment after its worker crashed writes `claim.<g>.crashed` (`mark_crashed`). Releases do
not count, and neither does the death of the whole tree, launcher included, however often: it says
nothing about the run. To try a failed run again, remove its folder.
"""

import dataclasses
import datetime
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Self

from scaling.errors import UserError
from scaling.results.files import write_once

LEASE_SECONDS = 60.0

_CLAIM = re.compile(r"claim\.(\d+)")
_RENEWALS_A_LEASE = 6


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, so named that another one never passes for it.

    boot: boot and process-id namespace, without which process ids mean nothing; "" where unknown.
    started: clock ticks after boot (field 22 of /proc/<pid>/stat); None where there is no /proc.
    """

    host: str
    boot: str
    pid: int
    started: int | None

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has this id on this machine now."""
        return cls(socket.gethostname(), _boot(), pid, _state_and_start(pid)[1])

    def is_here(self) -> bool:
        """Whether it runs, or ran, where its id can be looked up from here."""
        return (self.host, self.boot) == (socket.gethostname(), _boot())

    def is_gone(self) -> bool:
        """True only if it certainly ended: a zombie has; one on another machine may live."""
        if not self.is_here():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # somebody else's process: it exists
        state, started = _state_and_start(self.pid)
        if state is None or self.started is None:
            return False
        return state in "ZX" or started != self.started


@dataclasses.dataclass(frozen=True)
class Holder:
    """The newest claim of a run, as anybody can read it. renewed_ns: its file's mtime."""

    run_dir: Path
    generation: int
    worker: str
    process: Process | None
    lease_seconds: float
    renewed_ns: int
    released: bool

    def is_over(self) -> bool:
        """Whether it is known to have ended; False as long as only its lease can tell."""
        return self.released or (self.process is not None and self.process.is_gone())

    def is_running(self) -> bool:
        """One look, for people: alive here, or renewed within its lease by the wall clock."""
        if self.is_over():
            return False
        if self.process is not None and self.process.is_here() and self.process.started:
            return True
        return time.time() - self.renewed_ns / 1e9 < self.lease_seconds


def read_holder(run_dir: Path) -> Holder | None:
    """The newest claim under `run_dir`, or None if nobody ever claimed the run."""
    generations = _generations(run_dir)
    return _read(run_dir, max(generations)) if generations else None


def crashes(run_dir: Path) -> list[str]:
    """How each counted attempt died, in order, such as "killed by SIGKILL"."""
    marks = (run_dir / f"claim.{g}.crashed" for g in sorted(_generations(run_dir)))
    return [mark.read_text().strip() for mark in marks if mark.exists()]


def mark_crashed(root: Path, run_ids: Iterable[str], process: Process, how: str) -> list[str]:
    """Writes down that `process` died as `how` in the run it held; returns all runs it ever took.

    Its claim need not be the newest any more: another worker may have taken the run already.
    """
    taken = []
    for run_id in run_ids:
        run_dir = Path(root) / "runs" / run_id
        for generation in _generations(run_dir):
            holder = _read(run_dir, generation)
            if holder.process == process:
                taken.append(run_id)
                if not holder.released and not (run_dir / "record.json").exists():
                    write_once(run_dir / f"claim.{generation}.crashed", how + "\n")
    return taken


class Claim:
    """A run that this process owns; a daemon thread renews the lease until `with` is left.

    Leaving without a record releases the claim, whatever the reason, so that nothing stale stays.
    """

    def __init__(
        self, run_dir: Path, generation: int, lease_seconds: float, on_lost: Callable[[], None]
    ) -> None:
        self.run_dir = run_dir
        self.generation = generation
        self._path = run_dir / f"claim.{generation}"
        self._period = lease_seconds / _RENEWALS_A_LEASE
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="renew-claim", daemon=True)
        self._thread.start()

    def is_mine(self) -> bool:
        """False once anybody made a newer generation: from then on, write nothing."""
        newer = self.run_dir / f"claim.{self.generation + 1}"
        return self._path.exists() and not newer.exists()

    def release(self) -> None:
        """Lets go of the run: others may take it at once, and the attempt is not counted."""
        self._end()
        try:
            (self.run_dir / f"claim.{self.generation}.released").touch()
        except OSError:
            pass  # a full disk, say; the end of this process releases it as well

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()
        if not (self.run_dir / "record.json").exists():
            self.release()

    def _end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._ended.wait(self._period):
            if not self.is_mine():
                self._on_lost()
                return
            try:
                os.utime(self._path)
            except OSError:
                continue  # a network drive may come back; if it does not, the lease runs out


class Claims:
    """One worker's claims on the runs under `<root>/runs`, and its watch on those of others.

    on_lost: called from the renewing thread when a claim was taken over (see `Claim`).
    Raises `UserError` for a root that is not a file system: buckets have no hard links.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        worker: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        if "://" in os.fspath(root):
            raise UserError(
                f"{root}: workers claim runs with hard links, which a bucket lacks;"
                " give a folder on a (shared) file system"
            )
        self._root = Path(root)
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._on_lost = on_lost
        self._watched: dict[str, tuple[int, int, float]] = {}

    def acquire(self, run_id: str) -> Claim | None:
        """The run's next claim, or None while somebody else holds it.

        The caller looks for the record *after* this: it may have been written in between.
        """
        run_dir = self._root / "runs" / run_id
        holder = read_holder(run_dir)
        if holder is not None and not (holder.is_over() or self._lease_ran_out(run_id, holder)):
            return None
        generation = 0 if holder is None else holder.generation + 1
        content = {
            "worker": self._worker,
            **dataclasses.asdict(Process.of(os.getpid())),
            "lease_seconds": self._lease_seconds,
            "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        if not write_once(run_dir / f"claim.{generation}", json.dumps(content) + "\n"):
            return None
        return Claim(run_dir, generation, self._lease_seconds, self._on_lost)

    def _lease_ran_out(self, run_id: str, holder: Holder) -> bool:
        generation, renewed_ns, since = self._watched.get(run_id, (-1, -1, 0.0))
        now = time.monotonic()
        if (generation, renewed_ns) != (holder.generation, holder.renewed_ns):
            self._watched[run_id] = (holder.generation, holder.renewed_ns, now)
            return False
        return now - since > holder.lease_seconds


def _generations(run_dir: Path) -> list[int]:
    try:
        names = os.listdir(run_dir)
    except FileNotFoundError:
        return []
    return [int(match[1]) for name in names if (match := _CLAIM.fullmatch(name))]


def _read(run_dir: Path, generation: int) -> Holder:
    path = run_dir / f"claim.{generation}"
    with path.open() as file:  # opening, unlike stat, asks an NFS server for the true mtime
        renewed_ns = os.fstat(file.fileno()).st_mtime_ns
        text = file.read()
    content: dict[str, Any] = {}
    process = None
    try:
        content = json.loads(text)
        process = Process(*(content[field.name] for field in dataclasses.fields(Process)))
    except (ValueError, KeyError, TypeError):
        pass  # damaged from outside: only its lease can tell
    return Holder(
        run_dir=run_dir,
        generation=generation,
        worker=content.get("worker", "unknown"),
        process=process,
        lease_seconds=content.get("lease_seconds", LEASE_SECONDS),
        renewed_ns=renewed_ns,
        released=(run_dir / f"claim.{generation}.released").exists(),
    )


@cache
def _boot() -> str:
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot_id} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _state_and_start(pid: int) -> tuple[str | None, int | None]:
    """State letter and start time from /proc, or (None, None) where they cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None, None
    fields = stat.rpartition(")")[2].split()  # the program's name may hold spaces and brackets
    return fields[0], int(fields[19])
