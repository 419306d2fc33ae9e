"""Sampling replies in batches, every distinct prefix computed once, each seat's key-value cache kept across turns.

Rows that share a prompt share one beam; they part when they sample different tokens. A reply's noise comes from its
own key, so neither sharing nor caching changes what is sampled. Several players may share the model, by adapters for
instance: their prompts are read in one pass, but nothing that was read for one is ever used for another.

Shapes: B beams in the batch, N replies wanted, K beams after a step, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .agent import uniforms
from .prefix import EMPTY, SHARE_FROM, Context, Ids, Past, common_length

Slot = tuple[int, int]
Ints = NDArray[np.int64]

CDF_NUMBERS = 1 << 22
"""Numbers that are held at once for cumulative distributions: 32 MiB, some thirty rows of a large vocabulary."""


Playing = Callable[[Sequence[str]], AbstractContextManager[None]]
"""Within `playing(players)` the model answers for these players, one a row of its input."""


class Asked(NamedTuple):
    """A prompt in tokens."""

    player: str
    """Who is to answer, of those that share the model."""
    ids: Ids


class Sampled(NamedTuple):
    """A reply in tokens."""

    asked: Asked
    ids: Ids = ()
    logprobs: tuple[float, ...] = ()


class _Kept(NamedTuple):
    """What is remembered for a slot."""

    player: str
    past: Past


class _Slots:
    """What is remembered for each slot. Slots may share what they hold, and its bytes count once."""

    def __init__(self) -> None:
        self._held: dict[Slot, _Kept] = {}
        self._sharing: dict[int, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def values(self) -> Iterable[_Kept]:
        return self._held.values()

    def get(self, slot: Slot) -> _Kept | None:
        return self._held.get(slot)

    def put(self, slot: Slot, kept: _Kept) -> None:
        self.drop(slot)
        self._held[slot] = kept
        sharing = self._sharing.get(id(kept), 0)
        self._sharing[id(kept)] = sharing + 1
        if not sharing:
            self.bytes += kept.past.bytes

    def drop(self, slot: Slot) -> None:
        kept = self._held.pop(slot, None)
        if kept is None:
            return
        self._sharing[id(kept)] -= 1
        if not self._sharing[id(kept)]:
            del self._sharing[id(kept)]
            self.bytes -= kept.past.bytes

    def forget(self, player: str) -> None:
        for slot in [slot for slot, kept in self._held.items() if kept.player == player]:
            self.drop(slot)


class Decoder:
    """Samples from one model and remembers what it has read, until `flush`."""

    def __init__(
        self,
        model: Any,
        *,
        logprobs: Callable[[Tensor], Tensor],
        ends: Callable[[Ids], bool],
        playing: Playing,
        max_new_tokens: int,
        cache_bytes: int,
    ) -> None:
        """Take a model, logits -> log-probabilities, whether a reply is complete, and most bytes to remember."""
        self.model = model
        self.playing = playing
        self.logprobs = logprobs
        self.ends = ends
        self.max_new_tokens = max_new_tokens
        self.cache_bytes = cache_bytes
        self.flush()

    def flush(self) -> None:
        """Forget everything that was read."""
        self._slots = _Slots()
        self._common: dict[str, Past] = {}
        self._first: dict[Asked, Tensor] = {}

    def forget_games(self) -> None:
        """Forget what was read for the slots, and first distributions too where they take half of the memory.

        A full memory takes nothing new, so what may never be asked again must not fill it.
        """
        self._slots = _Slots()
        if self._first_bytes() > self.cache_bytes // 2:
            self._first = {}

    def forget(self, player: str) -> None:
        """Forget what was read for one player."""
        self._slots.forget(player)
        self._common.pop(player, None)
        self._first = {asked: logp_V for asked, logp_V in self._first.items() if asked.player != player}

    def sample(self, batch: list[Asked], beam_N: Ints, noise_N: NDArray[np.uint64], slots: list[Slot]) -> list[Sampled]:
        """Sample one reply a row. `batch` holds distinct prompts, `beam_N` which of them each row has.

        It is fastest when prompts of one player stand together.
        """
        done: dict[int, Sampled] = {}
        rows_N = np.arange(len(slots))
        context, logp_BV = self._read_prompts(batch, beam_N, slots)
        said = [Sampled(asked) for asked in batch]
        for step in range(self.max_new_tokens):
            said, parent_K, beam_N = _grow(said, logp_BV, beam_N, uniforms(noise_N[rows_N], step))
            over_K = np.array([step + 1 == self.max_new_tokens or self.ends(s.ids) for s in said])
            over = [(r, b) for r, b in zip(rows_N.tolist(), beam_N.tolist(), strict=True) if over_K[b]]
            for row, beam in over:
                done[row] = said[beam]
            if context is not None:
                self._remember(context, said, parent_K, [(beam, slots[row]) for row, beam in over])
            if over_K.all():
                break
            assert context is not None
            going = np.flatnonzero(~over_K)
            said = [said[k] for k in going]
            context.select(parent_K[going].tolist())
            logp_BV = self._read_on(context, [Asked(s.asked.player, s.ids[-1:]) for s in said])
            goes_N = ~over_K[beam_N]
            rows_N, beam_N = rows_N[goes_N], np.searchsorted(going, beam_N[goes_N])
        return [done[row] for row in range(len(slots))]

    def _read_on(self, context: Context, chunks: list[Asked]) -> Tensor:
        """Read one chunk a row. Returns the log-probabilities after each, [B, V]."""
        with self.playing([player for player, _ in chunks]):
            return self.logprobs(context.read([ids for _, ids in chunks]))

    def _read_prompts(self, batch: list[Asked], beam_N: Ints, slots: list[Slot]) -> tuple[Context | None, Tensor]:
        """Return the context after the prompts, and the log-probabilities of each one's first reply token.

        Where replies are one token long nothing reads on, so there is no context and known distributions are reused.
        """
        slot_of = dict(zip(beam_N.tolist(), slots, strict=True))
        if self.max_new_tokens > 1:
            return self._read(batch, [slot_of[b] for b in range(len(batch))])
        known = {asked: self._first[asked] for asked in batch if asked in self._first}
        new = [b for b, asked in enumerate(batch) if asked not in known]
        if new:
            context, logp_BV = self._read([batch[b] for b in new], [slot_of[b] for b in new])
            # Known distributions first: they save a whole pass, a cache a part of one.
            fresh = dict(zip([batch[b] for b in new], logp_BV, strict=True))
            known |= fresh
            if logp_BV.nbytes <= self._room():
                self._first |= fresh
            row_of = dict(zip(new, range(len(new)), strict=True))
            read = [(row_of[b], slot) for b, slot in zip(beam_N.tolist(), slots, strict=True) if b in row_of]
            self._remember(context, [Sampled(batch[b], (0,)) for b in new], np.arange(len(new)), read)
        return None, torch.stack([known[asked] for asked in batch])

    def _read(self, batch: list[Asked], slots: list[Slot]) -> tuple[Context, Tensor]:
        """Read prompts, starting each from what its seat, or any prompt before it, has in common with it."""
        pasts = [
            self._best_past(asked, self._past(asked.player, slot)) for asked, slot in zip(batch, slots, strict=True)
        ]
        shared = self._read_common(_worth_sharing(batch, [n for _, n in pasts])) if self.cache_bytes else {}
        if shared:
            pasts = [
                self._best_past(asked, past, shared.get(asked.player, EMPTY))
                for asked, (past, _) in zip(batch, pasts, strict=True)
            ]
        context = Context(self.model, pasts)
        return context, self._read_on(
            context, [a._replace(ids=a.ids[n:]) for a, (_, n) in zip(batch, pasts, strict=True)]
        )

    def _read_common(self, wanted: list[Asked]) -> dict[str, Past]:
        """Read what prompts of each player have in common, and keep it for later ones if there is room."""
        if not wanted:
            return {}
        pasts = [self._best_past(asked) for asked in wanted]
        context = Context(self.model, pasts)
        self._read_on(context, [a._replace(ids=a.ids[n:]) for a, (_, n) in zip(wanted, pasts, strict=True)])
        read = context.pasts([(row, asked.ids) for row, asked in enumerate(wanted)])
        shared = {asked.player: past for asked, past in zip(wanted, read, strict=True)}
        for player, past in shared.items():
            if past.bytes <= self._room() + self._common.get(player, EMPTY).bytes:
                self._common[player] = past
        return shared

    def _past(self, player: str, slot: Slot) -> Past:
        """Return what a player's last prompt in a slot left behind."""
        kept = self._slots.get(slot)
        return kept.past if kept and kept.player == player else EMPTY

    def _best_past(self, asked: Asked, *others: Past) -> tuple[Past, int]:
        """Return the past that shares most with a prompt and how much; at least one token is left to read."""
        options = (*others, self._common.get(asked.player, EMPTY))
        shared = [common_length(past.ids, asked.ids) for past in options]
        best = int(np.argmax(shared))
        return options[best], min(shared[best], len(asked.ids) - 1)

    def _room(self) -> int:
        """Return how many of `cache_bytes` are not taken."""
        common = sum(past.bytes for past in self._common.values())
        return self.cache_bytes - self._slots.bytes - common - self._first_bytes()

    def _first_bytes(self) -> int:
        some = next(iter(self._first.values()), None)
        return 0 if some is None else len(self._first) * some.nbytes

    def _remember(
        self, context: Context, said: list[Sampled], row_of_beam: Ints, asked: Sequence[tuple[int, Slot]]
    ) -> None:
        """Keep what was read for some slots, given as (beam, slot) pairs, while there is room.

        A full memory takes nothing new: seats come round in turn, so dropping the oldest would drop just what the
        next call needs. The last token sampled has not been read.
        """
        if not self.cache_bytes or not asked:
            return
        for _, slot in asked:
            self._slots.drop(slot)
        room = self._room()
        fits: dict[int, tuple[int, Ids]] = {}
        for beam in dict.fromkeys(beam for beam, _ in asked):
            ids = (*said[beam].asked.ids, *said[beam].ids[:-1])
            room -= len(ids) * context.token_bytes
            if room < 0:
                break
            fits[beam] = (int(row_of_beam[beam]), ids)
        pasts = dict(zip(fits, context.pasts(list(fits.values())), strict=True))
        kept = {beam: _Kept(said[beam].asked.player, past) for beam, past in pasts.items()}
        for beam, slot in asked:
            if beam in kept:
                self._slots.put(slot, kept[beam])


