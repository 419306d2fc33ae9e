"""Why games were void: one line a kind, whatever number a request had."""

from __future__ import annotations

from sparring.selfplay.void_reasons import void_reasons

URL = "http://localhost:8000/v1"


def test_requests_of_one_fault_are_one_reason() -> None:
    """A server that names each request in its errors gave the report a row a void game."""
    whys = [
        f"served: no answer after {2 + n % 3} tries from {URL}: status 500: failed (request {n:x}a7)" for n in range(40)
    ]
    assert void_reasons(whys) == {f"{whys[0]} (the first of 40 such reasons)": 40}


def test_players_and_faults_are_told_apart() -> None:
    faults = ("status 500: x", "status 429: x", "the reply holds no text")
    whys = [f"{name}: no answer from {URL}: {fault}" for name in "ab" for fault in faults]
    assert void_reasons([*whys, whys[-1]]) == {whys[-1]: 2, **dict.fromkeys(whys[:-1], 1)}
    kinds = ["a: ValueError: 0 replies to 1 prompts", "a: TypeError: no text", "nim broke: TypeError: no text", "busy"]
    assert void_reasons(kinds) == dict.fromkeys(kinds, 1)


def test_errors_that_say_something_else_each_time_are_one_reason() -> None:
    whys = [f"a: BadReply: {'very ' * n}long words" for n in range(10)] + ["a: OSError: gone", "b: BadReply: short"]
    assert void_reasons(whys) == {
        "a: BadReply: long words (the first of 10 such reasons)": 10,
        "a: OSError: gone": 1,
        "b: BadReply: short": 1,
    }


def test_what_is_quoted_makes_no_other_reason() -> None:
    whys = [f"a: KeyError: no move {word!r} here" for word in ("left", "right", "up", "down")]
    assert void_reasons(whys) == {f"{whys[0]} (the first of 4 such reasons)": 4}
