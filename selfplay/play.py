"""Playing: many games in flight, the prompts of both seats batched into one call a wave.

Chosen: each game has a stream of its own, from which its deal and the noise of all its replies come, and games are
yielded in order; so a seed gives the same games however many are in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from sparring.agents import Agent, Message, Prompt, Reply, SharedAgent, mix
from sparring.envs import Ending, Game, Match, judge_of
from sparring.envs.judging import decide

from .episode import Episode, Turn

Opponents = Callable[[int], Agent]
"""Who sits opposite in the game of each number: what an `OpponentPool` draws."""


def play(
    game: Game[Any],
    agents: tuple[Agent, Agent | Opponents],
    *,
    games: int,
    seed: int = 0,
    first: int = 0,
    in_flight: int = 512,
    retries: int = 0,
    swap: bool = False,
) -> Iterator[Episode]:
    """Play games between two agents (the same one twice is self-play) and yield them in order.

    Args:
        game: what is played.
        agents: who sits in seat 0 and in seat 1; the second may be a function from a game's number to an agent.
        games: how many games.
        seed: of every deal and every reply.
        first: number of the first game; games `first` to `first + games - 1` of the seed are played.
        in_flight: how many games are played at once. It does not change the games.
        retries: illegal replies that a seat may take back in a turn; 0 forfeits at once.
        swap: whether the agents change seats in every game of odd number.
    """
    opponent = agents[1]
    drawn = (lambda _: opponent) if isinstance(opponent, Agent) else opponent

    def start(index: int, number: int) -> Lane:
        match, key = deal(game, seed, index, retries)
        return Lane(match, (agents[0], drawn(index)), index, number, key=key, swapped=swap and index % 2 == 1)

    yield from drive(range(first, first + games), start, in_flight)


def deal(
    game: Game[Any], seed: int, index: int, retries: int, kind: type[Match[Any]] = Match
) -> tuple[Match[Any], int]:
    """Return the game of this seed and number as it is dealt, as a match of some kind, and the key of its noise."""
    rng = np.random.Generator(np.random.Philox(_Key(seed, index)))  # type: ignore[arg-type]
    match = kind(game, rng, retries=retries, deferred=True)
    return match, int(rng.integers(1 << 63))


class _Key(ISeedSequence):
    """The key of a stream, as it is. `Philox(key=...)` asks the system for chance first, which takes long."""

    __slots__ = ("words",)

    def __init__(self, *words: int) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        """Return the key's two words."""
        return np.array(self.words, dtype=dtype)


