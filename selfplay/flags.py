"""How scripts read their settings: the defaults, then a file, then flags, as TRL's scripts do.

Chosen: what cannot be is refused in a line, with the near name, and whatever may be left out may be set to none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from trl import TrlParser

from sparring.envs import near

from .settings import check_file

Kind = TypeVar("Kind")


def read_flags(of: type[Kind], arguments: Sequence[str], *, about: str) -> Kind:
    """Return settings of the dataclass `of`, as flags and the file after `--config` say.

    Raises ValueError for what cannot be, with the near name for one that is misspelt.
    """
    # TrlParser takes the file's name as a word of its own only.
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    if words[-1:] == ["--config"]:
        raise ValueError("--config needs the name of a YAML file")
    if "--config" in words:
        check_file(Path(words[words.index("--config") + 1]), of=of)
    settings: Kind
    settings, unknown = _Parser(of, about).parse_args_and_config(words, return_remaining_strings=True)
    for word in unknown:
        if word.startswith("--"):
            names = [f.name for f in fields(of)]  # type: ignore[arg-type]
            raise ValueError(f"unknown flag {word}.{near(word.lstrip('-').split('=')[0], names)}")
        raise ValueError(f"{word!r} belongs to no flag")
    return settings


class _Parser(TrlParser):  # type: ignore[misc]
    """Reads settings as TRL's parser does, and refuses in a line, without all the flags before it."""

    def __init__(self, of: type[Any], about: str) -> None:
        about = f"{about} --config FILE.yaml reads settings from a file; flags override it."
        # Not the types of `fields`, which a parser replaces by classes.
        kinds = {name: kind.removesuffix(" | None") for name, kind in of.__annotations__.items() if " | None" in kind}
        super().__init__([of], description=about, allow_abbrev=False)
        for action in self._actions:
            if action.dest in kinds:
                action.type = _or_none(*READS[kinds[action.dest]])

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def _truth(word: str) -> bool:
    if (said := word.casefold()) not in (*TRUE, *FALSE):
        raise ValueError(word)
    return said in TRUE


TRUE, FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
READS: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (_truth, "true, false"),
    "str": (str, "a word"),
}
"""How a kind of setting is read, and what it is in words."""


def _or_none(read: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    def parse(word: str) -> Any:
        if word.casefold() in ("none", "null"):
            return None
        try:
            return read(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{what} or none, not {word!r}") from None

    return parse
