"""Losses corrected for hyperparameters that were predicted and not tuned run by run."""

import pandas as pd

from scaling.errors import UserError
from scaling.laws.table.csv_table import numbers

COLUMNS = ("mistuning_nats", "tag_mistuning_nats")


def without_mistuning(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """`frame` with each row's expected loss from mis-tuning (nats, a column of `COLUMNS`) taken off.

    It is an expectation: it corrects the law's level and slope on average, no single run.
    Raises `UserError` if there is no such column, or a row without a number of at least 0 in it.
    """
    column = next((name for name in COLUMNS if name in frame), None)
    if column is None:
        raise UserError(
            f"{where}: no column {COLUMNS[0]}; runs of scaling plan --transfer carry it"
        )
    nats = numbers(frame[column])
    if not (nats >= 0).all():
        row = int((~(nats >= 0)).argmax()) + 1
        raise UserError(f"{where}: column {column}, row {row}: expected a number of at least 0")
    return frame.assign(loss=numbers(frame["loss"]) - nats)