class Lane:
    """One game in flight."""

    __slots__ = ("agents", "fork", "index", "is_stepping", "key", "match", "number", "seated", "turns")

    def __init__(
        self,
        match: Match[Any],
        agents: tuple[Agent, Agent],
        index: int,
        number: int,
        *,
        key: int,
        swapped: bool = False,
        turns: Sequence[Turn] = (),
        fork: tuple[int, int] | None = None,
    ) -> None:
        """Go on with `match`, whose turns so far are `turns`; `key` is of its noise, `number` its place in flight."""
        self.match = match
        self.agents = agents
        self.index = index
        self.number = number
        self.key = key
        self.turns = list(turns)
        self.fork = fork
        self.is_stepping = False
        """Whether a reply has been begun with and is not written down yet, which only an interrupt leaves so."""
        second = 0 if agents[0] is agents[1] else 1
        self.seated = (second, 0) if swapped else (0, second)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to play, and all that was is in the record."""
        return self.match.ending is not None and not self.is_stepping

    def agent(self) -> Agent:
        """Return who is to move."""
        assert self.match.seat is not None
        return self.agents[self.seated[self.match.seat]]

    def prompt(self) -> Prompt:
        """Return what the seat to move is asked."""
        match = self.match
        assert match.seat is not None
        return Prompt(
            messages=(Message("user", match.prompt),),
            game=match.game,
            seat=match.seat,
            legal=match.legal,
            slot=(self.number, match.seat),
            noise=mix(self.key, len(self.turns)),
            speeches=match.game.speeches(match.state) if match.legal is None else (),
        )

    def take(self, prompt: Prompt, reply: Reply) -> None:
        """Step the game with a reply; one that a fault kept away ends the game."""
        if reply.fault:
            self.match.void(f"{self.agent().name}: {reply.fault}")
            return
        state, spoken = self.match.state, self.match.legal is None
        self.is_stepping = True
        reading = self.match.step(reply.text)
        self.turns.append(
            Turn(
                seat=prompt.seat,
                player=self.seated[prompt.seat],
                prompt=prompt.messages[-1].content,
                reply=reply,
                move=reading.move,
                problem=reading.problem,
                earned=self.match.game.earned(state)[prompt.seat],
                spoken=spoken,
                state=state,
            )
        )
        self.is_stepping = False

    def episode(self) -> Episode:
        """Return the record of the finished game."""
        match = self.match
        assert match.ending is not None
        return Episode(
            game=match.game.name,
            index=self.index,
            turns=tuple(self.turns),
            rewards=match.rewards,
            ending=match.ending,
            offender=match.offender,
            why=match.why,
            figures=match.game.figures(match.state) if match.ending is Ending.PLAYED else {},
            players=(self.agents[self.seated[0]].name, self.agents[self.seated[1]].name),
            seated=self.seated,
            fork=self.fork,
        )


def drive(indices: Sequence[int], start: Callable[[int, int], Lane], in_flight: int) -> Iterator[Episode]:
    """Play the games that `start(index, number)` begins, at most `in_flight` at once; yield them in order."""
    due = iter(indices)
    next_due = next(due, None)
    waiting: dict[int, Episode] = {}
    for episode in as_they_end(indices, start, in_flight):
        waiting[episode.index] = episode
        while next_due in waiting:
            yield waiting.pop(next_due)
            next_due = next(due, None)


def as_they_end(
    indices: Sequence[int],
    start: Callable[[int, int], Lane],
    in_flight: int,
    over: dict[int, Episode] | None = None,
) -> Generator[Episode]:
    """Play as `drive` does, and yield each game when it is over.

    `over` gets, whatever ends this early, an interrupt too, the games that are over and were not yielded, and perhaps
    the last one that was.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight must be 1 or more, not {in_flight}")
    waiting = iter(indices)
    lanes: list[Lane] = []
    over = {} if over is None else over
    free = list(range(min(in_flight, len(indices))))
    try:
        while free or lanes:
            lanes += [start(index, number) for number, index in zip(free, waiting, strict=False)]
            wave([lane for lane in lanes if lane.match.ending is None])
            over |= {lane.index: lane.episode() for lane in lanes if lane.is_over}
            free = [lane.number for lane in lanes if lane.is_over]
            lanes = [lane for lane in lanes if not lane.is_over]
            while over:
                index = next(iter(over))
                yield over[index]
                del over[index]
    finally:
        over |= {lane.index: lane.episode() for lane in lanes if lane.is_over}


def wave(lanes: list[Lane]) -> None:
    """Ask every agent once for all the games in which it is to move; agents that share an engine are asked together.

    What then needs a verdict is judged, each judge asked once for all its cases.
    """
    asked: dict[int, tuple[Agent, list[tuple[Lane, Prompt]]]] = {}
    for lane in lanes:
        agent = lane.agent()
        asked.setdefault(id(agent), (agent, []))[1].append((lane, lane.prompt()))
    calls: dict[int, tuple[Agent, list[tuple[Lane, Prompt, Prompt]]]] = {}
    for agent, pairs in asked.values():
        shared = agent if isinstance(agent, SharedAgent) else None
        engine = shared.engine if shared else agent
        _, call = calls.setdefault(id(engine), (engine, []))
        call.extend((lane, prompt, shared.address(prompt) if shared else prompt) for lane, prompt in pairs)
    for engine, call in calls.values():
        replies = engine.reply([addressed for _, _, addressed in call])
        for (lane, prompt, _), reply in zip(call, replies, strict=True):
            lane.take(prompt, reply)
    settle([lane.match for lane in lanes])


def settle(matches: Sequence[Match[Any]]) -> None:
    """Let judges decide what waits for them, all cases of a judge in one call."""
    while waiting := [match for match in matches if match.case is not None]:
        judge = judge_of(waiting[0].game)
        asked = [match for match in waiting if match.game.judge is judge]
        verdicts = decide(judge, [match.case for match in asked if match.case is not None])
        for match, verdict in zip(asked, verdicts, strict=True):
            match.settle(verdict)
