"""A small safe language of programs on lists and texts, and its interpreter.

Chosen: a program is a line of steps that pass one value on, with `repeat` and `when` as its only loops and choices;
length, depth, steps, size and magnitude are bounded, so every program ends quickly. Left out: names, functions, and
anything of Python's: no text is ever evaluated, compiled or run as a process.

A value is a list of whole numbers, written `3 -1 2` (empty: `nothing`), or a text of small letters, written `abc`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from .quotes import enclosed
from .tasks import Malformed

Value: TypeAlias = "tuple[int, ...] | str"
MOST_LENGTH = 200
"""Characters of a program."""
MOST_DEPTH = 4
MOST_STEPS = 200
"""Steps that are run, those of loops each time."""
MOST_SIZE = 64
"""Numbers of a list, letters of a text."""
MOST_NUMBER = 1_000_000
"""Largest size of a number in a list."""
NOTHING = "nothing"
_TOKEN = re.compile(r"\s*([a-z]+|-?[0-9]+|[();])")
_SMALL = re.compile(r"-?[0-9]{1,2}")
_LIST = re.compile(r"-?[0-9]{1,7}(?:[ ,]+-?[0-9]{1,7})*")
_TEXT = re.compile(r"[a-z]+")


class Failed(ValueError):
    """A program broke a limit or does not suit its input."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a word, its number where it takes one, its block where it has one."""

    word: str
    number: int | None = None
    block: tuple[Step, ...] = ()


Program: TypeAlias = tuple[Step, ...]
Rule: TypeAlias = Callable[[tuple[int, ...], int], "tuple[int, ...]"]
Edit: TypeAlias = Callable[[str, int], str]

# What each word does, to a list and to a text; both are given the number, 0 for words without one. No entry: it is for
# the other kind of value only.
LISTS: dict[str, Rule] = {
    "reverse": lambda v, n: v[::-1],
    "sort": lambda v, n: tuple(sorted(v)),
    "unique": lambda v, n: tuple(dict.fromkeys(v)),
    "double": lambda v, n: v + v,
    "take": lambda v, n: v[:n],
    "drop": lambda v, n: v[n:],
    "rotate": lambda v, n: _rotated(v, n),
    "add": lambda v, n: tuple(x + n for x in v),
    "times": lambda v, n: tuple(x * n for x in v),
    "above": lambda v, n: tuple(x for x in v if x > n),
    "evens": lambda v, n: tuple(x for x in v if x % 2 == 0),
    "sums": lambda v, n: tuple(accumulate(v)),
    "total": lambda v, n: (sum(v),),
    "count": lambda v, n: (len(v),),
}
TEXTS: dict[str, Edit] = {
    "reverse": lambda v, n: v[::-1],
    "sort": lambda v, n: "".join(sorted(v)),
    "unique": lambda v, n: "".join(dict.fromkeys(v)),
    "double": lambda v, n: v + v,
    "take": lambda v, n: v[:n],
    "drop": lambda v, n: v[n:],
    "rotate": lambda v, n: "".join(_rotated(tuple(v), n)),
    "shift": lambda v, n: "".join(chr((ord(c) - 97 + n) % 26 + 97) for c in v),
    "vowels": lambda v, n: "".join(c for c in v if c in "aeiou"),
    "repeated": lambda v, n: "".join(c for c in v if Counter(v)[c] > 1),
}
NUMBERED = {"take", "drop", "rotate", "add", "times", "above", "shift"}
SIGNED = {"add", "times", "above"}
"""Words whose number may be below 0."""
BLOCKS = {"repeat", "when"}
"""`repeat 3 (...)` runs its block 3 times; `when 3 (...)` runs it if the value is longer than 3."""
WORDS = tuple(dict.fromkeys([*LISTS, *TEXTS, *sorted(BLOCKS)]))
MANUAL = (
    "A program is steps set apart by semicolons; each changes the value that the one before left. On lists and texts: "
    "reverse; sort; unique (keep each the first time); double (twice in a row); take N (the first N); drop N; rotate N "
    "(the first N go to the end). On lists only: add N; times N; above N (keep what is above N); evens; sums (running "
    "sums); total; count. On texts only: shift N (letters move on by N, after z comes a); vowels (keep them); repeated "
    "(keep letters that occur more than once). repeat N (...) runs steps N times; when N (...) runs them if the value "
    f"is longer than N. A list is written 3 -1 2, a text abc, an empty one {NOTHING}."
)


def _rotated(value: tuple, by: int) -> tuple:  # type: ignore[type-arg]
    by = by % len(value) if value else 0
    return value[by:] + value[:by]


