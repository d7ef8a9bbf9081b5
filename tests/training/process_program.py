"""One of the processes of `test_processes.py`: COORDINATOR N I JOBS, each job a run. Run as a program.

A job: experiment, run_dir, mesh, stop_after (looks at
the stop request after which the last process sends itself the `signal`, or null). Prints JSON a job: what
this process wrote into the run's folder, the rows it drew, and how the run ended.
"""

import json
import os
import sys

import numpy as np

from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig, join_processes
from scaling.training import Preempted, StopRequest, run, train

coordinator, n, i, jobs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
written: list[str] = []
drawn: list[list[int]] = []


def note_writes(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        written.append(arguments[0])


class NotedStream(run.TrainStream):
    def next_batches(self, k: int) -> np.ndarray:
        rows = super().next_batches(k)
        drawn.append(rows.tolist())
        return rows


class StopAfter(StopRequest):
    def __init__(self, looks: int | None, number: int):
        super().__init__()
        self.looks, self.number = looks if i == n - 1 else None, number

    def __bool__(self) -> bool:
        if self.looks is not None:
            self.looks -= 1
            if self.looks == 0:
                os.kill(os.getpid(), self.number)
        return super().__bool__()


if __name__ == "__main__":
    join_processes(coordinator, n, i) if n > 1 else join_processes()
    sys.addaudithook(note_writes)
    run.TrainStream = NotedStream
    for job in jobs:
        written.clear(), drawn.clear()
        ended = "whole"
        try:
            with StopAfter(job["stop_after"], job["signal"]).installed() as stop:
                train(
                    Experiment.from_json(job["experiment"]), job["run_dir"],
                    mesh=MeshConfig(**job["mesh"]), stop=stop,
                )
        except Preempted as preempted:
            ended = preempted.code
        ours = sorted({os.path.relpath(p, job["run_dir"]) for p in written if p.startswith(job["run_dir"])})
        print(json.dumps({"wrote": ours, "drawn": drawn, "ended": ended}), flush=True)
