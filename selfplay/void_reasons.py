"""Why games were void, in a few lines: reasons that differ in a request's number or in a server's words are one kind.

Chosen: a reason says who, what and which, with a colon between, as `Guarded` and endpoints write it; kinds are told
apart by these, and each is told by its first. Left out: a list of faults, which players of one's own would not be on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

KINDS = 3
"""Kinds of one fault of one player that are told apart; where there are more it is told once."""
VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\bafter \d+ tries\b|\S*\d{4}\S*|\S*(?:[^\W\d]\d|\d[^\W\d])\S*")
"""What is quoted, how often was tried, long numbers, and words with digits in them."""

Kind = tuple[str, ...]


def void_reasons(whys: Iterable[str]) -> dict[str, int]:
    """Return how many games were void, by the first reason of each kind, the most frequent first.

    >>> void_reasons([f"a: status 500: no room for req-{n}f" for n in range(9)])
    {'a: status 500: no room for req-0f (the first of 9 such reasons)': 9}
    """
    counts = Counter(whys)
    kinds: dict[Kind, list[str]] = {}
    for why in counts:
        kinds.setdefault(_kind(why), []).append(why)
    crowded = {fault for fault, kinds_of_it in Counter(kind[:2] for kind in kinds).items() if kinds_of_it > KINDS}
    told: dict[Kind, list[str]] = {}
    for kind, texts in kinds.items():
        told.setdefault(kind[:2] if kind[:2] in crowded else kind, []).extend(texts)
    found = {_said(texts): sum(counts[text] for text in texts) for texts in told.values()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _kind(why: str) -> Kind:
    who, *rest = why.split(": ")
    return who, *(VARIES.sub("#", part) for part in rest[:2])


def _said(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} (the first of {len(texts):,} such reasons)"
