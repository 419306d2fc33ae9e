"""Reading token sequences with whatever was read before: key-value caches by row, shared prefixes computed once.

Rows are left-padded and pads are masked, so any causal model of transformers that honours `attention_mask` and
`position_ids` works unchanged. Left out: paged caches and models with sliding-window or recurrent layers, whose
caches cannot be cut at a prefix; `can_cut` tells them apart and they read every prompt whole.

Shapes: B rows, T columns, V vocabulary, L layers, H key-value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

Ids = tuple[int, ...]

SHARE_FROM = 8
"""Tokens that a common prefix must have to be worth a forward pass of its own."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a model remembers of one token sequence."""

    ids: Ids
    kv: Tensor | None
    """Keys and values, [2, L, H, len(ids), D]; None for the empty sequence."""

    @property
    def bytes(self) -> int:
        """Bytes that the keys and values take."""
        return 0 if self.kv is None else self.kv.numel() * self.kv.element_size()


EMPTY = Past((), None)


def can_cut(model: Any) -> bool:
    """Whether every layer's cache is a plain one, which can be cut at any prefix."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many leading tokens two sequences share."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])


class Context:
    """A batch of token sequences that a model has read, ready to read on."""

    def __init__(self, model: Any, pasts: Sequence[tuple[Past, int]]) -> None:
        """Start from the first n tokens of each past, given as (past, n) pairs."""
        self.model = model
        self.device = model.device
        self.cache = DynamicCache()
        self.is_token_BT = _alignment([n for _, n in pasts]).to(self.device)
        if self.is_token_BT.shape[1]:
            self._load(pasts)

    def _load(self, pasts: Sequence[tuple[Past, int]]) -> None:
        some = next(past.kv for past, n in pasts if n and past.kv is not None)
        width = self.is_token_BT.shape[1]
        two, layers, heads, _, size = some.shape
        kv = some.new_zeros((two, layers, len(pasts), heads, width, size))
        for row, (past, n) in enumerate(pasts):
            if n and past.kv is not None:
                kv[:, :, row, :, width - n :] = past.kv[:, :, :, :n]
        for layer in range(layers):
            self.cache.update(kv[0, layer], kv[1, layer], layer)

    def read(self, chunks: Sequence[Sequence[int]], *, every: bool = False) -> Tensor:
        """Read one chunk a row (one token or more each).

        Returns the float32 logits after each row's last token, [B, V]; with `every`, after each column of the
        left-padded chunk, [B, C, V].
        """
        lengths = [len(chunk) for chunk in chunks]
        is_token_BC = _alignment(lengths).to(self.device)
        ids_BC = torch.zeros(is_token_BC.shape, dtype=torch.long)
        for row, chunk in enumerate(chunks):
            ids_BC[row, ids_BC.shape[1] - len(chunk) :] = torch.as_tensor(chunk)
        seen_B1 = self.is_token_BT.sum(1, keepdim=True)
        position_BC = (seen_B1 + is_token_BC.cumsum(1) - 1).clamp(min=0)
        self.is_token_BT = torch.cat([self.is_token_BT, is_token_BC], 1)
        logits: Tensor = self.model(
            input_ids=ids_BC.to(self.device),
            attention_mask=self.is_token_BT,
            position_ids=position_BC,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=0 if every else 1,
        ).logits.float()
        return logits if every else logits[:, -1]

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values a token of one row."""
        keys = [layer.keys for layer in self.cache.layers]
        return sum(2 * k.shape[1] * k.shape[3] * k.element_size() for k in keys)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be repeated."""
        if list(rows) == list(range(len(self.is_token_BT))):
            return
        index = torch.as_tensor(rows, device=self.device)
        self.cache.batch_select_indices(index)
        self.is_token_BT = self.is_token_BT[index]

    def pasts(self, read: Sequence[tuple[int, Ids]]) -> list[Past]:
        """Return what is remembered of some rows, given as (row, the tokens it has read)."""
        if not read:
            return []
        layers = self.cache.layers
        kv = torch.stack([torch.stack([x.keys for x in layers]), torch.stack([x.values for x in layers])])
        columns = [self.is_token_BT[row].nonzero()[:, 0] for row, _ in read]
        return [
            Past(ids, kv[:, :, row].index_select(3, column))
            for (row, ids), column in zip(read, columns, strict=True)
        ]


def _alignment(lengths: Sequence[int]) -> Tensor:
    """Return which columns hold tokens when rows of these lengths are aligned right; long, [B, max length]."""
    width = max(lengths, default=0)
    lengths_B1 = torch.as_tensor(lengths, dtype=torch.long)[:, None]
    return (torch.arange(width) >= width - lengths_B1).long()


def read_shared(model: Any, prompts: Sequence[Ids]) -> tuple[Context, Tensor]:
    """Read prompts whose common prefix is computed once. Differentiable.

    Returns the context and the logits after each prompt, [B, V].
    """
    shared = common_length(min(prompts), max(prompts)) if len(prompts) > 1 and can_cut(model) else 0
    shared = min(shared, min(map(len, prompts)) - 1)
    if shared < SHARE_FROM:
        context = Context(model, [(EMPTY, 0)] * len(prompts))
        return context, context.read(prompts)
    context = Context(model, [(EMPTY, 0)])
    context.read([prompts[0][:shared]])
    context.select([0] * len(prompts))
    return context, context.read([ids[shared:] for ids in prompts])


def reply_logits(model: Any, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
    """Return the logits that predicted each reply token. Differentiable; every prompt is computed once.

    Args:
        model: a causal language model.
        prompts: distinct prompts.
        replies: (index of its prompt, token ids) pairs.

    Returns [N, V] float32, N the tokens of all replies, in order.
    """
    context, first_PV = read_shared(model, prompts)
    owner = [prompt for prompt, _ in replies]
    longer = [i for i, (_, ids) in enumerate(replies) if len(ids) > 1]
    parts = [first_PV[owner[i]][None] for i in range(len(replies))] if longer else [first_PV[owner]]
    if longer:
        context.select([owner[i] for i in longer])
        rest = [replies[i][1][:-1] for i in longer]
        after_BCV = context.read(rest, every=True)
        for row, i in enumerate(longer):
            parts[i] = torch.cat([parts[i], after_BCV[row, after_BCV.shape[1] - len(rest[row]) :]])
    return torch.cat(parts)
