"""What a run leaves behind: measures, transcripts, the model, curves and a summary."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sparring.agents import LanguageModelAgent, RandomAgent

from .measures import Measure
from .payoffs import Payoffs
from .plots import plot_all, plot_curves
from .run_ratings import RunRatings
from .runs import RunFolder, write_whole
from .trackers import Tracker
from .training import Generation

BOUNDS = ("nashconv_lower", "nashconv_upper", "rating", "rating_low", "rating_high")
"""Measures that say how sure the main one is; in the summary where there are any."""
KEPT = ("nashconv", "nashconv_legal", "illegal_rate", "entropy")


class Recorder:
    """Watches a run: measures it, keeps its records, and writes what is left of it at the end."""

    def __init__(
        self,
        player: LanguageModelAgent,
        measure: Measure,
        folder: RunFolder,
        tracker: Tracker,
        *,
        about: dict[str, Any],
        transcripts: int = 4,
        payoffs: Payoffs | None = None,
        ratings: RunRatings | None = None,
    ) -> None:
        """Watch `player`.

        `about` opens the summary: game, opponent and seed; `transcripts` are kept a measure; `payoffs` are those of a
        pool; `ratings` rates the policy at every measure.
        """
        self.player, self.measure, self.folder, self.tracker = player, measure, folder, tracker
        self.payoffs = payoffs
        self.ratings = ratings
        self.about = about
        self.transcripts = transcripts
        self.started = time.perf_counter()
        self.cpu_before = -time.process_time()
        """CPU seconds before this process took the run up, less those that it had used by then."""
        self.history: list[dict[str, float]] = []
        """Every measured generation, as logged."""
        self.notes: list[str] = []
        """What the guard said."""
        self.play_seconds = 0.0

    @property
    def games(self) -> int:
        """Games up to the last measure."""
        return int(self.history[-1]["games"]) if self.history else 0

    def watch(self, generation: Generation | None, more: Mapping[str, float] | None = None) -> dict[str, float]:
        """Measure the policy after a generation, or before the first; returns what there is to show."""
        measured = self._take()
        games = update = 0
        if generation is not None:
            games, update, self.play_seconds = generation.games, generation.update, generation.seconds
            measured = {**generation.metrics, **measured, **(more or {}), "games_per_second": games / self.play_seconds}
            kept = generation.episodes[: self.transcripts]
            self.folder.transcripts(kept, update=update)
            self.tracker.transcripts(kept, update)
        self._keep({"update": update, "games": games, **measured})
        return measured

    def watch_again(self, more: Mapping[str, float]) -> None:
        """Measure the policy once more after the generation of the last measure, since when it was put back."""
        self._keep({**self.history[-1], **self._take(), **more})

    def _take(self) -> dict[str, float]:
        """Return the measures of the policy as it is, its rating among them."""
        measured = self.measure.take(self.player)
        if self.ratings is not None:
            with _told(self.ratings.path):
                measured |= self.ratings.take(self.player, len(self.history))
        return measured

    def _keep(self, measured: dict[str, float]) -> None:
        record = {**measured, "seconds": round(time.perf_counter() - self.started, 3)}
        self.folder.log(record)
        self.tracker.log(record, int(record["update"]))
        self.history.append(record)
        self._write_payoffs()

    def _write_payoffs(self) -> None:
        if self.payoffs is not None:
            path = self.folder.path / "payoffs.json"
            with _told(path):
                write_whole(path, json.dumps(self.payoffs.table(), indent=2) + "\n")

    def note(self, message: str) -> None:
        """Keep something that was said, for the summary."""
        self.notes.append(message)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain data."""
        seconds = time.perf_counter() - self.started
        return {
            "history": list(self.history),
            "notes": list(self.notes),
            "play_seconds": self.play_seconds,
            "seconds": seconds,
            "cpu_seconds": self.cpu_before + time.process_time(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; the clock goes on from there."""
        self.history, self.notes = list(state["history"]), list(state["notes"])
        self.play_seconds = state["play_seconds"]
        self.started = time.perf_counter() - state["seconds"]
        self.cpu_before += state["cpu_seconds"]

    def close(self, *, finished: bool, more: Mapping[str, Any] | None = None, save: bool = True) -> dict[str, Any]:
        """Save the model, unless `save` is off, draw the curves and write the summary, which is returned.

        Raises OSError, with what to do, where there is no room.
        """
        if save:
            with _told(self.folder.path / "model"):
                self.folder.save_model(self.player)
        self._write_payoffs()
        with _told(self.folder.path):
            self._draw()
            summary = {**self._summary(finished), **(more or {})}
            if self.notes:
                summary["guard"] = self.notes
            self.folder.summarize(summary)
        self.tracker.close()
        return summary

    def _summary(self, finished: bool) -> dict[str, Any]:
        """Return where the run began and where it ended."""
        figure, first, last = self.measure.figure, self.history[0], self.history[-1]
        summary = self.about | {
            "finished": finished,
            "games": self.games,
            "seconds": round(time.perf_counter() - self.started, 2),
            "cpu_seconds": round(self.cpu_before + time.process_time(), 2),
            "games_per_second": round(self.games / self.play_seconds, 1) if self.play_seconds else 0.0,
            "nashconv_start": first.get("nashconv"),
            **{key: last.get(key) for key in KEPT},
        }
        # Before the first update there were no games to count in.
        summary["illegal_rate"] = last.get("illegal_rate", last.get("illegal_mass"))
        if figure != "nashconv":
            summary |= {f"{figure}_start": first[figure], figure: last[figure]}
        return summary | {key: last[key] for key in (*BOUNDS, f"{figure}_error") if key in last}

    def _draw(self) -> None:
        figure = self.measure.figure
        lines = {"equilibrium": 0.0} if figure == "nashconv" else {}
        if "nashconv" in self.history[0]:
            lines["uniform play"] = self.measure.take(RandomAgent())[figure]
        title = ", ".join(f"{key} {value}" for key, value in self.about.items())
        plot_curves(
            self.folder.path / f"{figure}.png",
            {"policy": [(point["games"], point[figure]) for point in self.history]},
            x="games",
            y=figure,
            lines=lines,
            title=title,
        )
        if "rating" in self.history[0]:
            self._draw_rating(title)
        plot_all(self.folder.path / "measures.png", self.history, x="games", title=title)

    def _draw_rating(self, title: str) -> None:
        assert self.ratings is not None
        points = [p for p in self.history if math.isfinite(p["rating"])]
        plot_curves(
            self.folder.path / "rating.png",
            {"policy": [(p["games"], p["rating"]) for p in points]},
            x="games",
            y="rating (Elo), 95 % interval",
            lines={self.ratings.anchors[0].name: 0.0},
            bands=[(p["games"], p["rating_low"], p["rating_high"]) for p in points],
            title=title,
        )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of what cannot be written which file it was and what to do; safetensors raises errors of its own kind."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = str(error) if isinstance(error, SafetensorError) else error.strerror
        if reason is None:
            # It says so already.
            raise
        raise OSError(
            f"{path} cannot be written: {reason}. Checkpoints that were saved stand. Make room or raise the limit, "
            "then resume."
        ) from error
