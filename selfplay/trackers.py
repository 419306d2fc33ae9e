"""Trackers of experiments, through accelerate: wandb, tensorboard, trackio, or none.

Chosen: one flag and no code of ours for any of them, but for transcripts, which go into a wandb table.
"""

from __future__ import annotations

import importlib.util
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .episode import Episode
from .launch import without_engines
from .runs import write_whole

REMEDIES = {
    "wandb": "pip install wandb",
    "tensorboard": "pip install 'sparring[tensorboard]'",
    "trackio": "pip install 'sparring[trackio]'",
}
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables by which trackio sends what it would otherwise keep on this machine."""
COLUMNS = ["update", "game", "players", "seat", "prompt", "reply", "move", "problem", "rewards", "ending"]


def check_tracker(kind: str) -> None:
    """Raise ImportError where the tracker's package lacks, ValueError where it would send a run away unasked."""
    if kind != "none" and importlib.util.find_spec(kind) is None:
        raise ImportError(f"--tracker {kind} needs its package: {REMEDIES[kind]}")
    for name in ELSEWHERE if kind == "trackio" else ():
        if os.environ.get(name):
            raise ValueError(f"trackio would send this run to {name}={os.environ[name]}; unset it, and sync it later")


class Tracker:
    """Sends measures of a run to a tracker; of kind "none" it does nothing."""

    def __init__(self, kind: str, *, project: str, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        """Start tracking, or go on with what was started in `folder` before. Raises as `check_tracker` does."""
        self.kind = kind
        self._accelerator: Any = None
        if kind == "none":
            return
        check_tracker(kind)
        from accelerate import Accelerator

        with without_engines():
            self._accelerator = Accelerator(log_with=kind, project_dir=str(folder / "tracker"))
        (folder / "tracker").mkdir(exist_ok=True)
        self._accelerator.init_trackers(project, _flat(config), {kind: _start(kind, name, folder)})

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Send measures of one update."""
        if self._accelerator is not None:
            self._accelerator.log(dict(metrics), step=step)

    def transcripts(self, episodes: Iterable[Episode], update: int) -> None:
        """Send games as a table, to wandb only: the others have none."""
        if self.kind != "wandb":
            return
        rows = [_row(episode, turn, update) for episode in map(Episode.record, episodes) for turn in episode["turns"]]
        self._accelerator.get_tracker("wandb").log_table("transcripts", columns=COLUMNS, data=rows, step=update)

    def close(self) -> None:
        """Finish tracking."""
        if self._accelerator is not None:
            # Not `end_training`, which would also part this process from others that still wait for it.
            for tracker in self._accelerator.trackers:
                tracker.finish()


def _row(game: Mapping[str, Any], turn: Mapping[str, Any], update: int) -> list[Any]:
    # wandb writes UTF-8, which has no lone surrogates.
    text = {key: str(turn[key]).encode("utf-8", "replace").decode() for key in ("prompt", "reply", "move", "problem")}
    names, rewards = " - ".join(game["players"]), " ".join(f"{r:g}" for r in game["rewards"])
    return [update, game["game"], names, turn["seat"], *text.values(), rewards, game["ending"]]


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as all trackers take them: no lists, no None."""
    return {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in config.items()}


def _start(kind: str, name: str, folder: Path) -> dict[str, Any]:
    """Return how a tracker is started: a run of its own, which a resumed run finds again."""
    if kind == "tensorboard":
        return {}
    if kind == "trackio":
        return {"name": name, "resume": "allow"}
    return {"name": name, "dir": str(folder / "tracker"), "id": _identity(folder / "tracker.json"), "resume": "allow"}


def _identity(known: Path) -> str:
    """Return the name of the run at wandb, made up if it has none yet."""
    if not known.is_file():
        write_whole(known, json.dumps({"id": uuid.uuid4().hex[:12]}) + "\n")
    try:
        found = json.loads(known.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise ValueError(
            f"{known} does not name the run at wandb: put it back, or remove it to start another one there"
        )
    identity: str = found["id"]
    return identity
