"""Goofspiel, the game of pure strategy: both players bid a card for each prize, at the same time.

Simultaneous bids are sealed moves: seat 0 bids first, and seat 1 bids without seeing it. As in open_spiel a tie
discards the prize, and the last bid of each seat, being forced, plays itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from math import factorial
from string import ascii_lowercase

import numpy as np

from .game import Game, how_to_answer, near, pick_skin
from .memo import Memo

MAX_CARDS = 20
MAX_LISTED = 8
"""Most cards for which the random orders, n! of them, are listed by `deals`."""

SKINS = {
    "plain": {
        "rules": (
            "You are playing Goofspiel. Each player holds the cards 1 to {high}, each to be used once. The prizes "
            "1 to {cards} come up one at a time, {order}. For each prize both players bid one card, sealed; {open}. "
            "The higher bid wins the prize's points; on a tie nobody does. {goal}"
        ),
        "descending": "from the highest down",
        "ascending": "from the lowest up",
        "random": "in random order",
        "hidden": "then only the winner is announced",
        "open": "then both bids are shown",
        "win_loss": "The player with more points wins.",
        "point_difference": "Your score is half of your lead in points.",
        "total_points": "Your score is your points.",
        "cards": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "you": "You are player {seat}. Your cards: ",
        "other": "Cards of player {seat}: ",
        "bid": "your bid {own}, ",
        "bids": "bids {first} and {second}, ",
        "won": "prize {prize}: {bid}player {winner} won",
        "tied": "prize {prize}: {bid}tie",
        "history": "Rounds so far: ",
        "points": ".\nPoints: {0} for player 0, {1} for player 1. Prize now: ",
        "none": "none",
        "end": "none",
    },
    "obfuscated": {
        "rules": (
            "You are in a contest called Thimrel. Both sides own the runes a (weakest) through {high} (mightiest), "
            "good for a single use. Relics worth 1 up to {cards} appear singly, {order}. Both sides secretly offer a "
            "rune for the relic; {open}. The mightier rune gains its worth; equal runes gain zero. {goal}"
        ),
        "descending": "dearest before cheapest",
        "ascending": "cheapest before dearest",
        "random": "shuffled",
        "hidden": "afterwards you learn merely who gained it",
        "open": "afterwards these offers become known",
        "win_loss": "Whoever gained more worth prevails.",
        "point_difference": "Your payoff: your gains minus theirs, halved.",
        "total_points": "Your payoff: your gains.",
        "cards": " ".join(ascii_lowercase[:MAX_CARDS]),
        "you": "You are side {seat}. Your runes: ",
        "other": "Runes of side {seat}: ",
        "bid": "you offered {own}, ",
        "bids": "{first} and {second} offered, ",
        "won": "relic {prize}: {bid}side {winner} gained it",
        "tied": "relic {prize}: {bid}equal",
        "history": "Past relics: ",
        "points": ".\nWorth: {0} of side 0, {1} of side 1. Relic at hand: ",
        "none": "nothing",
        "end": "nothing",
    },
}

Points = tuple[int, int]
Past = tuple[Points, tuple[str, str]]
"""Each seat's points, and what it is told of the finished rounds: nothing before the first has ended."""
NO_PAST: Past = ((0, 0), ("", ""))
# How points become rewards.
RETURNS: dict[str, Callable[[Points], tuple[float, float]]] = {
    "win_loss": lambda points: _sign(points[0] - points[1]),
    "point_difference": lambda points: ((points[0] - points[1]) / 2, (points[1] - points[0]) / 2),
    "total_points": lambda points: (float(points[0]), float(points[1])),
}
ORDERS = ("descending", "ascending", "random")


@dataclass(frozen=True, slots=True)
class GoofspielState:
    """Prizes, bids and what is left to bid."""

    prizes: tuple[int, ...]
    """The whole order, hidden until each comes up."""
    hands: tuple[int, int]
    """The cards each seat holds: bit `card` is set."""
    bids: tuple[int, ...] = ()
    """Seat 0's, seat 1's, seat 0's, ..."""
    past: Past = field(default=NO_PAST, compare=False, repr=False)
    """Follows from the prizes, the bids and the skin; carried along because to tell it anew is half of a step."""


