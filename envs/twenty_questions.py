"""Twenty questions as a duel: the asker finds an object by yes-or-no questions, and the referee checks the answers.

Chosen: a table says what is true of which object, so that false answers are found at once and lose; with `lies` some
are free (Ulam's game: Renyi 1961, Ulam 1976). Questions are listed; with `free` they are free text, checked where they
are about something in the table. Left out: objects and truths beyond a table, which would need a judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .game import Game, how_to_answer
from .knowledge import table
from .talk import LEAST_HEARD, MOST_HEARD, heard, quoted, room, whole
from .word_forms import VOWELS, fold

MOST_QUESTIONS = 40
UNCHECKED = -1
"""Stands for an attribute where a question is about nothing in the table."""
RULES = (
    "You are playing Twenty Questions. The answerer knows a secret object. The asker has {questions} questions to find "
    "it{listed}. {asking} The referee knows the truth: {lies} loses. The asker wins by naming the object, the answerer "
    "if the questions run out."
)
LISTED = ", one of: {things}"
ASKING = {
    False: (
        "A question has the form [is it ...?] with one of these: {attributes}. To guess, name an object, as in "
        "[{example}]; a wrong guess only costs a question."
    ),
    True: (
        'A guess is a question of the form "Is it a cat?", and a wrong one only costs a question. All questions are '
        "answered by yes, no or unclear, and to say unclear of what is known counts as a false answer."
    ),
}
ROLES = (" You are the asker.", " You are the answerer.")
ANSWERS = ("yes", "no")
UNCLEAR = "unclear"
_ABOUT = re.compile(r"(?:.*\b|^)(?:is it|it is|it s) (.*)")
ENDINGS = {"found": "The object was found", "lied": "One false answer too many", "missed": "No question is left"}
LOSING = {0: "any false answer", 1: "a second false answer", 2: "a third false answer"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, what it is about, and what was answered."""

    text: str
    attribute: int = UNCHECKED
    answer: str = ""
    """Empty while it waits for one; a wrong guess is answered by the referee."""


@dataclass(frozen=True, slots=True)
class QuestionsState:
    """The secret object, what was asked, and how it ended."""

    thing: str
    asked: tuple[Asked, ...] = ()
    lies: int = 0
    """False answers so far."""
    outcome: str = ""
    """A key of `ENDINGS`; empty while the game goes on."""


