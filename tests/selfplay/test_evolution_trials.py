"""benchmarks/evolution_tasks.py: programs on lists in few words, and proposals at random."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sparring.envs.tasks import FAMILIES, Malformed, make_family

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
