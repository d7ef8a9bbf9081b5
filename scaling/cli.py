"""The `scaling` command. Each subcommand lives in `scaling.commands`, imported when it is used."""

import argparse
import importlib
import os
import sys
from typing import NoReturn

import scaling
from scaling.errors import UserError
from scaling.malloc import restart_with_tuned_malloc

# name -> (module, one line of help); in the order of a study's life
COMMANDS = {
    "train": ("train", "train one experiment"),
    "generate": ("generate", "text from a trained run"),
    "evaluate": ("evaluate", "put tasks and domains to a trained run"),
    "plan": ("plan", "price a study's runs; trains nothing"),
    "sweep": ("sweep", "run what a plan still lacks"),
    "status": ("status", "how far a sweep is"),
    "fit": ("fit", "fit scaling laws to a sweep or to a CSV of runs"),
    "forecast": ("forecast", "foretell a bigger run, and seal the forecast"),
    "verify": ("verify", "score a sealed forecast against the run it foretold"),
    "transfer": ("transfer", "hyperparameters from small models: tune, apply, verify"),
    "design": ("design", "where the next runs are worth most"),
    "report": ("report", "one self-contained page of results"),
    "coord-check": ("coord_check", "whether a parametrization trains alike at every size"),
    "profile": ("profile", "how fast an experiment trains here, and where the time goes"),
    "explain": ("explain", "each value of a config and where it came from"),
    "doctor": ("doctor", "devices, versions, what works here"),
    "supervise": ("supervise", argparse.SUPPRESS),
    "worker": ("worker", argparse.SUPPRESS),
    "calibrate": ("calibrate", argparse.SUPPRESS),
}
TRAINING_COMMANDS = ("train", "generate", "evaluate", "coord-check", "profile", "worker",
                     "calibrate")
LAW_COMMANDS = ("fit", "forecast", "verify", "design", "report")


class _Parser(argparse.ArgumentParser):
    """Its complaints are one line, as those of every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog.removeprefix('scaling').strip()}: {message}".removeprefix(": "))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake in what was given, 1 a fault of ours, 128 + n on signal n."""
    from_shell = argv is None
    argv = sys.argv[1:] if from_shell else argv
    name = next((a for a in argv if a in COMMANDS), None)
    if from_shell and name in TRAINING_COMMANDS:
        restart_with_tuned_malloc()
    if name in LAW_COMMANDS:  # many tiny matrices, on which BLAS threads only wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = _Parser(prog="scaling", description=scaling.__doc__)
    parser.add_argument("--version", action="version", version=f"scaling {scaling.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, (module, text) in COMMANDS.items():
        if text is argparse.SUPPRESS and command != name:
            continue
        shown = {} if text is argparse.SUPPRESS else {"help": text}
        subparser = subparsers.add_parser(command, description=text, **shown)
        if command == name:  # only the one in use is imported: `scaling --help` stays quick
            implementation = importlib.import_module(f"scaling.commands.{module}")
            implementation.add_arguments(subparser)
            subparser.set_defaults(run=implementation.run)
    try:
        args = parser.parse_args(argv)
        return args.run(args) or 0
    except UserError as error:
        print(f"scaling: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("scaling: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
