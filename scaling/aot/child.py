"""One compilation, in a process of its own: `python -m scaling.aot.child`, a request on standard input.

libtpu writes warnings to standard error, keeps its memory, and may end the process that it is in.
"""

import json
import re
import sys
import time
from typing import Any

import jax

from scaling.accounting.hardware import GPU
from scaling.aot.compilers import abstract_devices
from scaling.aot.cost import count
from scaling.aot.hlo import parse
from scaling.aot.target import Target
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.partitioning import MeshConfig, make_mesh
from scaling.training.traced import TracedProgram

ANY_TOKEN = 1  # which token opens a document is no part of a program's shape


def compiled(experiment: Experiment, target: Target, mesh: MeshConfig) -> dict[str, Any]:
    """What XLA says of the train step: see `scaling.aot.step.CompiledStep`."""
    on_mesh = make_mesh(mesh, abstract_devices(target))
    program = TracedProgram(experiment, on_mesh, ANY_TOKEN, mesh.microbatches)
    lowered = program.lower_train(experiment)
    start = time.monotonic()
    try:
        step = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if not re.search(r"RESOURCE_EXHAUSTED|[Rr]an out of memory", str(error)):
            raise
        return {"out_of_memory": str(error), "needed_bytes": _needed(str(error))}
    memory, module = step.memory_analysis(), parse(step.as_text())
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "donated": memory.alias_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "program": memory.generated_code_size_in_bytes,
    }
    names_all = isinstance(target.accelerator, GPU)
    return {
        "memory": sizes,
        "cost": count(module, target.n_devices, target.n_slices, names_all=names_all).to_json(),
        "xla_flops": (step.cost_analysis() or {}).get("flops"),
        "compile_seconds": time.monotonic() - start,
    }


def _needed(message: str) -> float | None:
    """At least so many bytes: XLA names what it would use, or of that the temporaries alone."""
    number = r"\(?([\d.]+)([KMGT]?)\)?"
    found = re.search(rf"Used {number} of .* hbm|memory required for .*? {number} exceeds", message)
    found = found and [part for part in found.groups() if part is not None]
    return float(found[0]) * 1024 ** " KMGT".index(found[1] or " ") if found else None


def main() -> None:
    request = json.load(sys.stdin)
    try:
        answer = compiled(
            Experiment.from_json(request["experiment"]),
            Target(**{**request["target"], "layout": tuple(request["target"]["layout"])}),
            MeshConfig.from_json(request["mesh"]),
        )
    except UserError as error:
        answer = {"mistake": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
