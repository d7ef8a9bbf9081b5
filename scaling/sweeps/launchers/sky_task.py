"""A SkyPilot task for the TPU hosts of a sweep: `sky jobs launch FILE` finds slices, again when preempted.

Where the queued resources of `tpu` are ours to create and delete, here they are SkyPilot's; what each host
runs is the same, and what was done is kept in the bucket all the same.
"""

import json

from scaling.sweeps.launchers.tpu_commands import Commands, TpuOptions

# SkyPilot counts the hosts of all slices as nodes, and numbers them.
_HOST, _OF = "$SKYPILOT_NODE_RANK", "$SKYPILOT_NUM_NODES"


def sky_task(options: TpuOptions, commands: Commands) -> str:
    """The file's text: YAML of SkyPilot's task specification."""
    region = options.zone.rpartition("-")[0]
    lines = [
        f"name: {_quoted(options.name)}",
        f"num_nodes: {options.slices}",
        "resources:",
        f"  infra: {_quoted(f'gcp/{region}/{options.zone}')}",
        f"  accelerators: {_quoted('tpu-' + options.accelerator_type)}",
        "  accelerator_args:",
        f"    runtime_version: {_quoted(options.runtime_version)}",
        f"  use_spot: {json.dumps(options.spot)}",
        "setup: |",
        *_indented(commands.install_script()),
        "run: |",
        *_indented(commands.run_script(f"tpu-{options.name}-{_HOST}", f"{_HOST}/{_OF}")),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)  # a string of JSON is one of YAML


def _indented(script: str) -> list[str]:
    return [f"  {line}" for line in script.splitlines()]
