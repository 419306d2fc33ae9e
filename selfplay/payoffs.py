"""Who scores how much against whom: the payoff matrix of an opponent pool, with counts."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any


@dataclass(slots=True)
class Record:
    """Games of a pair, as the player sees them."""

    weight: float = 0.0
    """Of all games, earlier ones decayed."""
    total: float = 0.0
    """Sum of their scores, decayed alike."""
    won: int = 0
    drawn: int = 0
    lost: int = 0

    def add(self, score: float, decay: float) -> None:
        """Take in one game."""
        self.weight, self.total = decay * self.weight + 1.0, decay * self.total + score
        self.won += score == 1.0
        self.drawn += score == 0.5
        self.lost += score == 0.0

    @property
    def games(self) -> int:
        """Games that there were."""
        return self.won + self.drawn + self.lost

    @property
    def win_rate(self) -> float:
        """Mean score, earlier games decayed; 1/2 without any."""
        return self.total / self.weight if self.weight else 0.5


class Payoffs:
    """Scores by (player, opponent): 1 a win, 1/2 a draw, 0 a loss; decayed ones to draw by, and true counts to read.

    A player that goes on learning is not who it was: each new game of a pair leaves `decay` of the earlier ones, so at
    0.99 about the last hundred games count. Frozen players get no new games; their rows stay.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"decay must lie in (0, 1], not {decay}")
        self.decay = decay
        self._records: dict[tuple[str, str], Record] = {}

    def add(self, player: str, opponent: str, score: float) -> None:
        """Take in one game. Raises ValueError for a score that is none."""
        if score not in (0.0, 0.5, 1.0):
            raise ValueError(f"a game scores 1 if it is won, 0.5 if drawn and 0 if lost, not {score}")
        self._records.setdefault((player, opponent), Record()).add(score, self.decay)

    def record(self, player: str, opponent: str) -> Record:
        """Return the games of a pair."""
        return self._records.get((player, opponent), Record())

    def win_rate(self, player: str, opponent: str) -> float:
        """Return the mean score of a pair's games, earlier ones decayed; 1/2 without any."""
        return self.record(player, opponent).win_rate

    def inherit(self, name: str, parent: str) -> None:
        """Give a new player the row of the one that it is a copy of."""
        for opponent in [opponent for player, opponent in self._records if player == parent]:
            self._records[name, opponent] = Record(*astuple(self._records[parent, opponent]))

    def drop(self, name: str) -> None:
        """Forget a player's row and column."""
        self._records = {pair: record for pair, record in self._records.items() if name not in pair}

    def table(self) -> list[dict[str, Any]]:
        """Return a record a pair: player, opponent, the games that there were, how they ended, and the decayed rate."""
        return [
            {
                "player": player,
                "opponent": opponent,
                "games": record.games,
                "won": record.won,
                "drawn": record.drawn,
                "lost": record.lost,
                "win_rate": record.win_rate,
            }
            for (player, opponent), record in self._records.items()
        ]

    def state_dict(self) -> list[list[Any]]:
        """Return all records as plain data."""
        return [[*pair, *astuple(record)] for pair, record in self._records.items()]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Take over what `state_dict` returned."""
        self._records = {(player, opponent): Record(*numbers) for player, opponent, *numbers in state}
