"""Where the games bound a rating on one side at most, and where its interval ends on the side that they do bound.

A form of the parameters has no highest likelihood if the parameters can go off to infinity without any game becoming
less likely (separation; Albert and Anderson 1984, for multinomial logits as this one). That is a question of linear
programming, and draws and seats take part in it: who won 37 games and drew 3 may be as strong as one likes, if draws
are likely enough. Shapes are those of `davidson`; M comparisons of what happened with what could have.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .davidson import Design, Floats, fit

FAR = 60.0
"""Logits beyond which no end is looked for."""
FLAT = 100.0
"""Standard deviation, in logits, of the prior that stands in for none."""
TINY = 1e-7


class Separation:
    """The directions in which the parameters of a design can go off to infinity."""

    def __init__(self, design: Design) -> None:
        self._lead_MP = _leads(design)
        self._size = design.size
        self._is_possible = self._find_any()

    def unbounded(self, direction_P: Floats) -> tuple[bool, bool]:
        """Return whether no game bounds a form of the parameters above, and whether none does below."""
        if not self._is_possible or not direction_P.any():
            return False, False
        above, below = (self._furthest(side * direction_P) > TINY for side in (1.0, -1.0))
        return above, below

    def _find_any(self) -> bool:
        """Return whether there may be such a direction at all, which one linear program tells of most designs."""
        if np.linalg.matrix_rank(self._lead_MP) < self._size:
            return True
        return self._furthest(self._lead_MP.sum(0)) > TINY

    def _furthest(self, along_P: Floats) -> float:
        """Return how far one gets along a direction, within a box, without any game becoming less likely."""
        from scipy.optimize import linprog

        found = linprog(-along_P, A_ub=-self._lead_MP, b_ub=np.zeros(len(self._lead_MP)), bounds=(-1.0, 1.0))
        return -float(found.fun)


def _leads(design: Design) -> Floats:
    """Return how far, in logits, each outcome that happened lies before each that could have, [M, P]."""
    rows = []
    for x_P, z_P, can_draw, counts in zip(
        design.difference_KP, design.draw_KP, design.can_draw_K, design.counts_K3, strict=True
    ):
        logits = [x_P / 2, z_P, -x_P / 2]
        possible = [0, 1, 2] if can_draw else [0, 2]
        rows += [logits[seen] - logits[other] for seen in possible if counts[seen] for other in possible]
    return np.unique(np.array(rows), axis=0)


def likelihood_end(design: Design, direction_P: Floats, *, side: int, level: float) -> float:
    """Return where the interval of a form of the parameters ends on the side (1 above, -1 below) that games do bound.

    It is where twice the log-likelihood ratio reaches the chi-squared quantile; the ratio is scaled by pairs over
    games, as if the games of a pair were one. The prior has no part in it.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2

    flat = replace(design, sd=FLAT, loose=FLAT)
    best = fit(flat)
    middle = float(direction_P @ best.beta_P)
    limit = float(chi2.ppf(level, 1)) / (2 * design.clusters / len(design.cell_of))

    def excess(distance: float) -> float:
        value = middle + side * distance
        return best.value - fit(flat, held=(direction_P, value)).value - limit

    if excess(FAR) < 0:
        return side * math.inf
    return middle + side * float(brentq(excess, 0.0, FAR, xtol=1e-4))
