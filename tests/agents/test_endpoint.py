"""A player on a server, against a server that fails, stalls, drops and lies. Nothing here really waits to try again."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import signal
import sys
import threading
import time
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from sparring.agents import EndpointAgent, Fault, ask, mix
from sparring.agents.endpoint_answer import Answer, Failure, read_answer
from sparring.agents.endpoint_retry import pause, read_retry_after
from sparring.envs import Prompt, make

pytest.importorskip("openai", reason="the extra openai is not installed")

KEY = "sk-0123456789abcdefghijklmnop"


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def player(server: Any, **settings: Any) -> tuple[EndpointAgent, Time]:
    time = Time()
    settings = {"retries": 3, "timeout": 10.0} | settings
    return EndpointAgent("m", server.url, sleep=time.sleep, clock=time.clock, **settings), time


def prompts(count: int) -> list[Prompt]:
    game = make("KuhnPoker-v0")
    return [ask(game, f"prompt {i}", 0, ("check", "bet"), noise=mix(7, i)) for i in range(count)]


def only(agent: EndpointAgent) -> tuple[str, str]:
    """Ask once and return the text and the fault."""
    (reply,) = agent.reply(prompts(1))
    return reply.text, reply.fault


def in_turn(*replies: Any) -> Any:
    return lambda number, request: replies[min(number, len(replies) - 1)]


def test_replies_stand_in_the_order_of_the_prompts_whichever_comes_first(server, chat):
    def answer(number: int, request: dict[str, Any]) -> Any:
        # Those asked first answer last; several are under way at once, never more than are allowed.
        time.sleep(0.02 if number % 6 < 3 else 0.0)
        return chat.completion(request["messages"][-1]["content"])

    server.answer = answer
    agent, _ = player(server, concurrency=6)
    assert [reply.text for reply in agent.reply(prompts(24))] == [f"prompt {i}" for i in range(24)]
    assert 2 <= server.most_at_once <= 6
    assert agent.reply([]) == []


def test_a_request_says_what_was_set_and_no_more(server):
    agent, _ = player(server, temperature=0.5, max_tokens=7, stop=["]"], extra_body={"top_k": 3})
    agent.reply(prompts(2) + prompts(1))
    bodies = sorted((body for _, body in server.requests), key=lambda body: body["messages"][0]["content"])
    assert bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "prompt 0"}],
        "temperature": 0.5,
        "max_tokens": 7,
        "stop": ["]"],
        "seed": bodies[0]["seed"],
        "top_k": 3,
    }
    # The same noise is the same seed, other noise another; all fit into 31 bits.
    assert bodies[0]["seed"] == bodies[1]["seed"] != bodies[2]["seed"]
    assert all(0 <= body["seed"] < 2**31 for body in bodies)

    bare, _ = player(server, temperature=None, max_tokens=None, seeds=False)
    bare.reply(prompts(1))
    assert set(server.requests[-1][1]) == {"model", "messages"}


def test_a_server_of_ones_own_gets_no_key_where_there_is_none(server):
    agent, _ = player(server)
    assert only(agent) == ("[check]", "")
    assert "authorization" not in server.requests[0][0]


def test_the_key_comes_from_the_variable_that_is_named(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not this one")
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    agent, _ = player(server, key_variable="MY_KEY")
    only(agent)
    assert server.requests[0][0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_the_key_is_shown_nowhere(server, chat, monkeypatch, caplog, status):
    """Not even where the server itself sends it back, in an answer or in what it complains of."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    said = {"error": {"message": f"{'x' * 280} {KEY} is not known", "code": KEY}} if status > 200 else {}
    server.answer = lambda number, request: chat.send(chat.completion(f"[bet] {KEY}") | said, status)
    agent, _ = player(server, retries=0)
    replies = agent.reply(prompts(2))
    assert server.requests[0][0]["authorization"] == f"Bearer {KEY}"
    shown = [repr(agent), str(agent), repr(replies), repr(agent.usage), caplog.text, repr(agent._wire)]
    # 14 characters of it are as bad as all: nothing is cut before the key is out.
    assert not [text for text in shown if KEY[:14] in text]
    assert KEY.encode() not in pickle.dumps(agent)
    assert all(reply.fault if status > 200 else reply.text == "[bet] [key]" for reply in replies)


