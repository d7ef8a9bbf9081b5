"""The compute-optimal N and D: closed forms against a search that knows none of them."""

import numpy as np
import pytest

from scaling.laws.allocation import SIX_N_D, FlopsRelation, allocate, search
from scaling.laws.forms import FORMS
from scaling.laws.forms.grammar import SmoothForm, real

LAWS = {
    "chinchilla": dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
    "chinchilla_shared": dict(E=1.87, A=521.0, B=1488.0, alpha=0.353),
    "chinchilla_gamma": dict(E=1.6, A=2e3, B=4e4, alpha=0.45, beta=0.5, gamma=0.7),
    "kaplan_nd": dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103),
    "overtraining": dict(E=1.84, a=212.0, b=367.0, eta=0.136),
}
ODD = FlopsRelation(k=9.1, p=0.93, largest_miss=0.0)
NEARLY = 1e-5  # of N; the search knows log N to about 1e-7, more where the valley is flat


def test_every_closed_form_is_tested():
    assert set(LAWS) == {name for name, form in FORMS.items() if form.closed_form}


@pytest.mark.parametrize("relation", [SIX_N_D, ODD], ids=["6ND", "odd"])
@pytest.mark.parametrize("name", LAWS)
def test_closed_forms_are_where_the_search_ends(name, relation):
    form = FORMS[name]
    theta = form.theta(LAWS[name]) * np.array([1.0, 1.01, 0.98])[:, None]
    for flops in (1e18, 1e22, 1e26):
        n, d = form.allocation(theta, flops, relation)
        np.testing.assert_allclose(relation.flops(n, d), flops, rtol=1e-12)
        np.testing.assert_allclose(n, search(form, theta, flops, relation)[0], rtol=NEARLY)


def test_the_optimum_of_chinchilla_is_equation_4_of_hoffmann():
    """G = (alpha A / beta B)^(1 / (alpha + beta)); N = G (C/6)^(beta / (alpha + beta))."""
    p = dict(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
    n, d = FORMS["chinchilla"].allocation(FORMS["chinchilla"].theta(p), 5.76e23, SIX_N_D)
    g = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)
    assert n == pytest.approx(g * (5.76e23 / 6) ** (0.28 / 0.62))
    assert d == pytest.approx((5.76e23 / 6) ** (0.34 / 0.62) / g)


def test_gadres_best_ratio_of_tokens_to_parameters_is_one_for_every_budget():
    form, p = FORMS["overtraining"], LAWS["overtraining"]
    for flops in (1e18, 1e24):
        n, d = form.allocation(form.theta(p), flops, SIX_N_D)
        assert d / n == pytest.approx((367.0 / 212.0) ** (1 / 0.272))


def test_held_parameters_allocate_as_free_ones():
    form, p = FORMS["chinchilla"], LAWS["chinchilla"]
    held = form.fix(alpha=p["alpha"], B=p["B"])
    assert held.allocation(held.theta(p), 1e21, ODD) == pytest.approx(
        form.allocation(form.theta(p), 1e21, ODD)
    )


def test_laws_without_a_closed_form_by_brute_force():
    """Repeated data call for fewer parameters and more epochs than fresh ones would."""
    form, flops = FORMS["data_constrained"], 1e22
    p = {**LAWS["chinchilla"], "R_D*": 15.39, "R_N*": 5.31}
    n, d = allocate(form, form.theta(p), flops, SIX_N_D, unique_tokens=1e10)
    grid = np.geomspace(1e8, 1e12, 400_001)
    at = {"n_params": grid, "n_tokens": flops / 6 / grid, "unique_tokens": np.full(len(grid), 1e10)}
    best = int(np.argmin(form.log_value(form.theta(p), at)[0]))
    assert n == pytest.approx(grid[best], rel=1e-4)
    fresh = FORMS["chinchilla"].allocation(FORMS["chinchilla"].theta(p), flops, SIX_N_D)
    assert n < fresh[0] and d > fresh[1]


def test_a_lower_end_of_the_range_does_not_count():
    """Some laws fall again where they mean nothing, at a single token; the valley is what is meant."""
    law = SmoothForm(
        name="odd", source="", formula="", free=(real("s"),), inputs=("n_params", "n_tokens"),
        value=lambda p, x, xp: xp.minimum(2 + (xp.log(x.n_params) - 20 - p.s) ** 2, x.n_tokens),
    )
    n, _ = law.allocation(np.array([[0.0], [0.5]]), 1e20, SIX_N_D)
    np.testing.assert_allclose(np.log(n), [20.0, 20.5], rtol=1e-7)


def test_the_active_parameters_of_a_mixture_are_its_size():
    """As Ludziejewski et al. find, experts that help small models most call for smaller ones."""
    form = FORMS["moe_joint"]
    p = dict(c=1.36, a=35.9, b=36.0, alpha=-0.19, beta=-0.18, delta=-0.55, gamma=0.026, omega=0.23,
             zeta=-0.01, E_start=2.07, E_max=290.0)
    few, many = (
        allocate(form, form.theta(p), 1e21, SIX_N_D, size="n_active", num_experts=e) for e in (1, 32)
    )
    assert few[0] * few[1] * 6 == pytest.approx(1e21)
    assert many[0] < few[0]


def test_no_optimum_inside_is_nan():
    form = FORMS["farseer"]
    flat = dict(a3=0.0, gamma=0.2, b3=0.5, a2=0.0, beta=-0.1, b2=3.0, a1=0.0, alpha=0.1, b1=-1.0)
    assert np.isnan(form.allocation(form.theta(flat), 1e20, SIX_N_D)[0])  # all in tokens
