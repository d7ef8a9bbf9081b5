"""Arguments that several commands take."""

import argparse
import pathlib

from scaling.errors import UserError
from scaling.results.buckets import is_bucket


def add_binding(parser: argparse.ArgumentParser) -> None:
    """`-b`, as `args.binding`: any field of a gin file's configs, bound on the command line."""
    parser.add_argument("-b", "--binding", action="append", default=[], metavar="CLASS.FIELD=VALUE")


def sweep_folder(text: str) -> pathlib.Path:
    """The folder of a sweep. Raises `UserError` for a bucket."""
    if is_bucket(text):
        raise UserError(
            f"{text}: a sweep's folder lies on a file system, for its workers claim runs with hard links,"
            " which a bucket lacks; on TPUs give the bucket as --tpu-bucket"
        )
    return pathlib.Path(text)
