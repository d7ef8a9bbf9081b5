"""A law with one break: 4-digit addition (Caballero et al. 2022)."""

import dataclasses

import numpy as np
from comparison import Comparison, compare
from refits import Published, columns_of, refit

from scaling.laws.forms import FORMS

DATA = "broken"
FILE = "bnsl_4digit_addition.csv"
BROKEN = FORMS["broken1_d"]
# Caballero et al. minimise squares of log(1 + law) - log(1 + loss).
PLUS_ONE = dataclasses.replace(
    BROKEN, name="broken_plus_one", value=lambda p, x, xp: 1 + BROKEN.value(p, x, xp)
)


def comparisons(published: Published) -> list[Comparison]:
    runs = published.read(FILE)
    train, rest = runs[runs.split == "train"], runs[runs.split != "train"]
    law = refit(PLUS_ONE, columns_of(train, "n_tokens"), train.loss.to_numpy() + 1,
                objective="log_squares")
    why = "their script prints its fit and stores none"
    rows = [compare(DATA, f"{len(train)} points", name, None, value, why=why)
            for name, value in law.params.items()]
    for words, part in (("fitted points", train), (f"{len(rest)} points beyond", rest)):
        errors = BROKEN.log_value(law.point.theta, columns_of(part, "n_tokens"))[0] - np.log(part.loss)
        rows.append(compare(DATA, words, "rms log error", None, float(np.sqrt((errors**2).mean())),
                            why=why))
    return rows
