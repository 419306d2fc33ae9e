"""How strong a policy is: exactly where the game is small enough, by matches against a random player where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sparring.agents import Agent, Policy, RandomAgent
from sparring.envs import Game
from sparring.envs.tree import enumerate_tree

from .exploitability import exploitability, losses_to_optimal
from .play import play


class Measurable(Agent, Policy, Protocol):
    """A player whose move probabilities can be asked for."""


Measure = Callable[[Measurable], dict[str, float]]


def make_measure(game: Game[Any], *, limit: int = 100_000, games: int = 200, seed: int = 0) -> tuple[str, Measure]:
    """Return the name of the figure that tells strength in this game, and a function that measures it and others.

    Args:
        game: what is played.
        limit: states up to which evaluation is exact.
        games: of a match, where it is not; the seats change in every game.
        seed: of the match.
    """
    try:
        perfect = enumerate_tree(game, limit=limit).perfect_information
    except (NotImplementedError, ValueError):
        # Too large, free text, or no list of deals: nothing to enumerate.
        return "reward_vs_random", lambda agent: _match(game, agent, games, seed)
    if perfect and game.zero_sum:
        return "loss_vs_optimal", lambda agent: _exact(game, agent) | _losses(game, agent)
    return "nashconv", lambda agent: _exact(game, agent)


def _exact(game: Game[Any], agent: Measurable) -> dict[str, float]:
    found = exploitability(game, agent)
    return {
        "nashconv": found.nashconv,
        "nashconv_legal": found.nashconv_legal,
        "value_first_seat": found.values[0],
        "illegal_mass": found.illegal_mass,
        "illegal_mass_max": found.illegal_mass_max,
    }


def _losses(game: Game[Any], agent: Measurable) -> dict[str, float]:
    found = losses_to_optimal(game, agent)
    return {"loss_vs_optimal": found.loss, "illegal_vs_optimal": sum(o.illegal for o in found.optimal) / 2}


def _match(game: Game[Any], agent: Measurable, games: int, seed: int) -> dict[str, float]:
    """The mean reward of a match in which the seats change every game."""
    rewards = [
        episode.rewards[episode.seated.index(0)]
        for episode in play(game, (agent, RandomAgent()), games=games, seed=seed, swap=True)
    ]
    return {"reward_vs_random": sum(rewards) / len(rewards)}
