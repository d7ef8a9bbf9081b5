"""The demo's sweep by transferred rates, by one fixed rate and by the demo's own rule, side by side.

    python experiments/transferred_sweep/compare.py                          # from results.csv
    python experiments/transferred_sweep/compare.py --runs transferred fixed # folders of the two sweeps

Prints the tables of the README and draws comparison.png; with --runs writes results.csv first. The
demo's own runs are those of ../demo/results.csv.
"""

import argparse
import pathlib

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, StrMethodFormatter

from scaling.laws import Forecast, LawFits, fit_all, forecast
from scaling.results import read_records, runs_table

HERE = pathlib.Path(__file__).parent
ARMS = {"transferred": "transferred rates", "fixed": "one fixed rate", "rule": "the demo's own rule"}
COLOURS = {"transferred": "#1f6feb", "fixed": "#b3261e", "rule": "#8c959e"}
DELTA = 0.01  # of the Huber loss, as in the demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", nargs=2, metavar=("TRANSFERRED", "FIXED"))
    args = parser.parse_args()
    if args.runs:
        write_results(args.runs)
    runs, targets = read_results()
    fits = {arm: fit_all(runs[runs.arm == arm].reset_index(drop=True), delta=DELTA) for arm in ARMS}
    for table in (by_budget(fits), paired(runs), laws(fits, targets)):
        print(table.round(4).to_string(index=False), end="\n\n")
    draw(runs, targets, fits).savefig(HERE / "comparison.png", dpi=140)


def write_results(folders: list[str]) -> None:
    tables = []
    for arm, folder in zip(ARMS, folders):
        records = read_records(folder)
        table = runs_table(records)
        experiments = [record.experiment for record in records]
        tables.append(pd.DataFrame({
            "arm": arm, "run_id": table.run_id, "role": table.tag_role, "budget": table.tag_budget,
            "d_model": table.tag_d_model, "n_layers": table.tag_n_layers, "n_params": table.n_params,
            "n_tokens": table.n_tokens, "train_flops": table.train_flops, "n_steps": table.n_steps,
            "batch_size": [e["batch_size"] for e in experiments],
            "learning_rate": [e["optimizer"]["learning_rate"] for e in experiments],
            "loss": table.loss, "loss_standard_error": table.loss_standard_error,
            "mistuning_nats": table.get("tag_mistuning_nats"), "seed": table.seed, "status": table.status,
        }))
    both = pd.concat(tables).sort_values(["arm", "budget", "d_model"])
    both.to_csv(HERE / "results.csv", index=False, float_format="%.7g")


def read_results() -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a run of the three arms: the sweeps', and the runs that their forecasts named."""
    demo = pd.read_csv(HERE.parent / "demo" / "results.csv").assign(arm="rule")
    table = pd.concat([pd.read_csv(HERE / "results.csv"), demo], ignore_index=True)
    table = table.sort_values(["arm", "budget", "d_model"])
    return table[table.role == "sweep"], table[table.role == "target"].set_index("arm")


def by_budget(fits: dict[str, LawFits]) -> pd.DataFrame:
    """Lowest loss and N* of each profile; compute: at which transferred rates reach the same loss, over
    the budget."""
    reference = fits["transferred"].isoflop.budgets
    rows = [
        {"budget": p.flops, "arm": arm, "N*": p.n_opt, "loss": p.loss_opt,
         "compute": compute_of(reference, p.loss_opt) / p.flops}
        for arm, fit in fits.items() for p in fit.isoflop.budgets
    ]
    return pd.DataFrame(rows).sort_values("budget", kind="stable", ignore_index=True)


def compute_of(profiles, loss: float) -> float:
    """FLOPs at which the minima pass a loss: straight lines in log C, the last ones carried on."""
    x = np.log([p.flops for p in profiles])
    y = np.array([p.loss_opt for p in profiles])
    k = int(np.clip(np.searchsorted(-y, -loss), 1, len(y) - 1))
    return float(np.exp(x[k] + (loss - y[k]) * (x[k] - x[k - 1]) / (y[k] - y[k - 1])))


