"""Standing suites: fixed games, wordings, seeds and opponents, so that two people's numbers compare.

A suite never changes: what is better goes into the next version. Hashed into every report are its manifest, the rules
of its games as this version words them, and some games of its opponents, so that a change of any prompt, of what is
paid, or of how an opponent plays is a change of the hash.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from sparring.envs import near

from .bench import about_game, enter, enter_games, header
from .match_log import LogError, called, check_same, is_void, pair_record
from .standings import Record
from .tournament import Entry, PairKey, plan, tournament

DEALS = 3
"""Deals of every game whose playthroughs are hashed."""


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


def suite_entries(suite: Suite) -> list[Entry]:
    """Return the games of a suite in its skins."""
    return enter_games(suite.games, suite.skins, show_legal=suite.show_legal)


def manifest_hash(suite: Suite, played: Sequence[Record] | None = None) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the suite, its games' rules and some games played.

    `played` is what `playthrough` yields, if that is known.
    """
    entries = suite_entries(suite)
    games = {e.label: about_game(e.game) for e in entries if e.game is not None}
    said = {"suite": asdict(suite), "games": games, "played": list(playthrough(suite) if played is None else played)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def playthrough(suite: Suite) -> Iterator[dict[str, Any]]:
    """Yield what the opponents say to each other, and get, at the first deals of every game and skin."""
    opponents, entries = [enter(name) for name in suite.opponents], suite_entries(suite)
    keys = plan(opponents, entries, pairs=DEALS, seed=suite.seed)
    for played in tournament(opponents, entries, keys, retries=suite.retries):
        yield _gist(pair_record(played))


def _gist(record: Record) -> dict[str, Any]:
    """Return of a recorded pair what its players say to each other, and get."""
    turns = [[(t["seat"], t["prompt"], t["reply"]) for t in game["turns"]] for game in record["games"]]
    ends = [(game["ending"], [round(reward, 9) for reward in game["rewards"]]) for game in record["games"]]
    return {"pair": record["pair"], "turns": turns, "ends": ends}


def hash_or_lack(suite: Suite, headers: Sequence[Mapping[str, Any]], records: Iterable[Record]) -> tuple[str, str]:
    """Return the hash if some recorded pairs are the suite, as its opponents play it here, and else what they lack."""
    records = list(records)
    if lacks := lack(suite, headers, records):
        return "", lacks
    played = list(playthrough(suite))
    if odd := _otherwise(records, played):
        return "", f"but this is not the suite: {odd}"
    return manifest_hash(suite, played), ""


def _otherwise(records: Iterable[Record], played: Iterable[Record]) -> str:
    """Return the first recorded pair of the suite's opponents that they play otherwise here."""
    known = {PairKey(*record["pair"]): _gist(record) for record in records if not is_void(record)}
    for here in played:
        key = PairKey(*here["pair"])
        then = known.get(key, here)
        if then["turns"] != here["turns"]:
            return f"{called(key)} is not what its opponents play here, {_where(then['turns'], here['turns'])}"
        if then["ends"] != here["ends"]:
            return f"{called(key)} did not end as it does here"
    return ""


def _where(then: Sequence[Sequence[Any]], here: Sequence[Sequence[Any]]) -> str:
    """Return the first turn at which the two games of a pair differ, and in what."""
    for game, both in enumerate(zip(then, here, strict=True), 1):
        for number, (old, new) in enumerate(zip_longest(*both, fillvalue=(None, None, None))):
            if old != new:
                what = "the reply" if old[:2] == new[:2] else "the prompt"
                return f"from turn {number} of game {game} on, by {what}"
    return ""


def lack(suite: Suite, headers: Sequence[Mapping[str, Any]], records: Iterable[Record]) -> str:
    """Return what keeps some recorded pairs from being the suite; "" if they are all of it and nothing else.

    Whether the opponents played as they do here is not looked at, for that they must play; see `hash_or_lack`.

    Pairs with a void game are not counted: they are to be played again.
    """
    records = list(records)
    if odd := _odd(suite, records) or _other(suite, headers):
        return f"but this is not the suite: {odd}"
    keys = {PairKey(*record["pair"]) for record in records if not is_void(record)}
    players = {*suite.opponents, *(name for record in records for name in record["pair"][2:4])}
    wanted = suite.pairs * len(suite_entries(suite)) * math.comb(len(players), 2)
    return "" if len(keys) == wanted else f"incomplete: {len(keys):,} of {wanted:,} pairs"


def _odd(suite: Suite, records: Iterable[Record]) -> str:
    """Return what was played otherwise than the suite says."""
    labels = {entry.label for entry in suite_entries(suite)}
    for record in records:
        key = PairKey(*record["pair"])
        if key.game not in labels:
            return f"it has no {key.game}"
        if (key.seed, record["retries"]) != (suite.seed, suite.retries):
            return f"it has seed {suite.seed} and retries {suite.retries}, not {key.seed} and {record['retries']}"
        if key.number >= suite.pairs:
            return f"it has {suite.pairs} pairs of every two players in a game, not more"
    return ""


def _other(suite: Suite, headers: Sequence[Mapping[str, Any]]) -> str:
    """Return which game or opponent is not the suite's, though it bears the name."""
    try:
        ours = header(map(enter, suite.opponents), suite_entries(suite), retries=suite.retries)
        check_same([ours, *headers], "the log")
    except LogError as error:
        return str(error)
    return ""
