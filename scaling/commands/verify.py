"""scaling verify SEALED DIR|RUNS.csv"""

import argparse
import json
import pathlib

from scaling.commands.runs import sweep_table
from scaling.commands.tables import console, table
from scaling.errors import UserError
from scaling.laws import read_seal, verify
from scaling.laws.scoreboard import FOLDER, keep_score, read_scoreboard
from scaling.laws.table.csv_table import read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sealed", help="a sealed forecast")
    parser.add_argument("runs", help="folder of the sweep, or a CSV with n_params, n_tokens, loss")
    parser.add_argument("--scores", metavar="DIR", help="folder of the running score over all seals"
                        f" (default: {FOLDER}/ beside the seal)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    path = pathlib.Path(args.runs)
    if not read_seal(args.sealed)["targets"]:
        raise UserError(f"{args.sealed}: foretells no run")
    runs = sweep_table(path) if path.is_dir() else read_table(path)
    score = verify(args.sealed, runs)
    folder = pathlib.Path(args.scores) if args.scores else pathlib.Path(args.sealed).parent / FOLDER
    keep_score(folder, score)
    board = read_scoreboard(folder)
    if args.json:
        print(json.dumps({**score.to_json(), "running_score": board.to_json()}, allow_nan=False))
        return 0
    shown = table("target", ">predicted", f">{score.level:.0%} interval", ">measured", ">nats",
                  ">percent", ">inside",
                  title=f"sealed {score.created_at}, sha256 {score.seal_sha256[:16]}")
    for t in score.targets:
        low, high = t.predictive_interval
        row = [t.run_id, f"{t.predicted:.4f}", f"{low:.4f} .. {high:.4f}"]
        if t.actual is None:
            row += [t.status, "-", "-", "no"]
        else:
            row += [f"{t.actual:.4f}", f"{t.error_nats:+.4f}", f"{t.error_percent:+.2f}",
                    "yes" if t.inside_interval else "no"]
        shown.add_row(*row)
    out = console()
    out.print(shown)
    if "finished_at" not in runs:
        out.print("note: no column finished_at: that the seal came before these runs is taken on trust")
    out.print(board.line())
    return 0
