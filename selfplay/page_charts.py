"""Drawings of the benchmark's page, as inline SVG: intervals on a shared axis, shares, curves.

Chosen: one small drawing a row, in the table that holds its numbers, so that no drawing is the only carrier of what it
says. Left out: a plotting library; the page must not ask for anything, and a picture cannot go dark with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .page_html import Html, esc, spanned

Band = tuple[float, float | None, float | None]
"""Games, and the two ends of an interval; None where nothing bounds it."""

WIDTH, HEIGHT, PAD = 220, 22, 10
"""Pixels, of the drawing in a row; what is drawn stays `PAD` away from its sides."""
SHARES = 150
LETTER = 6.5
"""Pixels that a digit of a tick takes."""
PLOT_WIDTH, PLOT_HEIGHT, PLOT_LEFT, PLOT_BOTTOM = 360, 200, 52, 24
SHAPES = ("", "6 3", "2 3", "8 3 2 3", "12 4", "1 5")
"""How lines are dashed: colour is not the only thing that tells them apart."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers to pixels."""

    low: float
    high: float
    start: float = PAD
    end: float = WIDTH - PAD

    @classmethod
    def over(cls, values: Iterable[float | None], start: float = PAD, end: float = WIDTH - PAD) -> Axis:
        """Return an axis on which all the values lie, and 0."""
        known = [v for v in values if v is not None and math.isfinite(v)] + [0.0]
        low, high = min(known), max(known)
        room = 0.06 * (high - low) or 1.0
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Return where a number lies, in pixels."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round numbers, at most `most`, 0 among them where it is on the axis."""
        rough = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * m for m in (1, 2, 2.5, 5, 10, 20) if size * m >= rough)
        first = math.ceil(self.low / step)
        return [round(k * step, 12) for k in range(first, math.floor(self.high / step) + 1)]


def spaced_ticks(axis: Axis) -> list[float]:
    """Return ticks whose numbers don't run into each other."""
    ticks = axis.ticks(6)
    for most in (5, 4, 3):
        if len(ticks) < 2 or axis.at(ticks[1]) - axis.at(ticks[0]) > LETTER * (1 + max(len(f"{t:g}") for t in ticks)):
            break
        ticks = axis.ticks(most)
    return ticks


def axis_head(axis: Axis, label: str) -> Html:
    """Return the head of a column of bars: the axis with its numbers."""
    marks = "".join(
        f'<text x="{axis.at(t)}" y="12" class="tick">{t:g}</text><path d="M{axis.at(t)} 16v6" class="grid"/>'
        for t in spaced_ticks(axis)
    )
    return Html(f"{_open(WIDTH, HEIGHT, label)}{marks}</svg>")


def interval(axis: Axis, middle: float | None, low: float | None, high: float | None, said: str) -> Html:
    """Return a dot with its interval; an arrow towards the side on which nothing bounds it.

    Where one end is missing the dot is, too: the number is then one end, and no middle is known. `said` is what a
    screen reader and a pointer are told.
    """
    left, right = axis.at(axis.low if low is None else low), axis.at(axis.high if high is None else high)
    parts = [f'<path d="M{axis.at(0)} 0v{HEIGHT}" class="zero"/>', f'<path d="M{left} 11H{right}" class="bar"/>']
    parts += [_end(left, low is None, -1), _end(right, high is None, 1)]
    if middle is not None and low is not None and high is not None:
        parts.append(f'<circle cx="{axis.at(middle)}" cy="11" r="4" class="dot"/>')
    return Html(f"{_open(WIDTH, HEIGHT, said)}{''.join(parts)}</svg>")


def point(axis: Axis, value: float, said: str) -> Html:
    """Return a number without an interval, as a bar from 0."""
    parts = (
        f'<path d="M{axis.at(0)} 0v{HEIGHT}" class="zero"/><path d="M{axis.at(0)} 11H{axis.at(value)}" class="bar"/>'
    )
    return Html(f'{_open(WIDTH, HEIGHT, said)}{parts}<circle cx="{axis.at(value)}" cy="11" r="4" class="dot"/></svg>')


def _end(x: float, is_open: bool, side: int) -> str:
    """Return the end of a bar: a short stroke, or an arrow head."""
    if is_open:
        return f'<path d="M{x + 7 * side} 11l{-8 * side} -5v10z" class="arrow"/>'
    return f'<path d="M{x} 6v10" class="bar"/>'


def shares(counts: Mapping[str, int], said: str) -> Html:
    """Return a row of stretches, as long as the counts; the class of each is its name."""
    whole = sum(counts.values())
    if not whole:
        return Html("")
    parts, x = [], 0.0
    for name, count in counts.items():
        width = SHARES * count / whole
        if count:
            box = f'x="{x:.1f}" y="4" width="{width:.1f}" height="14"'
            parts.append(f'<rect {box} class="{name}"><title>{name.replace("_", " ")}: {count}</title></rect>')
        x += width
    return Html(f"{_open(SHARES, HEIGHT, said)}{''.join(parts)}</svg>")


