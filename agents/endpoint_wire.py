"""The way to a server: one request out, one outcome back, through the `openai` client and an event loop in a thread.

Chosen: a loop of our own, because only what is awaited can be stopped when its time is up, however slowly a server
drips, and because the caller may stand in a loop itself. The client's own retries and redirects are off, bodies are
bounded, and what a server says is stripped of the key before anybody sees it. Left out: streaming.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import httpx2
import openai

from .endpoint_answer import Answer, Failure, Fault, read_answer, read_json, read_status
from .endpoint_retry import read_retry_after

MAX_BODY = 4 * 1024 * 1024
"""Bytes; of a larger reply no more is read."""
_MOST_SHOWN = 300
"""Characters of what went wrong."""
_LONG_KEY = 16
"""Characters; a shorter key may well be a word that a model says."""

Result = TypeVar("Result")


class Wire:
    """Sends requests to one server."""

    def __init__(self, url: str, key: str | None) -> None:
        """Open nothing yet. `key` None sends no key at all."""
        self.url = url
        self._key = key
        self._client = _client(url, key)
        # The client wants to be told with every request that none is meant.
        self._headers = {"Authorization": openai.Omit()} if key is None else None
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_turn, args=(self._loop,), name="endpoint", daemon=True)
        thread.start()
        self.process = os.getpid()
        """Where the thread runs: a fork has none."""
        self.close = weakref.finalize(self, _stop, self._loop, self._client, thread, self.process)
        """Ends the loop and its connections; it is done by itself when nobody needs them any more."""

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run in the loop and return what it returns; an interrupt of the caller stops it there."""
        if not self.close.alive:
            work.close()
            raise RuntimeError(f"the connection to {self.url} is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    async def ask(
        self, request: Mapping[str, Any], extra: Mapping[str, Any], timeout: float, is_asked: Callable[[str], bool]
    ) -> Answer | Failure:
        """Send one request and return what came of it within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                outcome = await self._send(request, extra, is_asked)
        except TimeoutError:
            said = f"no answer within {timeout:.3g} seconds"
            return Failure(fault=Fault.TIMEOUT, said=said, again=True)
        return self._without_key(outcome)

    async def _send(
        self, request: Mapping[str, Any], extra: Mapping[str, Any], is_asked: Callable[[str], bool]
    ) -> Answer | Failure:
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                **request, extra_body=extra or None, extra_headers=self._headers
            )
        except openai.APIStatusError as error:
            response = error.response
            return read_status(response.status_code, read_json(response.content), read_retry_after(response.headers))
        except openai.APIConnectionError as error:
            return _disconnected(error.__cause__ or error)
        except (openai.OpenAIError, httpx2.InvalidURL, UnicodeError) as error:
            return Failure(fault=Fault.BAD_REQUEST, said=f"{type(error).__name__}: {error}")
        response = raw.http_response
        return read_answer(response.content, response.headers.get("content-type", ""), is_asked)

    def _without_key(self, outcome: Answer | Failure) -> Answer | Failure:
        if isinstance(outcome, Failure):
            said = outcome.said.replace(self._key, "[key]") if self._key else outcome.said
            plain = " ".join(said.split()).encode("ascii", "backslashreplace").decode("ascii")
            return replace(outcome, said=plain[:_MOST_SHOWN])
        if self._key and len(self._key) >= _LONG_KEY and self._key in outcome.text:
            return replace(outcome, text=outcome.text.replace(self._key, "[key]"))
        return outcome


class _Unread(httpx2.TransportError):
    """A body that is not read to its end."""

    def __init__(self, fault: Fault, said: str) -> None:
        super().__init__(said)
        self.fault = fault


class _Bounded(httpx2.AsyncByteStream):
    """The body of a response, up to `MAX_BODY`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > MAX_BODY:
                raise _Unread(Fault.TOO_LARGE, f"the reply is larger than {MAX_BODY} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: Any) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        # What was not asked for, and may unpack to a thousand times its size.
        raise _Unread(Fault.MALFORMED, f"the reply is packed as {encoding}, which was not asked for")
    response.stream = _Bounded(response.stream)


def _client(url: str, key: str | None) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"response": [_bound]})
    return openai.AsyncOpenAI(
        # Without a key the client would look for one itself, and refuse to work if it found none.
        api_key=key or "none",
        base_url=url,
        max_retries=0,
        # The time of a whole request is bounded where it is awaited.
        timeout=None,
        default_headers={"Accept-Encoding": "identity"},
        http_client=http,
    )


def _disconnected(cause: BaseException) -> Failure:
    if isinstance(cause, _Unread):
        return Failure(fault=cause.fault, said=str(cause))
    said = str(cause) or "it broke off"
    return Failure(fault=Fault.CONNECTION, said=f"{type(cause).__name__}: {said}", again=True)


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI, thread: threading.Thread, process: int) -> None:
    if process != os.getpid():
        # A fork has a copy of all this, and the other process still needs it.
        return
    asyncio.run_coroutine_threadsafe(_finish(client), loop)
    thread.join(timeout=1.0)


async def _finish(client: openai.AsyncOpenAI) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    asyncio.get_running_loop().stop()
