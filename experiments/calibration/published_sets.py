"""The published runs on which `tools/coverage.py --published` rolls forward."""

import pathlib

import numpy as np
import pandas as pd

from scaling.errors import UserError
from scaling.laws.uncertainty.rolling_coverage import Runs

_PORIAN = {"warmup": "short", "flop_count": "standard", "split": "val"}
_TUNED = {**_PORIAN, "hparams": "tuned", "decay": "const"}

# name: file, rows by column, column that names a run where rows are checkpoints of runs
SETS = {
    "Hoffmann et al., digitised by Epoch": ("chinchilla_epoch.csv", {"dropped_by_epoch": False}, None),
    "Hoffmann et al., by Kyo and Takano": ("chinchilla_kyotakano_234.csv", {}, None),
    "Porian et al., RefinedWeb, tuned": ("porian_isoflop.csv", {"dataset": "rw", **_TUNED}, None),
    "Porian et al., OpenWebText2, tuned": ("porian_isoflop.csv", {"dataset": "owt2", **_TUNED}, None),
    "Porian et al., RefinedWeb, base": (
        "porian_isoflop.csv",
        {"dataset": "rw", **_PORIAN, "hparams": "base", "decay": "chinchilla"}, None),
    "Gemstones, cooled down": ("gemstones_cool_end.csv", {}, "run_name"),
    "Gemstones, sampled like Chinchilla": ("gemstones_hot_sampled_like_chinchilla.csv", {}, "run_name"),
    "Llama 3, digitised": (
        "openathena_isoflops.csv", {"experiment": "llama_3__raw_loss", "outlier": False}, None),
    "Marin, Comma": ("openathena_isoflops.csv", {"experiment": "marin_202603__comma__llama_2",
                                                 "outlier": False}, None),
    "Marin, DCLM": ("openathena_isoflops.csv", {"experiment": "marin_202603__dclm__llama_2",
                                                "outlier": False}, None),
    "Marin, Nemotron": ("openathena_isoflops.csv", {"experiment": "marin_202603__nemotron__llama_2",
                                                    "outlier": False}, None),
    "ml-scalefit, MassiveText": ("openathena_isoflops.csv", {
        "experiment": "ml_scalefit__massivetext__chinchilla", "outlier": False}, None),
    "Misfitting, FineWeb to C4": ("openathena_isoflops.csv", {
        "experiment": "misfitting__fineweb_c4__transformer", "outlier": False}, None),
}


def published_runs(folder: str | pathlib.Path, name: str) -> Runs:
    """One of SETS from the folder of its CSV. Raises `UserError` if the file is not there."""
    file, rows, run_column = SETS[name]
    path = pathlib.Path(folder) / file
    if not path.is_file():
        raise UserError(f"{path}: no such file; --published takes the folder of the published runs")
    frame = pd.read_csv(path)
    for column, value in rows.items():
        frame = frame[frame[column] == value]
    n, d = frame.n_params.to_numpy(float), frame.n_tokens.to_numpy(float)
    flops = frame.flops.to_numpy(float)
    if not (flops > 0).all():  # an integer overflow of the source
        flops = 6 * n * d
    run = np.arange(len(frame)) if run_column is None else (
        np.unique(frame[run_column], return_inverse=True)[1])
    return Runs(n, d, frame.loss.to_numpy(float), flops, run)
