"""Arithmetic: work out an expression. A level sets the digits of its numbers, how many signs it has and which.

Chosen: one table of levels; the expression itself is the proposal, so a proposer may write any that keeps to the
level. Left out: division, which would need a rule for remainders.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar, NamedTuple

import numpy as np

from .expressions import Expression, Operation, canonical, evaluate, numbers, parse, signs, write
from .tasks import Malformed, Task, TaskFamily, count, read_integer


class Level(NamedTuple):
    """What an expression may have."""

    digits: int
    """Most digits of a number."""
    signs: int
    """Signs of an expression; a proposal may have fewer."""
    among: str
    """Which they are."""


LEVELS = (
    Level(1, 1, "+"),
    Level(1, 1, "+-"),
    Level(2, 1, "+-"),
    Level(1, 2, "+-*"),
    Level(2, 2, "+-*"),
    Level(2, 3, "+-*"),
    Level(3, 3, "+-*"),
    Level(3, 4, "+-*"),
    Level(4, 6, "+-*"),
)
SUMS = tuple(Level(digits, 1, "+") for digits in (1, 2, 3, 4, 6))
"""The levels of `Addition`."""
MOST_ANSWERS = 40
"""Where a level has no more answers than these, they are listed."""


class Arithmetic(TaskFamily):
    """Work out an expression of whole numbers."""

    name = "arithmetic"
    table: ClassVar[tuple[Level, ...]] = LEVELS
    levels = len(LEVELS)

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        self.check_level(level)
        allowed = self.table[level]
        return self._task(write(_random(rng, allowed, allowed.signs)), level)

    def _task(self, text: str, level: int, source: str = "family") -> Task:
        value = evaluate(parse(text))
        prompt = f"Work out {text}\nAnswer with the number alone."
        return Task(
            family=self.name,
            skill=self.name,
            level=level,
            prompt=prompt,
            key=str(value),
            data=(text,),
            source=source,
        )

    def verify(self, task: Task, answer: str) -> float:
        return float(read_integer(answer) == evaluate(parse(task.data[0])))

    def readable(self, task: Task, answer: str) -> bool:
        return read_integer(answer) is not None

    def answers(self, task: Task) -> tuple[str, ...] | None:
        allowed = self.table[task.level]
        top = 10**allowed.digits - 1
        if "*" in allowed.among or allowed.signs > 1 or 3 * top > MOST_ANSWERS:
            return None
        return tuple(map(str, range(-top if "-" in allowed.among else 0, 2 * top + 1)))

    def tasks(self, level: int) -> Iterator[tuple[Task, float]]:
        self.check_level(level)
        allowed = self.table[level]
        if allowed.signs > 1 or allowed.digits > 1:
            raise NotImplementedError(f"{self.name} lists its tasks of numbers of one digit only, not of level {level}")
        chance = 1 / (len(allowed.among) * 100)
        for sign, a, b in product(allowed.among, range(10), range(10)):
            yield self._task(f"{a} {sign} {b}", level), chance

    def signature(self, task: Task) -> str:
        return f"{self.name}:{canonical(parse(task.data[0]))}"

    def propose(self, text: str, level: int) -> Task:
        self.check_level(level)
        tree, allowed = parse(text), self.table[level]
        found = signs(tree)
        if not 1 <= len(found) <= allowed.signs or not set(found) <= set(allowed.among):
            raise Malformed(f"write 1 to {count(allowed.signs, 'sign')}, each one of {' '.join(allowed.among)}")
        if any(abs(n) >= 10**allowed.digits for n in numbers(tree)):
            raise Malformed(f"numbers have at most {count(allowed.digits, 'digit')} here")
        return self._task(write(tree), level, "proposer")

    def proposal(self, task: Task) -> str:
        return task.data[0]

    def language(self, level: int) -> str:
        self.check_level(level)
        allowed = self.table[level]
        return (
            f"Write an expression of whole numbers of at most {count(allowed.digits, 'digit')} that has at most "
            f"{count(allowed.signs, 'sign')}, each one of {' '.join(allowed.among)}. Parentheses are allowed."
        )


class Addition(Arithmetic):
    """Add two numbers: the task on which models that teach themselves are most often shown."""

    name = "addition"
    table = SUMS
    levels = len(SUMS)

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        """Return a sum of two numbers from 0 up, each as likely as any other."""
        self.check_level(level)
        first, second = (int(n) for n in rng.integers(10 ** self.table[level].digits, size=2))
        return self._task(f"{first} + {second}", level)


def _random(rng: np.random.Generator, allowed: Level, size: int) -> Expression:
    """Return a random expression with `size` signs, in any shape."""
    if size == 0:
        return int(rng.integers(10 ** int(rng.integers(1, allowed.digits + 1))))
    sign = allowed.among[rng.integers(len(allowed.among))]
    left = int(rng.integers(size))
    return Operation(sign, _random(rng, allowed, left), _random(rng, allowed, size - 1 - left))
