"""The trials of benchmarks/evolution.py: their tasks, what they are compared by, and tokens that are equal."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sparring.agents import tiny_agent
from sparring.envs.contest import Contest
from sparring.envs.tasks import FAMILIES, Malformed, make_family
from sparring.selfplay.evolve import evolve

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "evolution_tasks.py"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr("sparring.envs.tasks.FAMILIES", dict(FAMILIES))
    spec = importlib.util.spec_from_file_location("evolution_tasks", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_list_programs_are_programs_on_lists_in_few_words(tasks: ModuleType) -> None:
    family = tasks.ListPrograms()
    for n in range(20):
        task = family.draw(np.random.default_rng(n), 0)
        assert family.propose(family.proposal(task), 0).prompt == task.prompt == " | ".join(task.data)
        assert (family.verify(task, task.key), family.verify(task, "no")) == (1.0, 0.0)
    with pytest.raises(Malformed, match="a list of numbers"):
        family.propose("reverse | abc", 0)


@pytest.mark.parametrize(("name", "level"), [("addition", 1), ("list_programs", 0), ("list_programs", 1)])
def test_random_tasks_are_valid_unlike_each_other_and_the_same_again(tasks: ModuleType, name: str, level: int) -> None:
    family = tasks.ListPrograms() if name == "list_programs" else make_family(name)
    found, again = (tasks.random_tasks(family, level, 40, np.random.default_rng(3)) for _ in range(2))
    assert found == again
    assert len({family.signature(task) for task in found}) == 40
    for task in found:
        assert family.propose(family.proposal(task), level) == task


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark with all its trials; its modules are forgotten again."""
    monkeypatch.setattr("sparring.envs.tasks.FAMILIES", dict(FAMILIES))
    monkeypatch.syspath_prepend(FILE.parent)
    before = set(sys.modules)
    found = importlib.import_module("evolution")
    yield found
    for name in set(sys.modules) - before:
        if name.startswith("evolution"):
            del sys.modules[name]


def test_a_text_is_copied_and_each_letter_is_one_token(tasks: ModuleType) -> None:
    family = tasks.Again()
    task = family.draw(np.random.default_rng(0), 6)
    assert (len(task.prompt), len(set(task.prompt)), task.prompt[-1]) == (8, 8, "|")
    assert (family.verify(task, task.prompt), family.verify(task, task.prompt[:-1])) == (1.0, 0.0)
    agent = tiny_agent(Contest(task=family, level=6, single=True, skin="brief"), corpus_games=40, positions="local")
    assert len(agent.encode_speech(task.key)) == 8 + 1


def test_a_length_is_mastered_only_if_all_shorter_ones_are(trials: ModuleType) -> None:
    lengths = [*trials.LABELLED, *trials.FURTHER]
    accuracy = {trials.skill_of(length): 1.0 for length in lengths}
    assert trials.reach(accuracy) == lengths[-1]
    assert trials.reach(accuracy | {trials.skill_of(12): 0.94, trials.skill_of(10): 0.95}) == 10
    assert trials.reach(accuracy | {trials.skill_of(1): 0.0}) == 0


def test_a_generation_ends_when_its_tokens_are_spent(trials: ModuleType) -> None:
    start = replace(trials.ALL.start, labelled=60, steps=3, hidden=16, layers=1)
    agent, learner, curriculum, archive = start.make(0)
    told = {"generations": 1, "probe_tasks": 1, "hidden_tasks": 1, "gate": None, "seed": 0}
    method = trials.ALL.arms["seed data only"](())
    found = {}
    for budget in (1, 20_000):
        method.tokens = budget
        *_, last = evolve(agent, learner, method, curriculum, archive=archive, **told)
        found[budget] = last.metrics
    a_step = found[1]["tokens"]
    assert found[1]["updates"] == 1
    assert 20_000 <= found[20_000]["tokens"] < 20_000 + 2 * a_step
    assert found[20_000]["updates"] == pytest.approx(20_000 / a_step, rel=0.2)
    assert set(trials.ALL.arms["all four"](start.tasks(curriculum))) == set(trials.ALL.arms) - {
        "all four",
        "seed data only",
    }
