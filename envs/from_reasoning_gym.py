"""The generators of reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760) as contests and as single-seat tasks.

Chosen: an item is generated anew from its seed whenever it is verified, so a task stays a small value; the library's
own verifier scores, behind a fence that keeps the global generators as they were and keeps answers that it would
evaluate as code from it. A proposer chooses steps of the library's own curriculum and the number of an item, no values
that the library has not, and neither making the item nor scoring an answer may take more than so many lines of Python:
a count, unlike seconds, is the same on every machine. Left out: `composite`, which is made of others, the library's own
training loop, and bounds on memory and on what C code does within a line.
"""

from __future__ import annotations

import math
import random
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from .contest import Contest
from .game import near
from .tasks import Malformed, Task, TaskFamily

T = TypeVar("T")

EXCLUDED = {
    "composite": "it is made of other generators; name those, a game takes several tasks",
}
"""Generators that are not offered, and why."""
_NUMBERS = re.compile(r"[0-9,\s\[\]-]*")
_FORMULA = re.compile(r"[A-Za-z0-9\s+*/().^-]*")
_WORDS = set("exp log sin cos tan sqrt asin acos atan sinh cosh tanh sec csc cot pi".split())
_EXPONENT = r"(?:-?[0-9]{1,2}|\(-?[0-9]{1,2}(?:\s*/\s*[0-9]{1,2})?\)|[a-z])"
_POWER = re.compile(rf"(?:\*\*|\^)\s*{_EXPONENT}(?![\w.]|\s*(?:\*\*|\^))")
_PIECE = re.compile(rf"(?:\*\*|\^)\s*({_EXPONENT})|[()]")
_SCIENTIFIC = re.compile(r"[0-9.][eE][+-]?[0-9]")
MOST_HEIGHT = 200
"""Most that exponents inside one another come to, multiplied: `((9**99)**99)**99` has millions of digits."""
# The library hands these answers to Python's or sympy's evaluation, or takes any text for an answer; what does not
# look like an answer of theirs is wrong before it gets there.
_FENCED = {
    "string_insertion": re.compile(r"[A-E\s,'\"\[\]]*"),
    "spiral_matrix": _NUMBERS,
    "binary_matrix": _NUMBERS,
    "n_queens": re.compile(r"[Q_0-9,\s\[\]'\"]*"),
    "countdown": re.compile(r"(?!.*\*\s*\*)[0-9\s+*/()-]{0,200}", re.DOTALL),
    "puzzle24": re.compile(r"(?!.*\*\s*\*)[0-9\s+*/()-]{0,200}", re.DOTALL),
    "coin_flip": re.compile(r"[0-9./\s]{0,40}(?:e-[0-9]{1,2})?"),
    "game_of_life_halting": re.compile(r"(?i:true|false)"),
    "complex_arithmetic": re.compile(r"[0-9\s.+*()eEijIJ-]*"),
}
_FORMULAS = {"simple_integration", "intermediate_integration", "polynomial_multiplication"}
MOST_QUESTION = 14_000
"""Characters of a question; items with longer ones are drawn again."""
MOST_ANSWER = MOST_QUESTION
"""Characters of an answer that a verifier of the library is given."""
MOST_PROPOSAL = 2_000
"""Characters of a proposal."""
MOST_LINES = 5_000_000
"""Lines of Python that may run to make a proposed item, or to score an answer: three or four seconds, and hardly ever
any."""
_TRIES = 20
MOST_ITEMS = 1 << 31
"""Items have numbers below this: the library's seeds."""
Choice = tuple[tuple[str, int], ...]
"""Parameters of a generator's curriculum, each with its step."""
_ITEM = re.compile(r"[0-9]{1,10}")
_PARAMETER = re.compile(r"\s*(\w{1,60})\s+([0-9]{1,3})\s*")
_SPACES = {"\t": "    ", "\u2028": "\n", "\u2029": "\n"}


