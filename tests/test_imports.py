"""The arrows between rooms run downwards only, read from the source of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scaling

PACKAGE = Path(scaling.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

EVERYONE = {"errors", "config"}
# Room -> rooms it may import (and all that those may, and so on down).
ARROWS: dict[str, set[str]] = {
    "__main__": {"cli"},
    "cli": {"commands", "malloc"},
    "commands": {"gin_config", "gin_text", "sweeps", "transfer", "aot", "training", "report",
                 "profiling"},
    "profiling": {"training", "aot"},
    "aot": {"training", "accounting", "experiment", "models", "partitioning"},
    "gin_config": {"sweeps", "transfer"},
    "gin_text": {"sweeps"},
    "sweeps": {"accounting", "experiment", "results"},
    "transfer": {"accounting", "experiment", "results", "sweeps"},
    "training": {"experiment", "accounting", "results", "evaluation", "malloc"},
    "evaluation": {"generation"},
    "generation": {"experiment"},
    "experiment": {"models", "data", "objectives", "parametrizations", "partitioning", "optim"},
    "accounting": {"models", "data", "objectives", "parametrizations", "partitioning", "optim"},
    "parametrizations": {"models", "objectives", "optim"},
    "data": {"results"},
    "corpus": {"results"},
    "report": {"laws"},
    "laws": {"results"},
    "partitioning": {"cores"},
    **dict.fromkeys(("models", "objectives", "optim", "results"), set()),
    "malloc": {"accelerators"},
    **dict.fromkeys(("errors", "config", "cores", "accelerators"), set()),
}
NOTEBOOK_ROOMS = {"laws", "results", "report"}  # opened without JAX or training code
DERIVATIVES = {"traced.py", "batched.py"}  # of laws/fitting: JAX, imported only when a law needs it
BELONGS_TO = {"flax": "models", "gin": "gin_config"}  # who alone may import it


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def below(start: str) -> set[str]:
    reached = set(ARROWS[start])
    for inner in ARROWS[start]:
        reached |= below(inner)
    return reached


def imports(module: Path) -> set[tuple[int, str]]:
    """(line, dotted name) of every import, inside functions too; relative ones made absolute."""
    found = set()
    inside = ("scaling", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = [node.module] if node.module else []
            if node.level:
                origin = [*inside[: len(inside) - node.level + 1], *origin]
            # `from scaling import laws` imports a room, `from scaling.laws import fit` a name
            found |= {(node.lineno, ".".join([*origin, alias.name])) for alias in node.names}
    return found


def rooms_imported(module: Path) -> set[tuple[int, str]]:
    names = set()
    for line, name in imports(module):
        parts = name.split(".")
        if parts[0] == "scaling" and len(parts) > 1 and not parts[1].startswith("__"):
            names.add((line, parts[1]))
    return names


def test_every_room_is_on_the_map():
    rooms = {room(module) for module in MODULES} - {"__init__"}
    assert rooms <= set(ARROWS), f"say in ARROWS what {rooms - set(ARROWS)} may import"
    assert all(room not in below(room) for room in ARROWS)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_arrows_run_downwards(module):
    if module == PACKAGE / "__init__.py":
        assert not imports(module)
        return
    here = room(module)
    allowed = below(here) | EVERYONE | {here}
    for line, other in rooms_imported(module):
        assert other in allowed, f"{module}:{line}: {here} may not import {other}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(module):
    here = room(module)
    for line, name in imports(module):
        library = name.split(".")[0]
        owner = BELONGS_TO.get(library, here)
        assert owner == here, f"{module}:{line}: only {owner} imports {library}"
        if here in NOTEBOOK_ROOMS and not (library == "jax" and module.name in DERIVATIVES):
            assert library not in ("jax", "flax", "optax", "orbax", "grain"), f"{module}:{line}"
        assert library != "tensorflow", f"{module}:{line}: data is read without TensorFlow"


@pytest.mark.parametrize("name", ["laws", "results", "report", "cli"])
def test_a_notebook_opens_a_room_without_jax(name):
    program = f"""
import sys
import scaling.{name}
heavy = {{"jax", "flax", "optax", "gin", "tensorflow", "scaling.training", "scaling.models"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
