"""scaling explain EXPERIMENT.gin"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from scaling.accounting import (
    active_parameters,
    count_parameters,
    forward_flops,
    memory_by_group,
    rules_of_thumb,
    traced_matmul_flops,
    train_flops,
    unmasked_score_flops,
)
from scaling.commands.arguments import add_binding
from scaling.commands.tables import console, table
from scaling.config import Config
from scaling.errors import UserError
from scaling.experiment import Experiment
from scaling.gin_config import describes_study, load_experiment
from scaling.models import build_model
from scaling.parametrizations import forward_multipliers, parametrization_record, rules_table
from scaling.results.record import PARAMETER_CONVENTIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's .gin file")
    add_binding(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    if describes_study(args.experiment):
        raise UserError(
            f"{args.experiment} is a study; its runs are explained by scaling plan"
        )
    loaded = load_experiment(args.experiment, args.binding)
    experiment: Experiment = loaded.config
    values = [
        {"field": name, "value": value, "source": loaded.sources.get(name, "default")}
        for name, value in _leaves(experiment)
    ]
    specs = build_model(experiment.model).specs
    n_params = count_parameters(specs)
    lengths = experiment.lengths
    memory = memory_by_group(
        experiment.model, experiment.batch_size, lengths, experiment.optimizer
    )
    thumb = rules_of_thumb(experiment.model, n_params, experiment.batch_size, lengths)
    result = {
        "run_id": experiment.run_id,
        "values": values,
        "n_params": n_params,
        "n_params_by_convention": {
            name: sum(n_params[g] for g in groups) for name, groups in PARAMETER_CONVENTIONS.items()
        },
        "n_active_params": active_parameters(experiment.model, n_params),
        "lengths": lengths._asdict(),
        "forward_flops": forward_flops(experiment.model, lengths),
        "unmasked_score_flops": unmasked_score_flops(experiment.model, lengths),
        "train_flops": train_flops(experiment.model, lengths, experiment.n_examples),
        "traced_forward_flops": _traced(experiment),
        "memory_bytes": memory,
        "memory_rules_of_thumb": thumb,
        "parametrization": parametrization_record(experiment.parametrization, specs),
        "rules": rules_table(experiment.parametrization, specs),
    }
    if args.json:
        print(json.dumps(result))
    else:
        _show(result)
    return 0


def _leaves(config: Config) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Config):
            yield from _leaves(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Config):
            for item in value:
                yield from _leaves(item)
        else:
            yield f"{type(config).__name__}.{field.name}", value


def _traced(experiment: Experiment) -> int:
    """Matrix-product FLOPs of one example's forward pass in the traced program."""
    model = build_model(experiment.model.replace(attention="xla"))
    params = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float32), model.specs)
    row = np.zeros((1, experiment.data.sequence_length + 1), np.int32)
    batch = experiment.build_objective(bos_id=1).example(row)
    forward = forward_multipliers(experiment.parametrization, model.specs)
    return traced_matmul_flops(model.apply, params, batch, forward)


def _show(result: dict[str, Any]) -> None:
    out = console()
    out.print(f"run id {result['run_id']}")
    shown = table("field", "value", "from")
    for row in result["values"]:
        shown.add_row(row["field"], repr(row["value"]), row["source"])
    out.print(shown)
    _show_rules(out, result)
    _sums(out, "parameters", result["n_params"], ",.0f")
    for name, count in result["n_params_by_convention"].items():
        out.print(f"  N ({name}): {count:,}")
    if (active := sum(result["n_active_params"].values())) != sum(result["n_params"].values()):
        out.print(f"  active of these, for one token: {active:,}")
    positions = ", ".join(f"{name} {n}" for name, n in result["lengths"].items() if n)
    _sums(out, f"forward FLOPs of a row ({positions})", result["forward_flops"], ",.0f")
    out.print(f"  of the attention scores, causal masks leave: {result['unmasked_score_flops']:,}")
    out.print(f"  counted in the traced program: {result['traced_forward_flops']:,}")
    for name, flops in result["train_flops"].items():
        out.print(f"  C ({name}): {flops:.4e}")
    mib = {name: size / 2**20 for name, size in result["memory_bytes"].items()}
    _sums(out, "memory of a step, MiB (estimate)", mib, ",.2f")
    for name, size in result["memory_rules_of_thumb"].items():
        out.print(f"  a rule of thumb for {name}: {size / 2**20:,.2f} MiB")


def _show_rules(out: Console, result: dict[str, Any]) -> None:
    record = result["parametrization"]
    base = ", ".join(f"{axis} {size}" for axis, size in record["base_shape"].items())
    out.print(f"{record['name']}, table {record['table_hash']}; base shape: {base}")
    multipliers = ("lr_mult", "eps_mult", "wd_mult", "forward_mult")
    shown = table("parameter", ">shape", "axes", "role", ">init std", *(f">{m}" for m in multipliers))
    for row in result["rules"]:
        shown.add_row(
            row["parameter"], " x ".join(map(str, row["shape"])), " ".join(row["axes"]), row["role"],
            "constant" if row["role"] == "vector" else f"{row['init_std']:.4g}",
            *(f"{row[m]:.4g}" for m in multipliers),
        )
    out.print(shown)
    forward = ", ".join(f"{name} {value:.4g}" for name, value in record["forward"].items())
    out.print(f"forward multipliers: {forward}")


def _sums(out: Console, title: str, groups: dict[str, float], form: str) -> None:
    shown = table(title, ">")
    for name, value in groups.items():
        shown.add_row(name, format(value, form))
    shown.add_row("total", format(sum(groups.values()), form), style="bold")
    out.print(shown)
