"""A task as a contest: both seats answer one question unseen by each other, and the better verified answer wins.

Chosen: the second seat reads what the first one read, to the letter; a single seat's task is the same game with one
turn. Left out: a second try after a hint, and judges of any kind: a task without a verifier is not for this game.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeVar

import numpy as np

from .game import Game, Refused, near
from .tasks import Task, TaskFamily, make_family, quoted, read_answer, readable_guesses

T = TypeVar("T")
PAYS = ("win", "margin", "score")
TIES = ("draw", "brevity")
UNREADABLE = ("wrong", "forfeit")
RULES = (
    "You and another player are asked the same question. Neither sees the other's answer. A verifier scores both "
    "answers; {pays} {ties}"
)
ALONE = "You are asked a question. A verifier scores your answer from 0 to 1, and the score is your reward."
PAID = {
    "win": "the better one wins.",
    "margin": "each player is paid the difference of the scores.",
    "score": "each player is paid its own score, from 0 to 1.",
}
HOW = 'If you write more than the answer, end with "Answer:" and the answer.'
BRIEF = {
    "alone": "Answer the question.",
    "win": "Answer better than the other player.",
    "margin": "Answer better than the other player.",
    "score": "Answer as well as you can.",
}
LINES = r"Write \n for a line break within the answer."


@dataclass(frozen=True, slots=True)
class ContestState:
    """The task, which nobody is shown whole, and the answers so far."""

    task: Task
    answers: tuple[str, ...] = ()
    """What was said, seat 0 first."""
    scores: tuple[float, ...] = ()
    """What the verifier made of each."""


class Contest(Game[ContestState]):
    """Answer better than the other seat, or, with `single`, simply well."""

    figure = "accuracy"
    skins = ("plain", "brief")
    hidden_information = True
    source = "ours; rewards by a verifier as in Lambert et al. 2024, arXiv 2411.15124"

    def __init__(
        self,
        *,
        task: str | TaskFamily | tuple[str | TaskFamily, ...] = "arithmetic",
        level: int | tuple[int, ...] = 2,
        single: bool = False,
        listed: bool = False,
        pays: str = "win",
        ties: str = "brevity",
        unreadable: str = "wrong",
        skin: str = "plain",
    ) -> None:
        """Set up what is asked and what is paid.

        Args:
            task: a family of tasks or its name, see `list_families`; of several each deal draws one.
            level: how hard, 0 the easiest; of several each deal draws one.
            single: whether seat 0 answers alone and is paid its score; the other seat never moves and is paid nothing.
            listed: whether answers are legal moves, for tasks with few of them; else they are free text.
            pays: "win": 1, 0 or -1; "margin": the difference of the scores; "score": each seat its own score.
            ties: of two right answers, "draw" or "brevity": the shorter one wins; wrong ones always draw.
            unreadable: whether an answer that is not written as asked is "wrong", or a "forfeit" as an illegal move is.
            skin: "plain", or "brief" for small models: rules of one line.

        Raises ValueError for settings that cannot be, naming the near one.
        """
        for name, value, known in (("pays", pays, PAYS), ("ties", ties, TIES), ("unreadable", unreadable, UNREADABLE)):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}.{near(str(value), known)}")
        self.single, self.listed, self.ties, self.unreadable = single, listed, ties, unreadable
        self.pays = "score" if single else pays
        self.options = options_of(task, level, listed=listed)
        self.families = {family.name: family for family, _ in self.options}
        plain = _rules(single, pays, ties, self.families.values(), listed)
        self.rules = worded(skin, plain, BRIEF["alone" if single else pays])
        self.keeps_brackets = any(family.keeps_brackets for family in self.families.values())
        self.zero_sum = self.pays != "score"
        self.reward_range = (-1.0, 1.0) if self.zero_sum else (0.0, 1.0)
        self.max_turns = 1 if single else 2
        self.max_prompt = 3000 + max(family.most_prompt for family in self.families.values())

    def deal(self, rng: np.random.Generator) -> ContestState:
        family, level = self.options[rng.integers(len(self.options)) if len(self.options) > 1 else 0]
        return ContestState(family.draw(rng, level))

    def deals(self) -> Iterator[tuple[ContestState, float]]:
        for family, level in self.options:
            for task, chance in family.tasks(level):
                yield ContestState(task), chance / len(self.options)

    def seat(self, state: ContestState) -> int | None:
        return len(state.answers) if len(state.answers) < self.max_turns else None

    def observation(self, state: ContestState, seat: int) -> str:
        lines = [state.task.prompt]
        over = self.seat(state) is None
        if seat < len(state.answers):
            lines.append(f"You answered {quoted(state.answers[seat])}" + _scored(state, seat, over))
        if over:
            if not self.single:
                lines.append(f"The other player answered {quoted(state.answers[1 - seat])}" + _scored(state, 1 - seat))
            elif seat:
                lines.append(f"The player answered {quoted(state.answers[0])}" + _scored(state, 0))
            lines += _right(self.families[state.task.family], state.task)
        return "\n".join(lines)

    def legal(self, state: ContestState) -> tuple[str, ...] | None:
        if not self.listed:
            return None
        return self.families[state.task.family].answers(state.task) or () if self.seat(state) is not None else ()

    def request(self, state: ContestState) -> str:
        return super().request(state) if self.listed else "Your answer:"

    def speeches(self, state: ContestState) -> tuple[str, ...]:
        return readable_guesses(self.families[state.task.family], state.task)

    def play(self, state: ContestState, move: str) -> ContestState:
        if self.seat(state) is None:
            raise ValueError(f"{move!r} is not legal now: the game is over")
        family, answer = self.families[state.task.family], read_answer(move)
        if self.listed and move not in self.legal(state):  # type: ignore[operator]
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        if self.unreadable == "forfeit" and not family.readable(state.task, answer):
            raise Refused("Your answer is not written as the question asks.")
        score = family.verify(state.task, answer)
        return replace(state, answers=(*state.answers, move), scores=(*state.scores, score))

    def rewards(self, state: ContestState) -> tuple[float, float]:
        if self.seat(state) is not None:
            return 0.0, 0.0
        if self.single:
            return state.scores[0], 0.0
        first, second = state.scores
        if self.pays == "score":
            return first, second
        lead = first - second
        if not lead and first >= 1.0 and self.ties == "brevity":
            lead = float(len(state.answers[1]) - len(state.answers[0]))
        elif self.pays == "margin":
            return lead, 0.0 - lead
        won = float(np.sign(lead))
        return won, 0.0 - won

    def forfeit(self, state: ContestState, seat: int) -> tuple[float, float]:
        # Where each is paid its own score, nobody earns one by what the other does.
        return super().forfeit(state, seat) if self.zero_sum else (0.0, 0.0)

    def figures(self, state: ContestState) -> Mapping[str, float]:
        family, task = self.families[state.task.family], state.task
        count = len(state.scores)
        found = {
            "accuracy": sum(state.scores) / count,
            "right": sum(score >= 1.0 for score in state.scores) / count,
            "readable": sum(family.readable(task, read_answer(answer)) for answer in state.answers) / count,
        }
        if len(self.options) > 1:
            found[f"accuracy_{task.family}_{task.level}"] = found["accuracy"]
        return found


def options_of(task: Any, level: Any, *, listed: bool = False) -> tuple[tuple[TaskFamily, int], ...]:
    """Return every family with every level, as a deal draws them. Raises ValueError for what cannot be."""
    families = [make_family(one) for one in (task if isinstance(task, tuple | list) else (task,))]
    levels = tuple(level) if isinstance(level, tuple | list) else (level,)
    if not families or not levels:
        raise ValueError("name at least one task and one level")
    for family, one in product(families, levels):
        family.check_level(one)
        if listed and family.answers(family.draw(np.random.default_rng(0), one)) is None:
            raise ValueError(f"answers of {family.name} at level {one} are too many to list; leave out listed=")
    return tuple(product(families, levels))


def worded(skin: str, plain: T, brief: T, **more: T) -> T:
    """Return the rules in the words of a skin. Raises ValueError naming the near one if there is none."""
    rules = {"plain": plain, "brief": brief, **more}
    if skin not in rules:
        raise ValueError(f"unknown skin {skin!r}.{near(skin, rules)}")
    return rules[skin]


def _rules(single: bool, pays: str, ties: str, families: Any, listed: bool) -> str:
    tie = "If both are right, the shorter one wins." if ties == "brevity" and pays != "score" else ""
    rules = ALONE if single else RULES.format(pays=PAID[pays], ties=tie).strip()
    if listed:
        return rules
    return f"{rules} {HOW} {LINES}" if any(family.keeps_brackets for family in families) else f"{rules} {HOW}"


def _scored(state: ContestState, seat: int, over: bool = True) -> str:
    return f", which scores {state.scores[seat]:g}." if over else "."


def _right(family: TaskFamily, task: Task) -> list[str]:
    answer = family.solve(task)
    return [] if answer is None else [f"A right answer: {quoted(answer)}"]
