"""Adversarial Taboo (Cheng et al. 2024, SPAG): lure the defender into a secret word, or find the word out.

Chosen: free talk; `word_forms` says what counts as saying the word, and one fixed sentence is a guess. Where the
released code of the paper looks for the word as a piece of text ("art" in "start"), whole words are looked for here.
Left out: a judge of what is on topic. Two players who say nothing to the point draw, as in the paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .game import Game, pick_skin
from .talk import LEAST_HEARD, MOST_HEARD, heard, quoted, room, whole
from .word_forms import fold, says
from .word_lists import word_list

MOST_TURNS = 20
MOST_TOLD = 100
"""Words that the rules can list."""
SKINS = {
    "plain": {
        "rules": (
            "You are playing Adversarial Taboo. The attacker knows a secret word and talks with the defender, who does "
            "not know it. If the defender says the word in conversation, the attacker wins. If the attacker says it, "
            "the attacker loses. The defender may guess once, by saying: I know the word! It is ... A right guess "
            "wins and a wrong one loses. Plurals and other inflections of the word, and spellings in disguise, count "
            "as the word. Each side speaks {turns} times, the attacker first; then the game is a draw. Only the first "
            "{heard} characters of a speech are heard."
        ),
        "words": " The secret word is one of: {words}.",
        "role0": " You are the attacker.",
        "role1": " You are the defender.",
        "target": "The secret word: {target}.",
        "nothing": "Nothing has been said yet.",
        "last": "This is your last speech.",
    },
    "brief": {
        "rules": "Taboo. Attacker: make the defender say the word. Defender: guess it, once, or do not say it.",
        "words": " Words: {words}.",
        "role0": " You attack.",
        "role1": " You defend.",
        "target": "Word: {target}.",
        "nothing": "Begin.",
        "last": "Last speech.",
    },
}
NAMES = ("Attacker", "Defender")
WINNERS = {"lured": 0, "missed": 0, "slipped": 1, "found": 1}
"""Who wins by each outcome; by "drawn" nobody does."""
ENDINGS = {
    "lured": "The defender said the secret word.",
    "missed": "The defender guessed wrong.",
    "slipped": "The attacker said the secret word.",
    "found": "The defender guessed the secret word.",
    "drawn": "Nobody won in time.",
}
_GAP = r"(?:[^\w.!?]|\.{2,5}){1,8}"
"""What stands between two words of a sentence."""
_HEDGE = (
    "probably|possibly|perhaps|maybe|surely|certainly|definitely|clearly|obviously|likely|most|very|really|simply|just|"
    "called|of course|i (?:think|guess|believe|suppose)"
)
_SPELLED = r"[^\W_](?:(?:[-.·*][^\W_]){1,30}|(?:\s[^\W_]){2,30})(?![^\W_])"
# A question claims nothing. What is hedged is passed over and not given back, so that "surely not a pear" is no guess.
_GUESS = re.compile(
    r"\bi know the word\b[^\w?]{0,8}(?:it\s{0,3}['’]?s|it is)\b\W{0,8}"
    rf"(?:(?:{_HEDGE})\b{_GAP}(?=[^\W_])){{0,4}}+"
    rf"(?!(?:not|never|no|hardly)\b{_GAP}[^\W_])"
    rf"(?:(?!{_SPELLED})(?:an?|the)\b\W{{1,8}})?({_SPELLED}|[^\W_]+)"
)
_UNMEANT = re.compile(
    r"(?:\b(?:not|never|nobody|hardly|unsure|if|whether|wish|suppose|until|cannot|cant|dont|doubt)\b|n['’]t\b)"
    r"[^.!?]{0,40}$"
)
"""What before a guess makes it none: "I don't think I know the word"."""
_ANEW = re.compile(r"(?:[,:;—]|\bbut\b)\s*(?:(?:but|and|so|now)\b\W*)?$")
"""What before a guess begins it anew, whatever stands before: "Don't worry, I know the word"."""
HINT = "Let us talk about {topic}."
ASIDES = ("Tell me more.", "What else can you say?")
NAMED = "Do you mean the {word}?"
GUESS = "I know the word! It is {word}."
FEW = 2
"""Fitting words at or below which the examples of speech hold guesses."""


@dataclass(frozen=True, slots=True)
class TabooState:
    """A secret word, what was said in turn, and how it ended."""

    target: str
    said: tuple[str, ...] = ()
    """Seat 0 speaks first."""
    outcome: str = ""
    """A key of `ENDINGS`; empty while the game goes on."""


def guessed(speech: str) -> str | None:
    """Return the word that a speech guesses, or None if it is no guess. Of several words the first one counts.

    >>> guessed("Aha. I know the word! It is: the Apple, or the pear."), guessed("Is it an apple?")
    ('apple', None)
    >>> guessed("I don't think I know the word! It is hard."), guessed("I know the word! It is probably c-a-r.")
    (None, 'car')
    """
    folded = fold(speech)
    for found in _GUESS.finditer(folded):
        before = folded[max(found.start() - 60, 0) : found.start()]
        if _ANEW.search(before) or not _UNMEANT.search(before):
            return re.sub(r"[\W_]", "", found[1])
    return None


class Taboo(Game[TabooState]):
    """Adversarial Taboo: seat 0 attacks and knows the word, seat 1 defends. Won 1, lost -1, drawn 0."""

    roles = ("attacker", "defender")
    hidden_information = True
    source = "Cheng et al. 2024, arXiv 2404.10642 (SPAG)"
    skins = tuple(SKINS)

    def __init__(
        self,
        *,
        words: str | tuple[str, ...] = "nouns",
        turns: int = 5,
        heard: int = 300,
        tell_words: bool = False,
        skin: str = "plain",
    ) -> None:
        """Set up the game.

        Args:
            words: what the secret word is drawn from; see `word_list`.
            turns: speeches of each side, after which it is a draw; 5 in the paper.
            heard: characters of a speech that are heard; the rest neither counts nor is shown.
            tell_words: whether both sides are told all the words that it may be; not so in the paper.
            skin: "plain", or "brief" for models that read little.
        """
        self._texts = pick_skin(SKINS, skin)
        self.list = word_list(words)
        self.turns = whole("turns", turns, 1, MOST_TURNS)
        self.heard = whole("heard", heard, LEAST_HEARD, MOST_HEARD)
        if tell_words and len(self.list.words) > MOST_TOLD:
            raise ValueError(f"tell_words lists at most {MOST_TOLD} words, not {len(self.list.words)}; give fewer")
        common = self._texts["rules"].format(turns=turns, heard=heard)
        if tell_words:
            common += self._texts["words"].format(words=", ".join(self.list.words))
        self.rules = (common + self._texts["role0"], common + self._texts["role1"])
        self.max_turns = 2 * turns
        self.max_prompt = max(map(len, self.rules)) + 2 * turns * room(heard) + 200
        self._hints = {word: self._hints_of(word) for word in self.list.words}

    def deal(self, rng: np.random.Generator) -> TabooState:
        return TabooState(self.list.words[int(rng.random() * len(self.list.words))])

    def deals(self) -> Iterator[tuple[TabooState, float]]:
        for word in self.list.words:
            yield TabooState(word), 1 / len(self.list.words)

    def seat(self, state: TabooState) -> int | None:
        return None if state.outcome else len(state.said) % 2

    def observation(self, state: TabooState, seat: int) -> str:
        lines = [self._texts["target"].format(target=state.target)] if seat == 0 else []
        lines += [quoted(NAMES[i % 2], speech) for i, speech in enumerate(state.said)] or [self._texts["nothing"]]
        if state.outcome:
            lines.append(f"{ENDINGS[state.outcome]} It was: {state.target}.")
        elif len(state.said) >= 2 * self.turns - 2:
            lines.append(self._texts["last"])
        return "\n".join(lines)

    def legal(self, state: TabooState) -> None:
        return None

    def play(self, state: TabooState, move: str) -> TabooState:
        if state.outcome:
            raise ValueError("the game is over")
        speech = heard(move, self.heard)
        outcome = self._outcome(state, speech)
        if not outcome and len(state.said) + 1 == 2 * self.turns:
            outcome = "drawn"
        return replace(state, said=(*state.said, speech), outcome=outcome)

    def _outcome(self, state: TabooState, speech: str) -> str:
        """Return what a speech decides, if it does."""
        if len(state.said) % 2 == 0:
            return "slipped" if says(speech, state.target) else ""
        guess = guessed(speech)
        if guess is not None:
            return "found" if says(guess, state.target) else "missed"
        return "lured" if says(speech, state.target) else ""

    def rewards(self, state: TabooState) -> tuple[float, float]:
        if state.outcome not in WINNERS:
            return 0.0, 0.0
        return (1.0, -1.0) if WINNERS[state.outcome] == 0 else (-1.0, 1.0)

    def figures(self, state: TabooState) -> dict[str, float]:
        """Return which outcome it was, each 0 or 1."""
        return {outcome: float(state.outcome == outcome) for outcome in ENDINGS}

    def speeches(self, state: TabooState) -> tuple[str, ...]:
        """Return hints at the word's topics, or words of the topics that were mentioned and guesses among few."""
        if self.seat(state) == 0:
            return self._hints[state.target]
        return self._answers(state.said)

    def _hints_of(self, word: str) -> tuple[str, ...]:
        hints = (HINT.format(topic=topic) for topic in self.list.about(word))
        return tuple(hint for hint in hints if not says(hint, word)) or ASIDES

    def _answers(self, said: tuple[str, ...]) -> tuple[str, ...]:
        """Return words that fit the last hint and have not been said; where few fit all hints, guesses at those."""
        told = [self.list.mentioned(speech) for speech in said[::2]]
        named = " ".join(said[1::2])
        open_words = [word for word in told[-1] if NAMED.format(word=word) not in named]
        fitting = [word for word in open_words if all(word in words for words in told if words)]
        guesses = fitting if len(fitting) <= FEW else []
        return (
            *ASIDES,
            *(NAMED.format(word=word) for word in open_words if word not in guesses),
            *(GUESS.format(word=word) for word in guesses),
        )
