"""How init and learning rate of each parameter follow from its shape: data, in one table."""

from scaling.parametrizations.rules import (
    ParametrizationConfig,
    Rule,
    parameter_rules,
    rules_table,
)

__all__ = ["ParametrizationConfig", "Rule", "parameter_rules", "rules_table"]
