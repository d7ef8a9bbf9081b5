"""The resolved table of rules, one row a parameter, and its hash."""

import dataclasses
from typing import Any

import jax

from scaling.config import content_hash
from scaling.parametrizations.config import ParametrizationConfig
from scaling.parametrizations.rules import forward_multipliers, rule


def rules_table(config: ParametrizationConfig, specs: Any) -> list[dict[str, Any]]:
    """One row a parameter: name, shape, axes, role, stack, and the fields of its `Rule`.

    stack: [name, depth] of the stack whose blocks have the parameter, or None.
    """
    rows = []
    for path, spec in jax.tree_util.tree_leaves_with_path(specs):
        rows.append(
            {
                "parameter": "/".join(entry.key for entry in path),
                "shape": list(spec.shape),
                "axes": list(spec.axes),
                "role": spec.role,
                "stack": [spec.stack.name, spec.stack.depth] if spec.stack else None,
                **dataclasses.asdict(rule(config, spec)),
            }
        )
    return rows


def table_hash(config: ParametrizationConfig, specs: Any) -> str:
    """Hash of the resolved table, the forward multipliers and the base shape.

    Two configs with one hash train the model of these `specs` alike.
    """
    return content_hash(
        {
            "table": rules_table(config, specs),
            "forward": forward_multipliers(config, specs)._asdict(),
            "base_shape": config.base_shape,
        }
    )


def parametrization_record(config: ParametrizationConfig, specs: Any) -> dict[str, Any]:
    """What a run's record says of its parametrization: name, base shape, multipliers, hash."""
    return {
        "name": config.name,
        "base_shape": config.base_shape,
        "forward": forward_multipliers(config, specs)._asdict(),
        "table_hash": table_hash(config, specs),
    }
