"""Refits published runs and compares every number with the one that was published.

    python experiments/published/refit.py --data FOLDER              # the table
    python experiments/published/refit.py --only chinchilla --json   # one data set, as JSON
    python experiments/published/refit.py --write                    # freezes results.csv and the README

FOLDER holds the CSVs that `tools/fetch_published.py` makes; without --data it is $SCALING_PUBLISHED_DATA.
"""

import argparse
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable

import broken
import chinchilla
import embeddings
import gemstones
import isoflops
import kyo_takano
import misfitting
import muennighoff
import porian
import routing
import steplaw
from comparison import Comparison
from refits import MissingTable, Published
from tables import plain_table, write_results

from scaling.config import did_you_mean
from scaling.errors import UserError

SOURCES: dict[str, Callable[[Published], list[Comparison]]] = {
    module.DATA: module.comparisons
    for module in (chinchilla, kyo_takano, embeddings, porian, muennighoff, gemstones, misfitting, steplaw,
                   routing, isoflops, broken)
}
VARIABLE = "SCALING_PUBLISHED_DATA"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="FOLDER", help=f"the published runs (default: ${VARIABLE})")
    parser.add_argument("--only", metavar="NAME", action="append", help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--bootstrap", type=int, default=400, metavar="K", help="replicates a fit")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--write", action="store_true", help="freeze results.csv, README's tables, figure")
    options = parser.parse_args(arguments)
    try:
        published = Published(data_folder(options.data), options.bootstrap)
        rows, skipped = run(published, options.only or list(SOURCES))
        if options.write and (options.only or skipped):
            raise UserError("--write wants every data set")
    except UserError as error:
        print(f"refit.py: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"rows": [row.to_json() for row in rows]}, indent=1))
    else:
        print(plain_table(rows))
    if options.write:
        write_results(rows, pathlib.Path(__file__).parent)
    return 0


def data_folder(given: str | None) -> pathlib.Path:
    """Raises `UserError` if there is none."""
    name = given or os.environ.get(VARIABLE)
    if not name:
        raise UserError(f"where are the published runs? Give --data FOLDER or set {VARIABLE};"
                        " tools/fetch_published.py makes such a folder")
    folder = pathlib.Path(name)
    if not folder.is_dir():
        raise UserError(f"no folder {name}: expected the published runs; tools/fetch_published.py makes it")
    return folder


def run(published: Published, names: list[str]) -> tuple[list[Comparison], list[str]]:
    """The comparisons, and the data sets that the folder lacks. Raises `UserError` if it lacks all."""
    for name in names:
        if name not in SOURCES:
            raise UserError(f"no data set {name!r}{did_you_mean(name, SOURCES)}")
    rows, skipped = [], []
    for name in names:
        start = time.perf_counter()
        try:
            rows += SOURCES[name](published)
        except MissingTable as missing:
            skipped.append(name)
            print(f"{name}: skipped: {missing}", file=sys.stderr)
            continue
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    if not rows:
        raise UserError(f"nothing to refit in {published.folder}")
    return rows, skipped


if __name__ == "__main__":
    sys.exit(main())
