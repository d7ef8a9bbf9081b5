"""Atomic writes: a reader sees the old file or the new one, never half of either."""

import contextlib
import errno
import os
import uuid

from etils import epath

from scaling.errors import UserError


def write_atomically(path: epath.PathLike, text: str) -> None:
    """Replaces `path` by `text`: temporary file, flush to disk, rename.

    Raises `UserError` where the disk is full or the folder cannot be written;
    what stood there before is untouched.
    """
    path = epath.Path(path)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w") as file:
                file.write(text)
                _to_disk(file)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_once(path: epath.PathLike, text: str) -> bool:
    """Like `write_atomically`, but the first writer wins: False if `path` was already there.

    On a local filesystem the test and the write are one step (a hard link).
    """
    path = epath.Path(path)
    if "://" in str(path):  # buckets have no links; a record is written by the holder of the claim
        if path.exists():
            return False
        write_atomically(path, text)
        return True
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    write_atomically(temporary, text)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    finally:
        temporary.unlink()


def check_writable(folder: epath.PathLike) -> None:
    """Raises `UserError` if a file cannot be made in `folder` now."""
    probe = epath.Path(folder) / f".{uuid.uuid4().hex}.tmp"
    with writing(folder):
        probe.write_text("")
        probe.unlink()


@contextlib.contextmanager
def writing(path: epath.PathLike):
    """Turns the disk's refusals (full, read-only, no permission) into one clear line."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "permission denied",
            errno.EPERM: "permission denied",
            errno.EIO: "the disk reports an error",
            errno.ENOTDIR: "a part of the path is a file, not a folder",
            errno.EEXIST: "a part of the path is a file, not a folder",
        }
        reason = reasons.get(error.errno)
        if error.errno == errno.ENOENT and str(path).startswith(str(error.filename)):
            reason = f"{error.filename} is not there and cannot be made"
        elif error.errno == errno.ENOENT and epath.Path(path).is_dir():  # /proc, for one
            reason = "no file can be made in it"
        if isinstance(error, IsADirectoryError):  # of etils, which gives no number
            reason = "it is a folder"
        if reason:
            raise UserError(f"cannot write {path}: {reason}") from error
        raise


def _to_disk(file) -> None:
    file.flush()
    with contextlib.suppress(OSError, AttributeError, ValueError):  # no fsync on a bucket
        os.fsync(file.fileno())
