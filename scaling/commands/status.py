"""scaling status DIR"""

import argparse
import json

from scaling.commands.arguments import sweep_folder
from scaling.commands.tables import console
from scaling.sweeps.status import print_status, sweep_status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="folder of the sweep")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    status = sweep_status(sweep_folder(args.sweep))
    if args.json:
        print(json.dumps(status.to_json()))
    else:
        print_status(status, console())
    return 0
