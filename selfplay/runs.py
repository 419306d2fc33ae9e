"""The folder of a run: what is in it, and that nothing finished is ever overwritten."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sparring.agents import LanguageModelAgent

from .checkpoint import cut_log, log_size
from .episode import Episode
from .manifest import sync

LOGS = ("metrics.jsonl", "transcripts.jsonl", "ratings.jsonl")
WHOLE = ("config.yaml", "summary.json", "payoffs.json", "tracker.json")
"""Files that are there whole or not at all."""
FILES = (*WHOLE, *(f".{name}" for name in WHOLE), *LOGS)
FOLDERS = ("model", "model.new", "model.old", "checkpoints", "tracker", "trl")


class RunFolder:
    """Holds `config.yaml`, `metrics.jsonl`, `transcripts.jsonl`, `checkpoints/`, `model/`, pictures and, at the end,
    `summary.json`.
    """

    def __init__(self, path: str | Path, config: dict[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder and write its settings.

        Raises FileExistsError if there is anything in it, unless it is a run and `overwrite` is set; then that run's
        own files are removed, and nothing else is.
        """
        self.path = Path(path)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            if not overwrite:
                held = "holds a run already" if is_run(self.path) else "is not empty"
                raise FileExistsError(f"{self.path} {held}; choose another --out, or add --overwrite to replace a run")
            if not is_run(self.path):
                raise FileExistsError(f"{self.path} is not empty and holds no run; choose another --out")
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    @classmethod
    def reopen(cls, path: str | Path) -> tuple[RunFolder, dict[str, Any]]:
        """Return the folder of a run that is not finished, and its settings. Raises ValueError if there is none."""
        folder = cls.__new__(cls)
        folder.path = Path(path)
        if not (folder.path / "config.yaml").is_file():
            raise ValueError(f"{path} holds no run to go on with (no config.yaml)")
        if _is_finished(folder.path / "summary.json"):
            raise ValueError(f"the run in {path} is finished; to train its model further: --model {path}/model")
        return folder, yaml.safe_load((folder.path / "config.yaml").read_text(encoding="utf-8"))

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.path / "checkpoints"

    def log_sizes(self) -> dict[str, int]:
        """Return the bytes of each log, for `cut_logs`."""
        return {name: log_size(self.path / name) for name in LOGS}

    def cut_logs(self, sizes: Mapping[str, int]) -> None:
        """Cut each log back to what it was; what came after is played again."""
        for name, size in sizes.items():
            cut_log(self.path / name, size)

    def _clear(self) -> None:
        for file in (*(self.path / name for name in FILES), *self.path.glob("*.png")):
            file.unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        self._append("metrics.jsonl", [record])

    def transcripts(self, episodes: Iterable[Episode], **more: Any) -> None:
        """Append games to `transcripts.jsonl`, each with `more` beside it."""
        self._append("transcripts.jsonl", [more | episode.record() for episode in episodes])

    def _append(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        try:
            with open(self.path / name, "a", encoding="utf-8") as file:
                # ASCII only, because a reply may hold lone surrogates, which no encoding can write.
                file.writelines(json.dumps(strict(record)) + "\n" for record in records)
        except OSError as error:
            why = f"{self.path / name} cannot be written: {error.strerror}"
            raise OSError(
                f"{why}. Checkpoints that were saved stand. Make room or raise the limit, then resume."
            ) from error

    def save_model(self, agent: LanguageModelAgent) -> None:
        """Write the model beside the old one and put it in its place, so that a whole one is always there."""
        save_model(self.path, agent)

    def summarize(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`."""
        write_whole(self.path / "summary.json", json.dumps(strict(summary), indent=2) + "\n")


def save_model(path: Path, agent: LanguageModelAgent) -> None:
    """Write `model/` of a run beside the old one and put it in its place, so that a whole one is always there."""
    new, old, place = (path / name for name in ("model.new", "model.old", "model"))
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    agent.save_pretrained(new)
    if place.exists():
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file beside and put it in its place, so that a run killed at any moment leaves it whole or as it was."""
    new = path.with_name(f".{path.name}")
    new.write_text(text, encoding="utf-8")
    sync(new)
    new.rename(path)


def strict(value: Any) -> Any:
    """Return plain data as JSON can say it: NaN and infinity, which a broken update may report, become null."""
    if isinstance(value, Mapping):
        return {key: strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_finished(summary: Path) -> bool:
    """Whether a summary says that its run is finished; one that is damaged says nothing, and is written anew."""
    try:
        found = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else None
    except ValueError:
        return False
    return isinstance(found, dict) and bool(found.get("finished"))


def is_run(path: Path) -> bool:
    """Whether a folder holds a run and nothing else."""
    if not (path / "config.yaml").is_file():
        return False
    known = {*FILES, *FOLDERS}
    return all(item.name in known or item.suffix == ".png" for item in path.iterdir())


def free_folder(parent: str | Path, name: str) -> Path:
    """Return `parent/name`, or `parent/name-2` and so on if that is taken."""
    path, number = Path(parent) / name, 1
    while path.exists():
        number += 1
        path = Path(parent) / f"{name}-{number}"
    return path
