"""Expected against realised on synthetic sweeps: python experiments/next_runs/synthetic.py

A law that is known, runs with normal noise of log loss. Writes `widths.csv` (is the width that
`scaling plan` expects the width that fits of such sweeps get, and is it that of their errors?) and
`next_runs.csv` (three more runs for the budget of one row of the sweep: proposed, or otherwise).
"""

import argparse
import csv
import os
import pathlib

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from scaling.laws import SIX_N_D, fit
from scaling.laws.design import Candidates, assumed_law, expected_intervals, propose
from scaling.laws.design.targets import target
from scaling.laws.forms import FORMS
from scaling.laws.uncertainty.bootstrap import interval

HERE = pathlib.Path(__file__).parent
FORM = FORMS["chinchilla"]
TRUTH = FORM.theta({"E": 2.0, "A": 60.0, "B": 250.0, "alpha": 0.37, "beta": 0.42})
DESIGNS = {"4 x 6": (4, 6, 3e11, 2.4e12), "9 x 7": (9, 7, 3e11, 3e13)}  # budgets, sizes, FLOPs
SPREAD = 2.8  # of sizes, either side of each budget's optimum
LEVEL = 0.9


def design(budgets: int, sizes: int, low: float, high: float) -> pd.DataFrame:
    rows = []
    for flops in np.geomspace(low, high, budgets):
        middle = FORM.allocation(TRUTH, flops, SIX_N_D)[0]
        n = middle * np.geomspace(1 / SPREAD, SPREAD, sizes)
        rows += [{"n_params": a, "n_tokens": flops / 6 / a, "train_flops": flops} for a in n]
    return pd.DataFrame(rows)


def measured(runs: pd.DataFrame, noise: float, rng: np.random.Generator) -> pd.DataFrame:
    log_loss = FORM.log_value(TRUTH, {c: runs[c].to_numpy(float) for c in FORM.columns})[0]
    return runs.assign(loss=np.exp(log_loss + noise * rng.standard_normal(len(runs))))


def fitted(runs: pd.DataFrame, bootstrap: int, seed: int, delta: float = 1e-3):
    return fit("chinchilla", runs, bootstrap=bootstrap, seed=seed, delta=delta, holdout=False, starts=16)


def widths(sweeps: int, bootstrap: int):
    for name, shape in DESIGNS.items():
        runs = design(*shape)
        columns = {c: runs[c].to_numpy() for c in FORM.columns}
        beyond = f"{10 * shape[-1]:.3g}"
        goals = ["alpha", "n_exponent", f"n_opt@{beyond}", f"loss@{beyond}"]
        for noise, delta in ((0.003, 1e-3), (0.003, 1e-2), (0.006, 1e-3)):
            expected = expected_intervals(TRUTH, columns, SIX_N_D, goals, noise, delta, LEVEL)
            prior = assumed_law(columns["n_params"], columns["n_tokens"], SIX_N_D)
            assumed = expected_intervals(prior, columns, SIX_N_D, goals, noise, delta, LEVEL)
            wanted = [target(g, FORM, SIX_N_D, shape[-1]) for g in goals]
            truth = np.array([w.function(TRUTH[None])[0] for w in wanted])
            errors, realised, inside = [], [], []
            for seed in range(sweeps):
                law = fitted(measured(runs, noise, np.random.default_rng(seed)), bootstrap, seed, delta)
                errors.append([w.function(law.point.theta[None])[0] for w in wanted] - truth)
                ends = np.array([interval(w.function(law.draws), LEVEL) for w in wanted])
                realised.append(ends[:, 1] - ends[:, 0])
                inside.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
            realised = np.exp(np.log(realised).mean(axis=0))
            rmse = np.sqrt(np.square(errors).mean(axis=0))
            for i, goal in enumerate(goals):
                width, per_deviation = 2 * expected[i].half_width, 2 * expected[i].quantile
                yield {
                    "design": name, "noise": noise, "delta": delta, "target": goal, "sweeps": sweeps,
                    "expected": width, "bootstrap": realised[i], "spread": per_deviation * rmse[i],
                    "expected_over_bootstrap": width / realised[i],
                    "expected_over_spread": width / (per_deviation * rmse[i]),
                    "covered": np.mean(inside, axis=0)[i],
                    "from_assumed_law": 2 * assumed[i].half_width,
                }


def next_runs(sweeps: int, bootstrap: int, noise: float = 0.003, k: int = 3):
    """Three more runs for at most a row's FLOPs, to a sweep of 4 x 6."""
    shape = DESIGNS["4 x 6"]
    runs, largest = design(*shape), shape[-1]
    budget = shape[1] * largest
    goals = ["n_exponent", f"loss@{10 * largest:.3g}"]
    for goal in goals:
        wanted = target(goal, FORM, SIX_N_D, largest)
        truth = wanted.function(TRUTH[None])[0]
        rows = []
        for seed in range(sweeps):
            rng = np.random.default_rng(seed)
            before = measured(runs, noise, rng)
            law = fitted(before, bootstrap, seed)
            candidates = Candidates.around(law, budget)
            proposal = propose(law, goal, budget, k, candidates)
            middle = law.optimal(budget / k)["n_opt"] * np.array([0.6, 1.0, 1.6])
            choices = {
                "proposed": _runs([r.n_params for r in proposal.runs], [r.n_tokens for r in proposal.runs]),
                "a budget's optimum": _runs(middle, budget / k / 6 / middle),
                "random": _random(candidates, budget, k, rng),
            }
            now = wanted.function(law.draws)
            for choice, new in choices.items():
                after = fitted(pd.concat([before, measured(new, noise, rng)]), bootstrap, seed)
                rows.append({
                    "choice": choice, "now": np.ptp(interval(now, LEVEL)),
                    "after": np.ptp(interval(wanted.function(after.draws), LEVEL)),
                    "expected": np.ptp(interval(now, LEVEL)) * (1 - proposal.narrowing),
                    "error": wanted.function(after.point.theta[None])[0] - truth,
                    "error_now": wanted.function(law.point.theta[None])[0] - truth,
                })
        table = pd.DataFrame(rows)
        for choice, part in table.groupby("choice", sort=False):
            yield {
                "target": goal, "choice": choice, "sweeps": sweeps,
                "width_over_now": np.exp(np.log(part.after / part.now).mean()),
                "expected_over_now": (np.exp(np.log(part.expected / part.now).mean())
                                      if choice == "proposed" else ""),
                "rmse": np.sqrt((part.error**2).mean()),
                "rmse_over_now": np.sqrt((part.error**2).mean() / (part.error_now**2).mean()),
            }


def _runs(n_params, n_tokens) -> pd.DataFrame:
    n, d = np.array(n_params, float), np.array(n_tokens, float)
    return pd.DataFrame({"n_params": n, "n_tokens": d, "train_flops": 6 * n * d})


def _random(candidates: Candidates, budget: float, k: int, rng: np.random.Generator) -> pd.DataFrame:
    """Up to k candidates in random order, each that still fits."""
    chosen, left = [], budget
    for i in rng.permutation(len(candidates)):
        if candidates.flops[i] <= left and len(chosen) < k:
            chosen.append(i)
            left -= candidates.flops[i]
    return _runs(candidates.n_params[chosen], candidates.n_tokens[chosen])


def write(path: pathlib.Path, rows) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
    print(pd.read_csv(path).to_string(index=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--bootstrap", type=int, default=200)
    args = parser.parse_args()
    write(HERE / "widths.csv", widths(args.sweeps, args.bootstrap))
    write(HERE / "next_runs.csv", next_runs(args.sweeps, args.bootstrap))
