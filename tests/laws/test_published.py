"""The digitised Chinchilla runs, where they lie beside the checkout or are pointed to."""

import os
import pathlib

import pandas as pd
import pytest

from scaling.laws import fit_chinchilla

_BESIDE = pathlib.Path(__file__).resolve().parents[3] / "shared" / "published"
FOLDER = pathlib.Path(os.environ.get("SCALING_PUBLISHED_DATA", _BESIDE))
DATA = FOLDER / "chinchilla_epoch.csv"


@pytest.mark.skipif(not DATA.is_file(), reason="no published runs; set SCALING_PUBLISHED_DATA")
def test_chinchilla_data_reach_the_known_optimum():
    """Independent refit of the same 240 points; Besiroglu et al. 2024 publish the same digits."""
    runs = pd.read_csv(DATA)
    law = fit_chinchilla(runs[~runs.dropped_by_epoch], bootstrap=200)
    assert law.point.objective == pytest.approx(1.01827401778e-3, rel=1e-9)
    expected = {"E": 1.81724, "A": 477.83, "B": 2143.42, "alpha": 0.34731, "beta": 0.36717}
    for name, value in expected.items():
        assert law.params[name] == pytest.approx(value, rel=3e-5)
    assert law.point.receipt.starts_at_optimum == 1.0
    assert law.bootstrap.failed == 0