class ReasoningGym(TaskFamily):
    """The items of one generator. Level 0 has the library's defaults, level n the n-th step of its own curriculum."""

    sample = 8
    keeps_brackets = True
    most_prompt = MOST_QUESTION

    def __init__(self, name: str) -> None:
        """Take a generator by its name in the library. Raises ValueError, naming the near one, for one not offered."""
        if name in EXCLUDED:
            raise ValueError(f"reasoning_gym/{name} is not offered: {EXCLUDED[name]}")
        if name not in (known := generators()):
            raise ValueError(f"reasoning-gym has no generator {name!r}.{near(name, known)}")
        self.generator = name
        self.name = f"reasoning_gym/{name}"
        self.parameters = _parameters(name)
        self.levels = 1 + max(self.parameters.values(), default=0)

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        self.check_level(level)
        for _ in range(_TRIES):
            task = self._task(int(rng.integers(MOST_ITEMS)), level, self._choice(level))
            if task is not None:
                return task
        raise ValueError(
            f"{self.name} makes no item of level {level} below {MOST_QUESTION} characters; lower the level"
        )

    def _choice(self, level: int) -> Choice:
        """Return the step of each parameter at a level: its last one where it has no more; none at level 0."""
        return tuple((name, min(level, steps) - 1) for name, steps in self.parameters.items()) if level else ()

    def _task(self, seed: int, level: int, choice: Choice, *chosen: str) -> Task | None:
        """Return the task of a seed, or None where the library makes none, or one too long to be shown."""
        try:
            _, entry = _item(self.generator, choice, seed)
        except (AssertionError, ValueError):
            # Some curricula go further than their generators.
            return None
        question, answer = _printable(entry["question"]), entry["answer"]
        if len(question) > MOST_QUESTION:
            return None
        return Task(
            family=self.name,
            skill=self.generator,
            level=level,
            prompt=question,
            key="" if answer is None else _printable(str(answer)),
            data=(str(seed), *chosen),
            source="proposer" if chosen else "reasoning-gym",
        )

    def verify(self, task: Task, answer: str) -> float:
        if task.key and _words(answer) == _words(task.key):
            # A speech keeps no runs of spaces; columns count as well aligned.
            answer = task.key
        elif not harmless(self.generator, answer):
            return 0.0
        seed = int(task.data[0])
        dataset, entry = _item(self.generator, self._chosen(task), seed)

        def scored() -> float:
            with fenced(seed):
                return float(dataset.score_answer(answer, entry))

        try:
            score = bounded(scored, MOST_LINES)
        except (Exception, TooLong):  # noqa: BLE001
            # Some verifiers raise on an answer that they cannot read; it is wrong, and nothing else is.
            return 0.0
        return min(1.0, max(0.0, score)) if math.isfinite(score) else 0.0

    def solve(self, task: Task) -> str | None:
        return task.key or None

    def _chosen(self, task: Task) -> Choice:
        return self._read(task.data[1], task.level) if len(task.data) > 1 else self._choice(task.level)

    def propose(self, text: str, level: int) -> Task:
        self.check_level(level)
        if len(text) > MOST_PROPOSAL:
            raise Malformed(f"a proposal has at most {MOST_PROPOSAL} characters")
        parameters, _, item = text.rpartition("|")
        item = item.strip()
        if not _ITEM.fullmatch(item) or int(item) >= MOST_ITEMS:
            raise Malformed(f"an item has a number from 0 to {MOST_ITEMS - 1}")
        choice = self._read(parameters, level)
        try:
            task = bounded(lambda: self._task(int(item), level, choice, _written(choice)), MOST_LINES)
        except TooLong:
            raise Malformed("the library works at that for too long; choose lower steps") from None
        except Exception:  # noqa: BLE001
            # Whatever the library raises on steps that nobody has put together before, it makes no item of them.
            task = None
        if task is None:
            raise Malformed("the library makes no item of that")
        return task

    def _read(self, text: str, level: int) -> Choice:
        """Return the step of every parameter, 0 for those that a text does not name. Raises Malformed."""
        bounds, found = dict(self._choice(level)), {}
        for part in text.split(";") if text.strip() else ():
            match = _PARAMETER.fullmatch(part)
            if match is None or match[1] not in bounds:
                raise Malformed(f"name parameters with their steps: {', '.join(bounds) or 'there are none here'}")
            if match[1] in found or int(match[2]) > bounds[match[1]]:
                raise Malformed(f"{match[1]} has one step, from 0 to {bounds[match[1]]} here")
            found[match[1]] = int(match[2])
        return tuple((name, found.get(name, 0)) for name in bounds)

    def proposal(self, task: Task) -> str:
        chosen = _written(self._chosen(task))
        return f"{chosen} | {task.data[0]}" if chosen else task.data[0]

    def wording(self, task: Task) -> str:
        """Return nothing: proposals differ by a few numbers, which say not how alike the items are."""
        return ""

    def language(self, level: int) -> str:
        self.check_level(level)
        item = f"a number from 0 to {MOST_ITEMS - 1}, which draws one of the items of {self.generator}"
        if not (bounds := self._choice(level)):
            return f"Write {item}."
        named = ", ".join(f"{name} (0 to {most})" for name, most in bounds)
        shown = _written(bounds)
        return f"Write how hard each parameter is, higher is harder: {named}; a bar; and {item}. As in: {shown} | 17."


