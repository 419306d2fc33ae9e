"""One game in progress: whose turn it is, what that seat is shown, what its reply meant, how it ended.

The Gymnasium view, the PettingZoo view and the play engine are shells around this one class.
"""

from __future__ import annotations

from typing import Any, Generic

import numpy as np

from .game import Ending, Game, Refused, State, Void
from .judging import Case, Judge, Verdict, decide
from .reading import Problem, Reading, read_move, shown_back

MAX_NOTICE = 200
"""Characters by which a notice, or the line on how a game ended, may lengthen a prompt."""


class Match(Generic[State]):
    """A game being played. A model's mistake is data (`ending`, `offender`); stepping a finished match raises.

    Every attribute holds an immutable value, so `copy.copy(match)` branches a game.
    """

    __slots__ = (
        "case",
        "deferred",
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
        "verdicts",
        "why",
    )

    def __init__(
        self, game: Game[State], rng: np.random.Generator, *, retries: int = 0, deferred: bool = False
    ) -> None:
        """Deal a game.

        Args:
            game: the rules.
            rng: where the deal comes from, and nothing else.
            retries: illegal replies that a seat may take back in one turn; 0 forfeits at once.
            deferred: whether a `case` waits for `settle`, so that the cases of many games can be judged at once; else
                the game's judge is asked as soon as there is one.
        """
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, not {retries}")
        self.game = game
        self.retries = retries
        self.deferred = deferred
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
        self.why = ""
        """Why the game is void."""
        self.case: Case | None = None
        """What waits for a verdict; nobody is to move then, and the game is not over."""
        self.verdicts: tuple[Verdict, ...] = ()
        """Those there were, in order."""
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
        game, legal = self.game, self.legal
        reading = read_move(reply, legal, brackets=game.keeps_brackets)
        move = reading.move
        if move is None:
            self._refuse(reading)
            return reading
        try:
            self.state = game.play(self.state, move)
        except Void as why:
            self._void(str(why))
            return reading
        except Refused as why:
            if legal is not None:
                raise
            reading = Reading(None, Problem.ILLEGAL_MOVE, shown_back(str(why)))
            self._refuse(reading)
            return reading
        self.turns += 1
        if self.tries:
            self.tries = 0
            self.notice = ""
        self._look()
        return reading

    def settle(self, verdict: Verdict) -> None:
        """Go on after the verdict on `case`. Raises RuntimeError, changing nothing, where there is none."""
        if self.case is None:
            raise RuntimeError("there is no case to settle: somebody is to move, or the game is over")
        self.case = None
        self.verdicts = (*self.verdicts, verdict)
        if verdict.void:
            self._void(verdict.void)
            return
        self.state = self.game.settle(self.state, verdict)
        self._look()

    def _look(self) -> None:
        """Read whose turn it is off the state, and close the match if it is nobody's."""
        game, state = self.game, self.state
        self.seat = game.seat(state)
        if self.seat is None:
            case = game.case(state)
            if case is None:
                self._end(Ending.PLAYED, game.rewards(state))
            else:
                self._wait(case)
        elif self.turns >= game.max_turns:
            self._end(Ending.TRUNCATED, game.rewards(state))
        else:
            self.legal = game.legal(state)

    def _wait(self, case: Case) -> None:
        self.case = case
        self.legal = None
        self.notice = ""
        if not self.deferred:
            (verdict,) = decide(judge_of(self.game), [case])
            self.settle(verdict)

    def void(self, why: str) -> None:
        """End the game for a reason that is nobody's doing. Raises RuntimeError, changing nothing, when it is over."""
        if self.ending is not None:
            raise RuntimeError("the game is over; start a new match")
        self.case = None
        self._void(why)

    def _void(self, why: str) -> None:
        self.why = why
        self._end(Ending.VOID, (0.0, 0.0))

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


def judge_of(game: Game[Any]) -> Judge:
    """Return who decides the cases of a game. Raises ValueError where nobody does."""
    if game.judge is None:
        raise ValueError(f"{game.name} has no judge; make it with judge=, or set its `judge`")
    return game.judge
