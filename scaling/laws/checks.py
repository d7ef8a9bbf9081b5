"""Moved to `scaling.laws.table.checks`; kept here until its last importers have followed."""

from scaling.laws.table.checks import in_range

__all__ = ["in_range"]
