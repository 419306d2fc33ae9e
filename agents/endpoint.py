"""A player on a server: any that speaks OpenAI's chat completions, such as vLLM, SGLang, llama.cpp, Ollama or OpenAI.

Chosen: whatever keeps an answer away, through no doing of the model's, is a fault, and the game is void; nothing
raises and nothing loses. Replies stand in the order of the prompts, whichever comes first. Left out: token ids and
log-probabilities (a server's model does not learn here), tools, streaming.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sparring.envs import Message, Prompt, Reply, mix

from .endpoint_answer import Answer, Failure, Fault
from .endpoint_name import check_url
from .endpoint_retry import pause
from .endpoint_usage import Tally, Usage

if TYPE_CHECKING:
    from .endpoint_wire import Wire

DEFAULT_URL = "https://api.openai.com/v1"
TOKEN_NAMES = ("max_tokens", "max_completion_tokens")
OURS = ("model", "messages", "temperature", "seed", "stop", *TOKEN_NAMES)
"""What has a setting of its own."""
UNREACHED = (Fault.CONNECTION, Fault.TIMEOUT, Fault.RATE_LIMIT, Fault.SERVER)
"""Faults of the server, and not of one request."""
PATIENCE = 2
"""Requests of one prompt that may run out of time while nobody is answered; one, once that has happened."""
UNREAD = ("stream", "n", "tools", "functions")
"""What would bring replies that are not read."""
TIME_LIMIT = 600.0
"""Seconds for one prompt, if nothing else is said."""


class EndpointAgent:
    """A language model that a server runs.

    Whoever plays it needs the extra `openai`; the key comes from the environment and is shown and written nowhere.
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        *,
        name: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        temperature: float | None = 1.0,
        max_tokens: int | None = 2048,
        token_name: str | None = None,
        stop: Sequence[str] = (),
        seeds: bool = True,
        extra_body: Mapping[str, Any] | None = None,
        answers_as: str | None = None,
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 5,
        time_limit: float = TIME_LIMIT,
        prices: tuple[float, float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up whom to ask; nothing is asked yet.

        Args:
            model: what the server calls it.
            url: of the server, up to /v1; that in OPENAI_BASE_URL, or OpenAI's, if not given.
            name: how tables call this player; the model's name if not given.
            key_variable: the environment variable that holds the key, if there is one; it goes to whatever `url` says.
            temperature: of sampling; None leaves it to the server.
            max_tokens: most tokens of a reply, reasoning included; None leaves it to the server.
            token_name: the server's name of that limit, one of `TOKEN_NAMES`; if not given, what the server asks for.
            stop: texts that end a reply.
            seeds: whether to send a seed, drawn from the prompt's noise. Not every server takes one, few keep to it.
            extra_body: more fields of every request.
            answers_as: pattern of the names that replies may bear; if not given, the model's, or that with a version.
            concurrency: most requests in flight.
            timeout: seconds for one request, from the first byte sent to the last one received.
            retries: most times that a request is sent again after what may pass: 408, 409, 429, 5xx, no connection. One
                that ran out of time is sent again once, if nobody else is answered meanwhile.
            time_limit: seconds for one prompt, waits and retries included.
            prices: of a million tokens of prompts and of completions, for `usage.cost`.
            sleep: how to wait between tries.
            clock: seconds, for `time_limit` and `usage.seconds`.

        Raises ImportError if the client is not installed, ValueError for settings that cannot be meant.
        """
        self.model = model
        self.url = check_url(*((url,) if url else _default_url()))
        self.name = model if name is None else name
        self.prices = prices
        self.concurrency, self.timeout, self.retries, self.time_limit = concurrency, timeout, retries, time_limit
        self._key_variable = key_variable
        self._token_name, self._is_renamed = token_name or TOKEN_NAMES[0], token_name is not None
        self.temperature, self.max_tokens, self._stop, self._seeds = temperature, max_tokens, stop, seeds
        self._extra, self._answers_as = dict(extra_body or {}), answers_as
        self._sleep, self._clock = sleep, clock
        _check(self, token_name)
        self._tally = Tally()
        self._answers, self._is_silent = 0, False
        self._connect()

    def _connect(self) -> None:
        self._wire = _wire(self.url, self._key_variable)
        self._free = asyncio.Semaphore(self.concurrency)

    def __repr__(self) -> str:
        """Name the model and the server."""
        return f"EndpointAgent({self.model!r}, {self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the connection, and the key with it; a copy reads the environment it finds itself in."""
        return {key: value for key, value in vars(self).items() if key not in ("_wire", "_free")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Connect anew."""
        vars(self).update(state)
        self._connect()

    @property
    def usage(self) -> Usage:
        """What was used since the start, or since `reset_usage`."""
        return self._tally.usage(self.prices)

    def reset_usage(self) -> None:
        """Count from zero."""
        self._tally = Tally()

    def close(self) -> None:
        """Close all connections; nothing can be asked any more. It happens by itself when the player is gone."""
        self._wire.close()

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, in order; one without an answer says why in `Reply.fault`. Blocks; never raises.

        Where a try shows that all others must fail too (no such model, a wrong key, or as many prompts in a row as may
        be in flight found nobody), the prompts that were not sent yet are not sent.
        """
        if self._wire.process != os.getpid():
            self._connect()
        return self._wire.run(self._reply(list(prompts))) if prompts else []

    async def _reply(self, prompts: list[Prompt]) -> list[Reply]:
        started, call = self._clock(), _Call(self.concurrency)
        try:
            return await asyncio.gather(*(self._answer(prompt, i, call) for i, prompt in enumerate(prompts)))
        finally:
            self._tally.seconds += self._clock() - started

    async def _answer(self, prompt: Prompt, index: int, call: _Call) -> Reply:
        async with self._free:
            if call.given_up is None:
                outcome, tries = await self._try(prompt, mix(prompt.noise, index))
                call.note(outcome)
            else:
                outcome, tries = call.given_up, 0
        self._tally.ended(outcome)
        if isinstance(outcome, Answer):
            return Reply(text=outcome.text, tokens=outcome.tokens, cut_off=outcome.truncated)
        unreached = tries > 0 and (outcome.for_all or outcome.fault in UNREACHED)
        after = {0: "not asked any more", 1: "no answer"}.get(tries, f"no answer after {tries} tries")
        return Reply(text="", fault=f"{after} from {self.url}: {outcome.said}", unreached=unreached)

    async def _try(self, prompt: Prompt, key: int) -> tuple[Answer | Failure, int]:
        """Ask until there is an answer or no hope; returns what came of it and how often it was asked."""
        end, tries = self._clock() + self.time_limit, 0
        in_vain, heard = 0, self._answers
        while True:
            outcome, tries = await self._ask(prompt, end), tries + 1
            if isinstance(outcome, Answer):
                self._answers, self._is_silent = self._answers + 1, False
                return outcome, tries
            if heard != self._answers:
                in_vain, heard = 0, self._answers
            in_vain += outcome.fault is Fault.TIMEOUT
            if in_vain >= (1 if self._is_silent else PATIENCE):
                self._is_silent = True
                return outcome, tries
            if not outcome.again or tries > self.retries:
                return outcome, tries
            wait = (outcome.wait or 0.0) + pause(tries - 1, key)
            if self._clock() + wait >= end:
                return outcome, tries
            await self._sleep(wait)
            self._tally.retries += 1

    async def _ask(self, prompt: Prompt, end: float) -> Answer | Failure:
        """Send one request; a second one at once where the server wants the limit on tokens by its other name."""
        name = self._token_name
        outcome = await self._send(prompt, name, end)
        if isinstance(outcome, Failure) and outcome.renames_tokens and not self._is_renamed:
            # Kept to from now on. Requests that were in flight find it changed, and are sent once more as well.
            self._token_name, self._is_renamed = TOKEN_NAMES[1], True
        if isinstance(outcome, Failure) and outcome.renames_tokens and self._token_name != name:
            outcome = await self._send(prompt, self._token_name, end)
        return outcome

    async def _send(self, prompt: Prompt, token_name: str, end: float) -> Answer | Failure:
        self._tally.requests += 1
        timeout = min(self.timeout, max(end - self._clock(), 0.001))
        outcome = await self._wire.ask(self._request(prompt, token_name), self._extra, timeout, self._is_asked)
        self._tally.heard(outcome)
        return outcome

    def _request(self, prompt: Prompt, token_name: str) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.model, "messages": [_sent(message) for message in prompt.messages]}
        if self.temperature is not None:
            request["temperature"] = self.temperature
        if self.max_tokens is not None:
            request[token_name] = self.max_tokens
        if self._stop:
            request["stop"] = list(self._stop)
        if self._seeds:
            # 31 bits, which every server's own type holds.
            request["seed"] = mix(prompt.noise, 0) >> 33
        return request

    def _is_asked(self, name: str) -> bool:
        if self._answers_as is not None:
            return fnmatchcase(name, self._answers_as)
        asked, answered = self.model.casefold(), name.casefold()
        # "gpt-4o" answers as "gpt-4o-2024-08-06", a folder as "folder@main", "org/name" as "name" here and there.
        names = (asked, asked.rstrip("/").rpartition("/")[2])
        return any(answered == name or answered.startswith((f"{name}-", f"{name}@", f"{name}:")) for name in names)


class _Call:
    """What the prompts of one call have learned of the server."""

    def __init__(self, enough: int) -> None:
        self.given_up: Failure | None = None
        self._enough, self._in_a_row = enough, 0

    def note(self, outcome: Answer | Failure) -> None:
        """Take in what became of a prompt."""
        if isinstance(outcome, Answer):
            self._in_a_row = 0
            return
        self._in_a_row += outcome.fault in (Fault.CONNECTION, Fault.TIMEOUT)
        if outcome.for_all or self._in_a_row >= self._enough:
            self.given_up = outcome


def _sent(message: Message) -> dict[str, str]:
    # Half of a surrogate pair, which no encoding can send.
    content = message.content.encode("utf-8", "replace").decode("utf-8")
    return {"role": message.role, "content": content}


def _default_url() -> tuple[str, str]:
    return os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_URL, "OPENAI_BASE_URL, the address"


def _wire(url: str, key_variable: str) -> Wire:
    """Return the wire. Raises ImportError or ValueError, with the remedy and without the key."""
    key = os.environ.get(key_variable, "").strip() or None
    if key is None and url == DEFAULT_URL:
        raise ValueError(
            f"{url} wants a key: set the environment variable {key_variable}, or name a server of your own, "
            "as openai:MODEL@http://localhost:8000/v1"
        )
    # Nor what is written otherwise in quotes, where it would not be found to be taken out.
    if key is not None and not (key.isascii() and key.isprintable() and not set(key) & set(" \"'\\")):
        raise ValueError(f"the key in {key_variable} has characters that no key has; was it copied whole?")
    try:
        from .endpoint_wire import Wire
    except ImportError as error:
        raise ImportError(
            f"players on a server need the openai client ({error}): pip install 'sparring[openai]'"
        ) from error
    return Wire(url, key)


def _check(agent: EndpointAgent, token_name: str | None) -> None:
    """Raise ValueError for settings that cannot be meant."""
    if token_name not in (None, *TOKEN_NAMES):
        raise ValueError(f"token_name must be one of {', '.join(TOKEN_NAMES)}, not {token_name!r}")
    wrong = {
        "model": (not agent.model, "the server's name of a model"),
        "concurrency": (agent.concurrency < 1, "1 or more"),
        "timeout": (not agent.timeout > 0, "above 0"),
        "retries": (agent.retries < 0, "0 or more"),
        "time_limit": (not agent.time_limit > 0, "above 0"),
        "prices": (agent.prices is not None and not min(agent.prices) >= 0, "0 or more, of prompts and of completions"),
    }
    for setting, (is_wrong, allowed) in wrong.items():
        if is_wrong:
            raise ValueError(f"{setting} must be {allowed}, not {getattr(agent, setting)!r}")
    _check_request(agent.temperature, agent.max_tokens, agent._stop, agent._extra)


def _check_request(
    temperature: float | None, max_tokens: int | None, stop: Sequence[str], extra: Mapping[str, Any]
) -> None:
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be 0 or more, or None, not {temperature}")
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens must be 1 or more, or None, not {max_tokens}")
    if isinstance(stop, str) or not all(stop):
        raise ValueError(f"stop must be a list of texts that are not empty, not {stop!r}")
    for field in extra:
        if field in OURS:
            raise ValueError(f"extra_body must not set {field!r}, which has a setting of its own")
        if field in UNREAD:
            raise ValueError(f"extra_body must not set {field!r}: what it brings is not read")
    try:
        json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"extra_body cannot be sent as JSON: {error}") from error
