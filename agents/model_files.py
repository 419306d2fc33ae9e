"""What the files of a model say of it: how its weights lie there, and what ends its replies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PICKLED = {"pytorch_model*.bin": "*.safetensors", "adapter_model.bin": "adapter_model.safetensors"}


def refuse_pickles(folder: Path) -> None:
    """Raise ValueError if a directory holds weights of a model or of an adapter as pickled data alone."""
    for pickled, safe in PICKLED.items():
        if not any(folder.glob(safe)) and (found := sorted(folder.glob(pickled))):
            raise ValueError(
                f"{found[0]} is pickled, and unpickling runs what is in a file. If you trust it, convert it once: "
                f"AutoModelForCausalLM.from_pretrained({str(folder)!r}).save_pretrained(...), the tokenizer beside it"
            )


def end_tokens(*found: int | list[int] | None) -> tuple[int, ...]:
    """Return the end tokens of a tokenizer and a generation config; raise ValueError if neither names one."""
    tokens = [t for f in found if f is not None for t in (f if isinstance(f, list) else [f])]
    if not tokens:
        raise ValueError("the model has no end token; set generation_config.eos_token_id")
    return tuple(dict.fromkeys(tokens))


def stop_strings(found: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the strings that end a reply; raise ValueError for an empty one."""
    stop = (found,) if isinstance(found, str) else tuple(found or ())
    if "" in stop:
        raise ValueError("a stop string is empty; leave it out")
    return stop
