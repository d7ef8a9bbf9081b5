"""Tables that line up, on a terminal and in a pipe."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160  # columns where there is no terminal to ask


class _Console(Console):
    """Leaves a reader that went away, as `head` does, to `scaling.cli`; rich itself exits with 1."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that rich is handling


def console() -> Console:
    """For results, on standard output; no colours chosen for us inside names and numbers."""
    return _Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def table(*columns: str, title: str | None = None) -> Table:
    """Columns that never wrap; a leading `>` aligns one to the right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    return made
