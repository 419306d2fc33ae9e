"""A causal language model as a player: batched sampling over both seats, exact ids and log-probabilities.

Chosen: noise comes with each prompt, so a reply does not depend on the batch it was sampled in. Left out: top-k and
top-p, which would make the sampler's log-probabilities other than the learner's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from .agent import Message, Prompt, Reply
from .decoding import Asked, Decoder, Sampled
from .model_files import end_tokens, refuse_pickles, stop_strings
from .prefix import Ids, can_continue, can_cut, reply_logits

if TYPE_CHECKING:
    from .adapters import Adapters

MAX_REMEMBERED = 1 << 21
"""Prompt tokens that are kept, some 100 MB, before the memory is emptied."""
REMEMBERED = 4
"""Tokens that are remembered at once for one that is computed at once, which takes far more memory."""
MAX_MOVES = 1 << 16
"""Moves whose ids are kept."""
_player = attrgetter("player")
"""Files of weights that are unpickled, and those that must be there in their place."""


class _Steps:
    """Counts the steps that any optimizer of the process has taken."""

    def __init__(self) -> None:
        self.taken = 0
        register_optimizer_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.taken += 1


_steps = _Steps()


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
        stop: str | Sequence[str] | None = None,
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
            batch_tokens: most prompt tokens computed in one forward pass; of replies that part, four times as many
                tokens are remembered at once.

        Raises ValueError if a number is out of range, the model names no end token, or it cannot read on from a cache.
        """
        settings = model.generation_config
        if temperature < 0:
            raise ValueError(f"temperature must be 0 or more, not {temperature}")
        if max_new_tokens is not None and max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be 1 or more, not {max_new_tokens}")
        if not can_continue(model):
            raise ValueError(
                f"{model.config.model_type} models take no past_key_values, so they cannot be sampled from here; "
                "take a transformer, or a hybrid such as Qwen3-Next"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.temperature = temperature
        self.stop = stop_strings(settings.stop_strings if stop is None else stop)
        self.chat_template_kwargs = chat_template_kwargs or {}
        self.batch_tokens = batch_tokens
        self.eos = end_tokens(tokenizer.eos_token_id, settings.eos_token_id)
        self.max_new_tokens = max_new_tokens or settings.max_new_tokens or 256
        self.cache_bytes = cache_bytes
        self.adapters: Adapters | None = None
        """The LoRA adapters of the model; see `add_lora`."""
        self._decoder = Decoder(
            model,
            logprobs=self.logprobs,
            ends=self._ends,
            playing=self.playing,
            max_new_tokens=self.max_new_tokens,
            cache_bytes=cache_bytes if can_cut(model) else 0,
        )
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special = re.compile("|".join(map(re.escape, special)) or "(?!)")
        self._encoded: dict[tuple[Message, ...], Ids] = {}
        self._encoded_tokens = 0
        self._moves: dict[str, Ids] = {}
        self._stops_at: dict[int, bool] = {}
        self._learning: tuple[float, ...] = ()
        self._frozen: tuple[float, ...] = ()
        self._snapshots: dict[str, int] = {}

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        dtype: str | torch.dtype = "auto",
        attn_implementation: str | None = None,
        trust_remote_code: bool = False,
        **settings: Any,
    ) -> LanguageModelAgent:
        """Load a model directory or a hub name, onto the GPU if there is one. `settings` are those of the constructor.

        Weights are read from safetensors only, for unpickling runs what is in a file. Raises OSError, as transformers
        does, if there is no such model, and ValueError if a directory holds pickled weights alone.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        refuse_pickles(Path(path))
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
        )
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model, tokenizer, **{"name": str(path), **settings})

    def save_pretrained(self, path: str | Path) -> None:
        """Write an ordinary model directory: weights as safetensors, tokenizer, generation config.

        With LoRA the adapter is merged into the weights, in their precision; by itself it stands in `adapter/`.
        """
        if self.adapters is None:
            self.model.save_pretrained(path)
        else:
            self.adapters.save_merged(path)
            self.adapters.save(Path(path) / "adapter")
        self.tokenizer.save_pretrained(path)

    def flush(self) -> None:
        """Forget everything computed with the present weights.

        Called by itself after optimizer steps and when parameters change in place or are replaced. What torch keeps no
        count of is not noticed and needs this call: writing into `parameter.data`, switching an adapter on or off.
        """
        self._decoder.flush()

    def forget_games(self) -> None:
        """Forget what was read of games, which are over; what is said at once to a prompt stays, as do the weights.

        Half of `cache_bytes` is what that may take. A sample does not depend on it but for rounding: a prompt that was
        read in another batch may differ in the last bits.
        """
        self._decoder.forget_games()

    def wear(self, adapters: Adapters) -> None:
        """Play with LoRA adapters from now on."""
        self.model = self._decoder.model = adapters.model.eval()
        self.adapters = adapters
        self.flush()

    def playing(self, players: str | Sequence[str]) -> AbstractContextManager[None]:
        """Return a context in which the model is these players, one a row of its input, or one for every row.

        "" is the present policy, "__base__" the model without adapters, other names are of snapshots.
        Raises ValueError if there is no such player.
        """
        if self.adapters is not None:
            return self.adapters.worn(players)
        if any(players):
            raise ValueError(f"{self.name} has no adapters, so nobody to play as but itself; see add_lora")
        return nullcontext()

    def encode(self, messages: tuple[Message, ...]) -> Ids:
        """Return the token ids that the model reads for a chat, up to where its reply begins."""
        known = self._encoded.get(messages)
        if known is None:
            known = self._encode(messages)
            self._encoded_tokens += len(known)
            if self._encoded_tokens > MAX_REMEMBERED:
                self._encoded.clear()
                self._encoded_tokens = len(known)
            self._encoded[messages] = known
        return known

    def _encode(self, messages: tuple[Message, ...]) -> Ids:
        # A player's text must not end its own turn and open another's.
        safe = [m._replace(content=self._special.sub(_split, m.content)) for m in messages]
        if self.tokenizer.chat_template is None:
            ids = self.tokenizer("\n\n".join(m.content for m in safe)).input_ids
        else:
            text = self.tokenizer.apply_chat_template(
                [m._asdict() for m in safe],
                tokenize=False,
                add_generation_prompt=True,
                **self.chat_template_kwargs,
            )
            ids = self.tokenizer(text, add_special_tokens=False).input_ids
        self._check_length(len(ids))
        return tuple(ids)

    def _check_length(self, prompt: int) -> None:
        if not prompt:
            raise ValueError("the prompt is empty: a model needs one token or more to read")
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        # The last token of a reply is not read.
        if limit and prompt + self.max_new_tokens - 1 > limit:
            raise ValueError(
                f"a prompt of {prompt} tokens and a reply of up to {self.max_new_tokens} do not fit the model's "
                f"context of {limit}; lower max_new_tokens, shorten the prompts, or raise "
                "config.max_position_embeddings if the model can read further"
            )

    def encode_move(self, move: str) -> Ids:
        """Return the ids of the whole canonical reply `[move]`.

        An end token closes it unless a stop string or `max_new_tokens` does. Raises ValueError if the move is longer.
        """
        known = self._moves.get(move)
        if known is None:
            if len(self._moves) >= MAX_MOVES:
                self._moves.clear()
            known = self._moves[move] = self._encode_move(f"[{move}]")
        return known

    def encode_speech(self, text: str) -> Ids:
        """Return the ids of a whole reply of free text, closed as a move is. Raises ValueError if it is longer."""
        return self._encode_move(text)

    def _encode_move(self, text: str) -> Ids:
        ids = tuple(self.tokenizer(text, add_special_tokens=False).input_ids)
        if len(ids) > self.max_new_tokens:
            raise ValueError(f"{text!r} takes {len(ids)} tokens; raise max_new_tokens, now {self.max_new_tokens}")
        closed = len(ids) == self.max_new_tokens or any(s in text for s in self.stop)
        return ids if closed else (*ids, self.eos[0])

    def logprobs(self, logits: Tensor) -> Tensor:
        """Return the log-probabilities that this player samples with. [..., V] in, [..., V] out."""
        if self.temperature == 0:
            return torch.full_like(logits, -torch.inf).scatter(-1, logits.argmax(-1, keepdim=True), 0.0)
        return torch.log_softmax(logits / self.temperature, -1)

    @torch.inference_mode()
    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Sample one reply a prompt. A prompt's noise key alone decides its sample, whatever the batch."""
        self._notice_new_weights()
        rows_of: dict[Asked, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows_of.setdefault(Asked(prompt.player, self.encode(prompt.messages)), []).append(row)
        replies: dict[int, Reply] = {}
        for batch in self._batches({asked: len(rows) for asked, rows in rows_of.items()}):
            batch.sort(key=_player)
            rows = [row for asked in batch for row in rows_of[asked]]
            beam_N = np.repeat(np.arange(len(batch)), [len(rows_of[asked]) for asked in batch])
            noise_N = np.array([prompts[row].noise for row in rows], dtype=np.uint64)
            sampled = self._decoder.sample(batch, beam_N, noise_N, [prompts[row].slot for row in rows])
            # Rows that sampled the same tokens share one record.
            made = {key: self._reply(s) for key, s in {id(s): s for s in sampled}.items()}
            replies.update((row, made[id(s)]) for row, s in zip(rows, sampled, strict=True))
        return [replies[row] for row in range(len(prompts))]

    def _reply(self, sampled: Sampled) -> Reply:
        (_, prompt_ids), ids, logprobs = sampled
        # Whose limit is one token says all it has to say in that.
        cut_off = len(ids) == self.max_new_tokens > 1 and not self._ends(ids)
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Reply(text=text, prompt_ids=prompt_ids, ids=ids, logprobs=logprobs, cut_off=cut_off)

    @torch.inference_mode()
    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[NDArray[np.float64]]:
        """Return the exact probability of each legal move's whole canonical reply, at the sampling temperature.

        What is left to one is the mass of every other reply. Where the move is free text the array is empty.
        Raises FloatingPointError if the model's numbers are not finite, as `reply` does.
        """
        self._notice_new_weights()
        keys = [Asked(prompt.player, self.encode(prompt.messages)) for prompt in prompts]
        moves: dict[Asked, dict[str, None]] = {}
        for asked, prompt in zip(keys, prompts, strict=True):
            if prompt.legal:
                moves.setdefault(asked, {}).update(dict.fromkeys(prompt.legal))
        known: dict[tuple[Asked, str], float] = {}
        for player, group in groupby(sorted(moves, key=_player), key=_player):
            with self.playing(player):
                for batch in self._batches(dict.fromkeys(group, 0)):
                    known |= self._odds(batch, moves)
        return [np.array([known[asked, m] for m in p.legal or ()]) for asked, p in zip(keys, prompts, strict=True)]

    def _odds(self, batch: list[Asked], moves: dict[Asked, dict[str, None]]) -> dict[tuple[Asked, str], float]:
        """Return the probability of each of `moves` at some prompts of one player."""
        pairs = [(b, move) for b, asked in enumerate(batch) for move in moves[asked]]
        logp = self._reply_logprobs([asked.ids for asked in batch], [(b, self.encode_move(move)) for b, move in pairs])
        if np.isnan(logp).any():
            raise FloatingPointError(
                "the model's logits are not finite; lower the learning rate, or load it in float32"
            )
        return {(batch[b], move): p for (b, move), p in zip(pairs, np.exp(logp).tolist(), strict=True)}

    def _reply_logprobs(self, batch: list[Ids], replies: list[tuple[int, Ids]]) -> NDArray[np.float64]:
        """Return the log-probability of each whole reply, given as (its prompt in the batch, ids)."""
        logp_NV = self.logprobs(reply_logits(self.model, batch, replies))
        ids_N = torch.tensor([token for _, ids in replies for token in ids], device=logp_NV.device)
        logp_N = logp_NV.gather(1, ids_N[:, None])[:, 0].double()
        # Any end token ends a reply, whichever stands for them in its canonical form.
        ends_N = ids_N == self.eos[0]
        logp_N[ends_N] = logp_NV[ends_N][:, list(self.eos)].double().logsumexp(-1)
        starts = np.cumsum([0, *(len(ids) for _, ids in replies[:-1])])
        return np.asarray(np.add.reduceat(logp_N.cpu().numpy(), starts))

    def _batches(self, rows: Mapping[Asked, int]) -> Iterator[list[Asked]]:
        """Split distinct prompts into batches of at most `batch_tokens`, prompts of like length together.

        `rows` says how many replies each is to get. Where a reply is longer than one token, each may go its own way and
        then remembers all that it has read, for which a batch has room for `REMEMBERED` times as many tokens.
        """
        batch: list[Asked] = []
        held = 0
        for asked in sorted(rows, key=lambda asked: len(asked.ids), reverse=True):
            more = rows[asked] * (len(asked.ids) + self.max_new_tokens) if self.max_new_tokens > 1 else 0
            is_full = held + more > REMEMBERED * self.batch_tokens
            if batch and ((len(batch) + 1) * len(batch[0].ids) > self.batch_tokens or is_full):
                yield batch
                batch, held = [], 0
            batch.append(asked)
            held += more
        if batch:
            yield batch

    def _notice_new_weights(self) -> None:
        if self.model.training:
            self.model.eval()
        # Every in-place change of a tensor raises its version, except in fused optimizers. What was remembered is of
        # one temperature, too.
        versions: tuple[list[float], list[float]] = ([], [])
        for parameter in self.model.parameters():
            versions[parameter.requires_grad].extend((parameter.data_ptr(), parameter._version))
        frozen = (self.temperature, *versions[False])
        learning = (_steps.taken, *versions[True]) if versions[True] else ()
        if frozen != self._frozen:
            self._decoder.flush()
        elif learning != self._learning:
            # No optimizer touches what needs no gradient: what was read with frozen adapters alone still holds.
            self._decoder.forget("")
        snapshots = dict(self.adapters.serials) if self.adapters else {}
        for name in [name for name, serial in self._snapshots.items() if snapshots.get(name) != serial]:
            self._decoder.forget(name)
        self._frozen, self._learning, self._snapshots = frozen, learning, snapshots

    def _ends(self, ids: Ids) -> bool:
        last = ids[-1]
        if last in self.eos:
            return True
        if not self.stop:
            return False
        may_end = self._stops_at.get(last)
        if may_end is None:
            text = self.tokenizer.decode([last])
            # A token may hold the last bytes of a character only; by itself it then reads as U+FFFD.
            may_end = self._stops_at[last] = any(s[-1] in text or "\ufffd" in text for s in self.stop)
        if not may_end:
            return False
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return any(s in text for s in self.stop)


def _split(special: re.Match[str]) -> str:
    """Return a special token's text so that it is read as text: `<|im_end|>` as `< |im_end|>`."""
    return f"{special[0][0]} {special[0][1:]}"
