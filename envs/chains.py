"""Chains: start with a number, apply one step after another, and give the value after each: a solution with steps.

Chosen: a step is judged by the value that was written before it, so that one slip is one wrong step and not all that
follow. Left out: steps in words of several kinds; the chain is about finding where a solution goes wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from zlib import crc32

import numpy as np

from .tasks import Malformed, Task, TaskFamily, count

STEPS = (2, 3, 4, 5, 6, 8)
"""Steps of a chain, by level."""
OPERATIONS = ("add", "subtract", "multiply by")
SLIPS = (-1, 1)
"""By how much a listed solution may be off in its wrong step."""
_VALUES = re.compile(r"\s*-?[0-9]{1,12}(?:[\s,;]+-?[0-9]{1,12})*\s*\.?")
_FIRST_LEVEL = tuple(product(("add", "subtract"), (1, 2, 3)))
"""Every step of level 0, small enough to list all chains."""


class Chain(TaskFamily):
    """Give the value after every step of a chain of sums and products."""

    name = "chain"
    levels = len(STEPS)

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        self.check_level(level)
        if level == 0:
            picked = [_FIRST_LEVEL[i] for i in rng.integers(len(_FIRST_LEVEL), size=STEPS[0])]
            return self._task(int(rng.integers(1, 4)), picked, level)
        return self._task(int(rng.integers(2, 10)), [_step(rng) for _ in range(STEPS[level])], level)

    def _task(self, start: int, steps: list[tuple[str, int]], level: int, source: str = "family") -> Task:
        words = ", then ".join(f"{operation} {n}" for operation, n in steps)
        how = f"Answer with the value after each step, {count(len(steps), 'number')} in order."
        return Task(
            family=self.name,
            skill="chain",
            level=level,
            prompt=f"Start with {start}, {words}.\n{how}",
            key=" ".join(map(str, _values(start, steps))),
            data=(str(start), *(f"{operation} {n}" for operation, n in steps)),
            source=source,
        )

    def tasks(self, level: int) -> Iterator[tuple[Task, float]]:
        self.check_level(level)
        if level:
            raise NotImplementedError(f"chain lists its tasks of level 0 only, not of level {level}")
        chance = 1 / (3 * len(_FIRST_LEVEL) ** STEPS[0])
        for start in (1, 2, 3):
            for steps in product(_FIRST_LEVEL, repeat=STEPS[0]):
                yield self._task(start, list(steps), level), chance

    def verify(self, task: Task, answer: str) -> float:
        return float(self.flaw(task, answer) == 0)

    def readable(self, task: Task, answer: str) -> bool:
        return _VALUES.fullmatch(answer[:400]) is not None

    def flaw(self, task: Task, answer: str) -> int:
        """Return the first step whose value does not follow from the one before; a missing or extra one is wrong."""
        start, steps = _read(task)
        if not self.readable(task, answer):
            return 1
        told = [int(word) for word in re.findall(r"-?[0-9]+", answer[:400])]
        before = start
        for number, step in enumerate(steps):
            if number >= len(told) or told[number] != _apply(before, step):
                return number + 1
            before = told[number]
        return 0 if len(told) == len(steps) else len(steps)

    def steps(self, task: Task) -> int:
        return len(task.data) - 1

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return the right solution and those with one slip, carried on from there, in no telling order."""
        start, steps = _read(task)
        found = {" ".join(map(str, _values(start, steps)))}
        for at, slip in product(range(len(steps)), SLIPS):
            found.add(" ".join(map(str, _values(start, steps, at, slip))))
        # By number the right one would always be the middle one.
        return tuple(sorted(found, key=lambda text: (crc32(f"{task.prompt}{text}".encode()), text)))

    def signature(self, task: Task) -> str:
        return f"{self.name}:{'|'.join(task.data)}"

    def propose(self, text: str, level: int) -> Task:
        self.check_level(level)
        start, *steps = re.split(r"\s*,\s*(?:then\s+)?", text.strip().removesuffix(".").casefold())
        found = [re.fullmatch(rf"({'|'.join(OPERATIONS)}) ([0-9])", step) for step in steps]
        if not re.fullmatch(r"[0-9]", start) or not found or not all(found):
            raise Malformed("write a digit and then steps such as add 3, multiply by 2")
        if len(found) > STEPS[level]:
            raise Malformed(f"a chain has at most {count(STEPS[level], 'step')} here")
        pairs = [(match[1], int(match[2])) for match in found if match is not None]
        return self._task(int(start), pairs, level, "proposer")

    def proposal(self, task: Task) -> str:
        return ", ".join(task.data)

    def language(self, level: int) -> str:
        self.check_level(level)
        return (
            f"Write a digit to start with and at most {count(STEPS[level], 'step')}, each one of "
            f"{', '.join(OPERATIONS)} and a digit, for instance: 4, add 3, multiply by 2"
        )


def _step(rng: np.random.Generator) -> tuple[str, int]:
    return OPERATIONS[rng.integers(len(OPERATIONS))], int(rng.integers(2, 10))


def _read(task: Task) -> tuple[int, list[tuple[str, int]]]:
    start, *steps = task.data
    return int(start), [(step.rpartition(" ")[0], int(step.rpartition(" ")[2])) for step in steps]


def _apply(value: int, step: tuple[str, int]) -> int:
    operation, n = step
    return value + n if operation == "add" else value - n if operation == "subtract" else value * n


def _values(start: int, steps: list[tuple[str, int]], at: int = -1, slip: int = 0) -> list[int]:
    """Return the value after each step; step number `at` is off by `slip`, and what follows goes on from there."""
    told, value = [], start
    for number, step in enumerate(steps):
        value = _apply(value, step) + (slip if number == at else 0)
        told.append(value)
    return told
