"""Players by name, and what a misspelt name is told."""

from __future__ import annotations

import pytest

from sparring.agents import EndpointAgent, HumanAgent, OptimalAgent, RandomAgent, folder_name, make_agent
from sparring.agents.endpoint_name import read_endpoint


@pytest.mark.parametrize(("spec", "kind"), [("random", RandomAgent), ("optimal", OptimalAgent), ("human", HumanAgent)])
def test_known_names(spec, kind):
    agent = make_agent(spec, dtype="float32")
    assert isinstance(agent, kind)
    assert agent.name == spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("randm", "Did you mean 'random'"),
        ("./nowhere", "neither one of heuristic, human, optimal, random, nor a model directory"),
        ("a/b/c", "nor a model directory"),
        ("", "no player ''"),
        ("OpenAI:gpt-4o", "A model on a server is called openai:MODEL@http://HOST:PORT/v1"),
    ],
)
def test_unknown_names_are_told_the_near_one(spec, message):
    with pytest.raises(ValueError, match=message):
        make_agent(spec)


def test_a_misspelt_directory_is_told_the_one_beside_it(tmp_path):
    (tmp_path / "kuhn-run").mkdir()
    with pytest.raises(ValueError, match=r"Did you mean '.*kuhn-run'"):
        make_agent(str(tmp_path / "khun-run"))


def _fake_model(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return str(folder)


def test_a_folder_is_told_which_one_in_it_holds_a_model(tmp_path):
    _fake_model(tmp_path / "first")
    with pytest.raises(ValueError, match=r"no config\.json.*Did you mean '.*first'"):
        make_agent(str(tmp_path))


def test_the_folder_of_a_run_plays_its_model(tmp_path, monkeypatch):
    from sparring.agents.language_model import LanguageModelAgent

    monkeypatch.setattr(LanguageModelAgent, "from_pretrained", lambda name, **settings: name)
    (tmp_path / "config.yaml").write_text("game: KuhnPoker-v0")
    with pytest.raises(ValueError, match=r"no config\.json"):
        make_agent(str(tmp_path))
    model = _fake_model(tmp_path / "model")
    assert make_agent(str(tmp_path)) == model
    assert make_agent(f"{tmp_path}/") == model


@pytest.mark.parametrize(
    ("spec", "model", "url"),
    [
        ("openai:gpt-4o-mini", "gpt-4o-mini", None),
        ("openai:Qwen/Qwen3-8B@http://localhost:8000/v1", "Qwen/Qwen3-8B", "http://localhost:8000/v1"),
        ("openai:qwen3:8b@https://host.example/api/v1/", "qwen3:8b", "https://host.example/api/v1"),
        ("openai:/models/llama@main@http://[::1]:8000/v1", "/models/llama@main", "http://[::1]:8000/v1"),
        ("openai:sonnet@20240229", "sonnet@20240229", None),
    ],
)
def test_the_name_of_a_model_on_a_server(spec, model, url):
    assert read_endpoint(spec) == (model, url)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("openai:", "needs the name of a model"),
        ("openai:@http://localhost:8000/v1", "needs the name of a model"),
        ("openai: m", "needs the name of a model"),
        ("openai:m@localhost:8000/v1", r"'localhost:8000/v1' has no http://.*openai:MODEL@http://localhost:8000/v1"),
        ("openai:m@10.0.0.1:8000", "has no http://"),
        ("openai:m@http://", "must look like http://localhost:8000/v1, not 'http://'"),
        ("openai:m@http://host:port/v1", "is not a URL"),
        ("openai:m@http://ho st/v1", "must look like"),
        ("openai:m@http://host/v1/chat/completions", "stands before /chat/completions"),
        ("openai:m@http://user:hunter2@host/v1", "without user, password"),
        ("openai:m@http://host/v1?key=hunter2", "A key belongs into the environment"),
        ("openai:m@http://user:hunter2@host:port/v1", "is not a URL"),
        ("openai:m@user:hunter2@host:8000", "'host:8000' has no http://"),
    ],
)
def test_a_wrong_name_of_a_model_on_a_server_says_why_and_shows_no_password(spec, message):
    with pytest.raises(ValueError, match=message) as refused:
        make_agent(spec)
    assert "hunter2" not in str(refused.value)


def test_a_model_on_a_server_takes_the_settings_of_its_own_class(monkeypatch):
    pytest.importorskip("openai", reason="the extra openai is not installed")
    agent = make_agent("openai:org/m@http://localhost:1/v1", prices=(1.0, 2.0))
    assert isinstance(agent, EndpointAgent)
    assert (agent.name, agent.url, agent.prices) == ("org/m", "http://localhost:1/v1", (1.0, 2.0))
    with pytest.raises(TypeError, match="dtype"):
        make_agent("openai:m@http://localhost:1/v1", dtype="float32")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("self", "self"),
        ("runs/first/model/", "model"),
        ("openai:org/m-1.5@http://localhost:8000/v1", "m-1.5"),
        ("openai:qwen3:8b", "qwen3-8b"),
        ("..", ".."),
        ("/", "player"),
    ],
)
def test_a_folder_is_called_after_a_player(spec, name):
    assert folder_name(spec) == name


def test_directories_and_hub_names_go_to_the_language_model(tmp_path, monkeypatch):
    from sparring.agents.language_model import LanguageModelAgent

    loaded = []
    monkeypatch.setattr(LanguageModelAgent, "from_pretrained", lambda name, **settings: loaded.append((name, settings)))
    (tmp_path / "config.json").write_text("{}")
    make_agent(str(tmp_path), dtype="float32")
    make_agent("owner/model-1.5b")
    make_agent("gpt2")
    assert loaded == [(str(tmp_path), {"dtype": "float32"}), ("owner/model-1.5b", {}), ("gpt2", {})]


def test_a_model_that_the_hub_does_not_have_is_an_unknown_player(monkeypatch):
    from sparring.agents.language_model import LanguageModelAgent

    def fail(name, **settings):
        raise OSError("no such model\nand a long explanation")

    monkeypatch.setattr(LanguageModelAgent, "from_pretrained", fail)
    with pytest.raises(ValueError, match=r"no player 'owner/modl'.*from the hub: no such model$"):
        make_agent("owner/modl")
