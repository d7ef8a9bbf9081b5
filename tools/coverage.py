"""How often the intervals hold the truth: the table of experiments/calibration, by one command.

    python tools/coverage.py --quick           a look, a few minutes
    python tools/coverage.py --write           500 sweeps a row, hours: results.csv and the page's tables
    python tools/coverage.py --published FOLDER --write     rolling hold-out on published runs

Rows are synthetic sweeps from a known law: surface x design x noise x delta of the fit, by method. The same
arguments give the same numbers, whatever the number of workers. With --only and --methods the table is
made in parts: --write replaces the rows that were made and keeps the others.
"""

import argparse
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process for each core instead

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from rich.progress import Progress  # noqa: E402

from scaling.cores import n_cores  # noqa: E402
from scaling.errors import UserError  # noqa: E402
from scaling.laws.uncertainty.coverage import Scenario, covered  # noqa: E402
from scaling.laws.uncertainty.resampling import METHODS, POSTERIOR  # noqa: E402
from scaling.laws.uncertainty.rolling_coverage import rolling_coverage  # noqa: E402

HOME = pathlib.Path(__file__).parent.parent / "experiments" / "calibration"
sys.path.insert(0, str(HOME))
from coverage_tables import by_setting, rolling, write_page  # noqa: E402
from published_sets import SETS, published_runs  # noqa: E402

DELTAS = (1e-3, 1e-2)
_BLOCK = 10  # sweeps a task
COSTLY = ("profile", POSTERIOR)  # methods that take seconds a sweep
ALL_METHODS = (*METHODS, *COSTLY)

