"""How a pool freezes the policy: as an adapter of the same base, or as a full copy. Both play alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sparring.agents import Agent, LanguageModelAgent
from sparring.agents.adapters import AdapterAgent, copy_agent


class AdapterSnapshots:
    """Freezes the LoRA adapter of an agent; every snapshot plays through the agent, in one batch with it."""

    def __init__(self, agent: LanguageModelAgent) -> None:
        """Raise ValueError if the agent has no adapter."""
        if agent.adapters is None:
            raise ValueError(f"{agent.name} has no LoRA adapter to freeze; call add_lora first, or take CopySnapshots")
        self.agent = agent
        self.adapters = agent.adapters

    def freeze(self, name: str) -> Agent:
        """Return the present policy, frozen."""
        self.adapters.snapshot(name)
        return AdapterAgent(self.agent, name)

    def drop(self, name: str) -> None:
        """Forget a snapshot."""
        self.adapters.delete(name)

    def save(self, name: str, path: Path) -> None:
        """Write a snapshot's adapter as safetensors, named as in PEFT's files."""
        save_file({key: tensor.contiguous() for key, tensor in self.adapters.tensors(name).items()}, path)

    def load(self, name: str, path: Path) -> Agent:
        """Return the snapshot that was saved."""
        self.adapters.load(name, load_file(path))
        return AdapterAgent(self.agent, name)


class CopySnapshots:
    """Keeps full copies of an agent's model; each one plays in a batch of its own."""

    def __init__(self, agent: LanguageModelAgent) -> None:
        self.agent = agent
        self._copies: dict[str, LanguageModelAgent] = {}

    def freeze(self, name: str) -> Agent:
        """Return a copy of the present policy."""
        self._copies[name] = copy_agent(self.agent, name)
        return self._copies[name]

    def drop(self, name: str) -> None:
        """Forget a copy."""
        del self._copies[name]

    def save(self, name: str, path: Path) -> None:
        """Write all weights of a copy as safetensors, tied ones once."""
        save_file({key: tensor.contiguous() for key, tensor in _untied(self._copies[name]).items()}, path)

    @torch.no_grad()
    def load(self, name: str, path: Path) -> Agent:
        """Return the copy that was saved. Raises ValueError if the file is of another model."""
        copy = copy_agent(self.agent, name)
        own, saved = _untied(copy), load_file(path)
        odd = {key for key in own.keys() | saved.keys() if _shape(own, key) != _shape(saved, key)}
        if odd:
            raise ValueError(f"{path} is of another model: {', '.join(sorted(odd)[:3])} differ")
        for key, tensor in own.items():
            tensor.copy_(saved[key])
        self._copies[name] = copy
        return copy


def _shape(tensors: Mapping[str, Tensor], key: str) -> torch.Size | None:
    return tensors[key].shape if key in tensors else None


def _untied(agent: LanguageModelAgent) -> dict[str, Tensor]:
    """Return the weights, each piece of memory under its first name."""
    first: dict[int, str] = {}
    return {key: t for key, t in agent.model.state_dict().items() if first.setdefault(t.data_ptr(), key) == key}
