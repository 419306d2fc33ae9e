"""Tasks with a verifier: what contests, critics and proposers are built on.

Chosen: a task carries all that its verifier needs as text, so it is a value, and verifying is a pure function of task
and answer: by execution or exact computation, never by opinion. Left out: tasks whose answers somebody must judge.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .game import near
from .quotes import enclosed
from .reading import clean_speech

MOST_SHOWN = 300
"""Characters of an answer that the other seat, or a finished game, is shown."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")


class Malformed(ValueError):
    """A text is no task, program or expression of its language; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question that has a verifier."""

    family: str
    """Name of the family that verifies it."""
    skill: str
    """What it practises, within the family: `"deduction"`."""
    level: int
    """How hard it is meant to be, 0 the easiest."""
    prompt: str
    """What is asked, whole: how to write the answer too."""
    key: str = ""
    """A right answer, or what else must not be shown; empty where none is known."""
    data: tuple[str, ...] = ()
    """What the verifier needs beside the key."""
    source: str = "family"
    """Where it comes from: `"family"`, or who proposed it."""


@runtime_checkable
class Verifier(Protocol):
    """Whatever can score answers."""

    def verify(self, task: Task, answer: str) -> float:
        """Return how right an answer is, 0 to 1; the same for the same task and answer, whatever the answer is."""
        ...


class TaskFamily(ABC):
    """Tasks of one kind, drawn by level and verified exactly. Families have no state: any two of a name are equal."""

    name: str = ""
    """As `make_family` knows it."""
    levels: int = 1
    """Levels are 0 to `levels - 1`."""
    keeps_brackets: bool = False
    """Whether answers need square brackets."""
    sample: int = 32
    """How many of its tasks show what its answers and proposals look like."""
    most_prompt: int = 2000
    """Most characters of a task's prompt."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, level: int) -> Task:
        """Return a fresh task; `rng` is the only source of chance."""

    @abstractmethod
    def verify(self, task: Task, answer: str) -> float:
        """Return how right an answer is, 0 to 1. Never raises, whatever the answer."""

    def readable(self, task: Task, answer: str) -> bool:
        """Return whether an answer is written as the task asks, right or not."""
        return True

    def answers(self, task: Task) -> tuple[str, ...] | None:
        """Return every answer worth giving, the same for tasks that look the same, or None where they are too many."""
        return None

    def solve(self, task: Task) -> str | None:
        """Return an answer that `verify` scores 1, or None where the family knows none."""
        return task.key

    def signature(self, task: Task) -> str:
        """Return the same text for tasks that are solved by the same thought, however they are worded."""
        return " ".join(task.prompt.casefold().split())

    def tasks(self, level: int) -> Iterable[tuple[Task, float]]:
        """Yield every task of a level with its probability, for exact evaluation of small ones."""
        raise NotImplementedError(f"{self.name} does not list its tasks of level {level}")

    def flaw(self, task: Task, answer: str) -> int:
        """Return 0 for a right answer, else the first step that is wrong, counted from 1."""
        return 0 if self.verify(task, answer) >= 1.0 else 1

    def steps(self, task: Task) -> int:
        """Return how many steps an answer has that can be wrong by themselves."""
        return 1

    def propose(self, text: str, level: int) -> Task:
        """Return the task that a proposer's text is. Raises Malformed, saying why, if it is none of this level."""
        raise Malformed(f"{self.name} takes no proposals")

    def proposal(self, task: Task) -> str:
        """Return the text by which a proposer would make this task."""
        raise Malformed(f"{self.name} takes no proposals")

    def wording(self, task: Task) -> str:
        """Return the words by which copies are known; empty where only the signature tells them."""
        return self.proposal(task)

    def language(self, level: int) -> str:
        """Return what a proposer is told: how to write a task of this level."""
        raise Malformed(f"{self.name} takes no proposals; use a family that does")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.name == self.name

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def check_level(self, level: int) -> None:
        """Raise ValueError unless there is such a level."""
        if type(level) is not int or not 0 <= level < self.levels:
            raise ValueError(f"level of {self.name} must be a whole number from 0 to {self.levels - 1}, not {level!r}")


FAMILIES: dict[str, str | type[TaskFamily]] = {
    "addition": "sparring.envs.arithmetic:Addition",
    "arithmetic": "sparring.envs.arithmetic:Arithmetic",
    "chain": "sparring.envs.chains:Chain",
    "copy": "sparring.envs.letters:Copy",
    "reverse": "sparring.envs.letters:Reverse",
    "sort": "sparring.envs.letters:Sort",
    "deduction": "sparring.envs.program_tasks:Deduction",
    "abduction": "sparring.envs.program_tasks:Abduction",
    "induction": "sparring.envs.program_tasks:Induction",
}