@pytest.mark.parametrize("key", ["sk-secret\nsecond line", "sk-secret key", "sk-secret\u2026", '"sk-secret"'])
def test_a_key_that_cannot_be_one_is_told_apart_and_not_shown(server, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="OPENAI_API_KEY has characters") as refused:
        player(server)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(server, chat, status):
    server.answer = in_turn(chat.send({"error": "busy"}, status), chat.send(b"", status), chat.completion("[bet]"))
    agent, time = player(server)
    assert only(agent) == ("[bet]", "")
    assert (agent.usage.requests, agent.usage.retries, agent.usage.faults) == (3, 2, {})
    assert len(time.waits) == 2


@pytest.mark.parametrize(
    ("status", "fault", "words"),
    [
        (400, Fault.BAD_REQUEST, "status 400: no such thing"),
        (401, Fault.DENIED, "does not accept the key"),
        (403, Fault.DENIED, "status 403: no such thing. The server does not let this key do this"),
        (404, Fault.NOT_FOUND, "Check the model's name and the address, which often ends in /v1"),
        (422, Fault.BAD_REQUEST, "no such thing"),
    ],
)
def test_what_will_not_pass_is_asked_once(server, chat, status, fault, words):
    server.answer = lambda number, request: chat.send({"error": {"message": "no such thing"}}, status)
    agent, time = player(server)
    text, why = only(agent)
    assert (text, len(server.requests), time.waits) == ("", 1, [])
    assert words in why
    assert agent.usage.faults == {fault: 1}


def test_it_gives_up_after_the_last_try_and_says_why(server, chat):
    server.answer = lambda number, request: chat.send({"detail": "out of\nmemory \u202e"}, 503)
    agent, time = player(server, retries=3)
    text, why = only(agent)
    assert text == ""
    assert why == f"no answer after 4 tries from {server.url}: status 503: out of memory \\u202e"
    # Full jitter: anything from nothing to a bound that doubles.
    assert [wait <= bound for wait, bound in zip(time.waits, (0.5, 1.0, 2.0), strict=True)] == [True] * 3
    assert agent.usage.faults == {"server": 1}


def test_money_that_is_used_up_does_not_come_back_by_waiting(server, chat):
    server.answer = lambda number, request: chat.send({"error": {"code": "insufficient_quota"}}, 429)
    agent, time = player(server, concurrency=1)
    assert [bool(reply.fault) for reply in agent.reply(prompts(5))] == [True] * 5
    assert (len(server.requests), time.waits, agent.usage.faults) == (1, [], {"rate_limit": 5})


def test_waits_are_spread_and_grow_to_a_bound():
    firsts = [pause(0, key) for key in range(200)]
    # Uniform below 0.5: of 200, a mean this far off has odds below 1 in 10,000; the keys are fixed.
    assert 0 <= min(firsts) < 0.05 < 0.45 < max(firsts) < 0.5
    assert abs(sum(firsts) / 200 - 0.25) < 0.04
    assert max(pause(4, key) for key in range(200)) > 7
    assert max(pause(2000, key) for key in range(200)) < 30


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT"}, 4.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:09 GMT"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Wed, 99 Oct 2026 99:28:09 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert read_retry_after(headers, now=datetime(2026, 10, 21, 7, 28, 5, tzinfo=UTC)) == seconds


def test_the_server_says_how_long_to_wait(server, chat):
    server.answer = in_turn(chat.send({}, 429, retry_after="20"), chat.completion("[bet]"))
    agent, time = player(server)
    assert only(agent) == ("[bet]", "")
    assert 20 <= time.waits[0] < 20.5


