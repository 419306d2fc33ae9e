"""What preference and imitation losses learn from: pairs, win rates, labels and weights, made from outcomes of play.

Chosen: who is better is read off returns, never judged by a model. Left out: pairs of replies to different prompts,
such as a winner's and a loser's turn of one game, which no preference loss is defined for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparring.agents import Message, Prompt, Reply, mix
from sparring.envs import Game

from .advantage import Sample
from .episode import Episode, Turn
from .forks import TIE, Fork, Outcome, own_turns

if TYPE_CHECKING:
    from sparring.agents import LanguageModelAgent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two replies to one prompt. Raises ValueError if the prompts differ, or a reply has no token ids."""

    chosen: Reply
    rejected: Reply
    target: float = 1.0
    """Probability that the chosen one is the better."""
    weight: float = 1.0
    """How many comparisons the pair stands for."""

    def __post_init__(self) -> None:
        for reply in (self.chosen, self.rejected):
            if not reply.prompt_ids or not reply.ids:
                raise ValueError(f"{reply.text[:40]!r} has no token ids; pairs are of replies of a language model")
        if self.chosen.prompt_ids != self.rejected.prompt_ids:
            raise ValueError(
                "the replies of a pair answer different prompts, as a winner's and a loser's turn of one game do; "
                "branch the game at one state (branch), pair identical prompts across games (forks by='prompt'), "
                "or learn from single replies (labelled, for KTO)"
            )
        if not 0 <= self.target <= 1:
            raise ValueError(f"target is a probability, from 0 to 1, not {self.target}")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be above 0 and finite, not {self.weight}; leave the pair out")


class Rated(NamedTuple):
    """A reply and how often it beats the policy's own."""

    reply: Reply
    win_rate: float
    """Probability that it does better than the policy's own reply to the same prompt, ties half."""
    weight: float
    """How many times the reply was sampled."""


class Gap(NamedTuple):
    """Two replies to one prompt and how much more the first earned."""

    first: Reply
    second: Reply
    gap: float
    """Mean return of the first less that of the second, in rewards."""
    weight: float
    """How many comparisons it stands for."""


class Labelled(NamedTuple):
    """A single reply, good or bad."""

    reply: Reply
    desirable: bool
    weight: float


class Weighted(NamedTuple):
    """A reply to imitate, and how much."""

    reply: Reply
    weight: float


def pairs(
    forks: Iterable[Fork],
    *,
    threshold: float = 0.0,
    soft: bool = False,
    span: float | None = None,
    smoothing: float = 1.0,
) -> Iterator[Pair]:
    """Yield a pair for each two distinct replies of a fork; the one with the higher mean return is chosen.

    Args:
        forks: replies with their returns. Illegal replies are replies like any other.
        threshold: in rewards; pairs whose means differ by no more are dropped.
        soft: whether the target is the share of comparisons, one return of each reply, that the chosen one wins, ties
            half. Equal means are then kept if the threshold is 0: that two replies are as good is worth knowing. The
            target may lie under 1/2 where the higher mean comes from rare high returns.
        span: in rewards, the most that two returns can differ by. With it a comparison won by less counts for less:
            the target is 1/2 + (difference of means) / (2 span). In games that are won, drawn or lost it is the same
            share; where stakes differ, as in poker, only this way does the better mean always have the target above
            1/2, so that a policy that follows targets follows expected rewards.
        smoothing: comparisons added to each side of that share, so that few games say nothing with certainty (Laplace's
            rule at 1). The share counts as 2 `weight` comparisons: one game each is one, ten each are ten, not a
            hundred, for they are not independent.

    A pair's weight is n_c n_r / (n_c + n_r), the numbers of their returns: the inverse of the variance of the
    difference of two means, in units of the variance of a return. k replies give up to k (k - 1) / 2 pairs.
    """
    if threshold < 0 or smoothing < 0:
        raise ValueError(f"threshold and smoothing must be 0 or more, not {threshold} and {smoothing}")
    for fork in forks:
        best_first = sorted(((outcome.mean, outcome) for outcome in fork.outcomes), key=lambda o: o[0], reverse=True)
        for (high, chosen), (low, rejected) in combinations(best_first, 2):
            if high - low > threshold + TIE or (soft and threshold == 0):
                yield _pair(chosen, rejected, smoothing if soft else None, span)


