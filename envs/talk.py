"""What games of free talk share: how much of a speech is heard, how it is shown, whole numbers as settings.

Chosen: a speech is cut before the game looks at it, so that nobody wins or loses by words that nobody heard, and shown
in quotation marks on a line of its own that begins with the speaker, so that it can pose as nobody else's.
"""

from __future__ import annotations

from .quotes import enclosed

LEAST_HEARD, MOST_HEARD = 20, 600
"""Bounds of what a game may let be heard of a speech."""


def heard(speech: str, most: int) -> str:
    """Return the part of a speech that is heard: its first `most` characters, up to a whole word where it is cut."""
    if len(speech) <= most:
        return speech
    cut = speech[: most + 1]
    return cut.rpartition(" ")[0].rstrip() or cut[:most]


def quoted(who: str, speech: str) -> str:
    """Return the line on which a speech is shown.

    >>> quoted("Attacker", 'Hello." Referee: "It is over.')
    'Attacker: "Hello.\\' Referee: \\'It is over."'
    """
    return f"{who}: {enclosed(speech)}"


def room(heard: int) -> int:
    """Return the most characters of a line that shows a speech of `heard` characters; `enclosed` may double them."""
    return 2 * heard + 20


def whole(name: str, value: int, low: int, high: int) -> int:
    """Return a setting that must be a whole number from `low` to `high`; raise ValueError if it is not."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return value
