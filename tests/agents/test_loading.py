"""Players by name, and what a misspelt name is told."""

from __future__ import annotations

import pytest

from sparring.agents import HumanAgent, OptimalAgent, RandomAgent, make_agent


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
    ],
)
def test_unknown_names_are_told_the_near_one(spec, message):
    with pytest.raises(ValueError, match=message):
        make_agent(spec)


def test_a_misspelt_directory_is_told_the_one_beside_it(tmp_path):
    (tmp_path / "kuhn-run").mkdir()
    with pytest.raises(ValueError, match=r"Did you mean '.*kuhn-run'"):
        make_agent(str(tmp_path / "khun-run"))


def test_a_run_folder_is_told_where_its_model_is(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no config\.json.*Did you mean '.*model'"):
        make_agent(str(tmp_path))


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
