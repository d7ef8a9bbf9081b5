"""Numbers as written must read back as the numbers they were."""

import math
import re

import numpy as np
import pytest

from scaling.report import numbers


def read(text):
    text = text.replace("−", "-").replace("\u00a0", "").replace(",", "")
    match = re.fullmatch(r"(?:(.+)×)?10\^\{(.+)\}", text)
    if match:
        return float(match[1] or 1) * 10.0 ** int(match[2])
    scale = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1])
    return float(text[:-1]) * scale if scale else float(text)


@pytest.mark.parametrize("value", np.geomspace(1.2345e-7, 9.8765e17, 40))
@pytest.mark.parametrize("write", [numbers.scientific, numbers.significant])
def test_three_digits_survive(write, value):
    assert read(write(value)) == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize("value", [1, 20, 100, 999, 1000, 38_600, 50_000, 999_499, 1_420_000,
                                   2.5e9, 3e12, 7e14])
@pytest.mark.parametrize("write", [numbers.count, numbers.tick_count])
def test_counts_survive(write, value):
    assert read(write(value)) == pytest.approx(value, rel=5.1e-3)


def test_negative_numbers_carry_a_minus_sign_and_signs_when_asked():
    assert numbers.decimals(-0.02, 2) == "−0.02"
    assert numbers.percent(0.5) == "+0.50%"


@pytest.mark.parametrize("write", [numbers.count, numbers.scientific, numbers.decimals,
                                   numbers.significant, numbers.duration])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_missing_is_never_zero(write, value):
    assert write(value) == numbers.MISSING
