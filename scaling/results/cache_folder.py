"""The folder of what can be made again: corpora, tokenizers, compiled programs."""

import os
from pathlib import Path

from etils import epath

from scaling.errors import UserError


def cache_root(given: epath.PathLike | None) -> Path:
    """`given`, else `$SCALING_CACHE`, else `~/.cache/scaling`. A local folder: it holds locks."""
    root = os.fspath(given or os.environ.get("SCALING_CACHE") or "~/.cache/scaling")
    if "://" in root:
        raise UserError(f"cache folder {root}: expected a local folder; it holds file locks")
    return Path(root).expanduser().absolute()


def keep_compiled_programs(config) -> None:
    """Compiled programs go under the cache folder, and the next process loads them from there.

    config: `jax.config`, given by those who have loaded JAX. Raises `OSError` if the folder cannot be
    made. To be called before the process compiles its first program: JAX asks for the folder once.
    """
    folder = cache_root(None) / "compiled"
    folder.mkdir(parents=True, exist_ok=True)
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)
