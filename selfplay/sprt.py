"""Is B better than A? A sequential test on pairs of games, which stops as early as the evidence allows.

The generalised sequential probability ratio test on the five scores that a pair of games can have, as chess engines are
tested: the likelihood of each hypothesis is that of the best distribution of pair scores with that mean.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCORES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
"""What a pair can score, a game."""
FEW = 1e-3
"""Added to every count, so that a score that has not come up yet is not impossible."""


def expected_score(elo: float) -> float:
    """Return the mean score of who is better by so much, 0 to 1."""
    return 1 / (1 + 10 ** (-elo / 400))


class Sprt:
    """Tests "B is better by `low` Elo" against "by `high`", over pairs of one deal with the seats swapped.

    Wald 1945 for the bounds; Van den Bergh 2019 ("The generalized maximum likelihood ratio for the expectation value of
    a distribution") for the ratio.
    """

    def __init__(self, low: float, high: float, *, alpha: float = 0.05, beta: float = 0.05) -> None:
        """Start a test.

        Args:
            low: Elo of the hypothesis that B is not better (enough).
            high: Elo of the hypothesis that it is.
            alpha: how often B may be called better though the first holds.
            beta: how often it may be called not better though the second holds.

        Raises ValueError if `high` is not above `low` or a rate is not between 0 and 1/2.
        """
        if not low < high:
            raise ValueError(f"the second bound must be above the first, not {low} and {high}")
        if not (0 < alpha < 0.5 and 0 < beta < 0.5):
            raise ValueError(f"alpha and beta must lie between 0 and 1/2, not {alpha} and {beta}")
        self.low, self.high = low, high
        self.bounds = math.log(beta / (1 - alpha)), math.log((1 - beta) / alpha)
        self.counts_5 = np.zeros(len(SCORES))

    @property
    def pairs(self) -> int:
        """How many pairs were added."""
        return int(self.counts_5.sum())

    def add(self, first: float, second: float) -> None:
        """Take in the two games of a pair, each as B scored it: 1, 0.5 or 0."""
        at = round(2 * (first + second))
        if {first, second} - {0.0, 0.5, 1.0}:
            raise ValueError(f"a game scores 1, 0.5 or 0, not {first} and {second}")
        self.counts_5[at] += 1

    @property
    def llr(self) -> float:
        """The log-likelihood ratio of the second hypothesis to the first."""
        if not self.pairs:
            return 0.0
        counts_5 = self.counts_5 + FEW
        low_5, high_5 = (tilted(counts_5, expected_score(elo)) for elo in (self.low, self.high))
        return float((counts_5 * np.log(high_5 / low_5)).sum())

    @property
    def decision(self) -> Literal["better", "not better"] | None:
        """What the evidence says by now; None: go on."""
        lower, upper = self.bounds
        llr = self.llr
        return "better" if llr >= upper else "not better" if llr <= lower else None


def tilted(counts_5: Floats, mean: float) -> Floats:
    """Return the likeliest distribution of pair scores that has this mean: p_i = q_i / (1 + t (score_i - mean)).

    `counts_5` are positive, and q is their distribution; t is the root at which the mean is right.
    """
    from scipy.optimize import brentq

    q_5 = counts_5 / counts_5.sum()
    away_5 = SCORES - mean
    # p must stay positive: t lies between the poles.
    low, high = -1 / away_5.max(), -1 / away_5.min()
    width = 1e-9 * (high - low)
    t = float(brentq(lambda t: float((q_5 * away_5 / (1 + t * away_5)).sum()), low + width, high - width))
    found_5: Floats = q_5 / (1 + t * away_5)
    found_5 /= found_5.sum()
    return found_5
