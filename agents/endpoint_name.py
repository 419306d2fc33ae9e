"""The names of players on a server: `openai:MODEL@URL`, or `openai:MODEL`.

Chosen: the last `@` that an http address follows parts the two, so that a model's name may hold an `@` of its own.
Left out: settings inside the name; and passwords inside the address, which would be written wherever it is.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

SCHEME = "openai:"
FORM = f"{SCHEME}MODEL@http://HOST:PORT/v1"

_ADDRESS = re.compile(r"@(?=https?://)", re.IGNORECASE)
_BARE_ADDRESS = re.compile(r"(localhost|[\w.-]+(?=:\d))(:\d+)?(/\S*)?")
_CALL = "/chat/completions"


def is_endpoint(spec: str) -> bool:
    """Whether a player's name is that of a model on a server."""
    return spec.startswith(SCHEME)


def read_endpoint(spec: str) -> tuple[str, str | None]:
    """Return the model and the base URL, None where the name has none. Raises ValueError for what is no such name.

    >>> read_endpoint("openai:Qwen/Qwen3-8B@http://localhost:8000/v1")
    ('Qwen/Qwen3-8B', 'http://localhost:8000/v1')
    >>> read_endpoint("openai:gpt-4o-mini")
    ('gpt-4o-mini', None)
    """
    *before, last = _ADDRESS.split(spec.removeprefix(SCHEME))
    model, url = ("@".join(before), check_url(last)) if before else (last, None)
    if not model.strip() or model != model.strip():
        raise ValueError(f"{SCHEME} needs the name of a model: {FORM}, or {SCHEME}MODEL")
    _, at, end = model.rpartition("@")
    if url is None and at and _BARE_ADDRESS.fullmatch(end):
        # Not the whole name, in which a password may stand.
        raise ValueError(f"the address {end!r} has no http:// or https:// before it: {SCHEME}MODEL@http://{end}")
    return model, url


def check_url(url: str, what: str = "the address") -> str:
    """Return a base URL without its last slash. Raises ValueError, not repeating what may be secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{what} of an endpoint is not a URL; it looks like http://localhost:8000/v1") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(
            f"{what} of an endpoint must be without user, password, ? and #, for it is written into records. "
            "A key belongs into the environment, as OPENAI_API_KEY or the variable that key_variable= names"
        )
    if parts.scheme.lower() not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ValueError(f"{what} of an endpoint must look like http://localhost:8000/v1, not {url!r}")
    if parts.path.rstrip("/").endswith(_CALL):
        raise ValueError(f"{what} of an endpoint is what stands before {_CALL}: leave that out of {url!r}")
    return url.rstrip("/")


def folder_name(spec: str) -> str:
    """Return what a folder may be called after a player.

    >>> folder_name("openai:Qwen/Qwen3-8B@http://localhost:8000/v1"), folder_name("runs/first/model")
    ('Qwen3-8B', 'model')
    """
    name = read_endpoint(spec)[0] if is_endpoint(spec) else spec
    return re.sub(r"[^\w.-]+", "-", name.rstrip("/").rpartition("/")[2]) or "player"
