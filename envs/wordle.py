"""Wordle as a duel: two seats look for the same hidden word, each on a board of its own, with equally many guesses.

Chosen: the word list is ours and is both what may be hidden and what may be guessed; on a shared board the two guesses
of a round are sealed until both are in, because else the second seat would copy the first one's find. Left out: lists
of obscure words that may be guessed and are never hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .game import Game, near, pick_skin
from .memo import Memo
from .vocabulary import Vocabulary

LETTERS = 5
BOARDS = ("own", "shared")
LIST = Path(__file__).parent / "data" / "five_letters.txt"
RIGHT, ELSEWHERE, ABSENT = "+", "?", "-"

SKINS = {
    "plain": {
        "rules": (
            "You and another player look for the same hidden word, a common English word of {letters} letters{among}. "
            "In turn, guess a word. After each guess every letter of it is marked: + it is in this place, ? it is in "
            "the word but in another place, - it is not in the word, or not more often than the letters marked + and "
            "?. {board} Whoever finds the word in fewer guesses wins. Both have the same number of guesses, {rounds} "
            "at most; if both find it in the same round, or nobody does, it is a draw."
        ),
        "among": ", one of those listed below",
        "own": "You don't see the other player's guesses.",
        "shared": "Both see all guesses once a round is over.",
        "you": "You are player {seat}.",
        "round": " Round {number} of {rounds}.",
        "head": " Guesses:",
        "none": " none.",
        "mine": "\n{marked}",
        "theirs": "\nPlayer {seat}: {marked}",
        "end": "\nThe word was {word}. {first} {second}",
        "found": "Player {seat} found it in {number}.",
        "lost": "Player {seat} did not find it.",
    },
    "obfuscated": {
        "rules": (
            "A contest called Drusk. One string with {letters} symbols got picked from a set{among}; two sides try to "
            "name it. A side names strings by turns, then sees its symbols flagged: + stands exactly there, ? "
            "belongs somewhere else, - exceeds what that string has left. {board} Naming it sooner, by count, beats "
            "your rival. There are {rounds} tries per side; naming it within one pass, both sides or neither, settles "
            "nothing."
        ),
        "among": " shown further down",
        "own": "Tries stay secret from your rival.",
        "shared": "Tries get shown when a pass ends.",
        "you": "Side {seat}.",
        "round": " Pass {number}/{rounds}.",
        "head": " Tries:",
        "none": " nil.",
        "mine": "\n{marked}",
        "theirs": "\nSide {seat}: {marked}",
        "end": "\nIt had been {word}. {first} {second}",
        "found": "Side {seat} named it, try {number}.",
        "lost": "Side {seat} failed.",
    },
}
# The obfuscated skin's letters: a word becomes a string that means nothing, letter by letter.
CIPHER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "qmzhxkwbvpfgjynrtdaluicose")


@dataclass(frozen=True, slots=True)
class WordleState:
    """Words are numbers of the game's list."""

    word: int
    """The hidden one."""
    guesses: tuple[int, ...] = ()
    """Seat 0's first guess, seat 1's first guess, seat 0's second guess, ..."""
    mover: int | None = 0
    """The seat to move, None once the game is over: it follows from the rest."""


