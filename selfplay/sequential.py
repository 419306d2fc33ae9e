"""A sequential test over the pairs of a tournament: as it is played, and made again from logs.

Chosen: pairs count in the order of the plan, up to the one that decides or the first that is missing. Those that were
over behind it are in the log because their games were short, so that they say less than they seem to. Left out: several
tests of one log; its last one counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from .labels import plain_label
from .match_log import is_void, merge
from .sprt import Sprt
from .standings import Record, score_of
from .tournament import PairKey

Headers = Sequence[Mapping[str, Any]]


class Told(NamedTuple):
    """A sequential test that the header of a log speaks of."""

    names: tuple[str, str]
    bounds: tuple[float, float]
    records: list[Record]
    """The pairs of its plan that the log has, up to the first that is missing, in order."""
    planned: set[PairKey]
    """All pairs of its plan that the log has."""


def about_terms(names: Sequence[str], bounds: Sequence[float], *, seed: int, pairs: int) -> dict[str, Any]:
    """Return what a header says of a test, so that it can be made again."""
    return {"agents": list(names), "bounds": list(bounds), "seed": seed, "pairs": pairs}


def about_test(test: Sprt, names: Sequence[str]) -> dict[str, Any]:
    """Return where a test stands."""
    limits = {"bounds": [test.low, test.high], "limits": list(test.bounds)}
    return {"a": names[0], "b": names[1], "llr": test.llr, "pairs": test.pairs, "decision": test.decision, **limits}


def judged(test: Sprt | None, names: Sequence[str], records: Iterable[Record]) -> Iterator[Record]:
    """Yield pairs until a test of the second player, if there is a test, has decided; void pairs say nothing to it."""
    for record in records:
        yield record
        if test is None or is_void(record):
            continue
        test.add(*(score_of(g) if g["players"][0] == names[1] else 1 - score_of(g) for g in record["games"]))
        if test.decision is not None:
            return


def in_order(
    records: Mapping[PairKey, Record], names: Sequence[str], labels: Sequence[str], seeds: Iterable[int]
) -> Iterator[Record]:
    """Yield the pairs of two players as they were planned, those of each seed up to the first that is missing."""
    one, other = sorted(names)
    for seed in seeds:
        for number in count():
            keys = [PairKey(seed, label, one, other, number) for label in labels]
            # Whatever stands behind a gap was over before its turn.
            known = next((i for i, key in enumerate(keys) if key not in records), len(keys))
            yield from (records[key] for key in keys[:known])
            if known < len(keys) or not keys:
                break


def told_test(headers: Headers, records: Mapping[PairKey, Record]) -> Told | None:
    """Return the test that the last run of a log has made, if it made one."""
    about = headers[-1].get("sprt") if headers else None
    if about is None:
        return None
    (a, b), cannot = about["agents"], headers[-1].get("unable", {})
    labels = [label for label in headers[-1]["games"] if not any(label in cannot.get(name, {}) for name in (a, b))]
    low, high = sorted((a, b))
    planned = {
        key
        for key in records
        if (key.seed, key.one, key.other) == (about["seed"], low, high)
        and key.game in labels
        and key.number < about["pairs"]
    }
    found = list(in_order({key: records[key] for key in planned}, (a, b), labels, [about["seed"]]))
    return Told((a, b), tuple(about["bounds"]), found, planned)


def read_tests(paths: Iterable[str | Path]) -> tuple[list[Told | None], set[PairKey]]:
    """Return the test of each log, and the pairs that no log counts, because they are behind what decided its test."""
    told: list[Told | None] = []
    counted: set[PairKey] = set()
    behind: set[PairKey] = set()
    for path in dict.fromkeys(paths):
        headers, records = merge([path])
        found = told_test(headers, records)
        told.append(found)
        after = set() if found is None else found.planned - counted_of(found)
        behind |= after
        counted |= records.keys() - after
    return told, behind - counted


def counted_of(told: Told) -> set[PairKey]:
    """Return the pairs up to the one that decided a test."""
    return {PairKey(*record["pair"]) for record in judged(Sprt(*told.bounds), told.names, told.records)}


def common_test(told: Sequence[Told | None]) -> dict[str, Any] | None:
    """Return where a test stands after the pairs of several logs, if all of them are of that test."""
    first = told[0] if told else None
    if first is None or any(found is None or found[:2] != first[:2] for found in told):
        return None
    records = {PairKey(*record["pair"]): record for found in told if found is not None for record in found.records}
    test = Sprt(*first.bounds)
    for _ in judged(test, first.names, records.values()):
        pass
    return about_test(test, first.names)


def check_wordings(labels: Collection[str]) -> None:
    """Raise ValueError where a game is to be tested in two wordings."""
    if len({plain_label(label) for label in labels}) < len(labels):
        raise ValueError("--sprt takes one skin: a deal in two wordings is one experiment, and would count as two")


def sprt_again(
    test: Sprt, names: Sequence[str], headers: Headers, records: Mapping[PairKey, Record]
) -> tuple[dict[str, Any], set[PairKey]]:
    """Return where a test of two players stands after their games of some logs, and the pairs behind what decided it.

    Raises ValueError for other than two players, two wordings of one game, and players who did not meet.
    """
    if len(names) != 2:
        known = ", ".join(names)
        raise ValueError(f"--sprt asks whether the second of two agents is better; give --agents A B, not {known}")
    mine = {key for key in records if sorted(names) == [key.one, key.other]}
    order = list(dict.fromkeys(label for header in headers for label in header.get("games", {})))
    labels = sorted({key.game for key in mine}, key=order.index)
    check_wordings(labels)
    if not mine:
        raise ValueError(f"--sprt: these logs have no game of {names[0]} against {names[1]}")
    ordered = in_order(records, names, labels, sorted({key.seed for key in mine}))
    counted = {PairKey(*record["pair"]) for record in judged(test, names, ordered)}
    return about_test(test, names), mine - counted
