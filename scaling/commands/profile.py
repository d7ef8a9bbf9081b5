"""scaling profile EXPERIMENT.gin"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from scaling.accounting import (
    exact_train_flops,
    forward_flops,
    peak_flops_per_second,
    unmasked_score_flops,
)
from scaling.commands.arguments import add_binding
from scaling.commands.experiments import read_experiment
from scaling.commands.out_of_memory import memory_is_enough
from scaling.commands.tables import console, table
from scaling.commands.train import parse_mesh
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.results.files import check_writable

TRACED_SECONDS, TRACED_UPDATES = 0.5, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's .gin (or .json) file; its data is not read")
    add_binding(parser)
    parser.add_argument("--mesh", default="", metavar="data=2,fsdp=4", help="devices by mesh axis")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S",
                        help="time updates for so long, once compiled (default: 5)")
    parser.add_argument("--out", metavar="DIR", help="keep the profiler's trace there, for XProf or"
                        " TensorBoard (plugins/profile) and ui.perfetto.dev (*.trace.json.gz)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    experiment, mesh = read_experiment(args.experiment, args.binding), parse_mesh(args.mesh)
    if not 0 < args.seconds < float("inf"):
        raise UserError(f"--seconds {args.seconds}: expected a positive number")
    if args.out:
        # it is made once there is something to keep
        place = Path(args.out).absolute()
        check_writable(next(folder for folder in (place, *place.parents) if folder.exists()))
    from scaling.profiling import Rehearsal
    from scaling.training.runtime import set_up_runtime

    set_up_runtime()
    waiting = Console(stderr=True).status("compiling")
    with memory_is_enough(experiment, mesh), tempfile.TemporaryDirectory() as folder, waiting:
        rehearsal = Rehearsal(experiment, mesh)
        waiting.update("timing updates")
        result = _measured(rehearsal, args.seconds, Path(args.out or folder))
    if args.json:
        print(json.dumps(result, allow_nan=False))
    else:
        _show(result, args.out)
    return 0


def _measured(rehearsal, seconds: float, folder: Path) -> dict[str, Any]:
    """Plain values; FLOPs, bytes and times are of one device and one update."""
    from scaling.profiling import breakdown
    from scaling.profiling.parts import PASSES
    from scaling.training import provenance

    experiment, program = rehearsal.experiment, rehearsal.program
    n_devices, device = program.mesh.size, program.mesh.devices.flat[0]
    pace = rehearsal.time(seconds)
    n_chunks = max(1, round(TRACED_SECONDS / (pace.seconds * program.max_chunk)))
    n_chunks = max(n_chunks, -(-TRACED_UPDATES // program.max_chunk))
    text = program.compiled_chunk.as_text()
    trace = rehearsal.trace(folder, n_chunks)
    found = breakdown(trace, text, n_chunks * program.max_chunk)
    flops = _flops(experiment, n_devices)
    peak = peak_flops_per_second(device.device_kind)
    analysis = program.compiled_chunk.memory_analysis()
    parts = []
    for part in sorted({place.part for place in found.by_place}, key=found.of_part, reverse=True):
        spent = found.of_part(part)
        parts.append({
            "part": part, "seconds": spent, "share": spent / found.update,
            **{stage: found.by_place.get((part, stage), 0.0) for stage in PASSES},
            "flops": flops["by_part"].get(part),
            "flops_per_second": flops["by_part"][part] / spent if part in flops["by_part"] else None,
        })
    return {
        "name": experiment.name, "device": provenance.device_kind(), "n_devices": n_devices,
        "attention": program.attention, "compile_seconds": program.compile_seconds,
        "seconds": pace.seconds, "n_updates": pace.n_updates, "starved": pace.starved,
        "tokens_per_second": experiment.tokens_per_step / pace.seconds,
        "flops": {name: flops[name] for name in ("exact", "unmasked")},
        "flops_per_second": {name: flops[name] / pace.seconds for name in ("exact", "unmasked")},
        "mfu": {name: flops[name] / pace.seconds / peak for name in ("exact", "unmasked")}
        if peak else None,
        "peak": peak,
        "bytes": {
            "arguments": analysis.argument_size_in_bytes,
            "temporaries": analysis.temp_size_in_bytes,
            "allocated_at_most": (device.memory_stats() or {}).get("peak_bytes_in_use"),
        },
        "traced": {"seconds": found.update, "n_updates": n_chunks * program.max_chunk,
                   "idle": found.idle, "unnamed": found.unnamed, "parts": parts},
    }


def _flops(experiment: Experiment, n_devices: int) -> dict[str, Any]:
    """Of one device: `exact`, that without the scores which causal masks hide, and `exact` by part."""
    model, lengths = experiment.model, experiment.lengths
    rows = experiment.batch_size / n_devices
    groups = {name: 3 * n * rows for name, n in forward_flops(model, lengths).items() if n}
    exact = exact_train_flops(model, lengths) * rows
    hidden = groups["attention_scores"] - 3 * unmasked_score_flops(model, lengths) * rows
    return {"exact": exact, "unmasked": exact - hidden, "by_part": groups}


def _show(result: dict[str, Any], out_dir: str | None) -> None:
    out, each = console(), "" if result["n_devices"] == 1 else " a device"
    many = f"{result['n_devices']} x " if result["n_devices"] > 1 else ""
    out.print(f"{result['name']} on {many}{result['device']}: attention {result['attention']},"
              f" compiled in {result['compile_seconds']:.1f} s")
    rates, mfu = result["flops_per_second"], result["mfu"]
    out.print(f"an update: {1e3 * result['seconds']:.4g} ms (median of {result['n_updates']:,}),"
              f" {result['tokens_per_second']:,.0f} tokens/s")
    for name, words in (("exact", "full score squares"), ("unmasked", "causal scores counted half")):
        used = f", MFU {mfu[name]:.1%}" if mfu else ""
        out.print(f"  {rates[name] / 1e12:.4g} TFLOP/s{each}{used} ({words})")
    bytes_ = result["bytes"]
    allocated = bytes_["allocated_at_most"]
    also = f"; {_size(allocated)} allocated at most" if allocated else ""
    out.print(f"  {_size(bytes_['arguments'])} of state and batches, {_size(bytes_['temporaries'])}"
              f" beside them{each}{also}")
    out.print(f"  the device waited for its input before {result['starved']:.0%} of the calls")
    traced = result["traced"]
    shown = table(
        "part", ">ms", ">share", ">forward", ">recomputed", ">backward", ">TFLOP/s",
        *([">MFU"] if mfu else []),
        title=f"where an update's {1e3 * traced['seconds']:.4g} ms under the profiler go{each}",
    )
    for part in traced["parts"]:
        stages = [f"{1e3 * part[s]:.3f}" if part[s] else "" for s in ("forward", "recomputed", "backward")]
        if part["part"] == "optimizer":
            stages = [""] * 3
        rate = part["flops_per_second"]
        cells = ["" if rate is None else f"{rate / 1e12:.4g}"]
        if mfu:
            cells.append("" if rate is None else f"{rate / result['peak']:.1%}")
        shown.add_row(part["part"], f"{1e3 * part['seconds']:.3f}", f"{part['share']:.1%}", *stages, *cells)
    shown.add_row("idle", f"{1e3 * traced['idle']:.3f}", f"{traced['idle'] / traced['seconds']:.1%}")
    out.print(shown)
    out.print("TFLOP/s of a part: its products by the convention `exact` over all of its time, what it"
              " recomputes and what is not a product included.")
    if traced["unnamed"] > 0.01:
        out.print(f"{traced['unnamed']:.0%} of the time is of events that the program's text does not name"
                  " (in `other`)")
    if out_dir:
        out.print(f"trace: {out_dir}")


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB" if n_bytes < 2**30 else f"{n_bytes / 2**30:.2f} GiB"
