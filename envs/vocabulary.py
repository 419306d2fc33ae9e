"""Many moves in one tuple: what a game returns from `legal` where a move is one of hundreds of words.

Chosen: it is the tuple that the contract asks for, and finds a move as a set does, so that reading a reply does not
search a list. Left out: listing them in prompts; a game lists a few and describes many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .game import how_to_answer

MOST_LISTED = 64
"""Moves that a prompt lists; more are described by the rules alone."""


class Vocabulary(tuple[str, ...]):
    """A tuple of moves with a number for each.

    >>> colours = Vocabulary(["red", "blue"])
    >>> colours, "blue" in colours, colours.number("blue"), colours.number("green")
    (('red', 'blue'), True, 1, -1)
    """

    _numbers: dict[str, int]
    asked: str
    """How to answer where the moves are listed, or described if they are too many."""

    def __new__(cls, moves: Iterable[str], *, listed: bool | None = None) -> Vocabulary:
        """Number the moves; `listed` says whether prompts list them, None: if there are at most `MOST_LISTED`."""
        self = super().__new__(cls, moves)
        self._numbers = {move: number for number, move in enumerate(self)}
        self.asked = how_to_answer(tuple(self), len(self) <= MOST_LISTED if listed is None else listed)
        return self

    def __contains__(self, move: object) -> bool:
        return move in self._numbers

    def number(self, move: str) -> int:
        """Return the place of a move, -1 if it is none."""
        return self._numbers.get(move, -1)

    def __deepcopy__(self, memo: dict[int, Any]) -> Vocabulary:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (tuple(self), self.asked)


def _again(moves: tuple[str, ...], asked: str) -> Vocabulary:
    again = Vocabulary(moves)
    again.asked = asked
    return again
