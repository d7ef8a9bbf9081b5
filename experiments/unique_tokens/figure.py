"""What repeated text is worth: losses against epochs, and the tokens that a repeated one counts for.

    python experiments/unique_tokens/figure.py               # from results.csv
    python experiments/unique_tokens/figure.py --runs DIR    # from the folder of the sweep

Prints the README's tables and writes repeats.png; with --runs results.csv too.
"""

import argparse
import pathlib

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from scaling.laws import LawFit, fit
from scaling.laws.forms.data_constrained import saturating
from scaling.results import read_records, runs_table

HERE = pathlib.Path(__file__).parent
DELTA = 0.01  # of the Huber loss: run-to-run noise here is 0.5% of the loss
LEAST = 200_000  # unique tokens of the runs that are fitted
COLOURS = {50_000: "#b3261e", 100_000: "#d98324", 200_000: "#1f6feb", 400_000: "#3b8f5a"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", metavar="DIR", help="folder of the sweep")
    args = parser.parse_args()
    if args.runs:
        table = runs_table(read_records(args.runs))
        table["subset"] = table.run_id.str.extract(r"-U(\d+)-")[0].astype(int)
        kept = ["run_id", "subset", "tag_budget", "tag_d_model", "n_params", "n_tokens", "n_unique_tokens",
                "train_flops", "n_epochs", "loss", "loss_standard_error", "seed", "status"]
        table.sort_values(["tag_budget", "tag_d_model", "subset"])[kept].to_csv(
            HERE / "results.csv", index=False, float_format="%.7g")
    table = pd.read_csv(HERE / "results.csv")
    print(losses(table).round(3).to_string(), end="\n\n")
    law = fitted(table)
    for name, value in law.params.items():
        low, high = law.intervals[name]
        print(f"{name:6} {value:.4g} ({low:.4g} to {high:.4g}); {law.identifiability[name].words}")
    draw(table, law).savefig(HERE / "repeats.png", dpi=140)


def losses(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot(index=["tag_budget", "tag_d_model"], columns="subset", values="loss")


def fitted(table: pd.DataFrame) -> LawFit:
    """Muennighoff et al.'s law, on the runs that do not overfit: it has no term for that."""
    return fit("data_constrained", table[table.subset >= LEAST].reset_index(drop=True), delta=DELTA)


def draw(table: pd.DataFrame, law: LawFit) -> Figure:
    """Left, loss above that of the run with the most unique tokens. Right, tokens that the law counts."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    excess, worth = figure.subplots(1, 2)
    wide = losses(table)
    for subset, colour in COLOURS.items():
        above = (wide[subset] - wide[wide.columns.max()]).rename("above").reset_index()
        runs = table[table.subset == subset].merge(above, on=["tag_budget", "tag_d_model"])
        excess.scatter(runs.n_tokens / runs.n_unique_tokens, runs.above, color=colour, alpha=0.75,
                       s=10 + runs.n_params / 4e3, label=f"{subset:,} unique tokens")
    excess.axhline(0, color="#8c959e", linewidth=0.8)
    excess.set(xscale="log", xlabel="times each token is read",
               title="loss less that with 800,000 unique tokens, nats (larger dots: larger models)")
    excess.set_yscale("symlog", linthresh=0.1)
    excess.set_ylim(-0.03, 8)
    epochs = np.geomspace(1, 40, 80)
    low, high = law.intervals["R_D*"]
    worth.plot(epochs, counted(epochs, law.params["R_D*"]), color="#1f6feb")
    worth.fill_between(epochs, counted(epochs, low), counted(epochs, high), color="#1f6feb", alpha=0.15,
                       linewidth=0)
    worth.plot(epochs, epochs, ":", color="#8c959e", linewidth=1)
    worth.set(xscale="log", yscale="log", ylim=(0.9, 20), xlabel="times each token is read",
              title="fresh tokens that those are worth, per unique token (90% interval)")
    for axis in (excess.xaxis, worth.xaxis, worth.yaxis):
        axis.set(major_locator=FixedLocator((1, 2, 5, 10, 20, 40)), minor_locator=NullLocator(),
                 major_formatter=StrMethodFormatter("{x:.0f}"))
    excess.yaxis.set(major_locator=FixedLocator((0, 0.05, 0.1, 0.3, 1, 3)), minor_locator=NullLocator(),
                     major_formatter=StrMethodFormatter("{x:g}"))
    excess.legend(frameon=False, fontsize=8)
    for axes in (excess, worth):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(9)
    return figure


def counted(epochs: np.ndarray, r: float) -> np.ndarray:
    """D' / U of D / U, as the law has it."""
    return saturating(1.0, epochs, r, np)


if __name__ == "__main__":
    main()
