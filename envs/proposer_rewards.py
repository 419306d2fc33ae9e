"""What a proposed task is worth to its proposer, as pure functions of whether it is valid and how solvers did.

Chosen: every rule takes the solvers' scores, one or many, so that one serves a game with one answer and a group of
sixteen; papers and their code are cited where they differ. Left out: how alike two tasks are; who calls says it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from .game import near

Rule = Callable[..., float]
"""`rule(valid, scores, repetition=0.0)`: valid says whether the task is one at all; scores are of its solvers, 0 to 1
each; repetition is the share of the batch's tasks that are like this one, itself counted, 0 to 1. Returns a reward."""


def _p(valid: bool, scores: Sequence[float]) -> float:
    """Return the mean score. Raises ValueError for a valid task that nobody tried, and for scores that are none."""
    if not scores and valid:
        raise ValueError("a valid task is worth what its solvers make of it; give at least one score")
    if not all(0 <= score <= 1 for score in scores):
        raise ValueError(f"scores are from 0 to 1, not {list(scores)}")
    return fmean(scores) if scores else 0.0


def learnability(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """4 p (1 - p): 1 where half the solvers succeed, 0 for what is malformed, unsolved or trivial.

    The variance of a success, scaled to 1; p (1 - p) is the learnability of Rutherford et al. 2024 (arXiv 2408.15099).

    >>> [learnability(True, [1.0] * k + [0.0] * (4 - k)) for k in range(5)], learnability(False, [])
    ([0.0, 0.75, 1.0, 0.75, 0.0], 0.0)
    """
    p = _p(valid, scores)
    return 4 * p * (1 - p) if valid else 0.0


def azr(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """1 - p where somebody succeeds; -0.5 where it is well-formed but worth nothing; -1 malformed.

    Zhao et al. 2025 (arXiv 2505.03335), its reward of proposers within its reward of formats: the harder the better,
    short of the impossible. A trivial task is worth 0 to the proposer, and so -0.5 in all.
    """
    p = _p(valid, scores)
    if not valid:
        return -1.0
    worth = 1 - p if p > 0 else 0.0
    return worth if worth > 0 else -0.5


def r_zero(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """1 - 2 |p - 1/2| less the repetition, never below 0; 0 malformed (Huang et al. 2025, arXiv 2508.05004).

    There p is the share of solvers that agree with their majority; any scores will do.
    """
    p = _p(valid, scores)
    return max(0.0, 1 - 2 * abs(p - 0.5) - repetition) if valid else 0.0


def r_zero_code(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """min(p, 1 - p) less the repetition; -1 less the repetition malformed: as R-Zero's published code has it."""
    p = _p(valid, scores)
    return (min(p, 1 - p) if valid else -1.0) - repetition


def spice(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """exp(-(v - 1/4)^2 / (2 * 0.01)), v the variance of the scores; -0.1 invalid (Liu et al. 2025, arXiv 2510.24684).

    v is of the population, so of yes-or-no scores it is p (1 - p), at most 1/4. At v = 0 this is 0.044 and not 0.
    """
    p = _p(valid, scores)
    if not valid:
        return -0.1
    variance = fmean((score - p) ** 2 for score in scores)
    return math.exp(-((variance - 0.25) ** 2) / (2 * 0.01))


def mixed(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """1 where some but not all succeed, else 0 (Chen et al. 2025, arXiv 2508.03682)."""
    p = _p(valid, scores)
    return float(valid and 0 < p < 1)


def adversarial(valid: bool, scores: Sequence[float], repetition: float = 0.0) -> float:
    """1 - p for a valid task, 0 else: hard at any price, which ends in the impossible. A control, not a method."""
    p = _p(valid, scores)
    return 1 - p if valid else 0.0


RULES: Mapping[str, Rule] = {
    "learnability": learnability,
    "azr": azr,
    "r_zero": r_zero,
    "r_zero_code": r_zero_code,
    "spice": spice,
    "mixed": mixed,
    "adversarial": adversarial,
}
BY_MAJORITY = ("r_zero", "r_zero_code")
"""Rules whose scores say, in the paper, whether each solver agrees with most of them, and that take repetition off."""
RANGES: Mapping[str, tuple[float, float]] = {
    "learnability": (0.0, 1.0),
    "azr": (-1.0, 1.0),
    "r_zero": (0.0, 1.0),
    "r_zero_code": (-2.0, 0.5),
    "spice": (-0.1, 1.0),
    "mixed": (0.0, 1.0),
    "adversarial": (0.0, 1.0),
}
"""Lowest and highest reward of each rule."""


def proposer_rule(name: str) -> Rule:
    """Return a rule by name; raise ValueError naming the near one if there is none."""
    if name not in RULES:
        raise ValueError(f"unknown proposer reward {name!r}.{near(name, RULES)}")
    return RULES[name]
