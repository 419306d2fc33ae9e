"""What is kept of experience and why the rest is not: named filters, and counts that add up.

A filter is a function from a list to the part of it that stays, so that it may look at one item or at all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Filter(Generic[Item]):
    """A named filter."""

    reason: str
    """Why what it drops was dropped."""
    keep: Callable[[Sequence[Item]], Sequence[Item]]
    """Returns what stays, in order."""
    figure: Callable[[Item], str] = field(default=lambda item: "")
    """Returns what it saw of an item that stays, in a word or two."""


@dataclass(slots=True)
class Funnel:
    """How many came in, and how many each reason dropped."""

    came: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """How many are left."""
        return self.came - sum(self.dropped.values())

    def drop(self, reason: str, count: int) -> None:
        """Take note that so many were dropped. Raises ValueError for more than are left."""
        if not 0 <= count <= self.kept:
            raise ValueError(f"{reason} drops {count} of {self.kept}; a filter drops what it was given, at most")
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def add(self, other: Funnel) -> None:
        """Take in the counts of another."""
        self.came += other.came
        for reason, count in other.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def as_dict(self) -> dict[str, int]:
        """Return the counts as plain data; `came` is the sum of the others."""
        return {"came": self.came, **{f"dropped: {reason}": n for reason, n in self.dropped.items()}, "kept": self.kept}


def refine(items: Iterable[Item], filters: Iterable[Filter[Item]], funnel: Funnel | None = None) -> list[Item]:
    """Return what passes all filters, one after another, and count in `funnel` what each drops."""
    left: Sequence[Item] = list(items)
    funnel = Funnel() if funnel is None else funnel
    funnel.came += len(left)
    for stage in filters:
        after = list(stage.keep(left))
        funnel.drop(stage.reason, len(left) - len(after))
        left = after
    return list(left)


def each(reason: str, test: Callable[[Item], bool], figure: Callable[[Item], str] = lambda item: "") -> Filter[Item]:
    """Return a filter that looks at one item at a time."""
    return Filter(reason, lambda items: [item for item in items if test(item)], figure)


def unique(reason: str, key: Callable[[Item], Any], *, seen: Iterable[Any] = ()) -> Filter[Item]:
    """Return a filter that keeps the first item of each key, and none of a key that was seen before."""
    before = frozenset(seen)

    def keep(items: Sequence[Item]) -> list[Item]:
        first: dict[Any, Item] = {}
        for item in items:
            if key(item) not in before:
                first.setdefault(key(item), item)
        return list(first.values())

    return Filter(reason, keep)


def at_most(reason: str, most: int, key: Callable[[Item], Any], *, seen: Iterable[Any] = ()) -> Filter[Item]:
    """Return a filter that keeps the first `most` items of each key, so that easy prompts do not fill the batch.

    Keys that were `seen` before count.
    """
    before = Counter(seen)

    def keep(items: Sequence[Item]) -> list[Item]:
        count = before.copy()
        kept = []
        for item in items:
            count[key(item)] += 1
            if count[key(item)] <= most:
                kept.append(item)
        return kept

    return Filter(reason, keep)


def total(funnels: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of several funnels as plain data."""
    found: dict[str, int] = {}
    for funnel in funnels:
        for name, count in funnel.items():
            found[name] = found.get(name, 0) + count
    return found
