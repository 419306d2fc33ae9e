"""Nim: take counters from one heap a turn; whoever takes the last one loses (misère) or wins (normal play)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from .game import Game, pick_skin
from .memo import Memo

MAX_HEAPS = 9
MAX_COUNTERS = 100

SKINS = {
    "plain": {
        "rules": (
            "You are playing Nim. Take one or more counters from a single heap; whoever takes the last counter of all "
            "{last}. To take 2 counters from heap 3, move: 2 from 3."
        ),
        "misere": "loses",
        "normal": "wins",
        "heap": "heap {name} has {count}",
        "you": "You are player {seat}. On the table: {heaps}.",
        "move": "{count} from {name}",
        "names": "123456789",
    },
    "obfuscated": {
        "rules": (
            "Drusk: on your go, burn some candles of any shelf; the side that burns the final candle {last}. "
            "Burning 2 candles on shelf c is written: c minus 2."
        ),
        "misere": "fails",
        "normal": "prevails",
        "heap": "shelf {name} holds {count}",
        "you": "You are side {seat}. Now {heaps}.",
        "move": "{name} minus {count}",
        "names": ascii_lowercase[:MAX_HEAPS],
    },
}


@dataclass(frozen=True, slots=True)
class NimState:
    """Counters left in each heap, and the seat to move (at the end: the seat that can't)."""

    heaps: tuple[int, ...]
    seat: int = 0


@dataclass(frozen=True, slots=True)
class _Table:
    """All there is to say about one row of heaps in one skin."""

    texts: tuple[str, str]
    after: tuple[dict[str, NimState], dict[str, NimState]]
    """Legal move -> next state, for each seat to move."""
    legal: tuple[str, ...]


class Nim(Game[NimState]):
    """Nim with any heaps; seat 0 moves first. Misère play unless `misere=False`."""

    skins = tuple(SKINS)
    hidden_information = False
    source = "Bouton 1901, Nim, a game with a complete mathematical theory (Annals of Mathematics 3)"

    def __init__(self, *, heaps: Sequence[int] = (1, 3, 5), misere: bool = True, skin: str = "plain") -> None:
        """Set up the heaps: 1 to 9 of them, each of at least one counter, at most 100 counters in all."""
        self._words = pick_skin(SKINS, skin)
        self.rules = self._words["rules"].format(last=self._words["misere" if misere else "normal"])
        self.heaps = _checked(heaps)
        self.misere = misere
        self._tables = Memo(self._look)

    def deal(self, rng: np.random.Generator) -> NimState:
        return NimState(self.heaps)

    def deals(self) -> Iterator[tuple[NimState, float]]:
        yield NimState(self.heaps), 1.0

    def seat(self, state: NimState) -> int | None:
        return state.seat if self._tables[state.heaps].legal else None

    def observation(self, state: NimState, seat: int) -> str:
        return self._tables[state.heaps].texts[seat]

    def legal(self, state: NimState) -> tuple[str, ...]:
        return self._tables[state.heaps].legal

    def play(self, state: NimState, move: str) -> NimState:
        try:
            return self._tables[state.heaps].after[state.seat][move]
        except KeyError:
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}") from None

    def rewards(self, state: NimState) -> tuple[float, float]:
        if any(state.heaps):
            return 0.0, 0.0
        winner = state.seat if self.misere else 1 - state.seat
        return (1.0, -1.0) if winner == 0 else (-1.0, 1.0)

    def _look(self, heaps: tuple[int, ...]) -> _Table:
        words = self._words
        left = {
            words["move"].format(count=count, name=words["names"][i]): (
                *heaps[:i],
                held - count,
                *heaps[i + 1 :],
            )
            for i, held in enumerate(heaps)
            for count in range(1, held + 1)
        }
        return _Table(
            texts=(_describe(words, heaps, 0), _describe(words, heaps, 1)),
            after=(
                {move: NimState(rest, 1) for move, rest in left.items()},
                {move: NimState(rest, 0) for move, rest in left.items()},
            ),
            legal=tuple(left),
        )


def _checked(heaps: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(heaps, Sequence):
        raise ValueError(f"heaps must be a list of counts, not {heaps!r}; for instance (1, 3, 5)")
    given = tuple(heaps)
    if not 1 <= len(given) <= MAX_HEAPS:
        raise ValueError(f"heaps must hold 1 to {MAX_HEAPS} heaps, not {len(given)}; for instance (1, 3, 5)")
    if not all(type(held) is int and held >= 1 for held in given):
        raise ValueError(f"each heap must be a whole number of 1 or more, not {given}; for instance (1, 3, 5)")
    if sum(given) > MAX_COUNTERS:
        raise ValueError(f"heaps hold {sum(given)} counters; use at most {MAX_COUNTERS} in all")
    return given


def _describe(words: dict[str, str], heaps: tuple[int, ...], seat: int) -> str:
    named = zip(words["names"], heaps, strict=False)
    row = ", ".join(words["heap"].format(name=name, count=count) for name, count in named)
    return words["you"].format(seat=seat, heaps=row)
