"""The frozen study of experiments/hyperparameter_transfer, refitted: its README's two claims."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.transfer.exponents import fit_line
from scaling.transfer.optimum import Scan, optimum, pooled_noise, standard_error

HOME = Path(__file__).parents[2] / "experiments" / "hyperparameter_transfer"


@pytest.fixture(scope="module", params=[".", "encoder_decoder"], ids=["decoder", "encoder_decoder"])
def over_width(request) -> dict[str, tuple[float, float, int]]:
    """By parametrization: slope of log2 lr* on log2 width, range of lr*, range of the best grid point."""
    table = pd.read_csv(HOME / request.param / "results.csv")
    assert (table.status == "ok").all()
    plain = table[(table.n_layers == table.n_layers.min()) & (table.batch_size == 8)
                  & (table.n_tokens == 102_400)]
    shown = {}
    for name, runs in plain.groupby("parametrization"):
        scans = []
        for _, group in runs.groupby("d_model"):
            grid = group.pivot(index="learning_rate", columns="seed", values="loss").sort_index()
            scans.append(Scan("", np.log2(grid.index.to_numpy()), grid.to_numpy()))
        found = [optimum(s.log2_rates, s.losses) for s in scans]
        assert [o.edge for o in found] == [None] * 4 and scans[0].losses.shape[1] == 2
        errors = np.array([standard_error(s, pooled_noise(found), 100) for s in scans])
        at = np.array([o.log2_rate for o in found])
        widths = np.log2(np.sort(runs.d_model.unique()) / 32)
        assert widths.tolist() == [0, 1, 2, 3]
        line = fit_line(np.stack([np.ones(4), widths], 1), at, errors)
        best = [s.log2_rates[s.losses.mean(1).argmin()] for s in scans]
        shown[name] = (line.coefficients[1], np.ptp(at), np.ptp(best))
    return shown


def test_the_optimum_holds_still_under_completep(over_width):
    slope, _, steps = over_width["completep"]
    assert abs(slope) <= 0.25 and steps <= 1


def test_the_optimum_drifts_under_the_standard_parametrization(over_width):
    slope, octaves, steps = over_width["standard"]
    assert slope <= -0.5 and octaves >= 2 and steps >= 2
