"""Reading prompts and replies as whole rows, without caches, and computing activations again in the backward pass.

Chosen: every layer's forward pass goes through torch's checkpoint, in evaluation mode. The switch of transformers does
nothing outside training mode, and there it would turn dropout on. Left out: shared prefixes, which live in a cache, so
a prompt is read once for each distinct reply: memory is saved and time is spent.

Shapes: R rows, T columns, N tokens of all replies, P prompts, V vocabulary, H width of the final hidden state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from .prefix import Ids, aligned


def check_layers(model: Any) -> None:
    """Raise ValueError if the model has no layers that can be computed again."""
    if not _layers(model):
        raise ValueError(
            f"no layer of {type(model).__name__} can be recomputed; leave gradient checkpointing out, and lower "
            "batch_tokens to save memory"
        )


def _layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """Within it every layer keeps its input only, and computes the rest again when gradients flow back."""
    layers = _layers(model)
    try:
        for layer in layers:
            # Nothing is drawn at random in evaluation mode, so there is no random state to keep.
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for layer in layers:
            del layer.forward


def whole_rows(prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> dict[Ids, int]:
    """Return the distinct rows that predict every token of some replies, numbered."""
    # The last token of a reply predicts nothing that is asked for.
    rows = dict.fromkeys(prompts[owner] + ids[:-1] for owner, ids in replies)
    return {row: number for number, row in enumerate(rows)}


def whole_logits(
    model: Any, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]], *, states: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return what `reply_logits` does, and, with `states`, what `prompt_states` does; activations are recomputed.

    Args:
        model: a causal language model.
        prompts: distinct prompts, each with a reply at least.
        replies: (index of its prompt, token ids) pairs.
        states: whether final hidden states are wanted.

    Returns [N, V] float32 and [P, H] float32 or None.
    """
    rows = whole_rows(prompts, replies)
    ids_RT, is_token_RT = aligned(list(rows))
    keep = max(len(ids) for _, ids in replies)
    with recomputing(model):
        output = model(
            input_ids=ids_RT.to(model.device),
            attention_mask=is_token_RT.to(model.device),
            position_ids=(is_token_RT.cumsum(1) - 1).clamp(min=0).to(model.device),
            use_cache=False,
            logits_to_keep=keep,
            **({"output_hidden_states": True} if states else {}),
        )
    row_of = [rows[prompts[owner] + ids[:-1]] for owner, ids in replies]
    row_N = [row for row, (_, ids) in zip(row_of, replies, strict=True) for _ in ids]
    # Rows are aligned right: each ends with the token before the reply's last, which predicts that one.
    column_N = [-n for _, ids in replies for n in range(len(ids), 0, -1)]
    logits_NV = output.logits[row_N, column_N].float()
    if not states:
        return logits_NV, None
    ends = {owner: (row, -len(ids)) for row, (owner, ids) in zip(row_of, replies, strict=True)}
    row_P, column_P = zip(*(ends[p] for p in range(len(prompts))), strict=True)
    return logits_NV, output.hidden_states[-1][torch.tensor(row_P), torch.tensor(column_P)].float()
