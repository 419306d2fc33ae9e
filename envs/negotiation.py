"""Dividing items of private worth by talking: Deal or No Deal (Lewis et al. 2017, after DeVault et al. 2015).

Chosen: a turn is one reply, a move of the legal ones with a message around it; so one format serves with messages and
without, and the move is read by the one parser. Without messages this is open_spiel's bargaining, and small settings
have a tree. Left out: that both seats enter what was agreed, which a proposal and its acceptance make sure of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .division import (
    ACCEPTED,
    REJECTED,
    NegotiationState,
    Numbers,
    divisions,
    frontier,
    points,
    rest,
    scenarios,
    worth,
)
from .game import Game, Refused, how_to_answer, pick_skin
from .memo import Memo
from .quoting import around_move
from .reading import read_move

MAX_MESSAGE = 300
"""Characters of a message that the other player is shown."""

SKINS = {
    "plain": {
        "rules": (
            "Two players divide some items. Both see how many there are; what an item is worth to you, only you know. "
            "All of them together are worth {total} points to either player, but the players value them differently. "
            "In turn, propose a division or accept the other player's last proposal: {example} means that you would "
            "keep {kept}, and the other player gets the rest. Once a proposal is accepted, your score is what your "
            "items are worth to you. There are {turns} turns; whoever has the last one can only accept or reject. "
            "Without an agreement both players score 0."
        ),
        "talk": " What you write around your move is said to the other player, its first {most} characters.",
        "kinds": "book hat ball",
        "many": "{kind}s",
        "keep": "keep {numbers}",
        "accept": "accept",
        "reject": "reject",
        "you": "You are player {seat}. Items: {items}.\nWorth to you: {values}.\n",
        "each": "{kind} {value} each",
        "and": " and ",
        "turn": "Turn {turn} of {turns}. Proposals so far:",
        "over": "Proposals:",
        "none": " none.",
        "offer": "\nPlayer {seat}: {move}",
        "saying": ", saying ",
        "result": "\nThe last proposal was {answer}. Player 0 has {first}; player 1 has {second}.",
        "no": "\nThe last proposal was rejected: no agreement.",
        "accepted": "accepted",
        "nothing": "nothing",
        "ask": "A message if you like, then your move in square brackets:",
        "want": "To me the {kind} matters most.",
        "spare": "Any {kind} is yours.",
        "yes": "That is fair.",
        "nay": "That is too little for me.",
    },
    "obfuscated": {
        "rules": (
            "Tokens on a tray must be split among sides 0 and 1. Their number is open; the use for one side is hidden "
            "from the rival. Everything sums to use {total} for each side, spread as luck wants. Alternating, name a "
            "split or else take the newest one: {example} says that {kept} go here, whatever remains goes elsewhere. "
            "When a side takes it, each side earns the use of such tokens as it holds. Just {turns} rounds happen; in "
            "round {turns} one may agree or refuse. When nobody agrees, each earns 0."
        ),
        "talk": " Text beside a choice is heard by that rival ({most} letters).",
        "kinds": "mib tor zan",
        "many": "{kind}",
        "keep": "hold {numbers}",
        "accept": "agree",
        "reject": "refuse",
        "you": "Side {seat}. Tray: {items}.\nUse: {values}.\n",
        "each": "{kind} {value}",
        "and": " plus ",
        "turn": "Round {turn}/{turns}. Named up to now:",
        "over": "Named:",
        "none": " zero.",
        "offer": "\nSide {seat}: {move}",
        "saying": " with ",
        "result": "\nThis split: {answer}. Side 0 holds {first}; side 1 holds {second}.",
        "no": "\nThis split: refused, so nobody earns.",
        "accepted": "agreed",
        "nothing": "empty",
        "ask": "Text as wanted, next your move, in square brackets:",
        "want": "Best for this side: {kind}.",
        "spare": "Take {kind} freely.",
        "yes": "Good.",
        "nay": "Not enough.",
    },
}


class _Table(NamedTuple):
    """What depends on the counts alone."""

    divisions: tuple[Numbers, ...]
    legal: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    """In the first turn, in later ones, in the last one."""
    numbers: dict[str, int]
    """The number of each proposal."""
    requests: tuple[str, str, str]
    """How to answer, with the moves listed."""
    told: tuple[tuple[str, ...], tuple[str, ...]]
    """How each proposal of seat 0 and of seat 1 is told."""


class Negotiation(Game[NegotiationState]):
    """Two seats divide items by proposals and messages; no agreement pays both of them 0."""

    zero_sum = False
    hidden_information = True
    figure = "surplus"
    skins = tuple(SKINS)
    source = "Lewis et al. 2017, Deal or No Deal? (arXiv 1706.05125), after DeVault et al. 2015"

    def __init__(
        self,
        *,
        kinds: int = 3,
        items: tuple[int, int] = (5, 7),
        total: int = 10,
        turns: int = 10,
        messages: bool = True,
        skin: str = "plain",
    ) -> None:
        """Set up the game.

        Args:
            kinds: how many kinds of items, 2 or 3.
            items: the fewest and the most items of a deal, `kinds` to 8.
            total: what all items together are worth to each seat, 2 to 20.
            turns: moves of both seats together, 2 to 20; the last one only accepts or rejects.
            messages: whether what stands around a move is said to the other seat. Without, all moves are listed.
            skin: the wording.
        """
        self._words = words = pick_skin(SKINS, skin)
        self.kinds = _whole("kinds", kinds, 2, 3)
        self.items = _span(items, kinds)
        self.total = _whole("total", total, 2, 20)
        self.turns = self.max_turns = _whole("turns", turns, 2, 20)
        self.messages = messages
        # The message is cut out of the speech before the other seat is shown it, in quotes and without brackets.
        self.keeps_brackets = messages
        self.reward_range = (0.0, float(total))
        self._names = words["kinds"].split()[:kinds]
        if not scenarios(kinds, *self.items, total):
            raise ValueError(f"no {self.items[0]} to {self.items[1]} items can be worth {total}; raise total or items")
        self._tables = Memo(self._table, limit=1024)
        self._heads = Memo(self._head)
        self._said = Memo(self._speeches)
        self._saying = words["saying"]
        self._when = [
            words["turn"].format(turn=turn + 1, turns=turns) + ("" if turn else words["none"]) for turn in range(turns)
        ]
        self.rules = self._rules()
        self.max_prompt = 2500 + turns * (80 + 2 * MAX_MESSAGE * messages)

    def deal(self, rng: np.random.Generator) -> NegotiationState:
        deals = scenarios(self.kinds, *self.items, self.total)
        return deals[int(rng.random() * len(deals))]

    def deals(self) -> Iterator[tuple[NegotiationState, float]]:
        deals = scenarios(self.kinds, *self.items, self.total)
        for state in deals:
            yield state, 1 / len(deals)

    def seat(self, state: NegotiationState) -> int | None:
        return None if state.end else len(state.offers) & 1

    def observation(self, state: NegotiationState, seat: int) -> str:
        told, saying, text = self._tables[state.counts].told, self._saying, []
        for turn, (offer, said) in enumerate(zip(state.offers, state.said, strict=True)):
            text.append(told[turn & 1][offer])
            if said:
                text.append(saying + said)
        head = self._heads[state.counts, state.values[seat], seat]
        if state.end:
            return f"{head}{self._words['over']}{''.join(text)}{self._result(state)}"
        return f"{head}{self._when[len(state.offers)]}{''.join(text)}"

    def legal(self, state: NegotiationState) -> tuple[str, ...] | None:
        return None if self.messages else self._listed(state)

    def request(self, state: NegotiationState) -> str:
        if self.show_legal:
            return self._tables[state.counts].requests[self._phase(state)]
        return self._words["ask"] if self.messages else super().request(state)

    def play(self, state: NegotiationState, move: str) -> NegotiationState:
        said = ""
        if self.messages:
            move, said = self._heard(state, move)
        elif move not in self._listed(state):
            raise ValueError(f"{move!r} is not legal now; legal: {self._listed(state)}")
        if move == self._words["accept"]:
            return replace(state, end=ACCEPTED)
        if move == self._words["reject"]:
            return replace(state, end=REJECTED)
        offer = self._tables[state.counts].numbers[move]
        return NegotiationState(state.counts, state.values, (*state.offers, offer), (*state.said, said))

    def rewards(self, state: NegotiationState) -> tuple[float, float]:
        if state.end != ACCEPTED:
            return 0.0, 0.0
        first, second = self.shares(state)
        return float(worth(state.values[0], first)), float(worth(state.values[1], second))

    def forfeit(self, state: NegotiationState, seat: int) -> tuple[float, float]:
        """An illegal reply ends in no agreement. Paying the other seat would make a forfeit worth agreeing on."""
        return 0.0, 0.0

    def shares(self, state: NegotiationState) -> tuple[Numbers, Numbers]:
        """Return what each seat has by the last proposal."""
        kept = self._tables[state.counts].divisions[state.offers[-1]]
        left = rest(state.counts, kept)
        return (kept, left) if len(state.offers) & 1 else (left, kept)

    def figures(self, state: NegotiationState) -> dict[str, float]:
        """Return how often there is an agreement, and how much of the best joint worth it has.

        Over agreements: whether neither seat could have more without the other having less (`pareto`), whether
        neither would rather have the other's share (`envy_free`), and after how many proposals they came.
        """
        if state.end != ACCEPTED:
            return {"agreement": 0.0, "surplus": 0.0}
        got = self.rewards(state)
        possible = {points(state, kept) for kept in divisions(state.counts)}
        return {
            "agreement": 1.0,
            "surplus": sum(got) / max(map(sum, possible)),
            "pareto": float(got in frontier(possible)),
            "envy_free": float(min(got) >= self.total / 2),
            "proposals": float(len(state.offers)),
        }

    def speeches(self, state: NegotiationState) -> tuple[str, ...]:
        seat = self.seat(state)
        if seat is None or not self.messages:
            return ()
        return self._said[state.counts, state.values[seat], self._phase(state)]

    def _speeches(self, key: tuple[Numbers, Numbers, int]) -> tuple[str, ...]:
        """Return each move alone, and with words that go with it and are true of the seat's own values."""
        counts, values, phase = key
        words, table = self._words, self._tables[counts]
        total = [count * value for count, value in zip(counts, values, strict=True)]
        best, least = total.index(max(total)), total.index(min(total))
        fitting: dict[str, list[str]] = {words["accept"]: [words["yes"]], words["reject"]: [words["nay"]]}
        for move, kept in zip(table.legal[0], table.divisions, strict=True):
            want = [words["want"].format(kind=self._names[best])] if kept[best] == counts[best] else []
            spare = [words["spare"].format(kind=self._names[least])] if not kept[least] else []
            fitting[move] = want + spare
        return tuple(f"{said} [{move}]".strip() for move in table.legal[phase] for said in ("", *fitting[move]))

    def _heard(self, state: NegotiationState, speech: str) -> tuple[str, str]:
        """Return the move in a speech and the message around it."""
        if state.end:
            raise Refused("the game is over")
        reading = read_move(speech, self._listed(state))
        if reading.move is None:
            raise Refused(reading.detail)
        return reading.move, around_move(speech, MAX_MESSAGE)

    def _phase(self, state: NegotiationState) -> int:
        played = len(state.offers)
        return 2 if played == self.turns - 1 else 1 if played else 0

    def _listed(self, state: NegotiationState) -> tuple[str, ...]:
        return () if state.end else self._tables[state.counts].legal[self._phase(state)]

    def _result(self, state: NegotiationState) -> str:
        if state.end != ACCEPTED:
            return self._words["no"]
        first, second = map(self._items, self.shares(state))
        return self._words["result"].format(answer=self._words["accepted"], first=first, second=second)

    def _table(self, counts: Numbers) -> _Table:
        words, all_ways = self._words, divisions(counts)
        offers = tuple(words["keep"].format(numbers=" ".join(map(str, kept))) for kept in all_ways)
        legal = (offers, (*offers, words["accept"]), (words["accept"], words["reject"]))
        first, later, last = map(self._ask, legal)
        one, two = (tuple(words["offer"].format(seat=seat, move=move) for move in offers) for seat in (0, 1))
        return _Table(all_ways, legal, {move: i for i, move in enumerate(offers)}, (first, later, last), (one, two))

    def _ask(self, legal: tuple[str, ...]) -> str:
        listed = how_to_answer(legal, True)
        return f"{listed[: listed.rindex(chr(10))]}\n{self._words['ask']}" if self.messages else listed

    def _head(self, key: tuple[Numbers, Numbers, int]) -> str:
        counts, values, seat = key
        each = [
            self._words["each"].format(kind=name, value=value) for name, value in zip(self._names, values, strict=True)
        ]
        return self._words["you"].format(seat=seat, items=self._items(counts), values=", ".join(each))

    def _items(self, counts: Numbers) -> str:
        named = [self._named(count, name) for count, name in zip(counts, self._names, strict=True) if count]
        return ", ".join(named) or self._words["nothing"]

    def _named(self, count: int, kind: str) -> str:
        return f"{count} {kind if count == 1 else self._words['many'].format(kind=kind)}"

    def _rules(self) -> str:
        words, example = self._words, (1, 0, 2)[: self.kinds]
        kept = [self._named(count, name) for count, name in zip(example, self._names, strict=True)]
        text = words["rules"].format(
            total=self.total,
            turns=self.turns,
            example=words["keep"].format(numbers=" ".join(map(str, example))),
            kept=", ".join(kept[:-1]) + words["and"] + kept[-1],
        )
        return text + words["talk"].format(most=MAX_MESSAGE) if self.messages else text


def _whole(name: str, value: int, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return value


def _span(items: tuple[int, int], kinds: int) -> tuple[int, int]:
    if not (isinstance(items, tuple) and len(items) == 2):
        raise ValueError(f"items must be the fewest and the most of a deal, for instance (5, 7), not {items!r}")
    low, high = (_whole("items", number, kinds, 8) for number in items)
    if low > high:
        raise ValueError(f"items must be the fewest and then the most of a deal, not {items!r}")
    return low, high