def curves(
    title: str, lines: Mapping[str, Sequence[Sequence[float]]], bands: Mapping[str, Sequence[Band]] | None = None
) -> Html:
    """Return a figure with one line a name, over games, in front of its interval if it has one."""
    bands = bands or {}
    x = Axis.over((p[0] for line in lines.values() for p in line), PLOT_LEFT, PLOT_WIDTH - PAD)
    x = Axis(0.0, max(x.high, 1.0), x.start, x.end)
    ends = [end for band in bands.values() for _, *both in band for end in both]
    y = Axis.over([*ends, *(p[1] for line in lines.values() for p in line)], PLOT_HEIGHT - PLOT_BOTTOM, PAD)
    grid = "".join(
        f'<path d="M{PLOT_LEFT} {y.at(t)}H{PLOT_WIDTH - PAD}" class="grid"/>'
        f'<text x="{PLOT_LEFT - 6}" y="{y.at(t) + 4}" class="tick end">{t:g}</text>'
        for t in y.ticks()
    )
    grid += "".join(f'<text x="{x.at(t)}" y="{PLOT_HEIGHT - 6}" class="tick">{t:g}</text>' for t in x.ticks(4))
    # All bands lie behind all lines.
    drawn = "".join(_band(x, y, bands[name], number) for number, name in enumerate(lines) if name in bands)
    drawn += "".join(_line(x, y, line, number) for number, line in enumerate(lines.values()))
    last = {name: _last(band) for name, band in bands.items()}
    said = "; ".join(
        f"{name}: {line[0][1]:.3g} at first, {line[-1][1]:.3g}{last.get(name, '')} at last"
        for name, line in lines.items()
    )
    keys = "".join(_key(name, line, number, last.get(name, "")) for number, (name, line) in enumerate(lines.items()))
    return Html(
        f"<figure><figcaption>{esc(title)}</figcaption>{_open(PLOT_WIDTH, PLOT_HEIGHT, f'{title}. {said}')}"
        f'{grid}{drawn}</svg><ul class="keys">{keys}</ul></figure>'
    )


def _band(x: Axis, y: Axis, band: Sequence[Band], number: int) -> str:
    """Return a shaded interval; an end that nothing bounds reaches to the edge."""
    low = [(games, y.low if low is None else low) for games, low, _ in band]
    high = [(games, y.high if high is None else high) for games, _, high in band]
    corners = "L".join(f"{x.at(games)} {y.at(value)}" for games, value in [*low, *reversed(high)])
    return f'<path d="M{corners}z" class="band b{number % 6}"/>'


def _last(band: Sequence[Band]) -> str:
    """Return the last interval of a band."""
    _, low, high = band[-1]
    return f" ({spanned(low, high, 0)})" if low is not None or high is not None else " (no bound on either side)"


def _line(x: Axis, y: Axis, line: Sequence[Sequence[float]], number: int) -> str:
    points = " ".join(f"{x.at(games)},{y.at(value)}" for games, value in line)
    shape = SHAPES[number % len(SHAPES)]
    dots = "".join(
        f'<circle cx="{x.at(g)}" cy="{y.at(v)}" r="2.5"><title>{g:g} games: {v:.4g}</title></circle>' for g, v in line
    )
    return f'<g class="line c{number % 6}"><polyline points="{points}" stroke-dasharray="{shape}"/>{dots}</g>'


def _key(name: str, line: Sequence[Sequence[float]], number: int, last: str) -> str:
    stroke = f'<path d="M0 6H28" stroke-dasharray="{SHAPES[number % len(SHAPES)]}"/>'
    mark = f'<svg width="28" height="12" aria-hidden="true" class="line c{number % 6}">{stroke}</svg>'
    return f"<li>{mark} {esc(name)}: {line[0][1]:.3g} → {line[-1][1]:.3g}{last}</li>"


def gauge(value: float, lower: float, upper: float, said: str) -> Html:
    """Return where a log-likelihood ratio stands between the two bounds of a test."""
    room = 0.12 * (upper - lower)
    axis = Axis(min(lower, value) - room, max(upper, value) + room)
    parts = f'<path d="M{axis.at(lower)} 11H{axis.at(upper)}" class="bar"/>'
    parts += "".join(f'<path d="M{axis.at(end)} 3v16" class="zero"/>' for end in (lower, upper))
    return Html(f'{_open(WIDTH, HEIGHT, said)}{parts}<circle cx="{axis.at(value)}" cy="11" r="5" class="dot"/></svg>')


def _open(width: int, height: int, said: str) -> str:
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{esc(said)}">'
        f"<title>{esc(said)}</title>"
    )
