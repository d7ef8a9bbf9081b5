"""Speed of a training step at every shape of a study, on one pinned core.

    python tools/bench_train.py sweeps/demo.gin
"""

import argparse

from scaling.commands.tables import console, table
from scaling.gin_config import load_study
from scaling.sweeps.calibration import flops_per_step, time_steps
from scaling.sweeps.plan import plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", help="a study's .gin file")
    args = parser.parse_args()
    shapes = {e.shape_key: e for e in plan(load_study(args.study).config)}
    experiments = sorted(shapes.values(), key=flops_per_step)
    shown = table(">width", ">layers", ">ms a step", ">GFLOP/s")
    for experiment, seconds in zip(experiments, time_steps(experiments)):
        model = experiment.model
        rate = flops_per_step(experiment) / seconds / 1e9
        shown.add_row(str(model.d_model), str(model.n_layers), f"{1e3 * seconds:.2f}", f"{rate:.1f}")
    console().print(shown)


if __name__ == "__main__":
    main()
