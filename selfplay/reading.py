"""What a learner sees of some replies in one forward pass, and how measures of an update are added up.

Shapes: P distinct prompts, R distinct replies, T tokens of all of them, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparring.agents import Reply
from sparring.agents.prefix import Ids

from .groups import Row
from .losses import entropy, kl_divergence

Key = tuple[Ids, Ids]
"""A prompt's token ids and a reply's."""


class Distinct:
    """The distinct prompts and replies of some rows."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Number prompts and replies in the order they come up in."""
        self.prompt_of: dict[Ids, int] = {}
        self.reply_of: dict[Key, int] = {}
        for row in rows:
            for reply in row.replies:
                self.prompt_of.setdefault(reply.prompt_ids, len(self.prompt_of))
                self.reply_of.setdefault((reply.prompt_ids, reply.ids), len(self.reply_of))
        self.prompts = list(self.prompt_of)
        self.replies = [(self.prompt_of[prompt], ids) for prompt, ids in self.reply_of]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Some replies as the learner sees them."""

    distinct: Distinct
    logp_TV: Tensor
    """Log-probabilities of every token, at the sampling temperature."""
    logp_T: Tensor
    """Of the tokens of the replies."""
    reference_TV: Tensor | None
    """As `logp_TV`, of the reference policy; None if the objective asks for none."""
    values_P: Tensor | None
    """What the critic says of each prompt; None without a critic."""

    @property
    def reference_T(self) -> Tensor:
        """Return the reference's log-probabilities of the tokens of the replies."""
        assert self.reference_TV is not None
        return self.reference_TV.gather(1, self._ids_T()[:, None])[:, 0]

    def _ids_T(self) -> Tensor:
        return self.long(token for _, ids in self.distinct.replies for token in ids)

    def tokens_of(self, replies: Sequence[Reply]) -> Tensor:
        """Return which of the T tokens each of some replies consists of, one after another; a reply may be repeated."""
        starts, at = [], 0
        for _, ids in self.distinct.replies:
            starts.append(at)
            at += len(ids)
        index = (starts[self.distinct.reply_of[reply.prompt_ids, reply.ids]] for reply in replies)
        return self.long(
            t for start, reply in zip(index, replies, strict=True) for t in range(start, start + len(reply.ids))
        )

    def sums(self, replies: Sequence[Reply], x_T: Tensor) -> Tensor:
        """Return the sum of a number a token over each of some replies, [len(replies)]."""
        owner = self.long(i for i, reply in enumerate(replies) for _ in reply.ids)
        return torch.zeros(len(replies), device=x_T.device).index_add(0, owner, x_T[self.tokens_of(replies)])

    def prompts_of(self, replies: Iterable[Reply]) -> Tensor:
        """Return which of the P prompts each reply answers."""
        return self.long(self.distinct.prompt_of[reply.prompt_ids] for reply in replies)

    def watch(self, tally: Tally) -> None:
        """Tell the tally the entropy of the policy and the KL to the reference, nats a token, over distinct replies."""
        with torch.no_grad():
            tally.add("entropy", entropy(self.logp_TV).sum(), len(self.logp_T))
            if self.reference_TV is not None:
                tally.add("kl", kl_divergence(self.logp_TV, self.reference_TV).sum(), len(self.logp_T))

    def compare(self, rows: Iterable[Row], tally: Tally) -> None:
        """Tell the tally how far the sampler's log-probabilities lie from these, over distinct replies.

        Replies that nobody sampled, such as demonstrations, have none and are left out.
        """
        distinct = dict.fromkeys(reply for row in rows for reply in row.replies)
        replies = [reply for reply in distinct if reply.logprobs]
        if replies:
            sampler_T = self.float(logp for reply in replies for logp in reply.logprobs)
            gap_T = (self.logp_T.detach()[self.tokens_of(replies)] - sampler_T).abs()
            tally.add("mismatch_mean", gap_T.sum(), len(gap_T))
            tally.peak("mismatch", gap_T.max())

    def long(self, values: Iterable[int]) -> Tensor:
        """Return integers as a tensor on the model's device."""
        return torch.tensor(list(values), dtype=torch.long, device=self.logp_T.device)

    def float(self, values: Iterable[float]) -> Tensor:
        """Return numbers as a tensor on the model's device."""
        return torch.tensor(list(values), dtype=torch.float32, device=self.logp_T.device)


class Stateless:
    """An objective that remembers nothing from one update to the next."""

    def after(self, report: dict[str, float]) -> None:
        """Take note of nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over nothing."""


class Tally:
    """Adds up what an update measures, over batches and processes."""

    def __init__(self) -> None:
        self._sums: dict[str, list[Any]] = defaultdict(_nothing)
        self._peaks: dict[str, float] = {}

    def add(self, name: str, total: Tensor | float, weight: float) -> None:
        """Take in a sum over `weight` things; the mean over all of them is reported."""
        entry = self._sums[name]
        entry[0] += _number(total)
        entry[1] += weight

    def peak(self, name: str, value: Tensor | float) -> None:
        """Take in a number; the largest is reported."""
        self._peaks[name] = max(_number(value), self._peaks.get(name, -torch.inf))

    def join(self, others: Iterable[Tally]) -> None:
        """Take in the tallies of other processes."""
        for other in others:
            for name, (total, weight) in other._sums.items():
                self.add(name, total, weight)
            for name, value in other._peaks.items():
                self.peak(name, value)

    def result(self) -> dict[str, float]:
        """Return every measure."""
        return {name: total / weight for name, (total, weight) in self._sums.items() if weight} | self._peaks


def _nothing() -> list[Any]:
    # By name, so that a tally can be sent to other processes.
    return [0.0, 0.0]


def _number(value: Tensor | float) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)
