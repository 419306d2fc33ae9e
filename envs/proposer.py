"""Proposer and solver: seat 0 makes a task in a family's language, seat 1 solves it, execution says what is true.

Chosen: the solver reads the task as the referee writes it down again, so that no proposer speaks to it; it may be asked
several times over, each time without its other answers, which makes rewards of solve rates possible within one game.
Left out: tasks whose answer only the proposer knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .contest import HOW, options_of, worded
from .game import Game, Refused, near
from .proposer_rewards import RANGES, RULES, learnability, proposer_rule
from .tasks import Malformed, Task, TaskFamily, examples, quoted, read_answer, readable_guesses

ZERO_SUM = "zero_sum"
REPEATS = "it repeats an example"
MALFORMED = ("worthless", "forfeit")
MOST_ATTEMPTS = 16
PROPOSE = (
    "You make a task for another player, in the language below. It must be a task of that language and no copy of an "
    'example. {pays} If you write more than the task, end with "Task:" and the task.'
)
SOLVE = "Another player made a task for you. A verifier scores your answer from 0 to 1. {pays}"
BRIEF = ("Make a task for the other player.", "Solve the other player's task.")
WORTH = {
    "learnability": "It is worth most if the other player succeeds half the time, and nothing if always or never.",
    "azr": "It is worth the more, the harder it is for the other player, and nothing if that player never succeeds.",
    "r_zero": "It is worth most if the other player succeeds half the time, and nothing if always or never.",
    "r_zero_code": "It is worth most if the other player succeeds half the time, and nothing if always or never.",
    "spice": "It is worth most if the other player's successes vary most.",
    "mixed": "It is worth something if the other player sometimes succeeds and sometimes fails.",
    "adversarial": "It is worth the more, the more often the other player fails.",
    ZERO_SUM: "You win what the other player loses: it loses if it fails.",
}


@dataclass(frozen=True, slots=True)
class ProposerState:
    """What was asked for, the task that was made of it, and its solver's answers."""

    family: str
    level: int
    shown: tuple[str, ...] = ()
    """Examples that the proposer sees."""
    proposal: str | None = None
    """What seat 0 said."""
    task: Task | None = None
    """The task that it is; None where it is none."""
    why: str = ""
    """Why it is none."""
    answers: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


