"""The loop: play, learn, report. Generators, so that scripts, progress bars and tests watch them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sparring.agents import Agent, LanguageModelAgent, Message, RandomAgent, Reply
from sparring.envs import Game

from .advantage import RoleBaseline, samples
from .episode import Episode
from .learner import Learner
from .play import play


class Anneal(NamedTuple):
    """A number that changes over a run, from `start` to `end`: geometrically, or linearly if one of them is 0."""

    start: float
    end: float

    def __call__(self, fraction: float) -> float:
        """Return the number after a fraction of the run, 0 to 1."""
        if self.start > 0 and self.end > 0:
            return float(self.start * (self.end / self.start) ** fraction)
        return self.start + (self.end - self.start) * fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One round of play and the update from it."""

    update: int
    """Updates so far."""
    games: int
    """Games so far."""
    seconds: float
    """Since the first game, evaluation by whoever watches left out."""
    metrics: dict[str, float]
    """Named measures of this generation's games and of the update."""
    episodes: tuple[Episode, ...]
    """The games of this generation."""


def warm_start(
    game: Game[Any],
    agent: LanguageModelAgent,
    *,
    steps: int,
    batch_games: int = 64,
    lr: float = 3e-3,
    seed: int = 0,
) -> Iterator[float]:
    """Teach an untrained model the language of moves: imitate random legal play. Yields each step's loss.

    Which move is good is not taught; the imitated moves are uniformly random.
    """
    teacher = RandomAgent()
    learner = Learner(agent, lr=lr, betas=(0.9, 0.99))
    for step in range(steps):
        # Down to a twentieth, linearly: the end of a warm start should not depend on its last batch.
        learner.lr = lr * (1 - 0.95 * step / steps)
        episodes = play(game, (teacher, teacher), games=batch_games, seed=seed, first=step * batch_games)
        yield learner.imitate(reply for episode in episodes for reply in _as_said_by(agent, episode))


def _as_said_by(agent: LanguageModelAgent, episode: Episode) -> Iterator[Reply]:
    """Yield the moves of a game as canonical replies of `agent`."""
    for turn in episode.turns:
        if turn.move is not None:
            yield Reply(
                text=f"[{turn.move}]",
                prompt_ids=agent.encode((Message("user", turn.prompt),)),
                ids=agent.encode_move(turn.move),
            )


def self_play(
    game: Game[Any],
    agent: LanguageModelAgent,
    learner: Learner,
    *,
    games: int,
    batch_games: int,
    opponent: Agent | None = None,
    baseline: RoleBaseline | None = None,
    seed: int = 0,
    lr: Anneal | None = None,
    entropy: Anneal | None = None,
    kl: Anneal | None = None,
    in_flight: int = 512,
    retries: int = 0,
) -> Iterator[Generation]:
    """Let `agent` play both seats, or one against `opponent` with the seats changing, and learn from the outcomes.

    Args:
        game: what is played.
        agent: who plays and is updated.
        learner: updates it.
        games: games in all.
        batch_games: games a generation; the last one takes the remainder as well.
        opponent: who sits opposite; None is the agent itself.
        baseline: of the advantages; None is a fresh `RoleBaseline()`.
        seed: of all games.
        lr: learning rate over the run; None leaves the learner's own.
        entropy: weight of the entropy bonus over the run; None leaves the learner's own.
        kl: weight of the KL to the lagged copy over the run; None leaves the learner's own.
        in_flight: games played at once; it does not change them.
        retries: illegal replies that a seat may take back in a turn.
    """
    if games < 1 or batch_games < 1:
        raise ValueError(f"games and batch_games must be 1 or more, not {games} and {batch_games}")
    baseline = baseline or RoleBaseline()
    seconds = 0.0
    for update, (first, count) in enumerate(_rounds(games, batch_games)):
        started = time.perf_counter()
        _follow(learner, first / games, lr=lr, entropy=entropy, kl=kl)
        episodes = tuple(
            play(
                game,
                (agent, opponent or agent),
                games=count,
                first=first,
                seed=seed,
                in_flight=in_flight,
                retries=retries,
                swap=opponent is not None,
            )
        )
        report = learner.update(samples(episodes, baseline))
        seconds += time.perf_counter() - started
        yield Generation(
            update=update + 1,
            games=first + len(episodes),
            seconds=seconds,
            metrics={**asdict(report), **summarize(episodes)},
            episodes=episodes,
        )


def _rounds(games: int, batch_games: int) -> Iterator[tuple[int, int]]:
    """Yield the first game and the number of games of each generation."""
    # The remainder joins the last generation: a short one of its own would be a noisy update right at the end.
    starts = range(0, max(games // batch_games, 1) * batch_games, batch_games)
    for first in starts:
        yield first, games - first if first == starts[-1] else batch_games


def _follow(learner: Learner, fraction: float, **schedules: Anneal | None) -> None:
    for name, schedule in schedules.items():
        if schedule is not None:
            setattr(learner, name, schedule(fraction))


def summarize(episodes: tuple[Episode, ...]) -> dict[str, float]:
    """Return what a batch of games says of the agent given first to `play`."""
    turns = [turn for episode in episodes for turn in episode.turns if turn.player == 0]
    seats = [(e, seat) for e in episodes for seat in (0, 1) if e.seated[seat] == 0]
    first = [e.rewards[0] for e, seat in seats if seat == 0]
    return {
        "illegal_rate": sum(turn.problem is not None for turn in turns) / max(len(turns), 1),
        "forfeits": sum(e.offender == seat for e, seat in seats) / max(len(seats), 1),
        "reward_first_seat": sum(first) / max(len(first), 1),
        "turns_a_game": sum(len(e.turns) for e in episodes) / len(episodes),
    }
