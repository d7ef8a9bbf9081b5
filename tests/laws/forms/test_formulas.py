"""Each law against its paper: values by plain arithmetic, and limits that must hold."""

import math

import numpy as np
import pytest

from scaling.errors import UserError
from scaling.laws.allocation import SIX_N_D
from scaling.laws.forms import FORMS
from scaling.laws.forms.broken import broken
from scaling.laws.forms.experts import saturating


def value(name, parameters, **columns):
    """The law at one point."""
    form = FORMS[name]
    theta = form.theta(parameters)
    return float(np.exp(form.log_value(theta, {k: np.array([float(v)]) for k, v in columns.items()})[0, 0]))


CHINCHILLA = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
REPEATED = {**CHINCHILLA, "R_D*": 15.39, "R_N*": 5.31}


def chinchilla(n, d, E, A, B, alpha, beta):
    return E + A * math.exp(-alpha * math.log(n)) + B * math.exp(-beta * math.log(d))


def test_kaplan_and_hestness():
    # N_c = 8.8e13, alpha_N = 0.076: 2.30 nats at GPT-2's 1.5e9.
    a = 8.8e13**0.076
    assert value("kaplan_n", {"a": a, "alpha_N": 0.076}, n_params=1.5e9) == pytest.approx(
        (8.8e13 / 1.5e9) ** 0.076
    )
    assert value("kaplan_d", {"a": 3.0, "alpha_D": 0.5}, n_tokens=4e4) == pytest.approx(3 / 200)
    assert value("hestness_c", dict(E=2.0, a=30.0, alpha=0.5), flops=1e4) == pytest.approx(2.3)


def test_kaplan_of_n_and_d_goes_over_into_its_laws_of_one():
    p = dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)
    inner = math.exp(0.076 / 0.103 * math.log(6.4e13 / 1e9)) + 1.8e13 / 1e10
    assert value("kaplan_nd", p, n_params=1e9, n_tokens=1e10) == pytest.approx(inner**0.103)
    endless, vast = (value("kaplan_nd", p, n_params=n, n_tokens=d) for n, d in ((1e9, 1e25), (1e30, 1e9)))
    assert endless == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-6)
    assert vast == pytest.approx((1.8e13 / 1e9) ** 0.103, rel=1e-6)


def test_chinchilla_and_its_kin():
    at = dict(n_params=7e10, n_tokens=1.4e12)
    assert value("chinchilla", CHINCHILLA, **at) == pytest.approx(chinchilla(7e10, 1.4e12, **CHINCHILLA))
    shared = dict(E=1.87, A=521.0, B=1488.0, alpha=0.353)
    assert value("chinchilla_shared", shared, **at) == pytest.approx(
        chinchilla(7e10, 1.4e12, **shared, beta=0.353)
    )
    assert value("chinchilla_gamma", {**CHINCHILLA, "gamma": 1.0}, **at) == pytest.approx(
        value("chinchilla", CHINCHILLA, **at), rel=1e-14
    )
    root = math.sqrt(chinchilla(7e10, 1.4e12, **{**CHINCHILLA, "E": 0.0}))
    assert value("chinchilla_gamma", {**CHINCHILLA, "gamma": 0.5}, **at) == pytest.approx(1.8172 + root)


def test_farseer():
    p = dict(a3=-0.02, gamma=0.17, b3=0.9, a2=88.0, beta=-0.1, b2=-6.3, a1=-0.12, alpha=0.12, b1=0.4)
    n, d = 3e9, 6e10
    falls = math.exp(-0.12 * n**0.12 + 0.4)
    expected = math.exp(-0.02 * n**0.17 + 0.9) + math.exp(88.0 / n**0.1 - 6.3) / d**falls
    assert value("farseer", p, n_params=n, n_tokens=d) == pytest.approx(expected)
    # Without its a's it is a law of D alone with beta = e^b1.
    flat = {**p, "a1": 0.0, "a2": 0.0, "a3": 0.0}
    assert value("farseer", flat, n_params=n, n_tokens=d) == pytest.approx(
        value("hestness_d", dict(E=math.exp(0.9), a=math.exp(-6.3), alpha=math.exp(0.4)), n_tokens=d)
    )