class ReasoningGymContest(Contest):
    """One generator's items as a contest, or, with `single`, as a task for one seat."""

    source = "Stojanovski et al. 2025, arXiv 2505.24760"

    def __init__(
        self,
        name: str,
        *,
        level: int | tuple[int, ...] = 0,
        single: bool = False,
        pays: str = "win",
        ties: str = "brevity",
        skin: str = "plain",
    ) -> None:
        """Take a generator by its name in the library; the rest is as in `Contest`."""
        super().__init__(task=ReasoningGym(name), level=level, single=single, pays=pays, ties=ties, skin=skin)

    @classmethod
    def names(cls) -> list[str]:
        """Return the generators that are offered."""
        return generators()


def generators() -> list[str]:
    """Return the names of the library's generators that are offered, sorted."""
    return sorted(set(_library().factory.DATASETS) - set(EXCLUDED))


def harmless(generator: str, answer: str) -> bool:
    """Return whether an answer may reach the library's verifier: it looks like one, and cannot run or run on.

    >>> harmless("countdown", "(3 + 4) * 7"), harmless("countdown", "9**9**9"), harmless("n_queens", "exit()")
    (True, False, False)
    """
    answer = answer.strip()
    if len(answer) > MOST_ANSWER:
        return False
    if generator in _FENCED:
        return _FENCED[generator].fullmatch(answer) is not None
    if generator not in _FORMULAS:
        return True
    words = re.findall(r"[A-Za-z]+", answer)
    powers = len(re.findall(r"\*\*|\^", answer))
    return (
        len(answer) <= 400
        and _FORMULA.fullmatch(answer) is not None
        and re.search(r"\.\s*[A-Za-z]", answer) is None
        and all(len(word) == 1 or word in _WORDS for word in words)
        and powers == len(_POWER.findall(answer))
        and _SCIENTIFIC.search(answer) is None
        and _height(answer) <= MOST_HEIGHT
    )


def _height(answer: str) -> int:
    """Return the most that exponents inside one another come to, multiplied.

    >>> _height("(x**2 + 1)**3 + y**4"), _height("x**(1/2)"), _height("x + 1")
    (6, 1, 1)
    """
    inside, base, end = [1], 1, 0
    for piece in _PIECE.finditer(answer):
        if piece[0] == "(":
            inside.append(1)
        elif piece[0] == ")":
            base, end = inside.pop() if len(inside) > 1 else 1, piece.end()
            inside[-1] = max(inside[-1], base)
        else:
            number = re.search(r"[0-9]+", piece[1])
            of = base if end and not answer[end : piece.start()].strip() else 1
            inside[-1] = max(inside[-1], of * int(number[0]) if number else 1)
    return max(inside)


@contextmanager
def fenced(seed: int) -> Iterator[None]:
    """Within it the global generators of Python and NumPy are seeded; afterwards they are what they were."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


class TooLong(BaseException):
    """Code ran for more lines than it may. No `Exception`, so that what runs cannot take it for an error of its own."""


def bounded(work: Callable[[], T], lines: int) -> T:
    """Return what `work` returns if it takes no more than so many lines of Python; else end it with TooLong.

    Each turn of a loop counts, one of a comprehension too; what C code does within a line does not.
    """
    left = lines

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise TooLong
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = work()
    finally:
        sys.settrace(before)
    if left < 0:
        # It was caught by a bare `except`, after which nothing is counted any more.
        raise TooLong
    return found


def _library() -> Any:
    import reasoning_gym  # pyright: ignore[reportMissingImports]
    import reasoning_gym.factory  # pyright: ignore[reportMissingImports]

    return reasoning_gym


def _parameters(name: str) -> dict[str, int]:
    """Return what a generator's curriculum has steps for, and how many."""
    library = _library()
    if not library.factory.has_curriculum(name):
        return {}
    return {key: len(a.levels) for key, a in library.factory.create_curriculum(name).attributes.items()}


def _written(choice: Choice) -> str:
    return "; ".join(f"{name} {step}" for name, step in choice)


@lru_cache(maxsize=1024)
def _item(name: str, choice: Choice, seed: int) -> tuple[Any, dict[str, Any]]:
    """Return the generator and its item of this seed; with no choice, of the library's defaults."""
    library = _library()
    with fenced(seed):
        if not choice:
            dataset = library.create_dataset(name, seed=seed, size=1)
        else:
            curriculum = library.factory.create_curriculum(name)
            for parameter, step in choice:
                curriculum.set_attr_level(parameter, step)
            config = curriculum.generate_configuration({"seed": seed, "size": 1})
            dataset = library.factory.DATASETS[name][0](config)
        return dataset, dataset[0]


def _words(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().split("\n")]


def _printable(text: str) -> str:
    """Return text without controls and marks of direction; tabs become spaces."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = (_SPACES.get(c, c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "") for c in text)
    return "".join(kept)
