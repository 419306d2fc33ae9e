"""One game in progress: whose turn it is, what that seat is shown, what its reply meant, how it ended.

The Gymnasium view, the PettingZoo view and the play engine are shells around this one class.
"""

from __future__ import annotations

from typing import Generic

import numpy as np

from .game import Ending, Game, State
from .reading import Reading, read_move

MAX_NOTICE = 200
"""Characters by which a notice, or the line on how a game ended, may lengthen a prompt."""


class Match(Generic[State]):
    """A game being played. A model's mistake is data (`ending`, `offender`); stepping a finished match raises.

    Every attribute holds an immutable value, so `copy.copy(match)` branches a game.
    """

    __slots__ = (
        "ending",
        "game",
        "illegal",
        "legal",
        "notice",
        "offender",
        "retries",
        "rewards",
        "seat",
        "state",
        "tries",
        "turns",
    )

    def __init__(self, game: Game[State], rng: np.random.Generator, *, retries: int = 0) -> None:
        """Deal a game.

        Args:
            game: the rules.
            rng: where the deal comes from, and nothing else.
            retries: illegal replies that a seat may take back in one turn; 0 forfeits at once.
        """
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, not {retries}")
        self.game = game
        self.retries = retries
        self.state: State = game.deal(rng)
        self.turns = 0
        self.tries = 0
        """Illegal replies in the present turn."""
        self.illegal = (0, 0)
        """Illegal replies of each seat over the whole game, retried ones too."""
        self.notice = ""
        """What the seat to move is told of its last illegal reply; at most `MAX_NOTICE - 2` characters."""
        self.ending: Ending | None = None
        self.offender: int | None = None
        self.rewards: tuple[float, float] = (0.0, 0.0)
        self.seat: int | None = None
        self.legal: tuple[str, ...] | None = None
        self._look()

    @property
    def prompt(self) -> str:
        """The whole text shown to the seat to move. Raises RuntimeError when the game is over."""
        if self.seat is None:
            raise RuntimeError("the game is over: there is no prompt; start a new match")
        text = self.game.prompt(self.state, self.seat)
        return f"{self.notice}\n\n{text}" if self.notice else text

    def step(self, reply: object) -> Reading:
        """Judge the reply of the seat to move and apply it.

        Returns what it was read as. Raises RuntimeError, changing nothing, when the game is over.
        """
        if self.seat is None:
            raise RuntimeError("the game is over; start a new match")
        reading = read_move(reply, self.legal)
        move = reading.move
        if move is None:
            self._refuse(reading)
            return reading
        self.state = self.game.play(self.state, move)
        self.turns += 1
        if self.tries:
            self.tries = 0
            self.notice = ""
        self._look()
        return reading

    def _look(self) -> None:
        """Read whose turn it is off the state, and close the match if it is nobody's."""
        game, state = self.game, self.state
        self.seat = game.seat(state)
        if self.seat is None:
            self._end(Ending.PLAYED, game.rewards(state))
        elif self.turns >= game.max_turns:
            self._end(Ending.TRUNCATED, game.rewards(state))
        else:
            self.legal = game.legal(state)

    def _refuse(self, reading: Reading) -> None:
        seat = self.seat
        assert seat is not None
        first, second = self.illegal
        self.illegal = (first + 1, second) if seat == 0 else (first, second + 1)
        self.tries += 1
        if self.tries <= self.retries:
            left = self.retries - self.tries + 1
            self.notice = f"{reading.detail} Tries left: {left}."
            return
        self.offender = seat
        self._end(Ending.ILLEGAL, self.game.forfeit(self.state, seat))

    def _end(self, ending: Ending, rewards: tuple[float, float]) -> None:
        self.ending = ending
        self.rewards = rewards
        self.seat = None
        self.legal = None
        self.notice = ""
