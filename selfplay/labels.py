"""How tables and logs call games: an id, the settings that are not the game's own, and the skin.

Chosen: one game has one label however it is written, so that none is played twice as if it were two. Left out: telling
that two ids are one game.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sparring.envs import read_options

PLAIN = "plain"


def game_label(id: str, settings: Mapping[str, Any], *, skin: str | None, defaults: Mapping[str, Any]) -> str:
    """Return the label of a game: settings that are its `defaults` are left out, the others sorted.

    >>> game_label("Nim-v0", {"heaps": (3, 4)}, skin="obfuscated", defaults={"heaps": (1, 3, 5)})
    'Nim-v0?heaps=[3, 4][obfuscated]'
    """
    own = {name: _value(value) for name, value in settings.items() if not _is_default(name, value, defaults)}
    said = "&".join(f"{name}={own[name]}" for name in sorted(own))
    worded = "" if skin in (None, defaults.get("skin", PLAIN)) else f"[{skin}]"
    return f"{id}?{said}{worded}" if said else f"{id}{worded}"


def _is_default(name: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    default = defaults.get(name)
    return name in defaults and value == (tuple(default) if isinstance(default, list) else default)


def _value(value: Any) -> str:
    """Return a value as `read_options` takes it."""
    if isinstance(value, str) and read_options([f"x={value}"]) == {"x": value}:
        return value
    return json.dumps(value)


def split_label(label: str) -> tuple[str, str | None]:
    """Return the label of a game without its skin, and the skin, if there is one; a setting that is a list is none.

    >>> split_label("KuhnPoker-v0[obfuscated]"), split_label("Nim-v0?heaps=[3, 4]")
    (('KuhnPoker-v0', 'obfuscated'), ('Nim-v0?heaps=[3, 4]', None))
    """
    found = re.fullmatch(r"(.*[^=])\[([^\[\]]+)\]", label)
    return (found[1], found[2]) if found else (label, None)


def plain_label(label: str) -> str:
    """Return the label of a game in its plain skin.

    >>> plain_label("KuhnPoker-v0[obfuscated]"), plain_label("Nim-v0?heaps=[3, 4]")
    ('KuhnPoker-v0', 'Nim-v0?heaps=[3, 4]')
    """
    id, _, settings = split_label(label)[0].partition("?")
    # Logs of before have skins among the settings.
    kept = "&".join(word for word in settings.split("&") if not word.startswith("skin="))
    return f"{id}?{kept}" if kept else id
