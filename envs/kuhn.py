"""Kuhn poker (Kuhn 1950): three cards, one bet, the smallest game in which bluffing pays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .game import Game, pick_skin
from .records import travelling

SKINS = {
    "plain": {
        "rules": (
            "You are playing Kuhn poker. The deck has three cards: Jack < Queen < King. Each player antes 1 chip and "
            "is dealt one card. Check or bet 1 chip; facing a bet, call it with 1 chip or fold. The higher card wins "
            "the pot at a showdown."
        ),
        "0": "Jack",
        "1": "Queen",
        "2": "King",
        "c": "check",
        "b": "bet",
        "k": "call",
        "f": "fold",
        "you": "Your card: {card}. You are player {seat}.",
        "history": "Moves so far: {moves}.",
        "none": "none",
    },
    "obfuscated": {
        "rules": (
            "You are in a contest called Varn. Three stones exist: Mel < Tor < Zhu. Each side places 1 token in the "
            "bowl and draws one hidden stone. Wait or push 1 token; after a push, match it with 1 token or leave. "
            "The greater stone takes the bowl if both sides stay."
        ),
        "0": "Mel",
        "1": "Tor",
        "2": "Zhu",
        "c": "wait",
        "b": "push",
        "k": "match",
        "f": "leave",
        "you": "Your stone: {card}. You are side {seat}.",
        "history": "Deeds so far: {moves}.",
        "none": "nothing",
    },
}

DEALS: tuple[tuple[int, int], ...] = tuple(permutations(range(3), 2))
# check, bet, call, fold: what may follow each history. A history that is no key is over.
FOLLOWS = {"": "cb", "c": "cb", "b": "kf", "cb": "kf"}
SEATS = {"": 0, "c": 1, "b": 1, "cb": 0}
# Chips that the winner takes from the other, and who wins: a seat, or None for the higher card.
STAKES: dict[str, tuple[float, int | None]] = {
    "cc": (1.0, None),
    "bk": (2.0, None),
    "bf": (1.0, 0),
    "cbk": (2.0, None),
    "cbf": (1.0, 1),
}


@travelling
@dataclass(frozen=True, slots=True)
class KuhnState:
    """Two cards (0 low, 2 high), one a seat, and the moves so far as letters of `FOLLOWS`."""

    cards: tuple[int, int]
    history: str = ""


# Every state there is, by history and by cards: a move is then a lookup.
STATES = {h: {cards: KuhnState(cards, h) for cards in DEALS} for h in (*FOLLOWS, *STAKES)}


class KuhnPoker(Game[KuhnState]):
    """Kuhn poker, two seats, 12 information sets. The first seat's value in equilibrium is -1/18."""

    reward_range = (-2.0, 2.0)
    skins = tuple(SKINS)
    hidden_information = True
    source = "Kuhn 1950, A simplified two-person poker (Contributions to the Theory of Games I)"

    def __init__(self, *, skin: str = "plain") -> None:
        words = pick_skin(SKINS, skin)
        self.rules = words["rules"]
        self._legal = {h: tuple(words[c] for c in after) for h, after in FOLLOWS.items()}
        self._next = {h: {words[c]: STATES[h + c] for c in after} for h, after in FOLLOWS.items()}
        self._text = {
            (card, h, seat): _describe(words, card, h, seat)
            for card in range(3)
            for h in (*FOLLOWS, *STAKES)
            for seat in (0, 1)
        }

    def deal(self, rng: np.random.Generator) -> KuhnState:
        return STATES[""][DEALS[int(rng.random() * len(DEALS))]]

    def deals(self) -> Iterator[tuple[KuhnState, float]]:
        for cards in DEALS:
            yield STATES[""][cards], 1 / len(DEALS)

    def seat(self, state: KuhnState) -> int | None:
        return SEATS.get(state.history)

    def observation(self, state: KuhnState, seat: int) -> str:
        return self._text[state.cards[seat], state.history, seat]

    def legal(self, state: KuhnState) -> tuple[str, ...]:
        return self._legal.get(state.history, ())

    def play(self, state: KuhnState, move: str) -> KuhnState:
        try:
            return self._next[state.history][move][state.cards]
        except KeyError:
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}") from None

    def rewards(self, state: KuhnState) -> tuple[float, float]:
        if state.history not in STAKES:
            return 0.0, 0.0
        stake, winner = STAKES[state.history]
        if winner is None:
            winner = 0 if state.cards[0] > state.cards[1] else 1
        return (stake, -stake) if winner == 0 else (-stake, stake)


def _describe(words: dict[str, str], card: int, history: str, seat: int) -> str:
    moves = ", ".join(words[c] for c in history) or words["none"]
    return words["you"].format(card=words[str(card)], seat=seat) + "\n" + words["history"].format(moves=moves)
