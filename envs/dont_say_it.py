"""Don't Say It (TextArena, Guertler et al. 2025): make the other player say your secret word, and do not say theirs.

Chosen: free talk, with `word_forms` saying what counts. A player may say its own word, which is a lure and a risk.
Left out: TextArena's list of basic English, which has to be downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .game import Game
from .talk import LEAST_HEARD, MOST_HEARD, heard, quoted, room, whole
from .word_forms import says
from .word_lists import word_list

MOST_TURNS = 40
RULES = (
    "You are playing Don't Say It. Each player has a secret word, which the other player does not know. Whoever says "
    "the other player's secret word loses, so talk the other player into saying yours. Plurals and other inflections "
    "of a word, and spellings in disguise, count as the word. The players speak in turn, {turns} times each; then the "
    "game is a draw. Only the first {heard} characters of a speech are heard."
)
LURES = ("What do you think of {topic}?", "Name something that has to do with {topic}.")
REPLIES = ("I like the {word}.",)
IDLE = ("How was your day?", "I would rather talk about something else.")


@dataclass(frozen=True, slots=True)
class DontSayItState:
    """Two secret words, what was said in turn, and who lost by it."""

    words: tuple[str, str]
    """The secret word of each seat: what the other seat must not say."""
    said: tuple[str, ...] = ()
    """Seat 0 speaks first."""
    loser: int | None = None
    """Who said the other seat's word."""


class DontSayIt(Game[DontSayItState]):
    """Don't Say It: two seats with a secret word each, in equal roles. Won 1, lost -1, drawn 0."""

    hidden_information = True
    source = "TextArena, Guertler et al. 2025, arXiv 2504.11442"

    def __init__(self, *, words: str | tuple[str, ...] = "nouns", turns: int = 10, heard: int = 300) -> None:
        """Set up the game.

        Args:
            words: what the two secret words, always different, are drawn from; see `word_list`.
            turns: speeches of each seat, after which it is a draw.
            heard: characters of a speech that are heard; the rest neither counts nor is shown.
        """
        self.list = word_list(words)
        self.turns = whole("turns", turns, 1, MOST_TURNS)
        self.heard = whole("heard", heard, LEAST_HEARD, MOST_HEARD)
        self.rules = RULES.format(turns=turns, heard=heard)
        self.max_turns = 2 * turns
        self.max_prompt = len(self.rules) + 2 * turns * room(heard) + 300
        self._about = {word: self.list.about(word) for word in self.list.words}

    def deal(self, rng: np.random.Generator) -> DontSayItState:
        words = self.list.words
        first, step = int(rng.random() * len(words)), 1 + int(rng.random() * (len(words) - 1))
        return DontSayItState((words[first], words[(first + step) % len(words)]))

    def deals(self) -> Iterator[tuple[DontSayItState, float]]:
        words = self.list.words
        for pair in ((a, b) for a in words for b in words if a != b):
            yield DontSayItState(pair), 1 / (len(words) * (len(words) - 1))

    def seat(self, state: DontSayItState) -> int | None:
        over = state.loser is not None or len(state.said) == 2 * self.turns
        return None if over else len(state.said) % 2

    def observation(self, state: DontSayItState, seat: int) -> str:
        lines = [f"You are player {seat}. Your secret word: {state.words[seat]}."]
        said = [quoted(f"Player {i % 2}", speech) for i, speech in enumerate(state.said)]
        lines += said or ["Nothing has been said yet."]
        if state.loser is not None:
            words = f"The secret words: {state.words[0]} and {state.words[1]}."
            lines.append(f"Player {state.loser} said the secret word of player {1 - state.loser}. {words}")
        elif len(state.said) >= 2 * self.turns - 2:
            lines.append("This is the last speech of each player.")
        return "\n".join(lines)

    def legal(self, state: DontSayItState) -> None:
        return None

    def play(self, state: DontSayItState, move: str) -> DontSayItState:
        seat = self.seat(state)
        if seat is None:
            raise ValueError("the game is over")
        speech = heard(move, self.heard)
        loser = seat if says(speech, state.words[1 - seat]) else None
        return replace(state, said=(*state.said, speech), loser=loser)

    def rewards(self, state: DontSayItState) -> tuple[float, float]:
        if state.loser is None:
            return 0.0, 0.0
        return (1.0, -1.0) if state.loser == 1 else (-1.0, 1.0)

    def figures(self, state: DontSayItState) -> dict[str, float]:
        """Return whether somebody said it, and whether the winner had said its own word before."""
        baited = state.loser is not None and any(
            says(speech, state.words[1 - state.loser]) for speech in state.said[1 - state.loser :: 2]
        )
        return {"said": float(state.loser is not None), "baited": float(baited)}

    def speeches(self, state: DontSayItState) -> tuple[str, ...]:
        """Return lures to the topics of one's own word, and words of the topic that the other seat mentioned last."""
        seat = len(state.said) % 2
        own = state.words[seat]
        lures = [lure.format(topic=topic) for topic in self._about[own] for lure in LURES]
        asked = self.list.mentioned(state.said[-1]) if state.said else ()
        replies = [reply.format(word=word) for word in asked for reply in REPLIES]
        return tuple(speech for speech in (*lures, *replies) if not says(speech, own)) or IDLE