def _worth_sharing(batch: list[Asked], known: list[int]) -> list[Asked]:
    """Return each player's common prefix where it is worth a pass; `known` tokens of each prompt need no reading."""
    prompts: dict[str, list[tuple[Ids, int]]] = {}
    for (player, ids), n in zip(batch, known, strict=True):
        prompts.setdefault(player, []).append((ids, n))
    wanted = []
    for player, group in prompts.items():
        first = min(ids for ids, _ in group)
        common = common_length(first, max(ids for ids, _ in group))
        # A pass of its own pays only if more than one prompt would read these tokens otherwise.
        if sum(common - n >= SHARE_FROM for _, n in group) > 1:
            wanted.append(Asked(player, first[:common]))
    return wanted


def _grow(
    said: list[Sampled], logp_BV: Tensor, beam_N: Ints, uniform_N: NDArray[np.float64]
) -> tuple[list[Sampled], Ints, Ints]:
    """Sample one token a row. Returns the new beams, each one's parent, and the new beam of each row.

    Raises FloatingPointError if the model's output is not a distribution.
    """
    vocabulary = logp_BV.shape[1]
    token_N = _inverse_cdf(logp_BV, beam_N, uniform_N)
    pair_K, beam_N = np.unique(beam_N * vocabulary + token_N, return_inverse=True)
    parent_K, token_K = np.divmod(pair_K, vocabulary)
    logp_K = logp_BV[torch.as_tensor(parent_K), torch.as_tensor(token_K)].tolist()
    grown = [
        Sampled(said[b].asked, (*said[b].ids, token), (*said[b].logprobs, logp))
        for b, token, logp in zip(parent_K.tolist(), token_K.tolist(), logp_K, strict=True)
    ]
    return grown, parent_K, beam_N


