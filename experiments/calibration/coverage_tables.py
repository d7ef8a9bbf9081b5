"""The tables of README.md, from results.csv and published.csv, between their markers."""

import pathlib

import pandas as pd

from scaling.laws.uncertainty.resampling import DEFAULT

HOME = pathlib.Path(__file__).parent
_KEYS = ["surface", "design", "noise", "size", "delta", "method"]


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines))


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.0f}"


def by_setting(results: pd.DataFrame) -> str:
    """A row for each setting and method, coverage in percent by quantity."""
    quantities = list(dict.fromkeys(results.quantity))
    lines = []
    for (surface, design, noise, size, delta, method), part in results.groupby(_KEYS, sort=False):
        share = part.set_index("quantity").coverage
        lines.append([surface, design, noise, f"{100 * size:g}%", f"{delta:g}", method,
                      *(_percent(share.get(quantity)) for quantity in quantities)])
    return _markdown(_KEYS + quantities, lines)


def of_default(results: pd.DataFrame) -> str:
    return by_setting(results[results.method == DEFAULT])


def by_method(results: pd.DataFrame) -> str:
    """Mean (least to greatest) coverage of each method over the settings that it was run on."""
    quantities = [q for q in dict.fromkeys(results.quantity) if not q.startswith("forecast")]
    lines = []
    for method, part in results.groupby("method", sort=False):
        shares = part.groupby("quantity").coverage.agg(["min", "mean", "max"])
        cells = ["{} ({} to {})".format(*map(_percent, shares.loc[q, ["mean", "min", "max"]]))
                 if q in shares.index else "" for q in quantities]
        settings = part[_KEYS[:-1]].drop_duplicates().shape[0]
        sweeps = sorted(set(part.sweeps))
        lines.append([method, str(settings), " to ".join(map(str, {sweeps[0]: 0, sweeps[-1]: 0})), *cells])
    return _markdown(["method", "settings", "sweeps in each", *quantities], lines)


def rolling(published: pd.DataFrame) -> str:
    """Percent of the held-out runs inside, without and with model error, and means over the sets."""
    kinds = [f"{which}_{kind}" for which in ("next", "further")
             for kind in ("inside", "inside_with_model_error")]
    lines = [[row["set"], f"{row.delta:g}", row.groups_in_fit, *(_percent(row[kind]) for kind in kinds)]
             for _, row in published.iterrows()]
    for (delta, groups), part in published.groupby(["delta", "groups_in_fit"]):
        cells = [f"**{_percent(part[kind].mean())}**" for kind in kinds]
        lines.append(["**mean of the sets**", f"{delta:g}", groups, *cells])
    return _markdown(["runs", "delta", "groups in the fit", "next group", "next, with model error",
                      "further", "further, with model error"], lines)


def write_page(page: pathlib.Path = HOME / "README.md") -> None:
    """Puts the tables of the CSVs beside it between the page's markers."""
    results, published = (pd.read_csv(page.parent / f"{name}.csv") for name in ("results", "published"))
    text = page.read_text()
    for name, table in (("default", of_default(results)), ("methods", by_method(results)),
                        ("published", rolling(published))):
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        head, rest = text.split(begin)
        text = head + begin + "\n" + table + "\n" + end + rest.split(end)[1]
    page.write_text(text)
