"""Our samples and games as TRL's datasets: preferences, labelled replies, replies to imitate.

Chosen: two forms. Rows made from samples come back as the very tokens that were sampled; files made from games hold
plain chats, which a script of the user's own renders with its own model's template. Left out: pre-tokenised columns,
which TRL's trainers do not take.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from sparring.agents import Reply
from sparring.envs import near

from .episode import Episode, Turn
from .groups import check_reply
from .pairs import Labelled, Pair, Weighted

VERBATIM = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A chat template that adds nothing. A row brings it along: its contents are whole renderings, end tokens and all."""


def preference_rows(pairs: Iterable[Pair], tokenizer: Any) -> Any:
    """Return pairs as a `datasets.Dataset` for `DPOTrainer`: prompt, chosen, rejected, chat_template_kwargs.

    So do `label_rows` and `conversation_rows`, all in one way: a row's contents are the sampled tokens as text, and it
    carries a chat template that renders them as they are, so TRL adds no end token that was not sampled. A reply whose
    text is tokenised otherwise than it was sampled cannot be had from text: its row is left out, with a warning that
    counts them. Raises ValueError if no row is left.
    """
    return _rows([({"chosen": pair.chosen, "rejected": pair.rejected}, {}) for pair in pairs], tokenizer)


def label_rows(items: Iterable[Labelled], tokenizer: Any) -> Any:
    """Return labelled replies as a dataset for `KTOTrainer`: prompt, completion, label, chat_template_kwargs."""
    return _rows([({"completion": item.reply}, {"label": item.desirable}) for item in items], tokenizer)


def conversation_rows(items: Iterable[Weighted], tokenizer: Any) -> Any:
    """Return replies as a dataset for `SFTTrainer`, which trains the completion alone: prompt, completion, kwargs."""
    return _rows([({"completion": item.reply}, {}) for item in items], tokenizer)


def _rows(found: Sequence[tuple[Mapping[str, Reply], Mapping[str, Any]]], tokenizer: Any) -> Any:
    from datasets import Dataset

    rows = [
        {**_row(replies, tokenizer), **extra}
        for replies, extra in found
        if all(_comes_back(reply, tokenizer) for reply in replies.values())
    ]
    if not rows:
        raise ValueError(f"none of {len(found)} rows is tokenised as it was sampled; train on the ids by trl_update")
    if len(rows) < len(found):
        lost = len(found) - len(rows)
        warnings.warn(f"{lost} of {len(found)} rows left out: not tokenised as they were sampled", stacklevel=3)
    return Dataset.from_list(rows)


def _row(replies: Mapping[str, Reply], tokenizer: Any) -> dict[str, Any]:
    prompt = next(iter(replies.values())).prompt_ids
    said = {name: _chat("assistant", _text(reply.ids, tokenizer)) for name, reply in replies.items()}
    return {
        "prompt": _chat("user", _text(prompt, tokenizer)),
        **said,
        "chat_template_kwargs": {"chat_template": VERBATIM},
    }


def _chat(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _text(ids: Sequence[int], tokenizer: Any) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _comes_back(reply: Reply, tokenizer: Any) -> bool:
    """Whether TRL, which tokenises the prompt and then prompt and reply joined, gets what was read and sampled."""
    check_reply(reply)
    prompt, said = _text(reply.prompt_ids, tokenizer), _text(reply.ids, tokenizer)
    alone, joined = tokenizer([prompt, prompt + said], add_special_tokens=False).input_ids
    return tuple(alone) == reply.prompt_ids and tuple(joined) == reply.prompt_ids + reply.ids


def export(episodes: Iterable[Episode], path: str | Path, kind: str, *, player: int = 0) -> int:
    """Write the turns of one agent for a TRL script of one's own, as chats that its model's own template renders.

    Args:
        episodes: of any agents; no token ids are needed.
        path: a file whose name ends in .jsonl or .parquet.
        kind: "dpo" writes, for each prompt at which replies fared differently on average, the best and the worst;
            "kto" labels each reply by whether its seat won, draws left out; "sft" takes the winner's replies.
        player: number of the agent among those given to `play`; the other's replies are never written.

    Returns the number of rows. Raises ValueError for another ending or kind, or if there is no row to write.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{path.name!r} must end in .jsonl or .parquet")
    if kind not in _EXPORTS:
        raise ValueError(f"unknown kind {kind!r}.{near(kind, _EXPORTS)}")
    turns = [(turn, e.rewards[turn.seat]) for e in episodes for turn in e.turns if turn.player == player]
    rows = list(_EXPORTS[kind](turns))
    if not rows:
        raise ValueError(f"no {kind} rows in {len(turns)} turns of player {player}; play more games")
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        from datasets import Dataset

        Dataset.from_list(rows).to_parquet(path)
    return len(rows)


def _export_dpo(turns: Sequence[tuple[Turn, float]]) -> Iterator[dict[str, Any]]:
    fared: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for turn, reward in turns:
        fared[turn.prompt][turn.reply.text].append(reward)
    for prompt, replies in fared.items():
        mean = {text: fmean(rewards) for text, rewards in replies.items()}
        best, worst = max(mean, key=mean.__getitem__), min(mean, key=mean.__getitem__)
        if mean[best] > mean[worst]:
            yield {
                "prompt": _chat("user", prompt),
                "chosen": _chat("assistant", best),
                "rejected": _chat("assistant", worst),
            }


def _export_kto(turns: Sequence[tuple[Turn, float]]) -> Iterator[dict[str, Any]]:
    for turn, reward in turns:
        if reward:
            yield _completion(turn) | {"label": reward > 0}


def _export_sft(turns: Sequence[tuple[Turn, float]]) -> Iterator[dict[str, Any]]:
    return (_completion(turn) for turn, reward in turns if reward > 0)


def _completion(turn: Turn) -> dict[str, Any]:
    return {"prompt": _chat("user", turn.prompt), "completion": _chat("assistant", turn.reply.text)}


_EXPORTS = {"dpo": _export_dpo, "kto": _export_kto, "sft": _export_sft}
