"""Status and progress: every state told apart, ETA bounded by the work, both displays."""

import dataclasses
import io
import json
import os
import time

import pytest
from rich.console import Console

from scaling.errors import UserError
from scaling.results import write_record
from scaling.sweeps.claims import Claims, Process
from scaling.sweeps.progress import SweepProgress
from scaling.sweeps.status import format_duration, print_status, sweep_status
from scaling.sweeps.worker import failed_record


def _finish(sweep, entry, status="ok", wall_seconds=2.0):
    record = failed_record(entry, None if status == "ok" else f"{status}!", wall_seconds)
    write_record(sweep.root / "runs" / entry["run_id"], dataclasses.replace(record, status=status))


def _progress(sweep, run_id, **values):
    (sweep.root / "runs" / run_id / "progress.json").write_text(json.dumps(values))


def _states(sweep):
    return [run.state for run in sweep_status(sweep.root).runs]


def test_tells_all_states_apart(sweep):
    entries = sweep.plan(7)
    for entry, status in zip(entries, ("ok", "diverged", "failed")):
        _finish(sweep, entry, status)
    claims = Claims(sweep.root, "worker-1")
    with claims.acquire("r3"), claims.acquire("r4") as given_up:
        _progress(sweep, "r3", step=5, n_steps=10, loss=4.5, flops_per_second=2e9)
        _progress(sweep, "r4", step=1, n_steps=10, loss=float("nan"), flops_per_second=2e9)
        given_up.release()
        with claims.acquire("r5"):
            pass  # claimed and let go before the first step
        status = sweep_status(sweep.root)
    assert [run.state for run in status.runs] == [
        *("done", "diverged", "failed", "running", "interrupted", "missing", "missing")
    ]
    running, interrupted = status.runs[3:5]
    assert (running.worker, running.step, running.loss) == ("worker-1", 5, 4.5)
    assert (interrupted.worker, interrupted.step, interrupted.loss) == (None, 1, None)
    assert running.remaining_seconds == pytest.approx(0.5 * 1e9 / 2e9)
    assert sum(status.counts.values()) == 7 and status.n_finished() == 3
    assert status.fraction_done == pytest.approx((3 + 0.5 + 0.1) / 7)
    json.dumps(status.to_json(), allow_nan=False)
    assert _states(sweep)[3] == "interrupted"


def test_claims_of_the_dead_and_of_silent_hosts_are_not_running(sweep):
    sweep.plan(3)
    here = Process.of(os.getpid())
    owners = {
        "r0": dataclasses.replace(here, started=here.started - 1),  # the process id was used again
        "r1": dataclasses.replace(here, host="another-host"),
        "r2": dataclasses.replace(here, host="another-host"),
    }
    for run_id, process in owners.items():
        run_dir = sweep.root / "runs" / run_id
        run_dir.mkdir(parents=True)
        content = {"worker": "w", **dataclasses.asdict(process), "lease_seconds": 60.0}
        (run_dir / "claim.0").write_text(json.dumps(content))
        _progress(sweep, run_id, step=1, n_steps=2)
    os.utime(sweep.root / "runs" / "r1" / "claim.0", (time.time() - 3600,) * 2)
    assert _states(sweep) == ["interrupted", "interrupted", "running"]


def test_eta_learns_the_pace_and_shares_the_work(sweep):
    entries = sweep.plan(9)  # the plan expects 1 s a run
    assert sweep_status(sweep.root).eta_seconds is None  # nobody works
    assert sweep_status(sweep.root, n_workers=1).eta_seconds == pytest.approx(9)
    _finish(sweep, entries[0], wall_seconds=3.0)
    assert sweep_status(sweep.root, n_workers=1).eta_seconds == pytest.approx(8 * 3)
    assert sweep_status(sweep.root, n_workers=4).eta_seconds == pytest.approx(2 * 3)
    assert sweep_status(sweep.root, n_workers=100).eta_seconds == pytest.approx(3)
    for entry in entries[1:]:
        _finish(sweep, entry)
    assert sweep_status(sweep.root).eta_seconds == 0


def test_eta_without_expected_times_uses_the_rate_of_finished_runs(sweep):
    entries = sweep.plan(3)
    for entry in entries:
        del entry["expected_seconds"]
    entries[2]["train_flops"] = {"exact": 4e9}
    (sweep.root / "plan.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    assert sweep_status(sweep.root, n_workers=1).eta_seconds is None
    _finish(sweep, entries[0], wall_seconds=2.0)  # 1e9 FLOPs
    assert sweep_status(sweep.root, n_workers=1).eta_seconds == pytest.approx(2 + 8)


def test_printed_status_names_every_run(sweep):
    entries = sweep.plan(3)
    _finish(sweep, entries[0])
    _finish(sweep, entries[1], "failed")
    console = Console(file=io.StringIO(), width=100)
    print_status(sweep_status(sweep.root), console)
    text = console.file.getvalue()
    assert all(run in text for run in ("r0", "r1", "r2"))
    assert "failed!" in text and "1 done, 1 failed, 1 missing" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_announces_each_run_once(sweep, terminal):
    entries = sweep.plan(3)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    _finish(sweep, entries[0])
    with SweepProgress(sweep.root, entries, console, 1) as progress:
        with Claims(sweep.root, "w").acquire("r1"):
            _progress(sweep, "r1", step=5, n_steps=10, loss=4.25, flops_per_second=2e9)
            progress.refresh(now=True)
            _finish(sweep, entries[1])
            progress.refresh(now=True)
            progress.refresh(now=True)
    text = console.file.getvalue()
    assert text.count("done r1") == 1 and "done r0" not in text
    assert ("4.250" in text and "2.0" in text) == terminal  # the live row: loss and GFLOP/s


def test_folder_without_a_plan_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="plan.jsonl is missing"):
        sweep_status(tmp_path / "nothing")
    (tmp_path / "plan.jsonl").write_text("{broken\n")
    with pytest.raises(UserError, match="not one JSON object a line"):
        sweep_status(tmp_path)


def test_durations_read_as_people_say_them():
    assert [format_duration(s) for s in (0.4, 59.6, 100, 7500)] == [
        *("0.4 s", "1 min 0 s", "1 min 40 s", "2 h 5 min")
    ]