class Wordle(Game[WordleState]):
    """Two seats race to one hidden word."""

    hidden_information = True
    figure = "speed"
    skins = tuple(SKINS)
    source = "Wordle (Wardle 2021), after Jotto (Rosenfeld 1955), as a duel of equal turns"

    def __init__(self, *, words: int = 0, rounds: int = 6, board: str = "own", skin: str = "plain") -> None:
        """Set up the game.

        Args:
            words: how many words of the list there are, spread evenly over it; 0: all of them.
            rounds: guesses of each seat, 1 to 12.
            board: whether each seat sees its "own" guesses only, or they are "shared" once a round is over.
            skin: the wording; in "obfuscated" the words are enciphered too, and always listed.
        """
        self._words = texts = pick_skin(SKINS, skin)
        if board not in BOARDS:
            raise ValueError(f"board has no value {board!r}.{near(str(board), BOARDS)}")
        if type(rounds) is not int or not 1 <= rounds <= 12:
            raise ValueError(f"rounds must be a whole number from 1 to 12, not {rounds!r}")
        self.board = board
        self.rounds = rounds
        self.max_turns = 2 * rounds
        chosen = _some_words(words)
        hidden = skin != "plain"
        self._moves = Vocabulary(
            [word.translate(CIPHER) for word in chosen] if hidden else chosen, listed=True if hidden else None
        )
        self._marked = Memo(self._mark)
        self._heads = [self._openings(seat) for seat in (0, 1)]
        listed = "Legal moves" in self._moves.asked
        self.rules = texts["rules"].format(
            letters=LETTERS, among=texts["among"] if listed else "", board=texts[board], rounds=rounds
        )

    def deal(self, rng: np.random.Generator) -> WordleState:
        return WordleState(int(rng.random() * len(self._moves)))

    def deals(self) -> Iterator[tuple[WordleState, float]]:
        for word in range(len(self._moves)):
            yield WordleState(word), 1 / len(self._moves)

    def seat(self, state: WordleState) -> int | None:
        return state.mover

    def observation(self, state: WordleState, seat: int) -> str:
        texts, guesses = self._words, state.guesses
        over = state.mover is None
        lines = self._board(state, seat, over=over)
        text = f"{self._heads[seat][-1 if over else len(guesses) // 2]}{''.join(lines) or texts['none']}"
        return text + self._end(state) if over else text

    def legal(self, state: WordleState) -> tuple[str, ...]:
        return () if state.mover is None else self._moves

    def request(self, state: WordleState) -> str:
        if not self.show_legal or state.mover is None:
            return super().request(state)
        return self._moves.asked

    def play(self, state: WordleState, move: str) -> WordleState:
        number = self._moves.number(move)
        if number < 0 or state.mover is None:
            raise ValueError(f"{move!r} is not legal now; guess a word of the list, in a game that is not over")
        guesses = (*state.guesses, number)
        over = not len(guesses) & 1 and (state.word in guesses[-2:] or len(guesses) == 2 * self.rounds)
        return WordleState(state.word, guesses, None if over else len(guesses) & 1)

    def rewards(self, state: WordleState) -> tuple[float, float]:
        if state.mover is not None:
            return 0.0, 0.0
        first, second = (guess == state.word for guess in state.guesses[-2:])
        return float(first - second), float(second - first)

    def figures(self, state: WordleState) -> dict[str, float]:
        """Return whether the word was found, how early (1 at the first guess, 0 never), and how many guesses could
        have been right, given all that the guesser had been told."""
        found = state.word in state.guesses[-2:]
        used = len(state.guesses) // 2
        could = [self._could_be(state, turn) for turn in range(len(state.guesses))]
        return {
            "found": float(found),
            "speed": (self.rounds - used + 1) / self.rounds if found else 0.0,
            "consistent": sum(could) / len(could),
        }

    def _openings(self, seat: int) -> list[str]:
        """Return how an observation begins in each round, and last of all when the game is over."""
        texts, you = self._words, self._words["you"].format(seat=seat)
        rounds = [texts["round"].format(number=i + 1, rounds=self.rounds) for i in range(self.rounds)]
        return [f"{you}{when}{texts['head']}" for when in (*rounds, "")]

    def _board(self, state: WordleState, seat: int, *, over: bool) -> list[str]:
        """Return the lines of the guesses that a seat may see."""
        marked, word, guesses = self._marked, state.word, state.guesses
        if over or self.board == "shared":
            told, done = self._words["theirs"], len(guesses)
            shown = [i for i in range(done) if i < done - (done & 1) or i & 1 == seat]
            return [told.format(seat=i & 1, marked=marked[guesses[i], word]) for i in shown]
        return [f"\n{marked[guess, word]}" for guess in guesses[seat::2]]

    def _could_be(self, state: WordleState, turn: int) -> bool:
        """Return whether the guess of a turn agrees with all that its seat had been told."""
        moves, word, guess = self._moves, state.word, state.guesses[turn]
        told = state.guesses[: turn - (turn & 1)] if self.board == "shared" else state.guesses[turn & 1 : turn : 2]
        return all(marks(moves[before], moves[guess]) == marks(moves[before], moves[word]) for before in told)

    def _mark(self, pair: tuple[int, int]) -> str:
        guess, word = self._moves[pair[0]], self._moves[pair[1]]
        return f"{guess}: {' '.join(map(str.__add__, guess, marks(guess, word)))}"

    def _end(self, state: WordleState) -> str:
        texts, number = self._words, len(state.guesses) // 2
        first, second = (
            texts["found" if guess == state.word else "lost"].format(seat=seat, number=number)
            for seat, guess in enumerate(state.guesses[-2:])
        )
        return texts["end"].format(word=self._moves[state.word], first=first, second=second)


def marks(guess: str, word: str) -> str:
    """Return a mark for each letter of a guess.

    A letter that stands in its place is marked first; the others are marked from the left, each as long as the word has
    one more of it.

    >>> marks("allay", "loyal")
    '-??+?'
    """
    found = [RIGHT if a == b else ABSENT for a, b in zip(guess, word, strict=True)]
    left = [b for a, b in zip(guess, word, strict=True) if a != b]
    for i, letter in enumerate(guess):
        if found[i] == ABSENT and letter in left:
            left.remove(letter)
            found[i] = ELSEWHERE
    return "".join(found)


@lru_cache(maxsize=1)
def word_list() -> tuple[str, ...]:
    """Return the common words of five letters that come with the games, sorted."""
    return tuple(LIST.read_text(encoding="ascii").split())


def _some_words(count: int) -> tuple[str, ...]:
    words = word_list()
    if type(count) is not int or not (count == 0 or 2 <= count <= len(words)):
        raise ValueError(f"words must be 0 for all or a whole number from 2 to {len(words)}, not {count!r}")
    return words if count in (0, len(words)) else tuple(words[i * len(words) // count] for i in range(count))
