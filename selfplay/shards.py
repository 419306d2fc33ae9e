"""An optimizer whose state is shared out over processes: each keeps what belongs to its part of the parameters.

Chosen: stage 1 of ZeRO (Rajbhandari et al. 2020). AdamW's two moments, in float32 twice the weights, are kept once and
not once a process. Every parameter is still updated by the same sum, so nothing that is learned changes. Left out:
cutting weights and gradients too, because a model that plays alone must be whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .processes import Processes

if TYPE_CHECKING:
    from torch.nn import Parameter


class Shards:
    """Steps an optimizer in several processes, each with its share of the parameters."""

    def __init__(self, optimizer: torch.optim.Optimizer, processes: Processes) -> None:
        """Share out the parameters of `optimizer`, which must hold the same ones in every process."""
        self.optimizer, self.processes = optimizer, processes
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        owners = share_out([p.numel() for p in parameters], processes.count)
        self.parts: list[list[Parameter]] = [[] for _ in range(processes.count)]
        """The parameters of each process."""
        for parameter, owner in zip(parameters, owners, strict=True):
            self.parts[owner].append(parameter)

    def step(self) -> None:
        """Update all parameters, each in one process; gradients must be complete in all of them."""
        for parameter in self._others():
            # What has no gradient is not touched, and gets no state.
            parameter.grad = None
        self.optimizer.step()
        for owner, part in enumerate(self.parts):
            self.processes.spread(part, owner)

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return which of the tensors of a whole optimizer, as `optimizer_tensors` names them, this process keeps."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        mine = set(map(id, self.parts[self.processes.index]))
        return {name: t for name, t in tensors.items() if id(parameters[int(name.partition(".")[0])]) in mine}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every process's optimizer tensors on the main one, on the CPU; on the others their own.

        All processes must call it. A state that a checkpoint brought may be whole in all of them.
        """
        return self.processes.to_main(self.own(tensors))

    def _others(self) -> list[Parameter]:
        return [p for owner, part in enumerate(self.parts) if owner != self.processes.index for p in part]


def share_out(sizes: Sequence[int], count: int) -> list[int]:
    """Return which of `count` processes each thing goes to: large ones first, to whoever has least."""
    loads, owners = [0] * count, [0] * len(sizes)
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        owners[number] = loads.index(min(loads))
        loads[owners[number]] += sizes[number]
    return owners
