import dataclasses
import itertools
import json
import os
import subprocess
import sys
from typing import Literal

import numpy as np
import pytest

from scaling.config import Config, canonical_json, content_hash, did_you_mean
from scaling.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaf(Config):
    rate: float = 0.1
    size: int = 3
    label: str = "x"
    on: bool = False
    kind: Literal["cosine", "linear"] = "linear"
    folder: str | None = None

    def validate(self) -> None:
        self.require(self.size >= 1, "size", "an integer of at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree(Config):
    name: str
    leaf: Leaf = Leaf()
    rates: tuple[float, ...] = ()
    pair: tuple[int, int] = (1, 2)


def message(make) -> str:
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("rate", "0.1", "a finite number"),
        ("rate", True, "a finite number"),
        ("rate", float("nan"), "a finite number"),
        ("rate", float("inf"), "a finite number"),
        pytest.param("rate", 10**400, "a finite number", id="rate-huge"),
        ("rate", None, "a finite number"),
        ("size", 3.0, "an integer"),
        ("size", "3", "an integer"),
        ("size", True, "an integer"),
        ("size", 0, "an integer of at least 1"),
        ("label", 3, "a string"),
        ("on", 1, "True or False"),
        ("kind", "cosin", "did you mean 'cosine'?"),
        ("kind", 7, "one of 'cosine', 'linear'"),
        ("kind", ["linear"], "one of 'cosine', 'linear'"),
        ("folder", 3, "a string"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_valid(field, value, expected):
    text = message(lambda: Leaf(**{field: value}))
    assert text.startswith(f"Leaf.{field} = {value!r}: expected") and expected in text


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"leaf": 3}, "Tree.leaf = 3: expected Leaf"),
        ({"leaf": {"rate": 0.2}}, "Tree.leaf = {'rate': 0.2}: expected Leaf"),
        ({"rates": (0.1, "x")}, "Tree.rates[1] = 'x': expected a finite number"),
        ({"rates": 0.1}, "Tree.rates = 0.1: expected a list of a finite number"),
        ({"pair": (1, 2, 3)}, "Tree.pair = (1, 2, 3): expected 2 values"),
    ],
)
def test_a_nested_value_is_checked_too(changes, start):
    assert message(lambda: Tree(name="a", **changes)).startswith(start)


def test_numbers_that_are_equal_have_one_identity():
    """Ints given for floats, lists for tuples, NumPy's floats, and minus zero."""
    trees = [
        Tree(name="a", leaf=Leaf(rate=rate), rates=rates)
        for rate, rates in [
            (1.0, (0.0, 2.0)), (1, (0, 2)), (np.float64(1), [0, 2.0]), (1.0, (-0.0, 2.0)),
        ]
    ]
    for a, b in itertools.combinations(trees, 2):
        assert a == b and hash(a) == hash(b)
        assert canonical_json(a.to_json()) == canonical_json(b.to_json())


def test_json_round_trip():
    tree = Tree(
        name="ünï\n☃", leaf=Leaf(rate=1 / 3, folder="/x", kind="cosine"), rates=(1e-300, 3e22)
    )
    assert Tree.from_json(json.loads(canonical_json(tree.to_json()))) == tree
    assert Tree.from_json(tree.to_json()) == tree
    assert Tree.from_json({"name": "a"}) == Tree(name="a")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "a", "laef": {}}, "Tree.laef: no such field; did you mean 'leaf'?"),
        ({"name": "a", "leaf": {"sise": 3}}, "Tree.leaf.sise: no such field; did you mean 'size'?"),
        ({"name": "a", "zzz": 1}, "no such field; valid: leaf, name, pair, rates"),
        ({}, "Tree.name: missing, and it has no default"),
        ({"name": "a", "leaf": 3}, "Tree.leaf: expected an object with the fields of Leaf"),
        ({"name": "a", "leaf": {"size": "3"}}, "Leaf.size = '3': expected an integer"),
        ([], "Tree: expected an object with the fields of Tree"),
        ({"name": "a", "rates": "12"}, "Tree.rates = '12'"),
    ],
)
def test_json_that_does_not_fit_is_refused(data, expected):
    assert expected in message(lambda: Tree.from_json(data))


def test_nan_has_no_canonical_json():
    with pytest.raises(ValueError):
        canonical_json({"x": float("nan")})


def test_the_hash_does_not_depend_on_field_order_or_process():
    backwards = dataclasses.make_dataclass(
        "Leaf",
        [(f.name, f.type, f) for f in reversed(dataclasses.fields(Leaf))],
        bases=(Config,), frozen=True, kw_only=True,
    )
    assert list(backwards().to_json()) == list(reversed(Leaf().to_json()))
    assert content_hash(backwards().to_json()) == content_hash(Leaf().to_json())
    program = (
        "from scaling.config import content_hash;"
        " print(content_hash({'b': [1, 0.1, None], 'a': {'é': True}}))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {content_hash({"a": {"é": True}, "b": [1, 0.1, None]})}


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Leaf().size = 4
    changed = Leaf().replace(size=4)
    assert (changed.size, Leaf().size) == (4, 3)
    assert "Leaf.size = 0" in message(lambda: Leaf().replace(size=0))


def test_the_nearest_name_or_all_of_them():
    assert did_you_mean("d_modle", ["d_model", "d_ff"]) == "; did you mean 'd_model'?"
    assert did_you_mean("qqq", ["d_model", "d_ff"]) == "; valid: d_ff, d_model"
