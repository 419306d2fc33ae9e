"""Learning curves of players that are runs of scripts/train.py, from the metrics that such a run leaves.

Left out: what is bookkeeping or time, and lines that a kill cut short.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

from .tournament import Entrant

METRICS = "metrics.jsonl"
SKIPPED = frozenset({"update", "games", "seconds", "games_per_second"})
"""What is no measure of a policy."""

Curves = dict[str, list[list[float]]]
"""Points (games, value) by measure."""


def run_folder(spec: str) -> Path | None:
    """Return the run that a player's word names, by its folder or by the `model` in it; None where there is none."""
    path = Path(spec).expanduser()
    places = (path, path.parent) if path.name == "model" else (path,)
    return next((place for place in places if spec and (place / METRICS).is_file()), None)


def model_folder(spec: str) -> str:
    """Return the model of a run where the word names a run, and the word itself where not."""
    run = run_folder(spec)
    is_inside = run is not None and not (Path(spec).expanduser() / "config.json").is_file()
    return str(run / "model") if run is not None and is_inside else spec


def curves(entrants: Iterable[Entrant]) -> dict[str, Curves]:
    """Return the curves of every player that is a run, by name."""
    runs = {entrant.name: run_folder(entrant.spec) for entrant in entrants}
    return {name: read_curves(run / METRICS) for name, run in runs.items() if run is not None}


def read_curves(path: Path) -> Curves:
    """Return the measures of a metrics file over the games played; what is no finite number is left out."""
    found: Curves = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        record = _record(line)
        games = record.get("games")
        if not _is_number(games):
            continue
        for name, value in record.items():
            if name not in SKIPPED and _is_number(value):
                found.setdefault(name, []).append([games, value])
    return found


def _record(line: str) -> dict[str, float]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
