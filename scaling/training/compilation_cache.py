"""JAX's persistent compilation cache, set up for programs that compile in seconds."""

import os
import pathlib

import jax


def enable_compilation_cache(folder: str | os.PathLike[str]) -> None:
    """Keeps every compiled program under `folder`: a restart or another worker loads it."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
