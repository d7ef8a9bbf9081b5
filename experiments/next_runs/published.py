"""Expected against realised on published runs: python experiments/next_runs/published.py FOLDER

FOLDER has chinchilla_epoch.csv, the points that Besiroglu et al. (2024) read off figure 4 of Hoffmann et
al. (2022), of which the 5 highest losses are left out, as there; and misfitting_final.csv, the runs of
Li et al. (2025). Writes `published_widths.csv` (the width that half of the runs says all of them will
give) and `published_next_runs.csv` (to 24 of Hoffmann et al.'s runs five more of those held back:
chosen by the design, or at random for at most the same FLOPs).
"""

import argparse
import pathlib

import numpy as np
import pandas as pd
from synthetic import HERE, LEVEL, fitted, write

from scaling.laws.design import Candidates, propose
from scaling.laws.design.information import covariance_root, sensitivities
from scaling.laws.design.targets import target
from scaling.laws.uncertainty.bootstrap import interval


def read(path: pathlib.Path) -> pd.DataFrame:
    runs = pd.read_csv(path)
    if "dropped_by_epoch" in runs:
        runs = runs[~runs["dropped_by_epoch"].astype(bool)]
    runs = runs[["n_params", "n_tokens", "loss"]].drop_duplicates().reset_index(drop=True)
    return runs.assign(train_flops=6.0 * runs["n_params"] * runs["n_tokens"])


def width(wanted, law) -> float:
    return np.ptp(interval(wanted.function(law.draws), LEVEL))


def widths(name_of_data: str, runs: pd.DataFrame, splits: int, bootstrap: int):
    everything = fitted(runs, bootstrap, 0)
    columns = {c: runs[c].to_numpy() for c in ("n_params", "n_tokens")}
    half = len(runs) // 2
    parts = [("random half", np.random.default_rng(s).permutation(len(runs))[:half])
             for s in range(splits)]
    parts += [("lower half of FLOPs", np.argsort(runs["train_flops"].to_numpy(), kind="stable")[:half])]
    rows = []
    for name, part in parts:
        law = fitted(runs.iloc[part], bootstrap, 0)
        jacobian = sensitivities(law.form, law.point.theta, columns)
        few, all_of_them = covariance_root(jacobian[part]), covariance_root(jacobian)
        for goal in ("alpha", "n_exponent", "n_opt@1e23", "loss@1e23"):
            wanted = target(goal, law.form, law.relation, float(runs["train_flops"].max()))
            slope, now = wanted.gradient(law.point.theta), width(wanted, law)
            rows.append({
                "fitted": name, "target": goal, "now": now,
                "expected": now * np.linalg.norm(slope @ all_of_them) / np.linalg.norm(slope @ few),
                "realised": width(wanted, everything),
            })
    table = pd.DataFrame(rows)
    table["ratio"] = np.log(table.expected / table.realised)
    for (name, goal), part in table.groupby(["fitted", "target"], sort=False):
        yield {
            "data": name_of_data, "fitted": name, "target": goal, "splits": len(part),
            **{c: np.exp(np.log(part[c]).mean()) for c in ("now", "expected", "realised")},
            "expected_over_realised": np.exp(part.ratio.mean()),
            "deviation_of_log_ratio": part.ratio.std(ddof=0),
        }


def next_runs(runs: pd.DataFrame, splits: int, rivals: int, bootstrap: int, start=24, k=5, budget=1e21):
    everything = fitted(runs, 20, 0)
    ratio = (runs["n_tokens"] / runs["n_params"]).to_numpy()
    for goal in ("n_exponent", "loss@1e23"):
        rows = []
        for seed in range(splits):
            part = np.random.default_rng(seed).permutation(len(runs))[:start]
            law = fitted(runs.iloc[part], bootstrap, 0)
            wanted = target(goal, law.form, law.relation, float(runs["train_flops"].max()))
            truth = wanted.function(everything.point.theta[None])[0]
            for guarded in (True, False):
                low, high = np.quantile(ratio[part], [0.05, 0.95]) if guarded else (0, np.inf)
                rest = np.setdiff1d(np.flatnonzero((ratio >= low) & (ratio <= high)), part)
                columns = ("n_params", "n_tokens", "train_flops")
                candidates = Candidates(*(runs[c].to_numpy(float)[rest] for c in columns))

                def after(chosen) -> tuple[float, float]:
                    more = fitted(runs.iloc[np.concatenate([part, rest[chosen]])], bootstrap, 0)
                    return width(wanted, more), wanted.function(more.point.theta[None])[0] - truth

                proposal = propose(law, goal, budget, k, candidates, repeats=False)
                rng = np.random.default_rng(seed)
                others = [after(_random(candidates.flops, budget, k, rng)) for _ in range(rivals)]
                own = after([run.candidate for run in proposal.runs])
                rows.append({
                    "guarded": guarded, "now": width(wanted, law), "expected": 1 - proposal.narrowing,
                    "proposed": own[0], "random": np.exp(np.mean([np.log(w) for w, _ in others])),
                    "error_now": wanted.function(law.point.theta[None])[0] - truth,
                    "error": own[1], "error_random": np.sqrt(np.mean([e**2 for _, e in others])),
                })
        for guarded, part in pd.DataFrame(rows).groupby("guarded", sort=False):
            rms = {c: np.sqrt((part[c] ** 2).mean()) for c in ("error_now", "error", "error_random")}
            yield {
                "target": goal, "candidates": "middle 90% of D/N" if guarded else "all held back",
                "splits": len(part), "expected_over_now": np.exp(np.log(part.expected).mean()),
                "proposed_over_now": np.exp(np.log(part.proposed / part.now).mean()),
                "random_over_now": np.exp(np.log(part.random / part.now).mean()),
                "rms_error_now": rms["error_now"], "rms_error_proposed": rms["error"],
                "rms_error_random": rms["error_random"],
            }


def _random(flops: np.ndarray, budget: float, k: int, rng: np.random.Generator) -> list[int]:
    """Up to k runs in random order, each that still fits."""
    chosen: list[int] = []
    for i in rng.permutation(len(flops)):
        if len(chosen) < k and flops[chosen].sum() + flops[i] <= budget:
            chosen.append(int(i))
    return chosen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--splits", type=int, default=30)
    parser.add_argument("--rivals", type=int, default=2)
    parser.add_argument("--bootstrap", type=int, default=200)
    args = parser.parse_args()
    tables = {name: read(args.folder / f"{name}.csv") for name in ("chinchilla_epoch", "misfitting_final")}
    write(HERE / "published_widths.csv",
          [row for each in tables.items() for row in widths(*each, args.splits, args.bootstrap)])
    write(HERE / "published_next_runs.csv",
          next_runs(tables["chinchilla_epoch"], args.splits, args.rivals, args.bootstrap))
