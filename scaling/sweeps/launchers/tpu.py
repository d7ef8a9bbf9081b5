"""Cloud TPU by queued resources: create, wait, run on every host, collect through a bucket, delete.

What was created is deleted, whatever happens in between; what reached the bucket stays there, and the
same command continues from it.
"""

import contextlib
import dataclasses
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from scaling.errors import UserError
from scaling.results.files import write_atomically, writing
from scaling.sweeps.launchers.job import Job
from scaling.sweeps.launchers.signals import caught_signals
from scaling.sweeps.launchers.sky_task import sky_task
from scaling.sweeps.launchers.tpu_commands import Commands, TpuOptions
from scaling.sweeps.launchers.watch import say_stopped, watch

_WAIT_SECONDS = 15.0  # between looks at a queued resource
_COLLECT_SECONDS = 60.0
_SAVE_SECONDS = 180.0  # for the hosts' last checkpoints to reach the bucket
_DELETIONS = 3  # attempts
_OVER = ("FAILED", "SUSPENDING", "SUSPENDED", "DELETING")
_NEEDED = ("zone", "accelerator_type", "runtime_version", "bucket", "wheel")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuConfig(TpuOptions):
    __doc__ = TpuOptions.__doc__

    def check(self) -> None:
        """Raises `UserError` for what is missing: an option, the wheel, or gcloud where it is to be run."""
        if missing := [name for name in _NEEDED if not getattr(self, name)]:
            flags = ", ".join(f"--tpu-{name.replace('_', '-')}" for name in missing)
            raise UserError(f"--launcher tpu: missing {flags}")
        if not self.execute:
            return
        if shutil.which("gcloud") is None:
            raise UserError("--launcher tpu: no gcloud here; install the Google Cloud CLI"
                            " (without --execute the commands are only shown)")
        if not Path(self.wheel).is_file():
            raise UserError(f"--tpu-wheel {self.wheel}: no such file; make it with: pip wheel --no-deps .")

    def launch(self, job: Job, console: Console) -> int:
        """Runs the job on new slices, or prints the commands. Raises `UserError` as gcloud complains."""
        for entry in job.entries:
            for path in _own_folders(entry["experiment"].get("data")):
                raise UserError(f"{entry['run_id']} reads {path} of this machine, which no TPU host sees;"
                                " use data that is fetched by name, or from a bucket")
        commands = Commands(self, job)
        if self.sky_task:
            self._write_task(commands, console)
            return 0
        if not self.execute:
            self._show(commands, console)
            return 0
        with writing(job.root / "logs"):
            (job.root / "logs").mkdir(parents=True, exist_ok=True)
        return _Slices(self, commands, job, console).run()

    def _show(self, commands: Commands, console: Console) -> None:
        names = self.names()
        shown = [
            *commands.upload(),
            *(commands.create(name) for name in names),
            *(commands.state(name) for name in names),
            *(commands.count_hosts(name) for name in names),
            *(commands.install(name) for name in names),
            *(commands.run(name, 0, i, len(names)) for i, name in enumerate(names)),
            commands.collect(),
            *(commands.delete(name) for name in names),
        ]
        console.print("would run, here for one host a slice; --execute runs it and costs money:")
        for command in shown:
            console.print(Text(shlex.join(command)), soft_wrap=True)

    def _write_task(self, commands: Commands, console: Console) -> None:
        write_atomically(self.sky_task, sky_task(self, commands))
        console.print(f"wrote the SkyPilot task {self.sky_task}; next (the last collects what is done):")
        for command in (*commands.upload(), ["sky", "jobs", "launch", self.sky_task], commands.collect()):
            console.print(Text(shlex.join(command)), soft_wrap=True)


