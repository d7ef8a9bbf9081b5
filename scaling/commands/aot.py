"""scaling plan ... --aot v5p:4x4x8: each distinct shape compiled for a pod, before it is paid for."""

import argparse
import json
from collections.abc import Sequence

from rich.console import Console

from scaling.aot.collectives import by_kind
from scaling.aot.compilers import check_compiler
from scaling.aot.search import nearest_fit
from scaling.aot.step import CompiledStep, check_divides, compile_step
from scaling.aot.target import Target, mesh_in_words
from scaling.commands.tables import console, table
from scaling.commands.train import parse_mesh
from scaling.errors import UserError
from scaling.experiment import Experiment

GIB = 2**30


def add_aot_arguments(parser: argparse.ArgumentParser, what: argparse._ActionsContainer) -> None:
    """what: the group in which `--aot` is a choice."""
    what.add_argument("--aot", metavar="v5p:4x4x8|h200:8", help="compile each distinct shape for this TPU"
                      " slice or node of GPUs, on this machine; refuse what does not fit (takes an"
                      " experiment too)")
    parser.add_argument("--slices", type=int, default=1, help="how many slices or nodes (with --aot)")
    parser.add_argument("--mesh", default="", metavar="data=2,fsdp=4", help="devices by mesh axis (with"
                        " --aot; default: fsdp, and data between slices)")


def check_fits(args: argparse.Namespace, experiments: Sequence[Experiment], is_study: bool) -> None:
    """Compiles one experiment of each shape and shows what XLA says of it.

    Raises `UserError` if one does not fit, with the nearest change that would.
    """
    target = Target.parse(args.aot, args.slices)
    given = parse_mesh(args.mesh) if args.mesh else None
    shapes = list({e.shape_key: e for e in experiments}.values())
    meshes = [given or target.default_mesh(experiment) for experiment in shapes]
    for experiment, mesh in zip(shapes, meshes):
        check_divides(experiment, target, mesh)
    check_compiler(target)
    progress = Console(stderr=True)
    steps = []
    for number, (experiment, mesh) in enumerate(zip(shapes, meshes), 1):
        with progress.status(f"compiling shape {number} of {len(shapes)} for {target}"):
            steps.append(compile_step(experiment, target, mesh))
    if args.json:
        print(json.dumps({"aot": [step.to_json() for step in steps]}))
    else:
        _show(target, steps)
    worst = max(steps, key=lambda s: (not s.fits, s.peak_bytes or 0))
    if worst.fits:
        return
    device = target.accelerator
    reserved = f"of which JAX takes {device.usable:.0%}" if device.usable < 1 else "some of it reserved"
    n_misfits = sum(not step.fits for step in steps)
    with progress.status("looking for the nearest change that fits"):
        change = nearest_fit(worst, log=lambda line: progress.print(line, highlight=False))
    wants = "more" if worst.peak_bytes is None else f"at least {worst.peak_bytes / GIB:.2f} GiB a device"
    advice = "none of the changes tried (recomputing, wider fsdp, microbatches, tensor) makes it fit"
    if change is not None:
        words = change.in_words.replace("Experiment.batch_size", "Ladder.batch_size") if is_study else (
            change.in_words)
        advice = f"nearest change that fits: {words} ({change.step.peak_bytes / GIB:.2f} GiB)"
    raise UserError(
        f"{n_misfits} of {len(steps)} shapes do not fit {target}: {worst.experiment.name} wants {wants}"
        f" of {device.hbm_bytes / GIB:.0f} GiB HBM, {reserved}; {advice}"
    )


def _show(target: Target, steps: Sequence[CompiledStep]) -> None:
    out = console()
    sizes = ("arguments", "outputs", "donated", "temporaries", "program")
    shown = table("shape", "mesh", *(f">{name}" for name in sizes), ">peak", ">of HBM", "fits",
                  title=f"{target}: GiB a device")
    for step in steps:
        cells = ["-"] * len(sizes)
        if step.memory:
            cells = [f"{step.memory[name] / GIB:.2f}" for name in sizes]
        peak = "?" if step.peak_bytes is None else f"{step.peak_bytes / GIB:.2f}"
        shown.add_row(
            step.experiment.name, mesh_in_words(step.mesh), *cells, peak,
            f"{target.accelerator.hbm_bytes / GIB:.0f}", "yes" if step.fits else "no",
        )
    out.print(shown)
    _show_costs(out, [step for step in steps if step.cost])


def _show_costs(out: Console, steps: Sequence[CompiledStep]) -> None:
    if not steps:
        return
    resources = ("compute", "hbm", "ici", "dcn")
    shown = table(
        "shape", ">FLOPs exact", ">of the program", ">HBM bytes", *(f">{r} ms" for r in resources),
        ">step ms at least", ">MFU at most", title="one update, a device",
    )
    for step in steps:
        times = [step.seconds[r] for r in resources]
        shown.add_row(
            step.experiment.name, f"{step.exact_flops:.4g}", f"{step.cost.flops:.4g}",
            f"{step.cost.nbytes:.3g}", *("?" if t is None else f"{1e3 * t:.2f}" for t in times),
            f"{1e3 * step.step_seconds:.2f}", f"{step.mfu_bound:.1%}",
        )
    out.print(shown)
    for step in steps:
        kinds = "; ".join(
            f"{n} {kind} of {nbytes / 2**20:,.1f} MiB together"
            for kind, (n, nbytes) in by_kind(step.cost.collectives).items()
        )
        out.print(f"{step.experiment.name}: {kinds or 'no collectives'}; compiled in"
                  f" {step.compile_seconds:.0f} s")
        if step.cost.unknown_loops:
            out.print(f"  counted once, length unknown: {', '.join(step.cost.unknown_loops)}")
    out.print("of the program: products it runs, recomputed ones too, scanned layers times their number."
              " A roofline: no step is faster.")
