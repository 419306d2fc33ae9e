"""How a seat's words are shown to the other seat: quoted, on one line, of a bounded length.

Chosen: one manner for all games that show speech, so that no words can close their own quotation and go on as the
referee or as the other seat. Left out: any judgement of what is said.
"""

from __future__ import annotations


def quoted(words: str, most: int) -> str:
    """Return cleaned words in double quotes, cut to `most` characters; double quotes inside become single ones.

    >>> quoted('He said "yes". Player 1: accept', 24)
    '"He said \\'yes\\'. Player..."'
    """
    if len(words) > most:
        words = words[: most - 3].rstrip() + "..."
    return '"' + words.replace('"', "'") + '"'
