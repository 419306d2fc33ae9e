"""The replay archive: every sample that was kept, where it came from and why it was kept.

Chosen: it only grows, because training on what replaced the old data collapses and on what was added to it does not
(Gerstgrasser et al. 2024, arXiv 2404.01413); and it is a file of JSON lines, so that anyone can audit it. Left out:
what is learned from once and never again, such as games, or answers that were worse than others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparring.agents import Reply
from sparring.envs.tasks import Task

from .runs import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One sample that may be trained on."""

    prompt: str
    """The text that was answered."""
    text: str
    """The answer."""
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    """What is trained on: the tokens that were sampled, or those of a demonstration."""
    method: str
    """What made it: "seed", "self-training", ..."""
    generation: int
    """When."""
    parent: str
    """Of what: the family and level of a task, and whose it is ("copy-0 by family"); a proposal's is "by example"."""
    why: str
    """Why it was kept: filters with what they saw of it ("length 9 of 9, ensemble 2 of 3"), or words."""
    weight: float = 1.0
    role: str = "solver"
    """Of whom it is an example: "solver" or "proposer"."""
    accepted: bool = True
    """Whether the policy that first learned from it was let in; see `roll_back`. It may be learned from either way:
    what was rolled back is that policy, not the one that gave the answer."""

    @property
    def reply(self) -> Reply:
        """The sample as what objectives take."""
        return Reply(text=self.text, prompt_ids=self.prompt_ids, ids=self.ids)


def kept_of(
    reply: Reply,
    prompt: str,
    *,
    method: str,
    generation: int,
    task: Task,
    why: str,
    role: str = "solver",
    weight: float = 1.0,
) -> Kept:
    """Return a reply to a task as a sample."""
    return Kept(
        prompt=prompt,
        text=reply.text,
        prompt_ids=reply.prompt_ids,
        ids=reply.ids,
        method=method,
        generation=generation,
        parent=f"{task.family}-{task.level} by {task.source}",
        why=why,
        role=role,
        weight=weight,
    )


class Archive:
    """Samples in the order in which they were kept, in memory and, with a path, on the disk."""

    def __init__(self, path: str | Path | None = None) -> None:
        """Start empty; with a path, from what the file holds. Raises ValueError for a file that is no archive."""
        self.path = None if path is None else Path(path)
        self.samples: list[Kept] = []
        if self.path is not None and self.path.exists():
            self.samples = list(_read(self.path))

    def __len__(self) -> int:
        return len(self.samples)

    def add(self, samples: Iterable[Kept]) -> None:
        """Take in samples."""
        new = list(samples)
        self.samples += new
        if self.path is not None and new:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(_line(sample) for sample in new)

    def roll_back(self, since: int) -> None:
        """Mark the samples from number `since` on as those of a policy that was not let in; they stay.

        `EvolveRun` does so; whoever turns the loop alone has the reports to do it by.
        """
        if len(self) <= since:
            return
        self.samples[since:] = [replace(sample, accepted=False) for sample in self.samples[since:]]
        if self.path is not None:
            # Byte for byte as they were before it, since a checkpoint remembers how many bytes there were.
            before = self.path.read_text(encoding="utf-8").splitlines(keepends=True)[:since]
            write_whole(self.path, "".join([*before, *(_line(sample) for sample in self.samples[since:])]))

    def draw(self, count: int, rng: np.random.Generator, *, of: Sequence[Kept] | None = None) -> list[Kept]:
        """Return samples drawn in proportion to their weights, with replacement. ValueError if there are none."""
        among = self.samples if of is None else of
        if not among:
            raise ValueError("there is nothing to train on: the archive is empty and there are no seed data")
        weights = np.array([sample.weight for sample in among])
        return [among[i] for i in rng.choice(len(among), size=count, p=weights / weights.sum())]


def _line(sample: Kept) -> str:
    return json.dumps(asdict(sample), ensure_ascii=True) + "\n"


def _read(path: Path) -> Iterator[Kept]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found: dict[str, Any] = json.loads(line)
            yield Kept(**{**found, "prompt_ids": tuple(found["prompt_ids"]), "ids": tuple(found["ids"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}, line {number} is no sample of an archive ({error}); take another file"
            ) from error
