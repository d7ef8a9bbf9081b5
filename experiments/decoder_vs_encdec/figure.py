"""IsoFLOP curves, laws and exponents of a decoder and an encoder-decoder, on one plot at equal FLOPs.

    python experiments/decoder_vs_encdec/figure.py               # from results.csv
    python experiments/decoder_vs_encdec/figure.py --runs DIR    # from DIR/causal_lm, DIR/prefix_lm, ...

Prints the README's tables and writes isoflops.png; with --runs results.csv too.
"""

import argparse
import pathlib
import sys

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, StrMethodFormatter

from scaling.laws import LawFits, fit_all
from scaling.results import read_records

HERE = pathlib.Path(__file__).parent
OBJECTIVES = {
    "causal_lm": ("decoder, causal LM", "#1b6ca8"),
    "prefix_lm": ("encoder-decoder, prefix LM", "#c8553d"),
    "span_corruption": ("encoder-decoder, span corruption", "#3b8f5a"),
}
DELTA = 0.01  # of the Huber loss: run-to-run noise here is 0.3 to 0.5% of the loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=pathlib.Path, metavar="DIR", help="folder of the three sweeps")
    args = parser.parse_args()
    if args.runs:
        table = pd.DataFrame([row for name in OBJECTIVES for row in rows(args.runs / name)])
        table.to_csv(HERE / "results.csv", index=False)
    table = pd.read_csv(HERE / "results.csv")
    fits = {name: fit_of(table, name) for name in OBJECTIVES}
    for name, fit in fits.items():
        print(described(name, fit))
    print(same_targets(table).round(3).to_string())
    draw(table, fits).savefig(HERE / "isoflops.png", dpi=130)


def rows(folder: pathlib.Path):
    """One row a run. suffix_loss: nats per token of the second halves of validation rows, given the
    first: of a decoder as `suffix.py` asks, of prefix LM its own loss, of others none."""
    sys.path.insert(0, str(HERE))
    from suffix import suffix_loss  # training code: not needed to draw

    for record in sorted(read_records(folder), key=lambda r: (r.tags["budget"], r.tags["d_model"])):
        e = record.experiment
        suffix = {"causal_lm": lambda: suffix_loss(folder / "runs" / record.run_id),
                  "prefix_lm": lambda: record.final.loss}.get(e["objective"], lambda: None)
        yield {
            "run_id": record.run_id,
            "objective": e["objective"],
            "budget": record.tags["budget"],
            "d_model": e["model"]["d_model"],
            "n_params": record.parameters("body_and_head"),
            "n_params_body": record.parameters("body"),
            "n_tokens": record.n_tokens,
            "n_epochs": record.n_epochs,
            "train_flops": record.train_flops["exact"],
            "learning_rate": e["optimizer"]["learning_rate"],
            "n_steps": record.n_steps,
            "loss": record.final.loss,
            "loss_standard_error": record.final.standard_error,
            "suffix_loss": suffix(),
            "seed": record.seed,
            "status": record.status,
            "train_seconds": record.train_seconds,
        }


def fit_of(table: pd.DataFrame, objective: str) -> LawFits:
    """Approaches 2 and 3 on the runs of one objective."""
    return fit_all(table[table.objective == objective].reset_index(drop=True), delta=DELTA)


def described(name: str, fit: LawFits) -> str:
    lines = [f"{name}: {len(fit.runs)} runs; problems: {'; '.join(fit.problems) or 'none'}"]
    for parabola in parabolas_of(fit):
        lines.append(
            f"  {parabola.flops:.2g} FLOPs: N* {parabola.n_opt:,.0f} of {parabola.n_params.min():,.0f} to"
            f" {parabola.n_params.max():,.0f}, D* {parabola.d_opt:,.0f}, loss {parabola.loss_opt:.3f}"
        )
    for law in filter(None, (fit.isoflop, fit.chinchilla)):
        e = law.exponents
        lines.append("  {}: N* ~ C^{:.2f} ({:.2f} to {:.2f}), D* ~ C^{:.2f} ({:.2f} to {:.2f})".format(
            law.law, e["n_opt"], *e["n_opt_interval"], e["d_opt"], *e["d_opt_interval"]))
    if (found := fit.chinchilla) is not None:
        lines.append("  " + ", ".join("{} {:.3g} ({:.3g} to {:.3g})".format(k, v, *found.intervals[k])
                                      for k, v in found.params.items()))
    return "\n".join(lines)


def parabolas_of(fit: LawFits) -> tuple:
    return fit.isoflop.budgets if fit.isoflop else ()