def test_a_wait_beyond_the_time_limit_is_not_begun(server, chat):
    server.answer = lambda number, request: chat.send({}, 429, retry_after="3600")
    agent, time = player(server, time_limit=600)
    assert "after" not in only(agent)[1]
    assert (time.waits, len(server.requests)) == ([], 1)


def test_the_time_limit_ends_the_tries(server, chat):
    server.answer = lambda number, request: chat.send({}, 503, retry_after="10")
    agent, time = player(server, time_limit=35, retries=100)
    assert "after 4 tries" in only(agent)[1]
    assert 30 <= time.now < 35


def drip(handler: Any) -> None:
    """Send a byte now and then, so that no pause between two is ever long."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def stall(handler: Any) -> None:
    time.sleep(0.6)


@pytest.mark.parametrize("misdeed", [stall, drip])
def test_a_request_has_its_time_however_slowly_the_server_drips(server, misdeed):
    server.answer = lambda number, request: misdeed
    agent, _ = player(server, timeout=0.2, retries=0)
    text, why = only(agent)
    assert (text, agent.usage.faults) == ("", {"timeout": 1})
    assert "no answer within 0.2 seconds" in why


def test_a_server_that_stalls_is_asked_twice_and_then_once_until_it_answers(server, chat):
    answers = [None, None, None, "[check]", None, None]

    def answer(number: int, request: dict[str, Any]) -> Any:
        said = answers[number] if number < len(answers) else None
        return (lambda handler: time.sleep(1.0)) if said is None else chat.completion(said)

    server.answer = answer
    agent, _ = player(server, timeout=0.2, retries=5, concurrency=1)
    for requests, text in ((2, ""), (3, ""), (4, "[check]"), (6, "")):
        (reply,) = agent.reply(prompts(1))
        assert (len(server.requests), reply.text, reply.unreached) == (requests, text, not text)
    (reply,) = agent.reply(prompts(1))
    assert "no answer from" in reply.fault


def test_a_slow_server_that_answers_others_is_asked_again(server, chat):
    """The third try is answered: others were, in the meantime."""
    tries = 0

    def answer(number: int, request: dict[str, Any]) -> Any:
        nonlocal tries
        if "prompt 0" in request["messages"][-1]["content"]:
            tries += 1
            return (lambda handler: time.sleep(1.0)) if tries < 4 else chat.completion("[bet]")
        time.sleep(0.05)
        return chat.completion("[check]")

    server.answer = answer
    agent, _ = player(server, timeout=0.2, retries=5, concurrency=2)
    assert {reply.text for reply in agent.reply(prompts(30))} == {"[bet]", "[check]"}
    assert tries == 4


@pytest.mark.parametrize(("status", "unreached"), [(401, True), (404, True), (503, True), (400, False), (403, False)])
def test_a_fault_says_whether_it_is_of_the_server(server, chat, status, unreached):
    server.answer = lambda number, request: chat.send({}, status)
    agent, _ = player(server, retries=0, concurrency=1)
    found = agent.reply(prompts(2))
    assert found[0].unreached is unreached
    if status == 401:
        assert not found[1].unreached, "nobody was asked"


def test_a_connection_that_is_dropped_is_opened_again(server, chat):
    def half(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.close_connection = True

    def none(handler: Any) -> None:
        handler.close_connection = True

    server.answer = in_turn(half, none, chat.completion("[bet]"))
    agent, _ = player(server)
    assert only(agent) == ("[bet]", "")
    assert agent.usage.retries == 2


def message(**fields: Any) -> list[dict[str, Any]]:
    return [{"finish_reason": "stop", "message": {"role": "assistant", **fields}}]


ANSWERS = {
    "silence": ({"choices": message(content="")}, ""),
    "null content": ({"choices": message(content=None)}, ""),
    "reasoning is private": (
        {"choices": message(content="[bet]", reasoning_content="I bluff", reasoning="too")},
        "[bet]",
    ),
    "nothing but reasoning": ({"choices": message(content=None, reasoning_content="I bluff")}, ""),
    "a refusal": ({"choices": message(content=None, refusal="I do not gamble.")}, "I do not gamble."),
    "parts": (
        {"choices": message(content=[{"type": "thinking", "text": "hm"}, {"type": "text", "text": "[bet]"}])},
        "[bet]",
    ),
    "no model": ({"model": None}, "[check]"),
    "the model with its version": ({"model": "m-2026-01-01"}, "[check]"),
    "the model with its revision": ({"model": "M@main"}, "[check]"),
    "two choices": ({"choices": message(content="[bet]") + message(content="[check]")}, "[bet]"),
    "more choices, later ones broken": ({"choices": [*message(content="[bet]"), None]}, "[bet]"),
    "an empty error": ({"error": None}, "[check]"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_the_model_decided_is_an_answer(server, chat, case):
    fields, text = ANSWERS[case]
    server.answer = lambda number, request: chat.completion("[check]", **fields)
    agent, _ = player(server)
    assert only(agent) == (text, "")
    assert (agent.usage.answers, agent.usage.retries) == (1, 0)
    assert agent.usage.refusals == (case == "a refusal")


LIES = {
    "malformed JSON": (b'{"choices": [', Fault.MALFORMED, "application/json, is not a JSON object", True),
    "nothing": (b"", Fault.MALFORMED, "is not a JSON object", True),
    "a list": (b"[]", Fault.MALFORMED, "is not a JSON object", True),
    "too deep": (b"[" * 200_000, Fault.MALFORMED, "is not a JSON object", True),
    "not UTF-8": (b'{"choices": "\xff"}', Fault.MALFORMED, "is not a JSON object", True),
    "a number of a million digits": (b"1" * 1_000_000, Fault.MALFORMED, "is not a JSON object", True),
    "no choices": ({"choices": []}, Fault.MALFORMED, "holds no choice", True),
    "choices of another kind": ({"choices": "[bet]"}, Fault.MALFORMED, "holds no choice", True),
    "a null choice": ({"choices": [None]}, Fault.MALFORMED, "holds no choice", True),
    "a choice without a message": ({"choices": [{"text": "[bet]"}]}, Fault.MALFORMED, "holds no choice", True),
    "an empty message": ({"choices": [{"message": {}}]}, Fault.MALFORMED, "holds no text", True),
    "content of another kind": ({"choices": message(content={"a": 1})}, Fault.MALFORMED, "holds no text", True),
    "parts without text": ({"choices": message(content=[{"type": "text"}])}, Fault.MALFORMED, "holds no text", True),
    "a tool": ({"choices": message(content=None, tool_calls=[{}])}, Fault.MALFORMED, "call of a tool", True),
    "an error": ({"error": "overloaded"}, Fault.SERVER, "overloaded", True),
    "an error with a code": ({"error": {"code": 400, "message": "bad"}}, Fault.BAD_REQUEST, "bad", False),
    "broken off": (
        {"choices": [message(content="[b")[0] | {"finish_reason": "error"}]},
        Fault.SERVER,
        "broke off",
        True,
    ),
    "filtered": (
        {"choices": [message(content="[b")[0] | {"finish_reason": "content_filter"}]},
        Fault.FILTERED,
        "filter kept the answer back",
        False,
    ),
    "another model": ({"model": "other"}, Fault.OTHER_MODEL, "another model answered, 'other'", False),
    "a model whose name only begins alike": ({"model": "mx"}, Fault.OTHER_MODEL, "'mx'", False),
}


@pytest.mark.parametrize("case", LIES)
def test_a_server_that_lies_is_a_fault_and_never_an_exception(server, chat, case):
    sent, fault, words, again = LIES[case]
    body = chat.completion("[check]", **sent) if isinstance(sent, dict) else chat.send(sent)
    server.answer = lambda number, request: body
    agent, _ = player(server, retries=1)
    text, why = only(agent)
    assert (text, agent.usage.faults) == ("", {fault: 1})
    assert words in why
    assert len(server.requests) == 1 + again


def test_a_web_page_is_told_apart_and_asked_for_once(server, chat):
    page = chat.send(b"<!doctype html><title>Welcome</title>", kind="text/html; charset=utf-8")
    server.answer = lambda number, request: page
    agent, _ = player(server, concurrency=1)
    assert all("a web page came" in reply.fault for reply in agent.reply(prompts(4)))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["text/plain", "text/event-stream", ""])
def test_an_answer_under_a_wrong_name_is_an_answer(server, chat, kind):
    server.answer = lambda number, request: chat.send(chat.completion("[bet]"), kind=kind)
    assert only(player(server)[0]) == ("[bet]", "")


@pytest.mark.parametrize("status", [200, 500])
def test_a_huge_body_is_not_read_to_its_end(server, chat, status):
    written = []

    def flood(handler: Any) -> None:
        handler.send_response(status)
        handler.end_headers()
        for _ in range(64):
            handler.wfile.write(b" " * 1_000_000)
            written.append(1)

    server.answer = lambda number, request: flood
    agent, _ = player(server)
    assert "larger than 4194304 bytes" in only(agent)[1]
    # What is in the buffers of the system between the two is written too.
    assert len(written) < 32
    assert agent.usage.faults == {"too_large": 1}


def test_a_packed_body_is_not_unpacked(server, chat):
    """A few bytes may unpack to gigabytes."""
    server.answer = lambda number, request: chat.send(b"\x1f\x8b", content_encoding="gzip")
    agent, _ = player(server)
    assert "packed as gzip" in only(agent)[1]
    assert server.requests[0][0]["accept-encoding"] == "identity"


def test_the_key_does_not_follow_to_where_a_server_points(server, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer = lambda number, request: chat.send({}, 307, location=f"{server.url}/elsewhere")
    agent, _ = player(server)
    assert "status 307: the server has moved" in only(agent)[1]
    assert len(server.requests) == 1


@pytest.mark.parametrize("pattern", ["other", "oth*", "*"])
def test_another_model_may_answer_where_that_is_allowed(server, chat, pattern):
    server.answer = lambda number, request: chat.completion("[bet]", model="other")
    assert only(player(server, answers_as=pattern)[0]) == ("[bet]", "")


def test_an_answer_that_ran_out_of_tokens_counts_as_truncated(server, chat):
    server.answer = lambda number, request: chat.completion(None if number else "so I [b", ended="length")
    agent, _ = player(server, concurrency=1)
    assert [reply.text for reply in agent.reply(prompts(2))] == ["so I [b", ""]
    assert (agent.usage.truncated, agent.usage.answers) == (2, 2)


REFUSAL = {"error": {"message": "'max_tokens' is not supported. Use 'max_completion_tokens'.", "param": "max_tokens"}}


def refuse_max_tokens(chat: Any) -> Any:
    ok = chat.completion("[bet]")
    return lambda number, request: chat.send(REFUSAL, 400) if "max_tokens" in request else ok


def test_the_limit_on_tokens_changes_its_name_once_where_the_server_wants_that(server, chat):
    server.answer = refuse_max_tokens(chat)
    agent, _ = player(server, concurrency=1, max_tokens=9)
    assert [reply.text for reply in agent.reply(prompts(3))] == ["[bet]"] * 3
    assert [body.get("max_completion_tokens") for _, body in server.requests] == [None, 9, 9, 9]
    # It is no retry, for nothing was wrong with the server.
    assert (agent.usage.requests, agent.usage.retries) == (4, 0)


def test_requests_that_are_under_way_when_the_name_changes_are_sent_once_more(server, chat):
    together = threading.Barrier(4, timeout=5)

    def answer(number: int, request: dict[str, Any]) -> Any:
        if "max_tokens" in request:
            together.wait()
        return refuse_max_tokens(chat)(number, request)

    server.answer = answer
    agent, _ = player(server, concurrency=4)
    assert [reply.text for reply in agent.reply(prompts(4))] == ["[bet]"] * 4
    assert agent.usage.requests == 8


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_name_that_was_set_stays(server, chat, name):
    server.answer = lambda number, request: chat.send(REFUSAL, 400)
    agent, _ = player(server, token_name=name)
    assert "Use 'max_completion_tokens'" in only(agent)[1]
    assert [name in body for _, body in server.requests] == [True]


def test_nobody_is_asked_any_more_once_the_key_was_refused(server, chat):
    server.answer = lambda number, request: chat.send({}, 401)
    agent, _ = player(server, concurrency=2)
    replies = agent.reply(prompts(20))
    assert len(server.requests) <= 2
    assert replies[-1].fault.startswith(f"not asked any more from {server.url}: status 401")
    assert agent.usage.faults == {"denied": 20}
    # The next call tries again: the server may be another by then.
    server.answer = lambda number, request: chat.completion("[bet]")
    assert only(agent) == ("[bet]", "")


def test_a_server_that_is_gone_is_given_up_after_as_many_prompts_as_may_be_in_flight(server):
    agent, _ = player(server, concurrency=3, retries=1)
    server.close()
    assert all("ConnectError" in reply.fault for reply in agent.reply(prompts(30)))
    assert agent.usage.requests <= 2 * 5
    assert agent.usage.faults == {"connection": 30}


def test_usage_is_a_record_of_what_was_counted(server, chat):
    def answer(number: int, request: dict[str, Any]) -> Any:
        usage = {"prompt_tokens": 1000, "completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 4}}
        return (chat.send({}, 503), chat.completion("[bet]", usage=usage), chat.completion("", usage=None))[number]

    server.answer = answer
    agent, time = player(server, prices=(2.0, 10.0), concurrency=1)
    agent.reply(prompts(2))
    used = agent.usage
    assert asdict(used) == {
        "prompts": 2,
        "requests": 3,
        "retries": 1,
        "answers": 2,
        "truncated": 0,
        "refusals": 0,
        "faults": {},
        "prompt_tokens": 1000,
        "completion_tokens": 10,
        "uncounted": 1,
        "cost": pytest.approx(0.0021),
        "seconds": pytest.approx(time.waits[0]),
    }
    assert "at least 1000+10 tokens" in str(used)
    assert "at least 0.0021 to pay" in str(used)
    with pytest.raises(FrozenInstanceError):
        used.prompts = 3
    agent.reset_usage()
    assert (used.prompts, agent.usage.prompts, agent.usage.seconds, agent.usage.cost) == (2, 0, 0.0, 0.0)
    assert player(server)[0].usage.cost is None


@pytest.mark.parametrize(
    "usage",
    [
        "none",
        [],
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": 5},
        {"prompt_tokens": "5", "completion_tokens": "1"},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 5.5, "completion_tokens": 1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
    ],
)
def test_counts_that_cannot_be_are_not_counted(server, chat, usage):
    server.answer = lambda number, request: chat.completion("[bet]", usage=usage)
    agent, _ = player(server)
    assert only(agent) == ("[bet]", "")
    assert (agent.usage.prompt_tokens, agent.usage.completion_tokens, agent.usage.uncounted) == (0, 0, 1)


def test_what_came_to_nothing_is_paid_for_all_the_same(server, chat):
    server.answer = lambda number, request: chat.completion("[bet]", model="other")
    agent, _ = player(server)
    only(agent)
    assert (agent.usage.answers, agent.usage.prompt_tokens) == (0, 10)


def test_a_copy_connects_by_itself_and_carries_no_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    agent, _ = player(server)
    agent._sleep, agent._clock = asyncio.sleep, time.monotonic
    only(agent)
    monkeypatch.setenv("OPENAI_API_KEY", "another-key-from-elsewhere")
    for twin in (copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))):
        assert only(twin) == ("[check]", "")
        assert server.requests[-1][0]["authorization"] == "Bearer another-key-from-elsewhere"
        assert (twin.name, twin.usage.prompts) == ("m", 2)


def test_it_answers_inside_an_event_loop_as_well(server):
    async def notebook() -> tuple[str, str]:
        return only(player(server)[0])

    assert asyncio.run(notebook()) == ("[check]", "")


def test_an_interrupt_stops_what_is_under_way(server, chat):
    server.answer = lambda number, request: stall if number < 2 else chat.completion("[bet]")
    agent, _ = player(server, concurrency=2)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            agent.reply(prompts(9))
    finally:
        signal.signal(signal.SIGALRM, before)
    # Those that waited for their turn were never sent, and the player plays on.
    assert only(agent) == ("[bet]", "")
    assert len(server.requests) == 3


def test_a_player_that_was_closed_says_so(server):
    agent, _ = player(server)
    agent.close()
    with pytest.raises(RuntimeError, match="is closed"):
        agent.reply(prompts(1))


def test_half_a_character_does_not_keep_a_prompt_from_being_sent(server):
    agent, _ = player(server)
    (reply,) = agent.reply([ask(make("KuhnPoker-v0"), "a\ud800b", 0, ("check",))])
    assert reply.text == "[check]"
    assert server.requests[0][1]["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "concurrency must be 1 or more, not 0"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"time_limit": float("nan")}, "time_limit must be above 0"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"prices": (1.0, -1.0)}, "prices must be 0 or more"),
        ({"temperature": -1}, "temperature must be 0 or more, or None"),
        ({"max_tokens": 0}, "max_tokens must be 1 or more, or None"),
        ({"token_name": "tokens"}, "must be one of max_tokens, max_completion_tokens, not 'tokens'"),
        ({"stop": "]"}, "stop must be a list of texts"),
        ({"extra_body": {"seed": 1}}, "must not set 'seed', which has a setting of its own"),
        ({"extra_body": {"stream": True}}, "must not set 'stream': what it brings is not read"),
        ({"extra_body": {"top_p": float("nan")}}, "cannot be sent as JSON"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(server, settings, message):
    with pytest.raises(ValueError, match=message):
        player(server, **settings)


def test_openais_own_server_wants_a_key(server):
    with pytest.raises(ValueError, match=r"api\.openai\.com/v1 wants a key: .*variable OPENAI_API_KEY"):
        EndpointAgent("m")


def test_the_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    agent = EndpointAgent("m")
    assert (only(agent), agent.url, repr(agent)) == (("[check]", ""), server.url, f"EndpointAgent('m', {server.url!r})")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:secret@host/v1")
    with pytest.raises(ValueError, match="OPENAI_BASE_URL") as refused:
        EndpointAgent("m")
    assert "secret" not in str(refused.value)


def test_without_the_client_it_says_what_to_install(server, monkeypatch):
    monkeypatch.delitem(sys.modules, "sparring.agents.endpoint_wire", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install 'sparring\[openai\]'"):
        player(server)


def test_whatever_json_comes_is_read_or_refused_and_never_raises():
    """Every field of an ordinary body is replaced by every kind of value there is."""
    values = [None, True, 0, -1, 1e400, "", "x", [], [[]], {}, {"a": {}}]
    body = {
        "model": "m",
        "error": None,
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "choices": [{"finish_reason": "stop", "message": {"content": "[bet]", "refusal": None, "tool_calls": None}}],
    }
    paths = [("model",), ("error",), ("usage",), ("usage", "prompt_tokens"), ("choices",), ("choices", 0)]
    paths += [("choices", 0, key) for key in ("finish_reason", "message")]
    paths += [("choices", 0, "message", key) for key in ("content", "refusal", "tool_calls")]
    for *way, last in paths:
        for value in values:
            changed: Any = copy.deepcopy(body)
            place = changed
            for key in way:
                place = place[key]
            place[last] = value
            outcome = read_answer(json.dumps(changed).encode(), "application/json", lambda name: name == "m")
            assert isinstance(outcome, Answer | Failure)
            assert isinstance(outcome.text if isinstance(outcome, Answer) else outcome.said, str)
