"""The folder of a run: what is in it, and that nothing finished is ever overwritten."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sparring.agents import LanguageModelAgent

from .episode import Episode


class RunFolder:
    """Holds `config.yaml`, `metrics.jsonl`, `transcripts.jsonl`, `model/` and, at the end, `summary.json`."""

    def __init__(self, path: str | Path, config: dict[str, Any], *, overwrite: bool = False) -> None:
        """Make the folder and write its settings.

        Raises FileExistsError if a run is there already and `overwrite` is not set.
        """
        self.path = Path(path)
        if (self.path / "config.yaml").exists():
            if not overwrite:
                raise FileExistsError(f"{self.path} holds a run already; choose another --out, or add --overwrite")
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        self._append("metrics.jsonl", [record])

    def transcripts(self, episodes: Iterable[Episode], **more: Any) -> None:
        """Append games to `transcripts.jsonl`, each with `more` beside it."""
        self._append("transcripts.jsonl", [more | episode.record() for episode in episodes])

    def _append(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        with open(self.path / name, "a", encoding="utf-8") as file:
            # ASCII only, because a reply may hold lone surrogates, which no encoding can write.
            file.writelines(json.dumps(record) + "\n" for record in records)

    def save_model(self, agent: LanguageModelAgent) -> None:
        """Write the model beside the old one and put it in its place, so that a whole one is always there."""
        new, old, place = (self.path / name for name in ("model.new", "model.old", "model"))
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        agent.save_pretrained(new)
        if place.exists():
            os.replace(place, old)
        os.replace(new, place)
        shutil.rmtree(old, ignore_errors=True)

    def summarize(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`."""
        (self.path / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def free_folder(parent: str | Path, name: str) -> Path:
    """Return `parent/name`, or `parent/name-2` and so on if a run is there already."""
    path, number = Path(parent) / name, 1
    while (path / "config.yaml").exists():
        number += 1
        path = Path(parent) / f"{name}-{number}"
    return path
