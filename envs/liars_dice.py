"""Liar's Dice: bid on how many dice of both players show a face; the highest face is wild.

Chosen: one round to the first challenge, as open_spiel plays it. Left out: losing dice one by one over many rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np

from .game import Game, how_to_answer, pick_skin
from .memo import Memo
from .records import travelling

MAX_DICE = 10
MAX_FACES = 12

SKINS = {
    "plain": {
        "rules": (
            "You are playing Liar's Dice. Each player rolls {dice} hidden dice with faces 1 to {faces}; face {high} is "
            "wild and counts as any face. A bid 2-3 says that at least 2 of all {total} dice show a 3. Each bid must "
            "be higher: a greater number, or the same number of a higher face. Say liar to challenge the last bid: "
            "if it was true the challenger loses, else the bidder."
        ),
        "faces": "1 2 3 4 5 6 7 8 9 10 11 12",
        "bid": "{count}-{face}",
        "liar": "liar",
        "you": "Your dice: {dice}. You are player {seat}.",
        "history": "Bids so far: ",
        "none": "none",
    },
    "obfuscated": {
        "rules": (
            "You are in a contest called Quorv. Either side secretly draws {dice} leaves, of kinds a to {high}, where "
            "{high} stands for every kind. The claim 2c means: among those {total} leaves there exist 2 or more of "
            "kind c. Claims only climb: first by amount, then by letter. Or doubt the newest claim: when it holds, "
            "who doubted is beaten, otherwise who claimed."
        ),
        "faces": "a b c d e f g h i j k l",
        "bid": "{count}{face}",
        "liar": "doubt",
        "you": "Your leaves: {dice}. You are side {seat}.",
        "history": "Claims up to now: ",
        "none": "nothing",
    },
}


@travelling
@dataclass(frozen=True, slots=True)
class LiarsDiceState:
    """Each seat's faces, 1 upwards and sorted, and the bids so far.

    A bid of `count` dice of `face` is the number `(count - 1) * faces + face - 1`; the number after the highest bid
    is the challenge.
    """

    dice: tuple[tuple[int, ...], tuple[int, ...]]
    bids: tuple[int, ...] = ()


class LiarsDice(Game[LiarsDiceState]):
    """Liar's Dice for two seats, `dice` dice each (1 to 10) with `faces` faces (2 to 12)."""

    skins = tuple(SKINS)
    hidden_information = True
    source = "traditional (Dudo); one round, by the rules of OpenSpiel (Lanctot et al. 2019, arXiv 1908.09453)"

    def __init__(self, *, dice: int = 1, faces: int = 6, skin: str = "plain") -> None:
        words = pick_skin(SKINS, skin)
        self.dice = _checked("dice", dice, 1, MAX_DICE)
        self.faces = _checked("faces", faces, 2, MAX_FACES)
        self._words = words
        self._hands = Memo(self._hand)
        self._heads = (Memo(partial(self._head, 0)), Memo(partial(self._head, 1)))
        self._faces = words["faces"].split()[:faces]
        self._moves = (*_bids(words["bid"], self._faces, 2 * dice), words["liar"])
        self._number = {move: number for number, move in enumerate(self._moves)}
        self._liar = len(self._moves) - 1
        # What may follow each bid; last of all what may follow none, where there is nothing to challenge.
        self._legal = (*(self._moves[bid + 1 :] for bid in range(len(self._moves))), self._moves[:-1])
        self._requests = [how_to_answer(legal, True) for legal in self._legal]
        self.rules = words["rules"].format(dice=dice, faces=faces, high=self._faces[-1], total=2 * dice)

    def deal(self, rng: np.random.Generator) -> LiarsDiceState:
        hands, rolls = self._hands, self.faces**self.dice
        return LiarsDiceState((hands[int(rng.random() * rolls)], hands[int(rng.random() * rolls)]))

    def deals(self) -> Iterator[tuple[LiarsDiceState, float]]:
        hands = list(_hands(self.dice, self.faces))
        for first, chance in hands:
            for second, other in hands:
                yield LiarsDiceState((first, second)), chance * other

    def seat(self, state: LiarsDiceState) -> int | None:
        bids = state.bids
        return None if bids and bids[-1] == self._liar else len(bids) & 1

    def observation(self, state: LiarsDiceState, seat: int) -> str:
        moves = self._moves
        bids = ", ".join([moves[bid] for bid in state.bids]) or self._words["none"]
        return f"{self._heads[seat][state.dice[seat]]}{bids}."

    def legal(self, state: LiarsDiceState) -> tuple[str, ...]:
        return self._legal[state.bids[-1] if state.bids else -1]

    def request(self, state: LiarsDiceState) -> str:
        if not self.show_legal:
            return super().request(state)
        return self._requests[state.bids[-1] if state.bids else -1]

    def play(self, state: LiarsDiceState, move: str) -> LiarsDiceState:
        bids = state.bids
        number = self._number.get(move, -1)
        if number <= (bids[-1] if bids else -1) or (number == self._liar and not bids):
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        return LiarsDiceState(state.dice, (*bids, number))

    def rewards(self, state: LiarsDiceState) -> tuple[float, float]:
        bids = state.bids
        if not bids or bids[-1] != self._liar:
            return 0.0, 0.0
        fewer, face = divmod(bids[-2], self.faces)
        rolled = state.dice[0] + state.dice[1]
        shown = rolled.count(self.faces) + (rolled.count(face + 1) if face + 1 < self.faces else 0)
        challenger = len(bids) - 1 & 1
        winner = 1 - challenger if shown > fewer else challenger
        return (1.0, -1.0) if winner == 0 else (-1.0, 1.0)

    def _hand(self, roll: int) -> tuple[int, ...]:
        """Return the sorted faces whose digits `roll` is in base `faces`."""
        return tuple(sorted(roll // self.faces**i % self.faces + 1 for i in range(self.dice)))

    def _head(self, seat: int, hand: tuple[int, ...]) -> str:
        faces = " ".join(self._faces[face - 1] for face in hand)
        return f"{self._words['you'].format(dice=faces, seat=seat)}\n{self._words['history']}"


def _checked(name: str, value: int, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return value


def _bids(form: str, faces: list[str], most: int) -> Iterator[str]:
    for count in range(1, most + 1):
        for face in faces:
            yield form.format(count=count, face=face)


def _hands(dice: int, faces: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield every sorted hand with its multinomial probability."""
    for hand in combinations_with_replacement(range(1, faces + 1), dice):
        ways = factorial(dice) // prod(factorial(n) for n in Counter(hand).values())
        yield hand, ways / faces**dice
