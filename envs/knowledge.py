"""A small table of what is true of which thing, so that a game can check what its players say.

Chosen: the format of `word_lists`, a line an attribute, so that a table is a text file that anyone can read and extend.
"""

from __future__ import annotations

from dataclasses import dataclass

from .game import near
from .word_lists import word_list


@dataclass(frozen=True, slots=True)
class Table:
    """Things and their attributes."""

    things: tuple[str, ...]
    attributes: tuple[str, ...]
    """What follows "it is": "alive", "able to fly"."""
    true: tuple[frozenset[str], ...]
    """For each attribute the things of which it is true."""


def table(source: str = "objects", things: tuple[str, ...] = ()) -> Table:
    """Return a table, with some of its things only if they are named.

    Args:
        source: "objects", which is ours, or the path of a text file with "attribute: thing thing ..." lines.
        things: which of them to keep; all if empty. Attributes that are true of all that are kept, or of none, go.

    Raises ValueError for a thing that is not in it, and where two things have the same attributes.
    """
    found = word_list(source)
    for thing in things:
        if thing not in found.words:
            raise ValueError(f"things: {thing!r} is not in the table.{near(str(thing), found.words)}")
    kept = tuple(thing for thing in found.words if thing in things) if things else found.words
    rows = [(name, frozenset(words) & frozenset(kept)) for name, words in found.topics]
    telling = [(name, words) for name, words in rows if 0 < len(words) < len(kept)]
    _check_apart(kept, telling)
    return Table(kept, tuple(name for name, _ in telling), tuple(words for _, words in telling))


def _check_apart(things: tuple[str, ...], rows: list[tuple[str, frozenset[str]]]) -> None:
    seen: dict[tuple[bool, ...], str] = {}
    for thing in things:
        other = seen.setdefault(tuple(thing in words for _, words in rows), thing)
        if other != thing:
            raise ValueError(f"no attribute tells {other!r} and {thing!r} apart; add one that is true of one of them")
