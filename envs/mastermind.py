"""Mastermind as a duel: each seat has a secret code, and the two take turns to guess at the other's.

Chosen: both have the same number of guesses and those of a round are sealed until both are in, so that going first or
last is worth nothing; a code is written in words, and where there are many the prompt describes them instead of listing
them. Left out: the single player against a code, and feedback by hand, which a seat could get wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from operator import eq

import numpy as np

from .game import Game, near, pick_skin
from .memo import Memo
from .vocabulary import Vocabulary

MAX_CODES = 50_000
MOST_DEALS = 100_000
"""Pairs of codes that `deals` lists; no tree can be grown from more."""
SECRETS = ("dealt", "chosen")

SKINS = {
    "plain": {
        "rules": (
            "You are playing Mastermind against another player. Each of you has a secret code of {pegs} colours out "
            "of {colours}; a colour may {repeats}. {secret}In turn, guess the other player's code by naming {pegs} "
            "colours in order, for instance {example}. You are told how many colours are exact (right colour, right "
            "place) and how many more are misplaced (right colour, wrong place). Whoever finds the other's code in "
            "fewer guesses wins. Both have the same number of guesses, {rounds} at most; if both find the code in the "
            "same round, or nobody does, it is a draw. You see the other player's guesses when a round is over."
        ),
        "repeats": "come more than once",
        "single": "come only once",
        "chosen": "First, each of you sets a code of your own by naming it. ",
        "colours": "red blue green yellow orange purple white black pink brown",
        "you": "You are player {seat}. Your own code: {code}.",
        "unset": "You are player {seat}. Set your own code.",
        "round": " Round {number} of {rounds}.",
        "own": "\nYour guesses:",
        "other": "\nThe other player's guesses at your code:",
        "none": " none.",
        "told": "\n{code}: {exact} exact, {misplaced} misplaced",
        "end": "\nPlayer 0's code was {first}, player 1's was {second}.",
    },
    "obfuscated": {
        "rules": (
            "A contest called Tavrin. Both sides guard hidden rows, {pegs} glyphs long, drawn from {colours}. Glyphs "
            "{repeats}. {secret}Sides alternate probes of the row opposite, written like {example}. After every "
            "probe two counts appear: hits, glyphs standing where they stand in that row, then strays, glyphs it "
            "holds elsewhere. Uncover it sooner, counting probes, and win. There are {rounds} probes "
            "per side; uncovering both within one pass, or neither, settles nothing. Probes received show up as a "
            "pass ends."
        ),
        "repeats": "can recur",
        "single": "never recur",
        "chosen": "Before probing, sides write rows they will guard. ",
        "colours": "lum vek tig osh bru nal kef zid pon yar",
        "you": "Side {seat}, guarding {code}.",
        "unset": "Side {seat}, write what you will guard.",
        "round": " Pass {number}/{rounds}.",
        "own": "\nProbes sent:",
        "other": "\nProbes received:",
        "none": " -",
        "told": "\n{code} = hits {exact} / strays {misplaced}",
        "end": "\nSide 0 guarded {first}; side 1 guarded {second}.",
    },
}
UNSET = -1


@dataclass(frozen=True, slots=True)
class MastermindState:
    """Codes are numbers of the game's codes."""

    codes: tuple[int, int]
    """The code of each seat, `UNSET` before it has chosen."""
    guesses: tuple[int, ...] = ()
    """Seat 0's first guess, seat 1's first guess, seat 0's second guess, ..."""
    mover: int | None = 0
    """The seat to move, None once the game is over: it follows from the rest."""


