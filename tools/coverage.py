"""How often the intervals hold the truth: the table of experiments/calibration, by one command.

    python tools/coverage.py --quick           a look, a few minutes
    python tools/coverage.py --write           500 sweeps a row: results.csv and the tables of the README
    python tools/coverage.py --published published          adds the rolling hold-out on published runs

Rows are synthetic sweeps from a known law: surface x design x noise x delta of the fit, by method. The same
arguments give the same numbers, whatever the number of workers.
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

from scaling.errors import UserError  # noqa: E402
from scaling.laws.uncertainty.coverage import Scenario, covered  # noqa: E402
from scaling.laws.uncertainty.resampling import DEFAULT, METHODS  # noqa: E402

HOME = pathlib.Path(__file__).parent.parent / "experiments" / "calibration"
DELTAS = (1e-3, 1e-2)
_BLOCK = 10  # sweeps a task

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
    parser.add_argument("--methods", default=",".join([*METHODS, "profile"]), metavar="A,B")
    parser.add_argument("--quick", action="store_true", help="two rows of 50 sweeps")
    parser.add_argument("--only", metavar="TEXT", help="rows whose name holds the text")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="K")
    parser.add_argument("--write", action="store_true", help="freeze results.csv and the README's tables")
    parser.add_argument("--published", metavar="FOLDER", help="the published runs")
    options = parser.parse_args(arguments)
    scenarios = QUICK if options.quick else SCENARIOS
    if options.only:
        scenarios = tuple(s for s in scenarios if options.only in s.name)
    methods = tuple(options.methods.split(","))
    try:
        for method in methods:
            if method not in (*METHODS, "profile"):
                raise UserError(f"no method {method!r}; valid: {', '.join([*METHODS, 'profile'])}")
        if not scenarios:
            raise UserError(f"no row's name holds {options.only!r}")
        sweeps = min(options.sweeps, 50) if options.quick else options.sweeps
        results = run(scenarios, methods, sweeps, options.replicates, options.workers)
    except UserError as error:
        print(f"coverage.py: {error}", file=sys.stderr)
        return 2
    print(table(results))
    if options.write:
        results.to_csv(HOME / "results.csv", index=False, float_format="%.4g", lineterminator="\n")
    return 0


def _block(scenario: Scenario, seeds: range, methods: tuple[str, ...], replicates: int) -> list[dict]:
    """Sweeps of one scenario. A sweep that cannot be fitted counts as one whose intervals miss.

    Profiles and the rolling hold-out, which cost most of the time, are made for the plainest noise alone.
    """
    rows = []
    plain = (scenario.surface, scenario.noise, scenario.size) == ("chinchilla", "normal", 0.005)
    if not plain:
        methods = tuple(method for method in methods if method != "profile")
    for seed in seeds:
        try:
            found = covered(scenario, seed, methods, replicates, forecast=plain and scenario.delta == 1e-3)
        except UserError:
            rows.append({"seed": seed, "method": None, "quantity": None, "inside": False, "width": np.nan})
            continue
        rows += [{"seed": seed, **dataclasses.asdict(one)} for one in found]
    return rows


def run(
    scenarios: tuple[Scenario, ...], methods: tuple[str, ...], sweeps: int, replicates: int, workers: int
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
            found = go(_block, *zip(*tasks), [methods] * len(tasks), [replicates] * len(tasks))
            for (scenario, _), rows in zip(tasks, found):
                per_scenario[scenario] += rows
                progress.advance(bar)
    for scenario, rows in per_scenario.items():
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
    return pd.DataFrame(results)


def table(results: pd.DataFrame) -> str:
    """Markdown: a row for each scenario and method, coverage in percent by quantity."""
    quantities = list(dict.fromkeys(results.quantity))
    keys = ["surface", "design", "noise", "size", "delta", "method"]
    lines = ["| " + " | ".join(keys + quantities) + " |", "|---" * (len(keys) + len(quantities)) + "|"]
    for key, part in results.groupby(keys, sort=False):
        share = part.set_index("quantity").coverage
        cells = [f"{100 * share[q]:.0f}" if q in share else "" for q in quantities]
        surface, design, noise, size, delta, method = key
        shown = f"**{method}**" if method == DEFAULT else method
        lines.append("| " + " | ".join(
            [surface, design, noise, f"{100 * size:g}%", f"{delta:g}", shown, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
