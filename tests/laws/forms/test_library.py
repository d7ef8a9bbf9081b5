"""What holds for every law of the library, registered or to come."""

import json

import numpy as np
import pytest

from scaling.laws.fitting.point_fit import fit_form
from scaling.laws.forms import FORMS, describe
from scaling.laws.forms.grammar import SumOfPowers

_STARTS = {"farseer": 32, "broken2_d": 32, "moe_sparsity": 16}  # laws with many valleys; else 8
# These differ from a tested one in the name of their column alone.
_SAME_BUT_COLUMN = {"broken1_n", "broken1_c", "broken2_n", "broken2_c"}


def _columns(form, examples):
    return {name: examples[form.name][1][name] for name in form.columns}


@pytest.mark.parametrize("name", sorted(set(FORMS) - _SAME_BUT_COLUMN))
def test_noiseless_data_give_the_law_back(name, examples):
    form = FORMS[name]
    truth, columns = examples[name][0], _columns(form, examples)
    log_value = form.log_value(form.theta(truth), columns)[0]
    # Least squares has one stage, where the Huber objectives of a traced law have twenty.
    objective = form.objective if isinstance(form, SumOfPowers) else "log_squares"
    fit = fit_form(form, columns, np.exp(log_value), starts=_STARTS.get(name, 8), objective=objective)
    assert fit.receipt.gradient <= 1e-8
    np.testing.assert_allclose(form.log_value(fit.theta, columns)[0], log_value, atol=1e-6)
    found = fit.params
    if name.startswith("broken2") and found["d1"] > found["d2"]:  # the breaks may come in any order
        swap = {"1": "2", "2": "1"}
        found = {k[0] + swap.get(k[1:], k[1:]): v for k, v in found.items()}
    assert found == pytest.approx(truth, rel=1e-4)


def test_every_law_has_an_example_and_no_example_is_left_over(examples):
    assert set(examples) == set(FORMS)


@pytest.mark.parametrize("name", FORMS)
def test_a_law_is_described_in_plain_data(name):
    form, shown = FORMS[name], describe(FORMS[name])
    assert json.loads(json.dumps(shown)) == shown
    assert shown["law"] == name and shown["columns"] == list(form.columns)
    assert shown["source"] and shown["formula"]
    for parameter in form.names:  # the formula is in the paper's names
        stem = parameter.split("_")[0].rstrip("*0123456789")
        assert stem in shown["formula"], parameter


@pytest.mark.parametrize("name", FORMS)
def test_holding_parameters_changes_no_prediction(name, examples):
    form = FORMS[name]
    truth, columns = examples[name][0], _columns(form, examples)
    held = form.fix(**{k: truth[k] for k in form.names[1:]})
    assert held.names == form.names[:1]
    np.testing.assert_allclose(
        held.log_value(held.theta(truth), columns), form.log_value(form.theta(truth), columns), rtol=1e-12
    )


@pytest.mark.parametrize("name", FORMS)
def test_predictions_of_many_draws_are_those_of_each(name, examples):
    form = FORMS[name]
    truth, columns = examples[name][0], _columns(form, examples)
    theta = form.theta(truth) * (1 + 0.01 * np.arange(3))[:, None]
    together = form.log_value(theta, columns)
    np.testing.assert_allclose(together, np.concatenate([form.log_value(t, columns) for t in theta]))
    np.testing.assert_allclose(np.log(form.predict(theta, columns)), together, rtol=1e-9, atol=1e-12)


def test_the_two_ways_to_a_sum_of_powers_agree(examples):
    """`value`, as the formula reads, and the log-sum-exp that fits use."""
    for form in FORMS.values():
        if isinstance(form, SumOfPowers):
            theta, columns = form.theta(examples[form.name][0]), _columns(form, examples)
            logs = {name: np.log(values) for name, values in columns.items()}
            np.testing.assert_allclose(np.exp(form.log_loss(theta, logs)[0]), form.predict(theta, columns),
                                       rtol=1e-11)
