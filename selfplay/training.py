"""The loop: play, learn, report. Generators, so that scripts, progress bars and tests watch them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparring.agents import Agent, LanguageModelAgent, RandomAgent
from sparring.envs import Game, Void, near

from .branch import branch
from .episode import Episode, counted, mean_figures
from .guard import vital_signs
from .judged import judge_metrics
from .learner import Learner
from .pairs import demonstrations
from .play import Opponents, play
from .pool import OpponentPool
from .processes import Processes
from .rules import Rule, make_rule


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
        yield learner.imitate(demonstrations(agent, episodes, player=0))


def self_play(
    game: Game[Any],
    agent: LanguageModelAgent,
    rule: Rule | Learner,
    *,
    games: int,
    batch_games: int,
    opponent: Agent | OpponentPool | None = None,
    snapshot_every: int = 0,
    seed: int = 0,
    schedules: Mapping[str, Anneal] | None = None,
    in_flight: int = 512,
    retries: int = 0,
    done: int = 0,
    seconds: float = 0.0,
    flush_every: int = 1,
) -> Iterator[Generation]:
    """Let `agent` play both seats, or one against an opponent with the seats changing, and learn from the outcomes.

    Args:
        game: what is played.
        agent: who plays and is updated.
        rule: how it learns; a learner alone is `make_rule("ppo", learner)`.
        games: games in all.
        batch_games: games a generation; the last one takes the remainder as well.
        opponent: who sits opposite: an agent, or a pool to draw from; None is the agent itself.
        snapshot_every: generations after which the pool takes in a snapshot; 0: never.
        seed: of all games.
        schedules: numbers that change over the run, by name: lr, or a number of the learner's objective (kl, beta).
        in_flight: games played at once; it does not change them.
        retries: illegal replies that a seat may take back in a turn.
        done: generations of this run that were played before; it goes on after them.
        seconds: that they took.
        flush_every: generations after which all forget what they have computed, frozen opponents and the reference too.
            A run that goes on is equal to the bit where `done` is a multiple of it.

    Void games are not learned from. Raises ValueError for numbers out of range and for schedules of what the objective
    lacks, FloatingPointError if the model's numbers are no longer finite, Void if every game of a generation is; on
    every process, where there are several.
    """
    if games < 1 or batch_games < 1 or flush_every < 1:
        raise ValueError(
            f"games, batch_games and flush_every must be 1 or more, not {games}, {batch_games}, {flush_every}"
        )
    rule = rule if isinstance(rule, Rule) else make_rule("ppo", rule)
    pool = opponent if isinstance(opponent, OpponentPool) else None
    opposite = pool.draw if pool else (opponent or agent)
    assert not isinstance(opposite, OpponentPool)
    for update, (first, count) in enumerate(_rounds(games, batch_games)):
        if update < done:
            continue
        started = time.perf_counter()
        # What is remembered depends on what was asked and measured before; a resumed run lacks it.
        if update % flush_every == 0:
            rule.learner.flush()
        for player in (agent, opponent):
            if isinstance(player, LanguageModelAgent | OpponentPool):
                player.forget_games() if update % flush_every else player.flush()
        set_schedules(rule.learner, schedules or {}, first / games)
        episodes = _experience(
            rule, game, (agent, opposite), first, count, seed=seed, in_flight=in_flight, retries=retries
        )
        played = counted(episodes)
        if not played:
            raise Void(
                f"all {len(episodes)} games of update {update + 1} are void, the first because {episodes[0].why}"
            )
        report = rule.learn(played)
        if pool:
            pool.record(played)
            if snapshot_every and (update + 1) % snapshot_every == 0:
                pool.grow(f"update-{update + 1}")
        seconds += time.perf_counter() - started
        yield Generation(
            update=update + 1,
            games=first + count,
            seconds=seconds,
            metrics={**report, **summarize(episodes), **vital_signs(played), **judge_metrics(game)},
            episodes=episodes,
        )


def _experience(
    rule: Rule,
    game: Game[Any],
    agents: tuple[Agent, Agent | Opponents],
    first: int,
    count: int,
    *,
    seed: int,
    in_flight: int,
    retries: int,
) -> tuple[Episode, ...]:
    """Play the games of one generation as the rule wants them."""
    swap = agents[0] is not agents[1]
    processes = rule.learner.processes
    processes.agree()
    if not rule.width:
        start, own = processes.share(count)
        games = play(
            game, agents, games=own, first=first + start, seed=seed, in_flight=in_flight, retries=retries, swap=swap
        )
        return _gathered(processes, games)
    each = rule.width * rule.rollouts
    if count < each:
        raise ValueError(f"a generation of {count} games holds no branch of {each}; raise batch_games or lower width")
    start, own = processes.share(count // each)
    branched = branch(
        game,
        agents,
        stems=own,
        width=rule.width,
        rollouts=rule.rollouts,
        first=first // each + start,
        seed=seed,
        in_flight=in_flight,
        retries=retries,
        swap=swap,
    )
    return _gathered(processes, branched)


def _gathered(processes: Processes, games: Iterable[Episode]) -> tuple[Episode, ...]:
    """Return the games of all processes. What breaks the play of one is raised by all, which would wait for it."""
    own: list[Episode | FloatingPointError]
    try:
        own = list(games)
    except FloatingPointError as error:
        own = [error]
    found = processes.gather(own)
    for broken in found:
        if isinstance(broken, FloatingPointError):
            raise broken
    return tuple(episode for episode in found if isinstance(episode, Episode))


def _rounds(games: int, batch_games: int) -> Iterator[tuple[int, int]]:
    """Yield the first game and the number of games of each generation."""
    # The remainder joins the last generation: a short one of its own would be a noisy update right at the end.
    starts = range(0, max(games // batch_games, 1) * batch_games, batch_games)
    for first in starts:
        yield first, games - first if first == starts[-1] else batch_games


def set_schedules(learner: Learner, schedules: Mapping[str, Anneal], fraction: float) -> None:
    """Set every scheduled number to what it is after a fraction of the run."""
    for name, schedule in schedules.items():
        if name == "lr":
            learner.lr = schedule(fraction) * learner.factor
        elif name in vars(learner.objective):
            setattr(learner.objective, name, schedule(fraction))
        else:
            known = ("lr", *vars(learner.objective))
            raise ValueError(f"{type(learner.objective).__name__} has no {name!r} to schedule.{near(name, known)}")


def summarize(episodes: tuple[Episode, ...]) -> dict[str, float]:
    """Return what a batch of games says of the agent given first to `play`; void games count as `voids` only."""
    void = len(episodes) - len(counted(episodes))
    episodes = counted(episodes)
    turns = [turn for episode in episodes for turn in episode.turns if turn.player == 0]
    seats = [(e, seat) for e in episodes for seat in (0, 1) if e.seated[seat] == 0]
    first = [e.rewards[0] for e, seat in seats if seat == 0]
    return {
        "illegal_rate": sum(turn.problem is not None for turn in turns) / max(len(turns), 1),
        "forfeits": sum(e.offender == seat for e, seat in seats) / max(len(seats), 1),
        "reward_first_seat": sum(first) / max(len(first), 1),
        "turns_a_game": sum(len(e.turns) for e in episodes) / len(episodes),
        **({"voids": void / (void + len(episodes))} if void else {}),
        **mean_figures(episodes),
    }
