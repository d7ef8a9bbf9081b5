"""scaling fit DIR|RUNS.csv [--law NAME]"""

import argparse
import json
import sys

from rich.console import Console
from rich.progress import track

from scaling.commands import fit_mistuning
from scaling.commands.law_tables import show_all, show_approach, show_forms, show_law
from scaling.commands.runs import add_run_arguments, fit_from, fit_one, runs_to_fit, selected, settings
from scaling.commands.tables import console
from scaling.errors import UserError
from scaling.laws import FORMS, LAWS, LawFit, LawFits, Prediction
from scaling.laws.certified import certificate_line, certify_fit
from scaling.laws.law_file import write_law
from scaling.laws.table.expressions import point


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser, optional=True)
    parser.add_argument("--law", metavar="NAME", help="one law of `--list`"
                        " (default: approaches 2 and 3 of Hoffmann et al.)")
    parser.add_argument("--list", action="store_true", help="the laws and the columns they need")
    parser.add_argument("--at", action="append", default=[], metavar="COLUMN=VALUE,..",
                        help="predict there, e.g. 'n_params=7e9,n_tokens=2e12'")
    parser.add_argument("--out", metavar="FILE", help="write the law, its rows and hashes as JSON")
    parser.add_argument("--plot", metavar="FILE", help="draw the fit (.png, .svg, .pdf)")
    parser.add_argument("--certify", action="store_true",
                        help="prove that no other parameters fit better (laws of 2 or 3 terms)")
    parser.add_argument("--compete", action="store_true",
                        help="which law forecasts best: rolling hold-out of all that these runs allow")
    parser.add_argument("--correct-mistuning", action="store_true", default=None,
                        help="beside the law, that of losses less their expected mis-tuning (runs of a plan"
                        " with --transfer)")
    parser.add_argument("--multiverse", metavar="FLOPS", type=float,
                        help="refit every defensible choice, and show N*, D* and the loss there")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return _list(args)
    if args.runs is None:
        raise UserError("fit: which runs? A folder of a sweep, a CSV, or --list for the laws")
    if args.correct_mistuning:
        return fit_mistuning.run(args)
    if args.compete or args.multiverse is not None:
        return _compare(args)
    for text in args.at:
        point(text)  # a slip of the pen is told before the fit, a wrong column after it
    law = fit_one(args) if args.law else fit_from(args)
    own = law if isinstance(law, LawFit) else getattr(law, "chinchilla", None)
    predictions = [_predicted(_own(own, "--at"), text) for text in args.at]
    certificate = None
    if args.certify:
        certificate = certify_fit(_own(own, "--certify"))
    if args.out:
        if not isinstance(law, LawFit | LawFits):
            raise UserError(f"--out: approach {law.law} has no law of the loss to keep")
        write_law(args.out, law, settings(args))
    if args.plot:
        from scaling.laws.plotting import plot

        plot(_own(own, "--plot"), args.plot)
    if args.json:
        review = own.review() if isinstance(own, LawFit) else {}
        body = {**law.to_json(), **review, "predictions": [p.to_json() for p in predictions]}
        if certificate is not None:
            body["certificate"] = certificate.to_json()
        print(json.dumps(body, allow_nan=False))
        return 0
    out = console()
    if isinstance(law, LawFits):
        show_all(law, out, predictions)
    elif isinstance(law, LawFit):
        show_law(law, out, predictions)
    else:
        show_approach(law, out)
    if certificate is not None:
        out.print(certificate_line(certificate), soft_wrap=True)
    for name, file in (("law", args.out), ("plot", args.plot)):
        if file:
            out.print(f"{name} written to {file}")
    return 0


def _predicted(law: LawFit, text: str) -> Prediction:
    return law.predict(point(text, law.form.columns))


def _own(law: LawFit | None, option: str) -> LawFit:
    if not isinstance(law, LawFit):
        raise UserError(f"{option} needs a law with parameters; name one: --law chinchilla")
    return law


def _compare(args) -> int:
    if args.compete:
        from scaling.laws.compete import compete

        for option in ("bootstrap", "method", "level", "law"):
            if getattr(args, option) is not None:
                raise UserError(f"--{option}: --compete fits every law, without intervals; leave it out")
        chosen = {k: v for k, v in settings(args).items() if k in ("seed", "delta", "objective")}
        laws = track(list(FORMS), "laws", console=Console(stderr=True), transient=True,
                     disable=not sys.stderr.isatty())
        answer = compete(runs_to_fit(args), laws=laws, **chosen)
    else:
        from scaling.laws.multiverse import multiverse

        if args.last_checkpoints:
            raise UserError("--last-checkpoints: --multiverse fits all rows as well as the last ones")
        for option in ("bootstrap", "method", "level", "delta", "objective", "law"):
            if getattr(args, option) is not None:
                raise UserError(f"--{option}: --multiverse makes its own choices; leave it out")
        answer = multiverse(selected(args)[0], args.multiverse, seed=settings(args)["seed"])
    if args.json:
        print(json.dumps(answer.to_json(), allow_nan=False))
    else:
        answer.show(console())
    return 0


def _list(args) -> int:
    from scaling.laws.forms import FORMS, describe

    if args.json:
        print(json.dumps([describe(form) for form in FORMS.values()]))
    else:
        show_forms(FORMS.values(), [name for name in LAWS if name not in FORMS], console())
    return 0
