"""How init, forward multipliers and optimizer of each parameter follow from its shape: data."""

from scaling.parametrizations.config import ParametrizationConfig
from scaling.parametrizations.rules import Rule, forward_multipliers, parameter_rules
from scaling.parametrizations.table import parametrization_record, rules_table, table_hash

__all__ = [
    "ParametrizationConfig",
    "Rule",
    "forward_multipliers",
    "parameter_rules",
    "parametrization_record",
    "rules_table",
    "table_hash",
]
