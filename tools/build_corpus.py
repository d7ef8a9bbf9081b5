"""Builds a TFDS corpus of text, JSONL (plain, .gz, .zst) or Parquet files, in parallel.

    python tools/build_corpus.py '/raw/**/*.jsonl.zst' --name web --out /my/corpora \\
        --validation-fraction 0.005 --exact --near 0.8 --decontaminate 13 \\
        --filter gopher_quality --filter gopher_repetition

It may be killed at any moment: start it again and it continues, and the bytes at the end are the same.
"""

import argparse
import json
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from scaling.cores import n_cores
from scaling.corpus import BuildConfig, build_corpus
from scaling.corpus.filters import FILTERS
from scaling.errors import UserError


def main(argv: list[str] | None = None) -> int:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("inputs", nargs="+", help="folders, files or globs (quoted)")
    parser.add_argument("--name", required=True, help="of the dataset")
    parser.add_argument("--out", required=True, metavar="DIR", help="TfdsConfig.data_dir")
    parser.add_argument("--validation", action="append", default=[], metavar="GLOB",
                        help="files of the validation split")
    parser.add_argument("--validation-fraction", type=float, default=0.0, metavar="F",
                        help="of the documents, held out")
    parser.add_argument("--text-field", default="text", help="of JSONL and Parquet (default: text)")
    parser.add_argument("--filter", action="append", default=[], metavar="NAME",
                        help="in this order: " + ", ".join(FILTERS))
    parser.add_argument("--exact", action="store_true", help="drop exact duplicates")
    parser.add_argument("--near", type=float, metavar="J", help="drop near duplicates (MinHash): 0.8")
    parser.add_argument("--decontaminate", type=int, metavar="N",
                        help="drop training documents that share N words in a row with validation: 13")
    parser.add_argument("--max-bad", type=float, default=0.01, metavar="SHARE",
                        help="of documents that may be unreadable (default: 0.01)")
    parser.add_argument("--shard-mb", type=float, default=256.0, help="text in a shard (default: 256)")
    parser.add_argument("--workers", type=int, default=n_cores(),
                        help="processes (default: cores)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    args = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        if args.workers < 1:
            raise UserError(f"--workers {args.workers}: expected at least 1")
        config = BuildConfig(
            inputs=tuple(args.inputs), name=args.name, validation_inputs=tuple(args.validation),
            validation_fraction=args.validation_fraction, text_field=args.text_field,
            filters=tuple(args.filter), exact=args.exact, near=args.near,
            decontaminate=args.decontaminate, max_bad=args.max_bad,
            shard_bytes=int(args.shard_mb * 2**20),
        )
        with Shown(console) as shown:
            report = build_corpus(config, args.out, args.workers, shown.show)
    except UserError as error:
        print(f"build_corpus: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("build_corpus: interrupted; start it again to continue", file=sys.stderr)
        return 130
    if args.json:
        print(json.dumps(report))
    else:
        show_report(report, args.out)
    return 0


class Shown:
    """A progress bar a stage on a terminal, a line a stage elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                             TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._stages: dict[str, int] = {}

    def __enter__(self) -> "Shown":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._bar.add_task(stage, total=total)
            if not self._console.is_terminal:
                self._console.print(f"{stage}: {total:,}")
        self._bar.update(self._stages[stage], completed=done)


def show_report(report: dict, out: str) -> None:
    table = Table("", "documents", "as", title=f"{report['name']}: {report['read']:,} documents read")
    for split, count in report["kept"].items():
        table.add_row(f"kept, {split}", f"{count:,}", f"{report['bytes'][split]:,} bytes")
    for kind in ("unreadable", "dropped"):
        for reason, told in sorted(report[kind].items()):
            table.add_row(f"{kind}: {reason}", f"{told['count']:,}", told["examples"][0])
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    values = {"dataset": report["name"], "data_dir": out, "train_split": "train"}
    if "validation" in report["kept"]:
        values["validation_split"] = "validation"
    options = " ".join(f"-b \"TfdsConfig.{field}='{value}'\"" for field, value in values.items())
    console.print(f"train on it: scaling train models/decoder_tfds.gin {options}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
