"""scaling doctor"""

import argparse
import tempfile

from scaling.commands.tables import console, table
from scaling.cores import n_cores
from scaling.results.cache_folder import cache_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> int:
    import jax

    from scaling.accounting import peak_flops_per_second
    from scaling.training import provenance
    from scaling.training.runtime import set_up_runtime

    set_up_runtime()
    shown = table("what", "found")
    for device in jax.devices():
        peak = peak_flops_per_second(device.device_kind)
        known = f"{peak / 1e12:,.0f} TFLOP/s bf16 at peak" if peak else "no known peak, so no MFU"
        shown.add_row("device", f"{device.platform}: {provenance.device_kind()} ({known})")
    shown.add_row("cores", str(n_cores()))
    for name, version in provenance.versions().items():
        shown.add_row(name, version)
    shown.add_row("commit", provenance.commit() or "not a git checkout")
    root = cache_root(None)
    shown.add_row("cache", f"{root} ({_writable(root)})")
    total = jax.jit(lambda n: jax.numpy.arange(8).sum() + n)(0)
    shown.add_row("jit", "works" if int(total) == 28 else "gives wrong numbers")
    console().print(shown)
    return 0


def _writable(root) -> str:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root):
            return "writable"
    except OSError as error:
        return f"not writable: {error.strerror}; set SCALING_CACHE"
