"""With what games were played: versions of packages, of the libraries that games are from, and the source itself.

Chosen: a digest of the source beside the version, because between two releases a player may play otherwise under the
same name. Left out: the commit, which says nothing of what was not committed, and is none where a wheel is installed.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sparring.agents
import sparring.envs
from sparring.envs import Game
from sparring.envs.registry import library_of

PACKAGES = ("sparring", "torch", "transformers", "numpy", "scipy")


def versions(games: Iterable[Game[Any]] = ()) -> dict[str, str]:
    """Return the versions of what plays, of the libraries that some games are from, and a digest of the source."""
    libraries = dict.fromkeys(filter(None, (library_of(game.name) for game in games)))
    numbers = {package: _version(package) for package in (*PACKAGES, *libraries)}
    return {"python": platform.python_version(), **numbers, "source": source_digest()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@cache
def source_digest() -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of the games and the players that are built in."""
    digest = hashlib.sha256()
    for package in (sparring.envs, sparring.agents):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