class Mastermind(Game[MastermindState]):
    """Two seats crack each other's code."""

    hidden_information = True
    figure = "speed"
    skins = tuple(SKINS)
    source = "Mastermind (Meirowitz 1970; Knuth 1976-77, The computer as Master Mind), as a duel of equal turns"

    def __init__(
        self,
        *,
        pegs: int = 4,
        colours: int = 6,
        repeats: bool = True,
        secret: str = "dealt",
        rounds: int = 10,
        skin: str = "plain",
    ) -> None:
        """Set up the game.

        Args:
            pegs: places of a code, 1 to 6.
            colours: how many there are, 2 to 10.
            repeats: whether a code may have a colour more than once.
            secret: whether codes are "dealt", or "chosen" by their seats in a sealed first turn.
            rounds: guesses of each seat, 1 to 20.
            skin: the wording.
        """
        self._words = words = pick_skin(SKINS, skin)
        if secret not in SECRETS:
            raise ValueError(f"secret has no value {secret!r}.{near(str(secret), SECRETS)}")
        self.secret = secret
        self.rounds = _whole("rounds", rounds, 1, 20)
        self.codes = _codes(_whole("pegs", pegs, 1, 6), _whole("colours", colours, 2, 10), repeats)
        names = words["colours"].split()[:colours]
        self._moves = Vocabulary(" ".join(names[colour] for colour in code) for code in self.codes)
        self._told = Memo(self._tell)
        self.max_turns = 2 * rounds + 2 * (secret == "chosen")
        self.rules = words["rules"].format(
            pegs=pegs,
            colours=", ".join(names),
            repeats=words["repeats" if repeats else "single"],
            secret=words["chosen"] if secret == "chosen" else "",
            example=self._moves[min(colours, len(self._moves) - 1)],
            rounds=rounds,
        )

    def deal(self, rng: np.random.Generator) -> MastermindState:
        if self.secret == "chosen":
            return MastermindState((UNSET, UNSET))
        codes = len(self.codes)
        return MastermindState((int(rng.random() * codes), int(rng.random() * codes)))

    def deals(self) -> Iterator[tuple[MastermindState, float]]:
        if self.secret == "chosen":
            yield MastermindState((UNSET, UNSET)), 1.0
            return
        codes = range(len(self.codes))
        if len(codes) ** 2 > MOST_DEALS:
            raise NotImplementedError(f"{len(codes)} codes make too many deals to list; take fewer pegs or colours")
        for first, second in product(codes, codes):
            yield MastermindState((first, second)), len(codes) ** -2

    def seat(self, state: MastermindState) -> int | None:
        return state.mover

    def observation(self, state: MastermindState, seat: int) -> str:
        words, told, guesses = self._words, self._told, state.guesses
        own, other = state.codes[seat], state.codes[1 - seat]
        if own == UNSET:
            return words["unset"].format(seat=seat)
        text = words["you"].format(seat=seat, code=self._moves[own])
        if state.codes[1] == UNSET:
            return text
        over = state.mover is None
        done = "" if over else words["round"].format(number=len(guesses) // 2 + 1, rounds=self.rounds)
        mine = "".join([told[guess, other] for guess in guesses[seat::2]])
        theirs = "".join([told[guess, own] for guess in guesses[1 - seat : len(guesses) & ~1 : 2]])
        text += f"{done}{words['own']}{mine or words['none']}{words['other']}{theirs or words['none']}"
        return text + self._end(state) if over else text

    def legal(self, state: MastermindState) -> tuple[str, ...]:
        return () if state.mover is None else self._moves

    def request(self, state: MastermindState) -> str:
        if not self.show_legal or state.mover is None:
            return super().request(state)
        return self._moves.asked

    def play(self, state: MastermindState, move: str) -> MastermindState:
        number = self._moves.number(move)
        if number < 0 or state.mover is None:
            raise ValueError(f"{move!r} is not legal now; name as many colours as a code has, in a game not over")
        first, second = state.codes
        if second == UNSET:
            return MastermindState((number, UNSET), (), 1) if state.mover == 0 else MastermindState((first, number))
        guesses = (*state.guesses, number)
        over = not len(guesses) & 1 and (guesses[-2] == second or number == first or len(guesses) == 2 * self.rounds)
        return MastermindState(state.codes, guesses, None if over else len(guesses) & 1)

    def rewards(self, state: MastermindState) -> tuple[float, float]:
        if state.mover is not None:
            return 0.0, 0.0
        first, second = self._found(state, 0), self._found(state, 1)
        return float(first - second), float(second - first)

    def figures(self, state: MastermindState) -> dict[str, float]:
        """Return whether a code was found, how early (1 at the first guess, 0 never), and how many guesses could have
        been right, given all that had been told before."""
        found = self._found(state, 0) or self._found(state, 1)
        used = len(state.guesses) // 2
        could = [self._could_be(state, turn) for turn in range(len(state.guesses))]
        return {
            "found": float(found),
            "speed": (self.rounds - used + 1) / self.rounds if found else 0.0,
            "consistent": sum(could) / len(could),
        }

    def feedback(self, guess: int, code: int) -> tuple[int, int]:
        """Return how many colours of a guess are exact and how many are misplaced.

        >>> game = Mastermind()
        >>> game.feedback(game.legal(game.deal(np.random.default_rng(0))).index("red red blue green"), 0)
        (2, 0)
        """
        one, two = self.codes[guess], self.codes[code]
        exact = sum(map(eq, one, two))
        common = sum([min(one.count(colour), two.count(colour)) for colour in set(one)])
        return exact, common - exact

    def _could_be(self, state: MastermindState, turn: int) -> bool:
        """Return whether the guess of a turn agrees with everything that its seat was told before."""
        code, guess = state.codes[1 - (turn & 1)], state.guesses[turn]
        earlier = state.guesses[turn & 1 : turn : 2]
        return all(self.feedback(before, guess) == self.feedback(before, code) for before in earlier)

    def _found(self, state: MastermindState, seat: int) -> bool:
        return state.guesses[seat - 2] == state.codes[1 - seat]

    def _tell(self, pair: tuple[int, int]) -> str:
        exact, misplaced = self.feedback(*pair)
        return self._words["told"].format(code=self._moves[pair[0]], exact=exact, misplaced=misplaced)

    def _end(self, state: MastermindState) -> str:
        first, second = (self._moves[code] for code in state.codes)
        return self._words["end"].format(first=first, second=second)


def _codes(pegs: int, colours: int, repeats: bool) -> tuple[tuple[int, ...], ...]:
    if type(repeats) is not bool:
        raise ValueError(f"repeats must be True or False, not {repeats!r}")
    if not repeats and pegs > colours:
        raise ValueError(f"{pegs} places need {pegs} colours or repeats=True; there are {colours}")
    if repeats and colours**pegs > MAX_CODES:
        raise ValueError(f"{colours} colours in {pegs} places make {colours**pegs} codes, more than {MAX_CODES}")
    found = product(range(colours), repeat=pegs) if repeats else permutations(range(colours), pegs)
    codes = tuple(found)
    if len(codes) > MAX_CODES:
        raise ValueError(f"{len(codes)} codes are more than {MAX_CODES}; take fewer colours or pegs")
    return codes


def _whole(name: str, value: int, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return value
