"""A player on a real server: `transformers serve`, over the loopback, with a model made here."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
import torch

from sparring.agents import EndpointAgent, RandomAgent, ask, make_agent, mix, tiny_agent
from sparring.envs import Ending, make
from sparring.selfplay import play

for needed in ("openai", "fastapi", "uvicorn"):
    pytest.importorskip(needed, reason=f"{needed} is not installed, which transformers serve needs")

GAME = make("KuhnPoker-v0")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a tiny model that is being served."""
    from transformers.cli.serve import Serve

    folder = tmp_path_factory.mktemp("served") / "tiny"
    agent = tiny_agent(GAME, hidden=16, layers=1, corpus_games=8)
    agent.save_pretrained(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = torch.random.get_rng_state()
    serve = Serve(str(folder), host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    end = time.monotonic() + 20
    while not serve.server.started and time.monotonic() < end:
        time.sleep(0.01)
    assert serve.server.started, "the server did not start within 20 seconds"
    yield f"openai:{folder}@http://127.0.0.1:{port}/v1"
    serve.kill_server()
    # A seed in a request seeds torch there, and there is here.
    torch.random.set_rng_state(before)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENAI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_games_against_a_model_on_a_server(spec: str) -> None:
    agent = make_agent(spec, concurrency=4, max_tokens=4)
    assert isinstance(agent, EndpointAgent)
    episodes = list(play(GAME, (agent, RandomAgent()), games=6, seed=1, swap=True))
    assert not [episode.why for episode in episodes if episode.ending is Ending.VOID]
    used = agent.usage
    assert used.answers == used.requests == sum(turn.player == 0 for e in episodes for turn in e.turns)
    assert (used.faults, used.uncounted) == ({}, 0)
    assert used.prompt_tokens > 20 * used.answers
    assert used.answers <= used.completion_tokens <= 4 * used.answers


def test_the_seed_decides_the_reply_where_one_request_is_served_at_a_time(spec: str) -> None:
    agent = make_agent(spec, concurrency=1, max_tokens=3)
    prompts = [ask(GAME, "Your move:", 0, ("check", "bet"), noise=mix(3, i)) for i in range(4)]
    first, again = agent.reply(prompts), agent.reply(prompts)
    assert first == again
    assert len({reply.text for reply in first}) > 1


def test_a_reply_that_is_cut_off_counts_as_truncated(spec: str) -> None:
    agent = make_agent(spec, max_tokens=1)
    assert isinstance(agent, EndpointAgent)
    replies = agent.reply([ask(GAME, "Your move:", 0, ("check", "bet"), noise=i) for i in range(3)])
    assert not any(reply.fault for reply in replies)
    # A first token that ends the reply is no truncation; of three none is.
    assert agent.usage.truncated == 3


def test_what_the_server_does_not_take_is_a_fault_in_its_words(spec: str) -> None:
    agent = make_agent(spec, extra_body={"no_such_field": 1}, retries=0)
    (reply,) = agent.reply([ask(GAME, "Your move:", 0, ("check", "bet"))])
    assert reply.text == ""
    assert "no_such_field" in reply.fault
