"""Players by name: what a command line calls an agent.

Chosen: a fixed few names, and everything else is a language model, in a directory or on the hub. Left out:
settings inside the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .agent import Agent
from .heuristic import HeuristicAgent
from .optimal import OptimalAgent
from .players import HumanAgent, RandomAgent

AGENTS: dict[str, Callable[[], Agent]] = {
    "heuristic": HeuristicAgent,
    "human": HumanAgent,
    "optimal": OptimalAgent,
    "random": RandomAgent,
}
"""The players that need no model, by the name that `make_agent` takes."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def make_agent(spec: str, **settings: Any) -> Agent:
    """Return the player called `spec`.

    Args:
        spec: "heuristic", "human", "optimal" or "random"; or a model directory; or a model's name on the hub.
        settings: of a language model, see `LanguageModelAgent.from_pretrained`; the others have none.

    Raises ValueError, naming what is near, if there is no such player, directory or model.
    """
    if spec in AGENTS:
        return AGENTS[spec]()
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return _load(_model_directory(path), settings)
    close = _close(spec, path)
    if close or path.exists() or not _HUB_NAME.fullmatch(spec) or spec.startswith("."):
        raise ValueError(_unknown(spec, close))
    try:
        return _load(spec, settings)
    except OSError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{_unknown(spec, close)} Nor could it be had from the hub: {reason}") from error


def _load(name_or_path: str, settings: dict[str, Any]) -> Agent:
    from .language_model import LanguageModelAgent

    return LanguageModelAgent.from_pretrained(name_or_path, **settings)


def _model_directory(path: Path) -> str:
    """Return the directory if it holds a model; raise ValueError naming one inside it that does."""
    if (path / "config.json").is_file():
        return str(path)
    inside = sorted(str(config.parent) for config in path.glob("*/config.json"))
    hint = f" Did you mean {inside[0]!r}?" if inside else ""
    raise ValueError(f"{str(path)!r} is a directory without a model (no config.json).{hint}")


def _close(spec: str, path: Path) -> list[str]:
    """Return known names and existing directories that look like a misspelt `spec`."""
    try:
        beside = [str(path.with_name(other.name)) for other in path.parent.iterdir() if other.is_dir()]
    except (OSError, ValueError):  # It cannot be read, or has no name to compare.
        beside = []
    return get_close_matches(spec, [*AGENTS, *beside], n=1, cutoff=0.75)


def _unknown(spec: str, close: list[str]) -> str:
    hint = f" Did you mean {close[0]!r}?" if close else ""
    known = ", ".join(sorted(AGENTS))
    return f"no player {spec!r}: neither one of {known}, nor a model directory.{hint}"
