"""Equal samples merged, so that whatever is the same is computed once. Merging is exact: see `losses`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sparring.agents import Reply
from sparring.agents.prefix import Ids

from .advantage import Sample


@dataclass(slots=True)
class Group:
    """Equal samples: the same tokens for the same prompt, sampled with the same log-probabilities."""

    reply: Reply
    count: int = 0
    gain: float = 0.0
    """Sum of the positive advantages."""
    pain: float = 0.0
    """Sum of the negative advantages."""

    def add(self, count: int, gain: float, pain: float) -> None:
        """Take in more samples."""
        self.count += count
        self.gain += gain
        self.pain += pain


def merge(samples: Iterable[Sample]) -> list[Group]:
    """Merge equal samples. Raises ValueError for a sample without tokens."""
    # First by identity, which is cheap and catches most, then by value.
    same: dict[int, Group] = {}
    for reply, advantage in samples:
        group = same.get(id(reply))
        if group is None:
            group = same[id(reply)] = Group(reply)
        group.count += 1
        if advantage > 0:
            group.gain += advantage
        else:
            group.pain += advantage
    equal: dict[Reply, Group] = {}
    for group in same.values():
        if not group.reply.ids:
            raise ValueError("a sample has no token ids; only replies of a language model can be learned from")
        equal.setdefault(group.reply, Group(group.reply)).add(group.count, group.gain, group.pain)
    return list(equal.values())


def distinct(replies: Iterable[Reply]) -> tuple[list[Ids], list[tuple[int, Ids]]]:
    """Return the distinct prompts, and each reply as (index of its prompt, ids)."""
    index: dict[Ids, int] = {}
    pairs = [(index.setdefault(reply.prompt_ids, len(index)), reply.ids) for reply in replies]
    return list(index), pairs


def batches(groups: Iterable[Group], batch_tokens: int) -> Iterator[list[Group]]:
    """Split groups into batches of about `batch_tokens` prompt tokens; equal prompts stay together."""
    batch: list[Group] = []
    prompts: set[Ids] = set()
    longest = 0
    for group in sorted(groups, key=lambda g: (len(g.reply.prompt_ids), g.reply.prompt_ids), reverse=True):
        prompt = group.reply.prompt_ids
        longest = max(longest, len(prompt) + len(group.reply.ids))
        if batch and prompt not in prompts and (len(prompts) + 1) * longest > batch_tokens:
            yield batch
            batch, prompts, longest = [], set(), len(prompt) + len(group.reply.ids)
        batch.append(group)
        prompts.add(prompt)
    if batch:
        yield batch
