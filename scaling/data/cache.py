"""A folder is built once, by one process, and is seen whole or not at all."""

import contextlib
import fcntl
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from scaling.results.files import writing


def build_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Makes `folder` by `build(temporary)` and a rename, unless it is there already.

    Others that want the same folder wait for the one that builds it. If that one is killed, its
    lock goes with it, and the next clears what it left and builds. Raises `UserError` where the
    disk is full or cannot be written.
    """
    if folder.exists():
        return
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock"):
            if folder.exists():
                return
            for stale in folder.parent.glob(f".{folder.name}.*.tmp"):
                shutil.rmtree(stale, ignore_errors=True)
            temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
            temporary.mkdir()
            try:
                build(temporary)
                temporary.rename(folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