class Proposer(Game[ProposerState]):
    """Make a task that teaches; solve it."""

    roles = ("proposer", "solver")
    skins = ("plain", "brief")
    hidden_information = True
    source = "Zhao et al. 2025, arXiv 2505.03335"

    def __init__(
        self,
        *,
        task: str | TaskFamily | tuple[str | TaskFamily, ...] = "arithmetic",
        level: int | tuple[int, ...] = 2,
        attempts: int = 4,
        pays: str = "learnability",
        shown: int = 2,
        malformed: str = "worthless",
        listed: bool = False,
        skin: str = "plain",
    ) -> None:
        """Set up the language and what a task is worth.

        Args:
            task: a family that takes proposals or its name; of several each deal draws one.
            level: bounds what may be proposed, 0 the simplest; of several each deal draws one.
            attempts: how often the solver is asked, 1 to 16; it is paid its mean score.
            pays: a rule of `proposer_rewards.RULES`, or "zero_sum": the proposer wins what the solver loses.
            shown: examples that the proposer sees, 0 to 8; a task with the signature of one is none.
            malformed: whether what is no task is "worthless" and ends the game, or a "forfeit" as an illegal move is.
            listed: whether proposals and answers are legal moves, for levels whose tasks can be listed.
            skin: "plain", or "brief" for small models: rules of one line.

        Raises ValueError for settings that cannot be, naming the near one.
        """
        if pays != ZERO_SUM and pays not in RULES:
            raise ValueError(f"unknown pays {pays!r}.{near(pays, [*RULES, ZERO_SUM])}")
        if malformed not in MALFORMED:
            raise ValueError(f"unknown malformed {malformed!r}.{near(malformed, MALFORMED)}")
        for name, value, low, high in (("attempts", attempts, 1, MOST_ATTEMPTS), ("shown", shown, 0, 8)):
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        self.options = options_of(task, level, listed=listed)
        self.families = {family.name: family for family, _ in self.options}
        self.attempts, self.pays, self.shown, self.malformed = attempts, pays, shown, malformed
        self.listed = _listed(self.options) if listed else {}
        for family, one in self.options:
            family.language(one)
        gain = "Failing, you lose what the other player wins." if pays == ZERO_SUM else "You are paid the score."
        solve = SOLVE.format(pays=gain) + ("" if listed else f" {HOW}")
        self.rules = worded(skin, (PROPOSE.format(pays=WORTH[pays]), solve), BRIEF)
        self.zero_sum = pays == ZERO_SUM
        worst, best = (-1.0, 1.0) if self.zero_sum else RANGES[pays]
        self.reward_range = (min(worst, 0.0), max(best, 1.0))
        self.figure = "learnability" if attempts > 1 else "valid"
        self.max_turns = 1 + attempts

    def deal(self, rng: np.random.Generator) -> ProposerState:
        family, level = self.options[rng.integers(len(self.options)) if len(self.options) > 1 else 0]
        shown = tuple(family.proposal(family.draw(rng, level)) for _ in range(self.shown))
        return ProposerState(family.name, level, shown)

    def deals(self) -> Iterator[tuple[ProposerState, float]]:
        if self.shown or self.attempts > 1:
            raise NotImplementedError("deals are listed with shown=0 and attempts=1 only")
        for family, level in self.options:
            yield ProposerState(family.name, level), 1 / len(self.options)

    def seat(self, state: ProposerState) -> int | None:
        if state.proposal is None:
            return 0
        return 1 if state.task is not None and len(state.answers) < self.attempts else None

    def observation(self, state: ProposerState, seat: int) -> str:
        lines = self._proposing(state) if seat == 0 else self._solving(state)
        if self.seat(state) is None and state.task is not None:
            scores = ", ".join(f"{score:g}" for score in state.scores)
            answer = self.families[state.family].solve(state.task)
            lines += [f"Scores of the solver: {scores}."] + ([f"A right answer: {quoted(answer)}"] if answer else [])
        return "\n".join(lines)

    def _proposing(self, state: ProposerState) -> list[str]:
        lines = [f"The language: {self.families[state.family].language(state.level)}", f"Kind of task: {state.family}."]
        if state.shown:
            lines.append("Examples:\n" + "\n".join(state.shown))
        if state.proposal is not None:
            verdict = f"It is no task: {state.why}." if state.task is None else "It is a task."
            lines.append(f"You proposed {quoted(state.proposal)}. {verdict}")
        return lines

    def _solving(self, state: ProposerState) -> list[str]:
        if state.task is None:
            return ["There is no task yet." if state.proposal is None else "The other player made no task."]
        # Nothing of earlier answers: each is a fresh sample of what the solver does with this task.
        return [state.task.prompt]

    def legal(self, state: ProposerState) -> tuple[str, ...] | None:
        if not self.listed:
            return None
        seat = self.seat(state)
        if seat is None:
            return ()
        if seat == 0:
            return self.listed[state.family, state.level]
        assert state.task is not None
        return self.families[state.family].answers(state.task) or ()

    def request(self, state: ProposerState) -> str:
        if self.listed:
            return super().request(state)
        return "Your task:" if state.proposal is None else "Your answer:"

    def speeches(self, state: ProposerState) -> tuple[str, ...]:
        family = self.families[state.family]
        if state.proposal is not None:
            return () if state.task is None else readable_guesses(family, state.task)
        said = tuple(dict.fromkeys(family.proposal(task) for task in examples(family, state.level)))
        return tuple(text for text in said if self._is_task(state, text)) if self.malformed == "forfeit" else said

    def _is_task(self, state: ProposerState, text: str) -> bool:
        try:
            self.task_of(state, text)
        except Malformed:
            return False
        return True

    def play(self, state: ProposerState, move: str) -> ProposerState:
        seat = self.seat(state)
        if seat is None:
            raise ValueError(f"{move!r} is not legal now: the game is over")
        if self.listed and move not in (self.legal(state) or ()):
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        if seat == 0:
            return self._proposed(state, move)
        assert state.task is not None
        score = self.families[state.family].verify(state.task, read_answer(move))
        return replace(state, answers=(*state.answers, move), scores=(*state.scores, score))

    def _proposed(self, state: ProposerState, move: str) -> ProposerState:
        try:
            return replace(state, proposal=move, task=self.task_of(state, move))
        except Malformed as why:
            if self.malformed == "forfeit":
                raise Refused(f"That is no task: {why}.") from why
            return replace(state, proposal=move, why=str(why))

    def task_of(self, state: ProposerState, move: str) -> Task:
        """Return the task that a proposal is. Raises Malformed, saying why, where it is none or repeats an example."""
        family = self.families[state.family]
        task = family.propose(read_answer(move, "Task:"), state.level)
        if family.signature(task) in {family.signature(family.propose(text, state.level)) for text in state.shown}:
            raise Malformed(REPEATS)
        return task

    def earned(self, state: ProposerState) -> tuple[float, float]:
        scores = [2 * score - 1 for score in state.scores] if self.zero_sum else state.scores
        return 0.0, sum(scores) / self.attempts

    def rewards(self, state: ProposerState) -> tuple[float, float]:
        if self.seat(state) is not None:
            return 0.0, 0.0
        valid = state.task is not None
        solved = sum(state.scores) / self.attempts
        if self.zero_sum:
            won = 1 - 2 * solved if valid else -1.0
            return won, 0.0 - won
        return proposer_rule(self.pays)(valid, state.scores), solved

    def forfeit(self, state: ProposerState, seat: int) -> tuple[float, float]:
        if self.zero_sum:
            return super().forfeit(state, seat)
        # What one seat forfeits is nothing that the other has done well.
        low = self.reward_range[0]
        return (low, 0.0) if seat == 0 else (0.0, low)

    def figures(self, state: ProposerState) -> Mapping[str, float]:
        valid = state.task is not None
        found = {
            "valid": float(valid),
            "repeats": float(state.why == REPEATS),
            "learnability": learnability(valid, state.scores),
        }
        return {**found, "solved": sum(state.scores) / self.attempts} if valid else found


def _listed(options: tuple[tuple[TaskFamily, int], ...]) -> dict[tuple[str, int], tuple[str, ...]]:
    """Return every proposal of each family and level. Raises ValueError where there are too many to list."""
    try:
        return {(f.name, level): tuple(f.proposal(task) for task, _ in f.tasks(level)) for f, level in options}
    except NotImplementedError as error:
        raise ValueError(f"{error}; leave out listed=") from error
