"""Workers as real processes that are killed, stopped and interrupted at any moment."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from scaling.sweeps.claims import Claims, read_holder
from scaling.sweeps.worker import next_free


def test_import_leaves_jax_alone():
    code = "import sys, scaling.sweeps.worker; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_takes_runs_in_the_order_of_the_plan(sweep):
    sweep.plan(5)
    assert sweep.worker("w").wait() == 0
    assert [run for run, _ in sweep.attempts("begin")] == ["r0", "r1", "r2", "r3", "r4"]
    assert sweep.worker("w").wait() == 0  # nothing is left to do
    sweep.check_trained_once(5, set())


def test_what_comes_next_is_the_first_that_nobody_has(sweep):
    entries = sweep.plan(4)
    claims = Claims(sweep.root, "somebody")
    with claims.acquire("r0"), claims.acquire("r1"):
        assert next_free(sweep.root, entries, entries[0]) is entries[2]
    assert next_free(sweep.root, entries, entries[3]) is None


@pytest.mark.parametrize(
    "n_workers, n_runs, n_kills", [(4, 40, 10), pytest.param(8, 200, 50, marks=pytest.mark.slow)]
)
def test_sigkilled_workers_lose_nothing_and_double_nothing(sweep, sigkill, n_workers, n_runs, n_kills):
    # long enough that the kills are through before the runs are
    sweep.plan(n_runs, seconds=0.2 if n_workers == 4 else 3.0)
    rng = random.Random(0)
    workers = {i: sweep.worker(f"w{i}") for i in range(n_workers)}
    killed = set()
    while len(killed) < n_kills and any(worker.poll() is None for worker in workers.values()):
        time.sleep(rng.uniform(0.05, 0.4))
        trained = {pid for _, pid in sweep.attempts("begin")}  # those that got past their start
        if alive := [i for i, w in workers.items() if w.poll() is None and w.pid in trained]:
            i = rng.choice(alive)
            sigkill(workers[i].pid)
            killed.add(workers[i].pid)
            workers[i] = sweep.worker(f"w{i}")
    assert [worker.wait() for worker in workers.values()] == [0] * n_workers
    assert len(killed) == n_kills if n_workers == 8 else killed
    sweep.check_trained_once(n_runs, killed)


def test_waits_for_the_living_and_takes_over_from_the_dead(sweep, sigkill, wait_until):
    sweep.plan(1, seconds=2)
    first = sweep.worker("first")
    wait_until(lambda: len(sweep.attempts("begin")) == 1)
    second = sweep.worker("second")
    time.sleep(1)
    assert second.poll() is None and len(sweep.attempts("begin")) == 1
    sigkill(first.pid)
    assert second.wait() == 0
    assert [pid for _, pid in sweep.attempts("end")] == [second.pid]


def test_worker_that_lost_its_claim_does_not_write(sweep, wait_until):
    sweep.plan(1, seconds=1.5)
    first = sweep.worker("first", 0.5)
    wait_until(lambda: len(sweep.attempts("begin")) == 1)
    first.send_signal(signal.SIGSTOP)  # for longer than its lease: a suspended machine
    second = sweep.worker("second", 0.5)
    wait_until(lambda: len(sweep.attempts("begin")) == 2)
    first.send_signal(signal.SIGCONT)
    assert first.wait() in (0, 75)
    assert second.wait() == 0
    assert sweep.records()["r0"]["device"] == f"pid {second.pid}"
    sweep.check_trained_once(1, {first.pid})


def test_exception_becomes_a_failed_record_and_the_rest_goes_on(sweep):
    sweep.plan(3, r1="raise")
    assert sweep.worker("w").wait() == 0
    record = sweep.records()["r1"]
    assert record["status"] == "failed"
    assert record["reason"] == "ArithmeticError: the sum is off at step 1 of 2"
    assert "raise ArithmeticError" in (sweep.root / "runs" / "r1" / "log.txt").read_text()
    assert {sweep.records()[run]["status"] for run in ("r0", "r2")} == {"ok"}


def test_what_the_user_can_put_right_stops_the_worker_and_loses_nothing(sweep):
    for behaviour, message in (("user_error", "the corpus is missing"), ("full_disk", "No space")):
        sweep.plan(2, r1=behaviour)
        worker = sweep.worker("w")
        output, _ = worker.communicate()
        assert worker.returncode == 2
        assert len(output.splitlines()) == 1 and message in output
        assert sorted(sweep.records()) == ["r0"]
        assert read_holder(sweep.root / "runs" / "r1").released
    sweep.plan(2)
    assert sweep.worker("w").wait() == 0
    assert sweep.records()["r1"]["status"] == "ok"


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGTERM] * 3, [signal.SIGINT]])
def test_termination_releases_the_run(sweep, wait_until, signals):
    sweep.plan(1, seconds=60)
    worker = sweep.worker("w")
    wait_until(lambda: len(sweep.attempts("begin")) == 1)
    for number in signals:
        worker.send_signal(number)
        time.sleep(0.002)
    assert worker.wait() != 0
    assert read_holder(sweep.root / "runs" / "r0").released
    assert sweep.records() == {}


def test_run_that_crashed_too_often_becomes_a_failed_record(sweep):
    sweep.plan(2)
    run_dir = sweep.root / "runs" / "r0"
    run_dir.mkdir(parents=True)
    for generation in range(3):
        (run_dir / f"claim.{generation}").write_text(json.dumps({"worker": "w"}))
        (run_dir / f"claim.{generation}.crashed").write_text("killed by SIGSEGV\n")
    (run_dir / "claim.2.released").touch()
    assert sweep.worker("w").wait() == 0
    assert sweep.records()["r0"]["status"] == "failed"
    assert "3 times" in sweep.records()["r0"]["reason"]
    assert sweep.records()["r1"]["status"] == "ok"
    assert [run for run, _ in sweep.attempts("begin")] == ["r1"]
