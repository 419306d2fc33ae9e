"""Leduc hold'em (Southey et al. 2005): six cards, two betting rounds, one public card.

Cards are ranks here, not cards of a suit: suits decide nothing, and 24 deals and 288 prompts remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .game import Game, pick_skin
from .memo import Memo
from .records import travelling

SKINS = {
    "plain": {
        "rules": (
            "You are playing Leduc poker. The deck has six cards: two Jacks < two Queens < two Kings. Each player "
            "antes 1 chip and is dealt one card. Round 1 is bet with 2 chips a bet or raise; then a public card is "
            "shown, and round 2 is bet with 4. In each round one bet and one raise are allowed, and player 0 begins. "
            "At the showdown a card that pairs with the public card wins, else the higher card; equal cards split "
            "the pot."
        ),
        "0": "Jack",
        "1": "Queen",
        "2": "King",
        "c": "check",
        "b": "bet",
        "k": "call",
        "r": "raise",
        "f": "fold",
        "you": "Your card: {card}. You are player {seat}.",
        "first": "Round 1: {moves}.",
        "second": "Public card: {public}. Round 2: {moves}.",
        "none": "no moves yet",
    },
    "obfuscated": {
        "rules": (
            "You are in a contest called Ostrel. A sack holds stones in twos: Mel, Mel < Tor, Tor < Zhu, "
            "Zhu. Both sides put 1 token in the bowl and draw a hidden stone. In phase A a push or a shove adds 2 "
            "tokens; after it an open stone comes out, and in phase B they add 4. A phase takes at most a push plus a "
            "shove, and side 0 opens it. If both sides stay, matching the open stone takes the bowl, failing that the "
            "greater stone; alike stones share it."
        ),
        "0": "Mel",
        "1": "Tor",
        "2": "Zhu",
        "c": "wait",
        "b": "push",
        "k": "match",
        "r": "shove",
        "f": "leave",
        "you": "Your stone: {card}. You are side {seat}.",
        "first": "Phase A: {moves}.",
        "second": "Open stone: {public}. Phase B: {moves}.",
        "none": "nothing",
    },
}

ANTE = 1
BETS = (2, 4)
"""Chips of a bet or raise in each round."""
# check, bet, call, raise, fold: what may follow the moves of one round. Moves that are no key end the round.
FOLLOWS = {"": "cb", "c": "cb", "b": "fkr", "cb": "fkr", "br": "fk", "cbr": "fk"}
# The 120 equally likely draws of three cards, as ranks: first seat, second seat, public.
DRAWS = tuple((a // 2, b // 2, c // 2) for a, b, c in permutations(range(6), 3))


@travelling
@dataclass(frozen=True, slots=True)
class LeducState:
    """A deal and the moves so far."""

    cards: tuple[int, int, int]
    """Ranks (0 low, 2 high) of the first seat, the second seat and the public card, which is hidden in round 1."""
    history: str = ""
    """Letters of `FOLLOWS`; a slash once round 1 is over."""


@dataclass(frozen=True, slots=True)
class _Point:
    """What the moves so far decide, whatever the cards."""

    seat: int | None
    legal: tuple[str, ...]
    after: dict[str, str]
    """Legal move -> history."""
    paid: tuple[int, int]
    """Chips each seat has put in, antes included."""
    folded: int | None
    """The seat that folded."""


class LeducPoker(Game[LeducState]):
    """Leduc poker, two seats, 288 information sets. The first seat's value in equilibrium is about -0.0856."""

    # Ante 1, then two bets of 2 and two of 4.
    reward_range = (-13.0, 13.0)
    skins = tuple(SKINS)
    hidden_information = True
    source = "Southey et al. 2005, Bayes' Bluff: Opponent Modelling in Poker (arXiv 1207.1411)"

    def __init__(self, *, skin: str = "plain") -> None:
        self._words = pick_skin(SKINS, skin)
        self.rules = self._words["rules"]
        self._points = Memo(self._look)
        self._texts = Memo(self._describe)

    def deal(self, rng: np.random.Generator) -> LeducState:
        return LeducState(DRAWS[int(rng.random() * len(DRAWS))])

    def deals(self) -> Iterator[tuple[LeducState, float]]:
        for cards in sorted(set(DRAWS)):
            yield LeducState(cards), DRAWS.count(cards) / len(DRAWS)

    def seat(self, state: LeducState) -> int | None:
        return self._points[state.history].seat

    def observation(self, state: LeducState, seat: int) -> str:
        public = state.cards[2] if "/" in state.history else None
        return self._texts[state.cards[seat], public, state.history, seat]

    def legal(self, state: LeducState) -> tuple[str, ...]:
        return self._points[state.history].legal

    def play(self, state: LeducState, move: str) -> LeducState:
        try:
            return LeducState(state.cards, self._points[state.history].after[move])
        except KeyError:
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}") from None

    def rewards(self, state: LeducState) -> tuple[float, float]:
        point = self._points[state.history]
        if point.seat is not None:
            return 0.0, 0.0
        winner = _showdown(state.cards) if point.folded is None else 1 - point.folded
        if winner is None:
            return 0.0, 0.0
        lost = float(point.paid[1 - winner])
        return (lost, -lost) if winner == 0 else (-lost, lost)

    def _look(self, history: str) -> _Point:
        number = history.count("/")
        moves = history.rpartition("/")[2]
        letters = FOLLOWS.get(moves, "")
        seat = len(moves) & 1
        return _Point(
            seat=seat if letters else None,
            legal=tuple(self._words[letter] for letter in letters),
            after={self._words[letter]: _extend(history, moves + letter, number) for letter in letters},
            paid=_paid(history),
            # Whoever would be next did not fold: the other did.
            folded=1 - seat if moves.endswith("f") else None,
        )

    def _describe(self, seen: tuple[int, int | None, str, int]) -> str:
        card, public, history, seat = seen
        words = self._words
        rounds = [", ".join(words[letter] for letter in moves) or words["none"] for moves in history.split("/")]
        lines = [
            words["you"].format(card=words[str(card)], seat=seat),
            words["first"].format(moves=rounds[0]),
        ]
        if public is not None:
            lines.append(words["second"].format(public=words[str(public)], moves=rounds[1]))
        return "\n".join(lines)


def _extend(history: str, moves: str, number: int) -> str:
    """Return the history once its present round reads `moves`; `number` is 0 in the first round, 1 in the second."""
    closes_first = number == 0 and moves not in FOLLOWS and not moves.endswith("f")
    return history + moves[-1] + ("/" if closes_first else "")


def _paid(history: str) -> tuple[int, int]:
    paid = [ANTE, ANTE]
    for size, moves in zip(BETS, history.split("/"), strict=False):
        for i, letter in enumerate(moves):
            if letter in "brk":
                paid[i & 1] = paid[1 - (i & 1)] + (0 if letter == "k" else size)
    return paid[0], paid[1]


def _showdown(cards: tuple[int, int, int]) -> int | None:
    first, second, public = cards
    if first == second:
        return None
    if public in (first, second):
        return 0 if public == first else 1
    return 0 if first > second else 1
