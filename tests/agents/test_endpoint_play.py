"""Players on a server in the scripts: a game at the terminal, a training run against one."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sparring.agents import RandomAgent, make_agent, make_judge, tiny_agent
from sparring.envs import Case, Ending, make
from sparring.selfplay import OpponentPool, play
from sparring.selfplay.assembly import make_eval_game, make_game, make_opponent
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings
from sparring.selfplay.settings_checks import check

pytest.importorskip("openai", reason="the extra openai is not installed")

KEY = "sk-0123456789abcdefghijklmnop"
SMALL: dict[str, Any] = {"hidden": 16, "layers": 1, "heads": 2, "games": 16, "batch_games": 8, "warm_steps": 0}


def script(name: str) -> ModuleType:
    path = Path(__file__).parent.parent.parent / "scripts" / f"{name}.py"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_game_that_a_server_breaks_off_is_void_and_nobody_loses(server, chat):
    server.answer = lambda number, request: chat.send({}, 404) if number == 2 else chat.completion("[check]")
    agent = make_agent(f"openai:m@{server.url}")
    episodes = list(play(make("KuhnPoker-v0"), (agent, RandomAgent()), games=6, in_flight=1, swap=True))
    void = [episode for episode in episodes if episode.ending is Ending.VOID]
    assert [(e.rewards, e.offender) for e in void] == [((0.0, 0.0), None)]
    assert "status 404" in void[0].why


def test_a_game_at_the_terminal_says_what_was_used(server, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    seats = ["--seats", f"openai:m@{server.url}", "random"]
    assert script("play").main(["--game", "KuhnPoker-v0", "--games", "3", *seats]) == 0
    shown = capsys.readouterr().out
    assert f"m: {len(server.requests)} answers in {len(server.requests)} requests (0 retries)" in shown
    assert KEY[:10] not in shown


def test_a_game_at_the_terminal_says_why_it_is_void(server, chat, capsys):
    server.answer = lambda number, request: chat.send({}, 401)
    assert script("play").main(["--seats", "random", f"openai:m@{server.url}"]) == 0
    assert f"void: m: no answer from {server.url}: status 401" in capsys.readouterr().out


def test_a_run_learns_against_a_model_on_a_server_and_writes_its_key_nowhere(server, chat, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    # It goes away now and then, and comes back with what it was sent.
    fail = chat.send({"error": {"message": f"no key like {KEY}"}}, 400)
    server.answer = lambda number, request: fail if number % 5 == 4 else chat.completion("[check]")
    more = {"temperature": 0.7, "max_new_tokens": 5, "transcripts": 8}
    run = Run(Settings(out=str(tmp_path / "run"), opponent=f"openai:m@{server.url}", **SMALL, **more), say=print)
    list(run.prepare())
    list(run.learn())
    summary = run.close(finished=True)
    run.processes.close()
    used = summary["usage"]["m"]
    assert used["faults"] == {"bad_request": len(server.requests) // 5}
    assert used["answers"] == len(server.requests) - len(server.requests) // 5
    assert {(body["temperature"], body["max_tokens"]) for _, body in server.requests} == {(0.7, 5)}
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in files if KEY[:10].encode() in path.read_bytes()]
    logged = (tmp_path / "run" / "transcripts.jsonl").read_text()
    assert "void" in {json.loads(line)["ending"] for line in logged.splitlines()}
    assert "no key like [key]" in logged


def test_games_against_a_server_in_the_pool_that_is_gone_are_void(server, chat):
    server.answer = lambda number, request: chat.send({}, 404)
    settings = Settings(opponent="pool", pool_mix=["fixed=1"], pool_fixed=[f"openai:m@{server.url}"], **SMALL)
    player = RandomAgent(name="learner")
    pool = make_opponent(settings, tiny_agent(make("KuhnPoker-v0"), hidden=16, layers=1, corpus_games=4))
    assert isinstance(pool, OpponentPool)
    episodes = list(play(make("KuhnPoker-v0"), (player, pool.draw), games=8))
    assert {(e.ending, e.rewards) for e in episodes} == {(Ending.VOID, (0.0, 0.0))}


def test_a_run_is_called_after_the_model_and_not_after_the_address(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run(Settings(opponent=f"openai:org/m@{server.url}", **SMALL), say=lambda text: None)
    assert str(run.folder.path) == "runs/KuhnPoker-v0-m-seed0"


def test_the_time_of_a_judge_on_a_server_is_that_of_a_request(server, chat):
    """It was that of the batch: answers that were each in time were too late together, and all of them void."""

    def answer(number, request):
        time.sleep(2.5 if "slow" in request["messages"][-1]["content"] else 0.3)
        return chat.completion("[a]")

    server.answer = answer
    judge = make_judge(f"words:openai:m@{server.url}", timeout=1.0, concurrency=2)
    verdicts = judge.judge([Case(question=f"{n}?", answers=("x", "y")) for n in ("slow", 1, 2, 3, 4, 5)])
    assert "no answer within 1 seconds" in verdicts[0].void
    assert [verdict.p for verdict in verdicts[1:]] == [1.0] * 5


@pytest.mark.parametrize("around", ["", "swapped:", "majority:rule+"])
@pytest.mark.parametrize("name", ["judge", "eval_judge"])
def test_a_model_on_a_server_judges_with_the_settings_that_it_has(server, chat, name, around):
    """It was given those of loaded models too, and could not be made: no EndpointAgent has a device."""
    server.answer = lambda number, request: chat.completion("[a]")
    spec = f"{around}words:openai:m@{server.url}"
    settings = Settings(game="Debate-v0", device="cpu", temperature=0.5, max_new_tokens=5, **{name: spec})
    check(settings)
    game = make_eval_game(settings, make_game(settings))
    assert game.judge.name == spec
    assert {e.ending for e in play(game, (RandomAgent(), RandomAgent()), games=2)} == {Ending.PLAYED}
    # A judge has neither the temperature nor the length of the policy.
    assert {(body["temperature"], body["max_tokens"]) for _, body in server.requests} == {(1.0, 2048)}


def test_a_judge_on_a_server_that_is_away_is_asked_as_often_as_the_server_is_and_no_more(server, chat, monkeypatch):
    """5 retries, times 3 of the judge, times 4 of the patient one, took 100 seconds a case."""
    server.answer = lambda number, request: chat.send({}, 503)
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr("time.sleep", waited.append)
    judge = make_judge(f"words:openai:m@{server.url}")
    judge.inner.inner.inner.agent._sleep = sleep
    (verdict,) = judge.judge([Case(question="?", answers=("x", "y"))])
    assert "no answer after 6 tries" in verdict.void
    assert (len(server.requests), len(waited)) == (6, 5)
    # A half second, doubled four times, at most.
    assert sum(waited) <= 0.5 * (2**5 - 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "openai:m"}, "the model is on a server, where nothing can be learned from here"),
        (
            {"opponent": "openai:m", "trust_remote_code": True},
            "trust_remote_code is for loaded models",
        ),
        ({"opponent": "openai:m@localhost:8000/v1"}, "has no http://"),
    ],
)
def test_settings_that_do_not_go_with_a_server_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        Run(Settings(out=str(tmp_path / "run"), **SMALL, **settings), say=lambda text: None)
    assert not (tmp_path / "run").exists()


def benchmark(server, tmp_path, *more):
    words = ["--agents", f"model=openai:m@{server.url}", "random", "--games", "KuhnPoker-v0", "--pairs", "3"]
    code = script("benchmark").main([*words, "--no-exact", "--out", str(tmp_path / "bench"), *more])
    return code, json.loads((tmp_path / "bench" / "report.json").read_text())


def test_a_benchmark_plays_a_model_on_a_server(server, chat, tmp_path):
    """Settings of loaded models, which the script has too, are not given to a server; those of sampling are."""
    asked = []
    server.answer = lambda number, request: asked.append(request) or chat.completion("[check]")
    code, found = benchmark(server, tmp_path, "--max-new-tokens", "9", "--temperature", "0.5", "--device", "cpu")
    assert code == 0
    assert found["agents"]["model"]["broken"] == ""
    assert asked
    lines = (tmp_path / "bench" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 3


def test_a_server_that_is_down_loses_nothing_in_a_benchmark(server, chat, tmp_path):
    server.answer = lambda number, request: chat.send({}, 401)
    code, _ = benchmark(server, tmp_path)
    assert code == 1
    records = [json.loads(line) for line in (tmp_path / "bench" / "log.jsonl").read_text().splitlines()[1:]]
    games = [game for record in records for game in record["games"]]
    assert {game["ending"] for game in games} == {"void"}
    assert all("status 401" in game["why"] for game in games)
