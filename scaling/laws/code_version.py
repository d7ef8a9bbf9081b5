"""Hashes over what was written, and over the code that wrote it."""

import hashlib
import json
import pathlib

from etils import epath

import scaling
from scaling.config import canonical_json
from scaling.errors import UserError


def code_version() -> dict:
    """The package's version and a hash over the source of this room, which made the law."""
    room = pathlib.Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(room.rglob("*.py")):
        name = file.relative_to(room).as_posix()
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return {"scaling": scaling.__version__, "laws_sha256": digest.hexdigest()}


def content_sha256(content: dict) -> str:
    """Of everything but the key `sha256`, in canonical JSON."""
    kept = {k: v for k, v in content.items() if k != "sha256"}
    return hashlib.sha256(canonical_json(kept).encode()).hexdigest()


def read_sealed_json(path: epath.PathLike, what: str) -> dict:
    """An object with its own sha256, checked. Raises `UserError` if it is not one, or was changed."""
    path = epath.Path(path)
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such {what}") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UserError(f"{path}: not a {what}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        content = json.loads(text, object_pairs_hook=_no_repeats)
    except ValueError:
        raise UserError(f"{path}: not a {what} (not JSON), or damaged") from None
    if not isinstance(content, dict) or "sha256" not in content:
        raise UserError(f"{path}: not a {what} (no sha256)")
    try:
        intact = content_sha256(content) == content["sha256"]
    except ValueError:
        intact = False
    if not intact:
        raise UserError(f"{path}: the seal is broken: its content does not match its sha256")
    return content


def _no_repeats(pairs: list[tuple]) -> dict:
    """A key given twice would let a reader see a value that the hash did not cover."""
    if len({k for k, _ in pairs}) != len(pairs):
        raise ValueError("repeated key")
    return dict(pairs)
