"""Rows of random documents, and every objective of every family."""

import numpy as np
import pytest

from scaling.data.packing import Packer
from scaling.objectives import OBJECTIVES_OF_FAMILY, NoiseConfig, Vocabulary, build_objective

BOS = 1
VOCABULARY = Vocabulary(size=200, bos_id=BOS, sentinel_ids=tuple(range(180, 200)))
PAIRS = [
    (family, name) for family, names in OBJECTIVES_OF_FAMILY.items() for name in names
]


@pytest.fixture(scope="session")
def random_rows():
    """`random_rows(n, T, longest)`: int [n, T + 1] cut from a stream of documents of text tokens."""

    def make(n_rows: int, length: int, longest: int, seed: int = 0) -> np.ndarray:
        draw = np.random.default_rng(seed)
        documents = []
        while sum(map(len, documents)) < (n_rows + 1) * length:
            documents.append(draw.integers(2, 180, draw.integers(1, longest + 1)))
        return np.concatenate(list(Packer(length, BOS).rows(documents)))[:n_rows].astype(np.int32)

    return make


@pytest.fixture(scope="session")
def make_objective():
    """`make_objective(family, name, length, **noise)` over a vocabulary of 200 with 20 sentinels."""

    def make(family: str, name: str, length: int, **noise):
        return build_objective(name, NoiseConfig(**noise), family, VOCABULARY, length)

    return make


@pytest.fixture(params=PAIRS, ids="-".join)
def family_and_name(request) -> tuple[str, str]:
    return request.param
