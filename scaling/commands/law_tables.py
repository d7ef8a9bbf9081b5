"""What a reviewer would ask of a fit: parameters, receipt, hold-out, allocation, what was dropped."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console

from scaling.commands.tables import table
from scaling.laws import IsoflopFit, LawFit, LawFits, Prediction
from scaling.laws.approaches.envelope import EnvelopeFit
from scaling.laws.fits import all_laws
from scaling.laws.forms.grammar import Form
from scaling.laws.uncertainty.resampling import coverage_line

_MOST_SHOWN = 8
_BEYOND = 1.1  # a round budget that is hardly larger than the largest says the same again
_TOO_FEW = ", a parabola needs 3"


def show_all(fits: LawFits, out: Console, predictions: Sequence[Prediction] = ()) -> None:
    """Approaches 2 and 3 side by side."""
    out.print(f"{len(fits.runs)} runs up to {fits.largest_flops:.3g} FLOPs;"
              f" intervals at {fits.level:.0%}")
    if fits.chinchilla:
        _parameters(fits.chinchilla, out)
    _exponents(fits, out)
    if fits.isoflop:
        shown = table("IsoFLOP minimum at", ">sizes", ">N*", ">D*", ">loss")
        for p in fits.isoflop.budgets:
            shown.add_row(f"{p.flops:.3g}", str(len(p.rows)), f"{p.n_opt:.4g}", f"{p.d_opt:.4g}",
                          f"{p.loss_opt:.4f}")
        out.print(shown)
    _allocation([(law.law, law) for law in all_laws(fits)], fits.largest_flops, out)
    bias = fits.bias_meter()
    for line in (fits.envelope.lines() if fits.envelope else []) + (bias.lines() if bias else []):
        out.print(line, soft_wrap=True)
    _predictions(predictions, out)
    if fits.chinchilla:
        _influence(fits.chinchilla, out)
    _footnotes(fits.runs.dropped, (*fits.problems, *fits.runs.notes,
                                   *(fits.chinchilla.notes if fits.chinchilla else ())), out)


def show_law(law: LawFit, out: Console, predictions: Sequence[Prediction] = ()) -> None:
    """One law of the library."""
    out.print(f"{law.law} ({law.form.source}) on {len(law.runs)} runs; intervals at {law.level:.0%}")
    _parameters(law, out)
    if law.holdout is not None:
        _holdout(law, out)
    if law.allocates:
        e = law.exponents
        out.print(f"N* ~ C^{e['n_opt']:.3f} ({_interval(e['n_opt_interval'])}),"
                  f" D* ~ C^{e['d_opt']:.3f} ({_interval(e['d_opt_interval'])})")
        _allocation([(law.law, law)], float(law.runs.flops.max()), out)
    _predictions(predictions, out)
    _influence(law, out)
    _footnotes(law.runs.dropped, (*law.runs.notes, *law.notes), out)


def show_approach(law: IsoflopFit | EnvelopeFit, out: Console) -> None:
    """Approach 1 or 2 alone."""
    out.print(f"{law.law} on {len(law.runs)} runs; intervals at {law.level:.0%}")
    e = law.exponents
    out.print(f"N* ~ C^{e['n_opt']:.3f} ({_interval(e['n_opt_interval'])}),"
              f" D* ~ C^{e['d_opt']:.3f} ({_interval(e['d_opt_interval'])})")
    _allocation([(law.law, law)], float(law.runs.flops.max()), out)
    for line in law.lines() if isinstance(law, EnvelopeFit) else []:
        out.print(line, soft_wrap=True)
    _footnotes(law.runs.dropped, (*law.problems, *law.runs.notes), out)


def show_forms(forms: Iterable[Form], approaches: Iterable[str], out: Console) -> None:
    """Two lines a law: what it predicts from which columns and its source, then the formula."""
    forms = list(forms)
    width = max(len(form.name) for form in forms)
    for form in forms:
        out.print(f"{form.name:<{width}}  {form.target} from {', '.join(form.columns)}  [{form.source}]",
                  soft_wrap=True, markup=False)
        out.print(f"{'':<{width}}  {form.formula}", soft_wrap=True, markup=False)
    out.print(f"and without a form of the loss, approaches of Hoffmann et al. 2022:"
              f" {', '.join(approaches)}", soft_wrap=True)


def _parameters(law: LawFit, out: Console) -> None:
    told = law.identifiability
    formula = law.form.formula
    out.print(formula if "=" in formula.partition(",")[0] else f"{law.form.target} = {formula}",
              soft_wrap=True, markup=False)
    shown = table("parameter", ">value", f">{law.level:.0%} interval", "identified")
    for name, value in law.params.items():
        shown.add_row(name, f"{value:.5g}", _interval(law.intervals[name]), told[name].words)
    out.print(shown)
    loss = law.point.loss
    kind = {"huber_log": "Huber on log residuals", "huber_raw": "Huber on raw residuals",
            "log_squares": "squared log residuals", "squares": "squared residuals",
            "asymmetric": "asymmetric Huber on raw residuals"}[loss.name]
    delta = f", delta {loss.delta:g}" if np.isfinite(loss.delta) else ""
    out.print(f"objective {law.point.objective:.10g}: {kind}{delta}, summed; run-to-run noise"
              f" {100 * law.noise:.2f}%; intervals from {law.bootstrap.replicates}"
              f" replicates, {law.bootstrap.method}"
              + (f" ({law.bootstrap.failed} failed)" if law.bootstrap.failed else "")
              + f"; {coverage_line(law.bootstrap.method)}")
    receipt = law.point.receipt
    n = len(receipt.minima)
    out.print(
        f"receipt: scale-free gradient {receipt.gradient:.1e};"
        f" {receipt.starts_at_optimum:.0%} of {receipt.n_starts} starts at the optimum;"
        f" {n} distinct minim{'um' if n == 1 else 'a'}; conditioning "
        + ("none" if receipt.conditioning is None else f"{receipt.conditioning:.1e}")
        + (f"; at a bound: {', '.join(receipt.at_bound)}" if receipt.at_bound else "")
    )


def _influence(law: LawFit, out: Console) -> None:
    flagged = [run for run in law.influence if run.words]
    for run in flagged[:_MOST_SHOWN]:
        out.print(f"run {run.run_id}: {run.words}", soft_wrap=True, markup=False)
    if len(flagged) > _MOST_SHOWN:
        out.print(f"and {len(flagged) - _MOST_SHOWN} runs more stand out (all with --json)")


def _holdout(law: LawFit, out: Console) -> None:
    folds = law.holdout.folds
    if folds:
        shown = table("hold-out: fitted up to", ">forecast at", ">runs", ">mean error", ">rms")
        for fold in folds:
            body = fold.to_json()
            shown.add_row(f"{fold.trained_up_to:.3g}", f"{fold.forecast_flops:.3g}",
                          str(body["n_points"]), f"{body['mean_error_percent']:+.2f}%",
                          f"{body['rms_error_percent']:.2f}%")
        out.print(shown)
    for reason in law.holdout.refused:
        out.print(f"hold-out refused: {reason}")


def _exponents(fits: LawFits, out: Console) -> None:
    shown = table("exponents", ">N* ~ C^a", ">interval", ">D* ~ C^b", ">interval", ">hold-out")
    for law in all_laws(fits):
        e = law.exponents
        held = fits.holdouts.get(law.law)
        error = held.to_json()["rms_error_percent"] if held else None
        shown.add_row(
            law.law, f"{e['n_opt']:.3f}", _interval(e["n_opt_interval"]), f"{e['d_opt']:.3f}",
            _interval(e["d_opt_interval"]), "-" if error is None else f"{error:.2f}%",
        )
    out.print(shown)


def _allocation(laws: list[tuple], largest: float, out: Console) -> None:
    """At the largest budget of the runs, and at round ones beyond."""
    shown = table("optimum at", "law", ">N*", ">interval", ">D*", ">interval", ">loss", ">interval")
    beyond = 10 ** np.ceil(np.log10(_BEYOND * largest))
    for flops in (largest, beyond, 10 * beyond, 100 * beyond):
        for name, law in laws:
            at = law.optimal(flops)
            loss = at.get("loss")
            shown.add_row(
                f"{at['flops']:.3g}", name, f"{at['n_opt']:.3g}", _interval(at["n_opt_interval"]),
                f"{at['d_opt']:.3g}", _interval(at["d_opt_interval"]),
                "-" if loss is None else f"{loss:.3f}",
                "-" if loss is None else _interval(at["interval"]),
            )
    out.print(shown)


def _predictions(predictions: Sequence[Prediction], out: Console) -> None:
    if not predictions:
        return
    shown = table("at", f">{predictions[0].target}", ">interval of the law", ">interval of a new run")
    for p in predictions:
        shown.add_row(", ".join(f"{k}={v:g}" for k, v in p.at.items()), f"{p.value:.4f}",
                      _interval(p.interval), _interval(p.predictive_interval))
    out.print(shown)


def _footnotes(dropped, notes, out: Console) -> None:
    """Every dropped row by its reason, then the notes."""
    reasons: dict[str, list[str]] = {}
    for row in dropped:
        unnamed = row["run_id"] == f"row {row['row']}"
        reasons.setdefault(row["reason"], []).append(
            str(row["row"]) if unnamed else f"{row['row']} ({row['run_id']})")
    for reason, rows in reasons.items():
        out.print(f"dropped row{'s' * (len(rows) > 1)} {_spans(rows)}: {reason}", soft_wrap=True)
    few = [n for n in notes if n.endswith(_TOO_FEW)]
    for note in dict.fromkeys(n for n in notes if n not in few or len(few) == 1):
        out.print(f"note: {note}", soft_wrap=True)
    if len(few) > 1:
        out.print(f"note: {len(few)} budgets have fewer than 3 sizes{_TOO_FEW}")


def _spans(rows: list[str]) -> str:
    """1, 2, 3, 7 as 1-3, 7; rows with names stay as they are."""
    spans: list[list[str]] = []
    for row in rows:
        if spans and row.isdigit() and spans[-1][-1].isdigit() and int(row) == int(spans[-1][-1]) + 1:
            spans[-1].append(row)
        else:
            spans.append([row])
    return ", ".join(f"{s[0]}-{s[-1]}" if len(s) > 2 else ", ".join(s) for s in spans)


def _interval(pair) -> str:
    return f"{pair[0]:.4g} .. {pair[1]:.4g}"
