"""A causal language model as a player: batched sampling over both seats, exact ids and log-probabilities.

Chosen: noise comes with each prompt, so a reply does not depend on the batch it was sampled in. Left out: top-k and
top-p, which would make the sampler's log-probabilities other than the learner's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .agent import Message, Prompt, Reply
from .decoding import Decoder, Sampled
from .prefix import Ids, can_cut, reply_logits

MAX_REMEMBERED = 65_536
"""Prompts whose token ids are kept before the memory is emptied."""


class LanguageModelAgent:
    """Plays with any `AutoModelForCausalLM`. Holds the model; training it in place is noticed at the next reply."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "model",
        temperature: float = 1.0,
        max_new_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        cache_bytes: int = 1 << 28,
        batch_tokens: int = 1 << 15,
    ) -> None:
        """Wrap a model and its tokenizer.

        Args:
            model: a causal language model of transformers; dropout is switched off.
            tokenizer: its tokenizer; the chat template is used where it has one, plain text where not.
            name: how tables call this player.
            temperature: of sampling; 0 is greedy.
            max_new_tokens: most tokens of a reply; None takes the model's generation config, or else 256.
            stop: strings that end a reply; None takes the model's generation config, or else none.
            chat_template_kwargs: passed to the chat template, for instance `{"enable_thinking": False}`.
            cache_bytes: memory for key-value caches kept across turns; 0 keeps none.
            batch_tokens: most prompt tokens computed in one forward pass.
        """
        settings = model.generation_config
        if temperature < 0:
            raise ValueError(f"temperature must be 0 or more, not {temperature}")
        if max_new_tokens is not None and max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be 1 or more, not {max_new_tokens}")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.temperature = temperature
        self.stop = tuple(settings.stop_strings or ()) if stop is None else tuple(stop)
        self.chat_template_kwargs = chat_template_kwargs or {}
        self.batch_tokens = batch_tokens
        self.eos = _end_tokens(settings.eos_token_id, tokenizer.eos_token_id)
        self._decoder = Decoder(
            model,
            logprobs=self.logprobs,
            ends=self._ends,
            max_new_tokens=max_new_tokens or settings.max_new_tokens or 256,
            cache_bytes=cache_bytes if can_cut(model) else 0,
        )
        self._encoded: dict[tuple[Message, ...], Ids] = {}
        self._stops_at: dict[int, bool] = {}
        self._weights: tuple[int, ...] = ()

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        dtype: str = "auto",
        attn_implementation: str | None = None,
        trust_remote_code: bool = False,
        **settings: Any,
    ) -> LanguageModelAgent:
        """Load a model directory or a hub name. `settings` are those of the constructor.

        Raises OSError, as transformers does, if there is no such model.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation=attn_implementation, trust_remote_code=trust_remote_code
        )
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model, tokenizer, **{"name": str(path), **settings})

    def save_pretrained(self, path: str | Path) -> None:
        """Write an ordinary model directory: weights as safetensors, tokenizer, generation config."""
        self.model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    def flush(self) -> None:
        """Forget everything computed with the present weights. Called by itself when they change in place."""
        self._decoder.flush()

    def encode(self, messages: tuple[Message, ...]) -> Ids:
        """Return the token ids that the model reads for a chat, up to where its reply begins."""
        known = self._encoded.get(messages)
        if known is None:
            if len(self._encoded) >= MAX_REMEMBERED:
                self._encoded.clear()
            known = self._encoded[messages] = self._encode(messages)
        return known

    def _encode(self, messages: tuple[Message, ...]) -> Ids:
        if self.tokenizer.chat_template is None:
            return tuple(self.tokenizer("\n\n".join(m.content for m in messages)).input_ids)
        text = self.tokenizer.apply_chat_template(
            [m._asdict() for m in messages], tokenize=False, add_generation_prompt=True, **self.chat_template_kwargs
        )
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def encode_move(self, move: str) -> Ids:
        """Return the ids of the whole canonical reply `[move]`, with the end token unless a stop string ends it."""
        text = f"[{move}]"
        ids = tuple(self.tokenizer(text, add_special_tokens=False).input_ids)
        return ids if any(s in text for s in self.stop) else (*ids, self.eos[0])

    def logprobs(self, logits: Tensor) -> Tensor:
        """Return the log-probabilities that this player samples with. [..., V] in, [..., V] out."""
        if self.temperature == 0:
            return torch.full_like(logits, -torch.inf).scatter(-1, logits.argmax(-1, keepdim=True), 0.0)
        return torch.log_softmax(logits / self.temperature, -1)

    @torch.inference_mode()
    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Sample one reply a prompt. A prompt's noise key alone decides its sample, whatever the batch."""
        self._notice_new_weights()
        rows_of: dict[Ids, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows_of.setdefault(self.encode(prompt.messages), []).append(row)
        replies: dict[int, Reply] = {}
        for batch in self._batches(list(rows_of)):
            rows = [row for ids in batch for row in rows_of[ids]]
            beam_N = np.repeat(np.arange(len(batch)), [len(rows_of[ids]) for ids in batch])
            noise_N = np.array([prompts[row].noise for row in rows], dtype=np.uint64)
            sampled = self._decoder.sample(batch, beam_N, noise_N, [prompts[row].slot for row in rows])
            # Rows that sampled the same tokens share one record.
            made = {id(s): self._reply(s) for s in sampled}
            replies.update((row, made[id(s)]) for row, s in zip(rows, sampled, strict=True))
        return [replies[row] for row in range(len(prompts))]

    def _reply(self, sampled: Sampled) -> Reply:
        text = self.tokenizer.decode(sampled.ids, skip_special_tokens=True)
        return Reply(text=text, prompt_ids=sampled.prompt_ids, ids=sampled.ids, logprobs=sampled.logprobs)

    @torch.inference_mode()
    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[NDArray[np.float64]]:
        """Return the exact probability of each legal move's whole canonical reply, at the sampling temperature.

        What is left to one is the mass of every other reply.
        """
        keys = [self.encode(prompt.messages) for prompt in prompts]
        moves: dict[Ids, dict[str, None]] = {}
        for ids, prompt in zip(keys, prompts, strict=True):
            moves.setdefault(ids, {}).update(dict.fromkeys(prompt.legal or ()))
        known: dict[tuple[Ids, str], float] = {}
        for batch in self._batches(list(moves)):
            asked = [(b, move) for b, ids in enumerate(batch) for move in moves[ids]]
            logp = self._reply_logprobs(batch, [(b, self.encode_move(move)) for b, move in asked])
            known.update(((batch[b], move), p) for (b, move), p in zip(asked, np.exp(logp).tolist(), strict=True))
        return [np.array([known[ids, m] for m in p.legal or ()]) for ids, p in zip(keys, prompts, strict=True)]

    def _reply_logprobs(self, batch: list[Ids], replies: list[tuple[int, Ids]]) -> NDArray[np.float64]:
        """Return the log-probability of each whole reply, given as (its prompt in the batch, ids)."""
        logp_NV = self.logprobs(reply_logits(self.model, batch, replies))
        ids_N = torch.tensor([token for _, ids in replies for token in ids], device=logp_NV.device)
        logp_N = logp_NV.gather(1, ids_N[:, None])[:, 0].double().cpu().numpy()
        starts = np.cumsum([0, *(len(ids) for _, ids in replies[:-1])])
        return np.asarray(np.add.reduceat(logp_N, starts))

    def _batches(self, distinct: list[Ids]) -> Iterator[list[Ids]]:
        """Split prompts into batches of at most `batch_tokens`, prompts of like length together."""
        batch: list[Ids] = []
        for ids in sorted(distinct, key=len, reverse=True):
            if batch and (len(batch) + 1) * len(batch[0]) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(ids)
        if batch:
            yield batch

    def _notice_new_weights(self) -> None:
        # Every in-place change of a tensor, an optimizer step included, raises its version.
        now = tuple(p._version for p in self.model.parameters())
        if now != self._weights:
            self._decoder.flush()
            self._weights = now

    def _ends(self, ids: Ids) -> bool:
        last = ids[-1]
        if last in self.eos:
            return True
        if not self.stop:
            return False
        may_end = self._stops_at.get(last)
        if may_end is None:
            text = self.tokenizer.decode([last])
            may_end = self._stops_at[last] = any(s[-1] in text for s in self.stop)
        if not may_end:
            return False
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return any(s in text for s in self.stop)


def _end_tokens(*found: int | list[int] | None) -> tuple[int, ...]:
    """Return the end tokens of a generation config and a tokenizer; raise ValueError if neither names one."""
    tokens = [t for f in found if f is not None for t in (f if isinstance(f, list) else [f])]
    if not tokens:
        raise ValueError("the model has no end token; set generation_config.eos_token_id")
    return tuple(dict.fromkeys(tokens))
