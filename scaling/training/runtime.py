"""Settings of JAX and XLA that every training process here shares. Call before the first device use."""

import logging
import os

import jax

from scaling import accelerators
from scaling.results.cache_folder import keep_compiled_programs


def set_up_runtime() -> None:
    """Quiet logs, quick compilation on CPU, and a persistent compilation cache.

    Level 1 of XLA's CPU backend compiles these programs in half the time and runs them as fast; that for
    GPUs has nothing below 2.
    Compiled programs are kept under the cache folder (`$SCALING_CACHE` or ~/.cache/scaling), so that
    a restart or another worker loads them instead.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    on_cpu = jax.config.jax_platforms == "cpu" or not accelerators.may_be_here()
    if "xla_backend_optimization_level" not in flags and on_cpu:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=1".strip()
    logging.getLogger("absl").setLevel(logging.ERROR)
    keep_compiled_programs(jax.config)
