"""Ratings from games, with intervals that are honest about how the games were played.

Chosen: Bradley-Terry with draws (Davidson 1970) and a term for the first seat, one rating a player over all games, a
seat and a draw term a game; intervals from a sandwich over pairs of games, because two games of one deal are not two
experiments. Left out: ratings that depend on the order of games (Elo's update, TrueSkill).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .davidson import Design, cluster_information, cluster_scores, decisive_games, fit
from .separation import Separation, likelihood_end

ELO = 400 / math.log(10)
"""Elo a natural logit: 400 Elo are odds of ten to one."""
IMAGINED = 2
"""Pairs, as chancy as the model has them, that intervals count beside those that were played."""
FEW = 8.0
"""Decisive games below which the likelihood's ends count where they lie further out."""


class Result(NamedTuple):
    """One game that counts."""

    first: str
    """Who sat in seat 0."""
    second: str
    score: float
    """Of seat 0: 1 won, 0.5 drawn, 0 lost; anything between where stakes differ."""
    game: str = ""
    pair: Hashable = None
    """What it was played with: games of one pair share their luck. None: by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A number in Elo with its interval."""

    elo: float
    low: float
    high: float
    """Infinite where nothing that was played bounds the number on that side."""
    games: int
    """How many games it comes from."""

    @property
    def is_bounded(self) -> bool:
        """Whether both ends of the interval are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """What `rate` found."""

    players: dict[str, Rating]
    """The best first. Elo is above the anchor, or above the mean of all where there is none."""
    seat: dict[str, Rating]
    """By game: what sitting in seat 0 is worth."""
    draw: dict[str, float]
    """By game: nu of Davidson 1970; two equals draw with probability nu / (2 + nu)."""
    anchor: str | None
    level: float
    pairs: int
    """Independent experiments that the intervals rest on."""


def rate(
    results: Iterable[Result],
    *,
    anchor: str | None = None,
    level: float = 0.95,
    prior: float = 1500.0,
    staked: Collection[str] = (),
) -> Ratings:
    """Return ratings of all players who meet, directly or through others.

    The model is d = rating(first) - rating(second) + seat(game), and a game is won, drawn and lost in proportion to
    exp(d / 2), nu(game), exp(-d / 2) (Davidson 1970, eq. 2.5, in logits). Intervals are those of a sandwich clustered
    by pair (Liang and Zeger 1986), corrected for few pairs, with a t distribution. Where fewer than `FEW` games were
    decisive they reach to the ends of the likelihood ratio, if those are further out. A player whose rating can grow
    without any game becoming less likely, such as one who lost nothing, has no highest likelihood: it gets one end
    from a likelihood ratio, and infinity for the other; infinity for both where nothing is known, as where all games
    were drawn.

    Args:
        results: games that count; leave void ones out.
        anchor: who is at 0; None puts the mean of all there.
        level: of the intervals, 0.95 for instance.
        prior: in Elo, standard deviation of a normal prior that keeps what nothing bounds finite. It moves a rating of
            800 by less than 1 % after some hundred games.

        staked: games in which more can be at stake than winning, so that a score may be anything from 0 to 1: such a
            game counts as so much won and the rest lost, and has no draws (a fractional logit, Papke and Wooldridge
            1996). Who wins most hands of poker is not who wins most chips.

    Raises ValueError for no results, an anchor who has not played, or players who have not met, naming them.
    """
    results = list(results)
    design = Design.of(results, anchor, prior / ELO, staked)
    _check_met(design, results)
    intervals = _Intervals(design, level)
    rated = {
        name: intervals.of(design.direction(name), sum(name in (r.first, r.second) for r in results))
        for name in design.players
    }
    seat = {
        game: intervals.of(design.axis(at), sum(r.game == game for r in results)) for game, at in design.seat_of.items()
    }
    return Ratings(
        players=dict(sorted(rated.items(), key=lambda item: -item[1].elo)),
        seat=seat,
        draw={game: design.nu(intervals.found, game) for game in design.games},
        anchor=anchor,
        level=level,
        pairs=design.clusters,
    )


def _check_met(design: Design, results: Sequence[Result]) -> None:
    """Refuse players between whom no chain of games runs."""
    start = design.anchor or design.players[0]
    met = reachable(start, [(r.first, r.second) for r in results] + [(r.second, r.first) for r in results])
    apart = [name for name in design.players if name not in met]
    if apart:
        raise ValueError(f"{', '.join(apart)} and {start} have met neither each other nor a third player in common")


def reachable(start: str, edges: Iterable[tuple[str, str]]) -> set[str]:
    """Return everything that a chain of directed edges leads to, `start` included."""
    after: dict[str, set[str]] = {}
    for source, target in edges:
        after.setdefault(source, set()).add(target)
    found, left = {start}, [start]
    while left:
        new = after.get(left.pop(), set()) - found
        found |= new
        left.extend(new)
    return found


class _Intervals:
    """The fit of a design, and how far to either side of it the truth may lie."""

    def __init__(self, design: Design, level: float) -> None:
        check_level(level)
        self.design, self.level = design, level
        self.found = fit(design)
        self._separation = Separation(design)
        self._bread_PP = np.linalg.inv(self.found.hessian_PP)
        self._scores_CP = cluster_scores(design, self.found)

    def of(self, direction_P: NDArray[np.float64], games: int) -> Rating:
        """Return a form of the parameters, in Elo, with its interval."""
        middle = float(direction_P @ self.found.beta_P)
        low, high = self._ends(direction_P, middle)
        return Rating(elo=ELO * middle, low=ELO * low, high=ELO * high, games=games)

    def _ends(self, direction_P: NDArray[np.float64], middle: float) -> tuple[float, float]:
        if not direction_P.any():
            return middle, middle
        above, below = self._separation.unbounded(direction_P)
        if above or below:
            low = -math.inf if below else likelihood_end(self.design, direction_P, side=-1, level=self.level)
            high = math.inf if above else likelihood_end(self.design, direction_P, side=1, level=self.level)
            return low, high
        deviation, freedom = self._sandwich(direction_P)
        half = t_quantile(self.level, freedom) * deviation
        ends = [middle - half, middle + half]
        bread_P = self._bread_PP @ direction_P
        if not self.design.is_fractional and decisive_games(self.design, self.found, bread_P) < FEW:
            # What so few games say is lopsided, which a standard error doesn't see.
            ends += [likelihood_end(self.design, direction_P, side=side, level=self.level) for side in (-1, 1)]
        return min(ends), max(ends)

    def _sandwich(self, direction_P: NDArray[np.float64]) -> tuple[float, float]:
        """Return a standard error, H^-1 (sum over pairs of g g') H^-1 along a direction, and its degrees of freedom.

        Pairs that all went alike would leave no width, and a few that did not speak for the rest: so `IMAGINED` pairs
        more are counted, each with the variance that the model gives to one of those that speak of this (as Agresti and
        Coull 1998 do for proportions), and the degrees of freedom are Satterthwaite's, of all of them.
        """
        clusters, parameters = self._scores_CP.shape
        bread_P = self._bread_PP @ direction_P
        # Few pairs make residuals too small: each pair pulls the fit towards itself.
        factor = clusters / max(clusters - 1, 1) * max(clusters / max(clusters - parameters, 1), 1.0)
        seen_C = factor * (self._scores_CP @ bread_P) ** 2
        expected_C = cluster_information(self.design, self.found, bread_P)
        # Their mean square over their mean: what one of the pairs that speak of this adds.
        imagined = np.full(IMAGINED, (expected_C**2).sum() / expected_C.sum())
        parts = np.append(seen_C, imagined)
        return math.sqrt(parts.sum()), float(parts.sum() ** 2 / (parts**2).sum())


def check_level(level: float) -> None:
    """Raise ValueError unless intervals can be of this level."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def t_quantile(level: float, freedom: float) -> float:
    """Return how many standard errors an interval of this level reaches to each side."""
    from scipy.stats import t

    check_level(level)
    return float(t.ppf(0.5 + level / 2, max(freedom, 1.0)))
