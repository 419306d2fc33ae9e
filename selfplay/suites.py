"""Standing suites: fixed games, wordings, seeds and opponents, so that two people's numbers compare.

A suite never changes: what is better goes into the next version. Its manifest, and the rules of its games as this
version words them, are hashed into every report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sparring.envs import near

from .bench import about_game
from .tournament import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is played, by whom and how often."""

    name: str
    games: tuple[str, ...]
    """As `bench.enter_game` takes them."""
    skins: tuple[str, ...]
    opponents: tuple[str, ...]
    """Players that every report has."""
    pairs: int
    """Pairs of games of every two players in every game and skin."""
    seed: int
    retries: int
    show_legal: bool
    anchor: str
    """Whose rating is 0."""


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name="sparring-suite-v1",
            games=("KuhnPoker-v0", "LeducPoker-v0", "LiarsDice-v0", "TicTacToe-v0", "Nim-v0", "Goofspiel-v0"),
            skins=("plain", "obfuscated"),
            opponents=("random", "heuristic", "optimal"),
            pairs=100,
            seed=20_261_125,
            retries=0,
            show_legal=True,
            anchor="random",
        ),
    )
}
"""By name."""


def find_suite(name: str) -> Suite:
    """Return a suite. Raises ValueError, naming the near one, if there is none."""
    if name not in SUITES:
        raise ValueError(f"unknown suite {name!r}.{near(name, SUITES)}")
    return SUITES[name]


def manifest_hash(suite: Suite, entries: Iterable[Entry]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the suite and its games' rules."""
    games: dict[str, Any] = {e.label: about_game(e.game) for e in entries if e.game is not None}
    text = json.dumps({"suite": asdict(suite), "games": games}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
