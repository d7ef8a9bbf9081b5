"""Arguments that several commands take."""

import argparse


def add_binding(parser: argparse.ArgumentParser) -> None:
    """`-b`, as `args.binding`: any field of a gin file's configs, bound on the command line."""
    parser.add_argument("-b", "--binding", action="append", default=[], metavar="CLASS.FIELD=VALUE")
