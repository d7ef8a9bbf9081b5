"""Every run: its curve, its row, and why it was left out if it was."""

from scaling.report.analysis import Analysis
from scaling.report.figures.panel import grid
from scaling.report.figures.training import training_curves
from scaling.report.markup import Html, element, items, join, paragraph, section
from scaling.report.numbers import MISSING, count, decimals, is_number, scientific
from scaling.report.tables import Cell, table
from scaling.results import RunRecord

_HEADERS = ("run", "width", "N total", "N body+head", "N body", "D", "C (FLOPs)", "steps",
            "epochs", "loss (nats)", "bits/byte", "GFLOP/s", "seconds", "status")


def runs_section(analysis: Analysis) -> Html | None:
    folder = analysis.folder
    if not folder.records:
        return None
    convention = folder.flops_convention
    rows = [_row(record, convention) for record in sorted(folder.records, key=_order)]
    curves = training_curves(folder.sweep, analysis.target_records)
    return section(
        "runs", "Runs",
        grid(curves, _left_out(analysis)) if curves else _left_out(analysis),
        paragraph("Click a column's head to sort by it. Names stand without their hash; point at"
                  " one for the whole run id. N total counts every parameter,"
                  " body+head all but the input embedding, body leaves the head out as well. Loss"
                  " is the final validation loss, ± its standard error over validation windows.",
                  class_="small"),
        table(_HEADERS, rows, sortable=True),
    )


def _row(record: RunRecord, convention: str) -> list[Cell]:
    final = record.final
    loss = final.loss if final else None
    error = final.standard_error if final else None
    bits = final.bits_per_byte if final else None
    flops = record.train_flops.get(convention)
    speed = record.flops_per_second
    sizes = [record.parameters(name) for name in ("total", "body_and_head", "body")]
    width = record.tags.get("d_model")
    return [
        Cell(element("code", record.run_id.rpartition("-")[0] or record.run_id,
                     title=record.run_id), record.run_id),
        Cell(MISSING if width is None else str(width), width if is_number(width) else None),
        *(Cell(count(n), n) for n in sizes),
        Cell(count(record.n_tokens), record.n_tokens),
        Cell(scientific(flops), flops),
        Cell(f"{record.n_steps:,}", record.n_steps),
        Cell(decimals(record.n_epochs, 2), record.n_epochs),
        Cell(f"{decimals(loss, 4)} ± {decimals(error, 4)}" if loss is not None else MISSING, loss),
        Cell(decimals(bits, 4), bits),
        Cell(decimals(speed / 1e9 if speed else None, 1), speed),
        Cell(decimals(record.wall_seconds, 1), record.wall_seconds),
        Cell(element("span", record.status, class_=None if record.status == "ok" else "bad"),
             record.status, words=True),
    ]


def _order(record: RunRecord) -> tuple:
    """The sweep by compute and size, then what tested it."""
    budget = record.tags.get("budget")
    flops = budget if is_number(budget) else max(record.train_flops.values(), default=0.0)
    return (record.tags.get("role") == "target", flops, record.parameters("total"), record.seed,
            record.run_id)


def _left_out(analysis: Analysis) -> Html:
    """What was planned or measured and is not in the laws, each with its reason."""
    folder, fits = analysis.folder, analysis.fits
    done = {record.run_id for record in folder.records}
    reasons: list[str] = []
    reasons += [
        join(element("code", r.run_id), f": {r.status}" + (f", {r.reason}" if r.reason else ""))
        for r in folder.records if r.status != "ok"
    ]
    if fits is not None:
        known = {r.run_id for r in folder.records if r.status != "ok"}
        reasons += [join(element("code", d["run_id"]), f": {d['reason']}")
                    for d in fits.runs.dropped if d["run_id"] not in known]
        inside = set(fits.runs.run_ids)
        late = [r.run_id for r in folder.sweep if r.status == "ok" and r.run_id not in inside]
        if analysis.sealed:
            reasons += [join(element("code", run_id), ": finished, not among the sealed runs")
                        for run_id in late]
        reasons += [f"{problem}." for problem in fits.problems]
        reasons += [f"{note}." for note in fits.runs.notes]
    missing = [line for line in folder.plan if line.get("run_id") not in done]
    if missing:
        reasons.append(f"{len(missing)} of {len(folder.plan)} planned runs have not finished.")
    return element(
        "div",
        element("h3", "Left out, and why"),
        items(reasons, class_="notes")
        or paragraph("Nothing: every planned run finished and is in the fit."),
        class_="stack",
    )
