"""The report of a study: one HTML file that needs nothing else, neither network nor fonts."""

import pathlib

from scaling.report.analysis import analyse
from scaling.report.page import page
from scaling.report.study_folder import read_study_folder
from scaling.results.files import write_atomically

__all__ = ["write_report"]


def write_report(root: pathlib.Path, out: pathlib.Path | None = None) -> pathlib.Path:
    """Writes the page of the study in `root` to `out` (default `<root>/report.html`).

    Reads `study.json`, `plan.jsonl`, `runs/*/record.json` and, if there, the sealed
    `forecast.json`. The same folder gives the same bytes. Raises `UserError` if `root` holds no
    sweep or a damaged file; a sweep that cannot be fitted yet gives a page that says so.
    """
    root = pathlib.Path(root)
    out = root / "report.html" if out is None else pathlib.Path(out)
    write_atomically(out, page(analyse(read_study_folder(root))))
    return out
