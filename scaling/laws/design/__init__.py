"""Where the next run is worth most: optimal experimental design on a law's gradient.

    proposal = propose(fit_chinchilla(runs), "loss@1e21", budget=1e20, runs=3)
    expected_intervals(theta, columns, relation, ["n_exponent", "loss@1e21"])
"""

from scaling.laws.design.candidates import Candidates, levels
from scaling.laws.design.expectation import (
    NOISE,
    Expectation,
    ExpectedInterval,
    assumed_law,
    expect,
    expected_intervals,
)
from scaling.laws.design.proposals import Proposal, ProposedRun, propose

__all__ = [
    "NOISE",
    "Candidates",
    "Expectation",
    "ExpectedInterval",
    "Proposal",
    "ProposedRun",
    "assumed_law",
    "expect",
    "expected_intervals",
    "levels",
    "propose",
]
