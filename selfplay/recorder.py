"""What a run leaves behind: measures, transcripts, the model, a curve and a summary."""

from __future__ import annotations

import time
from typing import Any

from sparring.agents import LanguageModelAgent, RandomAgent

from .measures import Measure
from .plots import plot_curves
from .runs import RunFolder
from .training import Generation

BOUNDS = ("nashconv_lower", "nashconv_upper", "reward_vs_random_error")
"""Measures that say how sure the main one is; in the summary where there are any."""


class Recorder:
    """Watches a run: measures it, keeps its records, and writes what is left of it at the end."""

    def __init__(
        self,
        player: LanguageModelAgent,
        measure: Measure,
        folder: RunFolder,
        *,
        about: dict[str, Any],
        transcripts: int = 4,
    ) -> None:
        """Watch `player`. `about` opens the summary: game, opponent and seed; `transcripts` are kept a measure."""
        self.player, self.measure, self.folder = player, measure, folder
        self.about = about
        self.transcripts = transcripts
        self.started = time.perf_counter()
        self.curve: list[tuple[int, float]] = []
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.games = 0
        self.play_seconds = 0.0
        self.latest: Generation | None = None
        """The last generation there was, measured or not."""

    def watch(self, generation: Generation | None) -> dict[str, float]:
        """Measure the policy after a generation, or before the first; returns what there is to show."""
        measured = self.measure.take(self.player)
        if generation is not None:
            self.games, self.play_seconds = generation.games, generation.seconds
            measured = generation.metrics | measured | {"games_per_second": self.games / self.play_seconds}
            self.folder.transcripts(generation.episodes[: self.transcripts], update=generation.update)
        seconds = round(time.perf_counter() - self.started, 3)
        update = 0 if generation is None else generation.update
        self.folder.log({"update": update, "games": self.games, "seconds": seconds, **measured})
        self.curve.append((self.games, measured[self.measure.figure]))
        self.first = self.first or measured
        self.last = measured
        return measured

    def close(self, *, finished: bool) -> dict[str, Any]:
        """Save the model, draw the curve and write the summary, which is returned."""
        self.folder.save_model(self.player)
        self._draw()
        figure, first, last = self.measure.figure, self.first, self.last
        summary = self.about | {
            "finished": finished,
            "games": self.games,
            "seconds": round(time.perf_counter() - self.started, 2),
            "games_per_second": round(self.games / self.play_seconds, 1) if self.play_seconds else 0.0,
            "nashconv_start": first.get("nashconv"),
            "nashconv": last.get("nashconv"),
            "nashconv_legal": last.get("nashconv_legal"),
            # Before the first update there were no games to count in.
            "illegal_rate": last.get("illegal_rate", last.get("illegal_mass")),
            "entropy": last.get("entropy"),
        }
        if figure != "nashconv":
            summary |= {f"{figure}_start": first[figure], figure: last[figure]}
        summary |= {key: last[key] for key in BOUNDS if key in last}
        self.folder.summarize(summary)
        return summary

    def _draw(self) -> None:
        figure = self.measure.figure
        lines = {"equilibrium": 0.0} if figure == "nashconv" else {}
        if "nashconv" in self.first:
            lines["uniform play"] = self.measure.take(RandomAgent())[figure]
        plot_curves(
            self.folder.path / f"{figure}.png",
            {"policy": self.curve},
            x="games",
            y=figure,
            lines=lines,
            title=", ".join(f"{key} {value}" for key, value in self.about.items()),
        )
