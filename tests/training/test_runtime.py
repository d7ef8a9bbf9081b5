"""Compiler settings follow what may be here: a CPU's quick level is none of a GPU's."""

import glob
import subprocess
import sys

import pytest

from scaling import accelerators

SHOW = """
import os, sys
from scaling import accelerators
accelerators._DEVICE_FILES = tuple(sys.argv[1:])
from scaling.training.runtime import set_up_runtime
set_up_runtime()
print(os.environ["XLA_FLAGS"])
"""


@pytest.mark.parametrize(("platforms", "files", "level"), [
    ("", [], 1), ("", ["/dev/null"], None), ("cpu", ["/dev/null"], 1), ("cuda,cpu", ["/dev/null"], None),
])
def test_the_level_of_optimization(platforms, files, level, tmp_path):
    environment = {"JAX_PLATFORMS": platforms, "XLA_FLAGS": "", "SCALING_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", SHOW, *files]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == ("" if level is None else f"--xla_backend_optimization_level={level}")


def test_what_may_be_here(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(glob, "glob", lambda pattern: [pattern] if "nvidia" in pattern else [])
    assert accelerators.may_be_here()
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert not accelerators.may_be_here()