def _pair(chosen: Outcome, rejected: Outcome, smoothing: float | None, span: float | None) -> Pair:
    """Return the pair, with a hard target if `smoothing` is None."""
    n, m = len(chosen.returns), len(rejected.returns)
    weight = n * m / (n + m)
    target = 1.0
    if smoothing is not None:
        if span is None:
            share = _wins(chosen.returns, rejected.returns) / (n * m)
        else:
            share = 0.5 + (chosen.mean - rejected.mean) / (2 * span)
        target = (share * 2 * weight + smoothing) / (2 * weight + 2 * smoothing)
    return Pair(chosen=chosen.reply, rejected=rejected.reply, target=target, weight=weight)


def gaps(forks: Iterable[Fork]) -> Iterator[Gap]:
    """Yield each two distinct replies of a fork with the difference of their mean returns, weighed as in `pairs`.

    What REBEL (Gao et al. 2024, arXiv 2404.16767) regresses on; where two replies come up again they stand in the same
    order, that of their ids.
    """
    for fork in forks:
        for a, b in combinations(sorted(fork.outcomes, key=lambda outcome: outcome.reply.ids), 2):
            n, m = len(a.returns), len(b.returns)
            yield Gap(a.reply, b.reply, a.mean - b.mean, n * m / (n + m))


