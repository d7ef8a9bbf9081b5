"""Loss against learning rate, one curve a shape, and what reusing the smallest proxy's rate costs.

    python experiments/hyperparameter_transfer/figure.py                        # from results.csv
    python experiments/hyperparameter_transfer/figure.py --runs DIR [DIR ...]   # folders of proxies
    python experiments/hyperparameter_transfer/figure.py --in encoder_decoder   # the other family

Prints the tables of the README and writes optima.csv and transfer.png; with --runs results.csv too.
"""

import argparse
import pathlib

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scaling.results import read_records
from scaling.transfer.exponents import fit_line
from scaling.transfer.optimum import Scan, optimum, pooled_noise, standard_error

HERE = pathlib.Path(__file__).parent
SETTING = ["parametrization", "d_model", "n_layers", "batch_size", "n_tokens"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", nargs="+", default=[], metavar="DIR")
    parser.add_argument("--in", dest="home", type=pathlib.Path, default=HERE, metavar="DIR",
                        help="where results.csv is and the others go (default: beside this file)")
    args = parser.parse_args()
    if args.runs:
        table = pd.DataFrame([row for folder in args.runs for row in rows(folder)])
        table = table.sort_values([*SETTING, "learning_rate", "seed"])
        table.to_csv(args.home / "results.csv", index=False)
    table = pd.read_csv(args.home / "results.csv")
    optima = read_optima(table)
    optima.drop(columns="scan").to_csv(args.home / "optima.csv", index=False, float_format="%.6g")
    print(optima.drop(columns="scan").round(4).to_string(index=False))
    for name, along in (("width", "d_model"), ("depth", "n_layers")):
        for parametrization, (line, at) in slopes(optima, along).items():
            low, high = line.interval(np.array([0.0, 1.0]), 0.9)
            print(f"{parametrization}, {name}: slope {line.coefficients[1]:+.2f}"
                  f" ({low:+.2f} .. {high:+.2f}), range {np.ptp(at):.2f} octaves")
    draw(optima).savefig(args.home / "transfer.png", dpi=140)


def rows(folder: str):
    """One row a proxy."""
    for record in read_records(folder):
        e = record.experiment
        yield {
            "parametrization": e["parametrization"]["name"],
            "d_model": e["model"]["d_model"],
            "n_layers": sum(size for name, size in e["model"].items() if name.endswith("_layers")
                            and name.startswith("n_")),
            "batch_size": e["batch_size"],
            "n_tokens": e["n_steps"] * e["batch_size"] * e["data"]["sequence_length"],
            "learning_rate": e["optimizer"]["learning_rate"],
            "seed": record.seed,
            "status": record.status,
            "loss": record.final.loss if record.final else None,
            "noise_scale": record.final.noise_scale if record.final else None,
            "train_flops": record.train_flops["exact"],
            "run_id": record.run_id,
        }


def read_optima(table: pd.DataFrame) -> pd.DataFrame:
    """One row a setting: the vertex, its error, and what the base shape's rate costs there, in nats by
    the parabola."""
    scans, found = [], []
    for key, group in table.groupby(SETTING):
        usable = group.groupby("learning_rate").filter(lambda g: (g.status == "ok").all())
        grid = usable.pivot(index="learning_rate", columns="seed", values="loss").sort_index()
        scans.append((key, Scan("", np.log2(grid.index.to_numpy()), grid.to_numpy())))
        found.append(optimum(scans[-1][1].log2_rates, scans[-1][1].losses))
    noise = pooled_noise(found)
    print(f"noise of a run: {noise:.4f} nats")
    table = pd.DataFrame([
        {**dict(zip(SETTING, key)), "log2_rate": best.log2_rate,
         "standard_error": standard_error(scan, noise), "best_of_grid": scan.log2_rates[
             scan.losses.mean(1).argmin()],
         "loss": best.loss, "curvature": best.curvature, "edge": best.edge or "", "scan": scan}
        for (key, scan), best in zip(scans, found)
    ])
    base = table[(table.d_model == table.d_model.min()) & (table.n_layers == table.n_layers.min())]
    base = base.loc[base.batch_size.eq(8) & base.n_tokens.eq(102_400)].set_index("parametrization")
    misses = table.log2_rate - base.log2_rate[table.parametrization].to_numpy()
    return table.assign(regret_of_base_rate=table.curvature * misses**2)


def slopes(optima: pd.DataFrame, column: str) -> dict:
    """By parametrization, the line of log2 of the best rate on log2 of a size, and those log2 rates."""
    other = {"d_model": "n_layers", "n_layers": "d_model"}[column]
    plain = optima[optima.batch_size.eq(8) & optima.n_tokens.eq(102_400)]
    lines = {}
    for name, group in plain[plain[other] == plain[other].min()].groupby("parametrization"):
        x = np.log2(group[column] / group[column].min()).to_numpy()
        at = group.log2_rate.to_numpy()
        line = fit_line(np.stack([np.ones(len(x)), x], 1), at, group.standard_error.to_numpy())
        lines[name] = line, at
    return lines


def draw(optima: pd.DataFrame) -> Figure:
    """Two rows, width above depth; two columns, one a parametrization."""
    plain = optima[optima.batch_size.eq(8) & optima.n_tokens.eq(102_400)]
    names = sorted(plain.parametrization.unique(), reverse=True)  # standard first
    figure = Figure(figsize=(4.6 * len(names), 7.2), layout="constrained")
    grid = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    for row, (column, other, label) in enumerate(
        (("d_model", "n_layers", "width {}"), ("n_layers", "d_model", "{} layers"))
    ):
        for axes, name in zip(grid[row], names):
            curves = plain[(plain.parametrization == name) & (plain[other] == plain[other].min())]
            curves = curves.sort_values(column)
            colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(curves)))
            for colour, (_, curve) in zip(colours, curves.iterrows()):
                rates, mean = 2**curve.scan.log2_rates, curve.scan.losses.mean(1)
                axes.plot(rates, mean, "-o", color=colour, markersize=3, linewidth=1.2,
                          label=label.format(curve[column]))
                axes.plot(2**curve.log2_rate, curve.loss, "v", color=colour, markersize=9,
                          markeredgecolor="white", zorder=3)
            axes.set_xscale("log", base=2)
            axes.set_title(f"{name}, {'width' if row == 0 else 'depth'}", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        lowest, best = plain.loss.min(), plain.loss.max()
        grid[row][0].set(ylim=(lowest - 0.05, best + 0.6), ylabel="loss, nats per byte")
    for axes in grid[-1]:
        axes.set_xlabel("learning rate at the base shape (triangles: fitted optimum)")
    return figure


if __name__ == "__main__":
    main()
