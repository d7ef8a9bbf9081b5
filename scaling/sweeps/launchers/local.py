"""Runs a sweep on this machine: worker processes, one set of cores each, restarted if they crash.

The launcher holds no state that matters: claims and records in the folder do. It may be killed at
any moment, started again, or started twice at once.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from scaling.config import Config
from scaling.cores import core_ids
from scaling.errors import UserError
from scaling.results.files import writing
from scaling.sweeps.claims import Process, mark_crashed
from scaling.sweeps.launchers import pinned
from scaling.sweeps.launchers.devices import Devices, dealt
from scaling.sweeps.launchers.job import Job
from scaling.sweeps.launchers.option import option
from scaling.sweeps.launchers.signals import STOP_SIGNALS, caught_signals
from scaling.sweeps.progress import SweepProgress
from scaling.sweeps.worker import LOST_CLAIM

USER_ERROR = 2

_POLL_SECONDS = 0.1
# A crash is written down, and its worker replaced, only if the launcher outlives it by this long:
# when the whole tree is killed, workers first, no run is to blame.
_SETTLE_SECONDS = 1.0
_MAX_STRIKES = 3  # deaths in a row of a worker that took no run, each soon after its start
_SOON_SECONDS = 60.0
_ASKED_TO_STOP = (*(-s for s in STOP_SIGNALS), *(128 + s for s in STOP_SIGNALS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalConfig(Config):
    """Worker processes on this machine."""

    devices: Devices = option("gpu or tpu: one for each worker, by turns", "shared")

    def check(self) -> None:
        """Raises `UserError` if there is no GPU to deal out."""
        dealt(self.devices, 0, 1)

    def launch(self, job: Job, console: Console) -> int:
        """See `launch`."""
        n_workers = min(job.n_workers, len(job.entries))
        return launch(
            job.root,
            entries=job.entries,
            n_workers=n_workers,
            command=job.worker,
            worker_env=lambda index: dealt(self.devices, index, n_workers),
            console=console,
            how_to_continue=job.how_to_continue,
        )


def launch(
    root: str | os.PathLike[str],
    *,
    entries: list[dict[str, Any]],
    n_workers: int,
    command: Callable[[int], list[str]],
    worker_env: Callable[[int], Mapping[str, str]] = lambda index: {},
    name: str = "",
    console: Console | None = None,
    grace_seconds: float = 20.0,
    how_to_continue: str = "start the same command again to continue",
) -> int:
    """Runs `n_workers` workers until every entry has a record; returns the exit status.

    command: the program of worker i; it calls `run_worker` on the same root and entries, and exits
        with 0 when all have records, 2 for a user's mistake, 143 when stopped by SIGTERM.
    worker_env: of worker i, added to this process's environment. Output goes to
        `<root>/logs/worker-<i>.log`, or with a `name` (one of several supervisors of one sweep, which
        show no progress of their own) to `<root>/logs/<name>-worker-<i>.log`.
    grace_seconds: between SIGTERM and SIGKILL when stopping, enough to save a checkpoint.

    Returns 0, or 128 + the signal's number after Ctrl-C (130), SIGTERM or SIGHUP: then no worker is
    left and their claims are released. Raises `UserError` with the last line of a worker that exits
    with 2, and `RuntimeError` if workers die again and again before they take a run. The rest
    is stopped first in either case.
    """
    root = Path(root).absolute()
    console = console or Console()
    cores = _share_cores(n_workers)
    run_ids = [entry["run_id"] for entry in entries]
    workers = [
        _Worker(
            root / "logs" / f"{name}-worker-{i}.log".removeprefix("-"),
            root, run_ids, command(i), {**os.environ, **worker_env(i)}, cores[i],
        )
        for i in range(n_workers)
    ]
    with caught_signals() as caught:
        shown = contextlib.nullcontext() if name else SweepProgress(root, entries, console, n_workers)
        with shown as progress:
            try:
                while not caught and not all(worker.finished for worker in workers):
                    for worker in workers:
                        worker.look_after()
                    if progress is not None:
                        progress.refresh()
                    time.sleep(_POLL_SECONDS)
            finally:
                if caught:
                    console.print("stopping the workers; once more to stop without a checkpoint")
                _stop(workers, grace_seconds, caught)
        n_done = sum((root / "runs" / i / "record.json").exists() for i in run_ids)
        if caught and n_done < len(run_ids):
            message = f"stopped with {n_done} of {len(run_ids)} runs done; {how_to_continue}"
            console.print(Text(message), soft_wrap=True)
            return 128 + caught[0]
    if n_done < len(run_ids):
        raise RuntimeError(
            f"the workers ended with {n_done} of {len(run_ids)} runs done; see {root / 'logs'}"
        )
    return 0


class _Worker:
    """One place for a worker process, which is filled again when the process crashes."""

    def __init__(
        self,
        log: Path,
        root: Path,
        run_ids: list[str],
        command: list[str],
        env: dict[str, str],
        cores: list[int] | None,
    ) -> None:
        self.finished = False
        self._root = root
        self._run_ids = run_ids
        self._env = env
        names = ",".join(map(str, cores)) if cores else "-"
        self._command = [
            *(sys.executable, "-I", "-S", pinned.__file__, str(os.getpid()), names),
            *command,
        ]
        self._log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._process: Process | None = None
        self._log_start = 0
        self._started_at = 0.0
        self._died_at: float | None = None
        self._strikes = 0

    def look_after(self) -> None:
        """Starts it, notices its end, and some time after a crash starts it again."""
        if self.finished:
            return
        if self._popen is None:
            self._start()
        code = self._popen.poll()
        if code is None:
            return
        if code == 0:
            self.finished = True
        elif code == USER_ERROR:
            raise UserError(self._last_line().removeprefix("scaling: "))
        elif self._died_at is None:
            self._died_at = time.monotonic()
        elif time.monotonic() - self._died_at >= _SETTLE_SECONDS:
            self._judge(code)
            self._start()

    def signal(self, number: int, whole_group: bool = False) -> None:
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if whole_group else os.kill)(self._popen.pid, number)

    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def _start(self) -> None:
        with writing(self._log):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._log_start = log.tell()
                self._popen = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    process_group=0,  # Ctrl-C reaches the launcher alone, which stops the workers
                )
        self._process = Process.of(self._popen.pid)
        self._started_at = time.monotonic()
        self._died_at = None

    def _judge(self, code: int) -> None:
        """Blames the run that a crashed worker held; gives up on a worker that cannot start."""
        taken = []
        if code not in (*_ASKED_TO_STOP, LOST_CLAIM):
            taken = mark_crashed(self._root, self._run_ids, self._process, _how(code))
        if taken or self._died_at - self._started_at > _SOON_SECONDS:
            self._strikes = 0
            return
        self._strikes += 1
        if self._strikes == _MAX_STRIKES:
            raise RuntimeError(
                f"a worker died {_MAX_STRIKES} times before it took a run ({_how(code)});"
                f" see {self._log}; its last words: {self._last_line()}"
            )

    def _last_line(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "(no output)")


def _stop(workers: list[_Worker], grace_seconds: float, caught: list[int]) -> None:
    """SIGTERM, then SIGKILL after the grace period or at a second signal."""
    n_signals = len(caught)
    for worker in workers:
        worker.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(worker.is_alive() for worker in workers):
        if time.monotonic() > deadline or len(caught) > n_signals:
            for worker in workers:
                worker.signal(signal.SIGKILL, whole_group=True)
        time.sleep(_POLL_SECONDS)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    return f"killed by {signal.Signals(-code).name}" + (
        " (out of memory?)" if code == -signal.SIGKILL else ""
    )


def _share_cores(n_workers: int) -> list[list[int] | None]:
    """The cores that this process may use, dealt out; None where the system cannot pin."""
    cores = core_ids()
    if cores is None:
        return [None] * n_workers
    if n_workers >= len(cores):
        return [[cores[i % len(cores)]] for i in range(n_workers)]
    edges = [i * len(cores) // n_workers for i in range(n_workers + 1)]
    return [cores[start:end] for start, end in zip(edges, edges[1:])]
