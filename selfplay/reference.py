"""The policy that a learner is held near to, or compared with: the first one, or one that catches up now and then.

Chosen: a full copy; or, for a model with LoRA adapters, a frozen adapter of the same base, which costs next to nothing.
What it said to a prompt it will say again, so small games read it once.

Shapes: N tokens of all replies, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sparring.agents import LanguageModelAgent
from sparring.agents.adapters import Adapters
from sparring.agents.prefix import Ids, reply_logits

ROOM = 1 << 26
"""Bytes of logits that a reference remembers, 64 MiB: all that small games ask, hardly a batch of a large model."""


class Reference(Protocol):
    """A frozen policy."""

    def logits(self, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
        """Return the logits that predict each reply token, as `reply_logits` does, but without gradients."""
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

    def flush(self) -> None:
        """Forget what was remembered, if anything was."""
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


class Remembering:
    """A reference that is asked only what it was not asked before, while there is room to remember it."""

    def __init__(self, inner: FullCopy | FrozenAdapter, *, room: int = ROOM) -> None:
        """Take a reference, and most bytes to remember."""
        self.inner, self.room = inner, room
        self.flush()

    def flush(self) -> None:
        """Forget what it said."""
        self._known: dict[tuple[Ids, Ids], Tensor] = {}
        self._bytes = 0

    @torch.no_grad()
    def logits(self, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
        """Return the logits that predict each reply token, [N, V]; without gradients."""
        keys = [(prompts[prompt], ids) for prompt, ids in replies]
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        if not new:
            return torch.cat([self._known[key] for key in keys])
        number = {ids: n for n, ids in enumerate(dict.fromkeys(prompt for prompt, _ in new))}
        read_TV = self.inner.logits(list(number), [(number[prompt], ids) for prompt, ids in new])
        if self._bytes + read_TV.nbytes > self.room and new == keys:
            return read_TV
        fresh = dict(zip(new, read_TV.split([len(ids) for _, ids in new]), strict=True))
        if self._bytes + read_TV.nbytes <= self.room:
            # Not views: one of them would keep all of them.
            self._known |= {key: logits.clone() for key, logits in fresh.items()}
            self._bytes += read_TV.nbytes
        return torch.cat([fresh[key] if key in fresh else self._known[key] for key in keys])

    def catch_up(self) -> None:
        """Become the present policy."""
        self.inner.catch_up()
        self.flush()

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold: no more than the weights, for what they said can be asked again."""
        return self.inner.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over weights."""
        self.inner.load_tensors(tensors)
        self.flush()


def make_reference(agent: LanguageModelAgent) -> Reference:
    """Return a reference that is the present policy."""
    return Remembering(FullCopy(agent) if agent.adapters is None else FrozenAdapter(agent, agent.adapters))
