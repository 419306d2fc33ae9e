"""Who scores how much against whom: the payoff matrix of an opponent pool, with counts."""

from __future__ import annotations

from typing import Any


class Payoffs:
    """Scores by (player, opponent): 1 a win, 1/2 a draw, 0 a loss.

    A player that goes on learning is not who it was: each new game of a pair leaves `decay` of the earlier ones, so at
    0.99 about the last hundred games count. Frozen players get no new games; their rows stay.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"decay must lie in (0, 1], not {decay}")
        self.decay = decay
        self._entries: dict[tuple[str, str], tuple[float, float]] = {}
        """Games and the sum of their scores, both decayed."""

    def add(self, player: str, opponent: str, score: float) -> None:
        """Take in one game."""
        games, total = self._entries.get((player, opponent), (0.0, 0.0))
        self._entries[player, opponent] = self.decay * games + 1.0, self.decay * total + score

    def games(self, player: str, opponent: str) -> float:
        """Return how many games there are of a pair, earlier ones decayed."""
        return self._entries.get((player, opponent), (0.0, 0.0))[0]

    def win_rate(self, player: str, opponent: str) -> float:
        """Return the mean score of a pair's games, 1/2 without any."""
        games, total = self._entries.get((player, opponent), (0.0, 0.0))
        return total / games if games else 0.5

    def inherit(self, name: str, parent: str) -> None:
        """Give a new player the row of the one that it is a copy of."""
        row = {opponent: entry for (player, opponent), entry in self._entries.items() if player == parent}
        self._entries.update({(name, opponent): entry for opponent, entry in row.items()})

    def drop(self, name: str) -> None:
        """Forget a player's row and column."""
        self._entries = {pair: entry for pair, entry in self._entries.items() if name not in pair}

    def table(self) -> list[dict[str, Any]]:
        """Return a record a pair, for logs: player, opponent, games, win_rate."""
        return [
            {"player": player, "opponent": opponent, "games": games, "win_rate": total / games}
            for (player, opponent), (games, total) in self._entries.items()
        ]

    def state_dict(self) -> list[list[Any]]:
        """Return all entries as plain data."""
        return [[*pair, *entry] for pair, entry in self._entries.items()]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Take over what `state_dict` returned."""
        self._entries = {(player, opponent): (games, total) for player, opponent, games, total in state}