def _wins(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return how many of all comparisons, one of ours with one of theirs, ours wins; ties half."""
    ordered = np.sort(theirs)
    below = np.searchsorted(ordered, np.asarray(ours) - TIE, side="left")
    up_to = np.searchsorted(ordered, np.asarray(ours) + TIE, side="right")
    return float((below + up_to).sum()) / 2


def rated(forks: Iterable[Fork], *, span: float | None = None) -> Iterator[Rated]:
    """Yield every distinct reply with its empirical win rate against all other samples at its prompt, ties half.

    The P(y beats pi) of SPPO (Wu et al. 2024, arXiv 2405.00675), unbiased: a sample is compared with every sample but
    itself, those of the same reply included, because the policy may give it again. With `span`, the most that two
    returns can differ by, a comparison counts by how much it is won or lost, as in `pairs`.
    """
    for fork in forks:
        returns = fork.returns
        for outcome in fork.outcomes:
            count, others = len(outcome.returns), len(returns) - 1
            if span is None:
                # Each return ties with itself, which is half a win.
                rate = (_wins(outcome.returns, returns) - count / 2) / (count * others)
            else:
                rate = 0.5 + (outcome.mean * len(returns) - sum(returns)) / (others * 2 * span)
            yield Rated(outcome.reply, rate, float(count))


def labelled(samples: Iterable[Sample], *, balance: float | None = None, by_size: bool = False) -> Iterator[Labelled]:
    """Yield each sample as desirable if its advantage is above 0, as undesirable if below; those at 0 are dropped.

    KTO (Ethayarajh et al. 2024, arXiv 2402.01306) learns from such single replies. The advantage is the return less a
    role's baseline, so that the seat that mostly loses is not undesirable as such.

    Args:
        samples: replies with advantages.
        balance: total weight of the desirable replies over that of the undesirable ones, which the paper would have
            from 1 to 4/3 (eq. 8); the total stays the number of replies. None, or only one kind: weights of 1.
        by_size: whether a reply's weight is times its advantage's size, in rewards. Where stakes differ, a label alone
            would prefer many small wins to few large ones.
    """
    if balance is not None and balance <= 0:
        raise ValueError(f"balance must be above 0 (the paper has 1 to 4/3), not {balance}")
    kept = [sample for sample in samples if sample.advantage != 0]
    good = sum(sample.advantage > 0 for sample in kept)
    bad = len(kept) - good
    weights = 1.0, 1.0
    if balance is not None and good and bad:
        share = balance / (1 + balance)
        weights = (1 - share) * len(kept) / bad, share * len(kept) / good
    for sample in kept:
        desirable = sample.advantage > 0
        yield Labelled(sample.reply, desirable, weights[desirable] * (abs(sample.advantage) if by_size else 1.0))


def winners(
    episodes: Iterable[Episode],
    *,
    threshold: float = 0.0,
    decay: float | None = None,
    balance_roles: bool = False,
    player: int = 0,
) -> Iterator[Weighted]:
    """Yield the legal turns of the agent number `player` in the seats that won: rejection-sampling fine-tuning.

    Args:
        episodes: the games; of branched ones only turns from the fork on are taken.
        threshold: a seat that was rewarded more than this won. 0 suits zero-sum games; for others take what is usual.
        decay: in (0, 1]; turn k of K then weighs d^-k / sum_j d^-j, so that later turns weigh more and a game weighs 1
            (SPAG, Cheng et al. 2024, arXiv 2404.10642, which takes 0.8). None: every turn weighs 1.
        balance_roles: whether to multiply by N / (2 N_role), N the wins in that game and N_role those in that seat, so
            that both seats weigh the same, as SPAG does.
        player: whose turns.
    """
    if decay is not None and not 0 < decay <= 1:
        raise ValueError(f"decay must lie in (0, 1], not {decay}")
    wins = [(e, seat) for e in episodes for seat in (0, 1) if e.seated[seat] == player and e.rewards[seat] > threshold]
    roles = _role_weights([(episode.game, seat) for episode, seat in wins]) if balance_roles else {}
    for episode, seat in wins:
        turns = [turn for turn in _moves(episode, player) if turn.seat == seat]
        role = roles.get((episode.game, seat), 1.0)
        for turn, weight in zip(turns, _turn_weights(len(turns), decay), strict=True):
            yield Weighted(turn.reply, role * weight)


def _role_weights(roles: Sequence[tuple[str, int]]) -> dict[tuple[str, int], float]:
    """Return N / (2 N_role) of each (game, seat), N counted within a game."""
    games = [game for game, _ in roles]
    return {role: games.count(role[0]) / (2 * roles.count(role)) for role in set(roles)}


def _turn_weights(turns: int, decay: float | None) -> list[float]:
    if decay is None:
        return [1.0] * turns
    # The last turn has the largest power, so it is divided out: d^-K may be more than a float holds.
    powers = [decay ** (turns - 1 - k) for k in range(turns)]
    total = sum(powers)
    return [power / total for power in powers]


def spin_pairs(demonstrations: Iterable[Reply], own: Iterable[Reply]) -> Iterator[Pair]:
    """Yield pairs of a demonstration, chosen, and the policy's own reply to the same prompt, rejected.

    SPIN (Chen et al. 2024, arXiv 2401.01335), whose reference is the policy that gave those replies, before the update:
    a learner with `anchor_every=1`. Where the policy said the same there is nothing to learn, and no pair. Raises
    ValueError if prompts or numbers do not match.
    """
    for n, (demonstration, said) in enumerate(zip(demonstrations, own, strict=True)):
        if demonstration.prompt_ids != said.prompt_ids:
            raise ValueError(
                f"demonstration {n} and the policy's own reply {n} answer different prompts; "
                "take own_replies of the same agent, episodes and player"
            )
        if demonstration.ids != said.ids:
            yield Pair(chosen=demonstration, rejected=said)


def demonstrations(agent: LanguageModelAgent, episodes: Iterable[Episode], *, player: int) -> Iterator[Reply]:
    """Yield the moves of the agent number `player` as `agent` would say them: canonical replies to its own prompt ids.

    Nobody sampled them, so they have no log-probabilities. Illegal replies are left out. Of free text the public part
    is said, as it was read.
    """
    for episode in episodes:
        for turn in _moves(episode, player):
            yield as_said_by(agent, turn)


def as_said_by(agent: LanguageModelAgent, turn: Turn) -> Reply:
    """Return a legal turn as `agent` would have said it: `[move]`, or the speech. ValueError if it was illegal."""
    move = turn.move
    if move is None:
        raise ValueError(f"{turn.reply.text[:40]!r} was illegal: there is no move to say")
    prompt_ids = agent.encode((Message("user", turn.prompt),))
    if turn.spoken:
        return Reply(text=move, prompt_ids=prompt_ids, ids=agent.encode_speech(move))
    return Reply(text=f"[{move}]", prompt_ids=prompt_ids, ids=agent.encode_move(move))


def own_replies(
    agent: LanguageModelAgent, game: Game[Any], episodes: Iterable[Episode], *, player: int, seed: int = 0
) -> list[Reply]:
    """Return what `agent` itself replies, sampled by `seed`, where the agent number `player` moved.

    One reply for each of `demonstrations` of the same episodes and player, in order.
    """
    prompts = [
        Prompt(
            messages=(Message("user", turn.prompt),),
            game=game,
            seat=turn.seat,
            # A record of a turn does not list them, and a language model samples without.
            legal=None,
            slot=(n, turn.seat),
            noise=mix(mix(seed, episode.index), at),
        )
        for n, episode in enumerate(episodes)
        for at, turn in enumerate(_moves(episode, player))
    ]
    return agent.reply(prompts) if prompts else []


def _moves(episode: Episode, player: int) -> list[Turn]:
    """Return the legal turns of an agent."""
    return [turn for turn in own_turns(episode, player) if turn.problem is None]
