"""Law files: rows, settings and result in one, tamper-evident, and refitted on reading."""

import json

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws import fit, fit_all, forecast
from scaling.laws.law_file import read_law, write_law

SETTINGS = {"bootstrap": 50, "seed": 3, "delta": 0.01}


@pytest.fixture(scope="module")
def runs(surface):
    return surface.sweep(np.random.default_rng(3), noise=0.012)


def test_law_comes_back_to_the_bit(tmp_path, runs):
    law = fit("chinchilla", runs, **SETTINGS)
    write_law(tmp_path / "law.json", law, SETTINGS)
    again = read_law(tmp_path / "law.json")
    assert again.params == law.params and again.intervals == law.intervals
    assert again.runs.data_hash == law.runs.data_hash
    at = {"n_params": 1e6, "n_tokens": 1e7}
    assert again.predict(at) == law.predict(at)


def test_forecast_from_a_file_is_that_of_the_runs(tmp_path, runs):
    fits = fit_all(runs, **SETTINGS)
    write_law(tmp_path / "all.json", fits, SETTINGS)
    again = read_law(tmp_path / "all.json")
    assert forecast(again, flops=1e13).to_json() == forecast(fits, flops=1e13).to_json()


@pytest.mark.parametrize("change", [
    lambda body: body["rows"]["loss"].__setitem__(0, 1.0),
    lambda body: body["result"]["params"].__setitem__("E", 1.0),
    lambda body: body["settings"].__setitem__("delta", 1.0),
    lambda body: body.pop("sha256"),
])
def test_changed_files_are_refused(tmp_path, runs, change):
    path = tmp_path / "law.json"
    body = write_law(path, fit("chinchilla", runs, **SETTINGS), SETTINGS)
    change(body)
    path.write_text(json.dumps(body))
    with pytest.raises(UserError, match="law.json"):
        read_law(path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not json", '{"sha256": "0"}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="x.json"):
        read_law(tmp_path / "x.json")
