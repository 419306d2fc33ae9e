"""Playing: many games in flight, the prompts of both seats batched into one call a wave.

Chosen: each game has a stream of its own, from which its deal and the noise of all its replies come, and games are
yielded in order; so a seed gives the same games however many are in flight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sparring.agents import Agent, Message, Prompt, Reply, mix
from sparring.envs import Game, Match

from .episode import Episode, Turn


def play(
    game: Game[Any],
    agents: tuple[Agent, Agent],
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
        agents: who sits in seat 0 and in seat 1.
        games: how many games.
        seed: of every deal and every reply.
        first: number of the first game; games `first` to `first + games - 1` of the seed are played.
        in_flight: how many games are played at once. It does not change the games.
        retries: illegal replies that a seat may take back in a turn; 0 forfeits at once.
        swap: whether the agents change seats in every game of odd number.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight must be 1 or more, not {in_flight}")
    waiting = iter(range(first, first + games))
    lanes: list[_Lane] = []
    finished: dict[int, Episode] = {}
    due = first
    free = list(range(min(in_flight, games)))
    while True:
        for number in free:
            index = next(waiting, None)
            if index is None:
                break
            lanes.append(_Lane(game, agents, seed, index, number, retries, swap and index % 2 == 1))
        going = [lane for lane in lanes if lane.match.seat is not None]
        _wave(agents, going)
        free = []
        for lane in lanes:
            if lane.match.seat is None:
                finished[lane.index] = lane.episode(agents)
                free.append(lane.number)
        lanes = [lane for lane in going if lane.match.seat is not None]
        while due in finished:
            yield finished.pop(due)
            due += 1
        if due == first + games:
            return


class _Lane:
    """One game in flight."""

    __slots__ = ("index", "key", "match", "number", "seated", "turns")

    def __init__(
        self,
        game: Game[Any],
        agents: tuple[Agent, Agent],
        seed: int,
        index: int,
        number: int,
        retries: int,
        swapped: bool,
    ) -> None:
        rng = np.random.Generator(np.random.Philox(key=[seed, index]))
        self.index = index
        self.number = number
        self.match = Match(game, rng, retries=retries)
        self.key = int(rng.integers(1 << 63))
        self.turns: list[Turn] = []
        second = 0 if agents[0] is agents[1] else 1
        self.seated = (second, 0) if swapped else (0, second)

    def prompt(self) -> Prompt:
        match = self.match
        seat = match.seat
        assert seat is not None
        return Prompt(
            messages=(Message("user", match.prompt),),
            game=match.game,
            seat=seat,
            legal=match.legal,
            slot=(self.number, seat),
            noise=mix(self.key, len(self.turns)),
        )

    def take(self, prompt: Prompt, reply: Reply) -> None:
        reading = self.match.step(reply.text)
        self.turns.append(
            Turn(
                seat=prompt.seat,
                player=self.seated[prompt.seat],
                prompt=prompt.messages[-1].content,
                reply=reply,
                move=reading.move,
                problem=reading.problem,
            )
        )

    def episode(self, agents: tuple[Agent, Agent]) -> Episode:
        match = self.match
        assert match.ending is not None
        return Episode(
            game=match.game.name,
            index=self.index,
            turns=tuple(self.turns),
            rewards=match.rewards,
            ending=match.ending,
            offender=match.offender,
            players=(agents[self.seated[0]].name, agents[self.seated[1]].name),
            seated=self.seated,
        )


def _wave(agents: tuple[Agent, Agent], lanes: list[_Lane]) -> None:
    """Ask every agent once for all the games in which it is to move."""
    asked: tuple[list[tuple[_Lane, Prompt]], ...] = ([], [])
    for lane in lanes:
        prompt = lane.prompt()
        asked[lane.seated[prompt.seat]].append((lane, prompt))
    for agent, pairs in zip(agents, asked, strict=True):
        if pairs:
            replies = agent.reply([prompt for _, prompt in pairs])
            for (lane, prompt), reply in zip(pairs, replies, strict=True):
                lane.take(prompt, reply)