def test_overtraining_is_chinchilla_with_one_exponent_under_6_n_d():
    n, d, eta = 4e8, 6.4e11, 0.14
    flops = 6 * n * d
    p = dict(E=1.84, a=212.0, b=367.0, eta=eta)
    assert value("overtraining", p, n_params=n, n_tokens=d, flops=flops) == pytest.approx(
        1.84 + (212 * (d / n) ** eta + 367 / (d / n) ** eta) / flops**eta
    )
    kin = dict(E=1.84, A=212.0 * 6**-eta, B=367.0 * 6**-eta, alpha=2 * eta)
    assert value("overtraining", p, n_params=n, n_tokens=d, flops=flops) == pytest.approx(
        value("chinchilla_shared", kin, n_params=n, n_tokens=d)
    )


class TestDataConstrained:
    def at(self, n, d, u, **changes):
        return value("data_constrained", {**REPEATED, **changes}, n_params=n, n_tokens=d, unique_tokens=u)

    def test_by_plain_arithmetic(self):
        # alpha = beta makes the compute-optimal N of U proportional to U: Muennighoff et al. use 0.051 U.
        A, B, alpha = math.exp(6.255414), math.exp(7.3049974), 0.3526596
        share = (A / B) ** (1 / alpha)
        assert share == pytest.approx(0.051, abs=5e-4)
        n, u, epochs = 8.7e9, 1e10, 18
        matched = share * u
        d_eff = u + u * 15.39 * (1 - math.exp(-(epochs - 1) / 15.39))
        n_eff = matched + matched * 5.31 * (1 - math.exp(-(n / matched - 1) / 5.31))
        assert self.at(n, epochs * u, u, E=1.87, A=A, B=B, alpha=alpha, beta=alpha) == pytest.approx(
            1.87 + A / n_eff**alpha + B / d_eff**alpha
        )

    def test_fresh_data_and_a_model_that_fits_them_are_chinchilla(self):
        n, d = 1e8, 5e10
        assert self.at(n, d, d) == pytest.approx(chinchilla(n, d, **CHINCHILLA), rel=1e-14)
        assert self.at(n, d, 100 * d) == pytest.approx(chinchilla(n, d, **CHINCHILLA), rel=1e-14)

    def test_repeats_that_count_in_full_are_chinchilla(self):
        assert self.at(5e9, 4e11, 1e9, **{"R_D*": 1e15, "R_N*": 1e15}) == pytest.approx(
            chinchilla(5e9, 4e11, **CHINCHILLA), rel=1e-12
        )

    def test_repeats_without_end_are_worth_a_multiple_of_the_unique_tokens(self):
        worth = 1e9 * (1 + 15.39)
        assert self.at(1e7, 1e18, 1e9) == pytest.approx(chinchilla(1e7, worth, **CHINCHILLA))

    def test_no_digits_are_lost_where_the_decay_is_slow(self):
        """1 - e^-x would keep none of them at R* = 1e15."""
        from scaling.laws.forms.data_constrained import saturating

        r, decay = 39.0, 1e15
        series = 1 + r - r**2 / (2 * decay)  # the next term is 1e-26
        assert float(saturating(1.0, 1 + r, decay, np)) == pytest.approx(series, rel=1e-15)

    def test_less_unique_data_never_helps(self):
        n, d = 2e9, 1e11
        losses = [self.at(n, d, u) for u in np.geomspace(1e11, 1e8, 30)]
        assert np.all(np.diff(losses) > 0)


def test_width_and_depth():
    p = dict(E=1.5, A=3.0, B=0.8, C=500.0, F=44000.0, alpha=0.5, beta=1.0, gamma=0.5, delta=0.5)
    three = {k: p[k] for k in ("E", "A", "B", "C", "alpha", "beta", "gamma")}
    at = dict(width=1024, depth=16, n_tokens=1e10)
    assert value("width_depth", three, **at) == pytest.approx(1.5 + 3 / 32 + 0.05 + 0.005)
    assert value("width_depth_params", p, n_params=1e8, **at) == pytest.approx(
        1.5 + 3 / 32 + 0.05 + 0.05 + 0.44
    )


