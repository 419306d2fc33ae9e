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

from .davidson import Design, Fit, bound, cluster_scores, fit

ELO = 400 / math.log(10)
"""Elo a natural logit: 400 Elo are odds of ten to one."""


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
    by pair (Liang and Zeger 1986), corrected for few pairs, with a t distribution. A player who lost nothing, or
    nothing outside a group that does not include the anchor, has no highest likelihood: it gets one end from a
    likelihood ratio, and infinity for the other.

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
    found = fit(design)
    spread = _spread(design, found)
    quantile = t_quantile(level, design.clusters - 1)
    ends = {name: _interval(design, found, spread, name, quantile, level) for name in design.players}
    games = {name: sum(name in (r.first, r.second) for r in results) for name in design.players}
    rated = {name: Rating(elo=mid, low=low, high=high, games=games[name]) for name, (mid, low, high) in ends.items()}
    return Ratings(
        players=dict(sorted(rated.items(), key=lambda item: -item[1].elo)),
        seat={game: _seat(design, found, spread, game, quantile, results) for game in design.games},
        draw={game: design.nu(found, game) for game in design.games},
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


def _spread(design: Design, found: Fit) -> NDArray[np.float64]:
    """Return the covariance of the parameters: H^-1 (sum over pairs of g g') H^-1, [P, P]."""
    scores_CP = cluster_scores(design, found)
    clusters, parameters = scores_CP.shape
    bread_PP = np.linalg.inv(found.hessian_PP)
    meat_PP = scores_CP.T @ scores_CP
    # Few pairs make residuals too small: each pair pulls the fit towards itself.
    factor = clusters / max(clusters - 1, 1) * max(clusters / max(clusters - parameters, 1), 1.0)
    spread: NDArray[np.float64] = factor * bread_PP @ meat_PP @ bread_PP
    return spread


def t_quantile(level: float, freedom: int) -> float:
    """Return how many standard errors an interval of this level reaches to each side."""
    from scipy.stats import t

    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    return float(t.ppf(0.5 + level / 2, max(freedom, 1)))


def _interval(
    design: Design, found: Fit, spread_PP: NDArray[np.float64], name: str, quantile: float, level: float
) -> tuple[float, float, float]:
    """Return a player's rating in Elo and the ends of its interval."""
    direction_P = design.direction(name)
    middle = float(direction_P @ found.beta_P)
    half = quantile * math.sqrt(max(float(direction_P @ spread_PP @ direction_P), 0.0))
    above, below = design.unbounded(name)
    low = bound(design, found, name, side=-1, level=level) if above else middle - half
    high = bound(design, found, name, side=1, level=level) if below else middle + half
    return ELO * middle, -math.inf if below else ELO * low, math.inf if above else ELO * high


def _seat(
    design: Design,
    found: Fit,
    spread_PP: NDArray[np.float64],
    game: str,
    quantile: float,
    results: Sequence[Result],
) -> Rating:
    at = design.seat_of[game]
    middle, half = found.beta_P[at], quantile * math.sqrt(spread_PP[at, at])
    games = sum(r.game == game for r in results)
    return Rating(elo=ELO * middle, low=ELO * (middle - half), high=ELO * (middle + half), games=games)
