"""Players by name: what a command line calls an agent.

Chosen: a fixed few names, `openai:` for models on a server, and everything else is a language model, in a directory or
on the hub. Left out: settings inside the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .agent import Agent
from .endpoint import EndpointAgent
from .endpoint_name import FORM, SCHEME, is_endpoint, read_endpoint
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

LOADED = ("device", "dtype", "attn_implementation", "trust_remote_code", "chat_template_kwargs", "batch_tokens")
"""Settings of a model that is loaded here; where and how one on a server runs is the server's own."""
SERVED = ("concurrency", "timeout", "retries", "time_limit", "prices")
"""Settings of a model on a server; one that is loaded here is not asked over a wire."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def make_agent(spec: str, **settings: Any) -> Agent:
    """Return the player called `spec`.

    Args:
        spec: "heuristic", "human", "optimal" or "random"; or a model directory, or the folder of a training run, whose
            model it is; or a model's name on the hub; or a model on a server that speaks OpenAI's chat completions, as
            "openai:MODEL@http://localhost:8000/v1", or "openai:MODEL" where OPENAI_BASE_URL says which server.
        settings: of a language model, see `LanguageModelAgent.from_pretrained`, or of one on a server, see
            `EndpointAgent`; the others have none.

    Raises ValueError, naming what is near, if there is no such player, directory or model.
    """
    if spec in AGENTS:
        return AGENTS[spec]()
    if is_endpoint(spec):
        return EndpointAgent(*read_endpoint(spec), **settings)
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


def settings_of(spec: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of language models that the player called `spec` has too, by the names it knows them by.

    A loaded model has all but those of `SERVED`, one on a server all but those of `LOADED`; the others have none.
    """
    if spec in AGENTS:
        return {}
    if not is_endpoint(spec):
        return {name: value for name, value in settings.items() if name not in SERVED}
    found = {name: value for name, value in settings.items() if name not in LOADED}
    most = found.pop("max_new_tokens", None)
    return found if most is None else {**found, "max_tokens": most}


def _load(name_or_path: str, settings: dict[str, Any]) -> Agent:
    from .language_model import LanguageModelAgent

    return LanguageModelAgent.from_pretrained(name_or_path, **settings)


def _model_directory(path: Path) -> str:
    """Return the directory if it holds a model, `model` in that of a run; raise ValueError naming one inside it."""
    if (path / "config.json").is_file():
        return str(path)
    if (path / "config.yaml").is_file() and (path / "model" / "config.json").is_file():
        return str(path / "model")
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
    if not close and get_close_matches(spec.partition(":")[0].casefold(), [SCHEME[:-1]], cutoff=0.75):
        hint = f" A model on a server is called {FORM}."
    return f"no player {spec!r}: neither one of {known}, nor a model directory.{hint}"
