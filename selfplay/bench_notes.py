"""What must be said beside the tables of a benchmark, so that nobody reads more into them than there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparring.agents import OptimalAgent
from sparring.envs import Game

from .findings import solved
from .match_log import header_digest
from .standings import Record

BRIEF = "The report was cut short: exact figures, regret and transcripts are left out. --report LOG makes all of it."


def anchor_note(anchor: str | None, table: Mapping[str, Any]) -> list[str]:
    """Return that the ratings are not about the anchor, where they are not."""
    if anchor is None or table["anchor"] == anchor:
        return []
    return [f"{anchor}, who would be at 0, has played no game that counts: the mean of the ratings is at 0."]


def optimal_note(agents: Mapping[str, Any], games: Mapping[str, Game[Any]]) -> list[str]:
    """Return in which games perfect play could have been shown beside the others, where nobody entered it."""
    if any(about.get("kind") == OptimalAgent.__name__ for about in agents.values()):
        return []
    found = solved(games)
    return [f"The optimal player, which --agents optimal enters, could play {', '.join(found)}."] if found else []


def versions_of(headers: Sequence[Mapping[str, Any]], records: Iterable[Record]) -> dict[str, list[str]]:
    """Return the versions that some records were played with, by package: those of the headers that they name."""
    named = {record.get("header") for record in records}
    used = [header for header in headers if header_digest(header) in named] or headers
    found: dict[str, list[str]] = {}
    for name, number in (item for header in used for item in header.get("versions", {}).items()):
        if number not in found.setdefault(name, []):
            found[name].append(number)
    return {name: sorted(numbers) for name, numbers in found.items()}


def version_notes(played_with: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what was not the same for all games, so that what looks like strength may be another version."""
    differing = [f"{name} {' and '.join(numbers)}" for name, numbers in played_with.items() if len(numbers) > 1]
    return [f"Not all games were played with the same versions: {', '.join(differing)}."] if differing else []


def judge_notes(judges: Mapping[str, Any]) -> list[str]:
    """Return who judged which games."""
    games: dict[str, list[str]] = {}
    for label, about in judges.items():
        games.setdefault(about["judge"]["name"], []).append(label)
    return [f"Judge of {', '.join(labels)}: {name}." for name, labels in games.items()]
