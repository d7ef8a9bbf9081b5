"""Speed of fits, ours and SciPy's side by side on one data set, in CPU-seconds and wall.

    python tools/bench_fit.py                # about a minute: SciPy on a sample of its starts, scaled up
    python tools/bench_fit.py --full         # every one of the 4,500 starts: about ten minutes
    python tools/bench_fit.py --data FOLDER  # the digitised Chinchilla runs, chinchilla_epoch.csv in it

Without the published runs (option or SCALING_PUBLISHED_DATA) it makes as many, of the published law
with noise like theirs. SciPy's side is what the field runs: L-BFGS-B with default tolerances and a
numeric gradient from the grid of Hoffmann et al.; for bootstraps BFGS, which we give the exact
gradient and the best fit to start from. Nothing else should be running.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: tiny matrices, threads only wait

import argparse
import dataclasses
import itertools
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import huber, logsumexp

from scaling.commands.tables import console, table
from scaling.laws.fitting.point_fit import PointFit, fit_form
from scaling.laws.forms.chinchilla import CHINCHILLA
from scaling.laws.uncertainty.bootstrap import case_weights

DELTA = 1e-3
GRID = (
    np.arange(0, 30, 5.0), np.arange(0, 30, 5.0), np.arange(-1, 1.5, 0.5),
    np.arange(0, 2.5, 0.5), np.arange(0, 2.5, 0.5),
)  # log A, log B, log E, alpha, beta: 4,500 starts
OPTIMUM = 1e-4  # an objective within this share of the lowest counts as at the optimum


@dataclasses.dataclass(frozen=True)
class Row:
    """cpu, wall: seconds. note: what came of it."""

    what: str
    cpu: float
    wall: float
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=os.environ.get("SCALING_PUBLISHED_DATA"), metavar="FOLDER",
                        help="folder of the published runs (default: $SCALING_PUBLISHED_DATA)")
    parser.add_argument("--full", action="store_true", help="all 4,500 of SciPy's starts")
    parser.add_argument("--starts", type=int, default=60, help="SciPy's starts without --full")
    parser.add_argument("--bootstraps", type=int, default=4000)
    parser.add_argument("--scipy-bootstraps", type=int, default=40)
    parser.add_argument("--many", type=int, default=100_000, help="runs of the large fit")
    parser.add_argument("--gpu", action="store_true", help="a million bootstraps too, if there is a GPU")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    runs, origin = load(args.data)
    rows, facts = bench(runs, args)
    if args.json:
        print(json.dumps({"data": origin, "rows": [dataclasses.asdict(r) for r in rows], **facts}))
        return
    shown = table("what", ">CPU s", ">wall s", "result", title=f"{len(runs)} runs: {origin}")
    for row in rows:
        shown.add_row(row.what, f"{row.cpu:.3f}", f"{row.wall:.3f}", row.note)
    console().print(shown)
    console().print(f"point fit: {facts['times_faster']:,.0f} times less CPU than L-BFGS-B over its starts")


def bench(runs: pd.DataFrame, args: argparse.Namespace) -> tuple[list[Row], dict]:
    columns = {"n_params": runs.n_params.to_numpy(float), "n_tokens": runs.n_tokens.to_numpy(float)}
    loss = runs.loss.to_numpy(float)
    fit_form(CHINCHILLA, columns, loss, DELTA)  # warm: imports, caches
    point, cpu, wall = timed(lambda: fit_form(CHINCHILLA, columns, loss, DELTA), repeats=5)
    receipt = point.receipt
    rows = [Row(f"ours: point fit, {receipt.n_starts} starts", cpu, wall,
                f"{receipt.starts_at_optimum:.0%} at the optimum, objective {point.objective:.9e}")]
    theirs, lowest = scipy_starts(columns, loss, point.objective, None if args.full else args.starts)
    rows.append(theirs)
    weights = case_weights(np.arange(len(loss)), args.bootstraps, seed=0)
    (theta, good), boot_cpu, boot_wall = timed(lambda: point.refit(np.log(loss)[None], weights), repeats=3)
    note = f"{good.sum():,} converged"
    rows.append(Row(f"ours: {args.bootstraps:,} bootstraps", boot_cpu, boot_wall, note))
    some = slice(0, args.scipy_bootstraps)
    scipy_row, excess = scipy_bootstraps(
        point, columns, loss, weights[some], theta[some], args.bootstraps
    )
    rows += [scipy_row, *large(args.many)]
    rows += [cold_start(runs, 1000), cold_start(runs, args.bootstraps)]
    if args.gpu:
        rows.append(accelerated(point, 1_000_000))
    facts = {
        "objective": point.objective, "scipy_objective": lowest, "times_faster": theirs.cpu / cpu,
        "bootstrap_times_faster": scipy_row.cpu / boot_cpu,
        "highest_excess_over_scipy": excess,
    }
    return rows, facts


def load(folder: str | None) -> tuple[pd.DataFrame, str]:
    """The 240 digitised Chinchilla runs, or a synthetic twin."""
    if folder:
        runs = pd.read_csv(pathlib.Path(folder) / "chinchilla_epoch.csv")
        return runs[~runs.dropped_by_epoch][["n_params", "n_tokens", "loss"]], "digitised Chinchilla runs"
    return synthetic(240, noise=0.006), "synthetic, the published law with noise"


def synthetic(n: int, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    flops = 10 ** rng.uniform(18.5, 21.5, n)
    n_params = 0.1 * np.sqrt(flops) * np.exp(rng.normal(0, 1.0, n))
    n_tokens = flops / (6 * n_params)
    law = 1.8172 + 482.01 * n_params**-0.3478 + 2085.43 * n_tokens**-0.3658
    loss = law * np.exp(noise * rng.standard_t(3, n))
    return pd.DataFrame({"n_params": n_params, "n_tokens": n_tokens, "loss": loss})


def timed(call, repeats: int = 1):
    """Its result, and the median CPU and wall seconds of this process."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time(), time.perf_counter()
        result = call()
        seconds.append((time.process_time() - begin[0], time.perf_counter() - begin[1]))
    cpu, wall = np.median(seconds, axis=0)
    return result, float(cpu), float(wall)


