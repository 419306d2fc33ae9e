"""Preferences from outcomes as objectives: DPO and its relatives and REBEL on pairs, SPPO on win rates, KTO.

Chosen: the log-probability of a reply is the sum over its tokens, and the reference is the learner's: the first policy,
or one that catches up. With the first policy and a beta that falls, a pair's fixed point is a smoothed equilibrium.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from sparring.agents import Reply
from sparring.agents.prefix import Ids
from sparring.envs import near

from .groups import check_reply
from .pairs import Gap, Labelled, Pair, Rated
from .preference_losses import dpo_loss, hinge_loss, ipo_loss, kto_loss, rebel_loss, sppo_loss
from .reading import Key, Read, Stateless, Tally

if TYPE_CHECKING:
    from .learner import Learner

PAIR_LOSSES = {"sigmoid": dpo_loss, "ipo": ipo_loss, "hinge": hinge_loss}


@dataclass(slots=True)
class Contest:
    """Two replies to one prompt, all pairs of them together."""

    replies: tuple[Reply, ...]
    """The chosen and the rejected one."""
    weight: float = 0.0
    wins: float = 0.0
    """Weight times the probability that the chosen one is better, summed."""


class Preference(Stateless):
    """Pairs with one prompt: sigmoid DPO with hard or soft targets, IPO, or the hinge; with an optional NLL term."""

    needs_reference = True

    def __init__(self, loss: str = "sigmoid", *, beta: float = 0.1, nll: float = 0.0) -> None:
        """Choose the loss, its beta, and how much of the chosen reply's negative log-likelihood is added."""
        if loss not in PAIR_LOSSES:
            raise ValueError(f"unknown preference loss {loss!r}.{near(loss, PAIR_LOSSES)}")
        if beta <= 0:
            raise ValueError(f"beta must be above 0, not {beta}")
        self.kind = loss
        self.beta = beta
        self.nll = nll

    def prepare(self, learner: Learner, items: Sequence[Pair]) -> Sequence[Pair]:
        """Return the pairs as they are."""
        return items

    def size(self, items: Sequence[Pair]) -> float:
        """Return the weight of all items."""
        return sum(item.weight for item in items)

    def rows(self, items: Sequence[Pair]) -> list[Contest]:
        """Merge pairs of the same two replies, which is exact: every loss is linear in the target."""
        found: dict[tuple[Ids, Ids, Ids], Contest] = {}
        for pair in items:
            check_reply(pair.chosen)
            check_reply(pair.rejected)
            key = pair.chosen.prompt_ids, pair.chosen.ids, pair.rejected.ids
            contest = found.setdefault(key, Contest((pair.chosen, pair.rejected)))
            contest.weight += pair.weight
            contest.wins += pair.weight * pair.target
        return list(found.values())

    def loss(self, read: Read, rows: Sequence[Contest], tally: Tally) -> Tensor:
        """Return the loss summed over pairs, each times its weight."""
        chosen, rejected = [row.replies[0] for row in rows], [row.replies[1] for row in rows]
        weight_B = read.float(row.weight for row in rows)
        chosen_B, rejected_B = read.sums(chosen, read.logp_T), read.sums(rejected, read.logp_T)
        margin_B = chosen_B - rejected_B
        reference_B = read.sums(chosen, read.reference_T) - read.sums(rejected, read.reference_T)
        target_B = read.float(row.wins / row.weight for row in rows)
        loss, _ = PAIR_LOSSES[self.kind](margin_B, reference_B, beta=self.beta, target_B=target_B, weight_B=weight_B)
        total = float(weight_B.sum())
        tally.add("pair_accuracy", (weight_B * (margin_B > reference_B)).sum(), total)
        tally.add("pair_margin", (weight_B * (margin_B - reference_B).detach()).sum(), total)
        tally.add("chosen_logp", (weight_B * chosen_B.detach()).sum(), total)
        read.watch(tally)
        return loss - self.nll * (weight_B * chosen_B).sum()


