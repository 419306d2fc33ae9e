"""How strong a policy is: exactly where the game is small enough, by matches against a random player where not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from sparring.agents import Agent, Policy, RandomAgent
from sparring.envs import Ending, Game, Void, near
from sparring.envs.tree import NotEnumerable

from .episode import Episode, counted, mean_figures
from .exploitability import exploitability, losses_to_optimal, solvable_tree
from .play import play
from .sampled import sampled_exploitability

KINDS = ("auto", "exact", "sampled", "figure", "match")


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
            "sampled": NashConv estimated from replies, for models that reason before they move; "figure": the game's
            own figure of how well two copies of the player do together; "match": mean reward against the random player;
            "auto": exact if it can be, else the game's figure if it has one, else a match.
        limit: states up to which "auto" is exact.
        samples: replies a prompt, where they are sampled.
        games: of a match, in which the seats change every game, or of play for the game's figure.
        seed: of samples and matches.

    Raises ValueError for an unknown kind, and where the game does not allow it. Measuring raises Void where every game
    is.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown measure {kind!r}.{near(kind, KINDS)}")
    match = Measure("reward_vs_random", lambda agent: _match(game, agent, games, seed), "measured by matches")
    if kind == "match":
        return match
    own = Measure(
        game.figure, lambda agent: _figure(game, agent, games, seed), f"measured over {games} games with itself"
    )
    if kind == "figure":
        if not game.figure:
            raise ValueError(f"measure 'figure': {game.name} has none; define figures() and name one in `figure`")
        return own
    try:
        tree = solvable_tree(game, limit=limit if kind == "auto" else 1_000_000)
    except (NotEnumerable, NotImplementedError) as error:
        if kind != "auto":
            raise ValueError(f"measure {kind!r}: {error}") from error
        other = own if game.figure else match
        return other._replace(note=f"{other.note}, because {error}")
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
    """The mean reward of a match in which the seats change every game, its error, and the mean in each seat."""
    episodes = _played(play(game, (agent, RandomAgent()), games=games, seed=seed, swap=True))
    seats = [episode.seated.index(0) for episode in episodes]
    rewards = [episode.rewards[seat] for episode, seat in zip(episodes, seats, strict=True)]
    of_seat = [[reward for reward, taken in zip(rewards, seats, strict=True) if taken == seat] for seat in (0, 1)]
    reward, (low, high) = statistics.fmean(rewards), game.reward_range
    return {
        "reward_vs_random": reward,
        "reward_vs_random_error": _standard_error(rewards),
        # Where roles differ, one may be learned and the other not.
        **{f"reward_vs_random_seat{seat}": statistics.fmean(own) for seat, own in enumerate(of_seat) if own},
        "strength": (reward - low) / (high - low),
        **mean_figures(episodes),
    }


def _figure(game: Game[Any], agent: Measurable, games: int, seed: int) -> dict[str, float]:
    """The game's own figure over games of the player with itself, and its standard error; forfeits count as 0."""
    episodes = _played(play(game, (agent, agent), games=games, seed=seed))
    values = [episode.figures.get(game.figure, 0.0) for episode in episodes]
    value = statistics.fmean(values)
    return {
        game.figure: value,
        f"{game.figure}_error": _standard_error(values),
        "strength": value,
        "forfeits_measured": sum(e.ending is Ending.ILLEGAL for e in episodes) / len(episodes),
        **mean_figures(episodes),
    }


def _played(episodes: Iterable[Episode]) -> tuple[Episode, ...]:
    """Return the games that count. Raises Void if none does."""
    found = tuple(episodes)
    played = counted(found)
    if not played:
        raise Void(f"all {len(found)} games of a measure are void, the first because {found[0].why}")
    return played


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _strength(game: Game[Any], nashconv: float) -> float:
    """Return 1 less the share of all that two seats could lose that they do lose to best responses."""
    low, high = game.reward_range
    return 1 - nashconv / (2 * (high - low))
