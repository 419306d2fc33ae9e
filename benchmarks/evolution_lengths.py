"""Self-Training without labels on ever longer texts: what `evolution.py` runs as the trial "lengths"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolution_arms import Control, Start, Trial
from evolution_tasks import Again

from sparring.envs.tasks import Task
from sparring.selfplay.evolve import Experience, Method, Round
from sparring.selfplay.self_training import SelfTraining

LABELLED, LEVELS = 8, 24
"""Lengths of which there are labels, and lengths that are probed; a level is a length less one."""
PROMPTS, STEPS, BATCH = 1000, 100, 64
"""A generation: unlabelled texts, and steps and samples of imitation."""
PACE = 2
"""Letters by which a generation's texts are longer than those of the one before."""
WELL = 0.95
"""Accuracy at which a length is mastered."""


@dataclass(kw_only=True)
class Longer:
    """A method that practises one length at a time, each by one longer than the one before."""

    method: Method
    name: str = "longer"

    def __post_init__(self) -> None:
        self.modules: Mapping[str, str] = self.method.modules

    def gather(self, round: Round) -> Experience:
        level = LABELLED + practised(round.generation) - 1
        weights = {skill: float(skill.level == level) for skill in round.curriculum.skills}
        return self.method.gather(replace(round, weights=weights))

    def state_dict(self) -> dict[str, Any]:
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.method.load_state_dict(state)


def practised(generation: int) -> int:
    """Return by how much what a generation practises is longer than what is labelled."""
    return PACE * generation


def longer(keep: str, threshold: float = 1.0, samples: int = 1) -> Callable[[Sequence[Task]], Method]:
    """Return a maker of Self-Training with one filter; nothing looks at a label, not even to see if voting helps."""

    def make(_: Sequence[Task]) -> Method:
        told: dict[str, Any] = {"prompts": PROMPTS, "steps": STEPS, "batch": BATCH, "checks_voting": False}
        return Longer(method=SelfTraining(keep=keep, threshold=threshold, samples=samples, **told))

    return make


LENGTHS = Trial(
    title="Self-Training on lengths that nobody labelled",
    claim="a longer length each round at 95 % or better, with a filter by length and no label",
    start=Start(
        skills=tuple(f"{Again.name}-{level}" for level in range(LEVELS)),
        rare=tuple(f"{Again.name}-{level}" for level in range(LABELLED, LEVELS)),
        rarity=0.0,
        labelled=4000,
        steps=600,
        batch=BATCH,
        decays=True,
        positions="local",
        max_new_tokens=LEVELS + 4,
    ),
    generations=8,
    arms={
        "length filter": longer("length"),
        "confidence": longer("confidence", 0.5),
        "majority": longer("majority", samples=8),
        "no filter": longer("none"),
        "verifier": longer("verifier"),
        "seed data only": lambda seeds: Control(steps=STEPS, batch=BATCH),
    },
    shared={"probe_tasks": 4, "hidden_tasks": 20, "hidden_samples": 8, "gate": None, "is_adaptive": False},
    measure="reach",
    lr=3e-4,
)


def reach(skills: Mapping[str, float]) -> int:
    """Return the longest length up to which every length is mastered."""
    longest = 0
    while skills.get(f"{Again.name}-{longest}", 0.0) >= WELL:
        longest += 1
    return longest
