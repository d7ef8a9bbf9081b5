"""The sealed forecast, its score, and how the laws did on budgets they had not seen."""

from scaling.config import canonical_json
from scaling.report.analysis import Analysis
from scaling.report.figures.forecasts import APPROACHES, by_number, forecasts
from scaling.report.figures.panel import grid
from scaling.report.markup import Html, element, items, join, paragraph, section
from scaling.report.numbers import count, decimals, interval, percent, scientific
from scaling.report.tables import Cell, key_values, table


def forecast_section(analysis: Analysis) -> Html | None:
    if analysis.sealed is None and analysis.fits is None:
        return None
    return section(
        "forecast", "The forecast and its score",
        *(_seal(analysis) if analysis.sealed else [paragraph(
            f"No usable seal: {analysis.seal_problem}." if analysis.seal_problem
            else "No forecast has been sealed in this folder.")]),
        _holdouts(analysis),
    )


def _seal(analysis: Analysis) -> list[Html]:
    sealed = analysis.sealed
    finished = {r.run_id: r.finished_at for r in analysis.target_records}
    facts = [
        ("sealed at", sealed["created_at"]),
        ("targets finished at", ", ".join(finished.values()) or "not yet"),
        ("sha256 of the seal", element("code", sealed["sha256"])),
        ("hash of the fitted runs", element("code", sealed["data_hash"])),
        ("runs in the sealed fit", str(len(sealed["fitted_run_ids"]))),
        ("this page's fit", _same_fit(analysis)),
        ("headline", APPROACHES.get(sealed["forecast"].get("method"), "–")),
        ("rule for the headline", sealed["forecast"].get("rule", "–")),
    ]
    scores = {s.run_id: s for s in analysis.score.targets} if analysis.score else {}
    first = sealed["targets"][0] if sealed["targets"] else None
    panel = None
    if first:
        score = scores.get(first["run_id"])
        panel = forecasts(first, score.actual if score else None, sealed["level"])
    parts = [
        grid(key_values(facts), panel),
        _scores(analysis, scores),
    ]
    if analysis.score_problem:
        parts.append(paragraph(f"Not scored: {analysis.score_problem}.", class_="alert"))
    if first and first["prediction"].get("approaches"):
        parts.append(_approaches(first, sealed["level"]))
    return parts


def _same_fit(analysis: Analysis) -> str:
    if analysis.changed:
        return analysis.changed
    if analysis.fits is None:
        return f"none: {analysis.fit_problem}"
    if canonical_json(analysis.fits.to_json()) == canonical_json(analysis.sealed.get("fits")):
        return "the sealed one, reproduced to the last digit"
    return ("made from the sealed runs; its numbers differ from the sealed ones"
            " (other code or machine)")


def _scores(analysis: Analysis, scores: dict) -> Html:
    level = f"{100 * analysis.sealed['level']:.0f}% interval"
    headers = ["run foretold", "C (FLOPs)", "N", "D", "forecast (nats)", level, "measured",
               "error (nats)", "error", "inside"]
    rows = []
    for target in analysis.sealed["targets"]:
        score, told = scores.get(target["run_id"]), target["prediction"]
        outcome = ["–"] * 4
        if score and score.actual is not None:
            outcome = [decimals(score.actual, 4), decimals(score.error_nats, 4, signed=True),
                       percent(score.error_percent), _inside(score.inside_interval)]
        elif score:
            outcome = [Cell(score.status), "–", "–", _inside(False)]
        rows.append([
            Cell(element("code", target["run_id"])), scientific(target["train_flops"]),
            count(target["n_params"]), count(target["n_tokens"]), decimals(told["loss"], 4),
            interval(told["predictive_interval"]), *outcome,
        ])
    return table(headers, rows)


def _inside(inside: bool) -> Cell:
    word = "yes" if inside else "no"
    return Cell(element("span", word, class_="good" if inside else "bad"))


def _approaches(target: dict, level: float) -> Html:
    rows = [
        [Cell(APPROACHES.get(name, name)), decimals(one["loss"], 4), interval(one["interval"]),
         interval(one["predictive_interval"]), count(one["n_opt"]), count(one["d_opt"]),
         percent(100 * one["noise"], False), percent(100 * one["model_error"], False)]
        for name, one in sorted(target["prediction"]["approaches"].items(), key=by_number)
    ]
    share = f"{100 * level:.0f}%"
    headers = ["approach", "loss (nats)", f"{share} of the law", f"{share} of a new run", "N*",
               "D*", "noise", "model error"]
    return join(element("h3", "What each approach said"), table(headers, rows))


def _holdouts(analysis: Analysis) -> Html | None:
    """Fit the smaller budgets, forecast the next."""
    if analysis.fits is None:
        return None
    rows, refused = [], []
    for name, holdout in analysis.fits.holdouts.items():
        told = holdout.to_json()
        refused += [f"{APPROACHES.get(name, name)}: {text}." for text in told["refused"]]
        for fold in told["folds"]:
            rows.append([
                Cell(APPROACHES.get(name, name)), scientific(fold["trained_up_to_flops"]),
                scientific(fold["forecast_flops"]), str(fold["n_points"]),
                percent(fold["mean_error_percent"]), percent(fold["rms_error_percent"], False),
                percent(fold["optimum_error_percent"]),
            ])
    headers = ["approach", "fitted up to (FLOPs)", "forecast at (FLOPs)", "points", "mean error",
               "rms error", "error at the minimum"]
    return join(
        element("h3", "Rolling hold-out"),
        paragraph("Each law fitted to the smaller budgets alone, and asked for the next one"
                  " (error: law − measured).", class_="small"),
        table(headers, rows) if rows else paragraph("Too few budgets to hold one out."),
        items(refused, class_="notes"),
    )
