"""What there is to divide: the deals of the negotiation game, the ways to divide them, and which ways are efficient.

Chosen: every deal is listed, so that all are equally likely and exact evaluation can go through them. Left out: the
scenarios that the source drew for its people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

OPEN, ACCEPTED, REJECTED = 0, 1, 2
Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NegotiationState:
    """The items, what they are worth to whom, and what was proposed and said."""

    counts: Numbers
    """How many items there are of each kind."""
    values: tuple[Numbers, Numbers]
    """What an item of each kind is worth to each seat."""
    offers: tuple[int, ...] = ()
    """What the proposing seat would keep, as numbers of `divisions(counts)`; seats take turns, seat 0 first."""
    said: tuple[str, ...] = ()
    """The message with each offer, quoted as both seats are shown it; empty where there was none."""
    end: int = OPEN
    """`ACCEPTED` or `REJECTED` once the game is over."""


@lru_cache(maxsize=512)
def divisions(counts: Numbers) -> tuple[Numbers, ...]:
    """Return everything that one seat might keep of the items."""
    return tuple(product(*(range(count + 1) for count in counts)))


def frontier(points: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the points to which no other one is preferred by one seat and at least as good for the other.

    >>> sorted(frontier({(0, 4), (1, 3), (1, 4), (5, 0), (4, 0)}))
    [(1, 4), (5, 0)]
    """
    return {(a, b) for a, b in points if not any((c >= a and d >= b) and (c, d) != (a, b) for c, d in points)}


@lru_cache(maxsize=16)
def scenarios(kinds: int, fewest: int, most: int, total: int) -> tuple[NegotiationState, ...]:
    """Return every deal: by Lewis et al. each seat values all items together at `total`, each kind is worth something
    to somebody, and some kind is worth something to both. All are equally likely."""
    found = []
    for counts in product(range(1, most + 1), repeat=kinds):
        if not fewest <= sum(counts) <= most:
            continue
        ways = list(_valuations(counts, total))
        for first, second in product(ways, repeat=2):
            pairs = list(zip(first, second, strict=True))
            if all(a or b for a, b in pairs) and any(a and b for a, b in pairs):
                found.append(NegotiationState(counts, (first, second)))
    return tuple(found)


def _valuations(counts: Numbers, total: int) -> Iterator[Numbers]:
    """Yield every worth of an item of each kind with which all items are worth `total`."""
    if len(counts) == 1:
        if total % counts[0] == 0:
            yield (total // counts[0],)
        return
    for value in range(total // counts[0] + 1):
        for others in _valuations(counts[1:], total - value * counts[0]):
            yield (value, *others)


def points(state: NegotiationState, kept: Numbers) -> tuple[int, int]:
    """Return what a division is worth to each seat, if seat 0 keeps `kept`."""
    return worth(state.values[0], kept), worth(state.values[1], rest(state.counts, kept))


def worth(values: Numbers, items: Numbers) -> int:
    """Return what items are worth by some values."""
    return sum([value * count for value, count in zip(values, items, strict=True)])


def rest(counts: Numbers, kept: Numbers) -> Numbers:
    """Return what is left of the items."""
    return tuple([count - mine for count, mine in zip(counts, kept, strict=True)])