@dataclass(slots=True)
class Rating:
    """One reply's win rate, all its ratings together."""

    reply: Reply
    weight: float = 0.0
    wins: float = 0.0

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Return the one reply."""
        return (self.reply,)


class SelfPlayPreference(Stateless):
    """SPPO: the log-ratio of a reply to the reference is drawn towards eta times (its win rate - 1/2)."""

    needs_reference = True

    def __init__(self, *, eta: float = 1.0, nll: float = 0.0) -> None:
        """Choose eta, in nats a win, and how much negative log-likelihood of winning replies is added."""
        if eta <= 0:
            raise ValueError(f"eta must be above 0, not {eta}")
        self.eta = eta
        self.nll = nll

    def prepare(self, learner: Learner, items: Sequence[Rated]) -> Sequence[Rated]:
        """Return the items as they are."""
        return items

    def size(self, items: Sequence[Rated]) -> float:
        """Return the weight of all items."""
        return sum(item.weight for item in items)

    def rows(self, items: Sequence[Rated]) -> list[Rating]:
        """Merge equal replies: the gradient is exact, the loss that is reported less by the win rates' spread."""
        found: dict[Key, Rating] = {}
        for item in items:
            check_reply(item.reply)
            rating = found.setdefault((item.reply.prompt_ids, item.reply.ids), Rating(item.reply))
            rating.weight += item.weight
            rating.wins += item.weight * item.win_rate
        return list(found.values())

    def loss(self, read: Read, rows: Sequence[Rating], tally: Tally) -> Tensor:
        """Return the loss summed over items, each times its weight."""
        replies = [row.reply for row in rows]
        weight_B = read.float(row.weight for row in rows)
        rate_B = read.float(row.wins / row.weight for row in rows)
        logp_B = read.sums(replies, read.logp_T)
        ratio_B = logp_B - read.sums(replies, read.reference_T)
        loss, _ = sppo_loss(ratio_B, rate_B, eta=self.eta, weight_B=weight_B)
        total = float(weight_B.sum())
        tally.add("ratio", (weight_B * ratio_B.detach()).sum(), total)
        tally.add("win_rate_spread", (weight_B * (rate_B - 0.5).square()).sum(), total)
        read.watch(tally)
        return loss - self.nll * (weight_B * (rate_B > 0.5) * logp_B).sum()


@dataclass(slots=True)
class Difference:
    """Two replies to one prompt, all that was seen of how far apart they are."""

    replies: tuple[Reply, ...]
    weight: float = 0.0
    gain: float = 0.0
    """Weight times what the first earned more than the second, in rewards, summed."""


class RelativeReward(Stateless):
    """REBEL: the difference of two replies' log-ratios to the reference is drawn towards that of their rewards / beta.

    A policy gradient weighs a reply by its probability and a prompt by its visits, so what has become rare comes back
    slowly. Here only weights do that, and `weight_power` takes the edge off them; `shrink` keeps a handful of games
    from saying much with certainty.
    """

    needs_reference = True

    def __init__(self, *, beta: float = 1.0, weight_power: float = 1.0, shrink: float = 0.0) -> None:
        """Set the numbers of the regression.

        Args:
            beta: hold of the reference, in rewards a nat.
            weight_power: power of the number of comparisons, all games of an update together, that two replies count
                for; 0 counts all pairs alike.
            shrink: comparisons without a difference that are added to those of each two replies.
        """
        if beta <= 0:
            raise ValueError(f"beta must be above 0, not {beta}")
        if weight_power < 0 or shrink < 0:
            raise ValueError(f"weight_power and shrink must be 0 or more, not {weight_power} and {shrink}")
        self.beta = beta
        self.weight_power = weight_power
        self.shrink = shrink

    def prepare(self, learner: Learner, items: Sequence[Gap]) -> Sequence[Gap]:
        """Return the items as they are."""
        return items

    def size(self, items: Sequence[Gap]) -> float:
        """Return what all pairs count for."""
        return float(sum(row.weight**self.weight_power for row in self.rows(items)))

    def rows(self, items: Sequence[Gap]) -> list[Difference]:
        """Merge items of the same two replies, which is exact with power 1 and no shrinking."""
        found: dict[tuple[Ids, Ids, Ids], Difference] = {}
        for first, second, gap, weight in items:
            check_reply(first)
            check_reply(second)
            row = found.setdefault((first.prompt_ids, first.ids, second.ids), Difference((first, second)))
            row.weight += weight
            row.gain += weight * gap
        return list(found.values())

    def loss(self, read: Read, rows: Sequence[Difference], tally: Tally) -> Tensor:
        """Return the loss summed over pairs, each times what it counts for."""
        first, second = [row.replies[0] for row in rows], [row.replies[1] for row in rows]
        weight_B = read.float(row.weight**self.weight_power for row in rows)
        margin_B = read.sums(first, read.logp_T) - read.sums(second, read.logp_T)
        reference_B = read.sums(first, read.reference_T) - read.sums(second, read.reference_T)
        gap_B = read.float(row.gain / (row.weight + self.shrink) for row in rows)
        loss, _ = rebel_loss(margin_B, reference_B, gap_B, beta=self.beta, weight_B=weight_B)
        total = float(weight_B.sum())
        moved_B = (margin_B - reference_B).detach()
        tally.add("pair_accuracy", (weight_B * (moved_B * gap_B > 0)).sum(), total)
        tally.add("gap", (weight_B * gap_B.abs()).sum(), total)
        read.watch(tally)
        return loss


