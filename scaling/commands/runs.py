"""Reading the runs to fit from what the user named: a sweep's folder, a CSV, or a law file."""

import pathlib
import re
from collections.abc import Iterable

import pandas as pd

from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws import FORMS, LAWS, IsoflopFit, LawFit, LawFits, RunSet, fit, fit_all, usable_runs
from scaling.laws.fits import of_one
from scaling.laws.fitting.objectives import NAMES as OBJECTIVES
from scaling.laws.law_file import read_law
from scaling.laws.table.csv_table import read_table
from scaling.laws.table.mistuning import without_mistuning
from scaling.laws.table.selection import last_checkpoints, select
from scaling.laws.uncertainty.posterior import imported_emcee
from scaling.laws.uncertainty.resampling import ALL_METHODS, DEFAULT, POSTERIOR
from scaling.results import read_records, runs_table
from scaling.results.record import PARAMETER_CONVENTIONS

_DEFAULTS = {"bootstrap": 1000, "level": 0.9, "seed": 0, "delta": 1e-3}


def add_run_arguments(parser, optional: bool = False) -> None:
    parser.add_argument("runs", nargs="?" if optional else None,
                        help="folder of a sweep, a CSV of runs, or a law file (.json)")
    parser.add_argument("--bootstrap", type=int, metavar="K", help="replicates (default: 1000)")
    parser.add_argument("--method", choices=ALL_METHODS, metavar="NAME",
                        help=f"of the intervals: {', '.join(ALL_METHODS)} (default: {DEFAULT})")
    parser.add_argument("--level", type=float, help="of intervals (default: 0.9)")
    parser.add_argument("--seed", type=int, help="of the bootstrap (default: 0)")
    parser.add_argument("--delta", type=float,
                        help="of the Huber loss of residuals, summed over runs (default: 1e-3)")
    parser.add_argument("--objective", choices=OBJECTIVES, metavar="NAME",
                        help=f"{', '.join(OBJECTIVES)} (default: huber_log)")
    parser.add_argument("--where", action="append", metavar="EXPR",
                        help="keep only rows like this, by column: 'loss < 4 and dataset == \"c4\"'")
    parser.add_argument("--drop", action="append", metavar="EXPR",
                        help="leave out rows like this; they are listed in the result")
    parser.add_argument("--last-checkpoints", action="store_true", default=None,
                        help="fit the last row of each run alone; the others are listed as dropped")
    parser.add_argument("--params-convention", metavar="NAME",
                        help="which parameters of a sweep's runs count in N: "
                        + ", ".join(PARAMETER_CONVENTIONS) + " (default: body_and_head)")
    parser.add_argument("--task", metavar="NAME",
                        help="of a sweep: what its runs were asked whose error is task_error")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def is_law_file(args) -> bool:
    return str(args.runs).endswith(".json") and not pathlib.Path(args.runs).is_dir()


def fit_from(args) -> LawFits:
    """Approaches 2 and 3 fitted as the arguments say, or the law of a law file."""
    if is_law_file(args):
        law = law_from_file(args)
        return of_one(law) if isinstance(law, LawFit) else law
    return fit_all(runs_to_fit(args), **settings(args))


def fit_one(args) -> LawFit | IsoflopFit:
    """The law that `args.law` names."""
    form = FORMS.get(args.law)
    needed = (form.columns, form.target) if form else ()
    if args.law not in LAWS:
        raise UserError(f"no law {args.law!r}{did_you_mean(args.law, LAWS)}")
    chosen = settings(args)
    if form is None:
        for name in ("delta", "objective", "method"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name}: approach {args.law} minimises no objective of its own; it is"
                                " for laws of the loss")
            chosen.pop(name, None)
    return fit(args.law, runs_to_fit(args, *needed), **chosen)


def settings(args) -> dict:
    """Options of `fit` and `fit_all`; the form's own objective where none is given."""
    given = {name: getattr(args, name) for name in _DEFAULTS}
    chosen = {name: _DEFAULTS[name] if value is None else value for name, value in given.items()}
    for name in ("objective", "method"):
        if getattr(args, name):
            chosen[name] = getattr(args, name)
    if args.method == POSTERIOR:
        imported_emcee()  # else `fit_all` would go on without approach 3
    return chosen


def law_from_file(args) -> LawFit | LawFits:
    """The law of a law file. Raises `UserError` for options that it says itself."""
    named = {"params_convention", "task", "objective", "method", "where", "drop", "last_checkpoints",
             *_DEFAULTS}
    for name in sorted(named):
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: a law file says itself how it was fitted;"
                            " fit the runs again to change it")
    return read_law(args.runs)


def runs_to_fit(args, columns: Iterable[str] = ("n_params", "n_tokens"), target: str = "loss") -> RunSet:
    """The usable runs: a sweep's (without the targets of forecasts), or a CSV's."""
    table, dropped = selected(args, (*columns, target))
    runs = usable_runs(table, str(args.runs), columns, target, dropped)
    return last_checkpoints(runs) if args.last_checkpoints else runs


def selected(args, needed: Iterable[str] = ("n_params", "n_tokens", "loss")) -> tuple[pd.DataFrame, list]:
    """The table with `--where` and `--drop` applied, and the rows that they left out."""
    path = pathlib.Path(args.runs)
    if path.is_dir():
        table = sweep_table(path, args.params_convention or "body_and_head")
        table = table[table["tag_role"] == "sweep"].reset_index(drop=True)
        if args.task or "task_error" in needed:
            table = with_task(table, args.task, str(path))
    elif args.params_convention:
        raise UserError("--params-convention is for a sweep; a CSV says itself what n_params are")
    elif args.task:
        raise UserError("--task is for a sweep; a CSV says itself what its task_error is")
    else:
        table = read_table(path, ", ".join(needed))
    if getattr(args, "correct_mistuning", None):
        table = without_mistuning(table, str(path))
    return select(table, where=args.where, drop=args.drop)


def with_task(table: pd.DataFrame, task: str | None, where: str) -> pd.DataFrame:
    """The error of one task as the column `task_error`. Raises `UserError`, also if none is named."""
    matches = (re.fullmatch("task_(.+)_error", column) for column in table)
    tasks = [match[1] for match in matches if match]
    if not tasks:
        raise UserError(f"{where}: its runs were asked no task with choices")
    if task is None:
        raise UserError(f"{where}: a law of a task's error; say whose with --task: {', '.join(tasks)}")
    if task not in tasks:
        raise UserError(f"{where}: its runs were not asked the task {task!r}{did_you_mean(task, tasks)}")
    return table.assign(task_error=table[f"task_{task}_error"])


def sweep_table(root: pathlib.Path, parameters: str = "body_and_head") -> pd.DataFrame:
    """All finished runs of a sweep, with C by its study's convention. Raises `UserError` if none."""
    from scaling.sweeps.folder import read_study  # brings JAX, which a CSV does without

    study = read_study(root)
    table = runs_table(read_records(root), parameters, study.plan.flops_convention)
    if table.empty:
        raise UserError(f"{root}: no run has finished yet; run it with: scaling sweep {root}")
    return table
