"""Questions to debate: our own, about isles that do not exist, and a user's from a JSON-lines file.

Chosen: one JSON object a line, checked as it is read, errors that name line and field. Left out: more than two answers.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from .game import near
from .quotes import plain_signs

OWN = "orrel"
"""Short passages about the isles of Orrel, which were made up for this package: nobody can know the answers."""
MAX_PASSAGE, MAX_LINE = 20_000, 500
"""Characters of a passage, and of a question or an answer."""


class Question(NamedTuple):
    """A question with a right and a wrong answer, and the passage that tells; empty where there is none."""

    question: str
    right: str
    wrong: str
    passage: str = ""


def load_questions(source: str) -> tuple[Question, ...]:
    """Return our own questions, by their name, or those of a JSON-lines file.

    Raises ValueError for what is not there and for a line that is no question, naming the line and the field.
    """
    if source == OWN:
        return _own()
    path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(f"no questions {source!r}: neither {OWN!r} nor a file of JSON lines")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 text: {error}") from error
    return read_questions(text, source)


@lru_cache(maxsize=1)
def _own() -> tuple[Question, ...]:
    return read_questions((files(__package__) / "data" / f"{OWN}.jsonl").read_text(encoding="utf-8"), OWN)


def read_questions(text: str, source: str) -> tuple[Question, ...]:
    """Return the questions of JSON lines; `source` is what errors call them. Empty lines are left out."""
    lines = enumerate(text.split("\n"), 1)
    found = tuple(_question(line, f"{source}, line {number}") for number, line in lines if line.strip())
    if not found:
        raise ValueError(f"{source} holds no question; write one JSON object a line")
    return found


def _question(line: str, where: str) -> Question:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: {type(fields).__name__} instead of an object with {', '.join(Question._fields)}")
    for name in fields:
        if name not in Question._fields:
            raise ValueError(f"{where}: unknown field {name!r}.{near(name, Question._fields)}")
    found = Question(*(_text(fields, name, where) for name in Question._fields))
    if found.right.casefold() == found.wrong.casefold():
        raise ValueError(f"{where}: the fields 'right' and 'wrong' say the same")
    return found


def _text(fields: dict[str, Any], name: str, where: str) -> str:
    """Return a field on one line, in which nothing looks like a mark of the referee."""
    given = fields.get(name, "" if name == "passage" else None)
    if not isinstance(given, str):
        problem = "is missing" if given is None else f"is {type(given).__name__}, not text"
        raise ValueError(f"{where}: the field {name!r} {problem}")
    text = plain_signs("".join(c for c in given if c.isprintable() or c.isspace()))
    text = text.replace("[", "(").replace("]", ")")
    if not text and name != "passage":
        raise ValueError(f"{where}: the field {name!r} is empty")
    longest = MAX_PASSAGE if name == "passage" else MAX_LINE
    if len(text) > longest:
        raise ValueError(f"{where}: the field {name!r} has {len(text)} characters; {longest} at most")
    return text