def _inverse_cdf(logp_BV: Tensor, beam_N: Ints, uniform_N: NDArray[np.float64]) -> Ints:
    """Return the token at which each row's cumulative distribution passes its number; M is most rows of a beam."""
    order = np.argsort(beam_N, kind="stable")
    count_B = np.bincount(beam_N, minlength=len(logp_BV))
    column_N = np.arange(len(beam_N)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
    wanted_BM = np.zeros((len(logp_BV), count_B.max()))
    wanted_BM[beam_N[order], column_N] = uniform_N[order]
    step = max(1, CDF_NUMBERS // logp_BV.shape[1])
    parts = zip(logp_BV.split(step), torch.as_tensor(wanted_BM).split(step), strict=True)
    token_BM = torch.cat([_invert(logp, wanted.to(logp.device)) for logp, wanted in parts])
    token_N = np.empty(len(beam_N), dtype=np.int64)
    token_N[order] = token_BM.cpu().numpy()[beam_N[order], column_N]
    return token_N


def _invert(logp_BV: Tensor, uniform_BM: Tensor) -> Tensor:
    cdf_BV = logp_BV.double().exp().cumsum(-1)
    total_B1 = cdf_BV[:, -1:].contiguous()
    if not torch.isfinite(total_B1).all():
        raise FloatingPointError("the model's logits are not finite; lower the learning rate, or load it in float32")
    token_BM = torch.searchsorted(cdf_BV, uniform_BM * total_B1, right=True)
    # A sum that rounds down must not select a token of probability zero beyond the last possible one.
    return torch.minimum(token_BM, torch.searchsorted(cdf_BV, total_B1))
