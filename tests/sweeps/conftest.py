"""A sweep on disk whose runs only sleep, and the processes that work on it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).parent / "sleeping_worker.py"


@dataclasses.dataclass
class Sweep:
    """A sweep folder, and what its workers wrote there."""

    root: Path
    started: list[subprocess.Popen]

    def plan(self, n_runs: int, seconds: float = 0.0, **behaviours: str) -> list[dict[str, Any]]:
        """Writes plan.jsonl for runs r0, r1, ...; `behaviours` maps some of them to theirs."""
        entries = [
            {
                "run_id": f"r{i}",
                "experiment": {"seed": i},
                "tags": {"seconds": seconds, "behaviour": behaviours.get(f"r{i}", "ok")},
                "train_flops": {"exact": 1e9},
                "n_params": {"mlp": 1},
                "expected_seconds": 1.0,
            }
            for i in range(n_runs)
        ]
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        (self.root / "plan.jsonl").write_text(lines)
        return entries

    def start(self, *program: object) -> subprocess.Popen:
        """Starts a Python program; whatever is left of it is killed after the test."""
        command = [sys.executable, *map(str, program)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        return process

    def worker(self, name: str, *options: object) -> subprocess.Popen:
        return self.start(WORKER, self.root, name, *options)

    def records(self) -> dict[str, dict[str, Any]]:
        files = self.root.glob("runs/*/record.json")
        return {file.parent.name: json.loads(file.read_text()) for file in files}

    def attempts(self, what: str) -> list[tuple[str, int]]:
        """(run, process id) of each training that reached `what`: "begin" or "end"."""
        try:
            lines = (self.root / "attempts").read_text().split("\n")
        except FileNotFoundError:
            return []
        words = [line.split() for line in lines if line.startswith(what)]
        return [(run, int(pid)) for _, run, pid in words]

    def check_trained_once(self, n_runs: int, killed: set[int]) -> None:
        """Each run has a good record and was begun again only if a killed process had it."""
        records = self.records()
        assert sorted(records) == sorted(f"r{i}" for i in range(n_runs))
        assert {record["status"] for record in records.values()} == {"ok"}
        survivors = Counter(r for r, pid in self.attempts("begin") if pid not in killed)
        ends = Counter(r for r, pid in self.attempts("end") if pid not in killed)
        assert max(survivors.values()) == 1, survivors.most_common(3)
        assert survivors == ends


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    sweep = Sweep(tmp_path, [])
    yield sweep
    for process in sweep.started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        for _ in range(600):  # half a minute: a slow machine is no failure
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError("it never happened")

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process id runs (a zombie does not)."""

    def alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return False
        return state != "Z"

    return alive


@pytest.fixture
def sigkill() -> Callable[[int], None]:
    return lambda pid: os.kill(pid, signal.SIGKILL)
