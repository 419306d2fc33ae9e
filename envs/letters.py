"""Letters: write a text again, backwards or in order. The smallest tasks there are, for the smallest models.

Chosen: the level is the length, and levels 0 to 2 use few letters so that a tiny model meets every text. Left out:
capitals and words, which would be about spelling.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import product
from typing import ClassVar

import numpy as np

from .tasks import Malformed, Task, TaskFamily

LEVELS = ((2, "abcd"), (3, "abcd"), (4, "abcdefgh"), (6, "a-z"), (8, "a-z"), (12, "a-z"), (16, "a-z"), (24, "a-z"))
"""Letters of a text and which they are, by level."""
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
MOST_ANSWERS = 64
"""Where there are no more texts than these, answers are listed."""


class Letters(TaskFamily):
    """Write some letters, set apart by spaces, after one change."""

    levels = len(LEVELS)
    asks: ClassVar[str]

    @abstractmethod
    def changed(self, letters: str) -> str:
        """Return the letters as the answer has them."""

    def draw(self, rng: np.random.Generator, level: int) -> Task:
        self.check_level(level)
        length, among = _level(level)
        return self._task("".join(among[i] for i in rng.integers(len(among), size=length)), level)

    def tasks(self, level: int) -> Iterator[tuple[Task, float]]:
        self.check_level(level)
        length, among = _level(level)
        count = len(among) ** length
        if count > MOST_ANSWERS:
            raise NotImplementedError(f"{self.name} lists its tasks of levels 0 and 1 only, not of level {level}")
        for letters in product(among, repeat=length):
            yield self._task("".join(letters), level), 1 / count

    def _task(self, letters: str, level: int, source: str = "family") -> Task:
        return Task(
            family=self.name,
            skill=self.name,
            level=level,
            prompt=f"{self.asks} {' '.join(letters)}\nAnswer with the letters alone, spaces between them.",
            key=" ".join(self.changed(letters)),
            data=(letters,),
            source=source,
        )

    def verify(self, task: Task, answer: str) -> float:
        # Spaces carry nothing here: "a b" and "ab" are the same letters.
        return float(self.readable(task, answer) and _letters(answer) == self.changed(task.data[0]))

    def readable(self, task: Task, answer: str) -> bool:
        letters = _letters(answer)
        return len(answer) <= 200 and letters.isascii() and letters.isalpha()

    def answers(self, task: Task) -> tuple[str, ...] | None:
        length, among = _level(task.level)
        if len(task.data[0]) != length or len(among) ** length > MOST_ANSWERS:
            return None
        return tuple(" ".join(letters) for letters in product(among, repeat=length))

    def signature(self, task: Task) -> str:
        return f"{self.name}:{task.data[0]}"

    def propose(self, text: str, level: int) -> Task:
        self.check_level(level)
        length, among = _level(level)
        letters = text.casefold().replace(" ", "")
        if not 1 <= len(letters) <= length or not set(letters) <= set(among):
            raise Malformed(f"write 1 to {length} of the letters {among[0]} to {among[-1]}")
        return self._task(letters, level, "proposer")

    def proposal(self, task: Task) -> str:
        return " ".join(task.data[0])

    def language(self, level: int) -> str:
        self.check_level(level)
        length, among = _level(level)
        return f"Write 1 to {length} of the letters {among[0]} to {among[-1]}, spaces between them."


class Copy(Letters):
    """Write letters again."""

    name = "copy"
    asks = "Write again:"

    def changed(self, letters: str) -> str:
        return letters


class Reverse(Letters):
    """Write letters backwards."""

    name = "reverse"
    asks = "Write backwards:"

    def changed(self, letters: str) -> str:
        return letters[::-1]


class Sort(Letters):
    """Write letters in the order of the alphabet."""

    name = "sort"
    asks = "Write in the order of the alphabet:"

    def changed(self, letters: str) -> str:
        return "".join(sorted(letters))


def _level(level: int) -> tuple[int, str]:
    length, among = LEVELS[level]
    return length, ALPHABET if among == "a-z" else among


def _letters(answer: str) -> str:
    return answer[:400].strip().removesuffix(".").replace(" ", "").casefold()
