"""What the games of other libraries share: positions kept beside the states, bounded texts, the table of what works.

A state of ours is the seed of chance and the moves so far. The other library's own, mutable position is rebuilt from
it, kept as long as there is room, and copied before it is moved on. `bridges` measures what the tables say.
"""

from __future__ import annotations

import random
import re
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from .game import Game, State, how_to_answer
from .prompt import mix

Position = TypeVar("Position")
Key = TypeVar("Key")
Value = TypeVar("Value")
KNOWN = Path(__file__).with_name("known")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Known(NamedTuple):
    """What was measured of a game of another library; a line of a table in `known/`."""

    name: str
    works: bool
    """Whether it keeps the contract of `check_game` and random games of it come to an end."""
    exact: bool
    """Whether it lists its deals, so that exact evaluation is possible where its tree is small enough."""
    turns: int
    """Most turns of the random games."""
    characters: int
    """Longest prompt of the random games."""
    why: str
    """Why it does not work; empty where it does."""


def read_known(family: str) -> dict[str, Known]:
    """Return what was measured of a family's games, by name."""
    lines = (KNOWN / f"{family}.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {
        name: Known(name, works == "yes", exact == "yes", int(turns), int(characters), why)
        for name, works, exact, turns, characters, why in rows
    }


class Recent(Generic[Key, Value]):
    """The last values that were looked up. Copies of it are empty: what another library keeps need not copy well."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def find(self, key: Key) -> Value | None:
        """Return what was kept, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: Key, value: Value) -> Value:
        """Keep a value, letting go of the one that was not asked for longest if there is no room; return it."""
        self._values[key] = value
        if len(self._values) > self.most:
            self._values.popitem(last=False)
        return value

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def __reduce__(self) -> tuple[Any, ...]:
        return Recent, (self.most,)


class Bridged(Game[State], Generic[State, Position]):
    """A game of another library, whose positions are derived from our states and never changed once they are kept."""

    family: ClassVar[str]
    """Its prefix in `make`."""
    kept: ClassVar[int] = 2048
    """Positions that are remembered; others are rebuilt from the moves."""

    def __init__(self) -> None:
        self._positions: Recent[State, Position] = Recent(self.kept)

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the games that work."""
        return [known.name for known in read_known(cls.family).values() if known.works]

    @classmethod
    @abstractmethod
    def candidates(cls) -> dict[str, str]:
        """Return every name that the library has, and why it cannot be a two-player game here; empty if it may be."""

    @abstractmethod
    def _rebuilt(self, state: State) -> Position:
        """Return the position of a state, played from the start."""

    def _position(self, state: State) -> Position:
        position = self._positions.find(state)
        return self._positions.keep(state, self._rebuilt(state)) if position is None else position


@contextmanager
def fenced(seed: int, turn: int) -> Iterator[None]:
    """Run with the global generators seeded by the game's seed and turn, then put them back as they were.

    A stream of its own for each turn: so no generator's state has to travel with the game. What is printed meanwhile is
    swallowed: some games print at every move, and here many moves are tried.
    """
    before = (random.getstate(), np.random.get_state())  # noqa: NPY002
    key = mix(seed, turn) & 0xFFFFFFFF
    try:
        random.seed(key)
        np.random.seed(key)  # noqa: NPY002
        with redirect_stdout(StringIO()):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def listed(legal: tuple[str, ...], show: bool, room: int) -> str:
    """Return how to answer; of a list of moves longer than `room` characters the first ones stand for all."""
    if not show or sum(map(len, legal)) + 3 * len(legal) <= room:
        return how_to_answer(legal, show)
    shown = 0
    while room > 0:
        room -= len(legal[shown]) + 3
        shown += 1
    moves = " ".join(f"[{move}]" for move in legal[:shown])
    return (
        f"Legal moves: {moves} and {len(legal) - shown} more, written in the same way.\nYour move, in square brackets:"
    )


def newest(entries: Sequence[str], room: int, joint: str = " ") -> str:
    """Return the last entries that fit into `room` characters, with a mark that says how many are left out.

    >>> newest(["e4", "e5", "nf3"], 6)
    '(1 earlier left out) e5 nf3'
    """
    first = len(entries)
    while first and (room := room - len(entries[first - 1]) - len(joint)) >= -len(joint):
        first -= 1
    left_out = [f"({first} earlier left out)"] if first else []
    return joint.join([*left_out, *entries[first:]])


def shortened(text: str, room: int) -> str:
    """Return the text, with its middle left out, and a mark that says so, if it has more than `room` characters.

    >>> shortened("0123456789" * 10, 10)
    '01 (90 characters left out) 23456789'
    """
    if len(text) <= room:
        return text
    head = room // 5
    return f"{text[:head]} ({len(text) - room} characters left out) {text[len(text) - room + head :]}"


def plain(text: str) -> str:
    """Return printable text and newlines only: no colours, no controls, no tabs.

    >>> plain("\\x1b[91mred\\x1b[0m\\tblue")
    'red blue'
    """
    if text.isprintable():
        return text
    text = _COLOUR.sub("", text).expandtabs(1)
    return "".join(c for c in text if c.isprintable() or c == "\n")


def canonical(name: str) -> str:
    """Return a move's name as a canonical move: lower case, single spaces, round brackets.

    >>> canonical(" Proposal:  [0, 1] ")
    'proposal: (0, 1)'
    """
    return " ".join(plain(name).split()).casefold().replace("[", "(").replace("]", ")")


def unique_names(names: Iterable[str], numbers: Iterable[int], longest: int) -> dict[str, int]:
    """Return numbers by canonical move. Moves with no name of their own, or too long a one, are called by number.

    >>> unique_names(["Bxc4", "bxc4", "Kd2"], [7, 8, 9], 64)
    {'move 7': 7, 'move 8': 8, 'kd2': 9}
    """
    pairs = [(canonical(name), number) for name, number in zip(names, numbers, strict=True)]
    times: dict[str, int] = {}
    for name, _ in pairs:
        times[name] = times.get(name, 0) + 1
    fit = {name for name, n in times.items() if n == 1 and 0 < len(name) <= longest}
    moves = {name if name in fit else f"move {number}": number for name, number in pairs}
    if len(moves) < len(pairs):
        return {f"move {number}": number for _, number in pairs}
    return moves
