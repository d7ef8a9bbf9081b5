"""Laws of other columns and other targets, from a table as a user has it."""

import numpy as np
import pandas as pd
import pytest

from scaling.errors import UserError
from scaling.laws import fit


def test_a_schedule_starts_before_any_annealing(examples):
    """lr_annealing is 0 until the rate first falls: no other column may be 0."""
    truth, columns = examples["annealing"]
    loss = truth["L_0"] + truth["A"] * columns["lr_sum"] ** -truth["alpha"] - 0.4 * columns["lr_annealing"]
    noise = 1 + 1e-3 * np.random.default_rng(0).standard_normal(len(loss))
    table = pd.DataFrame({**columns, "loss": loss * noise})
    assert (table.lr_annealing == 0).sum() > 5
    law = fit("annealing", table, bootstrap=20, holdout=False)
    assert law.params == pytest.approx(truth, rel=0.05)
    assert law.predict({"lr_sum": 1.0, "lr_annealing": 0.0}).value == pytest.approx(3.1, rel=0.01)
    with pytest.raises(UserError, match="row 3, column lr_sum: 0.0 is not a positive number"):
        fit("annealing", table.assign(lr_sum=np.where(table.index == 2, 0.0, table.lr_sum)))
    with pytest.raises(UserError, match="row 3, column lr_annealing: -1.0 is not a number of at least 0"):
        fit("annealing", table.assign(lr_annealing=np.where(table.index == 2, -1.0, table.lr_annealing)))


def test_the_error_of_a_task_needs_no_n_or_d(examples):
    truth, columns = examples["task_error_exponential"]
    error = truth["epsilon"] - truth["k"] * np.exp(-truth["gamma"] * columns["loss"])
    wobble = 1e-3 * np.random.default_rng(0).standard_normal(len(error))
    table = pd.DataFrame({**columns, "task_error": error + wobble})
    law = fit("task_error_exponential", table, bootstrap=20)
    at = law.predict({"loss": 2.0})
    assert at.value == pytest.approx(0.85 - 2.08 * np.exp(-0.756 * 2.0), abs=0.01)
    assert at.interval[0] < at.value < at.interval[1]


def test_repeats_of_one_corpus_are_enough(examples):
    """One number of unique tokens in all runs leaves R_D* its effect, through D / U."""
    from scaling.laws.fitting.point_fit import fit_form
    from scaling.laws.forms import FORMS

    form = FORMS["data_constrained"]
    truth, columns = examples["data_constrained"]
    one = columns["unique_tokens"] == columns["unique_tokens"][0]
    columns = {name: columns[name][one] for name in form.columns}
    loss = np.exp(form.log_value(form.theta(truth), columns)[0])
    held = form.fix(**{k: truth[k] for k in ("E", "A", "B", "alpha", "beta")})
    found = fit_form(held, columns, loss, starts=8).params
    assert found == pytest.approx({"R_D*": truth["R_D*"], "R_N*": truth["R_N*"]}, rel=1e-5)
