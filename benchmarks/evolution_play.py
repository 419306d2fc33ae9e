"""What Self-Play is worth, from the stores of the benchmarks that train by it, beside their controls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
Record = dict[str, Any]
LEARNING = {
    "rae+kl": "itself, PPO with RAE",
    "rae": "the same, no anchor (no KL)",
    "critic": "itself, PPO with a critic",
    "rebel": "itself, REBEL",
    "long": "itself, REBEL, a long run",
}


def rows() -> Iterator[tuple[str, str, list[float], list[float], list[float], int]]:
    """Yield game, opponent, NashConv before and after by seed, the judge's accuracy where there is one, and games."""
    kuhn, learned, debates = (_read(name) for name in ("kuhn", "learning", "debate_learning"))
    for opponent, told in (("self", "itself, the README's run"), ("random", "a fixed one: random play")):
        runs = [r for r in kuhn if r["opponent"] == opponent]
        yield "Kuhn poker", told, *_ends(runs, "nashconv_start"), [], runs[0]["games"]
    for game, name in (("KuhnPoker-v0", "Kuhn poker"), ("LeducPoker-v0", "Leduc poker")):
        for arm, told in LEARNING.items():
            runs = [r for r in learned if (r["settings"]["game"], r["arm"]) == (game, arm)]
            if runs:
                starts = [r["curve"][0][2] for r in runs]
                yield name, told, starts, [r["nashconv"] for r in runs], [], runs[0]["games"]
    for protocol, told in (("debate", "itself"), ("consultancy", "none: one side speaks (consultancy)")):
        runs = [r for r in debates if r["protocol"] == protocol]
        accuracy = [r["accuracy"] for r in runs]
        yield "Sparse debate", told, *_ends(runs, "nashconv_start"), accuracy, runs[0]["games"]


def self_play(said: Callable[[Sequence[float]], str]) -> list[str]:
    """Return the section as Markdown."""
    lines = [
        "## Self-Play",
        "",
        "To be shown: exact NashConv falls, and the judge of an exact debate is right more often than without it.",
        "From the stores of `kuhn.py`, `learning.py` and `debate_learning.py` beside this file, which have the curves.",
        "",
        "| game | opponent | seeds | NashConv, start | end | judge is right, end | games |",
        "|---" * 7 + "|",
    ]
    for game, opponent, before, after, accuracy, games in rows():
        judged = said(accuracy) if accuracy else ""
        lines.append(f"| {game} | {opponent} | {len(after)} | {said(before)} | {said(after)} | {judged} | {games:,} |")
    return lines


def _ends(runs: Sequence[Record], before: str) -> tuple[list[float], list[float]]:
    return [r[before] for r in runs], [r["nashconv"] for r in runs]


def _read(name: str) -> list[Record]:
    found: list[Record] = json.loads((RESULTS / f"{name}.json").read_text())
    return found
