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

from scaling.laws import fit_all, forecast
from scaling.results import read_records, runs_table

HERE = pathlib.Path(__file__).parent
ARMS = ("transferred", "fixed", "rule")
NAMES = {"transferred": "transferred rates", "fixed": "one fixed rate", "rule": "the demo's own rule"}
COLOURS = {"transferred": "#1f6feb", "fixed": "#b3261e", "rule": "#8c959e"}
TARGET = 1.4e13  # FLOPs
DELTA = 0.01  # of the Huber loss, as in the demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", nargs=2, metavar=("TRANSFERRED", "FIXED"))
    args = parser.parse_args()
    if args.runs:
        write_results(args.runs)
    table = read_results()
    fits = {arm: fit_all(as_runs(table, arm), delta=DELTA) for arm in ARMS}
    print(by_budget(fits).round(4).to_string(index=False), end="\n\n")
    print(paired(table).round(4).to_string(index=False), end="\n\n")
    print(laws(table, fits).round(3).to_string(index=False))
    draw(table, fits).savefig(HERE / "comparison.png", dpi=140)


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
    both = pd.concat(tables).sort_values(["arm", "role", "budget", "d_model"])
    both.to_csv(HERE / "results.csv", index=False, float_format="%.7g")


def read_results() -> pd.DataFrame:
    """Both sweeps of this study and the demo's, one row a run."""
    demo = pd.read_csv(HERE.parent / "demo" / "results.csv").assign(arm="rule")
    return pd.concat([pd.read_csv(HERE / "results.csv"), demo], ignore_index=True)


def as_runs(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The sweep's runs of one arm, as fits take them."""
    chosen = table[(table.arm == arm) & (table.role == "sweep")]
    columns = ["run_id", "n_params", "n_tokens", "train_flops", "loss", "status"]
    return chosen[columns].reset_index(drop=True)


def by_budget(fits: dict) -> pd.DataFrame:
    """Lowest loss and N* of each profile; compute: of transferred rates that reaches the same loss, over
    the budget."""
    reference = fits["transferred"].isoflop.budgets
    rows = []
    for arm, fit in fits.items():
        for profile in fit.isoflop.budgets:
            rows.append({
                "arm": arm, "budget": profile.flops, "N*": profile.n_opt, "loss": profile.loss_opt,
                "compute": compute_of(reference, profile.loss_opt) / profile.flops,
            })
    return pd.DataFrame(rows).sort_values("budget", kind="stable", ignore_index=True)


def compute_of(profiles, loss: float) -> float:
    """FLOPs at which the minima pass a loss: straight lines in log C, the last ones carried on."""
    x = np.log([p.flops for p in profiles])
    y = np.array([p.loss_opt for p in profiles])
    k = int(np.clip(np.searchsorted(-y, -loss), 1, len(y) - 1))
    return float(np.exp(x[k] + (loss - y[k]) * (x[k] - x[k - 1]) / (y[k] - y[k - 1])))


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """By budget, the loss of every size less that of the same size under transferred rates, nats."""
    sweep = table[table.role == "sweep"].assign(budget=lambda t: t.train_flops.map(nearest_budget))
    wide = sweep.pivot(index=["budget", "d_model"], columns="arm", values="loss")
    rows = []
    for budget, losses in wide.groupby("budget"):
        for arm in ARMS[1:]:
            less = losses[arm] - losses.transferred
            rows.append({"arm": arm, "budget": budget, "mean": less.mean(), "smallest size": less.iloc[0],
                         "largest size": less.iloc[-1]})
    return pd.DataFrame(rows)


def nearest_budget(flops: float) -> float:
    budgets = np.array([3.2e11, 7e11, 1.5e12, 3.3e12])
    return float(budgets[np.abs(np.log(budgets / flops)).argmin()])


def laws(table: pd.DataFrame, fits: dict) -> pd.DataFrame:
    """Exponents, and the forecast at the target beside what its run measured."""
    rows = []
    for arm, fit in fits.items():
        target = table[(table.arm == arm) & (table.role == "target")].iloc[0]
        foretold = of_target(fit, target)
        low, high = foretold.predictive_interval
        n_opt = fit.isoflop.exponents
        rows.append({
            "arm": arm, "a, approach 2": n_opt["n_opt"], "a, approach 3": fit.chinchilla.exponents["n_opt"],
            "E": fit.chinchilla.params["E"], "forecast": foretold.loss, "low": low, "high": high,
            "width": target.d_model, "measured": target.loss,
            "error %": 100 * (target.loss / foretold.loss - 1), "inside": low <= target.loss <= high,
        })
    return pd.DataFrame(rows)


def of_target(fit, target: pd.Series):
    """The forecast of the very run that was trained."""
    return forecast(fit, target.train_flops, target.n_params, target.n_tokens)


def draw(table: pd.DataFrame, fits: dict) -> Figure:
    """Profiles, minima against compute with forecasts and targets, and rates against tokens."""
    figure = Figure(figsize=(13.5, 4.4), layout="constrained")
    profiles, minima, rates = figure.subplots(1, 3)
    for arm in ARMS:
        runs = table[(table.arm == arm) & (table.role == "sweep")]
        runs = runs.assign(budget=runs.train_flops.map(nearest_budget))
        for i, (_, group) in enumerate(runs.groupby("budget")):
            group = group.sort_values("n_params")
            profiles.plot(group.n_params, group.loss, "-o", color=COLOURS[arm], markersize=3.5,
                          linewidth=1.2, label=NAMES[arm] if i == 0 else None)
        budgets = fits[arm].isoflop.budgets
        minima.plot([b.flops for b in budgets], [b.loss_opt for b in budgets], "-o", color=COLOURS[arm],
                    markersize=4, linewidth=1.2)
        target = table[(table.arm == arm) & (table.role == "target")].iloc[0]
        foretold = of_target(fits[arm], target)
        shift = {"transferred": 1.0, "fixed": 1.06, "rule": 0.94}[arm]
        low, high = foretold.predictive_interval
        minima.errorbar(TARGET * shift, foretold.loss, [[foretold.loss - low], [high - foretold.loss]],
                        color=COLOURS[arm], fmt="_", capsize=3, linewidth=1)
        minima.plot(TARGET * shift, target.loss, "*", color=COLOURS[arm], markersize=11)
        if arm != "rule":
            rates.scatter(runs.n_tokens, runs.learning_rate, s=runs.d_model / 2, color=COLOURS[arm],
                          label=NAMES[arm], alpha=0.8)
    steps = np.geomspace(1000, 15000)
    rates.plot(steps * 256, 0.0053 * (steps / 1000) ** -0.15, color=COLOURS["rule"], label=NAMES["rule"])
    profiles.set(xscale="log", xlabel="N (body and head)", ylabel="loss, nats per token",
                 title="profiles at four budgets")
    minima.set(xscale="log", xlabel="C, FLOPs", title="minima; forecast (bar) and run (star) at 1.4e13")
    rates.set(xscale="log", yscale="log", xlabel="training tokens",
              title="learning rate as given (dots: larger is wider)")
    for axes in (profiles, minima, rates):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    profiles.legend(frameon=False, fontsize=8)
    rates.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
