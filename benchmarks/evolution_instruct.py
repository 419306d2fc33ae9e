"""Self-Instruct beside its controls: the trials "expressions", "programs" and "moves".

Chosen: random valid tasks are the control that tells whether it is the proposer that helps. It can only where not all
that can be written is like the test; in "moves" the test is a small part of the language, as it is of any real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from evolution_arms import Start, Trial
from evolution_tasks import random_tasks

from sparring.envs.tasks import Task
from sparring.selfplay.answering import Answer
from sparring.selfplay.evolve import Experience, Method, Round
from sparring.selfplay.self_instruct import SelfInstruct, right_answers
from sparring.selfplay.self_training import imitation_steps


@dataclass(kw_only=True)
class Solving:
    """The solver's side of Self-Instruct alone, on tasks from elsewhere: as many, as many answers, as many steps."""

    source: str
    """"seed": no more tasks; "random": valid ones at random; "oracle": the test's own kind, those in the band."""
    tasks: int
    steps: int
    samples: int = 8
    batch: int = 64
    band: tuple[float, float] = (0.0, 1.0)
    name: str = "solving"
    modules: Mapping[str, str] = field(default_factory=dict)

    def gather(self, round: Round) -> Experience:
        groups = round.desk.ask(round.agent, self._drawn(round), samples=self.samples, seed=round.seed + 17)
        kept = [group for group in groups if self.band[0] <= rightness([group]) <= self.band[1]]
        round.archive.add(right_answers(kept, round, name=self.name, why=self.source))
        steps = imitation_steps(round.archive, round.seed, self.steps, self.batch, role="solver")
        return Experience(steps, metrics={"solved": rightness(groups)})

    def _drawn(self, round: Round) -> list[Task]:
        if self.source == "oracle":
            return round.curriculum.mixed(round.weights, self.tasks, number=round.generation)
        if self.source == "seed":
            return []
        rng = np.random.Generator(np.random.Philox(key=[round.seed, 29]))
        (skill,) = round.curriculum.skills
        return random_tasks(round.curriculum.families[skill.family], skill.level, self.tasks, rng)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def rightness(groups: Sequence[Sequence[Answer]]) -> float:
    """Return the mean score of all answers."""
    scores = [answer.score for group in groups for answer in group]
    return float(np.mean(scores)) if scores else 0.0


TASKS, STEPS, BAND = 600, 60, (0.1, 0.9)
"""Of Self-Instruct and its controls: proposals and steps a generation, and the band: one to seven right of eight."""


def instructed(**settings: Any) -> Callable[[Sequence[Task]], Method]:
    """Return a maker of Self-Instruct. Copies are told by their solution alone, unless `novelty` says otherwise."""
    told = {"proposals": TASKS, "steps": STEPS, "proposing": 4, "novelty": 1.0, "band": BAND, **settings}
    return lambda seeds: SelfInstruct(seeds=seeds, **told)


def solving(source: str, **settings: Any) -> Callable[[Sequence[Task]], Method]:
    """Return a maker of a control of it."""
    return lambda seeds: Solving(source=source, tasks=TASKS, steps=STEPS, **settings)


def instruct(what: str, more: Mapping[str, Callable[[Sequence[Task]], Method]], start: Start) -> Trial:
    """Return the trial of Self-Instruct on one skill, with `more` arms."""
    return Trial(
        title=f"Self-Instruct on {what}",
        claim="held-out accuracy above the seed data alone and above random valid proposals",
        start=start,
        generations=3,
        arms={
            "self-instruct": instructed(),
            "seed data only": solving("seed"),
            "random valid tasks": solving("random"),
            "oracle curriculum": solving("oracle", band=BAND),
            "no novelty": instructed(novelty=None),
            "no band": instructed(band=(0.0, 1.0)),
            **more,
        },
        shared={"hidden_tasks": 300, "probe_tasks": 8, "gate": None},
    )


EXPRESSIONS = instruct(
    "sums of two digits",
    {
        "band of 0.25 to 0.75": instructed(band=(0.25, 0.75)),
        "the same, and ROUGE-L at most 0.7": instructed(novelty=0.7, band=(0.25, 0.75)),
    },
    Start(skills=("addition-1",), labelled=800, steps=400, proposes=True),
)
PROGRAMS = instruct(
    "list programs",
    {
        "ROUGE-L at most 0.7": instructed(novelty=0.7),
        "paid for what is unsolved": instructed(reward="adversarial"),
        "the same without the validity gate": instructed(reward="adversarial", is_gated=False),
    },
    Start(skills=("list_programs-0",), labelled=800, steps=250, max_new_tokens=16, proposes=True),
)
MOVES = instruct(
    "four words of a language of fourteen",
    {},
    Start(skills=("list_moves-0",), labelled=800, steps=250, max_new_tokens=16, proposes=True),
)