def same_targets(table: pd.DataFrame) -> pd.DataFrame:
    """At each budget, the lowest loss of the second halves of rows, by objective."""
    asked = table.dropna(subset="suffix_loss")
    best = asked.loc[asked.groupby(["budget", "objective"]).suffix_loss.idxmin()]
    return best.pivot(index="budget", columns="objective", values=["suffix_loss", "d_model"])


def draw(table: pd.DataFrame, fits: dict[str, LawFits]) -> Figure:
    """Left, IsoFLOP curves: dots runs, solid parabolas, dashed the law L(N, D), triangles minima.
    Right, N* against C with the lines of approach 2."""
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    curves, optima = figure.subplots(1, 2, width_ratios=(1.5, 1))
    for name, fit in fits.items():
        label, colour = OBJECTIVES[name]
        runs = table[table.objective == name]
        curves.scatter(runs.n_params, runs.loss, s=14, color=colour, alpha=0.75)
        drawn = {float(f"{p.flops:.2g}") for p in parabolas_of(fit)}
        for budget, profile in runs.groupby("budget"):
            if budget not in drawn:  # refused: its lowest run is its smallest, or it is concave
                curves.plot(profile.n_params, profile.loss, ":", color=colour, linewidth=0.9)
                curves.annotate(f"{budget:.2g}", (profile.n_params.iloc[-1], profile.loss.iloc[-1]),
                                xytext=(4, 0), textcoords="offset points", fontsize=7, color=colour)
        for parabola in parabolas_of(fit):
            sizes = np.geomspace(parabola.n_params.min(), parabola.n_params.max(), 50)
            curves.plot(sizes, parabola.loss_at(sizes), color=colour, linewidth=1.2)
            if fit.chinchilla:
                tokens = fit.relation.n_tokens(sizes, parabola.flops)
                law = [fit.chinchilla.loss(n, d) for n, d in zip(sizes, tokens)]
                curves.plot(sizes, law, color=colour, linewidth=0.9, linestyle=(0, (4, 2)), alpha=0.8)
            curves.plot(parabola.n_opt, parabola.loss_opt, "v", color=colour, markersize=9,
                        markeredgecolor="white", zorder=3)
            curves.annotate(f"{parabola.flops:.2g}", (sizes[-1], parabola.loss_at(sizes)[-1]),
                            xytext=(4, 0), textcoords="offset points", fontsize=7, color=colour)
        third = ""
        if fit.chinchilla:
            e = fit.chinchilla.exponents
            third = "; 3: {:.2f} ({:.2f} to {:.2f})".format(e["n_opt"], *e["n_opt_interval"])
        if fit.isoflop is None:
            optima.plot([], [], color=colour, label=f"{label}\n  approach 2: refused{third}")
            continue
        budgets = np.array([p.flops for p in fit.isoflop.budgets])
        line, two = fit.isoflop.n_opt, fit.isoflop.exponents
        optima.plot(budgets, [p.n_opt for p in fit.isoflop.budgets], "v", color=colour)
        ends = np.geomspace(budgets.min() / 1.15, budgets.max() * 1.15, 30)
        at = [line.at(c) for c in ends]
        optima.plot(ends, [n for n, _ in at], color=colour, label=(
            f"{label}\n  approach 2: {two['n_opt']:.2f} ({two['n_opt_interval'][0]:.2f} to"
            f" {two['n_opt_interval'][1]:.2f}){third}"))
        optima.fill_between(ends, *np.array([i for _, i in at]).T, color=colour, alpha=0.12, linewidth=0)
    curves.set(xscale="log", xlabel="parameters N (all but the input embedding)",
               ylabel="validation loss, nats per target token of its own objective",
               title="IsoFLOP curves (levels of different objectives cannot be compared)")
    optima.set(xscale="log", yscale="log", xlabel="training FLOPs C", ylabel="N*",
               title="N* ~ C^a, 90% intervals")
    optima.legend(frameon=False, fontsize=8, loc="upper left")
    optima.set_ylim(top=optima.get_ylim()[1] * 2.2)  # room for the legend
    optima.xaxis.set(major_locator=FixedLocator(sorted(set(table.budget))), minor_locator=NullLocator(),
                     major_formatter=StrMethodFormatter("{x:.2g}"))
    for axis in (curves.xaxis, optima.yaxis):
        axis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(),
                 major_formatter=FuncFormatter(lambda n, _: f"{n / 1e3:.0f}k"))
    for axes in (curves, optima):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    return figure


if __name__ == "__main__":
    main()
