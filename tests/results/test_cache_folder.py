"""Where what can be made again is kept, and that compiled programs are found there again."""

import os
import subprocess
import sys

import pytest

from scaling.errors import UserError
from scaling.results.cache_folder import cache_root

FIT = """
import numpy as np
from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms.grammar import SmoothForm, coefficient, exponent
form = SmoothForm(name="line", source="", formula="", inputs=("x",),
                  free=(coefficient("A", alpha="x"), exponent("alpha")),
                  value=lambda p, x, xp: p.A * x.x**-p.alpha)
x = np.geomspace(1, 100, 8)
print(fit_form(form, {"x": x}, 3 * x**-0.5, starts=2).params["alpha"])
"""


def test_the_cache_is_where_it_is_told_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "from_environment"))
    assert cache_root(None) == tmp_path / "from_environment"
    assert cache_root(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("SCALING_CACHE")
    assert cache_root(None).parts[-2:] == (".cache", "scaling")
    with pytest.raises(UserError, match="expected a local folder"):
        cache_root("gs://bucket/cache")


def fitted(cache):
    environment = {**os.environ, "SCALING_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.5)
    return done.stdout


def programs(cache):
    return {f.name for f in (cache / "compiled").iterdir() if f.name.endswith("-cache")}


def test_a_second_process_compiles_nothing_anew(tmp_path):
    first = fitted(tmp_path)
    compiled = programs(tmp_path)
    assert compiled
    assert fitted(tmp_path) == first and programs(tmp_path) == compiled


def test_a_fit_does_without_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    fitted(tmp_path / "file")
