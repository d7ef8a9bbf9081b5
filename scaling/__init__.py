"""Scaling laws for language models: plan, sweep, fit, forecast, verify, report."""

__version__ = "0.1.0"
