"""Trading resources of private worth: whoever gains more by its own prices wins (TextArena's SimpleNegotiation).

Chosen: a turn is one reply, a move in brackets with a message around it, as in `negotiation`; an offer that its maker
cannot fill, or an acceptance that cannot be paid, is refused with the reason. Left out: accepting and offering in one
turn, and guessing at offers that are written in other ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from .division import worth
from .game import Game, Refused, near, pick_skin
from .memo import Memo
from .quoting import around_move
from .reading import MAX_MOVE, read_move

MAX_MESSAGE = 300
"""Characters of a message that the other player is shown."""
PRICES = (5, 10, 15, 25, 40)
"""What a unit of each resource is worth on average; a seat's own price differs by up to a fifth, within 5 to 40."""
RANGES = tuple((max(price - price // 5, 5), min(price + price // 5, 40)) for price in PRICES)
"""The lowest and the highest price of each."""
STOCKS = ((5, 25),) * len(PRICES)
"""The fewest and the most units of each that a seat begins with."""

SKINS = {
    "plain": {
        "rules": (
            "You and another player own resources: {kinds}. Each of you has private prices, near {prices}, and private "
            "stocks. In turn, offer a trade, accept the other player's last offer, or pass: {example} means that you "
            "would give 3 sheep and 2 ore and get 5 brick; accept trades as the last offer says; pass, or an offer of "
            "your own, turns it down. After {turns} turns, whoever has gained more, by its own prices, wins."
        ),
        "talk": " What you write around your move is said to the other player, its first {most} characters.",
        "kinds": "wheat wood sheep brick ore",
        "example": "offer 3 sheep, 2 ore for 5 brick",
        "offer": "offer",
        "for": "for",
        "accept": "accept",
        "pass": "pass",
        "you": "You are player {seat}. Turn {turn} of {turns}.\nYou have: {held}.\nWorth to you, each: {prices}.\n",
        "over": "You are player {seat}.\nYou have: {held}.\nWorth to you, each: {prices}.\n",
        "gain": "Together: {now}; at the start: {start}.\nMoves so far:",
        "none": " none.",
        "move": "\nPlayer {seat}: {move}",
        "saying": ", saying {words}",
        "end": "\nPlayer 0 gained {first}, player 1 gained {second}.",
        "ask": "A message if you like, then your move in square brackets, [offer ... for ...] or [pass]:",
        "answer": "A message if you like, then your move in square brackets, [accept], [offer ... for ...] or [pass]:",
        "ask_unlisted": "A message if you like, then your move in square brackets:",
        "want": "I could use {kind}.",
        "yes": "Fine with me.",
    },
    "obfuscated": {
        "rules": (
            "Two sides hold {kinds}. A unit counts something secret for the holder, close to {prices}; holdings are "
            "secret too. In rotation: propose to swap, or agree, or wait. Thus {example} gives 3 moss plus 2 zarn and "
            "takes 5 quib. Agree carries out the swap your rival proposed just before; anything else drops it. When "
            "{turns} rounds are done, compare how much both sums rose: most is best."
        ),
        "talk": " Text beside it reaches that rival ({most} letters).",
        "kinds": "dral finn moss quib zarn",
        "example": "swap 3 moss, 2 zarn against 5 quib",
        "offer": "swap",
        "for": "against",
        "accept": "agree",
        "pass": "wait",
        "you": "Side {seat}, round {turn}/{turns}.\nHeld: {held}.\nCounts: {prices}.\n",
        "over": "Side {seat}.\nHeld: {held}.\nCounts: {prices}.\n",
        "gain": "Sum {now}, once {start}.\nDone:",
        "none": " nothing.",
        "move": "\nSide {seat}: {move}",
        "saying": " with {words}",
        "end": "\nSide 0 rose {first}; side 1 rose {second}.",
        "ask": "Text, next your move, in square brackets: [swap ... against ...] or [wait]:",
        "answer": "Text, next your move, in square brackets: [agree] or [swap ... against ...] or [wait]:",
        "ask_unlisted": "Text, next your move, in square brackets:",
        "want": "More {kind} is wanted.",
        "yes": "Good.",
    },
}
Five = tuple[int, ...]
"""A number for each resource."""


class Offer(NamedTuple):
    """A trade: what its maker gives and gets."""

    give: Five
    get: Five


@dataclass(frozen=True, slots=True)
class TradingState:
    """Stocks and prices of both seats, and what was done and said."""

    held: tuple[Five, Five]
    prices: tuple[Five, Five]
    start: tuple[Five, Five]
    """What each seat held at the deal."""
    turn: int = 0
    offer: Offer | None = None
    """What the other seat has just offered the seat to move."""
    trades: int = 0
    log: str = ""
    """All moves and messages, as both seats are shown them."""


class _Anything:
    """Stands for moves that are too many to list: what is in the last brackets is read, and then judged by the game."""

    def __contains__(self, move: object) -> bool:
        """Return whether it is written as moves are: in lower case, in single spaces, without brackets."""
        return (
            isinstance(move, str)
            and len(move) <= MAX_MOVE
            and move == " ".join(move.split()).casefold()
            and not set(move) & {"[", "]"}
        )

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


ANYTHING = _Anything()


class Trading(Game[TradingState]):
    """Two seats trade five resources; the one that gains more by its own prices wins."""

    hidden_information = True
    keeps_brackets = True
    skins = tuple(SKINS)
    source = (
        "SimpleNegotiation of TextArena (Guertler et al. 2025, arXiv 2504.11442), as SPIRAL trains on it (2506.24119)"
    )

    def __init__(self, *, turns: int = 10, messages: bool = True, skin: str = "plain") -> None:
        """Set up the game: `turns` of both seats together, 2 to 20 and even, and whether messages are passed on."""
        words = pick_skin(SKINS, skin)
        if type(turns) is not int or not 2 <= turns <= 20 or turns % 2:
            raise ValueError(f"turns must be an even number from 2 to 20, so that both have as many, not {turns!r}")
        self._words = words
        self.turns = self.max_turns = turns
        self.messages = messages
        self._kinds = words["kinds"].split()
        self._said = Memo(self._speeches)
        self.max_prompt = 2500 + turns * (80 + 2 * MAX_MESSAGE * messages)
        self.rules = words["rules"].format(
            kinds=", ".join(self._kinds),
            prices=", ".join(map(str, PRICES)),
            example=words["example"],
            turns=turns,
        ) + (words["talk"].format(most=MAX_MESSAGE) if messages else "")

    def deal(self, rng: np.random.Generator) -> TradingState:
        drawn = iter(rng.random(4 * len(PRICES)).tolist())
        one, two, first, second = (
            tuple([low + int(next(drawn) * (high - low + 1)) for low, high in ranges])
            for ranges in (STOCKS, STOCKS, RANGES, RANGES)
        )
        return TradingState((one, two), (first, second), (one, two))

    def seat(self, state: TradingState) -> int | None:
        return state.turn & 1 if state.turn < self.turns else None

    def observation(self, state: TradingState, seat: int) -> str:
        words, held, prices = self._words, state.held[seat], state.prices[seat]
        over = state.turn >= self.turns
        head = words["over" if over else "you"].format(
            seat=seat,
            turn=state.turn + 1,
            turns=self.turns,
            held=self._amounts(held),
            prices=", ".join([f"{kind} {price}" for kind, price in zip(self._kinds, prices, strict=True)]),
        )
        total = words["gain"].format(now=worth(held, prices), start=worth(state.start[seat], prices))
        text = f"{head}{total}{state.log or words['none']}"
        return text + words["end"].format(first=gain(state, 0), second=gain(state, 1)) if over else text

    def legal(self, state: TradingState) -> None:
        return None

    def request(self, state: TradingState) -> str:
        if not self.show_legal:
            return self._words["ask_unlisted"]
        return self._words["answer" if self._payable(state) else "ask"]

    def play(self, state: TradingState, move: str) -> TradingState:
        seat = self.seat(state)
        if seat is None:
            raise Refused("the game is over")
        reading = read_move(move, ANYTHING)
        if reading.move is None:
            raise Refused(reading.detail)
        words, log = self._words, self._logged(state, seat, reading.move, move)
        if reading.move == words["accept"]:
            return self._traded(state, seat, log)
        offer = None if reading.move == words["pass"] else self._offer(reading.move, state.held[seat])
        return TradingState(state.held, state.prices, state.start, state.turn + 1, offer, state.trades, log)

    def rewards(self, state: TradingState) -> tuple[float, float]:
        if state.turn < self.turns:
            return 0.0, 0.0
        first, second = gain(state, 0), gain(state, 1)
        return float((first > second) - (first < second)), float((second > first) - (second < first))

    def figures(self, state: TradingState) -> dict[str, float]:
        """Return the number of trades, and the joint gain as a share of the most there was to gain by trading."""
        most = sum(
            max(b - a, 0) * first + max(a - b, 0) * second
            for a, b, first, second in zip(*state.prices, *state.start, strict=True)
        )
        return {"trades": float(state.trades), "surplus": (gain(state, 0) + gain(state, 1)) / most if most else 0.0}

    def speeches(self, state: TradingState) -> tuple[str, ...]:
        seat = self.seat(state)
        return () if seat is None else self._said[state.held[seat], state.prices[seat], self._payable(state)]

    def _speeches(self, key: tuple[Five, Five, bool]) -> tuple[str, ...]:
        """Return answers, and for each pair of resources an offer by which the seat would gain; some of it in words."""
        held, prices, payable = key
        words, kinds = self._words, self._kinds
        said = [f"[{words['pass']}]"]
        if payable:
            said += [f"[{words['accept']}]", f"{words['yes']} [{words['accept']}]"]
        for give, get in permutations(range(len(PRICES)), 2):
            many = min(held[give], 1 + prices[get] // prices[give])
            asked = 1 + many * prices[give] // prices[get]
            if many:
                want = f"{words['want'].format(kind=kinds[get])} " if (give + get) % 2 else ""
                said.append(f"{want}[{words['offer']} {many} {kinds[give]} {words['for']} {asked} {kinds[get]}]")
        return tuple(said)

    def _payable(self, state: TradingState) -> bool:
        """Return whether there is an offer that the seat to move could accept."""
        return state.offer is not None and _covers(state.held[state.turn & 1], state.offer.get)

    def _traded(self, state: TradingState, seat: int, log: str) -> TradingState:
        offer = state.offer
        if offer is None:
            raise Refused("There is no offer to accept. Make one, or pass.")
        if not self._payable(state):
            raise Refused(f"You cannot accept: you do not have {self._amounts(offer.get)}.")
        moved = [a - b for a, b in zip(offer.give, offer.get, strict=True)]
        mine = tuple([n + m for n, m in zip(state.held[seat], moved, strict=True)])
        theirs = tuple([n - m for n, m in zip(state.held[1 - seat], moved, strict=True)])
        held = (mine, theirs) if seat == 0 else (theirs, mine)
        return TradingState(held, state.prices, state.start, state.turn + 1, None, state.trades + 1, log)

    def _offer(self, move: str, held: Five) -> Offer:
        """Read an offer. Raises Refused, saying what is wrong with it."""
        words = self._words
        found = re.fullmatch(rf"{words['offer']} (.+) {words['for']} (.+)", move)
        if found is None:
            raise Refused(f"{move!a} is no move here. Write one like this: {words['example']}")
        offer = Offer(self._parsed(found[1]), self._parsed(found[2]))
        if any(a and b for a, b in zip(*offer, strict=True)):
            raise Refused("Do not give and get the same resource.")
        if not _covers(held, offer.give):
            raise Refused(f"You cannot offer {self._amounts(offer.give)}: you have {self._amounts(held)}.")
        return offer

    def _parsed(self, text: str) -> Five:
        amounts = [0] * len(PRICES)
        for item in text.split(", "):
            found = re.fullmatch(r"([1-9][0-9]{0,2}) ([a-z]+)", item)
            if found is None:
                raise Refused(f"{item!a} is no amount of a resource. Write one like this: 3 {self._kinds[2]}")
            if found[2] not in self._kinds:
                raise Refused(f"There is no {found[2]}.{near(found[2], self._kinds)}")
            amounts[self._kinds.index(found[2])] += int(found[1])
        return tuple(amounts)

    def _logged(self, state: TradingState, seat: int, move: str, speech: str) -> str:
        words = self._words
        line = words["move"].format(seat=seat, move=move)
        message = around_move(speech, MAX_MESSAGE) if self.messages else ""
        return state.log + line + (words["saying"].format(words=message) if message else "")

    def _amounts(self, amounts: Five) -> str:
        return ", ".join([f"{n} {kind}" for n, kind in zip(amounts, self._kinds, strict=True) if n])


def gain(state: TradingState, seat: int) -> int:
    """Return by how much what a seat holds is worth more, by its own prices, than what it began with."""
    return worth(state.held[seat], state.prices[seat]) - worth(state.start[seat], state.prices[seat])


def _covers(held: Five, wanted: Five) -> bool:
    return all(n >= m for n, m in zip(held, wanted, strict=True))
