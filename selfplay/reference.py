"""The policy that a learner is held near to, or compared with: the first one, or one that catches up now and then.

Chosen: a full copy; or, for a model with LoRA adapters, a frozen adapter of the same base, which costs next to nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from sparring.agents import LanguageModelAgent
from sparring.agents.adapters import Adapters
from sparring.agents.prefix import Ids, reply_logits


class Reference(Protocol):
    """A frozen policy."""

    def logits(self, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
        """Return the logits that predict each reply token, as `reply_logits` does."""
        ...

    def catch_up(self) -> None:
        """Become the present policy."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold."""
        ...

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        ...


class FullCopy:
    """A reference with weights of its own."""

    def __init__(self, agent: LanguageModelAgent) -> None:
        self.agent = agent
        self.model = copy.deepcopy(agent.model).requires_grad_(False)

    def logits(self, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
        """Return the logits that predict each reply token."""
        return reply_logits(self.model, prompts, replies)

    def catch_up(self) -> None:
        """Become the present policy."""
        self.model.load_state_dict(self.agent.model.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights."""
        return dict(self.model.state_dict())

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over weights."""
        self.model.load_state_dict(dict(tensors))


class FrozenAdapter:
    """A reference that is a snapshot of an agent's LoRA adapter, on the same base."""

    NAME = "reference"

    def __init__(self, agent: LanguageModelAgent, adapters: Adapters) -> None:
        self.agent, self.adapters = agent, adapters
        adapters.snapshot(self.NAME)

    def logits(self, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
        """Return the logits that predict each reply token."""
        with self.agent.playing(self.NAME):
            return reply_logits(self.agent.model, prompts, replies)

    def catch_up(self) -> None:
        """Become the present policy."""
        self.adapters.delete(self.NAME)
        self.adapters.snapshot(self.NAME)

    def tensors(self) -> dict[str, Tensor]:
        """Return the adapter's weights."""
        return self.adapters.tensors(self.NAME)

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over an adapter's weights."""
        self.adapters.delete(self.NAME)
        self.adapters.load(self.NAME, {name: tensor.clone() for name, tensor in tensors.items()})


def make_reference(agent: LanguageModelAgent) -> Reference:
    """Return a reference that is the present policy."""
    return FullCopy(agent) if agent.adapters is None else FrozenAdapter(agent, agent.adapters)
