"""What a sweep costs beside training: planning many runs, reading many records, holding the machine.

    python tools/bench_sweep.py [--runs 10000] [--section plan|scan ...]
    python tools/bench_sweep.py --sweep demo --workers 2

The first prints CPU-seconds for a tenth of the runs and for all, and their ratio: 10 is linear. The
second runs a planned sweep (let nothing else run): the share of the time for which its workers held the
machine (from the first run's start to the last one's end) that went into updates; the rest is compilation,
evaluation, checkpoints, and workers that had nothing left to do. Before it and after it each shape's update
is timed, on every worker's core at once, for what the same updates take at that steady rate, over the time
the machine was held. The two differ as much as the machine's speed drifts.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import os
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from scaling.experiment import Experiment
from scaling.gin_config import load_study
from scaling.gin_text import to_gin
from scaling.results import read_records, runs_table, write_record
from scaling.results.record import Evaluation
from scaling.sweeps.calibration import time_steps
from scaling.sweeps.folder import write_plan
from scaling.sweeps.plan import PlannedRun, plan_runs
from scaling.sweeps.status import read_entries, sweep_status
from scaling.sweeps.worker import failed_record


def demo_runs(n_runs: int) -> list[PlannedRun]:
    """The demo study, with as many seeds as it takes."""
    study = load_study("sweeps/demo.gin").config
    per_seed = len(plan_runs(study, 10**12))
    many = study.replace(plan=study.plan.replace(seeds=max(1, n_runs // per_seed)))
    return plan_runs(many, 10**12)


def write_sweep(root: Path, runs: list[PlannedRun]) -> None:
    """A folder whose runs are all done, with a curve of 100 points each."""
    study = load_study("sweeps/demo.gin").config
    write_plan(root, study, to_gin(study), runs)
    curve = [{"step": float(i), "loss": 5.0 - i / 50, "gradient_norm": 1.0} for i in range(100)]
    for entry, run in zip(read_entries(root), runs):
        at_end = Evaluation(step=1, n_tokens_seen=1, loss=3.0, standard_error=0.01, bits_per_byte=1.5)
        record = dataclasses.replace(
            failed_record(entry, "", 1.0), status="ok", reason=None, n_steps=run.experiment.n_steps,
            n_tokens=run.experiment.n_tokens, train_flops=run.train_flops, final=at_end, best=at_end,
            evaluations=[at_end], curve=curve)
        write_record(root / "runs" / entry["run_id"], record)


def plan_section(n_runs: int) -> dict[str, float]:
    cost: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = timed(cost, "plan the runs", lambda: demo_runs(n_runs))
        study = load_study("sweeps/demo.gin").config
        timed(cost, "freeze the plan", lambda: write_plan(Path(folder) / "s", study, to_gin(study), runs))
        timed(cost, "read the plan", lambda: read_entries(Path(folder) / "s"))
    return cost


def scan_section(n_runs: int) -> dict[str, float]:
    cost: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "s"
        timed(cost, "write the records", lambda: write_sweep(root, demo_runs(n_runs)))
        records = timed(cost, "read the records", lambda: read_records(root))
        timed(cost, "table of the records", lambda: runs_table(records))
        timed(cost, "scaling status", lambda: sweep_status(root))
    return cost


def timed(cost: dict[str, float], name: str, call: Callable):
    begun = time.process_time()
    result = call()
    cost[name] = time.process_time() - begun
    return result


def held(root: Path, n_workers: int) -> None:
    """Trains what the sweep lacks and prints where its workers' time went."""
    experiments = [Experiment.from_json(entry["experiment"]) for entry in read_entries(root)]
    before = steady_seconds(experiments, n_workers)
    command = [sys.executable, "-m", "scaling", "sweep", str(root), "--workers", str(n_workers)]
    subprocess.run(command, check=True)
    after = steady_seconds(experiments, n_workers)
    records = [r for r in read_records(root) if r.tags.get("role") == "sweep"]
    ends = [datetime.datetime.fromisoformat(r.finished_at).timestamp() for r in records]
    total = n_workers * (max(ends) - min(end - r.wall_seconds for end, r in zip(ends, records)))
    inside = {
        "updates": sum(r.train_seconds for r in records),
        "compilation": sum(r.compile_seconds for r in records),
        "runs, beside both": sum(r.wall_seconds - r.train_seconds - r.compile_seconds for r in records),
    }
    inside["between and after runs"] = total - sum(inside.values())
    inside |= {"updates, steady, before": before, "updates, steady, after": after}
    print(f"{len(records)} runs, {n_workers} workers, {total:.0f} worker-seconds")
    for name, seconds in inside.items():
        print(f"{name:24} {seconds:8.1f} s   {seconds / total:6.1%}")


def steady_seconds(experiments: Sequence[Experiment], n_workers: int) -> float:
    """All updates of the runs at the rate of one compiled program called again and again: worker-seconds.

    The mean over the workers' cores, which all work at the same time. What is compiled for it stays out
    of the cache that the sweep reads.
    """
    shapes = {e.shape_key: e for e in experiments}
    cores = sorted(os.sched_getaffinity(0))[:n_workers]
    with (
        tempfile.TemporaryDirectory() as cache,
        unittest.mock.patch.dict(os.environ, SCALING_CACHE=cache),
        concurrent.futures.ThreadPoolExecutor(len(cores)) as pool,
    ):
        of_core = list(pool.map(lambda core: time_steps(list(shapes.values()), core), cores))
    of_shape = dict(zip(shapes, np.mean(of_core, axis=0)))
    return float(sum(e.n_steps * of_shape[e.shape_key] for e in experiments))


SECTIONS = {"plan": plan_section, "scan": scan_section}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--section", choices=SECTIONS, action="append")
    parser.add_argument("--sweep", type=Path, metavar="DIR", help="a planned sweep to run, instead")
    parser.add_argument("--workers", type=int, default=2, help="that it runs with, a core each")
    args = parser.parse_args()
    if args.sweep:
        held(args.sweep, args.workers)
        return
    print(f"CPU-seconds for {args.runs // 10:,} and {args.runs:,} runs, and their ratio")
    for name in args.section or SECTIONS:
        few, many = SECTIONS[name](args.runs // 10), SECTIONS[name](args.runs)
        for what in many:
            ratio = many[what] / few[what] if few[what] else float("nan")
            print(f"{name}: {what:22} {few[what]:8.2f} {many[what]:8.2f}   x{ratio:.1f}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
