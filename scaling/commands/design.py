"""scaling design DIR|RUNS.csv --target 'loss@1e21' --budget C; what `scaling sweep --designed` runs"""

import argparse
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from scaling.commands.runs import (
    add_run_arguments,
    is_law_file,
    law_from_file,
    runs_to_fit,
    settings,
)
from scaling.commands.tables import console, table
from scaling.config import did_you_mean
from scaling.errors import UserError
from scaling.laws import FORMS, LawFit, LawFits, fit
from scaling.laws.design import Candidates, Proposal, levels, propose
from scaling.results.record import PARAMETER_CONVENTIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)
    parser.add_argument("--law", metavar="NAME", help="of N and D (default: chinchilla)")
    parser.add_argument("--target", required=True, metavar="WHAT",
                        help="whose interval to narrow: a parameter (alpha), n_exponent, d_exponent,"
                        " n_opt@C, d_opt@C, loss@C, loss@n_params=N,n_tokens=D")
    parser.add_argument("--budget", type=float, required=True, metavar="C",
                        help="FLOPs of the new runs together")
    parser.add_argument("--runs", dest="most_runs", type=int, default=3, metavar="K",
                        help="at most so many new runs (default: 3)")
    parser.add_argument("--sizes", nargs="+", type=float, metavar="N",
                        help="parameters of the models that can be trained; of a sweep's folder, widths"
                        " (default: a grid; the folder's ladder)")
    parser.add_argument("--max-flops-per-run", type=float, metavar="C", help="(default: the budget)")
    parser.add_argument("--tokens-per-param", nargs=2, type=float, metavar=("LOW", "HIGH"),
                        help="bounds (default: those of the middle 90%% of the runs; the folder's study)")
    parser.add_argument("--draws", type=int, default=16, metavar="S",
                        help="of the bootstrap, averaged over; 0 trusts the fitted law (default: 16)")


def run(args: argparse.Namespace) -> int:
    for name in ("budget", "max_flops_per_run"):
        value = getattr(args, name)
        if value is not None and not (np.isfinite(value) and value > 0):
            raise UserError(f"--{name.replace('_', '-')} {value:g}: expected FLOPs above 0")
    law = _law(args)
    most = min(args.budget, args.max_flops_per_run or args.budget)
    planned = None
    if pathlib.Path(args.runs).is_dir():
        ladder = _Ladder(args)
        planned = ladder.candidates(levels(float(law.runs.flops.min()), most), args.sizes)
        candidates = Candidates(*(np.array(part, float) for part in zip(*map(ladder.counts, planned))))
    else:
        bounds = tuple(args.tokens_per_param) if args.tokens_per_param else None
        candidates = Candidates.around(law, most, args.sizes, bounds)
    proposal = propose(law, args.target, args.budget, args.most_runs, candidates, args.draws)
    entries = ladder.entries([planned[r.candidate] for r in proposal.runs]) if planned else None
    if args.json:
        answer = {"law": law.law, "n_points": len(law.runs), "data_hash": law.runs.data_hash,
                  **proposal.to_json()}
        if entries:
            from scaling.commands.sources import study_hash  # brings JAX

            answer["study"] = study_hash(ladder.study)
            answer["entries"] = [entry.to_json() for entry in entries]
        print(json.dumps(answer, allow_nan=False))
    else:
        _show(law, proposal, entries)
        if entries:
            console().print(f"to train them: this command with --json > next.json, then"
                            f" scaling sweep {args.runs} --designed next.json", soft_wrap=True)
    return 0


def _law(args: argparse.Namespace) -> LawFit:
    if is_law_file(args):
        if args.law:
            raise UserError("--law: a law file says itself which law it holds")
        law = law_from_file(args)
        if isinstance(law, LawFits):
            law = law.chinchilla
        if not isinstance(law, LawFit):
            raise UserError(f"{args.runs}: holds no law of N and D, which runs are designed for")
        return law
    name = args.law or "chinchilla"
    if name not in FORMS:
        raise UserError(f"--law {name!r}{did_you_mean(name, FORMS)}")
    form = FORMS[name]
    runs = runs_to_fit(args, form.columns, form.target)
    return fit(name, runs, **settings(args), holdout=False)