class _Slices:
    """The slices of one sweep, from their creation to their deletion."""

    def __init__(self, config: TpuConfig, commands: Commands, job: Job, console: Console) -> None:
        self._config, self._commands, self._job, self._console = config, commands, job, console
        self._asked_for: list[str] = []
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}  # by "<slice>-<worker>"
        self._lost: list[str] = []
        self._collected_at = 0.0

    def run(self) -> int:
        """See `TpuConfig.launch`."""
        with caught_signals() as caught:
            try:
                for command in self._commands.upload():
                    _called(command)
                for name in self._config.names():
                    self._asked_for.append(name)  # before: a creation that fails may leave something
                    _called(self._commands.create(name))
                self._wait_until_active(caught)
                if not caught:
                    self._start_hosts()
                    ended = watch(self._job, self._console, self._are_running)
                    caught += [ended.signal] if ended.signal is not None else []
                if caught and not self._job.is_done():
                    self._save()
            finally:
                with contextlib.suppress(UserError):
                    if self._hosts:
                        _called(self._commands.collect())
                self._delete()
        if self._job.is_done():
            return 0
        if caught:
            say_stopped(self._job, self._console)
            return 128 + caught[0]
        lost = f"; lost: {', '.join(self._lost)}" if self._lost else ""
        done = f"{self._job.n_done()} of {len(self._job.entries)} runs done"
        raise UserError(f"the TPU hosts ended with {done}{lost}; see {self._job.root / 'logs'};"
                        f" {self._job.how_to_continue}")

    def _wait_until_active(self, caught: list[int]) -> None:
        waiting = dict.fromkeys(self._config.names(), "")
        while waiting and not caught:
            for name, before in list(waiting.items()):
                state = _called(self._commands.state(name))
                if state in _OVER:
                    raise UserError(f"queued resource {name} is {state}: see gcloud compute tpus"
                                    f" queued-resources describe {name}")
                if state != before:
                    self._console.print(Text(f"tpu {name}: {state}"), soft_wrap=True)
                waiting[name] = state
                if state == "ACTIVE":
                    del waiting[name]
            deadline = time.monotonic() + _WAIT_SECONDS
            while waiting and not caught and time.monotonic() < deadline:
                time.sleep(min(0.2, _WAIT_SECONDS))

    def _start_hosts(self) -> None:
        workers = {name: int(_called(self._commands.count_hosts(name))) for name in self._config.names()}
        for name in workers:
            _called(self._commands.install(name))
        self._collected_at = time.monotonic()
        hosts = [(name, worker) for name, n in workers.items() for worker in range(n)]
        for host, (name, worker) in enumerate(hosts):
            label = f"{name}-{worker}"
            with (self._job.root / "logs" / f"tpu-{label}.log").open("ab") as log:
                self._hosts[label] = subprocess.Popen(
                    self._commands.run(name, worker, host, len(hosts)), stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT, process_group=0)

    def _are_running(self, say: Callable[[str], None]) -> bool:
        """Whether any host is; fetches what the bucket has now and then."""
        running = False
        for label, process in self._hosts.items():
            running |= process.poll() is None
            if process.poll() and label not in self._lost:
                self._lost.append(label)
                say(f"tpu {label}: ended with status {process.returncode}; see its log")
        if not running or time.monotonic() - self._collected_at > _COLLECT_SECONDS:
            with contextlib.suppress(UserError):  # the next attempt may do
                _called(self._commands.collect())
            self._collected_at = time.monotonic()
        return running

    def _save(self) -> None:
        """Asks the hosts for a last checkpoint in the bucket, and waits for it."""
        self._console.print("stopping the hosts, whose runs are saved to the bucket first")
        for name in {label.rpartition("-")[0] for label, p in self._hosts.items() if p.poll() is None}:
            with contextlib.suppress(UserError):
                _called(self._commands.stop(name))
        deadline = time.monotonic() + _SAVE_SECONDS
        while any(p.poll() is None for p in self._hosts.values()) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _delete(self) -> None:
        """Deletes all that was asked for; says loudly what may be left."""
        for process in self._hosts.values():
            process.terminate()
        for name in self._asked_for:
            command, why = self._commands.delete(name), ""
            for _ in range(_DELETIONS):
                try:
                    _called(command)
                    break
                except UserError as error:
                    why = str(error)
                    if "NOT_FOUND" in why or "not found" in why.lower():
                        break  # its creation left nothing
            else:
                self._console.print(Text(f"could not delete {name}, which may cost money: {why}; run:"
                                         f" {shlex.join(command)}"), soft_wrap=True)


def _own_folders(data: Any) -> Iterator[str]:
    """Folders and files of this machine that a data config, however nested, reads from."""
    for name, value in data.items() if isinstance(data, dict) else ():
        if name in ("path", "data_dir") and isinstance(value, str) and value and "://" not in value:
            yield value
        for inner in value if isinstance(value, list) else [value]:
            yield from _own_folders(inner)


def _called(command: list[str]) -> str:
    """What a command printed, stripped. Raises `UserError` with its last line if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          process_group=0)  # Ctrl-C is ours
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit status {done.returncode}"
        raise UserError(f"{shlex.join(command[:6])} ...: {why}")
    return done.stdout.strip()