@dataclass(slots=True)
class Verdicts:
    """One reply's labels of one kind, all together."""

    reply: Reply
    desirable: bool
    weight: float = 0.0

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Return the one reply."""
        return (self.reply,)


class UnpairedPreference(Stateless):
    """KTO: single replies, each desirable or not, against a reference point.

    The reference point, KL(policy || reference), is estimated once an update from the policy's own replies: the mean
    of their log-ratios, 0 at least.
    """

    needs_reference = True

    def __init__(
        self, *, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0, nll: float = 0.0
    ) -> None:
        """Choose beta, how much either kind counts, and how much NLL of desirable replies is added."""
        if beta <= 0:
            raise ValueError(f"beta must be above 0, not {beta}")
        self.beta = beta
        self.desirable_weight, self.undesirable_weight = desirable_weight, undesirable_weight
        self.nll = nll
        self._kl = 0.0

    def prepare(self, learner: Learner, items: Sequence[Labelled]) -> Sequence[Labelled]:
        """Estimate the reference point."""
        replies = [item.reply for item in items]
        policy, reference = learner.score(replies), learner.score(replies, reference=True)
        gaps = [sum(policy[key]) - sum(reference[key]) for key in ((r.prompt_ids, r.ids) for r in replies)]
        self._kl = max(sum(gaps) / len(gaps), 0.0)
        return items

    def size(self, items: Sequence[Labelled]) -> float:
        """Return the weight of all items."""
        return sum(item.weight for item in items)

    def rows(self, items: Sequence[Labelled]) -> list[Verdicts]:
        """Merge equal replies with equal labels."""
        found: dict[tuple[Ids, Ids, bool], Verdicts] = {}
        for reply, desirable, weight in items:
            check_reply(reply)
            key = reply.prompt_ids, reply.ids, desirable
            found.setdefault(key, Verdicts(reply, desirable)).weight += weight
        return list(found.values())

    def loss(self, read: Read, rows: Sequence[Verdicts], tally: Tally) -> Tensor:
        """Return the loss summed over items, each times its weight."""
        replies = [row.reply for row in rows]
        weight_B = read.float(row.weight for row in rows)
        is_desirable_B = read.float(row.desirable for row in rows).bool()
        logp_B = read.sums(replies, read.logp_T)
        ratio_B = logp_B - read.sums(replies, read.reference_T)
        loss, _ = kto_loss(
            ratio_B,
            is_desirable_B,
            read.float([self._kl])[0],
            beta=self.beta,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
            weight_B=weight_B,
        )
        tally.add("desirable", (weight_B * is_desirable_B).sum(), float(weight_B.sum()))
        tally.add("reference_point", self._kl, 1.0)
        read.watch(tally)
        return loss - self.nll * (weight_B * is_desirable_B * logp_B).sum()
