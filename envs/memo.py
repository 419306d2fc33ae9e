"""A table that fills itself from a pure function: what makes small games as fast as a lookup.

Chosen: bounded, emptied when full, and never carried along when a game is pickled or copied. Left out: eviction by
age, which would cost a Python call a lookup where a plain dict costs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(dict[Key, Value], Generic[Key, Value]):
    """`memo[key]` is `make(key)`, computed once while it stays in the table.

    >>> squares = Memo(lambda n: n * n, limit=2)
    >>> [squares[n] for n in (3, 4, 3, 5)], dict(squares)
    ([9, 16, 9, 25], {5: 25})
    """

    __slots__ = ("_limit", "_make")

    def __init__(self, make: Callable[[Key], Value], *, limit: int = 16_384) -> None:
        super().__init__()
        self._make = make
        self._limit = limit

    def __missing__(self, key: Key) -> Value:
        if len(self) >= self._limit:
            self.clear()
        value = self[key] = self._make(key)
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy starts empty: it is a cache, and a filled one would weigh more than its game.
        return _empty, (self._make, self._limit)


def _empty(make: Callable[[Key], Value], limit: int) -> Memo[Key, Value]:
    return Memo(make, limit=limit)