def scipy_starts(columns, loss, ours: float, sample: int | None) -> tuple[Row, float]:
    """L-BFGS-B from the field's grid, or from a random part of it with times scaled up."""
    log_n, log_d, log_loss = np.log(columns["n_params"]), np.log(columns["n_tokens"]), np.log(loss)

    def objective(v):
        a, b, e, alpha, beta = v
        terms = (a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e))
        return huber(DELTA, logsumexp(terms, axis=0) - log_loss).sum()

    starts = np.array(list(itertools.product(*GRID)))
    some = starts if sample is None else starts[np.random.default_rng(0).permutation(len(starts))[:sample]]
    with np.errstate(all="ignore"):
        found, cpu, wall = timed(
            lambda: np.array([minimize(objective, s, method="L-BFGS-B").fun for s in some])
        )
    lowest, scale = float(np.nanmin(found)), len(starts) / len(some)
    share = np.mean(found <= min(lowest, ours) * (1 + OPTIMUM))
    name = f"SciPy: L-BFGS-B, {len(starts):,} starts"
    if scale > 1:
        name += f" (from {len(some)})"
    note = f"{share:.0%} at the optimum, lowest {lowest:.9e}"
    return Row(name, cpu * scale, wall * scale, note), lowest


def scipy_bootstraps(point: PointFit, columns, loss, weights, theta, count: int) -> tuple[Row, float]:
    """BFGS per replicate from the best fit; also by how much any of ours lies above SciPy's."""
    log_n, log_d, log_loss = np.log(columns["n_params"]), np.log(columns["n_tokens"]), np.log(loss)

    def objective(v, weight):  # v: log E, log A, log B, alpha, beta, as our theta
        terms = np.stack([np.full_like(log_n, v[0]), v[1] - v[3] * log_n, v[2] - v[4] * log_d])
        law = logsumexp(terms, axis=0)
        share, residual = np.exp(terms - law), law - log_loss
        pull = weight * np.clip(residual, -DELTA, DELTA)
        by_term = share @ pull
        slopes = [-(share[1] * log_n) @ pull, -(share[2] * log_d) @ pull]
        return weight @ huber(DELTA, residual), np.concatenate([by_term, slopes])

    found, cpu, wall = timed(lambda: [
        minimize(objective, point.theta, (w,), jac=True, method="BFGS").fun for w in weights
    ])
    ours = np.array([objective(t, w)[0] for t, w in zip(theta, weights)])
    excess = float(np.max(ours / np.array(found) - 1))
    scale = count / len(weights)
    above = int((ours > np.array(found) * (1 + 1e-9)).sum())
    note = f"ours is above SciPy's in {above} of {len(weights)}"
    name = f"SciPy: BFGS, {count:,} bootstraps (from {len(weights)})"
    return Row(name, cpu * scale, wall * scale, note), excess


def large(n: int, bootstraps: int = 200) -> list[Row]:
    runs = synthetic(n, noise=0.006)
    columns = {"n_params": runs.n_params.to_numpy(), "n_tokens": runs.n_tokens.to_numpy()}
    loss = runs.loss.to_numpy()
    point, cpu, wall = timed(lambda: fit_form(CHINCHILLA, columns, loss, DELTA))
    note = f"gradient {point.receipt.gradient:.0e}, starts on {point.receipt.starts_on:,} of the runs"
    rows = [Row(f"ours: point fit of {n:,} runs", cpu, wall, note)]
    weights = case_weights(np.arange(n), bootstraps, seed=0)
    (_, good), cpu, wall = timed(lambda: point.refit(np.log(loss)[None], weights))
    name = f"ours: {bootstraps} bootstraps of {n:,} runs"
    return [*rows, Row(name, cpu, wall, f"{good.sum():,} converged")]


def accelerated(point: PointFit, bootstraps: int) -> Row:
    """On the first GPU, after compiling on a small number."""
    import jax

    from scaling.laws.fitting.batched import bootstrap

    device, name = jax.devices()[0], f"ours: {bootstraps:,} bootstraps on a GPU"
    if device.platform == "cpu":
        return Row(name, 0.0, 0.0, "not run: JAX sees no GPU here")
    optimum = point.centring.to_centred(point.theta)
    bootstrap(point.problem, optimum, 10)
    found, cpu, wall = timed(lambda: bootstrap(point.problem, optimum, bootstraps))
    return Row(name, cpu, wall, f"{found.converged.mean():.3%} converged, {device.device_kind}")


def cold_start(runs: pd.DataFrame, bootstraps: int) -> Row:
    """The whole command, from the start of the interpreter, with hold-out and allocation."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "runs.csv"
        runs.to_csv(path, index=False)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "scaling", "fit", str(path), "--law", "chinchilla",
             "--bootstrap", str(bootstraps), "--json"],
            check=True, capture_output=True, text=True,
        )
        wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    objective = json.loads(done.stdout)["objective"]
    name = f"ours: `scaling fit --bootstrap {bootstraps}`, cold"
    return Row(name, cpu, wall, f"objective {objective:.9e}")


if __name__ == "__main__":
    main()
