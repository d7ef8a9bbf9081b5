"""scaling forecast DIR|RUNS.csv --flops C"""

import argparse
import json
import pathlib

from scaling.commands.runs import add_run_arguments, fit_from
from scaling.commands.tables import console, table
from scaling.errors import UserError
from scaling.laws import Forecast, LawFits, forecast, seal, seal_payload
from scaling.laws.seals import TOLERANCE, size_apart

SEALED_CONVENTION = "body_and_head"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)
    parser.add_argument("--flops", type=float, help="training compute of the run")
    parser.add_argument("--params", type=float, help="its parameters N (with --tokens)")
    parser.add_argument("--tokens", type=float, help="its training tokens D (with --params)")
    parser.add_argument("--seal", metavar="FILE", help="write the forecast where it cannot change"
                        " unnoticed; for a sweep, with the run that will test it")
    parser.add_argument("--seeds", type=int, default=1, help="runs that will test it (default: 1)")


def run(args: argparse.Namespace) -> int:
    fits = fit_from(args)
    result = forecast(fits, args.flops, args.params, args.tokens)
    targets: list[dict] = []
    root = pathlib.Path(args.runs)
    if args.seal and not root.is_dir():
        targets = [_of_size(fits, result)]
    elif args.seal:
        if args.flops is None:
            raise UserError("--seal for a sweep needs --flops: the ladder gives the run's N and D")
        if args.params_convention not in (None, SEALED_CONVENTION):
            raise UserError(
                f"--seal for a sweep counts N as {SEALED_CONVENTION}, by which targets are chosen"
                f" and scored, not as {args.params_convention}"
            )
        if args.seeds < 1:
            raise UserError(f"--seeds {args.seeds}: expected at least 1")
        targets = _targets(root, fits, result, args.seeds)
    if args.seal:
        seal(args.seal, seal_payload(fits, result, targets))
    if args.json:
        print(json.dumps({**result.to_json(), "targets": targets}, allow_nan=False))
    else:
        _show(result, targets, args)
    return 0


def _targets(root: pathlib.Path, fits: LawFits, result: Forecast, n_seeds: int) -> list[dict]:
    """The ladder's runs nearest the optimum, each with the forecast of its own N and D."""
    from scaling.data import prepare
    from scaling.sweeps.folder import read_study
    from scaling.sweeps.targets import target_runs

    study = read_study(root)
    n_train_tokens = prepare(study.base.data).n_train_tokens
    runs = target_runs(study, result.flops, result.n_params, n_seeds, n_train_tokens)
    targets = []
    for planned in runs:
        n, d = planned.n_body_and_head, planned.experiment.n_tokens
        flops = planned.train_flops[study.plan.flops_convention]
        own = forecast(fits, flops, n, d)
        targets.append({"run_id": planned.experiment.run_id, "n_params": n, "n_tokens": d,
                        "train_flops": flops, "prediction": _prediction(own), "entry": planned.to_json()})
    return targets


def _of_size(fits: LawFits, result: Forecast) -> dict:
    """Every run of the forecast's N and D; the losses of such runs in the fit cannot test it."""
    n, d = result.n_params, result.n_tokens
    runs = fits.runs
    same = size_apart(runs.n_params, runs.n_tokens, n, d) <= TOLERANCE
    return {"run_id": None, "n_params": n, "n_tokens": d, "train_flops": result.flops,
            "prediction": _prediction(result), "fitted_losses": runs.loss[same].tolist()}


def _prediction(told: Forecast) -> dict:
    return {
        "loss": told.loss,
        "interval": list(told.interval),
        "predictive_interval": list(told.predictive_interval),
        "method": told.method,
        "approaches": told.to_json()["approaches"],
    }


def _show(result: Forecast, targets: list[dict], args: argparse.Namespace) -> None:
    out = console()
    low, high = result.predictive_interval
    out.print(
        f"forecast at {result.flops:.4g} FLOPs, {result.extrapolation:.1f}x the largest run:"
        f" {result.loss:.4f} nats per token, {result.level:.0%} predictive interval"
        f" {low:.4f} .. {high:.4f}"
    )
    shown = table("approach", ">loss", ">interval of the law", ">predictive interval", ">N*", ">D*",
                  ">hold-out")
    for name, a in result.approaches.items():
        chosen = " (headline)" if name == result.method else ""
        error = "-" if a.holdout_percent is None else f"{a.holdout_percent:.2f}%"
        shown.add_row(
            name + chosen, f"{a.loss:.4f}", f"{a.interval[0]:.4f} .. {a.interval[1]:.4f}",
            f"{a.predictive_interval[0]:.4f} .. {a.predictive_interval[1]:.4f}",
            f"{a.n_opt:.4g}", f"{a.d_opt:.4g}", error,
        )
    out.print(shown)
    out.print(f"headline: {result.rule}")
    for problem in result.problems:
        out.print(f"note: {problem}")
    for target in targets:
        if target["run_id"] is None:
            out.print(f"target: any run of N = {target['n_params']:.4g} and D = {target['n_tokens']:.4g},"
                      f" each within {TOLERANCE:.0%}; for a run of another size give --params and --tokens")
            continue
        low, high = target["prediction"]["predictive_interval"]
        out.print(
            f"target {target['run_id']}: N {target['n_params']:,}, D {target['n_tokens']:,},"
            f" predicted {target['prediction']['loss']:.4f} ({low:.4f} .. {high:.4f})"
        )
    if args.seal:
        out.print(f"sealed in {args.seal}")
        if pathlib.Path(args.runs).is_dir():
            out.print(f"next: scaling sweep {args.runs} --sealed {args.seal}")
        else:
            out.print(f"next: train it, then: scaling verify {args.seal} RUNS.csv")
