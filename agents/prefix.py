"""Reading token sequences with whatever was read before: key-value caches by row, shared prefixes computed once.

Rows are left-padded and pads are masked, so any causal model of transformers works unchanged. Left out: paged caches,
and cutting the caches of sliding-window and recurrent models; `can_cut` tells them apart, and they read every prompt
whole, so that no pad ever stands between two tokens.

Shapes: B rows, T columns, C columns of one chunk, V vocabulary, F numbers that all layers keep of a token; K key-value
heads and D head size of one layer; P prompts, N tokens of all replies, H width of the final hidden state.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from .last_layer import last_columns

Ids = tuple[int, ...]

SHARE_FROM = 8
"""Tokens that a common prefix must have to be worth a forward pass of its own."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a model remembers of one token sequence."""

    ids: Ids
    kv: Tensor | None
    """Each layer's keys and its values side by side, [len(ids), F]; None for the empty sequence."""
    shapes: tuple[tuple[int, int], ...] = ()
    """(K, D) of each of them. Keys and values may differ, as in multi-head latent attention."""

    @property
    def bytes(self) -> int:
        """Bytes that the keys and values take."""
        return 0 if self.kv is None else self.kv.numel() * self.kv.element_size()


EMPTY = Past((), None)


def can_cut(model: Any) -> bool:
    """Whether what the model remembers can be cut at any prefix and read on from with pads in between.

    So it is if every layer keeps all keys and values, and distance is counted in positions, not in columns.
    """
    plain = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    # GPT-Neo has local layers that its cache does not show.
    local = "local" in getattr(model.config, "attention_layers", ())
    return plain and not local and "position_ids" in _parameters(model)


def can_continue(model: Any) -> bool:
    """Whether the model can read on from a cache of transformers at all; Mamba and RWKV keep their own kind."""
    return "past_key_values" in _parameters(model)


