"""Tables: the first column names the row, all others are right-aligned numerals or words."""

import dataclasses
import math
from collections.abc import Sequence

from scaling.report.markup import Html, element, join, number


@dataclasses.dataclass(frozen=True)
class Cell:
    """text: what is shown. key: what it sorts by, if the text does not sort by itself."""

    text: str
    key: float | str | None = None
    words: bool = False


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Cell | str]], sortable: bool = False
) -> Html:
    """headers: texts of `numbers`. A plain string cell is a text of `numbers` too."""
    head = element("tr", *(_header(text, sortable) for text in headers))
    body = [element("tr", *(_cell(i, cell) for i, cell in enumerate(row))) for row in rows]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", *body),
                class_="sortable" if sortable else None),
        class_="scroll", tabindex="0", role="region", aria_label="table",
    )


def key_values(pairs: Sequence[tuple[str, str]]) -> Html:
    """A definition list."""
    return element(
        "dl",
        *(join(element("dt", name), element("dd", value)) for name, value in pairs),
        class_="facts",
    )


def _header(text: str, sortable: bool) -> Html:
    label = number(text)
    return element("th", element("button", label, type="button") if sortable else label,
                   scope="col")


def _cell(column: int, cell: Cell | str) -> Html:
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    text = cell.text if isinstance(cell.text, Html) else number(cell.text)
    key = cell.key
    if isinstance(key, float) and not math.isfinite(key):
        key = None
    if column == 0:
        return element("th", text, scope="row", data_key=key)
    return element("td", text, data_key=key, class_="words" if cell.words else None)
