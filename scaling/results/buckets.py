"""Folders in buckets: usable or refused in one line, before anything is computed for them."""

import contextlib
import logging
import os
import uuid

from etils import epath

from scaling.errors import UserError


def is_bucket(path: epath.PathLike) -> bool:
    return "://" in os.fspath(path)


def check_bucket(path: epath.PathLike, writes: bool = False) -> None:
    """Raises `UserError` for a bucket that cannot be read now, or with `writes` written; else nothing.

    A bucket's client raises what it pleases: a missing package, a refused login, a network away.
    """
    if not is_bucket(path):
        return
    logging.disable(logging.CRITICAL)  # clients log a page about what is one line here
    try:
        folder = epath.Path(path)
        with contextlib.suppress(FileNotFoundError):
            folder.stat()  # `exists` says no to whatever goes wrong
        if writes:
            probe = folder / f".{uuid.uuid4().hex}.tmp"
            probe.write_text("probe")
            probe.unlink()
    except ImportError as error:
        raise UserError(f"cannot use {path}: {error}: pip install 'scaling[data]'") from error
    except KeyError:
        raise UserError(f"cannot use {path}: no such kind of bucket; known: gs://, s3://") from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        verb = "write" if writes else "read"
        raise UserError(f"cannot {verb} {path}: {type(error).__name__}: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)
