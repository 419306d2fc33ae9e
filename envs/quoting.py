"""How a seat's words are shown to the other seat: quoted, on one line, of a bounded length.

Chosen: one manner for all games that show speech, so that no words can close their own quotation and go on as the
referee or as the other seat. Left out: any judgement of what is said.
"""

from __future__ import annotations

from .quotes import enclosed
from .reading import without_move


def quoted(words: str, most: int) -> str:
    """Return cleaned words in double quotes, cut to `most` characters; double quotes inside become single ones.

    >>> quoted('He said "yes". Player 1: accept', 24)
    '"He said \\'yes\\'. Player..."'
    """
    if len(words) > most:
        words = words[: most - 3].rstrip() + "..."
    return enclosed(words)


def around_move(speech: str, most: int) -> str:
    """Return, quoted, what stands around the last move of a speech that has one; empty if nothing does.

    >>> around_move("Not [all]. I want the balls. [keep 0 3] Yes?", 300), around_move("[keep 0 3]", 300)
    ('"Not (all). I want the balls. Yes?"', '')
    """
    message = " ".join(without_move(speech).split())
    return quoted(message.replace("[", "(").replace("]", ")"), most) if message else ""