class _Ladder:
    """A sweep folder's study: what it can run, and how its runs are counted."""

    def __init__(self, args: argparse.Namespace):
        from scaling.data import prepare  # brings JAX, which a CSV does without
        from scaling.sweeps.folder import read_study

        if args.tokens_per_param:
            raise UserError("--tokens-per-param: a sweep's study says itself what it may run"
                            " (IsoFlop.min_tokens_per_param, IsoFlop.max_tokens_per_param)")
        self.study = read_study(pathlib.Path(args.runs))
        self.n_train_tokens = prepare(self.study.base.data).n_train_tokens
        self.groups = PARAMETER_CONVENTIONS[args.params_convention or "body_and_head"]

    def candidates(self, flops: np.ndarray, widths: Sequence[float] | None) -> list:
        from scaling.sweeps.candidates import ladder_candidates

        if widths is not None and not all(w >= 2 and w == int(w) for w in widths):
            given = " ".join(f"{w:g}" for w in widths)
            raise UserError(f"--sizes {given}: of a sweep's folder, whole widths d_model")
        if not len(flops):
            raise UserError("the budget a run is below that of the cheapest finished run")
        return ladder_candidates(self.study, self.n_train_tokens, flops,
                                 None if widths is None else [int(w) for w in widths])

    def counts(self, planned) -> tuple[float, float, float]:
        """N, D, C of a planned run, as the finished ones are counted."""
        return (sum(planned.n_params[group] for group in self.groups), planned.experiment.n_tokens,
                planned.train_flops[self.study.plan.flops_convention])

    def entries(self, proposed: list) -> list:
        """The proposed runs, each repeat with a seed of its own."""
        from scaling.sweeps.candidates import ladder_run

        entries, seen = [], []
        for run in proposed:
            shape = (run.experiment.model.d_model, run.experiment.n_steps)
            entries.append(ladder_run(self.study, *shape, self.n_train_tokens, repeat=seen.count(shape)))
            seen.append(shape)
        return entries


def _show(law: LawFit, proposal: Proposal, entries: list | None) -> None:
    out = console()
    out.print(f"{law.law} on {len(law.runs)} runs: {proposal.target} = {proposal.value:.5g},"
              f" {law.level:.0%} interval {_interval(proposal.interval_now)}")
    names = ["run"] if entries else []
    shown = table(*names, ">N", ">D", ">D/N", ">FLOPs", ">of the budget", ">narrows by",
                  title=f"next: {len(proposal.runs)} of {proposal.n_candidates} candidates, for"
                  f" {proposal.flops:.3g} FLOPs")
    for i, r in enumerate(proposal.runs):
        first = []
        if entries:
            model = entries[i].experiment.model
            first = [f"d_model {model.d_model}, {model.n_layers} layers,"
                     f" {entries[i].experiment.n_steps:,} steps, seed {entries[i].experiment.seed}"]
        shown.add_row(*first, f"{r.n_params:.4g}", f"{r.n_tokens:.4g}", f"{r.n_tokens / r.n_params:.3g}",
                      f"{r.flops:.3g}", f"{100 * r.share:.2g}%", f"{r.gain:.1%}")
    out.print(shown)
    out.print(f"expected with them: {_interval(proposal.interval_after)},"
              f" {proposal.narrowing:.1%} narrower")
    for budget, narrowing in proposal.for_less:
        out.print(f"the best for {budget:.3g} FLOPs: {narrowing:.1%} narrower")
    averaged = f"; chosen over {proposal.draws} draws of the law" if proposal.draws else ""
    out.print(f"note: taking the law's form to hold and new runs to be as noisy as these{averaged}")


def _interval(pair: Sequence[float]) -> str:
    return f"{pair[0]:.5g} .. {pair[1]:.5g}"
