"""What a policy can do, skill by skill: a probe on fresh tasks, a weakness table with intervals, and what follows.

Chosen: a skill is a family at a level; the tasks of a generation are fresh, and the same for every policy that is
probed in it, so that two policies are compared on one paper. Left out: skills that nobody named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sparring.agents import Agent
from sparring.envs.tasks import Task, TaskFamily, make_family

from .answering import Desk, pass_at

PROBE, HIDDEN, TRAIN = 1, 2, 3
"""Streams of tasks that never meet: those of probes, of the hidden test, and of training."""


class Skill(NamedTuple):
    """A family of tasks at a level."""

    family: str
    level: int

    def __str__(self) -> str:
        return f"{self.family}-{self.level}"


def read_skill(word: str) -> Skill:
    """Return the skill that a word names, as in `arithmetic-2`. Raises ValueError for what is none."""
    family, dash, level = word.rpartition("-")
    if not dash or not level.isdecimal():
        raise ValueError(f"{word!r} is no skill; write a family and a level, as in arithmetic-2")
    make_family(family).check_level(int(level))
    return Skill(family, int(level))


class Curriculum:
    """Tasks of some skills, drawn by stream, number and seed: the same ones whoever asks."""

    def __init__(self, skills: Iterable[Skill], *, seed: int = 0) -> None:
        """Set up the skills. Raises ValueError for none, or one that does not exist."""
        self.skills = tuple(skills)
        if not self.skills:
            raise ValueError("name at least one skill, as in arithmetic-2")
        self.families: dict[str, TaskFamily] = {skill.family: make_family(skill.family) for skill in self.skills}
        for skill in self.skills:
            self.families[skill.family].check_level(skill.level)
        self.seed = seed

    def draw(self, skill: Skill, count: int, *, stream: int, number: int = 0) -> list[Task]:
        """Return tasks of a skill; another stream or number has others."""
        at = self.skills.index(skill)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, (stream << 48) + (number << 16) + at]))
        return [self.families[skill.family].draw(rng, skill.level) for _ in range(count)]

    def mixed(self, weights: Mapping[Skill, float], count: int, *, number: int) -> list[Task]:
        """Return training tasks of all skills in proportion to weights, shuffled."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, (TRAIN << 48) + (number << 16) + 0xFFFF]))
        p = np.array([weights[skill] for skill in self.skills])
        counts = np.bincount(rng.choice(len(p), size=count, p=p / p.sum()), minlength=len(p))
        tasks = [
            task
            for skill, n in zip(self.skills, counts.tolist(), strict=True)
            for task in self.draw(skill, n, stream=TRAIN, number=number)
        ]
        return [tasks[i] for i in rng.permutation(len(tasks))]


@dataclass(frozen=True, slots=True)
class Scores:
    """How a policy did on a probe."""

    right: Mapping[Skill, tuple[tuple[float, ...], ...]]
    """By skill and task: the score of each sample."""
    illegal_rate: float = 0.0
    """Share of all answers that could not be read, or are not written as their task asks."""
    reply_tokens: float = 0.0
    """Mean tokens of an answer."""

    def accuracy(self, skill: Skill) -> float:
        """Return pass@1: the mean score of a skill."""
        return float(np.mean([np.mean(task) for task in self.right[skill]]))

    @property
    def mean(self) -> float:
        """The mean of all skills, each counting alike."""
        return float(np.mean([self.accuracy(skill) for skill in self.right]))

    @property
    def worst(self) -> float:
        """The accuracy of the weakest skill."""
        return min(self.accuracy(skill) for skill in self.right)

    def pass_at(self, k: int) -> float:
        """Return pass@k, the mean of all skills."""
        by_skill = [
            np.mean([pass_at(k, sum(score >= 1.0 for score in task), len(task)) for task in tasks])
            for tasks in self.right.values()
        ]
        return float(np.mean(by_skill))

    def interval(self, skill: Skill, z: float = 1.96) -> tuple[float, float]:
        """Return Wilson's interval (1927) of a skill's accuracy; tasks count, not samples, for those of one agree."""
        return wilson(self.accuracy(skill), len(self.right[skill]), z)

    def table(self) -> list[dict[str, Any]]:
        """Return the weakness table, the weakest skill first."""
        rows = [
            {"skill": str(s), "tasks": len(self.right[s]), "accuracy": self.accuracy(s), "interval": self.interval(s)}
            for s in self.right
        ]
        return sorted(rows, key=lambda row: row["accuracy"])


def wilson(p: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a proportion p of n (Wilson 1927).

    >>> [round(end, 3) for end in wilson(0.0, 10)]
    [0.0, 0.278]
    """
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def probe(
    agent: Agent,
    desk: Desk,
    curriculum: Curriculum,
    *,
    tasks: int,
    number: int,
    samples: int = 1,
    stream: int = PROBE,
) -> Scores:
    """Return how an agent does on fresh tasks of every skill; the same `number` asks the same ones.

    Args:
        agent: who is probed.
        desk: asks, reads and scores.
        curriculum: the skills.
        tasks: a skill.
        number: of the probe.
        samples: answers a task.
        stream: `PROBE`, or `HIDDEN` for tasks that no gate and no objective ever looks at.
    """
    asked = {s: curriculum.draw(s, tasks, stream=stream, number=number) for s in curriculum.skills}
    flat: Sequence[Task] = [task for found in asked.values() for task in found]
    groups = desk.ask(agent, flat, samples=samples, seed=curriculum.seed + (stream << 20) + number)
    answers, each = [answer for group in groups for answer in group], iter(groups)
    return Scores(
        {s: tuple(tuple(a.score for a in next(each)) for _ in found) for s, found in asked.items()},
        illegal_rate=float(np.mean([not desk.readable(answer) for answer in answers])),
        reply_tokens=float(np.mean([len(answer.reply.ids) for answer in answers])),
    )


def weights_of(
    scores: Scores,
    best: Mapping[Skill, float],
    *,
    latest: Scores | None = None,
    bonus: float = 1.0,
    floor: float = 0.02,
) -> dict[Skill, float]:
    """Return how often each skill is to be trained: p (1 - p), more where it has dropped, and never nothing.

    p (1 - p) is largest where half the answers are right and 0 where nothing can be learned yet or any more; `bonus`
    weighs how far a skill lies below its `best` in the `latest` candidate, so that what is being forgotten is trained
    again. Where there is none, the scores are the latest. They sum to 1.
    """
    latest = scores if latest is None else latest
    raw = {
        skill: floor
        + (p := scores.accuracy(skill)) * (1 - p)
        + bonus * max(best.get(skill, 0.0) - latest.accuracy(skill), 0.0)
        for skill in scores.right
    }
    whole = sum(raw.values())
    return {skill: weight / whole for skill, weight in raw.items()}
