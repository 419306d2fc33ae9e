"""The likelihood behind `ratings`: Bradley-Terry with draws and a seat term, by Newton's method on counts.

Shapes: P parameters (ratings of all but the anchor, a seat term a game, log nu a game with draws), K cells (first
player, second player, game), C pairs of games. Outcomes of a cell are ordered won, drawn, lost, as seat 0 sees them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .ratings import Result

Floats = NDArray[np.float64]

OUTCOMES = {1.0: 0, 0.5: 1, 0.0: 2}
LOOSE = 5.0
STEPS = 200


@dataclass(frozen=True, eq=False)
class Design:
    """Games as counts, and which parameters speak of which."""

    players: tuple[str, ...]
    games: tuple[str, ...]
    anchor: str | None
    sd: float
    """Of the prior of ratings, in logits."""
    cells: tuple[tuple[str, str, str], ...]
    counts_K3: Floats
    cell_of: NDArray[np.int64]
    """The cell of each game, in the order of the results."""
    weights_N3: Floats
    """What each game was: one of the three outcomes or, where stakes differ, so much won and the rest lost."""
    cluster_of: NDArray[np.int64]
    loose: float = LOOSE
    """Of the prior of seat and draw terms, in logits."""

    @classmethod
    def of(cls, results: Sequence[Result], anchor: str | None, sd: float, staked: Collection[str] = ()) -> Design:
        """Return the design of some games. Raises ValueError where there is nothing to rate."""
        if not results:
            raise ValueError("there are no games to rate")
        players = tuple(dict.fromkeys(name for r in results for name in (r.first, r.second)))
        if anchor is not None and anchor not in players:
            raise ValueError(f"the anchor {anchor!r} has not played; players are {', '.join(players)}")
        weights_N3 = np.array([_weights(r, r.game in staked) for r in results])
        cells = {cell: k for k, cell in enumerate(dict.fromkeys((r.first, r.second, r.game) for r in results))}
        cell_of = np.array([cells[r.first, r.second, r.game] for r in results])
        counts_K3 = np.zeros((len(cells), 3))
        np.add.at(counts_K3, cell_of, weights_N3)
        named = [("alone", n) if r.pair is None else r.pair for n, r in enumerate(results)]
        clusters = {pair: c for c, pair in enumerate(dict.fromkeys(named))}
        return cls(
            players=players,
            games=tuple(dict.fromkeys(r.game for r in results)),
            anchor=anchor,
            sd=sd,
            cells=tuple(cells),
            counts_K3=counts_K3,
            cell_of=cell_of,
            weights_N3=weights_N3,
            cluster_of=np.array([clusters[pair] for pair in named]),
        )

    @cached_property
    def clusters(self) -> int:
        """How many pairs of games there are."""
        return int(self.cluster_of.max()) + 1

    @cached_property
    def is_fractional(self) -> bool:
        """Whether a game was partly won."""
        return not bool(np.isin(self.weights_N3, (0.0, 1.0)).all())

    @cached_property
    def rating_of(self) -> dict[str, int]:
        """The parameter of each player; the anchor has none."""
        return {name: p for p, name in enumerate(n for n in self.players if n != self.anchor)}

    @cached_property
    def seat_of(self) -> dict[str, int]:
        """The parameter of each game's seat term."""
        return {game: len(self.rating_of) + g for g, game in enumerate(self.games)}

    @cached_property
    def draw_of(self) -> dict[str, int]:
        """The parameter of each game's log nu; a game without draws has none."""
        start = len(self.rating_of) + len(self.games)
        drawn = {cell[2] for cell, counts in zip(self.cells, self.counts_K3, strict=True) if counts[1]}
        return {game: start + n for n, game in enumerate(g for g in self.games if g in drawn)}

    @cached_property
    def size(self) -> int:
        """The number of parameters."""
        return len(self.rating_of) + len(self.games) + len(self.draw_of)

    @cached_property
    def difference_KP(self) -> Floats:
        """What d is made of in each cell."""
        found_KP = np.zeros((len(self.cells), self.size))
        for k, (first, second, game) in enumerate(self.cells):
            for name, sign in ((first, 1.0), (second, -1.0)):
                if name in self.rating_of:
                    found_KP[k, self.rating_of[name]] += sign
            found_KP[k, self.seat_of[game]] = 1.0
        return found_KP

    @cached_property
    def draw_KP(self) -> Floats:
        """What log nu is made of in each cell."""
        found_KP = np.zeros((len(self.cells), self.size))
        for k, (_, _, game) in enumerate(self.cells):
            if game in self.draw_of:
                found_KP[k, self.draw_of[game]] = 1.0
        return found_KP

    @cached_property
    def can_draw_K(self) -> NDArray[np.bool_]:
        """Whether a cell's game has draws."""
        return np.array([cell[2] in self.draw_of for cell in self.cells])

    @cached_property
    def precision_P(self) -> Floats:
        """Of the normal prior of each parameter."""
        found_P = np.full(self.size, self.loose**-2)
        found_P[: len(self.rating_of)] = self.sd**-2
        return found_P

    def direction(self, name: str) -> Floats:
        """Return the vector whose product with the parameters is a player's rating."""
        found_P = np.zeros(self.size)
        if self.anchor is None:
            found_P[: len(self.rating_of)] = -1.0 / len(self.rating_of)
        if name in self.rating_of:
            found_P[self.rating_of[name]] += 1.0
        return found_P

    def axis(self, parameter: int) -> Floats:
        """Return the vector whose product with the parameters is one of them."""
        found_P = np.zeros(self.size)
        found_P[parameter] = 1.0
        return found_P

    def nu(self, found: Fit, game: str) -> float:
        """Return nu of a game, 0 where nothing was drawn."""
        return math.exp(found.beta_P[self.draw_of[game]]) if game in self.draw_of else 0.0