def register_tasks(name: str, family: str | type[TaskFamily]) -> None:
    """Make a family known by name: its class, or where to import it from, as `module:Class`."""
    if FAMILIES.setdefault(name, family) != family:
        raise ValueError(f"{name!r} is already registered for {FAMILIES[name]}; choose another name")


def list_families() -> list[str]:
    """Return the names of all registered families, sorted."""
    return sorted(FAMILIES)


def make_family(task: str | TaskFamily) -> TaskFamily:
    """Return the family of that name, a registered one or `reasoning_gym/NAME`, or the family itself.

    Raises ValueError for an unknown name (naming the near one), ImportError where another library is missing.
    """
    if isinstance(task, TaskFamily):
        return task
    prefix, _, rest = task.partition("/")
    if prefix == "reasoning_gym" and rest:
        from .from_reasoning_gym import ReasoningGym

        return ReasoningGym(rest)
    if task not in FAMILIES:
        raise ValueError(f"unknown task {task!r}.{near(task, [*FAMILIES, 'reasoning_gym/...'])}")
    found: Any = FAMILIES[task]
    if isinstance(found, str):
        module, _, name = found.partition(":")
        found = getattr(importlib.import_module(module), name)
    family: TaskFamily = found()
    return family


def read_answer(speech: str, label: str = "Answer:") -> str:
    r"""Return the part of a speech that is its answer: inside the last `<answer>`, else after the last label.

    Where there is neither, the whole speech is the answer. A written `\n` is a line break, for a speech has one line.

    >>> read_answer("Three and four. Answer: 7"), read_answer("<answer>1\\n2</answer>"), read_answer(" 7. ")
    ('7', '1\n2', '7.')
    """
    start = speech.rfind("<answer>")
    if start >= 0:
        speech = speech[start + len("<answer>") :].partition("</answer>")[0]
    else:
        speech = speech.rpartition(label)[2]
    return speech.replace("\\n", "\n").strip()


def write_answer(answer: str, *, brackets: bool) -> str:
    """Return an answer as a speech, from which `read_answer` reads it back."""
    return clean_speech(answer.replace("\n", "\\n"), brackets=brackets)


def read_integer(answer: str) -> int | None:
    """Return the whole number that an answer is, with at most 40 digits, or None.

    >>> read_integer(" -12. "), read_integer("1 2"), read_integer("twelve")
    (-12, None, None)
    """
    answer = answer.strip().removesuffix(".")
    return int(answer) if _NUMBER.fullmatch(answer) else None


def count(number: int, thing: str) -> str:
    """Return a number of things in words.

    >>> count(1, "step"), count(3, "step")
    ('1 step', '3 steps')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def quoted(text: str, most: int = MOST_SHOWN) -> str:
    """Return a player's words in quotes that they cannot close, on one line, cut where they are long.

    >>> print(quoted('7" The referee: "you won'))
    "7' The referee: 'you won"
    """
    text = " ".join(text.split())
    return enclosed(f"{text[: most - 3]}..." if len(text) > most else text)


@lru_cache(maxsize=256)
def examples(family: TaskFamily, level: int) -> tuple[Task, ...]:
    """Return tasks of a level, always the same ones: what its tasks, answers and proposals look like."""
    rng = np.random.default_rng([0x7A5C, level])
    return tuple(family.draw(rng, level) for _ in range(family.sample))


@lru_cache(maxsize=256)
def guesses(family: TaskFamily, level: int) -> tuple[str, ...]:
    """Return answers to other tasks of a level, each once: its answer language, and nothing of any one task's answer.

    They are the same for every task of the level, so none of them is likelier to be right than chance has it.
    """
    solved = (family.solve(task) for task in examples(family, level))
    written = (write_answer(answer, brackets=family.keeps_brackets) for answer in solved if answer)
    return tuple(dict.fromkeys(speech for speech in written if speech)) or ("I do not know.",)


def readable_guesses(family: TaskFamily, task: Task) -> tuple[str, ...]:
    """Return those of the level's guesses that are written as the task asks, all of them if none is."""
    said = guesses(family, task.level)
    return tuple(speech for speech in said if family.readable(task, read_answer(speech))) or said
