"""What might be said in TextArena's games, for random players, warm starts and the check of the bridge.

A game offers most moves itself, in square brackets; a table adds the forms that it only describes. What the game then
does not take is dropped, so a form may say more than the rules allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import product

_OFFERED = re.compile(r"\[[^\[\]\n]{1,40}\]")
_RANGE = re.compile(r"\{(\w+)-(\w+)\}")
_NEWEST = 2_500
"""Characters at the end of what is shown in which offers are looked for first."""

FORMS: dict[str, tuple[str, ...]] = {
    "Battleship": ("[{a-t}{0-19}]",),
    "Briscola": ("[play {1-3}]",),
    "Chopsticks": ("[attack {0-1} {0-1}]", "[split {0-4} {0-4}]"),
    "ConnectFour": ("[col {0-6}]",),
    "GermanWhist": ("[play {1-13}]",),
    "Golf": ("[draw]", "[take]", "[discard]", "[swap {1-2} {1-3}]"),
    "IndianPoker": ("[check]", "[call]", "[fold]", "[bet {1-3}]", "[raise {1-3}]"),
    "IteratedPrisonersDilemma": ("[Cooperate]", "[Defect]", "Let us work together."),
    "IteratedTwoThirdsAverage": ("[{0-66}]",),
    "IteratedUltimatumGame": ("[Offer: ${1-25}]", "[Accept]", "[Reject]"),
    "LeTruc": ("[play {1-3}]", "[truc]", "[accept]", "[fold]"),
    "LiarsDice": ("[Bid: {1-6}, {1-6}]", "[Call]"),
    "MarketEntryGame": ("[E]", "[S]", "{I will stay out.}"),
    "MemoryGame": ("[{0-5} {0-5} {0-5} {0-5}]",),
    "NewRecruit": ("[Propose] {A-E}B{A-E}C{A-E}A{A-E}D", "[Accept]", "[Reject]"),
    "Nim": ("[{0-4} {1-9}]",),
    "Othello": ("[{0-7}, {0-7}]",),
    "Poker": ("[Check]", "[Call]", "[Fold]", "[Bet 20]", "[Raise 40]"),
    "PublicGoodsGame": ("[{0-20}]", "{I will give half.}"),
    "QuantumTicTacToe": ("[{0-8},{0-8}]",),
    "SimpleBlindAuction": ("[Bid on Item {0-4}: {50-150}]", "I like the first item."),
    "SimpleNegotiation": (
        "[Accept]",
        "[Deny]",
        "[Offer: {1-3} Wheat -> {1-2} Wood]",
        "[Offer: {1-2} Ore -> {2-9} Sheep]",
    ),
    "Tak": ("[place () {({0-5},{0-5}): [F0]}]", "[place () {({0-5},{0-5}): [F1]}]"),
    "TruthAndDeception": ("[Fact {1-2}]", "I am sure that the first fact is right."),
    "TwoDollar": ("That is fair. [Propose] ${0-1}.{10-90}", "That will do. [Accept]", "That is too little. [Reject]"),
    "UltimateTicTacToe": ("[{0-8} {0-8}]",),
}


def candidates_of(name: str, shown: str) -> list[str]:
    """Return what might be said in a game, by what the seat to move is shown."""
    newest = _OFFERED.findall(shown[-_NEWEST:])
    offered = newest if len(newest) > 1 else _OFFERED.findall(shown)
    return list(dict.fromkeys([*offered, *_forms(name)]))


@cache
def _forms(name: str) -> tuple[str, ...]:
    family, _, variant = name.partition("-v0")
    if family in _COMPUTED:
        return tuple(_COMPUTED[family](variant))
    return tuple(saying for form in FORMS.get(family, ()) for saying in expanded(form))


def expanded(form: str) -> Iterator[str]:
    """Yield what a form stands for: `{a-c}` is one letter of three, `{1-9}` one number of nine.

    >>> list(expanded("[{a-b} {1-2}]"))
    ['[a 1]', '[a 2]', '[b 1]', '[b 2]']
    """
    pieces = _RANGE.split(form)
    ranges = [_between(low, high) for low, high in zip(pieces[1::3], pieces[2::3], strict=True)]
    for values in product(*ranges):
        yield pieces[0] + "".join(value + text for value, text in zip(values, pieces[3::3], strict=True))


def _between(low: str, high: str) -> list[str]:
    if low.isdigit():
        return [str(number) for number in range(int(low), int(high) + 1)]
    return [chr(code) for code in range(ord(low), ord(high) + 1)]


def _squares(size: int, joint: str, reaches: Iterable[int]) -> Iterator[str]:
    """Yield moves from a square in a straight or diagonal line to another, as `[a2a3]`."""
    for column, row, reach in product(range(size), range(size), reaches):
        for across, up in product((-reach, 0, reach), repeat=2):
            if (across or up) and 0 <= column + across < size and 0 <= row + up < size:
                yield f"[{_square(column, row)}{joint}{_square(column + across, row + up)}]"


def _santorini() -> Iterator[str]:
    """Yield a worker's step and what it builds from there; only seat 0 is shown a list of them."""
    for worker, (row, column) in product(("N1", "N2", "W1", "W2"), product(range(5), repeat=2)):
        for to in _around(row, column):
            for build in _around(*to):
                yield f"[{worker}{_rowed(row, column)}{_rowed(*to)}{_rowed(*build)}]"


def _around(row: int, column: int) -> list[tuple[int, int]]:
    reached = product((row - 1, row, row + 1), (column - 1, column, column + 1))
    return [(r, c) for r, c in reached if (r, c) != (row, column) and 0 <= r < 5 and 0 <= c < 5]


def _rowed(row: int, column: int) -> str:
    return f"{chr(ord('A') + row)}{column + 1}"


def _square(column: int, row: int) -> str:
    return f"{chr(ord('a') + column)}{row + 1}"


def _allocations() -> Iterator[str]:
    """Yield ways to share out units, for the numbers of fields and units that the variants have."""
    for fields, units in product(range(3, 11), (20, 50, 75, 100)):
        for first in range(fields):
            shares = [units // fields] * fields
            shares[first] += units - sum(shares)
            shares[first] += shares[first - 1] // 2
            shares[first - 1] -= shares[first - 1] // 2
            yield f"[{' '.join(f'{chr(65 + i)}{share}' for i, share in enumerate(shares))}]"


_SIDES = {"-tiny": 5, "-small": 6, "-large": 10}
_COMPUTED: dict[str, Callable[[str], Iterator[str]]] = {
    "Alquerque": lambda _: _squares(5, " ", (1, 2)),
    "Breakthrough": lambda variant: _squares(_SIDES.get(variant, 8), "", (1,)),
    "ColonelBlotto": lambda _: _allocations(),
    "LinesOfAction": lambda _: _squares(8, "", range(1, 8)),
    "SantoriniBaseFixed": lambda _: _santorini(),
}
"""Forms that are computed from a variant's name."""
