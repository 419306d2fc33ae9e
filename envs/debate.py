"""Debate (Irving et al. 2018; Khan, Kenton, Arnesen et al. 2024): two seats argue about a passage, a judge decides.

Chosen: one game for debate and for what it is compared with, which differ in who speaks, who hears whom and what the
judge is shown. Left out: judges that ask back, more than two answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from .debate_questions import OWN, Question, load_questions
from .debate_words import CHOICES, PASS, rules_of, told
from .game import Game, near
from .judging import Case, Judge, Statement, Verdict
from .quote_judge import QuoteJudge
from .quotes import EXAMPLES, FORMS, MAX_QUOTES, marked, plain_signs, quotes_in

PROTOCOLS = ("debate", "consultancy", "double", "ensembled", "naive", "expert")
ORDERS = ("sequential", "simultaneous")
SIDES = ("assigned", "chosen")
SPEAKERS = ("dealt", "0", "1")
PAYS = ("linear", "log")
CLIP = 0.01
"""With `pays="log"`, probabilities nearer than this to 0 or 1 count as this near."""


@dataclass(frozen=True, slots=True)
class DebateState:
    """A question, who stands for what, what was said and what was found."""

    question: int
    """Its number in the game's list."""
    is_right_first: bool
    """Whether the right answer is listed first."""
    speaker: int = -1
    """In a consultancy, the seat that speaks; -1 elsewhere."""
    choice: int = -1
    """The listed answer that the seat which chooses its side stands for; -1 where nobody has chosen."""
    said: tuple[str, ...] = ()
    found: tuple[tuple[float, bool], ...] = ()
    """Of each verdict, the probability that seat 0 is right, and whether the judge abstained."""