class TestBroken:
    ONE = dict(a=0.4, b=2.3, c0=0.06, c1=0.7, d1=600.0, f1=0.2)

    def test_by_plain_arithmetic(self):
        x = 900.0
        expected = 0.4 + 2.3 / x**0.06 / (1 + (x / 600) ** 5) ** 0.14
        assert value("broken1_d", self.ONE, n_tokens=x) == pytest.approx(expected)
        two = {**self.ONE, "c2": -0.5, "d2": 2000.0, "f2": 0.5}
        expected = 0.4 + (expected - 0.4) * (1 + (x / 2000) ** 2) ** 0.25
        assert value("broken2_d", two, n_tokens=x) == pytest.approx(expected)

    def test_without_a_change_of_slope_it_is_a_power_law(self):
        assert value("broken1_n", {**self.ONE, "c1": 0.0}, n_params=3e8) == pytest.approx(
            value("hestness_n", dict(E=0.4, a=2.3, alpha=0.06), n_params=3e8), rel=1e-14
        )

    @pytest.mark.parametrize("x, slope", [(1e-3, -0.06), (1e9, -0.76)])
    def test_a_sharp_break_has_the_two_slopes_and_no_overflow(self, x, slope):
        p = {**self.ONE, "a": 1e-300, "f1": 1e-3}
        log = [math.log(value("broken1_d", p, n_tokens=x * s)) for s in (1.0, 2.0)]
        assert (log[1] - log[0]) / math.log(2) == pytest.approx(slope, abs=1e-9)

    def test_any_number_of_breaks(self):
        three = broken(3, "flops")
        assert three.name == "broken3_c" and len(three.names) == 3 + 3 * 3
        p = {**self.ONE, "c2": 0.1, "d2": 1e4, "f2": 0.3, "c3": 0.0, "d3": 1e5, "f3": 0.4}
        two = FORMS["broken2_c"]
        at = {"flops": np.geomspace(1e2, 1e6, 7)}
        np.testing.assert_allclose(three.log_value(three.theta(p), at), two.log_value(two.theta(p), at))


class TestExperts:
    S_BASE = dict(a=-0.082, b=-0.108, c=0.009, d=1.104, E_start=1.847, E_max=314.478)  # their table 3

    def test_by_plain_arithmetic(self):
        inner = 1 / (1 / 1.847 - 1 / 314.478)
        many = 1 / (1 / (63 + inner) + 1 / 314.478)
        log = -0.082 * 9 - 0.108 * math.log10(many) + 0.009 * 9 * math.log10(many) + 1.104
        assert value("routed", self.S_BASE, n_params=1e9, num_experts=64) == pytest.approx(10**log)

    def test_effective_experts_go_from_start_to_most(self):
        assert float(saturating(1.0, 1.847, 314.478)) == pytest.approx(1.847)
        assert float(saturating(1e12, 1.847, 314.478)) == pytest.approx(314.478, rel=1e-6)

    def test_the_papers_example_of_an_effective_parameter_count(self):
        """5M parameters with 128 experts are worth about 55M dense ones (their section 5)."""
        loss = value("routed", self.S_BASE, n_params=5e6, num_experts=128)
        dense = np.geomspace(5e6, 5e8, 4000)
        form = FORMS["routed"]
        at = {"n_params": dense, "num_experts": np.ones(len(dense))}
        same = dense[np.argmin(abs(np.exp(form.log_value(form.theta(self.S_BASE), at)[0]) - loss))]
        assert same == pytest.approx(55e6, rel=0.1)

    def test_sparsity(self):
        p = {"e": 0.94, "a": 16612.5, "b": 5455.67, "c": 0.4598, "d": 17.26, "alpha": 0.5962,
             "beta": 0.3954, "lambda": -0.1666, "delta": 0.1603, "gamma": 0.1595}
        n, d, active = 1e10, 1e11, 0.05
        expected = (16612.5 / n**0.5962 + 5455.67 / d**0.3954 + 0.4598 * active**0.1666
                    + 17.26 / (active**0.1603 * n**0.1595) + 0.94)
        at = dict(n_total=n, n_tokens=d, active_fraction=active)
        assert value("moe_sparsity", p, **at) == pytest.approx(expected)

    def test_joint(self):
        p = dict(c=1.36, a=35.9, b=36.0, alpha=-0.19, beta=-0.18, delta=0.23, gamma=-0.01, omega=-0.55,
                 zeta=0.026, E_start=2.07, E_max=290.0)
        n, d, e = 1e9, 5e10, 8
        hat = 1 / (1 / (e - 1 + 1 / (1 / 2.07 - 1 / 290)) + 1 / 290)
        ln = math.log(hat)
        size = 35.9 * hat**0.23 * n ** (-0.19 - 0.01 * ln)
        data = 36 / hat**0.55 * d ** (-0.18 + 0.026 * ln)
        law = value("moe_joint", p, n_active=n, n_tokens=d, num_experts=e)
        assert law == pytest.approx(size + data + 1.36)

    def test_one_effective_expert_is_a_dense_model(self):
        p = dict(c=1.8172, a=482.01, b=2085.43, alpha=-0.3478, beta=-0.3658, delta=0.2, gamma=-0.01,
                 omega=-0.5, zeta=0.02, E_start=1.0, E_max=300.0)
        assert value("moe_joint", p, n_active=1e9, n_tokens=5e10, num_experts=1) == pytest.approx(
            chinchilla(1e9, 5e10, **CHINCHILLA)
        )


