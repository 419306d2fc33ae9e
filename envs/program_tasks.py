"""Tasks about programs: give the output, find an input, find the program (Zhao et al. 2025, arXiv 2505.03335).

Chosen: all three come from one triple of program, input and output, and are verified by running the program, so any
input or program that does it is right. Left out: programs that fail; every drawn or proposed one runs on its input.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from .programs import (
    LISTS,
    MANUAL,
    NUMBERED,
    TEXTS,
    WORDS,
    Failed,
    Program,
    Step,
    Value,
    kind_of,
    parse_program,
    read_value,
    run,
    write_program,
    write_value,
)
from .tasks import Malformed, Task, TaskFamily, count

LEVELS = ((1, 3), (2, 4), (3, 5), (4, 6), (5, 8))
"""Steps of a program and most size of its input, by level."""
SHOWN, HIDDEN = 3, 4
"""Examples that an induction shows, and those it is judged by as well."""
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Triple:
    """A program, an input on which it runs, and its output."""

    program: Program
    input: Value
    output: Value


class ProgramTasks(TaskFamily):
    """One of the three kinds of tasks about a program."""

    levels = len(LEVELS)
    wanted: ClassVar[str]
    """What the solver is asked for."""

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        self.check_level(level)
        return self._task(_triple(rng, level), level)

    @abstractmethod
    def _task(self, triple: Triple, level: int, source: str = "family") -> Task: ...

    def _made(self, level: int, source: str, prompt: str, key: str, *data: str) -> Task:
        return Task(
            family=self.name,
            skill=self.name,
            level=level,
            prompt=f"{MANUAL}\n\n{prompt}",
            key=key,
            data=data,
            source=source,
        )

    def propose(self, text: str, level: int) -> Task:
        self.check_level(level)
        program, bar, given = text.partition("|")
        if not bar:
            raise Malformed("write a program, a bar | and an input")
        parsed = parse_program(program)
        if _size(parsed) > LEVELS[level][0]:
            raise Malformed(f"a program has at most {LEVELS[level][0]} steps here")
        value = read_value(given, like=kind_of(given))
        if len(value) > LEVELS[level][1]:
            raise Malformed(f"an input is at most {LEVELS[level][1]} long here")
        try:
            return self._task(Triple(parsed, value, run(parsed, value)), level, "proposer")
        except Failed as why:
            raise Malformed(f"the program fails: {why}") from why

    def language(self, level: int) -> str:
        self.check_level(level)
        steps, size = LEVELS[level]
        return (
            f"{MANUAL} Write a program of at most {count(steps, 'step')}, a bar, and an input of at most {size} "
            f"numbers or letters, for instance: reverse | 3 1 2. The other player must find {self.wanted}."
        )


class Deduction(ProgramTasks):
    """Give the output of a program on an input."""

    name = "deduction"
    wanted = "the output, given program and input"

    def _task(self, triple: Triple, level: int, source: str = "family") -> Task:
        program, given = write_program(triple.program), write_value(triple.input)
        prompt = f"Program: {program}\nInput: {given}\nAnswer with the output alone."
        return self._made(level, source, prompt, write_value(triple.output), program, given)

    def verify(self, task: Task, answer: str) -> float:
        program, given = task.data
        return float(_is_output(program, given, answer, of=task.key))

    def readable(self, task: Task, answer: str) -> bool:
        return _is_value(answer, like=kind_of(task.data[1]))

    def signature(self, task: Task) -> str:
        return f"{self.name}:{behaviour(task.data[0])}:{task.data[1]}"

    def proposal(self, task: Task) -> str:
        return " | ".join(task.data)


class Abduction(ProgramTasks):
    """Find an input from which a program makes an output. Whatever input does it is right."""

    name = "abduction"
    wanted = "an input, given program and output"

    def _task(self, triple: Triple, level: int, source: str = "family") -> Task:
        program, output = write_program(triple.program), write_value(triple.output)
        kind = "text" if isinstance(triple.input, str) else "list"
        prompt = f"Program: {program}\nOutput: {output}\nAnswer with an input, a {kind}, that gives this output."
        return self._made(level, source, prompt, write_value(triple.input), program, output, kind)

    def verify(self, task: Task, answer: str) -> float:
        program, output, kind = task.data
        like: Value = "" if kind == "text" else ()
        try:
            found = run(parse_program(program), read_value(answer, like=like))
        except (Failed, Malformed):
            return 0.0
        return float(write_value(found) == output)

    def readable(self, task: Task, answer: str) -> bool:
        return _is_value(answer, like="" if task.data[2] == "text" else ())

    def signature(self, task: Task) -> str:
        return f"{self.name}:{behaviour(task.data[0])}:{task.data[1]}"

    def proposal(self, task: Task) -> str:
        return f"{task.data[0]} | {task.key}"


class Induction(ProgramTasks):
    """Find a program from examples. It is right if it does the hidden examples as well: all of them, or it is not."""

    name = "induction"
    wanted = "a program, given your input and others with their outputs"

    def _task(self, triple: Triple, level: int, source: str = "family") -> Task:
        inputs = _inputs(triple)
        lines = [f"{write_value(given)} -> {write_value(run(triple.program, given))}" for given in inputs[:SHOWN]]
        prompt = "Examples of input -> output:\n" + "\n".join(lines) + "\nAnswer with a program that does the same."
        return self._made(level, source, prompt, write_program(triple.program), *map(write_value, inputs))

    def verify(self, task: Task, answer: str) -> float:
        own = parse_program(task.key)
        try:
            found = parse_program(answer)
        except Malformed:
            return 0.0
        like = kind_of("".join(task.data))
        return float(all(_same(own, found, read_value(given, like=like)) for given in task.data))

    def readable(self, task: Task, answer: str) -> bool:
        try:
            parse_program(answer)
        except Malformed:
            return False
        return True

    def signature(self, task: Task) -> str:
        return f"{self.name}:{behaviour(task.key)}"

    def proposal(self, task: Task) -> str:
        return f"{task.key} | {task.data[0]}"


def _same(one: Program, other: Program, value: Value) -> bool:
    try:
        return run(one, value) == run(other, value)
    except Failed:
        return False


def _is_output(program: str, given: str, answer: str, *, of: str) -> bool:
    output = run(parse_program(program), read_value(given, like=kind_of(given)))
    try:
        return read_value(answer, like=output) == output
    except Malformed:
        return False


def _is_value(answer: str, *, like: Value) -> bool:
    try:
        read_value(answer, like=like)
    except Malformed:
        return False
    return True


def _size(program: Program) -> int:
    return sum(1 + _size(step.block) for step in program)


@lru_cache(maxsize=4096)
def behaviour(program: str) -> str:
    """Return the same short text for programs that do the same to a fixed set of values, however they are written."""
    rng = np.random.default_rng(0xBEEF)
    parsed, seen = parse_program(program), []
    for number in range(24):
        value = _value(rng, 8, text=number % 2 == 1)
        try:
            seen.append(write_value(run(parsed, value)))
        except Failed:
            seen.append("!")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


def _inputs(triple: Triple) -> list[Value]:
    """Return the triple's input and others on which its program runs, drawn by what the program is."""
    text = isinstance(triple.input, str)
    seed = hashlib.sha256(f"{write_program(triple.program)}|{triple.input}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    found = [triple.input]
    for _ in range(_TRIES):
        value = _value(rng, max(len(triple.input), 4), text=text)
        if value not in found and _runs(triple.program, value):
            found.append(value)
        if len(found) == SHOWN + HIDDEN:
            return found
    raise Failed("it runs on too few inputs")


def _runs(program: Program, value: Value) -> bool:
    try:
        run(program, value)
    except Failed:
        return False
    return True


def _value(rng: np.random.Generator, most: int, *, text: bool) -> Value:
    size = int(rng.integers(1, most + 1))
    if text:
        return "".join(chr(97 + int(i)) for i in rng.integers(26, size=size))
    return tuple(int(x) for x in rng.integers(-9, 10, size=size))


def _triple(rng: np.random.Generator, level: int) -> Triple:
    """Return a random program that changes its input and leaves something of it."""
    steps, size = LEVELS[level]
    for _ in range(_TRIES):
        text = bool(rng.random() < 0.5)
        program, value = _program(rng, steps, text=text), _value(rng, size, text=text)
        if _runs(program, value) and (output := run(program, value)) and output != value:
            triple = Triple(program, value, output)
            try:
                _inputs(triple)
            except Failed:
                continue
            return triple
    program = parse_program("reverse")
    return Triple(program, "ab", "ba")


def _program(rng: np.random.Generator, steps: int, *, text: bool) -> Program:
    """Return a random program of `steps` steps, blocks and what is in them counted."""
    kind = TEXTS if text else LISTS
    words = [word for word in WORDS if word in kind]
    found: list[Step] = []
    while steps:
        if steps >= 2 and rng.random() < 0.25:
            inner = int(rng.integers(1, steps))
            block = _program(rng, inner, text=text)
            found.append(Step(("repeat", "when")[rng.integers(2)], int(rng.integers(2, 4)), block))
            steps -= 1 + inner
            continue
        word = words[rng.integers(len(words))]
        found.append(Step(word, int(rng.integers(1, 4)) if word in NUMBERED else None))
        steps -= 1
    return tuple(found)
