"""The whole page: sections in order, with style and script inside it."""

import importlib.resources

from scaling.report.analysis import Analysis
from scaling.report.markup import Html, element, link
from scaling.report.palette import style_sheet
from scaling.report.sections.forecast import forecast_section
from scaling.report.sections.header import header
from scaling.report.sections.laws import allocation_section, loss_section, parametric_section
from scaling.report.sections.provenance import provenance_section
from scaling.report.sections.runs import runs_section

_SECTIONS = (loss_section, forecast_section, allocation_section, parametric_section, runs_section,
             provenance_section)
_TITLES = {"loss": "Loss", "forecast": "Forecast", "allocation": "Allocation",
           "parametric": "Parametric law", "runs": "Runs", "provenance": "Provenance"}
# A browser that honours this loads nothing at all, whatever the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(analysis: Analysis) -> str:
    """HTML, UTF-8, self-contained; a function of the analysis alone."""
    sections = {section.__name__.removesuffix("_section"): section(analysis)
                for section in _SECTIONS}
    shown = {name: part for name, part in sections.items() if part is not None}
    contents = element("nav", *(link(f"#{name}", _TITLES[name]) for name in shown),
                       aria_label="Sections")
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Html('<link rel="icon" href="data:,">'),
        element("title", f"{analysis.folder.name}: scaling laws"),
        element("style", Html(style_sheet() + _resource("page.css"))),
    )
    body = element("body", element("main", header(analysis), contents, *shown.values()),
                   element("script", Html(_resource("sort.js"))))
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def _resource(name: str) -> str:
    return importlib.resources.files("scaling.report").joinpath(name).read_text("utf-8")
