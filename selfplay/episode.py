"""What was played: frozen records of turns and games."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparring.agents import Reply
from sparring.envs import Ending, Problem
from sparring.envs.records import travelling


@travelling
@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One reply and what it was read as."""

    seat: int
    """Who moved, 0 or 1."""
    player: int
    """Which of the agents given to `play` held that seat: 0 or 1; 0 for both seats in self-play."""
    prompt: str
    """The text that the seat was shown."""
    reply: Reply
    """What it answered, with exactly the tokens that were sampled."""
    move: str | None
    """The canonical move; None if the reply was illegal or unreadable."""
    problem: Problem | None
    """What was wrong with the reply."""
    earned: float = 0.0
    """What the seat had earned by then, in rewards; see `Game.earned`."""
    spoken: bool = False
    """Whether the move was free text."""
    state: Hashable = None
    """The state of the game in which it moved, all that is hidden included."""


@travelling
@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One finished game."""

    game: str
    index: int
    """Number of the game within its seed."""
    turns: tuple[Turn, ...]
    rewards: tuple[float, float]
    """One number a seat."""
    ending: Ending
    offender: int | None
    """The seat whose illegal reply ended the game."""
    players: tuple[str, str]
    """Name of the agent in each seat."""
    seated: tuple[int, int]
    """Which of the agents given to `play` sat in each seat."""
    why: str = ""
    """Why the game is void."""
    figures: Mapping[str, float] = field(default_factory=dict, hash=False)
    """What else the game says of how it went, see `Game.figures`; empty unless it was played out."""
    fork: tuple[int, int] | None = None
    """(stem, turn) of a branched game: games of one stem share every turn before this one and part at it."""

    def record(self) -> dict[str, Any]:
        """Return the game as plain data for a JSON line."""
        return {
            "game": self.game,
            "index": self.index,
            "players": self.players,
            "rewards": self.rewards,
            "ending": self.ending.value,
            "offender": self.offender,
            "why": self.why,
            "figures": dict(self.figures),
            "turns": [
                {
                    "seat": turn.seat,
                    "prompt": turn.prompt,
                    "reply": turn.reply.text,
                    "move": turn.move,
                    "problem": turn.problem and turn.problem.value,
                }
                for turn in self.turns
            ],
        }


def counted(episodes: Iterable[Episode]) -> tuple[Episode, ...]:
    """Return the games that count: all but void ones."""
    return tuple(episode for episode in episodes if episode.ending is not Ending.VOID)


def mean_figures(episodes: Iterable[Episode]) -> dict[str, float]:
    """Return the mean of each figure that the games have, over those that have it, as `game/NAME`."""
    found: dict[str, list[float]] = {}
    for episode in episodes:
        for name, value in episode.figures.items():
            found.setdefault(f"game/{name}", []).append(value)
    return {name: statistics.fmean(values) for name, values in found.items()}
