"""The comparisons as text, as a CSV, and between the markers of README.md."""

import collections
import pathlib

import pandas as pd
from comparison import VERDICTS, Comparison

NUMBER = "{:.6g}"
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"


def number(value: float | None) -> str:
    return "" if value is None else NUMBER.format(value)


def span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else "{:.4g} to {:.4g}".format(*interval)


def difference(row: Comparison) -> str:
    return "" if row.difference is None else f"{row.difference:+.2g}"


def cells(row: Comparison) -> tuple[str, ...]:
    return (row.data, row.fit, row.quantity, number(row.published), number(row.ours), difference(row),
            span(row.interval), row.verdict, row.why)


HEADER = ("data", "fit", "quantity", "published", "ours", "difference", "90% interval", "verdict", "why")


def plain_table(rows: list[Comparison]) -> str:
    table = [HEADER, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADER) - 1)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(line, widths)), line[-1]]).rstrip()
                     for line in table)


def markdown(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(c.replace("|", "/") for c in line) + " |"
                     for line in (header, ("---",) * len(header), *lines))


def counts(rows: list[Comparison]) -> str:
    """How many numbers of each data set got which verdict, and what the verdicts mean."""
    found = collections.Counter((row.data, row.verdict) for row in rows)
    names = list(dict.fromkeys(row.data for row in rows))
    lines = [(name, *(str(found[name, verdict] or "") for verdict in VERDICTS)) for name in names]
    total = tuple(str(sum(found[name, verdict] for name in names)) for verdict in VERDICTS)
    legend = "\n".join(f"- *{verdict}*: {meaning}" for verdict, meaning in VERDICTS.items())
    return markdown(("data", *VERDICTS), [*lines, ("all", *total)]) + "\n\n" + legend


def every_row(rows: list[Comparison]) -> str:
    return markdown(HEADER, [cells(row) for row in rows if row.data != "gemstones"])


def stored_fits(rows: list[Comparison]) -> str:
    """One line for each stored Gemstones fit, the furthest from its optimum first."""
    fits = collections.defaultdict(list)
    for row in rows:
        if row.data == "gemstones" and row.published is not None:
            fits[row.fit].append(row)
    lines = [
        (fit, f"{100 * parts[0].excess:.2g}%",
         ", ".join(f"{p.quantity} {p.published:.4f}" for p in parts),
         ", ".join(f"{p.quantity} {p.ours:.4f}" for p in parts))
        for fit, parts in sorted(fits.items(), key=lambda item: -item[1][0].excess)
    ]
    return markdown(("fit", "above the optimum", "stored", "ours"), lines)


def write_results(rows: list[Comparison], folder: pathlib.Path) -> None:
    """results.csv, the tables of README.md between their markers, and the figure."""
    from figure import draw

    frame = pd.DataFrame([row.to_json() for row in rows])
    frame[["low", "high"]] = [row.interval or (None, None) for row in rows]
    frame.drop(columns="interval").to_csv(folder / "results.csv", index=False, float_format="%.10g")
    readme = folder / "README.md"
    text = readme.read_text()
    for name, table in (("counts", counts), ("comparisons", every_row), ("stored fits", stored_fits)):
        begin, end = BEGIN.format(name), END.format(name)
        head, rest = text.split(begin)
        text = head + begin + "\n" + table(rows) + "\n" + end + rest.split(end)[1]
    readme.write_text(text)
    draw(rows, folder / "differences.png")