@dataclass(frozen=True, slots=True)
class _Hand:
    """All there is to say about one set of cards."""

    legal: tuple[str, ...]
    shown: str
    request: str
    """How to bid one of them, all listed."""


class Goofspiel(Game[GoofspielState]):
    """Goofspiel for two seats with `cards` cards each (2 to 20)."""

    skins = tuple(SKINS)
    hidden_information = True
    source = "Ross 1971, Goofspiel: the game of pure strategy (Journal of Applied Probability 8)"

    def __init__(
        self,
        *,
        cards: int = 4,
        points_order: str = "descending",
        hidden_bids: bool = False,
        returns: str = "win_loss",
        skin: str = "plain",
    ) -> None:
        """Set up the game.

        Args:
            cards: cards a seat and prizes.
            points_order: in what order prizes come up: "descending", "ascending" or "random".
            hidden_bids: whether a seat learns only who won each prize (open_spiel's `imp_info`), not the bids.
            returns: "win_loss", "point_difference" (half the lead) or "total_points" (not zero-sum).
        """
        self.cards = _checked(cards)
        self.order = _one_of("points_order", points_order, ORDERS)
        self.hidden_bids = hidden_bids
        self._returns = _one_of("returns", returns, tuple(RETURNS))
        self.zero_sum = returns != "total_points"
        self.reward_range = _extremes(cards, returns)
        self._words = words = pick_skin(SKINS, skin)
        self._names = words["cards"].split()[:cards]
        self._heads = tuple((words["you"].format(seat=i), words["other"].format(seat=1 - i)) for i in (0, 1))
        self._unplayed = words["history"] + words["none"]
        self._card = {name: card for card, name in enumerate(self._names, 1)}
        self._hands = Memo(self._hand)
        self._scores = Memo(self._score)
        self._tellings = Memo(self._tell)
        self.rules = words["rules"].format(
            cards=cards,
            high=self._names[-1],
            order=words[points_order],
            open=words["hidden" if hidden_bids else "open"],
            goal=words[returns],
        )

    def deal(self, rng: np.random.Generator) -> GoofspielState:
        if self.order == "random":
            return self._start(tuple((rng.permutation(self.cards) + 1).tolist()))
        return self._start(self._fixed())

    def deals(self) -> Iterator[tuple[GoofspielState, float]]:
        if self.order != "random":
            yield self._start(self._fixed()), 1.0
            return
        if self.cards > MAX_LISTED:
            raise NotImplementedError(
                f"{self.cards}! orders are too many to list; use at most {MAX_LISTED} cards or a fixed points_order"
            )
        for prizes in permutations(range(1, self.cards + 1)):
            yield self._start(prizes), 1 / factorial(self.cards)

    def seat(self, state: GoofspielState) -> int | None:
        return len(state.bids) & 1 if state.hands[1] else None

    def observation(self, state: GoofspielState, seat: int) -> str:
        bids, held, hands, (points, told) = state.bids, state.hands, self._hands, state.past
        rounds = len(bids) >> 1
        prize = state.prizes[rounds] if rounds < self.cards else self._words["end"]
        past = f"{told[seat] or self._unplayed}{self._scores[points]}{prize}."
        own, other = self._heads[seat]
        if self.hidden_bids:
            return f"{own}{hands[held[seat]].shown}.\n{past}"
        # A bid that is still sealed is still in the hand.
        sealed = 1 << bids[-1] if seat and len(bids) & 1 else 0
        return f"{own}{hands[held[seat]].shown}.\n{other}{hands[held[1 - seat] | sealed].shown}.\n{past}"

    def legal(self, state: GoofspielState) -> tuple[str, ...]:
        return self._hands[state.hands[len(state.bids) & 1]].legal

    def request(self, state: GoofspielState) -> str:
        if not self.show_legal:
            return super().request(state)
        return self._hands[state.hands[len(state.bids) & 1]].request

    def play(self, state: GoofspielState, move: str) -> GoofspielState:
        prizes, bids, (first, second), past = state.prizes, state.bids, state.hands, state.past
        seat = len(bids) & 1
        # Bit 0 is no card's, so a move that names none is held by nobody.
        card = self._card.get(move, 0)
        if not (second if seat else first) >> card & 1:
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        bids = (*bids, card)
        if seat == 0:
            return GoofspielState(prizes, (first ^ 1 << card, second), bids, past)
        second ^= 1 << card
        past = self._end_round(past, prizes[len(bids) // 2 - 1], bids[-2], card)
        if len(bids) < 2 * self.cards - 2:
            return GoofspielState(prizes, (first, second), bids, past)
        last = first.bit_length() - 1, second.bit_length() - 1
        return GoofspielState(prizes, (0, 0), (*bids, *last), self._end_round(past, prizes[-1], *last))

    def rewards(self, state: GoofspielState) -> tuple[float, float]:
        if state.hands[1]:
            return 0.0, 0.0
        return RETURNS[self._returns](state.past[0])

    def _fixed(self) -> tuple[int, ...]:
        upwards = range(1, self.cards + 1)
        return tuple(upwards if self.order == "ascending" else reversed(upwards))

    def _start(self, prizes: tuple[int, ...]) -> GoofspielState:
        every = (2 << self.cards) - 2
        return GoofspielState(prizes, (every, every))

    def _hand(self, held: int) -> _Hand:
        legal = tuple(name for card, name in enumerate(self._names, 1) if held >> card & 1)
        return _Hand(legal, " ".join(legal), how_to_answer(legal, True))

    def _score(self, points: Points) -> str:
        return self._words["points"].format(*points)

    def _end_round(self, past: Past, prize: int, first: int, second: int) -> Past:
        (points_0, points_1), (told_0, told_1) = past
        new_0, new_1 = self._tellings[prize, first, second]
        link = "; " if told_0 else self._words["history"]
        told_0 = f"{told_0}{link}{new_0}"
        told_1 = f"{told_1}{link}{new_1}" if self.hidden_bids else told_0
        return (points_0 + prize * (first > second), points_1 + prize * (second > first)), (told_0, told_1)

    def _tell(self, ended: tuple[int, int, int]) -> tuple[str, str]:
        """Say to each seat how a round ended: with hidden bids each is told its own, else both are told both."""
        prize, *bids = ended
        winner = _winner(*bids)
        form = self._words["tied" if winner is None else "won"]
        shown = self._words["bid" if self.hidden_bids else "bids"]
        first, second = names = [self._names[bid - 1] for bid in bids]
        told = [
            form.format(prize=prize, winner=winner, bid=shown.format(own=own, first=first, second=second))
            for own in names
        ]
        return told[0], told[1]


def _winner(first: int, second: int) -> int | None:
    return None if first == second else int(second > first)


def _sign(lead: int) -> tuple[float, float]:
    sign = float((lead > 0) - (lead < 0))
    return sign, -sign if sign else 0.0


def _extremes(cards: int, returns: str) -> tuple[float, float]:
    """Return the lowest and highest reward. Who wins anything also loses a prize: at best all but the prize of 1."""
    best = cards * (cards + 1) // 2 - 1
    return {
        "win_loss": (-1.0, 1.0),
        "point_difference": ((1 - best) / 2, (best - 1) / 2),
        "total_points": (0.0, float(best)),
    }[returns]


def _checked(cards: int) -> int:
    if type(cards) is not int or not 2 <= cards <= MAX_CARDS:
        raise ValueError(f"cards must be a whole number from 2 to {MAX_CARDS}, not {cards!r}")
    return cards


def _one_of(setting: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{setting} has no value {value!r}.{near(str(value), known)}")
    return value