class Debate(Game[DebateState]):
    """A debate over a hidden passage, or one of the protocols that debate is compared with."""

    source = "Irving et al. 2018; Khan et al. 2024; Kenton et al. 2024; Arnesen et al. 2024"
    figure = "accuracy"
    # As it is made without settings; with others a seat may not hear all that is said.
    hidden_information = False

    def __init__(
        self,
        *,
        protocol: str = "debate",
        rounds: int = 2,
        order: str = "sequential",
        sides: str = "assigned",
        speaker: str | int = "dealt",
        quotes: str = "tags",
        speech_length: int = 400,
        pays: str = "linear",
        questions: str = OWN,
        judge: Judge | None = None,
        skin: str = "plain",
    ) -> None:
        """Set up a debate.

        Args:
            protocol: "debate"; "consultancy" (one seat is mute); "double" (both speak, neither hears the other, the
                judge is shown both); "ensembled" (the same, but the judge decides after each by itself, and the mean
                counts); "naive" (nobody speaks); "expert" (nobody speaks, and the judge reads the passage).
            rounds: speeches of each seat that speaks.
            order: of a debate: "sequential", or "simultaneous", where nobody hears this round's speech of the other.
            sides: "assigned" by the deal, or "chosen": seat 0, or the consultant, first picks the answer it stands for.
            speaker: of a consultancy: seat 0, seat 1, or "dealt" with equal chances.
            quotes: how quotes are marked: "tags" (<quote>...</quote>), "marks" ("..."), or "off", not checked at all.
            speech_length: characters of a speech that are shown; the rest is cut off.
            pays: "linear", 2p - 1; or "log", the difference of both seats' log scores, log(p) - log(1 - p), with p
                clipped to [0.01, 0.99] and scaled to [-1, 1].
            questions: "orrel", our own, or a JSON-lines file with question, right, wrong and passage.
            judge: who decides; None is the rule of `QuoteJudge`. `sparring.agents.make_judge` makes others by name.
            skin: "plain", the only wording: the isles are of no text that a model has read.

        Raises ValueError for settings that are none or do not go together.
        """
        _check_named(protocol=(protocol, PROTOCOLS), order=(order, ORDERS), sides=(sides, SIDES))
        _check_named(speaker=(str(speaker), SPEAKERS), quotes=(quotes, tuple(FORMS)), pays=(pays, PAYS))
        _check_named(skin=(skin, self.skins))
        _check_numbers(rounds, speech_length)
        _check_together(protocol, order, sides, str(speaker))
        if isinstance(judge, str):
            raise ValueError(f"judge must be a judge, not text; by name: sparring.agents.make_judge({judge!r})")
        self.protocol, self.order, self.sides, self.pays = protocol, order, sides, pays
        self.rounds, self.quotes, self.speech_length = rounds, quotes, speech_length
        self.speakers = () if protocol != "consultancy" else (0, 1) if speaker == "dealt" else (int(speaker),)
        self.questions: tuple[Question, ...] = load_questions(questions)
        self.judge = judge or QuoteJudge()
        self.rules = rules_of(self)
        speeches = rounds * (1 if protocol == "consultancy" else 2)
        # The choice of a side, and up to two verdicts, which `check_game` counts as turns.
        self.max_turns = speeches + 3
        longest = max(sum(map(len, question)) + len(question.right + question.wrong) for question in self.questions)
        # A mark is at most 12 characters longer than the plain quotation marks that it stands for.
        shown = speeches * (speech_length * 2 + 12 * MAX_QUOTES + 40)
        self.max_prompt = len(self.rules) + longest + shown + 600

    def deal(self, rng: np.random.Generator) -> DebateState:
        question, first, speaker = int(rng.integers(len(self.questions))), rng.random() < 0.5, rng.random()
        chosen = self.speakers[int(speaker * len(self.speakers))] if self.speakers else -1
        return DebateState(question, bool(first), chosen)

    def deals(self) -> Iterator[tuple[DebateState, float]]:
        dealt = list(product(range(len(self.questions)), (True, False), self.speakers or (-1,)))
        for one in dealt:
            yield DebateState(*one), 1 / len(dealt)

    def seat(self, state: DebateState) -> int | None:
        if self.is_choosing(state):
            return max(state.speaker, 0)
        done = len(state.said)
        if self.protocol in ("naive", "expert"):
            return 0 if not done else None
        if self.protocol == "consultancy":
            return state.speaker if done < self.rounds else None
        return done % 2 if done < 2 * self.rounds else None

    def is_choosing(self, state: DebateState) -> bool:
        """Whether somebody must choose a side now."""
        return self.sides == "chosen" and state.choice < 0

    def answers(self, state: DebateState) -> tuple[str, str]:
        """Return what seat 0 and seat 1 stand for; while sides are not chosen, the answers as they are listed."""
        one = self.questions[state.question]
        return (one.right, one.wrong) if self.right_seat(state) == 0 else (one.wrong, one.right)

    def right_seat(self, state: DebateState) -> int:
        """Return the seat that stands for the right answer."""
        listed = 0 if state.is_right_first else 1
        # Who chooses stands for the choice, and as dealt the seats stand for what is listed in their order.
        is_crossed = state.choice >= 0 and state.choice != max(state.speaker, 0)
        return 1 - listed if is_crossed else listed

    def statements(self, state: DebateState, seat: int | None) -> tuple[Statement, ...]:
        """Return the marked speeches that a seat has heard, its own among them; None: all of them."""
        passage = self.questions[state.question].passage
        return tuple(
            Statement(author, marked(speech, passage, self.quotes))
            for number, (author, speech) in enumerate(self._speeches(state))
            if seat is None or seat == author or self._is_heard(state, number)
        )

    def _speeches(self, state: DebateState) -> list[tuple[int, str]]:
        """Return (author, speech) of what was said; a pass is none."""
        if self.protocol in ("naive", "expert"):
            return []
        return [(n % 2 if state.speaker < 0 else state.speaker, speech) for n, speech in enumerate(state.said)]

    def _is_heard(self, state: DebateState, number: int) -> bool:
        """Whether the other seat has heard the speech of this number."""
        if self.protocol in ("double", "ensembled"):
            return False
        return self.order == "sequential" or number < len(state.said) // 2 * 2

    def observation(self, state: DebateState, seat: int) -> str:
        return told(self, state, seat)

    def legal(self, state: DebateState) -> tuple[str, ...] | None:
        if self.is_choosing(state):
            return CHOICES
        return (PASS,) if self.protocol in ("naive", "expert") and not state.said else None

    def speeches(self, state: DebateState) -> tuple[str, ...]:
        seat = self.seat(state)
        if seat is None or self.legal(state) is not None:
            return ()
        answer, passage = self.answers(state)[seat], self.questions[state.question].passage
        quote = EXAMPLES[self.quotes].format
        said = [f"I stand by my answer: {answer}.", f"It says {quote(f'only {answer} will do')}."]
        said += [f"It says {quote(part)}, so my answer is {answer}." for part in _sentences(passage)]
        return tuple(speech for speech in said if len(speech) <= self.speech_length) or (answer[: self.speech_length],)

    def play(self, state: DebateState, move: str) -> DebateState:
        legal = self.legal(state)
        if self.seat(state) is None or (legal is not None and move not in legal):
            raise ValueError(f"{move!r} is not legal now; legal: {legal or 'nothing'}")
        if self.is_choosing(state):
            return replace(state, choice=CHOICES.index(move))
        # Brackets are round by the parser; whoever calls this directly gets the same.
        speech = plain_signs(move).replace("[", "(").replace("]", ")")
        return replace(state, said=(*state.said, speech[: self.speech_length].rstrip()))

    def case(self, state: DebateState) -> Case | None:
        if self.seat(state) is not None or len(state.found) == (2 if self.protocol == "ensembled" else 1):
            return None
        one, heard = self.questions[state.question], self.statements(state, None)
        if self.protocol == "ensembled":
            heard = tuple(statement for statement in heard if statement.seat == len(state.found))
        return Case(
            question=one.question,
            answers=self.answers(state),
            statements=heard,
            unordered=self.protocol == "double" or self.order == "simultaneous",
            evidence=one.passage if self.protocol == "expert" else "",
        )

    def settle(self, state: DebateState, verdict: Verdict) -> DebateState:
        return replace(state, found=(*state.found, (verdict.p, verdict.abstained)))

    def verdict(self, state: DebateState) -> float | None:
        """Return the probability that seat 0 is right, the mean of all verdicts; None before the last of them."""
        if self.seat(state) is not None or self.case(state) is not None:
            return None
        return math.fsum(p for p, _ in state.found) / len(state.found)

    def rewards(self, state: DebateState) -> tuple[float, float]:
        p = self.verdict(state)
        if p is None:
            return 0.0, 0.0
        if self.pays == "linear":
            return 2 * p - 1, 1 - 2 * p
        clipped = min(max(p, CLIP), 1 - CLIP)
        score = (math.log(clipped) - math.log(1 - clipped)) / (math.log(1 - CLIP) - math.log(CLIP))
        # Rounding may leave it just beyond.
        score = min(max(score, -1.0), 1.0)
        return score, -score

    def figures(self, state: DebateState) -> Mapping[str, float]:
        p = self.verdict(state)
        if p is None:
            return {}
        right_seat = self.right_seat(state)
        p_right = p if right_seat == 0 else 1 - p
        accuracy = 1.0 if p_right > 0.5 else 0.5 if p_right == 0.5 else 0.0
        quotes = [quote for heard in self.statements(state, None) for quote in quotes_in(heard.text)]
        found = {
            "accuracy": accuracy,
            "p_right": p_right,
            "verified": float(sum(quote.is_found for quote in quotes)),
            "not_found": float(sum(not quote.is_found for quote in quotes)),
            "abstained": sum(abstained for _, abstained in state.found) / len(state.found),
        }
        if state.speaker >= 0:
            is_honest = state.speaker == right_seat
            found["convinced"] = p if state.speaker == 0 else 1 - p
            found["accuracy_honest" if is_honest else "accuracy_dishonest"] = accuracy
        if self.sides == "chosen":
            found["chose_right"] = float(right_seat == max(state.speaker, 0))
        return found


def _sentences(passage: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?]) ", passage) if part]


def _check_named(**settings: tuple[str, tuple[str, ...]]) -> None:
    for name, (given, known) in settings.items():
        if given not in known:
            raise ValueError(f"unknown {name} {given!r}.{near(str(given), known)}")


def _check_numbers(rounds: int, speech_length: int) -> None:
    if not 1 <= rounds <= 20:
        raise ValueError(f"rounds must be 1 to 20, not {rounds}")
    if not 40 <= speech_length <= 4000:
        raise ValueError(f"speech_length must be 40 to 4000 characters, not {speech_length}")


def _check_together(protocol: str, order: str, sides: str, speaker: str) -> None:
    if order == "simultaneous" and protocol != "debate":
        raise ValueError(f"order='simultaneous' is of a debate; in {protocol!r} nobody answers anybody: leave it out")
    if sides == "chosen" and protocol not in ("debate", "consultancy"):
        raise ValueError(f"sides='chosen' is of a debate and of a consultancy; {protocol!r} hears both sides or none")
    if speaker != "dealt" and protocol != "consultancy":
        raise ValueError(f"speaker is of a consultancy; in {protocol!r} there is none to name: leave it out")
