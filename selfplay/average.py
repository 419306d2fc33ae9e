"""A moving average of the weights (Polyak and Juditsky 1992): what is measured and kept in place of the last ones.

Chosen: the policy that plays and learns stays as it is, so averaging changes no update. Two copies that learn from each
other circle around an equilibrium; their average lies nearer to it than they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """A running average of some weights, which can take their place for a while."""

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        """Begin with the weights as they are. Raises ValueError if `decay` is not in [0, 1)."""
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of an average must be 0 or more and below 1, not {decay}")
        self.weights = {name: weight.detach() for name, weight in weights.items()}
        self.decay = decay
        # In float32 at least: in bfloat16 small steps towards the weights would be rounded away.
        self.average = {name: _wide(weight).clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Take in the weights after `count` updates; early on the average follows faster, so as to forget the start."""
        decay = min(self.decay, count / (count + 9))
        weights = [_wide(weight) for weight in self.weights.values()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Return a context in which the weights are the average; they are put back to the bit."""
        kept = {name: weight.clone() for name, weight in self.weights.items()}
        # Ctrl-C may come at any line: the average is only read, so that it is whole in any case.
        try:
            self._become(self.average)
            yield
        finally:
            self._become(kept)

    @torch.no_grad()
    def _become(self, tensors: Mapping[str, Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(tensors[name])

    def tensors(self) -> dict[str, Tensor]:
        """Return the average."""
        return dict(self.average)

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        for name, tensor in self.average.items():
            tensor.copy_(tensors[name])


def _wide(weight: Tensor) -> Tensor:
    return weight.to(torch.promote_types(weight.dtype, torch.float32))
