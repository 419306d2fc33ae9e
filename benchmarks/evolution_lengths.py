"""Self-Training without labels on ever longer texts: what `evolution.py` runs as the trial "lengths"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from evolution_arms import Control, Start, Trial
from evolution_tasks import Again

from sparring.envs.tasks import Task
from sparring.selfplay.evolve import Experience, Method, Round
from sparring.selfplay.self_training import SelfTraining

LABELLED, FURTHER = range(1, 9), range(10, 25, 2)
"""Lengths of which there are labels, and those that are practised without, one a generation."""
LENGTHS = (*LABELLED, *FURTHER)
PROMPTS, STEPS, BATCH = 1000, 200, 64
"""A generation: unlabelled texts, and steps and samples of imitation."""
WELL = 0.95
"""Accuracy at which a length is mastered."""


@dataclass(kw_only=True)
class Longer:
    """A method that practises one length a generation, each longer than the one before."""

    method: Method
    name: str = "longer"

    def __post_init__(self) -> None:
        self.modules: Mapping[str, str] = self.method.modules

    def gather(self, round: Round) -> Experience:
        practised = skill_of(FURTHER[round.generation - 1])
        weights = {skill: float(str(skill) == practised) for skill in round.curriculum.skills}
        return self.method.gather(replace(round, weights=weights))

    def state_dict(self) -> dict[str, Any]:
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.method.load_state_dict(state)


def skill_of(length: int) -> str:
    return f"{Again.name}-{length - 1}"


def longer(keep: str, threshold: float = 1.0, samples: int = 1) -> Callable[[Sequence[Task]], Method]:
    """Return a maker of Self-Training with one filter; nothing looks at a label, not even to see if voting helps."""

    def make(_: Sequence[Task]) -> Method:
        told: dict[str, Any] = {"prompts": PROMPTS, "steps": STEPS, "batch": BATCH, "checks_voting": False}
        return Longer(method=SelfTraining(keep=keep, threshold=threshold, samples=samples, **told))

    return make


LONGER = Trial(
    title="Self-Training on lengths that nobody labelled",
    claim="a longer length each round at 95 % or better, with a filter by length and no label",
    start=Start(
        skills=tuple(map(skill_of, LENGTHS)),
        rare=tuple(map(skill_of, FURTHER)),
        rarity=0.0,
        labelled=4000,
        steps=1000,
        batch=BATCH,
        decays=True,
        positions="local",
        max_new_tokens=max(LENGTHS) + 4,
    ),
    generations=len(FURTHER),
    arms={
        "length filter": longer("length"),
        "no filter": longer("none"),
        "seed data only": lambda seeds: Control(steps=STEPS, batch=BATCH),
    },
    shared={"probe_tasks": 4, "hidden_tasks": 20, "hidden_samples": 8, "gate": None, "is_adaptive": False},
    measure="reach",
    lr=1e-3,
)


def reach(skills: Mapping[str, float]) -> int:
    """Return the longest length up to which every length that is asked is mastered; 0 where none is."""
    mastered = takewhile(lambda length: skills[skill_of(length)] >= WELL, LENGTHS)
    return max(mastered, default=0)
