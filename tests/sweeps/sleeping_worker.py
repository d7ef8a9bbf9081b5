"""A real worker process whose training only sleeps.

    sleeping_worker.py ROOT NAME [LEASE [ATTEMPTS]]

Each entry's tags say how its training goes. `<root>/attempts` gets the lines "begin RUN PID" and
"end RUN PID" of each training, each in one write, so that tests can see who trained what.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

from scaling.errors import UserError
from scaling.results import RunRecord
from scaling.sweeps.status import read_entries
from scaling.sweeps.worker import failed_record, run_worker


def train(entry: dict, run_dir: Path) -> RunRecord:
    _append(run_dir, f"begin {entry['run_id']} {os.getpid()}\n")
    _report(run_dir, 1)
    time.sleep(entry["tags"]["seconds"])
    match entry["tags"]["behaviour"]:
        case "raise":
            raise ArithmeticError("the sum is off\nby one")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "user_error":
            raise UserError("the corpus is missing")
        case "full_disk":
            Path("/dev/full").write_text("x")
    _append(run_dir, f"end {entry['run_id']} {os.getpid()}\n")
    record = failed_record(entry, "", None)
    trainer = f"pid {os.getpid()}"
    return dataclasses.replace(record, status="ok", reason=None, wall_seconds=0.1, device=trainer)


def _append(run_dir: Path, line: str) -> None:
    file = os.open(run_dir.parent.parent / "attempts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def _report(run_dir: Path, step: int) -> None:
    temporary = run_dir / f".progress.{os.getpid()}"
    temporary.write_text(json.dumps({"step": step, "n_steps": 2, "loss": 5.0}))
    temporary.replace(run_dir / "progress.json")


def main() -> None:
    # whoever runs the tests in the background may have had SIGINT ignored, for children too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root, name, *rest = sys.argv[1:]
    lease, attempts = float(rest[0]) if rest else 60.0, int(rest[1]) if rest[1:] else 3
    try:
        run_worker(
            root,
            entries=read_entries(root),
            train=train,
            worker=name,
            lease_seconds=lease,
            max_attempts=attempts,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
