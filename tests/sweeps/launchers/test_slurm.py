"""Slurm: commands as text, refusals, and a real cluster on this machine where Debian's packages are."""

import io
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rich.console import Console

from scaling.errors import UserError
from scaling.sweeps.launchers.slurm import SlurmConfig, _Queue, batch_script, sbatch_command

TOOL = Path(__file__).parents[3] / "tools" / "slurm_here.sh"
HAS_SLURM = all(map(shutil.which, ("slurmctld", "slurmd", "munged"))) and os.getuid() == 0


def test_options_reach_sbatch(job):
    config = SlurmConfig(
        partition="gpu", account="lab", time="1:30:00", memory="16G", gpus=4, cpus=2,
        workers_per_job=2, extra=("--exclude=n3",), signal_seconds=300,
    )
    command = sbatch_command(config, job)
    assert {"--partition=gpu", "--account=lab", "--time=1:30:00", "--mem=16G", "--gres=gpu:4",
            "--cpus-per-task=4", "--array=0-1", "--requeue", "--signal=TERM@300",
            "--exclude=n3"} <= set(command)
    assert not [word for word in command if "qos" in word or "constraint" in word]
    assert "--devices gpu" in batch_script(config, job)


def test_a_folder_is_data_for_the_shell(job, programs, tmp_path):
    programs.answer("srun")
    programs.answer("squeue")
    script = batch_script(SlurmConfig(), job)
    env = {**os.environ, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    subprocess.run(["bash"], input=script, text=True, cwd=tmp_path, env=env, check=True)
    (call,) = programs.calls()
    assert str(job.root) in call and call[call.index("--name") + 1] == "slurm-7_2"
    assert not (tmp_path / "pwned").exists()
    (output,) = [word for word in sbatch_command(SlurmConfig(), job) if word.startswith("--output=")]
    assert "100%% " in output  # sbatch reads %% as %


@pytest.mark.parametrize("status, state, restarts, requeued", [
    (143, "RUNNING", 0, True), (137, "RUNNING", 3, True), (143, "COMPLETING", 0, False),
    (143, "RUNNING", 4, False), (2, "RUNNING", 0, False), (0, "RUNNING", 0, False),
])
def test_only_a_stopped_job_goes_back_to_the_queue(job, programs, status, state, restarts, requeued):
    programs.answer("srun", f"sys.exit({status})")
    programs.answer("squeue", f"print({state!r})")
    programs.answer("scontrol", "sys.exit(1)")  # so that the script does not wait to be ended
    env = {**os.environ, "SLURM_JOB_ID": "70", "SLURM_RESTART_COUNT": str(restarts)}
    script = batch_script(SlurmConfig(max_requeues=4), job)
    done = subprocess.run(["bash"], input=script, text=True, env=env, capture_output=True)
    assert done.returncode == status
    assert (["scontrol", "requeue", "70"] in programs.calls()) == requeued


@pytest.mark.parametrize("field, value", [
    ("partition", "a\nb"), ("time", "1 hour"), ("gpus", -1), ("cpus", 0), ("extra", ("x",)),
    ("extra", ("--a\n",)), ("account", "x\0"),
])
def test_options_that_sbatch_could_misread(field, value):
    with pytest.raises(UserError, match=field):
        SlurmConfig(**{field: value})


def test_no_slurm_is_one_line(monkeypatch, tmp_path, programs):
    programs.answer("sbatch")
    programs.answer("scontrol", "print('Slurmctld(primary) at here is DOWN'); sys.exit(1)")
    with pytest.raises(UserError, match="does not answer: Slurmctld.* DOWN"):
        SlurmConfig().check()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch here"):
        SlurmConfig().check()


def test_what_sbatch_refuses_is_one_line(job, programs):
    programs.answer("sbatch", "sys.stderr.write('sbatch: error: invalid partition: x\\n'); sys.exit(1)")
    with pytest.raises(UserError, match="sbatch refused: .*invalid partition: x"):
        SlurmConfig(partition="x").launch(job, Console(file=io.StringIO()))


def test_a_mistake_that_ends_the_jobs_is_told_in_the_workers_words(job, programs, monkeypatch):
    monkeypatch.setattr("scaling.sweeps.launchers.watch._SETTLE_SECONDS", 0.0)
    programs.answer("sbatch", "print('12;cluster')")
    programs.answer("squeue", "sys.stderr.write('Invalid job id specified'); sys.exit(1)")
    (job.root / "logs").mkdir()
    (job.root / "logs" / "slurm-12_0.log").write_text("...\nscaling: the corpus is missing\n")
    with pytest.raises(UserError, match="^the corpus is missing$"):
        SlurmConfig().launch(job, Console(file=io.StringIO()))


def test_a_queue_that_is_empty_for_a_moment_has_not_ended(programs, monkeypatch):
    clock = iter([100.0, 100.0, 104.0, 200.0, 200.0, 211.0]).__next__
    monkeypatch.setattr("scaling.sweeps.launchers.slurm.time.monotonic", clock)
    queue, said = _Queue("12"), []

    def asked(state: str) -> bool:
        programs.answer("squeue", f"print({state!r})")
        return queue.is_running(said.append)

    # requeued: in no queue at 100 and 104 s, then back; ended: in none from 200 to 211 s
    assert [asked(s) for s in ("RUNNING None", "", "", "PENDING BeginTime", "", "")] == [True] * 5 + [False]
    assert said == ["slurm 12: 1 running", "slurm 12: 1 pending begintime"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A real Slurm of two cores on this machine."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([TOOL, "start", folder, "2"], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield folder
        subprocess.run([TOOL, "stop", folder], check=True)


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_for(condition, process) -> None:
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    raise AssertionError("it never happened")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SLURM, reason="apt-get install slurm-wlm munge, and root")
def test_a_sweep_that_is_signalled_and_preempted_ends_bit_identically(
    cluster, toy, uninterrupted, start, results_of, tmp_path
):
    root = toy(tmp_path / "a sweep; $(touch pwned) 100%")
    launcher = start("sweep", root, "--launcher", "slurm", "--workers", 1, cwd=tmp_path)
    def begun(generation: int) -> bool:  # an attempt that took some steps
        claims = {path.parent for path in root.glob(f"runs/*/claim.{generation}")}
        return any((run / "progress.json").exists() and (run / "progress.json").stat().st_mtime
                   > (run / f"claim.{generation}").stat().st_ctime for run in claims)

    def requeued() -> bool:
        return "PENDING" in slurm("squeue", "--noheader", "--array", "--format=%T %P", "--partition=low")

    wait_for(lambda: begun(0), launcher)
    job_id = slurm("squeue", "--noheader", "--format=%A", "--partition=low")
    slurm("scancel", "--signal=TERM", job_id)  # as before the time limit: the script requeues
    wait_for(requeued, launcher)
    slurm("scontrol", "update", f"JobId={job_id}", "StartTime=now")
    wait_for(lambda: begun(1), launcher)
    slurm("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1")
    wait_for(requeued, launcher)  # Slurm requeued it
    slurm("scontrol", "update", f"JobId={job_id}", "StartTime=now")
    output, _ = launcher.communicate()
    assert launcher.returncode == 0, output
    assert results_of(root) == uninterrupted
    assert list(root.glob("runs/*/claim.2")) and not list(root.glob("runs/*/*.crashed"))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SLURM, reason="apt-get install slurm-wlm munge, and root")
def test_ctrl_c_cancels_and_the_same_command_continues(
    cluster, toy, uninterrupted, start, results_of, tmp_path
):
    root = toy(tmp_path / "sweep")
    command = ["sweep", root, "--launcher", "slurm", "--workers", 2]
    launcher = start(*command)
    wait_for(lambda: len(list(root.glob("runs/*/progress.json"))) == 2, launcher)
    launcher.send_signal(signal.SIGINT)
    output, _ = launcher.communicate()
    assert launcher.returncode == 130 and "cancelled" in output and "--launcher slurm --workers 2" in output
    for _ in range(300):
        if not slurm("squeue", "--noheader", "--partition=low"):
            break
        time.sleep(0.1)
    assert slurm("squeue", "--noheader", "--partition=low") == ""  # and not requeued
    launcher = start(*command)
    output, _ = launcher.communicate()
    assert launcher.returncode == 0, output
    assert results_of(root) == uninterrupted
