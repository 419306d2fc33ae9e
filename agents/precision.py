"""Mixed precision: a model computes in a lower precision while its weights, and so its optimizer, keep theirs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class _Autocast:
    """Opens torch's autocast before a module's forward pass and closes it after, also when that fails."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._open: list[torch.autocast] = []

    def enter(self, module: Any, *_: Any) -> None:
        context = torch.autocast(module.device.type, dtype=self.dtype)
        # What autocast keeps of cast weights it forgets on leaving; held open longer it would outlive an update.
        context.__enter__()
        self._open.append(context)

    def leave(self, *_: Any) -> None:
        self._open.pop().__exit__(None, None, None)


def compute_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Let a model compute its forward pass in `dtype`, for instance torch.bfloat16, from now on.

    Weights, gradients and optimizer stay as they are, and copies of the model do likewise. Sampling and learning then
    round alike. Call it on a model that has its LoRA adapters already: they wrap it in another module.
    """
    autocast = _Autocast(dtype)
    # Hooks, not a new `forward`: a copy of the model would go on calling the forward of the original.
    model.register_forward_pre_hook(autocast.enter)
    model.register_forward_hook(autocast.leave, always_call=True)
