"""The fitted laws: profiles, frontier, allocation, the parametric law and its receipt."""

import functools

from scaling.report.analysis import Analysis
from scaling.report.figures.allocation import allocation
from scaling.report.figures.compute import loss_against_compute
from scaling.report.figures.panel import grid
from scaling.report.figures.profiles import profiles
from scaling.report.figures.residuals import residuals
from scaling.report.markup import Html, element, items, number, paragraph, section
from scaling.report.numbers import (
    count,
    decimals,
    interval,
    percent,
    scientific,
    significant,
    two_decimals,
)
from scaling.report.sections.published import published_exponents
from scaling.report.tables import table


def loss_section(analysis: Analysis) -> Html:
    """IsoFLOP curves, and loss against compute."""
    if analysis.fits is None:
        return section("loss", "Loss and compute", _no_fit(analysis))
    fits = analysis.fits
    rows = [
        [f"{scientific(p.flops)}", str(len(set(p.run_ids))), count(p.n_opt), count(p.d_opt),
         decimals(p.d_opt / p.n_opt, 1), decimals(p.loss_opt, 4), decimals(p.curvature, 3)]
        for p in (fits.isoflop.budgets if fits.isoflop else ())
    ]
    headers = ["budget (FLOPs)", "runs", "N*", "D*", "D*/N*", "loss (nats)",
               "curvature (nats per e-fold²)"]
    return section(
        "loss", "Loss and compute",
        grid(profiles(fits), loss_against_compute(analysis)),
        element("h3", "Minima of the parabolas") if rows else None,
        table(headers, rows) if rows else None,
        items([f"Refused: {problem}." for problem in fits.problems], class_="notes"),
    )


def allocation_section(analysis: Analysis) -> Html | None:
    """N*(C) and D*(C), beside what others found."""
    if analysis.fits is None:
        return None
    return section(
        "allocation", "Compute-optimal allocation",
        grid(allocation(analysis, "n_opt"), allocation(analysis, "d_opt")),
        published_exponents(analysis),
    )


def parametric_section(analysis: Analysis) -> Html | None:
    """Parameters of approach 3, the receipt of its optimum, and its residuals."""
    law = analysis.fits.chinchilla if analysis.fits else None
    if law is None:
        return None
    four_digits = functools.partial(significant, digits=4)
    symbols = {"alpha": "α", "beta": "β"}
    level = f"{100 * law.level:.0f}% interval"
    parameters = [
        [symbols.get(name, name), four_digits(value), interval(law.intervals[name], four_digits)]
        for name, value in law.params.items()
    ]
    receipt, relation = law.point.receipt, law.relation
    facts = [
        ["largest gradient (scale-free)", scientific(receipt.gradient, 2)],
        ["starts that reached the optimum",
         f"{100 * receipt.starts_at_optimum:.0f}% of {receipt.n_starts}"],
        ["distinct minima found", str(len(receipt.minima))],
        ["conditioning", scientific(receipt.conditioning, 2)],
        ["coefficients at zero", ", ".join(receipt.at_bound) or "none"],
        ["noise about the law", f"{percent(100 * law.noise, False)} of the loss"],
        ["bootstrap", f"{law.bootstrap.replicates} × {law.bootstrap.method},"
                      f" {law.bootstrap.failed} failed"],
    ]
    return section(
        "parametric", "The parametric law",
        paragraph(number("L(N, D) = E + A / N^{α} + B / D^{β} in nats per token, fitted to all"
                         " runs by the Huber loss of log residuals"
                         f" (δ = {law.point.delta:g}), approach 3 of Hoffmann et al."
                         " 2022.")),
        grid(
            residuals(analysis.fits),
            element("div", table(["parameter", "value", level], parameters),
                    table(["receipt of the fit", ""], facts), class_="stack"),
        ),
        paragraph(number(
            f"Over these runs C = {significant(relation.k)} · N^{{{two_decimals(relation.p)}}} · D,"
            f" off by at most {percent(100 * relation.largest_miss, False)}; the optimum at a"
            " budget uses this relation."), class_="small"),
    )


def _no_fit(analysis: Analysis) -> Html:
    return paragraph(f"There is nothing to show yet: {analysis.fit_problem}.", class_="alert")
