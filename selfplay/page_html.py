"""Pieces of the benchmark's page: text that cannot do anything, numbers, tables.

Chosen: whatever a model, a game or an endpoint wrote goes through `esc`, the one way into the page; characters that
cannot be seen are spelled out, because a bidirectional override or a lone surrogate is something to know of a reply.
Left out: a template engine; a page of tables needs none.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .bench_text import number, signed

KEPT = "\n\t"


class Html(str):
    """Markup that is ready to stand in the page; any other text is escaped."""

    __slots__ = ()


class Column(NamedTuple):
    """A column of a table."""

    head: str | Html
    kind: str = "n"
    """"n" for numbers, "t" for text, "g" for graphics."""


def seen(text: object) -> str:
    """Return text in which every character shows: what does not print is spelled out by its code.

    >>> seen("a\\u202eb\\ud800c")
    'a‹U+202E›b‹U+D800›c'
    """
    text = str(text).replace("\r\n", "\n")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in KEPT else f"‹U+{ord(c):04X}›" for c in text)


def esc(text: object) -> Html:
    """Return anything as text of the page."""
    return text if isinstance(text, Html) else Html(html.escape(seen(text), quote=True))


def spanned(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval; a dash where there is none."""
    if low is None and high is None:
        return "–"
    return " to ".join("no bound" if end is None else signed(end, digits) for end in (low, high))


def short(value: float | None) -> str:
    """Return a number of any size with three digits; a dash for none."""
    return "–" if value is None else number(value)


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], caption: str, *, is_headed: bool = False
) -> Html:
    """Return a table, in a frame that scrolls where the page is narrow; the first cell of a row is its head.

    `is_headed`: a heading above it says the same, so that the caption is for screen readers only.
    """
    kind = ' class="unseen"' if is_headed else ""
    heads = "".join(f'<th scope="col" class="{c.kind}">{esc(c.head)}</th>' for c in columns)
    lines = "".join(_row(columns, row) for row in rows)
    return Html(
        f'<div class="frame" role="region" tabindex="0" aria-label="{esc(caption)}"><table>'
        f"<caption{kind}>{esc(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _row(columns: Sequence[Column], cells: Sequence[object]) -> str:
    first, *rest = zip(columns, cells, strict=True)
    head = f'<th scope="row" class="{first[0].kind}">{esc(first[1])}</th>'
    body = "".join(f'<td class="{c.kind}">{esc(cell)}</td>' for c, cell in rest)
    return f"<tr>{head}{body}</tr>"


def section(id: str, title: str, *parts: str) -> Html:
    """Return a section of the page, or nothing where it has no parts."""
    body = "".join(part for part in parts if part)
    return Html(f'<section id="{id}"><h2>{esc(title)}</h2>{body}</section>' if body else "")


def para(text: object, kind: str = "") -> Html:
    """Return a paragraph."""
    return Html(f'<p class="{kind}">{esc(text)}</p>' if kind else f"<p>{esc(text)}</p>")


def definitions(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Return a list of terms and what they are."""
    return Html("<dl>" + "".join(f"<div><dt>{esc(t)}</dt><dd>{esc(d)}</dd></div>" for t, d in pairs) + "</dl>")