def _weights(result: Result, staked: bool) -> Floats:
    """Return how much of a game was won, drawn and lost by seat 0. Raises ValueError for a score that is none."""
    if not 0 <= result.score <= 1:
        raise ValueError(f"a score lies between 0 and 1, not {result.score}")
    if staked:
        return np.array([result.score, 0.0, 1 - result.score])
    if result.score not in OUTCOMES:
        raise ValueError(f"a game scores 1, 0.5 or 0, not {result.score}; where stakes differ, name it in staked")
    return np.array([float(result.score == score) for score in OUTCOMES])


class Fit(NamedTuple):
    """The parameters of the highest posterior density."""

    beta_P: Floats
    hessian_PP: Floats
    """Minus the second derivative there, prior included."""
    value: float
    """Log-posterior, up to a constant."""
    p_K3: Floats
    """Fitted probabilities."""


def probabilities(design: Design, beta_P: Floats) -> Floats:
    """Return those of won, drawn and lost in each cell, [K, 3]."""
    half_K = design.difference_KP @ beta_P / 2
    draw_K = np.where(design.can_draw_K, design.draw_KP @ beta_P, -np.inf)
    logits_K3 = np.stack([half_K, draw_K, -half_K], 1)
    p_K3: Floats = np.exp(logits_K3 - logits_K3.max(1, keepdims=True))
    p_K3 /= p_K3.sum(1, keepdims=True)
    return p_K3


def fit(design: Design, *, held: tuple[Floats, float] | None = None) -> Fit:
    """Return the fit; `held` fixes one linear form of the parameters: (direction, value).

    Newton's method with halved steps; the posterior is strictly concave, so there is one maximum.
    """
    beta_P = np.zeros(design.size)
    basis = np.eye(design.size)
    if held is not None:
        direction_P, value = held
        beta_P = direction_P * value / float(direction_P @ direction_P)
        # What is left to choose lies across the direction.
        basis = np.linalg.svd(direction_P[None])[2][1:].T
    now = _at(design, beta_P)
    for _ in range(STEPS):
        gradient_P = _gradient(design, now)
        if not basis.size:
            break
        step = basis @ np.linalg.solve(basis.T @ now.hessian_PP @ basis, basis.T @ gradient_P)
        scale, after = 1.0, _at(design, beta_P + step)
        while after.value < now.value - 1e-12 and scale > 1e-9:
            scale /= 2
            after = _at(design, beta_P + scale * step)
        gained, now, beta_P = after.value - now.value, after, after.beta_P
        if abs(gained) < 1e-10 and np.abs(scale * step).max() < 1e-8:
            break
    return now


def _at(design: Design, beta_P: Floats) -> Fit:
    p_K3 = probabilities(design, beta_P)
    counts_K3 = design.counts_K3
    with np.errstate(divide="ignore"):
        logp_K3 = np.where(counts_K3 > 0, np.log(np.maximum(p_K3, 1e-300)), 0.0)
    value = float((counts_K3 * logp_K3).sum() - 0.5 * (design.precision_P * beta_P**2).sum())
    return Fit(beta_P, _hessian(design, p_K3), value, p_K3)


