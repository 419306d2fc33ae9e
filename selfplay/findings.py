"""What can be said of a tournament beyond its results: exact exploitability, regret a move, what another wording costs.

Chosen: each is an own measure with its own interval, from the same records and the same deals. Left out: anything that
needs new games.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sparring.agents import Policy
from sparring.agents.optimal import OptimalAgent, minimax
from sparring.agents.sweeps import Table, state_values
from sparring.envs import Game, Match, read_move
from sparring.envs.tree import NotEnumerable, Tree, enumerate_tree

from .exploitability import exploitability, solvable_tree
from .match_log import LogError, replayed
from .standings import Record, mean_interval, share_of
from .tournament import Entrant, PairKey, said

LIMIT = 100_000
"""States up to which games are gone through."""


def exact(entrants: Iterable[Entrant], games: Mapping[str, Game[Any]], *, limit: int = LIMIT) -> dict[str, Any]:
    """Return the NashConv of every player in every game where it can be had, by game and name; else why not."""
    found: dict[str, Any] = {}
    for label, game in games.items():
        try:
            solvable_tree(game, limit=limit)
        except (NotEnumerable, NotImplementedError, ValueError) as error:
            found[label] = {"none": str(error)}
            continue
        except Exception as error:  # noqa: BLE001 (a game's own)
            found[label] = {"none": said(error)}
            continue
        found[label] = {e.name: _nashconv(game, e, limit) for e in entrants if e.agent is not None}
    return found


def solved(games: Mapping[str, Game[Any]], *, limit: int = LIMIT) -> list[str]:
    """Return the games in which there is an optimal player."""
    optimal = OptimalAgent(limit=limit)
    return [label for label, game in games.items() if _plays(optimal, game)]


def _plays(optimal: OptimalAgent, game: Game[Any]) -> bool:
    try:
        return optimal.can_play(game)
    except Exception:  # noqa: BLE001 (a game's own failure, which its games show)
        return False


def _nashconv(game: Game[Any], entrant: Entrant, limit: int) -> dict[str, Any]:
    if not isinstance(entrant.agent, Policy):
        return {"none": "its move probabilities cannot be asked for"}
    try:
        result = exploitability(game, entrant.agent, limit=limit)
    except Exception as error:  # noqa: BLE001
        # The games that it played stand, whatever it breaks on here.
        return {"none": said(error)}
    return {"nashconv": result.nashconv, "nashconv_legal": result.nashconv_legal, "illegal_mass": result.illegal_mass}


class Positions:
    """The worth of every position of a game in which nothing is hidden, between two perfect players."""

    def __init__(self, game: Game[Any], tree: Tree[Any]) -> None:
        perfect = Table(minimax(tree), np.zeros(len(tree.prompts)))
        self.game = game
        # Means over equally good moves leave rounding behind, which would be somebody's regret.
        self._value_S2 = np.round(state_values(tree, perfect), 12)
        self._number = {state: s for s, state in enumerate(tree.states)}

    @classmethod
    def of(cls, game: Game[Any], *, limit: int = LIMIT) -> Positions | None:
        """Return them, or None where something is hidden, the game is too large, or it is not zero-sum."""
        try:
            tree = enumerate_tree(game, limit=limit)
        except Exception:  # noqa: BLE001 (too large, not to be listed, or a game's own failure, which its games show)
            return None
        return cls(game, tree) if tree.perfect_information and game.zero_sum else None

    def value(self, state: Any, seat: int) -> float:
        """Return what the seat gets from here on, in rewards, if both play perfectly."""
        return float(self._value_S2[self._number[state], seat])

    def regret(self, match: Match[Any], reply: str) -> float:
        """Return what a reply gives away, in rewards: the position's worth less that of what follows."""
        seat = match.seat
        assert seat is not None
        move = read_move(reply, match.legal).move
        before = self.value(match.state, seat)
        if move is None:
            return before - self.game.forfeit(match.state, seat)[seat]
        return before - self.value(self.game.play(match.state, move), seat)


def why_lost(error: Exception) -> str:
    """Return why a game did not replay."""
    return str(error) if isinstance(error, LogError) else said(error)


def regrets(
    records: Iterable[Record], games: Mapping[str, Game[Any]], level: float, lost: dict[PairKey, str] | None = None
) -> dict[str, Any]:
    """Return each player's mean minimax regret a move, by game and name, where nothing is hidden.

    The interval is a t interval over pairs; a pair counts by its mean move. One that does not replay is left out, and
    `lost` takes in why.
    """
    records, lost = list(records), {} if lost is None else lost
    found: dict[str, Any] = {}
    for label, game in games.items():
        positions = Positions.of(game)
        if positions is None:
            continue
        pairs: dict[str, list[float]] = {}
        for record in records:
            if record["pair"][1] != label:
                continue
            try:
                given_away = _given_away(record, positions)
            except Exception as error:  # noqa: BLE001 (what another version of a game makes of it)
                lost.setdefault(PairKey(*record["pair"]), why_lost(error))
                continue
            for name, given in given_away.items():
                pairs.setdefault(name, []).append(float(np.mean(given)))
        low, high = game.reward_range
        found[label] = {name: mean_interval(values, level, (0.0, high - low)) for name, values in pairs.items()}
    return found


def _given_away(record: Record, positions: Positions) -> dict[str, list[float]]:
    """Return the regret of every reply of a pair, by player."""
    found: dict[str, list[float]] = {}
    for which, game in enumerate(record["games"]):
        if game["ending"] == "void":
            continue
        for match, turn in replayed(record, which, positions.game):
            name = game["players"][turn["seat"]]
            # A reply that was taken back gave nothing away yet.
            if turn["problem"] is None or match.tries >= match.retries:
                found.setdefault(name, []).append(positions.regret(match, turn["reply"]))
    return found


def skin_costs(
    records: Iterable[Record],
    skins: Mapping[str, str],
    ranges: Mapping[str, tuple[float, float]],
    staked: Sequence[str],
    level: float,
) -> dict[str, Any]:
    """Return how much less each player scores a game in another wording, by the game in that wording and name.

    Args:
        records: of the tournament.
        skins: the label of the plain game, by that of its other wordings.
        ranges: lowest and highest reward of each game.
        staked: games scored by what was won.
        level: of the t intervals, over pairs: the same deal, the same opponent, both seats, in both wordings.
    """
    # By game, then by player, opponent, seed and number.
    scores: dict[str, dict[tuple[str, str, int, int], float]] = {}
    for record in records:
        key = PairKey(*record["pair"])
        span = ranges[key.game][1] - ranges[key.game][0] if key.game in staked else None
        for name, other in ((key.one, key.other), (key.other, key.one)):
            if (score := _pair_score(record, name, span)) is not None:
                scores.setdefault(key.game, {})[name, other, key.seed, key.number] = score
    found: dict[str, Any] = {}
    for label, plain in skins.items():
        lost: dict[str, list[float]] = {}
        for at, score in scores.get(label, {}).items():
            before = scores.get(plain, {}).get(at)
            if before is not None:
                lost.setdefault(at[0], []).append(before - score)
        found[label] = {name: mean_interval(values, level, (-1.0, 1.0)) for name, values in lost.items()}
    return found


def _pair_score(record: Record, name: str, span: float | None) -> float | None:
    """Return a player's mean score in a pair, or None where a game of it was void."""
    games = record["games"]
    if any(game["ending"] == "void" for game in games):
        return None
    shares = [share_of(game, span) if game["players"][0] == name else 1 - share_of(game, span) for game in games]
    return float(np.mean(shares))