# surface, design, noise, size of the noise of the log loss
SETTINGS = (
    ("chinchilla", "24 runs", "normal", 0.002),
    ("chinchilla", "24 runs", "normal", 0.005),
    ("chinchilla", "24 runs", "normal", 0.01),
    ("chinchilla", "24 runs", "heavy tails", 0.005),
    ("chinchilla", "24 runs", "falling", 0.005),
    ("laptop", "24 runs", "normal", 0.005),
    ("uneven", "24 runs", "normal", 0.005),
    ("chinchilla", "24 runs, 5 checkpoints", "normal", 0.005),
    ("chinchilla", "12 runs", "normal", 0.005),
    ("chinchilla", "66 runs", "normal", 0.005),
    ("chinchilla", "66 runs", "falling", 0.005),
    ("chinchilla", "240 runs", "normal", 0.005),
)
SCENARIOS = tuple(Scenario(*setting, delta) for setting in SETTINGS for delta in DELTAS)
QUICK = tuple(Scenario("chinchilla", design, "normal", 0.005, 1e-3) for design in ("24 runs", "66 runs"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=500, metavar="K", help="a row")
    parser.add_argument("--replicates", type=int, default=99, metavar="K", help="a bootstrap")
    parser.add_argument("--methods", default=",".join(ALL_METHODS), metavar="A,B")
    parser.add_argument("--quick", action="store_true", help="two rows of 50 sweeps")
    parser.add_argument("--only", metavar="TEXT", help="rows whose name holds the text")
    parser.add_argument("--delta", type=float, metavar="D", help="rows fitted with it")
    parser.add_argument("--workers", type=int, default=n_cores(), metavar="K")
    parser.add_argument("--write", action="store_true", help="freeze the CSV in experiments/calibration")
    parser.add_argument("--no-holdout", action="store_true", help="without the forecasts' model error")
    parser.add_argument("--published", metavar="FOLDER", help="the published runs")
    options = parser.parse_args(arguments)
    scenarios = QUICK if options.quick else SCENARIOS
    if options.only:
        scenarios = tuple(s for s in scenarios if options.only in s.name)
    if options.delta:
        scenarios = tuple(s for s in scenarios if s.delta == options.delta)
    methods = tuple(options.methods.split(","))
    try:
        for method in methods:
            if method not in ALL_METHODS:
                raise UserError(f"no method {method!r}; valid: {', '.join(ALL_METHODS)}")
        if not scenarios:
            raise UserError(f"no row's name holds {options.only!r}")
        sweeps = min(options.sweeps, 50) if options.quick else options.sweeps
        if options.published:
            results, shown, file = published(options.published), rolling, "published.csv"
        else:
            results = run(scenarios, methods, sweeps, options.replicates, options.workers,
                          not options.no_holdout)
            shown, file = by_setting, "results.csv"
            if options.write and (HOME / file).is_file():
                results = merged(pd.read_csv(HOME / file), results)
    except UserError as error:
        print(f"coverage.py: {error}", file=sys.stderr)
        return 2
    print(shown(results))
    if options.write:
        results.to_csv(HOME / file, index=False, float_format="%.4g", lineterminator="\n")
        write_page()
    return 0


def _block(
    scenario: Scenario, seeds: range, methods: tuple[str, ...], replicates: int, holdout: bool
) -> list[dict]:
    """Sweeps of one scenario. A sweep that cannot be fitted counts as one whose intervals miss.

    Profiles, posteriors and the rolling hold-out, which cost most of the time, are made for the plainest
    noise alone, and posteriors where no run has several rows.
    """
    rows = []
    plain = (scenario.surface, scenario.noise, scenario.size) == ("chinchilla", "normal", 0.005)
    if not plain:
        methods = tuple(method for method in methods if method not in COSTLY)
    if scenario.design.endswith("checkpoints"):
        methods = tuple(method for method in methods if method != POSTERIOR)
    for seed in seeds:
        try:
            found = covered(scenario, seed, methods, replicates,
                            forecast=holdout and plain and scenario.delta == 1e-3)
        except UserError:
            rows.append({"seed": seed, "method": None, "quantity": None, "inside": False, "width": np.nan})
            continue
        rows += [{"seed": seed, **dataclasses.asdict(one)} for one in found]
    return rows


def run(
    scenarios: tuple[Scenario, ...], methods: tuple[str, ...], sweeps: int, replicates: int, workers: int,
    holdout: bool,
) -> pd.DataFrame:
    """A row for each scenario, method and quantity: coverage, its standard error, the median width."""
    blocks = [range(begin, min(begin + _BLOCK, sweeps)) for begin in range(0, sweeps, _BLOCK)]
    tasks = list(itertools.product(scenarios, blocks))
    results = []
    with Progress(disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("sweeps", total=len(tasks))
        per_scenario = {scenario: [] for scenario in scenarios}
        with concurrent.futures.ProcessPoolExecutor(workers) as pool:
            go = pool.map if workers > 1 else map
            same = [[each] * len(tasks) for each in (methods, replicates, holdout)]
            found = go(_block, *zip(*tasks), *same)
            for (scenario, _), rows in zip(tasks, found):
                per_scenario[scenario] += rows
                progress.advance(bar)
    for scenario, rows in per_scenario.items():
        if not rows:  # none of these methods is made for it
            continue
        frame = pd.DataFrame(rows)
        refused = int(frame.method.isna().sum())
        for (method, quantity), part in frame.dropna(subset="method").groupby(["method", "quantity"],
                                                                               sort=False):
            share = part.inside.sum() / sweeps
            results.append({
                **dataclasses.asdict(scenario), "method": method, "quantity": quantity, "sweeps": sweeps,
                "refused": refused, "replicates": replicates, "coverage": share,
                "standard_error": np.sqrt(share * (1 - share) / sweeps), "width": part.width.median(),
            })
    if not results:
        raise UserError(f"{', '.join(methods)}: made for the plainest noise alone, which no such row has")
    return pd.DataFrame(results)


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Both, without the old rows that were made anew, in the order of SETTINGS."""
    keys = ["surface", "design", "noise", "size", "delta", "method", "quantity"]
    both = pd.concat([old, new]).drop_duplicates(keys, keep="last")
    order = {scenario: i for i, scenario in enumerate(SCENARIOS)}
    at = [(order.get(Scenario(row.surface, row.design, row.noise, row.size_, row.delta), len(order)),
           ALL_METHODS.index(row.method)) for row in both.rename(columns={"size": "size_"}).itertuples()]
    return both.iloc[sorted(range(len(at)), key=at.__getitem__)]


def published(folder: str) -> pd.DataFrame:
    """A row for each published set, delta, and number of groups of compute in the fit: share of the
    held-out runs inside the intervals. Fits to 2 or 3 groups have no or one fold to measure their form's
    error on."""
    rows = []
    for name, delta in itertools.product(SETS, DELTAS):
        asked = rolling_coverage(published_runs(folder, name), delta)
        for few in (True, False):
            row = {"set": name, "delta": delta, "groups_in_fit": "2-3" if few else "4+"}
            these = [a for a in asked if (a.groups < 4) == few]
            for which, part in (("next", [a for a in these if a.adjacent]),
                                ("further", [a for a in these if not a.adjacent])):
                row[f"{which}_runs"] = len(part)
                if not part:
                    continue
                for field in ("inside", "inside_with_model_error"):
                    row[f"{which}_{field}"] = np.mean([getattr(a, field) for a in part])
                row[f"{which}_half_width"] = np.median([a.half_width_with for a in part])
            rows.append(row)
        print(f"{name}, delta {delta:g}", file=sys.stderr)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(main())
