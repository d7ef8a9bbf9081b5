"""The name of the study, its outcome in one sentence, and the numbers to remember."""

from scaling.laws import TargetScore
from scaling.report.analysis import Analysis
from scaling.report.markup import Html, element, join, number
from scaling.report.numbers import (
    count,
    decimals,
    duration,
    interval,
    percent,
    scientific,
    significant,
    two_decimals,
)


def header(analysis: Analysis) -> Html:
    return element(
        "header",
        element("p", "Scaling-law study", class_="eyebrow"),
        element("h1", analysis.folder.name),
        element("p", number(_verdict(analysis)), class_="verdict"),
        *(element("p", text, class_="alert", role="alert") for text in _alerts(analysis)),
        element("div", *_tiles(analysis), class_="tiles"),
    )


def _alerts(analysis: Analysis) -> list[str]:
    alerts = []
    if analysis.seal_problem:
        alerts.append(f"The sealed forecast cannot be trusted: {analysis.seal_problem}.")
    if analysis.changed:
        alerts.append(f"This page does not show the fit that was sealed: {analysis.changed}.")
    return alerts


def _verdict(analysis: Analysis) -> str:
    """One sentence."""
    if analysis.fits is None and analysis.sealed is None:
        folder = analysis.folder
        done, planned = len(folder.sweep), len(folder.plan)
        return f"No law yet: {analysis.fit_problem} ({done} of {planned} planned runs finished)."
    if analysis.sealed is None or not analysis.sealed["targets"]:
        runs = len(analysis.fits.runs)
        return f"Laws fitted to {runs} runs; no forecast has been sealed yet."
    target = analysis.sealed["targets"][0]
    told = (f"Forecast {decimals(target['prediction']['loss'])} nats per token at"
            f" {scientific(target['train_flops'], 2)} FLOPs{_beyond(analysis)}")
    if analysis.score is None:
        return f"{told}; not tested yet: {analysis.score_problem}."
    return f"{told}; {_outcome(analysis.score.targets[0], analysis.score.level)}{_rest(analysis)}."


def _beyond(analysis: Analysis) -> str:
    times = analysis.sealed["forecast"].get("extrapolation")
    if not times:
        return ""
    return f", {times:.1f} times the sweep's largest run" if times > 1 else ", inside the sweep"


def _outcome(score: TargetScore, level: float) -> str:
    if score.actual is None:
        return f"the run ended as {score.status}, so the forecast failed"
    side = "above" if score.error_nats > 0 else "below"
    where = "inside" if score.inside_interval else "outside"
    return (f"measured {decimals(score.actual)}, {percent(abs(score.error_percent), False)}"
            f" {side} it and {where} the {100 * level:.0f}% interval"
            f" {interval(score.predictive_interval)}")


def _rest(analysis: Analysis) -> str:
    targets = analysis.score.targets
    if len(targets) < 2:
        return ""
    return f"; {analysis.score.inside} of {len(targets)} foretold runs inside their intervals"


def _tiles(analysis: Analysis) -> list[Html]:
    tiles = []
    fits = analysis.fits
    if analysis.score is not None and analysis.score.targets[0].actual is not None:
        first = analysis.score.targets[0]
        tiles.append(_tile("forecast error", percent(first.error_percent),
                           f"{decimals(first.error_nats, 4, signed=True)} nats,"
                           " measured − forecast",
                           "good" if first.inside_interval else "bad"))
    laws = ((fits.isoflop, "approach 2"), (fits.chinchilla, "approach 3")) if fits else ()
    for law, name in laws:
        if law is None:
            continue
        a = law.exponents
        for of, letter, which in (("N", "a", "n_opt"), ("D", "b", "d_opt")):
            tiles.append(_tile(f"{of}* ∝ C^{{{letter}}}, {name}",
                               f"{letter} = {decimals(a[which], 2)}",
                               interval(a[f"{which}_interval"], two_decimals)))
    if fits and fits.chinchilla is not None:
        law = fits.chinchilla
        tiles.append(_tile("irreducible loss E", f"{significant(law.params['E'])}",
                           f"{interval(law.intervals['E'], two_decimals)} nats"))
    folder = analysis.folder
    flops = [r.train_flops.get(folder.flops_convention) for r in folder.sweep]
    seconds = sum(r.wall_seconds or 0.0 for r in folder.records)
    tiles.append(_tile("runs in the sweep", str(len(folder.sweep)),
                       f"{len(folder.plan)} planned; {duration(seconds)} of training"))
    if flops:
        tokens = sum(r.n_tokens for r in folder.sweep)
        tiles.append(_tile("compute of the sweep", scientific(sum(f or 0.0 for f in flops)),
                           f"FLOPs; {count(tokens)} tokens"))
    return tiles


def _tile(label: str, value: str, below: str, mood: str | None = None) -> Html:
    return element(
        "div",
        element("div", number(label), class_="label"),
        element("div", number(value), class_=join("value", mood, by=" ") if mood else "value"),
        element("div", number(below), class_="below"),
        class_="tile",
    )
