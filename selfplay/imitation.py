"""Imitation: the negative log-likelihood of replies, weighted. Warm starts and rejection-sampling fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from sparring.agents import Reply

from .groups import check_reply
from .pairs import Weighted
from .reading import Key, Read, Stateless, Tally

if TYPE_CHECKING:
    from .learner import Learner


@dataclass(slots=True)
class Wanted:
    """A reply to imitate and how much, all its occurrences together."""

    reply: Reply
    weight: float = 0.0

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Return the one reply."""
        return (self.reply,)


def merge_weighted(items: Iterable[Weighted]) -> list[Wanted]:
    """Merge equal replies. Raises ValueError for one without tokens."""
    found: dict[Key, Wanted] = {}
    for reply, weight in items:
        check_reply(reply)
        found.setdefault((reply.prompt_ids, reply.ids), Wanted(reply)).weight += weight
    return list(found.values())


class Imitation(Stateless):
    """Minimises -weight * log p(reply), in nats a reply."""

    needs_reference = False

    def prepare(self, learner: Learner, items: Sequence[Weighted]) -> Sequence[Weighted]:
        """Return the items as they are."""
        return items

    def size(self, items: Sequence[Weighted]) -> float:
        """Return the weight of all items."""
        return sum(item.weight for item in items)

    def rows(self, items: Sequence[Weighted]) -> list[Wanted]:
        """Merge equal replies."""
        return merge_weighted(items)

    def loss(self, read: Read, rows: Sequence[Wanted], tally: Tally) -> Tensor:
        """Return the loss summed over items."""
        logp_R = read.sums([row.reply for row in rows], read.logp_T)
        loss = -(read.float(row.weight for row in rows) * logp_R).sum()
        read.watch(tally)
        tally.add("nll", loss, sum(row.weight for row in rows))
        return loss
