"""Claims: one owner at a time, taken over only from the dead, and only crashes count."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.sweeps.claims import Claims, Process, crashes, mark_crashed, read_holder


def _claim_of(run_dir: Path, process: Process, lease_seconds: float, generation: int = 0) -> Path:
    """Writes a claim as that process would have."""
    run_dir.mkdir(parents=True, exist_ok=True)
    content = {"worker": "w", **dataclasses.asdict(process), "lease_seconds": lease_seconds}
    path = run_dir / f"claim.{generation}"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def dead() -> Process:
    """A process that ran here and is gone."""
    program = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(program.pid)
    assert not process.is_gone()
    program.kill()
    program.communicate()
    assert process.is_gone()
    return process


def test_many_threads_one_owner(tmp_path):
    owners, start = [], threading.Barrier(16)

    def race(i: int) -> None:
        claims = Claims(tmp_path, f"w{i}")
        start.wait()
        if (claim := claims.acquire("r")) is not None:
            owners.append(claim)

    threads = [threading.Thread(target=race, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(owners) == 1 and owners[0].is_mine()
    owners[0].release()


def test_released_claim_is_free_at_once_and_not_a_crash(tmp_path):
    for generation in range(5):
        with Claims(tmp_path, "w").acquire("r") as claim:
            assert claim.generation == generation
            assert Claims(tmp_path, "other").acquire("r") is None
    assert crashes(tmp_path / "runs" / "r") == []


def test_dead_process_is_taken_over_without_waiting_for_its_lease(tmp_path, dead):
    _claim_of(tmp_path / "runs" / "r", dead, lease_seconds=1e9)
    with Claims(tmp_path, "w").acquire("r") as claim:
        assert claim.generation == 1


def test_process_with_the_same_id_but_another_start_is_somebody_else():
    me = Process.of(os.getpid())
    assert not me.is_gone()
    assert dataclasses.replace(me, started=me.started - 1).is_gone()


def test_zombie_counts_as_gone():
    program = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    process = Process.of(program.pid)
    program.kill()
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    assert process.is_gone()
    program.communicate()


def test_another_host_keeps_its_claim_while_it_renews_and_loses_it_after(tmp_path, dead):
    elsewhere = dataclasses.replace(dead, host="another-host")
    path = _claim_of(tmp_path / "runs" / "r", elsewhere, lease_seconds=0.4)
    os.utime(path, (0, 0))  # its clock is 50 years slow: that alone must not cost it the run
    claims = Claims(tmp_path, "w")
    for _ in range(8):
        assert claims.acquire("r") is None
        os.utime(path)
        time.sleep(0.1)
    while (claim := claims.acquire("r")) is None:
        time.sleep(0.05)
    with claim:
        assert claim.generation == 1


def test_living_owner_renews_its_lease(tmp_path):
    observer = Claims(tmp_path, "observer", lease_seconds=0.3)
    with Claims(tmp_path, "owner", lease_seconds=0.3).acquire("r") as claim:
        for _ in range(12):
            assert observer.acquire("r") is None
            time.sleep(0.1)
        assert claim.is_mine()


def test_owner_learns_that_it_was_replaced(tmp_path):
    lost = threading.Event()
    run_dir = tmp_path / "runs" / "r"
    claim = Claims(tmp_path, "w", lease_seconds=0.1, on_lost=lost.set).acquire("r")
    elsewhere = dataclasses.replace(Process.of(os.getpid()), host="another-host")
    _claim_of(run_dir, elsewhere, lease_seconds=60.0, generation=1)
    assert not claim.is_mine()
    assert lost.wait(timeout=30)
    claim.release()
    assert read_holder(run_dir).generation == 1 and not read_holder(run_dir).released


def test_crash_is_blamed_on_the_dead_claim_even_after_a_takeover(tmp_path, dead):
    _claim_of(tmp_path / "runs" / "held", dead, lease_seconds=60.0)
    _claim_of(tmp_path / "runs" / "finished", dead, lease_seconds=60.0)
    (tmp_path / "runs" / "finished" / "record.json").touch()
    with Claims(tmp_path, "w").acquire("held"):
        taken = mark_crashed(tmp_path, ["held", "finished", "untouched"], dead, "killed")
    assert taken == ["held", "finished"]
    assert crashes(tmp_path / "runs" / "held") == ["killed"]
    assert crashes(tmp_path / "runs" / "finished") == []


def test_damaged_claim_is_left_to_its_lease(tmp_path):
    run_dir = tmp_path / "runs" / "r"
    run_dir.mkdir(parents=True)
    (run_dir / "claim.0").write_text("{")
    assert Claims(tmp_path, "w").acquire("r") is None


def test_bucket_is_refused():
    with pytest.raises(UserError, match="bucket"):
        Claims("gs://bucket/sweep", "w")
