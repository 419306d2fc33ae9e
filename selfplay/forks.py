"""Forks: replies to one prompt and what came of each. From them, advantages that need no baseline and no critic.

Chosen: equal replies are one outcome with all its returns, and every sample of it gets its mean advantage. Summed over
the samples that is what single returns give, so the gradient of a fresh policy is the same; a clip then judges a reply,
not one game's luck. Left out: advantages scaled over a whole batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from sparring.agents import Reply

from .advantage import Sample
from .episode import Episode, Turn

TIE = 1e-9
"""Returns, or means of them, that differ by no more are equal; it covers rounding in sums of rewards."""

_Ids = tuple[int, ...]
_Taken = tuple[Episode, Turn]
_KEYS: dict[str, Callable[[Episode, Turn], Hashable]] = {
    "prompt": lambda episode, turn: None,
    "state": lambda episode, turn: turn.state,
    "branch": lambda episode, turn: episode.fork,
}
BY = tuple(_KEYS)
"""What can make replies comparable."""


class Outcome(NamedTuple):
    """One reply and what came of it."""

    reply: Reply
    """The first of the equal replies; their log-probabilities are taken to be the same, as of one policy they are."""
    returns: tuple[float, ...]
    """What the seat earned from this turn on, in rewards, once for every game in which it gave this reply."""

    @property
    def mean(self) -> float:
        """The mean return, in rewards."""
        return fmean(self.returns)


class Fork(NamedTuple):
    """Everything that was replied to one prompt."""

    game: str
    seat: int
    outcomes: tuple[Outcome, ...]
    """One a distinct reply, in the order in which they were first seen."""

    @property
    def returns(self) -> tuple[float, ...]:
        """Every return of every reply."""
        return tuple(r for outcome in self.outcomes for r in outcome.returns)


def forks(episodes: Iterable[Episode], *, by: str, player: int = 0, alone: bool = True) -> Iterator[Fork]:
    """Yield every prompt to which the agent number `player` replied at least twice, in the order of first sight.

    Args:
        episodes: games, of one policy: equal tokens count as equal replies, whatever their log-probabilities.
        by: "prompt" takes all turns of one seat with identical prompt ids together, across games; "state" those in
            which all that is hidden was the same too, and what is then left alone by prompt; "branch" takes the turns
            at which the games of one stem part, and nothing else.
        player: whose turns.
        alone: whether, by "state", turns whose state did not come back are compared by prompt; else they are left out.

    By "state" replies are compared under the same luck, as they are by "branch", but of games that were played anyway:
    given the state, which reply was sampled says nothing of the others' returns, so the mean of those is a baseline. At
    a smoothed equilibrium of Leduc poker the prompt explains 28 % of the variance that the role leaves in returns, the
    state 76 % (benchmarks/results/luck.md).

    A turn's return is the final reward of its seat less what it had earned when it moved, undiscounted. Turns before a
    fork are left out: they are single samples that many games share. Raises ValueError for another `by`, for a reply
    without token ids, and for a game that was not branched where `by` is "branch".
    """
    if by not in BY:
        raise ValueError(f"by must be one of {', '.join(BY)}, not {by!r}")
    turns = [(e, t) for e in episodes for t in (_at_fork(e, player) if by == "branch" else own_turns(e, player))]
    for _, turn in turns:
        _check_tokens(turn.reply)
    groups = _grouped(turns, _KEYS[by])
    if by == "state" and alone:
        groups += _grouped([group[0] for group in groups if len(group) == 1], _KEYS["prompt"])
    for group in groups:
        if len(group) > 1:
            yield _fork(group)


def _grouped(turns: Iterable[_Taken], key: Callable[[Episode, Turn], Hashable]) -> list[list[_Taken]]:
    """Take together what was asked in one game, in one seat, by one prompt and with one key."""
    found: dict[Hashable, list[_Taken]] = {}
    for episode, turn in turns:
        # Stems of two calls may bear one number; their prompts tell them apart, or they may be pooled.
        name = episode.game, turn.seat, turn.reply.prompt_ids, key(episode, turn)
        found.setdefault(name, []).append((episode, turn))
    return list(found.values())


def _fork(group: list[_Taken]) -> Fork:
    replies: dict[_Ids, tuple[Reply, list[float]]] = {}
    for episode, turn in group:
        _, returns = replies.setdefault(turn.reply.ids, (turn.reply, []))
        returns.append(episode.rewards[turn.seat] - turn.earned)
    episode, turn = group[0]
    return Fork(episode.game, turn.seat, tuple(Outcome(reply, tuple(found)) for reply, found in replies.values()))


def own_turns(episode: Episode, player: int) -> list[Turn]:
    """Return the turns of an agent; in a branched game those from the fork on, which no other game shares."""
    start = episode.fork[1] if episode.fork else 0
    return [turn for turn in episode.turns[start:] if turn.player == player]


def whole_samples(episodes: Sequence[Episode], *, rollouts: int) -> list[Episode]:
    """Return the branched games of the samples that have all their rollouts, in forks that have two such or more.

    Where void games were left out, what remains of a sample is not the mean of `rollouts` games that
    `leave_one_out_samples` compares. A sample is told by its games' numbers, as `branch` gives them.
    """
    samples: dict[int, list[Episode]] = {}
    for episode in episodes:
        samples.setdefault(episode.index // rollouts, []).append(episode)
    whole = [games for games in samples.values() if len(games) == rollouts]
    per_fork = Counter(games[0].fork for games in whole)
    return [episode for games in whole if per_fork[games[0].fork] > 1 for episode in games]


def _at_fork(episode: Episode, player: int) -> list[Turn]:
    if episode.fork is None:
        raise ValueError(f"game {episode.index} was not branched; play games with branch(), or take by='prompt'")
    turn = episode.turns[episode.fork[1]]
    return [turn] if turn.player == player else []


def _check_tokens(reply: Reply) -> None:
    if not reply.prompt_ids or not reply.ids:
        raise ValueError(
            f"the reply {reply.text[:40]!r} has no token ids, so equal prompts and replies cannot be told; "
            "take the turns of a language model: see player="
        )


def group_samples(forks: Iterable[Fork], *, scale: bool) -> Iterator[Sample]:
    """Yield one sample a return, its advantage (mean return of the reply - mean of the fork) / standard deviation.

    GRPO (Shao et al. 2024, arXiv 2402.03300, section 4.1.2); `scale=False` leaves the division out, which is Dr. GRPO
    (Liu et al. 2025, arXiv 2503.20783). The deviation is that of all returns of the fork, with Bessel's correction as
    in TRL. Where all returns are equal the advantages are 0. They sum to 0 over a fork.
    """
    for fork in forks:
        returns = np.asarray(fork.returns)
        mean, unit = float(returns.mean()), 1.0
        if np.ptp(returns) <= TIE:
            unit = 0.0
        elif scale:
            unit = 1 / float(returns.std(ddof=1))
        for outcome in fork.outcomes:
            sample = Sample(outcome.reply, (outcome.mean - mean) * unit)
            yield from [sample] * len(outcome.returns)


def leave_one_out_samples(forks: Iterable[Fork], *, rollouts: int = 1) -> Iterator[Sample]:
    """Yield one sample a return, its advantage the return less the mean of the fork's others, meant over equal replies.

    RLOO (Ahmadian et al. 2024, arXiv 2402.14740). With `rollouts` games a sampled reply, as given to `branch`,
    the others are those of other samples. The advantages sum to 0 over a fork. Raises ValueError where a fork's returns
    are not `rollouts` for each of two samples or more.
    """
    for fork in forks:
        returns = fork.returns
        samples, rest = divmod(len(returns), rollouts)
        if rest or samples < 2:
            raise ValueError(
                f"a fork of {len(returns)} returns is not two or more samples of {rollouts} rollouts; "
                "give the rollouts of branch() and all its games, or take forks by='prompt' with rollouts=1"
            )
        # R_i - (sum - R_i) / (n - 1) = (R_i - mean) n / (n - 1), for means over rollouts as for single returns.
        mean, unit = fmean(returns), samples / (samples - 1)
        for outcome in fork.outcomes:
            sample = Sample(outcome.reply, (outcome.mean - mean) * unit)
            yield from [sample] * len(outcome.returns)
