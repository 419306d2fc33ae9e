"""What a game is: rules and language, nothing else.

All chance lies in the deal, so every later transition is a pure function and a state can be branched, copied and
pickled for free. How a reply is read stands in `reading`, who moves when in `match`; neither is a game's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, Generic, TypeVar

import numpy as np

State = TypeVar("State")


class Ending(StrEnum):
    """Why a game ended."""

    PLAYED = "played"
    """By the rules of the game."""
    ILLEGAL = "illegal"
    """A seat gave an illegal or unreadable reply and had no retries left."""
    TRUNCATED = "truncated"
    """The game reached its `max_turns`."""


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
        """Return the state after `move`; the old one still stands. Raise ValueError if it is not legal."""

    @abstractmethod
    def rewards(self, state: State) -> tuple[float, float]:
        """Return one number a seat. Before the end both are 0."""

    def earned(self, state: State) -> tuple[float, float]:
        """Return what each seat has earned so far, for games that pay along the way; 0 at the deal.

        A turn is worth what its seat earns up to its own next turn; at the end `rewards` is the whole sum, so a game
        that pays only at the end leaves this alone.
        """
        return 0.0, 0.0

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
