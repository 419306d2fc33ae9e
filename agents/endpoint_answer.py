"""What a server sent, read: an answer of the model's, or a failure that is nobody's fault in the game.

Chosen: an answer is whatever the model itself decided, silence, refusal and running out of tokens included; everything
else is a failure, which voids the game. Nothing that a server may send raises. Left out: streaming, tools, several
choices (the first is taken).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MOST_TOKENS = 1_000_000_000
"""A count above it is a lie."""

_TRUNCATED = ("length", "max_tokens")
_TEXT_PARTS = ("text", "output_text")
_OTHER_TOKEN_NAME = ("unsupported_parameter", "unknown_parameter")


class Fault(StrEnum):
    """Why there is no answer."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    SERVER = "server"
    BAD_REQUEST = "bad_request"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    OTHER_MODEL = "other_model"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said."""

    text: str
    """Its public words; a refusal's words are words too."""
    truncated: bool = False
    """Whether it was stopped by the limit on tokens."""
    refused: bool = False
    """Whether the server marked it as a refusal."""
    tokens: tuple[int, int] | None = None
    """Of the prompt and of the completion, reasoning included; None where the server gave no believable count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one request came to nothing."""

    fault: Fault
    said: str
    """In words; what the server said stands in it as it came."""
    again: bool = False
    """Whether the same request may well succeed later."""
    for_all: bool = False
    """Whether every other request will fail the same way."""
    wait: float | None = None
    """Seconds that the server asked to wait."""
    renames_tokens: bool = False
    """Whether the server wants the limit on tokens under its other name."""
    tokens: tuple[int, int] | None = None
    """As in `Answer`: what came to nothing may still be charged for."""


def read_answer(body: bytes, content_type: str, is_asked: Callable[[str], bool]) -> Answer | Failure:
    """Read the body of a reply with status 200; `is_asked` tells whether a model's name is that of who was asked."""
    found = read_json(body)
    if not isinstance(found, dict):
        return _unreadable(body, content_type)
    tokens = read_tokens(found.get("usage"))
    if error := found.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        return read_status(code if type(code) is int and code >= 400 else 500, found)
    model = found.get("model")
    if isinstance(model, str) and model and not is_asked(model):
        said = f"another model answered, {model!r}: ask for it by that name, or say which may answer with answers_as="
        return Failure(fault=Fault.OTHER_MODEL, said=said, tokens=tokens)
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Failure(fault=Fault.MALFORMED, said="the reply holds no choice", again=True, tokens=tokens)
    return _read_choice(choice.get("finish_reason"), message, tokens)


def _read_choice(ended: Any, message: dict[str, Any], tokens: tuple[int, int] | None) -> Answer | Failure:
    text, refusal = _read_content(message.get("content")), message.get("refusal")
    if ended == "content_filter":
        # A loss would reward whoever provokes the filter, a draw would too: only a void game rewards nobody.
        return Failure(fault=Fault.FILTERED, said="the server's filter kept the answer back", tokens=tokens)
    if ended == "error":
        return Failure(fault=Fault.SERVER, said="the server broke off the answer", again=True, tokens=tokens)
    if not text and isinstance(refusal, str) and refusal:
        return Answer(text=refusal, refused=True, tokens=tokens)
    if not text and message.get("tool_calls"):
        said = "the server took the answer for a call of a tool, and none was offered"
        return Failure(fault=Fault.MALFORMED, said=said, again=True, tokens=tokens)
    if text is None or (ended is None and "content" not in message):
        return Failure(fault=Fault.MALFORMED, said="the reply holds no text", again=True, tokens=tokens)
    return Answer(text=text, truncated=str(ended).casefold() in _TRUNCATED, tokens=tokens)


def _read_content(content: Any) -> str | None:
    """Return the text of a message's content, "" for null; None if it is of no kind that holds text."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    # Parts of other kinds are reasoning, which is private.
    parts = [part.get("text") for part in content if part.get("type") in _TEXT_PARTS]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None


def read_status(status: int, body: Any, wait: float | None = None) -> Failure:
    """Return what a status other than 200 means; `body` is what came with it, JSON if it was that."""
    said = f"status {status}"
    if words := _words(body):
        said = f"{said}: {words}"
    if status == 401:
        # What it says of the key it was sent, often half of it, is not repeated.
        said = "status 401: the server does not accept the key. Check the environment variable that holds it"
        return Failure(fault=Fault.DENIED, said=said, for_all=True)
    if status == 403:
        return Failure(fault=Fault.DENIED, said=f"{said}. The server does not let this key do this")
    if status == 404:
        said += ". Check the model's name and the address, which often ends in /v1"
        return Failure(fault=Fault.NOT_FOUND, said=said, for_all=True)
    if status == 429:
        # Money that is used up does not come back by waiting.
        spent = _field(body, "code") == "insufficient_quota"
        return Failure(fault=Fault.RATE_LIMIT, said=said, again=not spent, for_all=spent, wait=wait)
    if status >= 500 or status in (408, 409):
        return Failure(fault=Fault.SERVER, said=said, again=True, wait=wait)
    if status < 400:
        return Failure(fault=Fault.BAD_REQUEST, said=f"{said}: the server has moved; give its new address")
    return Failure(fault=Fault.BAD_REQUEST, said=said, renames_tokens=_renames_tokens(body))


def read_json(body: bytes) -> Any:
    """Return what some JSON says, None for what is none."""
    try:
        return json.loads(body)
    # Too deep a nesting is a RecursionError; wrong UTF-8 is a ValueError.
    except (ValueError, RecursionError):
        return None


def read_tokens(usage: Any) -> tuple[int, int] | None:
    """Return the tokens of prompt and completion; None unless both are counts that can be.

    >>> read_tokens({"prompt_tokens": 12, "completion_tokens": 3}), read_tokens({"prompt_tokens": -1})
    ((12, 3), None)
    """
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = (usage.get(f"{part}_tokens") for part in ("prompt", "completion"))
    if type(prompt) is int and type(completion) is int and min(prompt, completion) >= 0:
        return (prompt, completion) if max(prompt, completion) <= MOST_TOKENS else None
    return None


def _unreadable(body: bytes, content_type: str) -> Failure:
    kind = re.sub(r"[^\w/+.-].*", "", content_type, flags=re.DOTALL) or "unknown kind"
    if "html" in kind.casefold() or body.lstrip()[:1] == b"<":
        said = "a web page came instead of an answer. Check the address, which often ends in /v1"
        return Failure(fault=Fault.MALFORMED, said=said, for_all=True)
    return Failure(fault=Fault.MALFORMED, said=f"the reply, {kind}, is not a JSON object", again=True)


def _field(body: Any, name: str) -> Any:
    """Return a field of an error, wherever servers put it."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return error.get(name)
    if name == "message" and isinstance(body, dict):
        return next((body[key] for key in ("error", "message", "detail") if body.get(key)), None)
    return None


def _words(body: Any) -> str:
    words = _field(body, "message")
    return words if isinstance(words, str) else json.dumps(words)[:1000] if words else ""


def _renames_tokens(body: Any) -> bool:
    if "max_completion_tokens" in _words(body):
        return True
    return _field(body, "param") == "max_tokens" and _field(body, "code") in _OTHER_TOKEN_NAME
