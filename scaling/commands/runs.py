"""Reading the runs to fit from what the user named: a sweep's folder or a CSV."""

import pathlib

import pandas as pd

from scaling.errors import UserError
from scaling.laws import LawFits, fit_all, read_runs
from scaling.results import read_records, runs_table
from scaling.results.record import PARAMETER_CONVENTIONS
from scaling.sweeps.folder import read_study


def add_run_arguments(parser) -> None:
    parser.add_argument("runs", help="folder of a sweep, or a CSV with n_params, n_tokens, loss")
    parser.add_argument("--bootstrap", type=int, default=1000, help="replicates (default: 1000)")
    parser.add_argument("--level", type=float, default=0.9, help="of intervals (default: 0.9)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument("--delta", type=float, default=1e-3,
                        help="of the Huber loss on log residuals in approach 3 (default: 1e-3)")
    parser.add_argument("--params-convention", metavar="NAME",
                        help="which parameters of a sweep's runs count in N: "
                        + ", ".join(PARAMETER_CONVENTIONS) + " (default: body_and_head)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def fit_from(args) -> LawFits:
    """Every law, fitted as the arguments say."""
    return fit_all(
        runs_to_fit(args), level=args.level, bootstrap=args.bootstrap, seed=args.seed,
        delta=args.delta,
    )


def runs_to_fit(args) -> pd.DataFrame:
    """The sweep's runs (without the targets of forecasts), or the rows of a CSV."""
    path = pathlib.Path(args.runs)
    if path.is_dir():
        table = sweep_table(path, args.params_convention or "body_and_head")
        return table[table["tag_role"] == "sweep"].reset_index(drop=True)
    if args.params_convention:
        raise UserError("--params-convention is for a sweep; a CSV says itself what n_params are")
    return read_runs(path)


def sweep_table(root: pathlib.Path, parameters: str = "body_and_head") -> pd.DataFrame:
    """All finished runs of a sweep, with C by its study's convention. Raises `UserError` if none."""
    study = read_study(root)
    table = runs_table(read_records(root), parameters, study.plan.flops_convention)
    if table.empty:
        raise UserError(f"{root}: no run has finished yet; run it with: scaling sweep {root}")
    return table
