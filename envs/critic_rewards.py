"""What showing a solution and judging it pay, as pure functions of how it came out.

Chosen: three named rules with their papers; each gives one number a seat. Left out: a verifier's degrees of
conviction, which groups of games at one solution give as a share of verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Outcome(NamedTuple):
    """How one solution fared."""

    helpful: bool
    """Whether seat 0 was to be helpful; else it was to be sneaky."""
    right: bool
    """Whether its solution is right."""
    cleared: bool
    """Whether the critic found nothing wrong."""
    found: bool
    """Whether the critic said what is true: cleared what is right, named the very step that is wrong."""


def prover_verifier(outcome: Outcome) -> tuple[float, float]:
    """Helpful: 1 for convincing and right; sneaky: 1 for convincing and wrong; the critic: 1 for what is true.

    After Kirchner et al. 2024 (arXiv 2407.13692), who pay a prover its verifier's score where correctness suits its
    role; a verdict here is yes or no.

    >>> prover_verifier(Outcome(helpful=False, right=False, cleared=True, found=False))
    (1.0, 0.0)
    """
    suits = outcome.right == outcome.helpful
    return float(outcome.cleared and suits), float(outcome.found)


def spc(outcome: Outcome) -> tuple[float, float]:
    """Sneaky: 1 if a wrong step is not found, else -1; the critic the opposite. Chen et al. 2025, arXiv 2504.19162.

    A sneaky solution that is right has failed and loses. A helpful one wins if it is right and cleared; the critic wins
    there by what is true.
    """
    if not outcome.helpful:
        missed = not outcome.right and not outcome.found
        return (1.0, -1.0) if missed else (-1.0, 1.0)
    return (1.0 if outcome.right and outcome.cleared else -1.0), (1.0 if outcome.found else -1.0)


def truth(outcome: Outcome) -> tuple[float, float]:
    """1 for a right solution, whatever the role, and 1 for a true verdict: Kirchner et al.'s control."""
    return float(outcome.right), float(outcome.found)


RULES: Mapping[str, Callable[[Outcome], tuple[float, float]]] = {
    "prover_verifier": prover_verifier,
    "spc": spc,
    "truth": truth,
}
RANGES: Mapping[str, tuple[float, float]] = {"prover_verifier": (0.0, 1.0), "spc": (-1.0, 1.0), "truth": (0.0, 1.0)}
"""Lowest and highest reward of each rule."""