def _gradient(design: Design, at: Fit) -> Floats:
    counts_K3 = design.counts_K3
    expected_K3 = counts_K3.sum(1, keepdims=True) * at.p_K3
    left_K3 = counts_K3 - expected_K3
    gradient_P: Floats = (
        design.difference_KP.T @ ((left_K3[:, 0] - left_K3[:, 2]) / 2) + design.draw_KP.T @ left_K3[:, 1]
    )
    return gradient_P - design.precision_P * at.beta_P


def _hessian(design: Design, p_K3: Floats) -> Floats:
    """Return minus the second derivative: covariances of (won - lost) / 2 and drawn, cell by cell."""
    n_K = design.counts_K3.sum(1)
    lead_K = p_K3[:, 0] - p_K3[:, 2]
    dd_K = n_K * (p_K3[:, 0] + p_K3[:, 2] - lead_K**2) / 4
    uu_K = n_K * p_K3[:, 1] * (1 - p_K3[:, 1])
    du_K = -n_K * lead_K * p_K3[:, 1] / 2
    x_KP, z_KP = design.difference_KP, design.draw_KP
    cross_PP = x_KP.T @ (du_K[:, None] * z_KP)
    hessian_PP: Floats = x_KP.T @ (dd_K[:, None] * x_KP) + z_KP.T @ (uu_K[:, None] * z_KP) + cross_PP + cross_PP.T
    return hessian_PP + np.diag(design.precision_P)


def cluster_scores(design: Design, found: Fit) -> Floats:
    """Return the gradient of each pair's log-likelihood at the fit, [C, P]."""
    left_N3 = design.weights_N3 - found.p_K3[design.cell_of]
    d_N, u_N = (left_N3[:, 0] - left_N3[:, 2]) / 2, left_N3[:, 1]
    gradient_NP = d_N[:, None] * design.difference_KP[design.cell_of] + u_N[:, None] * design.draw_KP[design.cell_of]
    found_CP = np.zeros((design.clusters, design.size))
    np.add.at(found_CP, design.cluster_of, gradient_NP)
    return found_CP


def cluster_information(design: Design, found: Fit, direction_P: Floats) -> Floats:
    """Return what the model expects the square of each pair's gradient along a direction to be, [C].

    The games of a pair are taken as independent here, and as chancy as those of their game were: where stakes are
    small, less than all or nothing.
    """
    variance_K = _moments(found.p_K3, _moves(design, direction_P))[0] * _dispersion(design, found)
    expected_C: Floats = np.bincount(
        design.cluster_of, weights=variance_K[design.cell_of], minlength=design.clusters
    ).astype(np.float64)
    return expected_C


def decisive_games(design: Design, found: Fit, direction_P: Floats) -> float:
    """Return how many games are expected to say much of a direction: of nearly even players those that aren't drawn.

    That is the square of the gradient's variance over the sum of the fourth moments of the games.
    """
    n_K = design.counts_K3.sum(1)
    second_K, fourth_K = _moments(found.p_K3, _moves(design, direction_P))
    return float((n_K @ second_K) ** 2 / (n_K @ fourth_K))


def _moves(design: Design, direction_P: Floats) -> Floats:
    """Return what a step along a direction adds to the logit of each outcome, [K, 3]."""
    half_K = design.difference_KP @ direction_P / 2
    moves_K3: Floats = np.stack([half_K, design.draw_KP @ direction_P, -half_K], 1)
    return moves_K3


def _moments(p_K3: Floats, value_K3: Floats) -> tuple[Floats, Floats]:
    """Return the second and the fourth central moment of a value in each cell."""
    left_K3 = value_K3 - (p_K3 * value_K3).sum(1, keepdims=True)
    return (p_K3 * left_K3**2).sum(1), (p_K3 * left_K3**4).sum(1)


def _dispersion(design: Design, found: Fit) -> Floats:
    """Return Pearson's dispersion of each cell's game, at most 1; one more game, as the model has it, is counted in."""
    score_3 = np.array([1.0, 0.5, 0.0])
    expected_K = _moments(found.p_K3, np.broadcast_to(score_3, found.p_K3.shape))[0]
    left_N = (design.weights_N3 - found.p_K3[design.cell_of]) @ score_3
    game_K = np.array([design.games.index(cell[2]) for cell in design.cells])
    game_N = game_K[design.cell_of]
    expected_G = np.bincount(game_N, weights=expected_K[design.cell_of])
    one_G = expected_G / np.bincount(game_N)
    found_G = (np.bincount(game_N, weights=left_N**2) + one_G) / np.maximum(expected_G + one_G, 1e-300)
    dispersion_K: Floats = np.minimum(found_G, 1.0)[game_K]
    return dispersion_K
