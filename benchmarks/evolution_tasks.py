"""Tasks of the trials: programs on lists in few words, texts to copy by one letter more, and proposals at random.

Chosen: a tiny model reads no manual and spells no words, so its programs are on lists and their prompts name nothing
but the program and its input. Random proposals are random texts of the language, as far as they happen to be tasks.
"""

from __future__ import annotations

import numpy as np

from sparring.envs.program_tasks import LEVELS, Deduction
from sparring.envs.programs import LISTS, NUMBERED, kind_of, parse_program
from sparring.envs.tasks import Malformed, Task, TaskFamily, count, register_tasks

GREEK = "αβγδεζηθικλμνξοπρστυφχψω"
SIGNS = "0123456789+-()"
"""What expressions of sums are written with."""


class ListPrograms(Deduction):
    """Give the output of a program on a list of numbers."""

    name = "list_programs"

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        while True:
            task = super().draw(rng, level)
            if kind_of(task.data[1]) == ():
                return task

    def _made(self, level: int, source: str, prompt: str, key: str, *data: str) -> Task:
        return Task(
            family=self.name,
            skill=self.name,
            level=level,
            prompt=" | ".join(data),
            key=key,
            data=data,
            source=source,
        )

    def propose(self, text: str, level: int) -> Task:
        task = super().propose(text, level)
        if kind_of(task.data[1]) != ():
            raise Malformed("an input is a list of numbers here")
        return task

    def language(self, level: int) -> str:
        self.check_level(level)
        steps, size = LEVELS[level]
        return f"A program of at most {count(steps, 'step')}, a bar, and a list of at most {size} numbers."


register_tasks(ListPrograms.name, ListPrograms)

MOVES = ("reverse", "rotate", "take", "drop")


class ListMoves(ListPrograms):
    """The same where seeds and tests are a small part of what can be written: programs of four of the fourteen words.

    A proposal may be any program, as it may in real life, where what a policy is wanted for is a small part of all that
    it could be asked.
    """

    name = "list_moves"

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        while True:
            task = super().draw(rng, level)
            if all(step.word in MOVES for step in parse_program(task.data[0])):
                return task


register_tasks(ListMoves.name, ListMoves)


class Again(TaskFamily):
    """Write a text again, no two letters of which are alike, and the bar at its end; the level is its letters less one.

    Each letter is one token. By the bar the end of an answer can be read off the text, not only counted.
    """

    name = "again"
    levels = 24

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        self.check_level(level)
        text = "".join(GREEK[i] for i in rng.permutation(len(GREEK))[: level + 1]) + "|"
        return Task(family=self.name, skill=self.name, level=level, prompt=text, key=text, data=(text,))

    def verify(self, task: Task, answer: str) -> float:
        return float(answer.strip() == task.key)


register_tasks(Again.name, Again)


def random_tasks(family: TaskFamily, level: int, number: int, rng: np.random.Generator) -> list[Task]:
    """Return so many tasks that are unlike each other in solution: random texts, all but those that are no tasks."""
    write = _program if isinstance(family, ListPrograms) else _expression
    found: dict[str, Task] = {}
    while len(found) < number:
        try:
            task = family.propose(write(rng, level), level)
        except Malformed:
            continue
        found.setdefault(family.signature(task), task)
    return list(found.values())


def _expression(rng: np.random.Generator, level: int) -> str:
    """Return three to seven signs."""
    return "".join(SIGNS[i] for i in rng.integers(len(SIGNS), size=rng.integers(3, 8)))


def _program(rng: np.random.Generator, level: int) -> str:
    """Return random words, with any number of one digit where they take one, and a list; strings of signs take ages."""
    steps, size = LEVELS[level]
    words = [list(LISTS)[i] for i in rng.integers(len(LISTS), size=rng.integers(1, steps + 1))]
    program = "; ".join(f"{word} {rng.integers(-9, 10)}" if word in NUMBERED else word for word in words)
    return f"{program} | {' '.join(map(str, rng.integers(-9, 10, size=rng.integers(1, size + 1))))}"
