"""Equal samples merged, so that whatever is the same is computed once. Merging is exact: see `losses`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sparring.agents import Reply
from sparring.agents.prefix import Ids

from .advantage import Sample


class Row(Protocol):
    """What an objective weighs at once: a reply, or several to one prompt."""

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Return the replies, all to the same prompt."""
        ...


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(slots=True)
class Group:
    """Equal samples: the same tokens for the same prompt, sampled with the same log-probabilities."""

    reply: Reply
    count: int = 0
    gain: float = 0.0
    """Sum of the positive advantages."""
    pain: float = 0.0
    """Sum of the negative advantages."""
    targets: list[tuple[float, float]] = field(default_factory=list)
    """What a critic should have said and what it did say, one pair a sample that has them."""

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Return the one reply."""
        return (self.reply,)

    def add(self, sample: Sample) -> None:
        """Take in a sample of this reply."""
        self.count += 1
        if sample.advantage > 0:
            self.gain += sample.advantage
        else:
            self.pain += sample.advantage
        if sample.target is not None:
            self.targets.append((sample.target, sample.value))

    def absorb(self, other: Group) -> None:
        """Take in the samples of an equal group."""
        self.count += other.count
        self.gain += other.gain
        self.pain += other.pain
        self.targets += other.targets


def merge(samples: Iterable[Sample]) -> list[Group]:
    """Merge equal samples. Raises ValueError for a sample without tokens."""
    # First by identity, which is cheap and catches most, then by value.
    same: dict[int, Group] = {}
    for sample in samples:
        group = same.get(id(sample.reply))
        if group is None:
            group = same[id(sample.reply)] = Group(sample.reply)
        group.add(sample)
    equal: dict[Reply, Group] = {}
    for group in same.values():
        check_reply(group.reply)
        equal.setdefault(group.reply, Group(group.reply)).absorb(group)
    return list(equal.values())


def check_reply(reply: Reply) -> None:
    """Refuse a reply that holds no tokens."""
    if not reply.ids:
        raise ValueError("a sample has no token ids; only replies of a language model can be learned from")


MOST_SHORTER = 1 / 32
"""How much shorter than the longest a prompt may be in a large batch."""
WORTH_A_CALL = 2048
"""Tokens that are worth a forward pass of their own."""
OF_THE_PROMPT = 1 / 8
"""What a reply of several tokens takes for each token of its prompt, which it attends to in a copy of its own."""


def batches(rows: Iterable[AnyRow], batch_tokens: int, *, whole: bool = False) -> Iterator[list[AnyRow]]:
    """Split rows into batches of about `batch_tokens` prompt tokens, and of as many of replies beyond their first.

    Prompts of like length go together, and a batch ends where padding begins to be a waste, so that little of it is
    padding. Equal prompts stay together unless they have too many replies. With `whole` prompts are read once a reply,
    and counted so.
    """
    batch: list[AnyRow] = []
    read: set[tuple[Ids, Ids]] = set()
    replied: set[tuple[Ids, Ids]] = set()
    longest, widest = 0, 0.0
    for row in sorted(rows, key=_length, reverse=True):
        prompt = row.replies[0].prompt_ids
        reading = {(prompt, reply.ids if whole else ()) for reply in row.replies}
        length = len(prompt) + max(len(reply.ids) for reply in row.replies)
        longest = max(longest, length)
        columns = (len(read) + len(reading - read)) * longest
        # The shortest stands for all that follow. In a small batch it is the call that costs, not its columns.
        is_waste = length < (1 - MOST_SHORTER) * longest and columns > WORTH_A_CALL
        is_full = not reading <= read and (columns > batch_tokens or is_waste)
        replying = set() if whole else {(prompt, reply.ids) for reply in row.replies if len(reply.ids) > 1}
        width = max((len(ids) - 1 + OF_THE_PROMPT * len(prompt) for _, ids in replying), default=0.0)
        widest = max(widest, width)
        is_full |= not replying <= replied and (len(replied) + len(replying - replied)) * widest > batch_tokens
        if batch and is_full:
            yield batch
            batch, read, replied, longest, widest = [], set(), set(), length, width
        batch.append(row)
        read |= reading
        replied |= replying
    if batch:
        yield batch


def share(rows: Iterable[AnyRow], index: int, count: int) -> list[AnyRow]:
    """Return the `index`-th of `count` parts of some rows, of like numbers of tokens; equal prompts stay together."""
    ordered = sorted(rows, key=_length, reverse=True)
    if count == 1:
        return ordered
    ends: dict[Ids, int] = {}
    total = 0
    for row in ordered:
        prompt = row.replies[0].prompt_ids
        total += sum(len(reply.ids) for reply in row.replies) + (0 if prompt in ends else len(prompt))
        ends[prompt] = total
    # A prompt goes where its last token falls.
    return [row for row in ordered if (ends[row.replies[0].prompt_ids] - 1) * count // total == index]


def _length(row: Row) -> tuple[int, Ids]:
    prompt = row.replies[0].prompt_ids
    return len(prompt), prompt
