"""Cloud TPU: the commands, as lists of words for `gcloud` and as scripts for a TPU host's shell.

A queued resource here is one slice, whose one node has the same name. Hosts share no folder: each takes
its own share of the runs (`--shard`) and keeps the bucket up to date.
"""

import dataclasses
import re
import shlex
from pathlib import Path

from scaling.config import Config
from scaling.errors import UserError
from scaling.sweeps.launchers.job import Job, check_plain
from scaling.sweeps.launchers.option import option

HOST_FOLDER = "scaling-sweep"
_PYTHON = "scaling-venv/bin/python"
# Claims are of the machine that made them; a checkpoint that is being written is nobody's.
_LEFT_OUT = r".*claim\.[0-9].*|.*orbax-checkpoint-tmp.*|(^|.*/)\..*\.tmp$|^logs/worker-.*"
_RECORDS_ONLY = _LEFT_OUT + "|.*/checkpoints/.*|.*/tensorboard/.*"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuOptions(Config):
    """Cloud TPU slices by queued resources; only shows the commands unless told to execute them."""

    zone: str = option("zone, such as us-central1-a")
    accelerator_type: str = option("of a slice, such as v5litepod-8 or v4-16")
    runtime_version: str = option("of the TPU VM, such as v2-alpha-tpuv5-lite")
    bucket: str = option("gs://bucket/folder that keeps this sweep; runs are collected from it")
    wheel: str = option("this package as a .whl file, to be installed on the hosts")
    project: str = option("project; empty: that of gcloud's configuration")
    name: str = option("of the queued resources, numbered -0, -1, ...", "scaling")
    slices: int = option("queued resources", 1)
    workers_per_host: int = option("one chip each; what a host has: 8 for v5litepod-8, 4 for v4", 4)
    spot: bool = option("spot capacity", False)
    valid_until: str = option("how long to wait for the slices: 6h; empty: for ever")
    service_account: str = option("of the hosts, which read and write the bucket")
    sky_task: str = option("instead write this SkyPilot task file (.yaml), for `sky jobs launch`")
    execute: bool = option("really run the commands, which costs money", False, flag="--execute")

    def validate(self) -> None:
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), str):
                check_plain(value, f"{type(self).__name__}.{field.name}")
                self.require(not value.startswith("-"), field.name, "a value that is no option")
        fits = re.fullmatch(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?", self.name) is not None
        self.require(fits, "name", "lower-case letters, digits and dashes")
        self.require(not self.bucket or re.match(r"gs://[^/]", self.bucket) is not None, "bucket", "gs://...")
        duration = re.fullmatch(r"(\d+[smhd])*", self.valid_until) is not None
        self.require(duration, "valid_until", "a duration such as 90m or 6h")
        task = not self.sky_task or (self.sky_task.endswith((".yaml", ".yml")) and not self.execute)
        self.require(task, "sky_task", "a .yaml file, without --execute: `sky jobs launch` starts it")
        for name in ("slices", "workers_per_host"):
            self.require(getattr(self, name) >= 1, name, "at least 1")

    def names(self) -> list[str]:
        return [f"{self.name}-{i}" for i in range(self.slices)]


class Commands:
    """Every command of one sweep."""

    def __init__(self, options: TpuOptions, job: Job) -> None:
        self._options, self._job = options, job
        self._bucket = options.bucket.rstrip("/")
        self._where = [f"--zone={options.zone}"]
        if options.project:
            self._where.append(f"--project={options.project}")

    def upload(self) -> list[list[str]]:
        """The package, the plan and what is done already, into the bucket."""
        wheel = f"{self._bucket}/wheel/{Path(self._options.wheel).name}"
        return [["gcloud", "storage", "cp", self._options.wheel, wheel],
                _rsync(str(self._job.root), f"{self._bucket}/sweep", _LEFT_OUT)]

    def create(self, name: str) -> list[str]:
        wanted = self._options
        optional = {"valid-until-duration": wanted.valid_until, "service-account": wanted.service_account}
        return ["gcloud", "compute", "tpus", "queued-resources", "create", name, f"--node-id={name}",
                *self._where, f"--accelerator-type={wanted.accelerator_type}",
                f"--runtime-version={wanted.runtime_version}", *(["--spot"] if wanted.spot else []),
                *(f"--{flag}={value}" for flag, value in optional.items() if value), "--quiet"]

    def state(self, name: str) -> list[str]:
        """Prints CREATING, WAITING_FOR_RESOURCES, PROVISIONING, ACTIVE, FAILED, SUSPENDED, ..."""
        return ["gcloud", "compute", "tpus", "queued-resources", "describe", name, *self._where,
                "--format=value(state.state)"]

    def count_hosts(self, name: str) -> list[str]:
        return ["gcloud", "compute", "tpus", "tpu-vm", "describe", name, *self._where,
                "--format=value(networkEndpoints.len())"]

    def install(self, name: str) -> list[str]:
        """A Python that is new enough, and the package, on all hosts of a slice."""
        return self._ssh(name, "all", self.install_script())

    def install_script(self) -> str:
        wheel = Path(self._options.wheel).name
        here = shlex.quote(f"./{wheel}")
        return "\n".join([
            'set -e; cd "$HOME"',
            "python3 -m pip install --quiet --user uv",
            "python3 -m uv venv --quiet --allow-existing --python 3.12 scaling-venv",
            f"gcloud storage cp {shlex.quote(f'{self._bucket}/wheel/{wheel}')} {here}",
            f"python3 -m uv pip install --quiet --python {_PYTHON} {here} 'jax[tpu]'",
        ])

    def run(self, name: str, worker: int, host: int, n_hosts: int) -> list[str]:
        """The share of one host: `host` of `n_hosts` over all slices, `worker` within its slice."""
        return self._ssh(name, str(worker), self.run_script(f"tpu-{name}-{worker}", f"{host}/{n_hosts}"))

    def run_script(self, label: str, shard: str) -> str:
        """What one host does. label, shard: of `scaling supervise`, as the host's shell expands them; of a
        name without blanks, and numbers."""
        words = [_PYTHON, "-m", "scaling", "supervise", HOST_FOLDER,
                 "--workers", str(self._options.workers_per_host), "--devices", "tpu", *self._sources()]
        down = shlex.join(_rsync(f"{self._bucket}/sweep", HOST_FOLDER, _LEFT_OUT))
        up = shlex.join(_rsync(HOST_FOLDER, f"{self._bucket}/sweep", _LEFT_OUT))
        return "\n".join([
            f'cd "$HOME"; mkdir -p {HOST_FOLDER} && {down} || exit 1',
            f"(while sleep 60; do {up}; done) & syncing=$!",
            f"{shlex.join(words)} --name {label} --shard {shard} & echo $! > scaling-supervisor.pid",
            "wait $!; status=$?; kill $syncing",
            f"{up} || exit 1",
            "exit $status",
        ])

    def stop(self, name: str) -> list[str]:
        """Tells the supervisors of a slice to save; their `run` then ends after a last upload."""
        return self._ssh(name, "all", 'kill -TERM "$(cat "$HOME/scaling-supervisor.pid")"')

    def collect(self) -> list[str]:
        """Records, curves and logs from the bucket into the sweep's folder; checkpoints stay there."""
        return _rsync(f"{self._bucket}/sweep", str(self._job.root), _RECORDS_ONLY)

    def delete(self, name: str) -> list[str]:
        return ["gcloud", "compute", "tpus", "queued-resources", "delete", name, *self._where,
                "--force", "--quiet"]

    def _ssh(self, name: str, worker: str, script: str) -> list[str]:
        return ["gcloud", "compute", "tpus", "tpu-vm", "ssh", name, *self._where, f"--worker={worker}",
                "--quiet", f"--command={script}"]

    def _sources(self) -> list[str]:
        """`--sealed FILE` as the host has it. Raises `UserError` for a file outside the sweep's folder."""
        words = list(self._job.options)
        for i in range(1, len(words), 2):
            file = Path(words[i])
            if not file.is_relative_to(self._job.root):
                raise UserError(f"{file}: TPU hosts get the sweep's folder only; put the file into it")
            words[i] = f"{HOST_FOLDER}/{file.relative_to(self._job.root)}"
        return words


def _rsync(source: str, target: str, left_out: str) -> list[str]:
    return ["gcloud", "storage", "rsync", "--recursive", f"--exclude={left_out}", source, target]
