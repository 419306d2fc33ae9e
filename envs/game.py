"""What a game is: rules and language, nothing else.

All chance lies in the deal, so every later transition is a pure function and a state can be branched, copied and
pickled for free. How a reply is read stands in `reading`, who moves when in `match`; neither is a game's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, Generic, TypeVar

import numpy as np

from .judging import Case, Judge, Verdict

State = TypeVar("State")


class Ending(StrEnum):
    """Why a game ended."""

    PLAYED = "played"
    """By the rules of the game."""
    ILLEGAL = "illegal"
    """A seat gave an illegal or unreadable reply and had no retries left."""
    TRUNCATED = "truncated"
    """The game reached its `max_turns`."""
    VOID = "void"
    """Nobody's doing: a judge gave no verdict, or code that is not the game's failed. Both rewards are 0, and the game
    counts for nobody."""


class Refused(ValueError):
    """What `play` raises for free text that the rules do not allow; the message tells its author what to do."""


class Void(Exception):
    """What `play` raises where the game cannot go on through no seat's doing; the message says why."""


class Game(ABC, Generic[State]):
    """A two-player language game. All chance is in the deal; after it every transition is a pure function.

    States are immutable and hashable (frozen dataclasses). Seats are 0 and 1. Canonical moves are lower-case
    without brackets. `check_game` holds a game to this contract.
    """

    rules: str | tuple[str, str]
    """What both seats are told, once; a pair where the seats' roles differ."""
    name: str = ""
    """The registered id, set by `make`; the class name otherwise."""
    reward_range: tuple[float, float] = (-1.0, 1.0)
    """Lowest and highest reward of a seat. A forfeit pays the lowest to the offender."""
    zero_sum: bool = True
    """Whether the two rewards always sum to zero."""
    max_turns: int = 1000
    """Turns after which an unfinished game is truncated."""
    max_prompt: int = 8000
    """Most characters that a prompt may have."""
    show_legal: bool = True
    """Whether prompts list the legal moves."""
    skins: ClassVar[tuple[str, ...]] = ("plain",)
    """Names of the wordings that the constructor's `skin=` takes."""
    roles: tuple[str, str] = ("", "")
    """What the seats are, where their parts differ."""
    source: ClassVar[str] = ""
    """Where the game comes from, for tables: a paper, a book."""
    hidden_information: ClassVar[bool | None] = None
    """Whether a seat is kept from knowing something that decides the game, for tables; None: it is not said."""
    figure: str = ""
    """Which of `figures` says how well two copies of one policy play, from 0 to 1; empty: none does."""
    keeps_brackets: bool = False
    """Whether free text keeps its square brackets; only for games that show it to the other seat in no such way that
    it could pose as the referee's words."""
    rare_moves: tuple[str, ...] = ()
    """Legal moves that some hundred random games may never show, so that a tiny model's tokenizer knows them too."""
    judge: Judge | None = None
    """Who decides the cases of a game that cannot settle them itself."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.__dict__.get("name"):
            cls.name = cls.__name__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @abstractmethod
    def deal(self, rng: np.random.Generator) -> State:
        """Return a fresh starting state; `rng` is the only source of chance."""

    @abstractmethod
    def seat(self, state: State) -> int | None:
        """Return the seat to move, 0 or 1, or None when the game is over."""

    @abstractmethod
    def observation(self, state: State, seat: int) -> str:
        """Return everything that `seat` may know, and nothing else."""

    @abstractmethod
    def legal(self, state: State) -> tuple[str, ...] | None:
        """Return the canonical moves of the seat to move; None where the move is free text."""

    @abstractmethod
    def play(self, state: State, move: str) -> State:
        """Return the state after `move`; the old one still stands. Raise ValueError if it is not legal.

        Free text that the rules do not allow raises `Refused`, which is then an illegal reply; a game that cannot go on
        through no seat's doing raises `Void`.
        """

    @abstractmethod
    def rewards(self, state: State) -> tuple[float, float]:
        """Return one number a seat. Before the end both are 0."""

    def earned(self, state: State) -> tuple[float, float]:
        """Return what each seat has earned so far, for games that pay along the way; 0 at the deal.

        A turn is worth what its seat earns up to its own next turn; at the end `rewards` is the whole sum, so a game
        that pays only at the end leaves this alone.
        """
        return 0.0, 0.0

    def case(self, state: State) -> Case | None:
        """Return what the judge must decide where nobody is to move, or None where the game settles itself."""
        return None

    def settle(self, state: State, verdict: Verdict) -> State:
        """Return the state after the verdict on its `case`. A pure function, as `play` is."""
        raise NotImplementedError(f"{self.name} has cases; define settle(state, verdict)")

    def figures(self, state: State) -> Mapping[str, float]:
        """Return what else is worth averaging over finished games, by name: an agreement, a judge that was right."""
        return {}

    def speeches(self, state: State) -> tuple[str, ...]:
        """Return examples of free text that the seat to move might say, by what it knows and no more.

        The random player says them, and an untrained model learns its language from them.
        """
        return ()

    def deals(self) -> Iterable[tuple[State, float]]:
        """Yield every deal with its probability. Needed for exact evaluation only."""
        raise NotImplementedError(
            f"{self.name} does not list its deals; define deals() to yield (state, probability) pairs"
        )

    def forfeit(self, state: State, seat: int) -> tuple[float, float]:
        """Return the rewards when `seat` forfeits: it gets the worst there is and the other seat the best.

        A forfeit cheaper than the worst loss would teach a losing policy to forfeit.
        """
        low, high = self.reward_range
        return (low, high) if seat == 0 else (high, low)

    def prompt(self, state: State, seat: int) -> str:
        """Return the whole text shown to `seat`, the seat to move: rules, observation and how to answer."""
        rules = self.rules
        if not isinstance(rules, str):
            rules = rules[seat]
        return f"{rules}\n\n{self.observation(state, seat)}\n{self.request(state)}"

    def request(self, state: State) -> str:
        """Return how to answer in `state`: the end of its prompt. To override where a long list can be looked up."""
        return how_to_answer(self.legal(state), self.show_legal)


@lru_cache(maxsize=4096)
def how_to_answer(legal: tuple[str, ...] | None, show: bool) -> str:
    """Return how to choose one of the legal moves, which are listed if `show`; None: the move is free text."""
    if legal is None:
        return "Your words, in public:"
    if not show:
        return "Your move, in square brackets:"
    return f"Legal moves: {' '.join(f'[{move}]' for move in legal)}\nYour move, in square brackets:"


def near(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" for the known name nearest to `name`, or the list of all of them.

    >>> near("KuhnPokr-v0", ["KuhnPoker-v0", "Nim-v0"])
    " Did you mean 'KuhnPoker-v0'?"
    """
    from difflib import get_close_matches

    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."


def pick_skin(skins: dict[str, dict[str, str]], skin: str) -> dict[str, str]:
    """Return the words of `skin`; raise ValueError naming the near one if there is none."""
    if skin not in skins:
        raise ValueError(f"unknown skin {skin!r}.{near(skin, skins)}")
    return skins[skin]
