"""scripts/benchmark.py with players on a server: what they are asked with, what they use, and one that is down."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the extra openai is not installed")

KEY = "sk-0123456789abcdefghijklmnop"
SMALL = ("--pairs", "4", "--no-exact", "--endpoint-retries", "0")

Bench = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def main() -> Callable[..., int]:
    path = Path(__file__).parent.parent.parent / "scripts" / "benchmark.py"
    found = importlib.util.spec_from_file_location("benchmark_on_a_server", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return lambda *words: module.main([str(word) for word in words])


@pytest.fixture
def bench(main: Callable[..., int], server: Any, tmp_path: Path) -> Bench:
    """Plays `random` against the server and returns the report."""

    def play(*words: str) -> dict[str, Any]:
        agents = () if "--agents" in words else ("--agents", "random", f"served=openai:m@{server.url}")
        main(*agents, *SMALL, *words, "--out", tmp_path)
        return json.loads((tmp_path / "report.json").read_text())

    return play


def test_a_model_on_a_server_plays_with_what_the_flags_say(bench, server, chat, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answer = lambda number, request: chat.completion("[check]")
    found = bench("--temperature", "0.5", "--max-new-tokens", "7", "--device", "cpu", "--concurrency", "2")
    assert found["standings"]["pairs"] == 4
    assert found["standings"]["void"] == {}
    about = {"kind": "EndpointAgent", "model": "m", "url": server.url, "temperature": 0.5, "max_tokens": 7}
    assert found["agents"]["served"] == {"broken": "", **about}
    assert {(body["temperature"], body["max_tokens"]) for _, body in server.requests} == {(0.5, 7)}
    assert server.most_at_once <= 2
    assert not [path for path in tmp_path.iterdir() if KEY[:10].encode() in path.read_bytes()]


def test_without_flags_a_reply_may_be_as_long_as_endpoints_let_it(bench, server):
    bench()
    assert {body["max_tokens"] for _, body in server.requests} == {2048}


def test_how_often_and_how_long_a_server_is_asked_is_set(bench, server, chat):
    server.answer = lambda number, request: chat.send({}, 503)
    found = bench("--endpoint-retries", "1", "--timeout", "700", "--in-flight", "1", "--pairs", "1")
    asked = found["requests"]["served"]
    assert (asked["requests"], asked["retries"]) == (2 * asked["prompts"], asked["prompts"])


def test_another_temperature_is_another_player(bench, server, main, tmp_path, capsys):
    bench("--temperature", "0.5")
    agents = ("--agents", "random", f"served=openai:m@{server.url}")
    assert main(*agents, *SMALL, "--out", tmp_path) == 2
    assert "'served' is not the same as before" in capsys.readouterr().err


def test_tokens_cost_and_replies_that_were_cut_off_are_in_every_report(bench, main, server, chat, tmp_path):
    """They were counted by nobody: what a server counts has no ids."""
    cut = chat.completion("[check", ended="length", usage={"prompt_tokens": 100, "completion_tokens": 50})
    server.answer = lambda number, request: cut if number % 2 else chat.completion("[check]")
    words = ("--in-flight", "1", "--prices", "1000,2000", "served=10000,20000")
    found = bench(*words)
    asked = len(server.requests)
    cut_off = asked // 2
    prompts, replies = 100 * cut_off + 10 * (asked - cut_off), 50 * cut_off + 2 * (asked - cut_off)
    used = found["spending"]["served"]
    assert (used["replies"], used["cut_off"], used["uncounted"]) == (asked, cut_off, 0)
    assert (used["prompt_tokens"], used["reply_tokens"]) == (prompts, replies)
    assert used["cost"] == pytest.approx((prompts + 2 * replies) / 100)
    assert found["requests"]["served"]["cost"] == used["cost"]
    assert found["standings"]["players"]["served"]["tokens_a_reply"] == replies / asked
    row = ["served", asked, cut_off, f"{prompts:,}", f"{replies:,}", f"{used['cost']:.4f}"]
    assert f"| {' | '.join(map(str, row))} |" in (tmp_path / "report.md").read_text()
    spent = f"{prompts:,} tokens of prompts and {replies:,} of replies, {used['cost']:.4f} to pay"
    line = f"served, in this call: {asked} requests, 0 of them sent again; prompts without an answer: none"
    assert f"{line}; with these {spent}." in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert f'<td class="n">{prompts:,}</td><td class="n">{replies:,}</td><td class="n">{used["cost"]:.4f}</td>' in page

    # What the log holds was spent, whichever call spent it.
    again = bench(*words)
    assert len(server.requests) == asked
    assert (again["spending"], "requests" in again) == (found["spending"], False)
    main("--report", tmp_path / "log.jsonl", "--no-exact", "--prices", "10000,20000", "--out", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "report.json").read_text())["spending"] == found["spending"]


def test_what_failed_and_was_paid_for_is_said(bench, server, chat, tmp_path):
    """The server counts tokens of an answer that cannot be used; they were in no table."""
    paid = chat.completion("", ended="error", usage={"prompt_tokens": 1000, "completion_tokens": 300})
    server.answer = lambda number, request: paid
    found = bench("--in-flight", "1", "--pairs", "1", "--prices", "1000,1000", "--endpoint-retries", "0")
    asked = len(server.requests)
    assert found["spending"] == {}
    spent = f"{1000 * asked:,} tokens of prompts and {300 * asked:,} of replies, {1.3 * asked:.4f} to pay."
    assert f"with these {spent}" in (tmp_path / "report.md").read_text()
    assert spent in (tmp_path / "report.html").read_text()


def test_tokens_that_no_server_counted_are_said_to_be_missing(bench, server, chat, tmp_path):
    server.answer = lambda number, request: chat.completion("[check]", usage=None)
    used = bench("--prices", "1,1")["spending"]["served"]
    assert used["uncounted"] == used["replies"] == len(server.requests)
    assert "at least 0.0000" in (tmp_path / "report.md").read_text()


def test_a_log_of_before_is_read(bench, server, tmp_path):
    """It says neither what prompts took nor which replies were cut off."""
    bench()
    log = tmp_path / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for turn in (t for line in lines if "pair" in line for game in line["games"] for t in game["turns"]):
        del turn["prompt_tokens"], turn["cut_off"]
        turn["tokens"] = None
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    used = bench()["spending"]["served"]
    assert used["uncounted"] == used["replies"] > 0
    assert used["cut_off"] == 0


def test_nonsense_is_the_models_and_a_broken_reply_is_nobodys(bench, server, chat):
    nonsense = chat.completion("I would rather talk about the weather.")
    server.answer = lambda number, request: nonsense if number % 2 else chat.send(b"{", 200)
    found = bench("--in-flight", "1")
    assert found["standings"]["players"]["served"]["lost_illegal"] > 0
    (reason,) = found["standings"]["void"]
    assert "is not a JSON object" in reason
    assert found["standings"]["players"]["served"]["lost_on_board"] == 0


def stall(handler: Any) -> None:
    time.sleep(3)


def test_a_server_that_stalls_is_down_after_a_few_prompts_and_the_others_are_rated(bench, server, tmp_path, capsys):
    """Every prompt was waited for, with all its tries: ten minutes each as the settings were."""
    server.answer = lambda number, request: stall
    words = ("--agents", "random", "other=random", f"served=openai:m@{server.url}", "--timeout", "0.2", "--pairs", "20")
    started = time.monotonic()
    found = bench(*words, "--in-flight", "8", "--endpoint-retries", "5", "--down-after", "3")
    assert time.monotonic() - started < 10
    # Of the first wave each is asked twice at most, and of 160 games no more are tried.
    assert len(server.requests) <= 2 * 8
    assert found["requests"]["served"]["prompts"] <= 8
    served = found["standings"]["players"]["served"]
    assert (served["games"], served["void"], served["lost_on_board"], served["lost_illegal"]) == (0, 80, 0, 0)
    assert found["standings"]["ratings"]["players"]["other"]["games"] == 40
    reason = found["agents"]["served"]["down"]
    assert reason.startswith("down, and not asked any more after 3 prompts in a row without an answer: no answer")
    assert found["standings"]["void"][f"served: {reason}"] >= 72
    for text in ((tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()):
        assert reason in text.split("What did not work", 1)[1]
    assert "Ratings, all games" in capsys.readouterr().out


def test_a_player_that_was_down_is_played_when_it_is_back(bench, server, chat, tmp_path):
    server.answer = lambda number, request: chat.send({}, 401)
    found = bench("--pairs", "12", "--in-flight", "2")
    assert found["standings"]["players"]["served"]["void"] == 24
    assert len(server.requests) <= 5 + 2
    server.answer = lambda number, request: chat.completion("[check]")
    found = bench("--pairs", "12", "--in-flight", "2")
    assert found["standings"]["void"] == {}
    assert "down" not in found["agents"]["served"]
    assert found["standings"]["players"]["served"]["games"] == 24


def test_a_server_that_fails_now_and_then_is_not_down(bench, server, chat):
    server.answer = lambda number, request: chat.send({}, 503) if number % 3 else chat.completion("[check]")
    found = bench("--down-after", "3", "--pairs", "8", "--in-flight", "1")
    assert "down" not in found["agents"]["served"]
    assert len(found["standings"]["void"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--concurrency", "0"], "--concurrency must be 1 or more, not 0"),
        (["--down-after", "0"], "--down-after must be 1 or more, not 0"),
        (["--timeout", "0"], "--timeout must be above 0, not 0"),
        (["--timeout", "nan"], "--timeout must be above 0, not nan"),
        (["--endpoint-retries", "-1"], "--endpoint-retries must be 0 or more, not -1"),
        (["--prices", "1"], "--prices takes IN,OUT or NAME=IN,OUT"),
        (["--prices", "1,nan"], "--prices takes IN,OUT or NAME=IN,OUT, 0 or more"),
        (["--prices", "1,x,2"], "--prices takes IN,OUT or NAME=IN,OUT, 0 or more"),
        (["--prices", "serve=1,2"], "'serve' is no player on a server. Did you mean 'served'?"),
        (["--prices", "random=1,2"], "'random' is no player on a server. Known: served"),
    ],
)
def test_what_no_endpoint_takes_is_refused(main, server, tmp_path, capsys, words, said):
    agents = ("--agents", "random", f"served=openai:m@{server.url}")
    assert main(*agents, *SMALL, *words, "--out", tmp_path) == 2
    assert said in capsys.readouterr().err
    assert not server.requests