def paired(runs: pd.DataFrame) -> pd.DataFrame:
    """By width, the loss of each arm less that of transferred rates at the same N and D, nats: mean over
    budgets; the last row is over all runs, with its standard error."""
    wide = runs.pivot(index=["d_model", "budget"], columns="arm", values="loss")
    less = wide[["fixed", "rule"]].sub(wide.transferred, axis=0)
    table = less.groupby("d_model").mean().reset_index().astype({"d_model": str})
    error = less.std(ddof=1) / len(less) ** 0.5
    total = pd.DataFrame([{"d_model": "all", **less.mean()}, {"d_model": "+-", **error}])
    return pd.concat([table, total], ignore_index=True)


def laws(fits: dict[str, LawFits], targets: pd.DataFrame) -> pd.DataFrame:
    """Exponents, and the forecast of the arm's own target run."""
    rows = []
    for arm, fit in fits.items():
        target = targets.loc[arm]
        foretold = of_target(fit, target)
        low, high = foretold.predictive_interval
        rows.append({
            "arm": arm, "a, approach 2": fit.isoflop.exponents["n_opt"],
            "a, approach 3": fit.chinchilla.exponents["n_opt"], **fit.chinchilla.params,
            "target": target.d_model, "rate": target.get("learning_rate"),
            "forecast": foretold.loss, "low": low, "high": high, "measured": target.loss,
            "error %": 100 * (target.loss / foretold.loss - 1),
        })
    return pd.DataFrame(rows)


def of_target(fit: LawFits, target: pd.Series) -> Forecast:
    return forecast(fit, target.train_flops, target.n_params, target.n_tokens)


def draw(runs: pd.DataFrame, targets: pd.DataFrame, fits: dict[str, LawFits]) -> Figure:
    """Profiles, and the runs that each law chose beyond them; what the fixed rate and the rule lose at each
    width; rates against tokens."""
    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    profiles, losses, rates = figure.subplots(1, 3)
    for arm, name in ARMS.items():
        own = runs[runs.arm == arm]
        for i, (_, group) in enumerate(own.groupby("budget")):
            profiles.plot(group.n_params, group.loss, "-o", color=COLOURS[arm], markersize=3.5,
                          linewidth=1.2, label=name if i == 0 else None)
        for budget in fits[arm].isoflop.budgets:
            profiles.plot(budget.n_opt, budget.loss_opt, "v", color=COLOURS[arm], markersize=8,
                          markeredgecolor="white", zorder=3)
        target = targets.loc[arm]
        profiles.plot(target.n_params, target.loss, "*", color=COLOURS[arm], markersize=12,
                      markeredgecolor="white", zorder=3)
    wide = runs.pivot(index=["d_model", "budget"], columns="arm", values="loss")
    for arm in ("fixed", "rule"):
        less = (wide[arm] - wide.transferred).reset_index(name="less")
        losses.plot(less.d_model, less.less, "o", color=COLOURS[arm], markersize=4, alpha=0.6)
        mean = less.groupby("d_model").less.mean()
        losses.plot(mean.index, mean, color=COLOURS[arm], linewidth=1.4)
    losses.axhline(0, color=COLOURS["transferred"], linewidth=1.2)
    transferred = runs[runs.arm == "transferred"]
    rates.scatter(transferred.n_tokens, transferred.learning_rate, s=transferred.d_model / 2,
                  color=COLOURS["transferred"])
    rates.axhline(runs[runs.arm == "fixed"].learning_rate.iloc[0], color=COLOURS["fixed"])
    steps = np.geomspace(1000, 12000)
    rates.plot(steps * 256, 0.0053 * (steps / 1000) ** -0.15, color=COLOURS["rule"])
    profiles.set(xscale="log", xlabel="N (body and head)", ylabel="loss, nats per token",
                 title="profiles (triangles: minima; stars: 1.4e13 FLOPs)")
    losses.set(xlabel="width", title="loss less that of transferred rates, nats")
    rates.set(xscale="log", yscale="log", xlabel="training tokens",
              title="learning rate as given (dots: larger is wider)")
    for axes in (profiles, losses, rates):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    profiles.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(),
                       major_formatter=FuncFormatter(lambda n, _: f"{n / 1e3:.0f}k"))
    for axis in (rates.xaxis, rates.yaxis):
        axis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(),
                 major_formatter=StrMethodFormatter("{x:.3g}"))
    profiles.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
