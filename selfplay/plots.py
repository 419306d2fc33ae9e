"""Pictures of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def plot_curves(
    path: str | Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    y: str,
    lines: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """Draw named curves of (x, y) points, with dashed horizontal lines to compare them with, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure of its own: pyplot would keep global state and could open a window.
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], label=name, linewidth=1.6, marker=".")
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
