"""Moved to `scaling.laws.table.runs`; kept here until its last importers have followed."""

from scaling.laws.table.runs import RunSet, usable_runs

__all__ = ["RunSet", "usable_runs"]
