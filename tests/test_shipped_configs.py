import re

import pytest

from scaling.errors import UserError
from scaling.gin_config import configs_dir, describes_study, load_experiment, load_study
from scaling.models import build_model
from scaling.sweeps.plan import plan

FILES = sorted(str(path.relative_to(configs_dir())) for path in configs_dir().rglob("*.gin"))


def included_in(name: str) -> set[str]:
    text = (configs_dir() / name).read_text()
    direct = re.findall(r"^include ['\"](.*)['\"]", text, re.MULTILINE)
    return set(direct).union(*(included_in(inner) for inner in direct))


def builds(name: str) -> bool:
    try:
        load_study(name) if describes_study(name) else load_experiment(name)
    except UserError:
        return False
    return True


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_there_are_shipped_configs():
    assert {"models/decoder_tiny.gin", "sweeps/demo.gin"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_builds_or_is_a_part_of_one_that_does(name):
    """From a foreign working directory."""
    if builds(name):
        return
    assert [whole for whole in FILES if name in included_in(whole) and builds(whole)], (
        f"{name} does not build, and no file that builds includes it"
    )


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("sweeps/")])
def test_every_shipped_study_has_a_plan(name):
    assert len(plan(load_study(name).config)) >= 12  # 4 budgets of at least 3 sizes


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("models/") and builds(n)])
def test_every_shipped_model_has_a_shape(name):
    config = load_experiment(name).config.model
    assert build_model(config).config == config
