"""The train step of an experiment as compiled for a pod: does it fit, and how fast could it be."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

from jax.sharding import AbstractMesh

from scaling.accounting import exact_train_flops
from scaling.aot.collectives import Collective
from scaling.aot.compilers import ENVIRONMENT
from scaling.aot.cost import Cost
from scaling.aot.target import Target
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.models import build_model
from scaling.partitioning import MESH_AXES, MeshConfig, check_batch, parameter_shardings


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """One update of `experiment` on `target` under `mesh`; figures are of one device.

    memory: bytes of arguments, outputs, donated (outputs that overwrite arguments), temporaries,
        program; None where XLA could not make the step fit. needed_bytes: what it wanted then at least,
        if it said so. cost: None likewise.
    exact_flops: by our convention `exact`, of one device's share. xla_flops: XLA's own count, with
        each loop's body counted once.
    """

    experiment: Experiment
    target: Target
    mesh: MeshConfig
    memory: dict[str, int] | None = None
    needed_bytes: float | None = None
    cost: Cost | None = None
    xla_flops: float | None = None
    compile_seconds: float | None = None

    @property
    def peak_bytes(self) -> float | None:
        if self.memory is None:
            return self.needed_bytes
        return sum(self.memory.values()) - 2 * self.memory["donated"]

    @property
    def fits(self) -> bool:
        device = self.target.accelerator
        return self.memory is not None and self.peak_bytes <= device.usable * device.hbm_bytes

    @property
    def exact_flops(self) -> float:
        experiment = self.experiment
        per_example = exact_train_flops(experiment.model, experiment.lengths)
        return per_example * experiment.batch_size / self.target.n_devices

    @property
    def seconds(self) -> dict[str, float | None]:
        """Least time of an update by each resource, were the others free.

        compute: the products the program runs, recomputed ones too, at the bfloat16 peak. hbm: bytes
        moved. ici: what collectives send to neighbours over all links. dcn: between slices, None where
        no bandwidth is known.
        """
        device = self.target.accelerator
        sent = {between: sum(c.sent for c in self.cost.collectives if c.between_slices is between)
                for between in (False, True)}
        dcn = 0.0 if not sent[True] else None
        if device.dcn_bandwidth:
            dcn = sent[True] / device.dcn_bandwidth
        return {
            "compute": self.cost.flops / device.peak,
            "hbm": self.cost.nbytes / device.hbm_bandwidth,
            "ici": sent[False] / device.ici_bandwidth,
            "dcn": dcn,
        }

    @property
    def step_seconds(self) -> float:
        """Roofline: the slowest resource, all of them overlapping perfectly."""
        return max(t for t in self.seconds.values() if t is not None)

    @property
    def mfu_bound(self) -> float:
        """Model FLOPs (`exact`) over what the peak could do in that time; no step is above this."""
        return self.exact_flops / (self.target.accelerator.peak * self.step_seconds)

    def to_json(self) -> dict[str, Any]:
        made = {
            "name": self.experiment.name,
            "shape": self.experiment.shape_key,
            "topology": self.target.topology_name,
            "n_slices": self.target.n_slices,
            "n_chips": self.target.n_chips,
            "n_devices": self.target.n_devices,
            "mesh": self.mesh.to_json(),
            "fits": self.fits,
            "hbm_bytes": self.target.accelerator.hbm_bytes,
            "peak_bytes": self.peak_bytes,
            "memory": self.memory,
            "exact_flops": self.exact_flops,
        }
        if self.cost is None:
            return made
        return made | {
            "program_flops": self.cost.flops,
            "xla_flops_loops_once": self.xla_flops,
            "hbm_traffic_bytes": self.cost.nbytes,
            "collectives": [dataclasses.asdict(c) | {"sent": c.sent} for c in self.cost.collectives],
            "unknown_loops": list(self.cost.unknown_loops),
            "seconds": self.seconds,
            "step_seconds": self.step_seconds,
            "mfu_bound": self.mfu_bound,
            "compile_seconds": self.compile_seconds,
        }


def check_divides(experiment: Experiment, target: Target, mesh: MeshConfig) -> None:
    """Raises `UserError` where the mesh does not use the target, or does not divide an axis."""
    target.check_mesh(mesh)
    abstract = AbstractMesh(mesh.shape, MESH_AXES)
    check_batch(abstract, "Experiment.batch_size", experiment.batch_size, mesh.microbatches)
    check_batch(abstract, "EvaluationConfig.batch_size", experiment.evaluation.batch_size)
    parameter_shardings(abstract, build_model(experiment.model).specs)


def compile_step(experiment: Experiment, target: Target, mesh: MeshConfig) -> CompiledStep:
    """Compiles the real train step, state, update and donation included; holds no parameters.

    Raises `UserError` for a mesh or a batch that does not divide and a layout that libtpu refuses.
    """
    check_divides(experiment, target, mesh)
    request = {
        "experiment": experiment.to_json(), "mesh": mesh.to_json(), "target": dataclasses.asdict(target)
    }
    child = subprocess.run(
        [sys.executable, "-m", "scaling.aot.child"], input=json.dumps(request), text=True,
        capture_output=True, env=os.environ | ENVIRONMENT,
    )
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        end = "\n".join(child.stderr.splitlines()[-15:])
        raise RuntimeError(f"the compiler ended with status {child.returncode}:\n{end}") from None
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    same = {"experiment": experiment, "target": target, "mesh": mesh}
    if "out_of_memory" in answer:
        return CompiledStep(**same, needed_bytes=answer["needed_bytes"])
    cost = answer["cost"]
    cost = Cost(cost["flops"], cost["nbytes"], tuple(Collective(**c) for c in cost["collectives"]),
                tuple(cost["unknown_loops"]))
    return CompiledStep(
        **same, memory=answer["memory"], cost=cost, xla_flops=answer["xla_flops"],
        compile_seconds=answer["compile_seconds"],
    )
