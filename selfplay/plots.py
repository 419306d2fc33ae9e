"""Pictures of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path


def plot_curves(
    path: str | Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    y: str,
    lines: Mapping[str, float] | None = None,
    bands: Sequence[tuple[float, float, float]] = (),
    title: str = "",
) -> None:
    """Draw named curves of (x, y) points, with dashed horizontal lines to compare them with, into a PNG.

    `bands` are (x, low, high) of a shaded interval; an end that is not a number reaches to the edge.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure of its own: pyplot would keep global state and could open a window.
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], label=name, linewidth=1.6, marker=".")
    if bands:
        ends = [end for _, *both in bands for end in both if math.isfinite(end)] or [0.0]
        low, high = (
            [b[i] if math.isfinite(b[i]) else edge for b in bands] for i, edge in ((1, min(ends)), (2, max(ends)))
        )
        axes.fill_between([b[0] for b in bands], low, high, alpha=0.2)
    for name, height in (lines or {}).items():
        axes.axhline(height, linestyle="--", linewidth=1, color="0.4")
        axes.annotate(name, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.3")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=min(0.0, *(p[1] for points in curves.values() for p in points), 0.0))
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(frameon=False)
    axes.set_title(title)
    figure.savefig(path)


def plot_all(path: str | Path, history: Sequence[Mapping[str, float]], *, x: str, title: str = "") -> None:
    """Draw every measure of a run against `x`, one small panel each, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted({name for record in history for name in record} - {x, "update", "games"})
    columns = 4
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.1 * max(rows, 1)), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        points = [(record[x], record[name]) for record in history if name in record]
        axes.plot([p[0] for p in points], [p[1] for p in points], linewidth=1.2, marker=".", markersize=3)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path)