class TestPrecision:
    def test_by_plain_arithmetic(self):
        p = {**CHINCHILLA, "gamma_w": 2.67, "gamma_a": 2.21, "gamma_kv": 0.96}
        n_eff = 1e9 * (1 - math.exp(-4 / 2.67)) * (1 - math.exp(-6 / 2.21)) * (1 - math.exp(-8 / 0.96))
        assert value("precision", p, n_params=1e9, n_tokens=2e10, weight_bits=4, activation_bits=6,
                     kv_bits=8) == pytest.approx(chinchilla(n_eff, 2e10, **CHINCHILLA))
        only = value("precision_weights", {**CHINCHILLA, "gamma_w": 2.67}, n_params=1e9, n_tokens=2e10,
                     weight_bits=4)
        assert only == pytest.approx(chinchilla(1e9 * (1 - math.exp(-4 / 2.67)), 2e10, **CHINCHILLA))

    def test_many_bits_are_chinchilla(self):
        p = {**CHINCHILLA, "gamma_w": 2.67}
        assert value("precision_weights", p, n_params=1e9, n_tokens=2e10, weight_bits=1e3) == pytest.approx(
            chinchilla(1e9, 2e10, **CHINCHILLA), rel=1e-14
        )

    def test_quantizing_afterwards(self):
        p = dict(C_T=0.06, gamma_D=0.5, gamma_N=0.5, gamma_post=0.5)
        assert value("quantization", p, n_params=1e8, n_tokens=1e10, post_bits=4) == pytest.approx(
            0.06 * 10 * math.exp(-8)
        )


def test_hyperparameters():
    # Step Law: 1.79 N^-0.713 D^0.307; at 1e9 parameters and 1e11 tokens 1.63e-3
    rate = value("step_lr", dict(c=1.79, alpha=-0.713, beta=0.307), n_params=1e9, n_tokens=1e11)
    assert rate == pytest.approx(1.79 * 10 ** (-0.713 * 9 + 0.307 * 11))
    assert value("step_batch", dict(d=0.58, gamma=0.571), n_tokens=1e11) == pytest.approx(0.58 * 10**6.281)
    # DeepSeek LLM's own runs: batches of 9.4M and 18.9M tokens at 7B and 67B, both with 2e12 tokens
    for size, batch in ((7e9, 9.4e6), (67e9, 18.9e6)):
        law = value("deepseek_batch", dict(a=0.2920, alpha=0.3271), flops=6 * size * 2e12)
        assert law == pytest.approx(batch, rel=0.25)
    assert value("deepseek_lr", dict(a=0.3118, alpha=-0.125), flops=1e24) == pytest.approx(0.3118e-3)
    assert value("critical_batch_loss", {"B*": 2e8, "alpha_B": 0.21}, loss=3.0) == pytest.approx(
        2e8 * math.exp(-math.log(3) / 0.21)
    )
    batch = value("critical_batch_tokens", dict(c=22.91, b=0.47), n_tokens=1e10)
    assert batch == pytest.approx(22.91 * 10**4.7)
    # at the critical batch twice the fewest steps, and far below it twice the tokens of tiny batches
    critical = {"S_min": 1000.0, "B*": 5e5}
    assert value("critical_batch_steps", critical, batch_tokens=5e5) == pytest.approx(2000)
    tiny, at = (b * value("critical_batch_steps", critical, batch_tokens=b) for b in (1.0, 5e5))
    assert at / tiny == pytest.approx(2, rel=1e-5)


def test_laws_of_other_targets_have_no_allocation():
    assert FORMS["step_lr"].allocation is None and FORMS["width_depth"].allocation is None
    with pytest.raises(UserError, match="data_constrained: no compute-optimal .* without unique_tokens"):
        from scaling.laws.allocation import allocate

        allocate(FORMS["data_constrained"], FORMS["data_constrained"].theta(REPEATED), 1e21, SIX_N_D)
