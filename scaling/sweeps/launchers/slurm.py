"""Slurm: one job array, each of whose jobs supervises workers on the shared folder.

Claims, and not the array index, say who trains what, so that jobs may start late, end early, be
preempted and requeued in any order. A job that is told to stop (SIGTERM: preemption, or
`signal_seconds` before its time is up) saves its runs and leaves with 143; the batch script then
requeues it, unless Slurm has done so already or the user has cancelled it. Plain `sbatch`; no database.
"""

import dataclasses
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from scaling.config import Config
from scaling.errors import UserError
from scaling.results.files import writing
from scaling.sweeps.launchers.job import Job, check_plain
from scaling.sweeps.launchers.option import option
from scaling.sweeps.launchers.watch import say_stopped, watch

_POLL_SECONDS = 3.0
_REQUEUE_SECONDS = 10.0
_NAME = '"slurm-${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'  # of a job, for its shell to fill in
_TIME = re.compile(r"\d+|(\d+-)?\d+(:\d+){1,2}|\d+-\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlurmConfig(Config):
    """What each job of the array asks for; an empty string or 0 leaves it to the cluster."""

    partition: str = option("partition")
    account: str = option("account")
    qos: str = option("quality of service")
    time: str = option("time limit of a job, as sbatch takes it: 90, 1:30:00, 2-12:00:00")
    memory: str = option("memory of a job: 16G")
    constraint: str = option("features of the node")
    gpus: int = option("GPUs of a job, one a worker by turns", 0)
    cpus: int = option("cores of a worker", 1)
    workers_per_job: int = option("workers of a job", 1)
    signal_seconds: int = option("seconds before the time limit at which runs are saved", 120)
    max_requeues: int = option("how often a job goes back to the queue", 100)
    extra: tuple[str, ...] = option("a further option of sbatch, such as --exclude=n3; repeatable", ())
    detach: bool = option("submit and leave; see scaling status", False, flag="--detach")

    def validate(self) -> None:
        for name in ("partition", "account", "qos", "time", "memory", "constraint"):
            check_plain(getattr(self, name), f"SlurmConfig.{name}")
        for given in self.extra:
            check_plain(given, "SlurmConfig.extra")
            self.require(given.startswith("--"), "extra", "options of sbatch that begin with --")
        fits = not self.time or _TIME.fullmatch(self.time) is not None
        self.require(fits, "time", "minutes, H:MM:SS or D-H:MM:SS")
        for name in ("cpus", "workers_per_job", "signal_seconds"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("gpus", "max_requeues"):
            self.require(getattr(self, name) >= 0, name, "at least 0")

    def check(self) -> None:
        """Raises `UserError` where there is no Slurm, or its controller does not answer."""
        if shutil.which("sbatch") is None:
            raise UserError("--launcher slurm: no sbatch here; run it where jobs are submitted to a Slurm"
                            " cluster, or use --launcher local")
        done = _run("scontrol", "ping")
        if done.returncode:
            raise UserError(f"--launcher slurm: the cluster's controller does not answer: {_last(done)}")

    def launch(self, job: Job, console: Console) -> int:
        """Submits the array and waits for it, unless detached. Ctrl-C cancels it, a lost terminal does not.

        Raises `UserError` if sbatch refuses, or with the complaint of a job that ended the sweep.
        """
        check_plain(str(job.root), "the folder")
        logs = job.root / "logs"
        with writing(logs):
            logs.mkdir(parents=True, exist_ok=True)
        done = _run(*sbatch_command(self, job), input=batch_script(self, job))
        if done.returncode:
            raise UserError(f"sbatch refused: {_last(done)}")
        array = done.stdout.strip().split(";")[0]  # "ID;cluster" where there are several
        console.print(Text(f"slurm job {array}: {_n_jobs(self, job)} jobs; logs in {logs}"), soft_wrap=True)
        if self.detach:
            status = f"scaling status {shlex.quote(str(job.root))}"
            console.print(Text(f"left alone; {status}, or scancel {array}"), soft_wrap=True)
            return 0
        ended = watch(job, console, _Queue(array).is_running, _POLL_SECONDS)
        if ended.signal is not None and not ended.done:
            return self._stopped(job, console, array, ended.signal)
        if not ended.done:
            raise _complaint(logs, array, job)
        return 0

    def _stopped(self, job: Job, console: Console, array: str, number: int) -> int:
        if number == 1:  # SIGHUP: the terminal went, the work need not
            return 128 + number
        _run("scancel", array)
        console.print(Text(f"cancelled slurm job {array}; its runs are saved"), soft_wrap=True)
        say_stopped(job, console)
        return 128 + number


def sbatch_command(config: SlurmConfig, job: Job) -> list[str]:
    """The program that submits the batch script from its standard input; `%` in the folder stays a `%`."""
    log = str(job.root / "logs").replace("\\", "\\\\").replace("%", "%%") + "/slurm-%A_%a.log"
    wanted = {
        "partition": config.partition, "account": config.account, "qos": config.qos,
        "time": config.time, "mem": config.memory, "constraint": config.constraint,
        "gres": f"gpu:{config.gpus}" if config.gpus else "",
    }
    return [
        "sbatch", "--parsable", "--job-name=scaling", f"--array=0-{_n_jobs(config, job) - 1}",
        "--requeue", "--open-mode=append", f"--output={log}", "--nodes=1", "--ntasks=1",
        f"--cpus-per-task={config.cpus * config.workers_per_job}",
        f"--signal=TERM@{config.signal_seconds}",
        *(f"--{name}={value}" for name, value in wanted.items() if value),
        *config.extra,
    ]


def batch_script(config: SlurmConfig, job: Job) -> str:
    """What each job of the array runs. Nothing of the user's reaches the shell unquoted."""
    devices = ("--devices", "gpu") if config.gpus else ()
    words = job.supervisor(_NAME, config.workers_per_job, *devices)
    program = " ".join(word if word == _NAME else shlex.quote(word) for word in words)
    return f"""#!/bin/bash
# Written by `scaling sweep --launcher slurm`: workers of one sweep, put back into the queue when stopped.
trap : TERM  # the step gets it too, and saves; this shell stays to requeue
srun --ntasks=1 --cpus-per-task={config.cpus * config.workers_per_job} --kill-on-bad-exit=0 {program}
status=$?
if [ "$status" -ge 128 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {config.max_requeues} ] \\
    && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
  echo "stopped with $status; back to the queue"
  scontrol requeue "$SLURM_JOB_ID" && sleep 60  # until Slurm ends this shell
fi
exit "$status"
"""


class _Queue:
    """Whether any job of an array is left in the queue; says so when what they do changes.

    A job on its way back to the queue is in none for a moment: an empty one counts once it stays empty.
    """

    def __init__(self, array: str) -> None:
        self._array = array
        self._said = ""
        self._empty_since: float | None = None

    def is_running(self, say: Callable[[str], None]) -> bool:
        done = _run("squeue", "--noheader", "--array", f"--jobs={self._array}", "--format=%T %r")
        if done.returncode:  # purged from the queue; or the controller is away for a while
            return "invalid job id" not in done.stderr.lower()
        lines = [line.strip().removesuffix(" None") for line in done.stdout.splitlines()]
        states = Counter(filter(None, lines))
        now = ", ".join(f"{n} {state.lower()}" for state, n in sorted(states.items()))
        if now and now != self._said:
            say(f"slurm {self._array}: {now}")
            self._said = now
        if states:
            self._empty_since = None
            return True
        self._empty_since = self._empty_since or time.monotonic()
        return time.monotonic() - self._empty_since < _REQUEUE_SECONDS


def _n_jobs(config: SlurmConfig, job: Job) -> int:
    return -(-min(job.n_workers, len(job.entries)) // config.workers_per_job)


def _complaint(logs: Path, array: str, job: Job) -> Exception:
    """Why the array ended before the sweep: a worker's own line where there is one."""
    for log in sorted(logs.glob(f"slurm-{array}_*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("scaling: "):
                return UserError(line.removeprefix("scaling: "))
    return RuntimeError(
        f"slurm job {array} ended with {job.n_done()} of {len(job.entries)} runs done; see {logs}")


def _run(*command: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=input, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: no answer within a minute")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program of Slurm said."""
    lines = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit status {done.returncode}"