class TwentyQuestions(Game[QuestionsState]):
    """Twenty questions: seat 0 asks, seat 1 knows the object and answers. Won 1, lost -1."""

    roles = ("asker", "answerer")
    figure = "found"
    hidden_information = True
    source = "Twenty questions, a traditional game; with lies Ulam's game (Renyi 1961; Ulam 1976; Pelc 2002)"

    def __init__(
        self,
        *,
        questions: int = 20,
        lies: int = 0,
        things: tuple[str, ...] = (),
        source: str = "objects",
        free: bool = False,
        heard: int = 120,
    ) -> None:
        """Set up the game.

        Args:
            questions: how many the asker has, guesses among them.
            lies: false answers that the answerer may give; one more loses.
            things: which objects of the table there are; all if empty.
            source: the table; see `knowledge.table`.
            free: whether questions are free text, and the asker is not told which objects there are.
            heard: characters of a free question that are heard.
        """
        self.table = table(source, things)
        self.questions = whole("questions", questions, 1, MOST_QUESTIONS)
        self.lies = whole("lies", lies, 0, max(LOSING))
        self.heard = whole("heard", heard, LEAST_HEARD, MOST_HEARD)
        self.free = free
        self._questions = {f"is it {attribute}?": i for i, attribute in enumerate(self.table.attributes)}
        self._names = {_plain(attribute): i for i, attribute in enumerate(self.table.attributes)}
        self._moves = (*self._questions, *self.table.things)
        listed = "" if free else LISTED.format(things=", ".join(self.table.things))
        asking = ASKING[free].format(attributes=", ".join(self.table.attributes), example=self.table.things[0])
        common = RULES.format(questions=questions, listed=listed, asking=asking, lies=LOSING[lies])
        self.rules = (common + ROLES[0], common + ROLES[1])
        self.max_turns = 2 * questions
        longest = room(heard) if free else max(map(len, self._moves)) + 20
        known = sum(len(attribute) + 2 for attribute in self.table.attributes)
        self.max_prompt = len(common) + questions * (longest + len(UNCLEAR)) + known + 300

    def deal(self, rng: np.random.Generator) -> QuestionsState:
        return QuestionsState(self.table.things[int(rng.random() * len(self.table.things))])

    def deals(self) -> Iterator[tuple[QuestionsState, float]]:
        for thing in self.table.things:
            yield QuestionsState(thing), 1 / len(self.table.things)

    def seat(self, state: QuestionsState) -> int | None:
        if state.outcome:
            return None
        return 1 if state.asked and not state.asked[-1].answer else 0

    def observation(self, state: QuestionsState, seat: int) -> str:
        lines = []
        if seat == 1:
            true = ", ".join(
                self.table.attributes[i] for i in range(len(self.table.attributes)) if self._holds(state, i)
            )
            lines += [f"The secret object: {state.thing}. It is {true}, and nothing else that is known."]
            lines += [f"False answers so far: {state.lies} of {self.lies}."] if self.lies else []
        lines += [self._line(asked) for asked in state.asked] or ["Nothing has been asked yet."]
        if state.outcome:
            lines.append(f"{ENDINGS[state.outcome]}. It was: {state.thing}.")
        elif seat == 0:
            lines.append(f"Questions left: {self.questions - len(state.asked)}.")
        return "\n".join(lines)

    def _line(self, asked: Asked) -> str:
        question = quoted("Asker", asked.text) if self.free else asked.text
        return f"{question} {asked.answer}".rstrip()

    def _holds(self, state: QuestionsState, attribute: int) -> bool:
        return state.thing in self.table.true[attribute]

    def legal(self, state: QuestionsState) -> tuple[str, ...] | None:
        seat = self.seat(state)
        if seat is None:
            return ()
        if seat == 1:
            return (*ANSWERS, UNCLEAR) if self.free else ANSWERS
        return None if self.free else self._moves

    def request(self, state: QuestionsState) -> str:
        """Return how to answer; the asker's moves stand in the rules."""
        legal = self.legal(state)
        return how_to_answer(legal, self.show_legal and legal is not self._moves)

    def play(self, state: QuestionsState, move: str) -> QuestionsState:
        seat = self.seat(state)
        if seat is None:
            raise ValueError("the game is over")
        if seat == 1:
            return self._answered(state, move)
        if self.free:
            text = heard(move, self.heard)
            return self._ask(state, text, *self._read(text))
        if move not in self._moves:
            raise ValueError(f"{move!r} is not legal now; ask one of the questions, or name an object")
        if move in self._questions:
            return self._ask(state, move, None, self._questions[move])
        return self._ask(state, f"{move}?", move, UNCHECKED)

    def _read(self, text: str) -> tuple[str | None, int]:
        """Return the object that a free question guesses, if it does, and the attribute that it is about, if any."""
        found = _ABOUT.match(_plain(text))
        said = found[1] if found else ""
        thing = re.sub("^(?:an?|the) ", "", said)
        return (thing if thing in self.table.things else None), self._names.get(said, UNCHECKED)

    def _ask(self, state: QuestionsState, text: str, guess: str | None, attribute: int) -> QuestionsState:
        if guess is None:
            return replace(state, asked=(*state.asked, Asked(text, attribute)))
        found = guess == state.thing
        asked = (*state.asked, Asked(text, UNCHECKED, "yes" if found else "no"))
        return replace(state, asked=asked, outcome="found" if found else self._spent(len(asked)))

    def _answered(self, state: QuestionsState, move: str) -> QuestionsState:
        if move not in ANSWERS and not (self.free and move == UNCLEAR):
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        last = state.asked[-1]
        false = last.attribute != UNCHECKED and move != ANSWERS[not self._holds(state, last.attribute)]
        lies = state.lies + false
        outcome = "lied" if lies > self.lies else self._spent(len(state.asked))
        return replace(state, asked=(*state.asked[:-1], replace(last, answer=move)), lies=lies, outcome=outcome)

    def _spent(self, asked: int) -> str:
        return "missed" if asked == self.questions else ""

    def rewards(self, state: QuestionsState) -> tuple[float, float]:
        if not state.outcome:
            return 0.0, 0.0
        return (-1.0, 1.0) if state.outcome == "missed" else (1.0, -1.0)

    def figures(self, state: QuestionsState) -> dict[str, float]:
        """Return whether the object was found, whether false answers lost, and how many questions were asked."""
        return {
            "found": float(state.outcome == "found"),
            "lied": float(state.outcome == "lied"),
            "questions": float(len(state.asked)),
        }

    def speeches(self, state: QuestionsState) -> tuple[str, ...]:
        """Return questions about everything that is in the table."""
        if not self.free or self.seat(state) != 0:
            return ()
        articles = ("an" if thing[0] in VOWELS else "a" for thing in self.table.things)
        guesses = (f"Is it {article} {thing}?" for article, thing in zip(articles, self.table.things, strict=True))
        return (*(f"Is it {attribute}?" for attribute in self.table.attributes), *guesses)


def _plain(text: str) -> str:
    """Return the words of a text, in small letters."""
    return " ".join(re.findall("[a-z]+", fold(text)))
