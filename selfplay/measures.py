"""How strong a policy is: exactly where the game is small enough, by matches against a random player where not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from sparring.agents import Agent, Policy, RandomAgent
from sparring.envs import Game, near
from sparring.envs.tree import NotEnumerable

from .exploitability import exploitability, losses_to_optimal, solvable_tree
from .play import play
from .sampled import sampled_exploitability

KINDS = ("auto", "exact", "sampled", "match")


class Measurable(Agent, Policy, Protocol):
    """A player whose move probabilities can be asked for."""


class Measure(NamedTuple):
    """A way to tell strength."""

    figure: str
    """The name of the one figure that tells it."""
    take: Callable[[Measurable], dict[str, float]]
    """Measures a player: that figure, `strength` (0 to 1, higher is better, for the guard) and others."""
    note: str
    """Why it is this one."""


def make_measure(
    game: Game[Any],
    kind: str = "auto",
    *,
    limit: int = 100_000,
    samples: int = 100,
    games: int = 400,
    seed: int = 0,
) -> Measure:
    """Return the way to measure strength in `game`.

    Args:
        game: what is played.
        kind: "exact": NashConv over whole canonical replies, and losses to perfect play where nothing is hidden;
            "sampled": NashConv estimated from replies, for models that reason before they move; "match": mean reward
            against the random player; "auto": exact if it can be, else a match.
        limit: states up to which "auto" is exact.
        samples: replies a prompt, where they are sampled.
        games: of a match, in which the seats change every game.
        seed: of samples and matches.

    Raises ValueError for an unknown kind, and for "exact" and "sampled" where the game does not allow it.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown measure {kind!r}.{near(kind, KINDS)}")
    match = Measure("reward_vs_random", lambda agent: _match(game, agent, games, seed), "measured by matches")
    if kind == "match":
        return match
    try:
        tree = solvable_tree(game, limit=limit if kind == "auto" else 1_000_000)
    except (NotEnumerable, NotImplementedError) as error:
        if kind != "auto":
            raise ValueError(f"measure {kind!r}: {error}") from error
        return match._replace(note=f"measured by matches, because {error}")
    if kind == "sampled":
        return Measure("nashconv", lambda agent: _sampled(game, agent, samples, seed), f"{samples} replies a prompt")
    if tree.perfect_information and game.zero_sum:
        return Measure("loss_vs_optimal", lambda agent: _exact(game, agent) | _losses(game, agent), "measured exactly")
    return Measure("nashconv", lambda agent: _exact(game, agent), "measured exactly")


def _exact(game: Game[Any], agent: Measurable) -> dict[str, float]:
    found = exploitability(game, agent)
    return {
        "nashconv": found.nashconv,
        "strength": _strength(game, found.nashconv),
        "nashconv_legal": found.nashconv_legal,
        "value_first_seat": found.values[0],
        "illegal_mass": found.illegal_mass,
        "illegal_mass_max": found.illegal_mass_max,
    }


def _losses(game: Game[Any], agent: Measurable) -> dict[str, float]:
    found = losses_to_optimal(game, agent)
    return {
        "loss_vs_optimal": found.loss,
        "strength": 1 - found.loss,
        "illegal_vs_optimal": sum(o.illegal for o in found.optimal) / 2,
    }


def _sampled(game: Game[Any], agent: Measurable, samples: int, seed: int) -> dict[str, float]:
    found = sampled_exploitability(game, agent, samples=samples, seed=seed)
    return {
        "nashconv": found.nashconv.plug_in,
        "strength": _strength(game, found.nashconv.plug_in),
        "nashconv_lower": found.nashconv.lower,
        "nashconv_upper": found.nashconv.upper,
        "nashconv_legal": found.nashconv_legal.plug_in,
        "illegal_mass_max": found.illegal_mass_max,
    }


def _match(game: Game[Any], agent: Measurable, games: int, seed: int) -> dict[str, float]:
    """The mean reward of a match in which the seats change every game, and its standard error."""
    rewards = [
        episode.rewards[episode.seated.index(0)]
        for episode in play(game, (agent, RandomAgent()), games=games, seed=seed, swap=True)
    ]
    error = statistics.stdev(rewards) / math.sqrt(games)
    reward, (low, high) = statistics.fmean(rewards), game.reward_range
    return {
        "reward_vs_random": reward,
        "reward_vs_random_error": error,
        "strength": (reward - low) / (high - low),
    }


def _strength(game: Game[Any], nashconv: float) -> float:
    """Return 1 less the share of all that two seats could lose that they do lose to best responses."""
    low, high = game.reward_range
    return 1 - nashconv / (2 * (high - low))