def parse_program(text: str) -> Program:
    """Return the program that a text is. Raises Malformed, saying why.

    >>> write_program(parse_program("repeat 2 (reverse;take 3) ; sort"))
    'repeat 2 (reverse; take 3); sort'
    """
    if len(text) > MOST_LENGTH:
        raise Malformed(f"a program has at most {MOST_LENGTH} characters")
    text = text.strip().casefold()
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise Malformed(f"no program has {enclosed(text[at:].strip()[:8])} in it")
        tokens.append(found[1])
        at = found.end()
    program, end = _steps([*tokens, ""], 0, 0)
    if end != len(tokens):
        raise Malformed(f"a program cannot go on with {tokens[end]!r}")
    return program


def _steps(tokens: list[str], at: int, depth: int) -> tuple[Program, int]:
    if depth > MOST_DEPTH:
        raise Malformed(f"a program is at most {MOST_DEPTH} blocks deep")
    found = []
    while True:
        step, at = _step(tokens, at, depth)
        found.append(step)
        if tokens[at] != ";":
            return tuple(found), at
        at += 1


def _step(tokens: list[str], at: int, depth: int) -> tuple[Step, int]:
    word = tokens[at]
    if word not in WORDS:
        raise Malformed(f"there is no step {word!r}" if word else "a step is missing")
    if word not in NUMBERED and word not in BLOCKS:
        return Step(word), at + 1
    number = tokens[at + 1]
    if not _SMALL.fullmatch(number) or (number[0] == "-" and word not in SIGNED):
        raise Malformed(f"{word} needs a number of one or two digits")
    if word in NUMBERED:
        return Step(word, int(number)), at + 2
    if tokens[at + 2] != "(":
        raise Malformed(f"{word} {number} needs steps in parentheses")
    block, at = _steps(tokens, at + 3, depth + 1)
    if tokens[at] != ")":
        raise Malformed("a parenthesis is not closed")
    return Step(word, int(number), block), at + 1


def write_program(program: Program) -> str:
    """Return the one way in which a program is written."""
    return "; ".join(map(_write_step, program))


def _write_step(step: Step) -> str:
    words = step.word if step.number is None else f"{step.word} {step.number}"
    return f"{words} ({write_program(step.block)})" if step.block else words


def run(program: Program, value: Value) -> Value:
    """Return what a program makes of a value. Raises Failed where it breaks a limit or does not suit the value.

    >>> run(parse_program("repeat 3 (double)"), (1,))
    (1, 1, 1, 1, 1, 1, 1, 1)
    """
    return _run(program, value, [MOST_STEPS])


def _run(program: Program, value: Value, left: list[int]) -> Value:
    for step in program:
        left[0] -= 1
        if left[0] < 0:
            raise Failed(f"it runs for more than {MOST_STEPS} steps")
        if step.word == "repeat":
            for _ in range(step.number or 0):
                value = _run(step.block, value, left)
        elif step.word == "when":
            value = _run(step.block, value, left) if len(value) > (step.number or 0) else value
        else:
            value = _applied(step, value)
    return value


def _applied(step: Step, value: Value) -> Value:
    n = step.number or 0
    if isinstance(value, str):
        if step.word not in TEXTS:
            raise Failed(f"{step.word} is for lists, not for texts")
        result: Value = TEXTS[step.word](value, n)
    else:
        if step.word not in LISTS:
            raise Failed(f"{step.word} is for texts, not for lists")
        result = LISTS[step.word](value, n)
    if len(result) > MOST_SIZE:
        raise Failed(f"a value grows longer than {MOST_SIZE}")
    if not isinstance(result, str) and any(abs(x) > MOST_NUMBER for x in result):
        raise Failed(f"a number grows larger than {MOST_NUMBER}")
    return result


def read_value(text: str, *, like: Value) -> Value:
    """Return the value that a text is, of the same kind as `like`. Raises Malformed.

    >>> read_value("3, -1 2", like=()), read_value("nothing", like="abc")
    ((3, -1, 2), '')
    """
    text = text.strip().removesuffix(".").casefold()
    if text == NOTHING:
        return "" if isinstance(like, str) else ()
    if len(text) > 9 * MOST_SIZE:
        raise Malformed("that is too long for a value")
    if isinstance(like, str):
        if not _TEXT.fullmatch(text) or len(text) > MOST_SIZE:
            raise Malformed(f"a text is 1 to {MOST_SIZE} letters from a to z, or {NOTHING}")
        return text
    if not _LIST.fullmatch(text):
        raise Malformed(f"a list is whole numbers with spaces between them, or {NOTHING}")
    found = tuple(map(int, re.split(r"[ ,]+", text)))
    if len(found) > MOST_SIZE or any(abs(x) > MOST_NUMBER for x in found):
        raise Malformed(f"a list has at most {MOST_SIZE} numbers, none larger than {MOST_NUMBER}")
    return found


def kind_of(text: str) -> Value:
    """Return an empty value of the kind that a text looks like."""
    return "" if re.search(r"[a-z]", text.casefold()) and text.strip().casefold() != NOTHING else ()


def write_value(value: Value) -> str:
    """Return the one way in which a value is written."""
    return (value if isinstance(value, str) else " ".join(map(str, value))) or NOTHING
