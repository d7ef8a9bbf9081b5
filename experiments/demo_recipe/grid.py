"""The grids behind the demo's recipe: which rates, which schedule, at which sizes and budgets.

    python experiments/demo_recipe/grid.py OUT            # about 25 minutes on one core
    python experiments/demo_recipe/grid.py OUT --only learning_rate

Each point is one run of the demo's ladder with some fields changed; runs that OUT already holds are
not repeated. Prints a table, and writes OUT/results.csv (the one beside this file is what we saw).
"""

import argparse
import pathlib

import pandas as pd

from scaling.gin_config import load_study
from scaling.results import read_records, runs_table
from scaling.sweeps.plan import solve
from scaling.training import StopRequest, train
from scaling.training.runtime import set_up_runtime

# (width, budget): the corners of the demo's grid and its middle
CORNERS = (
    (20, 2.4e11), (56, 2.4e11), (48, 5.2e11), (40, 1.12e12), (80, 1.12e12), (64, 2.4e12), (88, 2.4e12)
)
MIDDLE = ((48, 5.2e11),)

# name -> (points, changes to try one at a time)
GRIDS: dict[str, tuple[tuple, list[dict]]] = {
    "learning_rate": (CORNERS, [{"times_the_rule": x} for x in (0.5, 1.0, 2.0)]),
    "embedding_lr": (CORNERS[:2] + CORNERS[4:6], [{"embedding_lr": x} for x in (9.0, 36.0)]),
    "batch_size": (CORNERS[1:3] + CORNERS[5:6], [{"batch_size": 8, "times_the_rule": 2**0.5}]),
    "schedule": (
        MIDDLE,
        [{"shape": "linear"}, {"shape": "cosine"}]
        + [{"shape": "wsd", "decay_fraction": x} for x in (0.2, 0.4, 0.6)],
    ),
    "one_change": (
        MIDDLE,
        [{}, {"seed": 1}, {"seed": 2}, {"qk_norm": False}, {"b2": 0.95}, {"b2": 0.995},
         {"unembedding_std": 1.0}, {"embedding_std": 0.3}, {"unembedding_lr": 2.0},
         {"unembedding_lr": 0.5}, {"vector_lr": 3.0}, {"activation": "swiglu", "d_ff": 128}],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", choices=GRIDS, help="one grid")
    args = parser.parse_args()
    set_up_runtime()
    study = load_study("sweeps/demo.gin").config
    with StopRequest().installed() as stop:
        for name, (points, changes) in GRIDS.items():
            if args.only not in (None, name):
                continue
            for d_model, budget in points:
                base, _ = solve(study, d_model, budget, role=name, seed=0)
                for change in changes:
                    experiment = changed(base, change)
                    tags = {"grid": name, "d_model": d_model, "budget": budget, **change}
                    run_dir = args.out / "runs" / experiment.run_id
                    record = train(experiment, run_dir, tags=tags, stop=stop)
                    loss = record.final.loss if record.final else float("nan")
                    print(f"{name}: width {d_model}, {budget:.3g} FLOPs, {change}: {loss:.4f}",
                          flush=True)
    table = runs_table(read_records(args.out))
    tags = [column for column in table if column.startswith("tag_")]
    shown = table[[*tags, "n_steps", "loss", "loss_standard_error", "status"]]
    shown.columns = [column.removeprefix("tag_") for column in shown]
    shown = shown.sort_values(["grid", "budget", "d_model"], kind="stable")
    shown.to_csv(args.out / "results.csv", index=False, float_format="%.6g")
    with pd.option_context("display.width", 200, "display.max_columns", 30):
        print(shown.to_string(index=False))


def changed(experiment, change: dict):
    """`experiment` with fields changed wherever they live.

    `times_the_rule` multiplies the learning rate; a changed batch keeps the tokens, not the steps.
    """
    for field, value in change.items():
        if field == "times_the_rule":
            rate = value * experiment.optimizer.learning_rate
            optimizer = experiment.optimizer.replace(learning_rate=rate)
            experiment = experiment.replace(optimizer=optimizer)
            continue
        if field == "batch_size":
            n_steps = experiment.n_steps * experiment.batch_size // value
            experiment = experiment.replace(n_steps=n_steps)
        if hasattr(experiment, field):
            experiment = experiment.replace(**{field: value})
            continue
        for room in ("optimizer", "schedule", "parametrization", "model"):
            config = getattr(experiment, room)
            if hasattr(config, field):
                experiment = experiment.replace(**{room: config.replace(**{field: value})})
                break
        else:
            raise ValueError(f"no field {field}")
    return experiment


if __name__ == "__main__":
    main()
