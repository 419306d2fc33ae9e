"""Turn-level generalized advantage estimation: one reply is one action, along a seat's own turns.

Chosen: the other seat's turns in between are part of the environment, and a turn is paid all that its seat earns up
to its own next turn. A game that is cut short has its rewards as they are: nothing is bootstrapped at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from .advantage import Sample
from .episode import Episode, Turn


class Predictor(Protocol):
    """Anything that says how much a seat will still earn from a prompt on; `Critic` does."""

    def predict(self, prompts: Sequence[tuple[int, ...]]) -> list[float]:
        """Return one value a prompt, given as token ids."""
        ...


def gae(rewards: Sequence[float], values: Sequence[float], *, gamma: float = 1.0, lam: float = 0.95) -> list[float]:
    """Return the advantage of each step (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    A_t = sum over l of (gamma lam)^l delta_{t+l} with delta_t = r_t + gamma V_{t+1} - V_t, and V = 0 after the end.

    Args:
        rewards: what each step was paid.
        values: what was predicted before each step.
        gamma: discount a step.
        lam: 1 trusts the rewards alone (returns less values), 0 the next value (one step).

    Raises ValueError if the lengths differ, or gamma or lam lies outside [0, 1].

    >>> gae([0.0, 1.0], [0.5, 0.25], gamma=1.0, lam=0.5)
    [0.125, 0.75]
    """
    _check(gamma, lam)
    if len(rewards) != len(values):
        raise ValueError(f"there are {len(rewards)} rewards and {len(values)} values; give one of each a step")
    advantages: list[float] = []
    advantage = after = 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        advantage = reward + gamma * after - value + gamma * lam * advantage
        advantages.append(advantage)
        after = value
    return advantages[::-1]


def turn_rewards(episode: Episode, seat: int) -> list[float]:
    """Return what each turn of a seat was paid: all that the seat earned from it to its own next turn, or to the end.

    They add up to the seat's final reward, less what it had earned before its first turn: no action of its own
    brought that in. Refused replies of a turn are turns here.
    """
    earned = [turn.earned for turn in episode.turns if turn.seat == seat]
    return [after - before for before, after in pairwise([*earned, episode.rewards[seat]])]


def critic_samples(
    episodes: Iterable[Episode], critic: Predictor, *, gamma: float = 1.0, lam: float = 0.95, player: int = 0
) -> list[Sample]:
    """Return one sample a turn of the agent number `player`, advantages by `gae` along each seat's own turns.

    A sample's `value` is the critic's of the turn's prompt, all asked for in one call; its `target` is the
    lambda-return, advantage + value. Samples come in the order of the turns.

    Raises ValueError for a turn without prompt ids, or if gamma or lam lies outside [0, 1].
    """
    _check(gamma, lam)
    episodes = list(episodes)
    value_of = _values(critic, [turn for e in episodes for turn in e.turns if turn.player == player])
    found: list[Sample] = []
    for episode in episodes:
        of_seat = {
            seat: iter(_seat_samples(episode, seat, value_of, gamma=gamma, lam=lam))
            for seat in (0, 1)
            if episode.seated[seat] == player
        }
        found += [next(of_seat[turn.seat]) for turn in episode.turns if turn.player == player]
    return found


def _check(gamma: float, lam: float) -> None:
    for name, number in (("gamma", gamma), ("lam", lam)):
        if not 0 <= number <= 1:
            raise ValueError(f"{name} must lie in [0, 1], not {number}")


def _values(critic: Predictor, turns: Sequence[Turn]) -> dict[tuple[int, ...], float]:
    """Return the value of each distinct prompt."""
    prompts = list(dict.fromkeys(turn.reply.prompt_ids for turn in turns))
    if () in prompts:
        raise ValueError("a turn has no prompt ids; only replies of a language model can be learned from")
    return dict(zip(prompts, critic.predict(prompts), strict=True))


def _seat_samples(
    episode: Episode, seat: int, value_of: dict[tuple[int, ...], float], *, gamma: float, lam: float
) -> list[Sample]:
    replies = [turn.reply for turn in episode.turns if turn.seat == seat]
    values = [value_of[reply.prompt_ids] for reply in replies]
    advantages = gae(turn_rewards(episode, seat), values, gamma=gamma, lam=lam)
    return [
        Sample(reply, advantage, target=advantage + value, value=value)
        for reply, advantage, value in zip(replies, advantages, values, strict=True)
    ]
