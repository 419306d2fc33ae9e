"""Branched play: several replies to one and the same state, each played out, so that outcomes say which was better.

Chosen: a stem's own continuation is not among its branches. Its turn is drawn uniformly from the learner's turns of a
finished game, so of all games through a state the short ones fork there most often, and their outcomes would be biased.
Left out: forks at the turns of an opponent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sparring.agents import Agent, mix, uniform
from sparring.envs import Game

from .episode import Episode
from .play import Lane, Opponents, deal, drive, play, settle, wave

# A game's stream gives turn t the noise mix(key, t); what is drawn beside the turns comes from further on.
_FORK = 1 << 32
_CHILD = _FORK + 1


def branch(
    game: Game[Any],
    agents: tuple[Agent, Agent | Opponents],
    *,
    stems: int,
    width: int,
    rollouts: int = 1,
    seed: int = 0,
    first: int = 0,
    in_flight: int = 512,
    retries: int = 0,
    swap: bool = False,
) -> Iterator[Episode]:
    """Play games, fork each at one turn of the first agent, and yield what came of `width` new replies there.

    The stems are the games that `play` plays of this seed; only their branches are yielded, each a whole game with the
    turns before the fork and `fork=(stem, turn)`. The turn is drawn uniformly from those of the first agent, by the
    stem's own noise; a stem in which it has no turn yields nothing. Episode `(stem * width + candidate) * rollouts + n`
    is the `n`-th rollout of a stem's candidate reply.

    A fork fixes the whole state, the deal included: in a game of hidden information its outcomes compare replies under
    one deal, of which the player knew a part. `forks(..., by="prompt")` pools what looks the same to the player.

    Args:
        game: what is played.
        agents: the learner, and who sits opposite: an agent, or a function from a stem's number to one.
        stems: games that are forked.
        width: replies sampled anew at each fork.
        rollouts: games that follow each of them, other noise in each.
        seed: of every deal, fork and reply.
        first: number of the first stem.
        in_flight: how many games are played at once. It does not change the games.
        retries: illegal replies that a seat may take back in a turn; 0 forfeits at once.
        swap: whether the agents change seats in every stem of odd number.

    Raises ValueError for counts below 1, RuntimeError if a game's transitions are not pure.
    """
    if width < 1 or rollouts < 1:
        raise ValueError(f"width and rollouts must be 1 or more, not {width} and {rollouts}")
    play_stems = partial(
        play, game, games=stems, seed=seed, first=first, in_flight=in_flight, retries=retries, swap=swap
    )
    roots = list(_roots(game, agents, play_stems, seed, retries))
    candidates = {lane.index: lane for root in roots for lane in (_child(root, n, width) for n in range(width))}
    _ask(list(candidates.values()), in_flight)

    def start(index: int, number: int) -> Lane:
        candidate, n = divmod(index, rollouts)
        return _child(candidates[candidate], n, rollouts, number=number)

    yield from drive([index * rollouts + n for index in candidates for n in range(rollouts)], start, in_flight)


def _roots(
    game: Game[Any],
    agents: tuple[Agent, Agent | Opponents],
    play_stems: Callable[[tuple[Agent, Opponents]], Iterator[Episode]],
    seed: int,
    retries: int,
) -> Iterator[Lane]:
    """Yield every stem as it was before the turn at which it forks."""
    learner, opponent = agents
    drawn: dict[int, Agent] = {}

    def draw(index: int) -> Agent:
        # Asked once a stem: its branches meet the opponent that it met.
        drawn[index] = opponent if isinstance(opponent, Agent) else opponent(index)
        return drawn[index]

    for stem in play_stems((learner, draw)):
        root = _fork(game, (learner, drawn.pop(stem.index)), stem, seed, retries)
        if root is not None:
            yield root


def _fork(game: Game[Any], agents: tuple[Agent, Agent], stem: Episode, seed: int, retries: int) -> Lane | None:
    """Return a stem as it was before the turn at which it forks; None if the first agent has no turn in it."""
    match, key = deal(game, seed, stem.index, retries)
    own = [t for t, turn in enumerate(stem.turns) if turn.player == 0]
    if not own:
        return None
    at = own[int(uniform(mix(key, _FORK)) * len(own))]
    for turn in stem.turns[:at]:
        match.step(turn.reply.text)
        settle([match])
    if match.seat is None or match.prompt != stem.turns[at].prompt:
        raise RuntimeError(
            f"game {stem.index} of {game.name} went another way when its replies were given again; "
            "all chance must be in deal(), and play() a pure function: see check_game"
        )
    return Lane(
        match,
        agents,
        stem.index,
        0,
        key=key,
        swapped=stem.seated[0] == 1,
        turns=stem.turns[:at],
        fork=(stem.index, at),
    )


def _child(lane: Lane, n: int, count: int, *, number: int = 0) -> Lane:
    """Return a copy of a game in progress with noise of its own: the `n`-th of `count`."""
    return Lane(
        copy.copy(lane.match),
        lane.agents,
        lane.index * count + n,
        number,
        key=mix(lane.key, _CHILD + n),
        swapped=lane.seated[0] == 1,
        turns=lane.turns,
        fork=lane.fork,
    )


def _ask(candidates: list[Lane], in_flight: int) -> None:
    """Take one turn in each game, `in_flight` games in a call."""
    for start in range(0, len(candidates), in_flight):
        asked = candidates[start : start + in_flight]
        for number, lane in enumerate(asked):
            lane.number = number
        wave(asked)
