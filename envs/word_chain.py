"""Word Chain (shiritori): each word begins as the one before ends, none comes twice, and who finds none loses.

Chosen: the words of a list are the legal moves, so that a word is judged by a look-up and a small list is a finite game
of perfect information, solved exactly. TextArena's variant, each word a letter longer than the last, is a setting.
Left out: dictionaries that have to be downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .game import Game, how_to_answer
from .talk import whole
from .word_lists import word_list

MOST_LISTED = 40
"""Legal moves that a prompt lists; with more of them it says only how they begin."""
RULES = (
    "You are playing Word Chain. In turn, each player says a word that begins with the last {letters} of the word "
    "before{growing}. Only the words of a fixed list of {count} count, and none twice. Who has no word left loses. "
    "After {longest} words the game is a draw."
)
GROWING = " and is exactly one letter longer"


@dataclass(frozen=True, slots=True)
class WordChainState:
    """The words so far, the dealt one first. Seat 0 says the second one."""

    chain: tuple[str, ...]


class WordChain(Game[WordChainState]):
    """Word chain with a list of words that both seats may use. Won 1, lost -1, drawn 0."""

    hidden_information = False
    source = "Shiritori, a traditional game; as Word Chains in TextArena, Guertler et al. 2025, arXiv 2504.11442"

    def __init__(
        self, *, words: str | tuple[str, ...] = "nouns", letters: int = 1, growing: bool = False, longest: int = 100
    ) -> None:
        """Set up the game.

        Args:
            words: the words that may be said; see `word_list`. "chain" is a longer list of ours, for `letters=2` and
                `growing`, which use words up quickly.
            letters: how many letters a word takes over from the end of the one before.
            growing: whether each word must be one letter longer than the one before.
            longest: words after which the game is a draw.
        """
        self.letters = whole("letters", letters, 1, 4)
        self.max_turns = whole("longest", longest, 1, 1000)
        self.growing = growing
        self.words = tuple(sorted(word for word in word_list(words).words if len(word) >= letters))
        self.rare_moves = self.words
        self._after = {word: self._followers(word) for word in self.words}
        self._starts = tuple(word for word in self.words if self._after[word])
        if not self._starts:
            raise ValueError("words: none of them can follow another one; give more words, or fewer letters")
        ends = "letter" if letters == 1 else f"{letters} letters"
        rule = GROWING if growing else ""
        self.rules = RULES.format(letters=ends, growing=rule, longest=longest, count=len(self.words))
        length = max(map(len, self.words)) + 4
        self.max_prompt = len(self.rules) + length * (min(longest, len(self.words)) + MOST_LISTED + 1) + 300

    def _followers(self, word: str) -> tuple[str, ...]:
        end, length = word[-self.letters :], len(word) + 1
        return tuple(
            other
            for other in self.words
            if other != word and other.startswith(end) and (not self.growing or len(other) == length)
        )

    def deal(self, rng: np.random.Generator) -> WordChainState:
        return WordChainState((self._starts[int(rng.random() * len(self._starts))],))

    def deals(self) -> Iterator[tuple[WordChainState, float]]:
        for word in self._starts:
            yield WordChainState((word,)), 1 / len(self._starts)

    def seat(self, state: WordChainState) -> int | None:
        return (len(state.chain) - 1) % 2 if len(state.chain) <= self.max_turns and self.legal(state) else None

    def observation(self, state: WordChainState, seat: int) -> str:
        last = state.chain[-1]
        length = f", with {len(last) + 1} letters" if self.growing else ""
        now = f"The next word begins with {last[-self.letters :]!r}{length}."
        return f"You are player {seat}.\nWords so far: {', '.join(state.chain)}.\n{now}"

    def legal(self, state: WordChainState) -> tuple[str, ...]:
        said = set(state.chain)
        return tuple(word for word in self._after[state.chain[-1]] if word not in said)

    def request(self, state: WordChainState) -> str:
        """Return how to answer; a long list of words is left out, for it would be most of the prompt."""
        legal = self.legal(state)
        return how_to_answer(legal, self.show_legal and len(legal) <= MOST_LISTED)

    def play(self, state: WordChainState, move: str) -> WordChainState:
        if self.seat(state) is None or move not in self.legal(state):
            end = state.chain[-1][-self.letters :]
            raise ValueError(f"{move!r} is not legal now; the next word of the list begins with {end!r}")
        return WordChainState((*state.chain, move))

    def rewards(self, state: WordChainState) -> tuple[float, float]:
        if self.legal(state):
            return 0.0, 0.0
        # Who was to say the next word and has none.
        return (-1.0, 1.0) if len(state.chain) % 2 else (1.0, -1.0)

    def figures(self, state: WordChainState) -> dict[str, float]:
        """Return how many words were said."""
        return {"words": float(len(state.chain) - 1)}
