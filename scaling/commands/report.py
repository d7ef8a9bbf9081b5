"""scaling report DIR"""

import argparse
import pathlib

from scaling.commands.arguments import sweep_folder
from scaling.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="folder of the sweep")
    parser.add_argument("--out", help="file to write (default: report.html in the folder)")


def run(args: argparse.Namespace) -> int:
    path = write_report(sweep_folder(args.sweep), pathlib.Path(args.out) if args.out else None)
    print(f"report: {path}")
    return 0