def _parameters(model: Any) -> Collection[str]:
    # What torch.compile and PEFT wrap around a model passes on whatever it is given.
    inner = getattr(model, "_orig_mod", model)
    inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    return inspect.signature(inner.forward).parameters


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
        self.cache = DynamicCache(config=model.config)
        self.is_token_BT = _alignment([n for _, n in pasts]).to(self.device)
        if self.is_token_BT.shape[1]:
            self._load(pasts)

    def _load(self, pasts: Sequence[tuple[Past, int]]) -> None:
        some, shapes = next((past.kv, past.shapes) for past, n in pasts if n and past.kv is not None)
        width = self.is_token_BT.shape[1]
        kv_BTF = some.new_zeros((len(pasts), width, some.shape[1]))
        for row, (past, n) in enumerate(pasts):
            if n and past.kv is not None:
                kv_BTF[row, width - n :] = past.kv[:n]
        parts = kv_BTF.split([heads * size for heads, size in shapes], 2)
        kv = [part.unflatten(2, shape).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)]
        for layer in range(len(kv) // 2):
            self.cache.update(kv[2 * layer], kv[2 * layer + 1], layer)

    def read(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Read one chunk a row (one token or more each). Returns the logits after each, float32 [B, V]."""
        return self.read_last(chunks, 1)[:, 0]

    def read_last(self, chunks: Sequence[Sequence[int]], keep: int) -> Tensor:
        """Read one chunk a row. Returns the logits after each of the last `keep` columns, float32 [B, keep, V].

        Chunks are aligned right, so a shorter chunk's first columns hold nothing of meaning.
        """
        logits: Tensor = self._forward(chunks, keep, states=False).logits
        return logits[:, -keep:].float()

    def read_states(self, chunks: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Read one chunk a row. Returns the logits and the final hidden states after each, float32 [B, V] and [B, H].

        The final state is what the output layer reads: after the last norm, where the model has one.
        """
        output = self._forward(chunks, 1, states=True)
        return output.logits[:, -1].float(), output.hidden_states[-1][:, -1].float()

    def _forward(self, chunks: Sequence[Sequence[int]], keep: int, *, states: bool) -> Any:
        """Read one chunk a row. Returns the model's output; with `states` it holds every layer's hidden states."""
        ids_BC, is_token_BC = aligned(chunks)
        is_token_BC = is_token_BC.to(self.device)
        seen_B1 = self.is_token_BT.sum(1, keepdim=True)
        position_BC = (seen_B1 + is_token_BC.cumsum(1) - 1).clamp(min=0)
        self.is_token_BT = torch.cat([self.is_token_BT, is_token_BC], 1)
        with last_columns(self.model, keep):
            return self.model(
                input_ids=ids_BC.to(self.device),
                attention_mask=self.is_token_BT,
                position_ids=position_BC,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep,
                **({"output_hidden_states": True} if states else {}),
            )

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values a token of one row, as `pasts` keeps them: all in the widest type among them."""
        kv = self._kv()
        return sum(x.shape[1] * x.shape[3] for x in kv) * max(x.element_size() for x in kv)

    def _kv(self) -> list[Tensor]:
        """Return each layer's keys and its values, [B, K, T, D]."""
        return [x for layer in self.cache.layers for x in (layer.keys, layer.values)]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be repeated."""
        if list(rows) == list(range(len(self.is_token_BT))):
            return
        index = torch.as_tensor(rows, device=self.device)
        # Not `batch_select_indices`, which recurrent layers lack.
        self.cache.reorder_cache(index)
        self.is_token_BT = self.is_token_BT[index]

    def pasts(self, read: Sequence[tuple[int, Ids]]) -> list[Past]:
        """Return what is remembered of some rows, given as (row, the tokens it has read)."""
        if not read:
            return []
        rows = torch.as_tensor([row for row, _ in read], device=self.device)
        kv = self._kv()
        kv_RTF = torch.cat([x[rows].transpose(1, 2).flatten(2) for x in kv], 2)
        shapes = tuple((x.shape[1], x.shape[3]) for x in kv)
        is_token_RT = self.is_token_BT[rows].bool()
        return [
            Past(ids, kv_TF[is_token_T], shapes)
            for (_, ids), kv_TF, is_token_T in zip(read, kv_RTF, is_token_RT, strict=True)
        ]


def in_batches(prompts: Iterable[Ids], batch_tokens: int) -> Iterator[list[Ids]]:
    """Split prompts into batches of at most `batch_tokens`, pads counted, prompts of like length together."""
    batch: list[Ids] = []
    for ids in sorted(prompts, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > batch_tokens:
            yield batch
            batch = []
        batch.append(ids)
    if batch:
        yield batch


def _alignment(lengths: Sequence[int]) -> Tensor:
    """Return which columns hold tokens when rows of these lengths are aligned right; long, [B, max length]."""
    width = max(lengths, default=0)
    lengths_B1 = torch.as_tensor(lengths, dtype=torch.long)[:, None]
    return (torch.arange(width) >= width - lengths_B1).long()


def aligned(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return token ids aligned right, and which columns hold them: two long tensors on the CPU, [B, longest]."""
    is_token_BT = _alignment([len(row) for row in rows])
    ids_BT = torch.zeros(is_token_BT.shape, dtype=torch.long)
    for number, row in enumerate(rows):
        ids_BT[number, ids_BT.shape[1] - len(row) :] = torch.as_tensor(row)
    return ids_BT, is_token_BT


def read_shared(model: Any, prompts: Sequence[Ids]) -> tuple[Context, Tensor]:
    """Read prompts whose common prefix is computed once. Differentiable.

    Returns the context and the logits after each prompt, [B, V].
    """
    context, rest = _read_common(model, prompts)
    return context, context.read(rest)


def _read_common(model: Any, prompts: Sequence[Ids]) -> tuple[Context, list[Ids]]:
    """Read what prompts have in common, if that pays. Returns the context, a row a prompt, and what is left to read."""
    shared = _worth_sharing(model, prompts)
    if not shared:
        return Context(model, [(EMPTY, 0)] * len(prompts)), list(prompts)
    context = Context(model, [(EMPTY, 0)])
    context.read([prompts[0][:shared]])
    context.select([0] * len(prompts))
    return context, [ids[shared:] for ids in prompts]


def _worth_sharing(model: Any, prompts: Sequence[Ids]) -> int:
    """Return how many leading tokens are read once for all prompts; 0 if that does not pay or cannot be."""
    shared = common_length(min(prompts), max(prompts)) if len(prompts) > 1 else 0
    shared = min(shared, min(map(len, prompts)) - 1)
    return shared if shared >= SHARE_FROM and can_cut(model) else 0


def columns_read(model: Any, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> tuple[int, int]:
    """Return how many tokens `reply_logits` has the model compute, and how many with the pads between them."""
    shared = _worth_sharing(model, prompts)
    cut = can_cut(model)
    rows = [len(ids) - shared for ids in prompts]
    more = [len(ids) - 1 + (0 if cut else len(prompts[owner])) for owner, ids in replies if len(ids) > 1]
    columns = len(rows) * max(rows) + len(more) * max(more, default=0)
    return shared + sum(rows) + sum(more), shared + columns


def prompt_states(model: Any, prompts: Sequence[Ids]) -> Tensor:
    """Return the final hidden state at the last token of each prompt, float32 [P, H]. Differentiable."""
    context, rest = _read_common(model, prompts)
    return context.read_states(rest)[1]


def reply_logits(model: Any, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]) -> Tensor:
    """Return the logits that predicted each reply token. Differentiable; every prompt is computed once.

    Args:
        model: a causal language model.
        prompts: distinct prompts.
        replies: (index of its prompt, token ids) pairs.

    Returns [N, V] float32, N the tokens of all replies, in order.
    """
    context, first_PV = read_shared(model, prompts)
    return _read_replies(context, first_PV, prompts, replies)


def reply_logits_and_states(
    model: Any, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]
) -> tuple[Tensor, Tensor]:
    """Return `reply_logits` and `prompt_states` of one and the same pass, [N, V] and [P, H]."""
    context, rest = _read_common(model, prompts)
    first_PV, states_PH = context.read_states(rest)
    return _read_replies(context, first_PV, prompts, replies), states_PH


def _read_replies(
    context: Context, first_PV: Tensor, prompts: Sequence[Ids], replies: Sequence[tuple[int, Ids]]
) -> Tensor:
    """Read on from prompts, `first_PV` the logits after each. Returns those that predicted each reply token, [N, V]."""
    model = context.model
    owner = [prompt for prompt, _ in replies]
    longer = [i for i, (_, ids) in enumerate(replies) if len(ids) > 1]
    if not longer:
        return first_PV[owner]
    rest = [replies[i][1][:-1] for i in longer]
    keep = max(map(len, rest))
    if can_cut(model):
        context.select([owner[i] for i in longer])
        after_BCV = context.read_last(rest, keep)
    else:
        whole = [prompts[owner[i]] + ids for i, ids in zip(longer, rest, strict=True)]
        after_BCV = Context(model, [(EMPTY, 0)] * len(longer)).read_last(whole, keep)
    # All rows at once: the backward pass of a row by itself would fill zeros as large as all of them.
    row_M = [row for row, ids in enumerate(rest) for _ in ids]
    column_M = [keep - n for ids in rest for n in range(len(ids), 0, -1)]
    after_MV = after_BCV[row_M, column_M]
    place_N: list[int] = []
    read = len(replies)
    for i, (_, ids) in enumerate(replies):
        place_N += [i, *range(read, read + len(ids) - 1)]
        read += len(ids) - 1
    return torch.cat([first_PV[owner], after_MV])[place_N]
