"""Computing of a model's last layer only what is asked for: the keys and values of all columns, the rest of a few.

What comes after them in the last layer is read by nobody but the output, and that at the end of the rows alone. Of a
model of one layer it is most of the work, of one of N layers an Nth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Models whose last layer is known to be attention and a perceptron of each column by itself, added up."""
COLUMN_BY_COLUMN = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


@contextmanager
def last_columns(model: Any, keep: int) -> Iterator[None]:
    """Within it the model's output is right for the last `keep` columns; for others it may be anything.

    The cache and the gradient of what is right are as ever. Models of other families are computed whole.
    """
    with ExitStack() as hooks:
        for module in _column_by_column(model):
            hooks.enter_context(_Columns(module, keep))
        yield


def _column_by_column(model: Any) -> list[nn.Module]:
    """Return the modules of the last layer that only output depends on; none where the model is not a known one."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    # Code that a model brings along, or what wraps it, may do otherwise under the same name.
    if not type(inner).__module__.startswith("transformers.models.") or inner.config.model_type not in FAMILIES:
        return []
    last = inner.get_decoder().layers[-1]
    return [last.get_submodule(name) for name in COLUMN_BY_COLUMN]


class _Columns:
    """A module, within a context, sees the last columns [B, keep, ...] only; its output for the others is zero."""

    def __init__(self, module: nn.Module, keep: int) -> None:
        self.module, self.keep = module, keep
        self.left_out = 0

    def __enter__(self) -> None:
        self.handles = [
            self.module.register_forward_pre_hook(self._cut),
            self.module.register_forward_hook(self._pad),
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _cut(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (x_BTH,) = inputs
        self.left_out = max(x_BTH.shape[1] - self.keep, 0)
        return (x_BTH[:, self.left_out :],)

    def _pad(self, _: nn.Module, __: object, y_BKH: Tensor) -> Tensor:
        return nn.functional.pad(y_BKH, (0, 0, self.left_out, 0))
