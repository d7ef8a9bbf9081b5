"""Gin text of a config: what `gin_config` would build it from again."""

import dataclasses
from collections.abc import Sequence

from scaling.config import Config
from scaling.sweeps.ladder import DERIVED_FIELDS
from scaling.sweeps.study import Study


def to_gin(config: Config) -> str:
    """Gin text that builds `config`: every field bound, the root class first; each item of a tuple of
    configs in a scope of its own.

    A study's leaves out what its ladder derives, which `load_study` would refuse.
    """
    return _gin_text(config, DERIVED_FIELDS if isinstance(config, Study) else ())


def _gin_text(config: Config, left_out: Sequence[str], scope: str = "") -> str:
    lines: list[str] = []
    nested: list[tuple[Config, str]] = []
    for field in dataclasses.fields(config):
        name = f"{type(config).__name__}.{field.name}"
        if name in left_out:
            continue
        value = getattr(config, field.name)
        if isinstance(value, Config):
            nested.append((value, scope))
            text = f"@{scope}{type(value).__name__}()"
        elif isinstance(value, tuple) and value and isinstance(value[0], Config):
            items = [(item, f"{scope}{field.name}_{i}/") for i, item in enumerate(value)]
            nested += items
            text = "(" + "".join(f"@{within}{type(item).__name__}(), " for item, within in items) + ")"
        else:
            text = repr(value)
        lines.append(f"{scope}{name} = {text}\n")
    return "".join(lines) + "".join("\n" + _gin_text(item, left_out, within) for item, within in nested)
