"""Lists of words: our own, one of a file, or one given in a setting.

Chosen: a line is a word, or "topic: words", so that examples of speech can be about something. Left out: dictionaries
that have to be downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .game import near

FOLDER = Path(__file__).parent / "data"
MOST_LETTERS = 24
"""Of a word in a list."""


@dataclass(frozen=True, slots=True)
class WordList:
    """Words, and what they are about."""

    words: tuple[str, ...]
    """Each once, in the order of the list."""
    topics: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Topics with their words; a word may have several or none."""

    def about(self, word: str) -> tuple[str, ...]:
        """Return the topics of a word."""
        return tuple(topic for topic, words in self.topics if word in words)

    def mentioned(self, speech: str) -> tuple[str, ...]:
        """Return the words of the topic that a speech names last; none if it names none."""
        found = [(speech.rfind(topic), words) for topic, words in self.topics]
        place, words = max(found, default=(-1, ()), key=lambda pair: pair[0])
        return words if place >= 0 else ()


def word_list(words: str | tuple[str, ...], *, least: int = 2) -> WordList:
    """Return a list of words.

    Args:
        words: the name of a list of ours ("nouns", "few", "chain"), the path of a text file with a word, or
            "topic: word word ...", a line (# begins a comment), or the words themselves.
        least: fewest words that it may have.

    Raises ValueError where there is no such list, or something in it is no word.
    """
    if isinstance(words, str):
        found = shipped(words) if words in names() else _read(_file(words))
    else:
        found = WordList(tuple(dict.fromkeys(_checked(word, "words") for word in words)))
    if len(found.words) < least:
        raise ValueError(f"words must hold at least {least} words, not {len(found.words)}")
    return found


@cache
def names() -> tuple[str, ...]:
    """Return the names of our own lists."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.txt")))


@cache
def shipped(name: str) -> WordList:
    """Return a list of ours."""
    return _read(FOLDER / f"{name}.txt")


def _file(path: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"words: there is no list and no file {path!r}.{near(path, names())}")
    return file


def _read(file: Path) -> WordList:
    return _parsed(file.read_text(encoding="utf-8"), file.name)


def _parsed(text: str, source: str) -> WordList:
    words: dict[str, None] = {}
    topics: dict[str, dict[str, None]] = {}
    for line in text.splitlines():
        topic, colon, rest = line.partition("#")[0].rpartition(":")
        found = dict.fromkeys(_checked(word, source) for word in rest.split())
        words |= found
        if colon and found:
            topics.setdefault(" ".join(topic.split()), {}).update(found)
    return WordList(tuple(words), tuple((topic, tuple(about)) for topic, about in topics.items()))


def _checked(word: object, source: str) -> str:
    if not (isinstance(word, str) and word.isascii() and word.isalpha() and 2 <= len(word) <= MOST_LETTERS):
        raise ValueError(f"{source}: {word!r} is no word of 2 to {MOST_LETTERS} plain letters, without spaces")
    return word.lower()
