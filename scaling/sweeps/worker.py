"""One worker of a sweep: takes runs that nobody has, trains them, leaves a record of each.

Runs are taken in the order of the plan, the longest first: the short ones at the end then
even out when the workers finish. Runs of one shape are not gathered for one worker; the trainer
keeps what it compiled, and the persistent compilation cache serves the other workers.

Nothing here imports jax, so that a worker can be pinned and named before jax starts.
"""

import contextlib
import datetime
import errno
import json
import os
import platform
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import scaling
from scaling.errors import UserError
from scaling.results import RunRecord, write_record
from scaling.results.files import writing
from scaling.sweeps.claims import LEASE_SECONDS, Claim, Claims, crashes, read_holder

MAX_ATTEMPTS = 3
LOST_CLAIM = 75  # exit status (EX_TEMPFAIL) of a worker whose run was taken over
POLL_SECONDS = 0.5

_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_ENTRY_FIELDS = ("run_id", "experiment", "tags", "train_flops", "n_params")


def leave_at_once() -> None:
    """Ends this process without another write: its run belongs to somebody else now."""
    os._exit(LOST_CLAIM)


def run_worker(
    root: str | os.PathLike[str],
    *,
    entries: list[dict[str, Any]],
    train: Callable[[dict[str, Any], Path], RunRecord],
    worker: str,
    lease_seconds: float = LEASE_SECONDS,
    max_attempts: int = MAX_ATTEMPTS,
    should_stop: Callable[[], bool] = lambda: False,
    on_lost: Callable[[], None] = leave_at_once,
) -> int:
    """Trains what lacks a record until every entry has one; returns how many runs it trained.

    While living workers hold the rest it waits, to take over the runs of those that die.

    entries: lines of `plan.jsonl`, in the order to take them; each needs `run_id`,
        `experiment`, `tags`, `train_flops` (by convention) and `n_params` (by group).
    train: gets the entry and the run's folder, returns the record, which is written here unless
        `train` did. When asked to stop it saves a checkpoint and raises `SystemExit(143)`.
    should_stop: asked between runs and while waiting; then the worker returns early. Whoever
        handles SIGTERM before this call says so here; otherwise SIGTERM raises `SystemExit(143)`.
    max_attempts: crashes (see `claims`) after which a run becomes a `failed` record, untried.

    An exception in `train` makes a `failed` record, its traceback goes to the run's `log.txt`.
    What is no fault of the run (`UserError`, a full disk, Ctrl-C, SIGTERM) releases the run and is
    raised again: `UserError`, `KeyboardInterrupt` or `SystemExit`.
    """
    for entry in entries:
        if missing := [name for name in _ENTRY_FIELDS if name not in entry]:
            raise UserError(
                f"{root}: the plan's run {entry.get('run_id', '?')} lacks {', '.join(missing)};"
                " make the plan again"
            )
    claims = Claims(root, worker, lease_seconds=lease_seconds, on_lost=on_lost)
    runs = Path(root) / "runs"
    waiting = list(entries)
    n_trained = 0
    with _sigterm_exits():
        while not should_stop():
            waiting = [e for e in waiting if not (runs / e["run_id"] / "record.json").exists()]
            if not waiting:
                break
            taken = _take_first(claims, waiting)
            if taken is None:
                time.sleep(POLL_SECONDS)
                continue
            claim, entry = taken
            with claim:
                n_trained += _attempt(entry, claim, train, max_attempts)
    return n_trained


def next_free(root: Path, entries: list[dict[str, Any]], entry: dict[str, Any]) -> dict[str, Any] | None:
    """What a worker that has taken `entry` would take next: the first after it that nobody has or had."""
    after = entries[entries.index(entry) + 1 :]
    free = (e for e in after if read_holder(root / "runs" / e["run_id"]) is None)
    return next(free, None)


def failed_record(entry: dict[str, Any], reason: str, wall_seconds: float | None) -> RunRecord:
    """The record of a run that gave no result: nothing of it is kept, so what it achieved is 0."""
    return RunRecord(
        run_id=entry["run_id"],
        status="failed",
        reason=reason,
        experiment=entry["experiment"],
        tags=entry["tags"],
        seed=entry["experiment"]["seed"],
        n_steps=0,
        n_tokens=0,
        n_epochs=None,
        n_params=entry["n_params"],
        train_flops=dict.fromkeys(entry["train_flops"], 0.0),
        final=None,
        best=None,
        evaluations=[],
        curve=[],
        wall_seconds=wall_seconds,
        train_seconds=None,
        compile_seconds=None,
        flops_per_second=None,
        mfu=None,
        device=None,
        mesh=None,
        data=None,
        versions={"python": platform.python_version(), "scaling": scaling.__version__},
        commit=None,
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _take_first(
    claims: Claims, entries: list[dict[str, Any]]
) -> tuple[Claim, dict[str, Any]] | None:
    for entry in entries:
        if (claim := claims.acquire(entry["run_id"])) is not None:
            return claim, entry
    return None


def _attempt(
    entry: dict[str, Any],
    claim: Claim,
    train: Callable[[dict[str, Any], Path], RunRecord],
    max_attempts: int,
) -> bool:
    """Trains one claimed run and writes its record; whether this worker trained it."""
    run_dir = claim.run_dir
    if (run_dir / "record.json").exists():  # its last owner finished just before we claimed it
        return False
    died = crashes(run_dir)
    if len(died) >= max_attempts:
        reason = f"its worker died {len(died)} times{_where(run_dir)}, at last: {died[-1]}"
        write_record(run_dir, failed_record(entry, reason, None))
        return False
    started = time.monotonic()
    try:
        record = train(entry, run_dir)
        if claim.is_mine():
            write_record(run_dir, record)
            return True
        return False
    except Exception as error:
        if (trouble := _not_the_runs_fault(error)) is error:
            raise
        if trouble is not None:
            raise trouble from error
        if not claim.is_mine():
            return False
        with writing(run_dir / "log.txt"), (run_dir / "log.txt").open("a") as log:
            log.write(traceback.format_exc())
        summary = traceback.format_exception_only(error)[-1].strip().splitlines()[0][:300]
        reason = f"{summary}{_where(run_dir)}"
        write_record(run_dir, failed_record(entry, reason, time.monotonic() - started))
        return True


def _where(run_dir: Path) -> str:
    """" at step 10 of 50", from the trainer's last progress, or "" if it wrote none."""
    try:
        progress = json.loads((run_dir / "progress.json").read_text())
        return f" at step {progress['step']} of {progress['n_steps']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _not_the_runs_fault(error: BaseException) -> UserError | None:
    """What the user can put right, wherever it hides in the chain of causes."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UserError):
            return link
        if isinstance(link, OSError) and link.errno in _DISK_TROUBLE:
            where = f" {link.filename}" if link.filename else ""
            return UserError(f"cannot write{where}: {os.strerror(link.errno)}")
        if os.strerror(errno.ENOSPC) in str(link):  # tensorstore tells it in words only
            return UserError(f"cannot write: {os.strerror(errno.ENOSPC)}")
        link = link.__cause__ or link.__context__
    return None


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """SIGTERM ends the worker through Python, so that its claim is released, once.

    Repeats are ignored, they must not interrupt the release: when a launcher that has threads is
    killed, its workers are told as often as they change parents. A caller's own handler stays.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
