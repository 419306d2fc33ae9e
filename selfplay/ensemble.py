"""Earlier selves of a policy that vote on its answers.

Chosen: members are the policies of the last generations, so that nothing else has to be trained; what several of them
say, each by itself, is less likely to be one policy's own error than what one policy says often. Left out: members of
other seeds (Lee et al. 2025, arXiv 2502.01612), which cost a training each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sparring.agents import LanguageModelAgent
from sparring.envs.tasks import Task

from .answering import Desk


class Ensemble:
    """The weights of a policy in its last generations."""

    def __init__(self, size: int) -> None:
        """Start empty. Raises ValueError for fewer than two members, who could not differ."""
        if size < 2:
            raise ValueError(f"an ensemble has 2 members or more, not {size}")
        self.size = size
        self.members: list[dict[str, Tensor]] = []
        """What is trained of each, the oldest first."""

    def join(self, agent: LanguageModelAgent) -> None:
        """Take in the policy as it is, if it is not the last member; the oldest leaves where there are too many."""
        now = {name: p.detach().clone() for name, p in _trained(agent)}
        # After a candidate that was not let in the policy is the one before, whose vote would count twice.
        if self.members and all(p.equal(self.members[-1][name]) for name, p in now.items()):
            return
        self.members = [*self.members, now][-self.size :]

    def votes(self, agent: LanguageModelAgent, desk: Desk, tasks: Sequence[Task], *, seed: int) -> list[Counter[str]]:
        """Return what the members answer to each task, one answer a member; who cannot be read votes for nothing."""
        found: list[Counter[str]] = [Counter() for _ in tasks]
        for number, member in enumerate(self.members):
            with _as(agent, member):
                groups = desk.ask(agent, tasks, seed=seed + number)
            for votes, group in zip(found, groups, strict=True):
                votes.update(answer.text for answer in group if answer.text)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return all members' tensors by number and name."""
        return {f"{n}/{name}": tensor for n, member in enumerate(self.members) for name, tensor in member.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        found: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            number, _, name = key.partition("/")
            found.setdefault(int(number), {})[name] = tensor
        self.members = [found[n] for n in sorted(found)]


def _trained(agent: LanguageModelAgent) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, p) for name, p in agent.model.named_parameters() if p.requires_grad)


@contextmanager
def _as(agent: LanguageModelAgent, member: Mapping[str, Tensor]) -> Iterator[None]:
    """Let an agent have other weights for a while."""
    kept = {name: p.detach().clone() for name, p in _trained(agent)}
    try:
        _put(agent, member)
        yield
    finally:
        _put(agent, kept)


@torch.no_grad()
def _put(agent: LanguageModelAgent, weights: Mapping[str, Tensor]) -> None:
    for name, p in _trained(agent):
        p.copy_(weights[name])
    agent.flush()
