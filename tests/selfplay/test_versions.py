"""What a log says of the versions that its games were played with."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

import sparring.envs
from sparring.envs import make
from sparring.selfplay.bench import header
from sparring.selfplay.tournament import Entry
from sparring.selfplay.versions import source_digest, versions


def test_the_library_that_a_game_is_from_is_named() -> None:
    """A bridged game of another version may be another game, and its log did not say which it was."""
    found = header([], [Entry(label="pettingzoo/tictactoe_v3", game=make("pettingzoo/tictactoe_v3"))])["versions"]
    assert found["pettingzoo"] == version("pettingzoo")
    own = header([], [Entry(label="KuhnPoker-v0", game=make("KuhnPoker-v0")), Entry(label="gone", game=None)])
    assert "pettingzoo" not in own["versions"]
    assert own["versions"]["source"] == source_digest()


def test_a_changed_file_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = source_digest()
    for name in ("kuhn.py", "data.txt"):
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(sparring.envs, "__path__", [str(tmp_path)])

    def now() -> str:
        source_digest.cache_clear()
        return versions()["source"]

    found = [now()]
    (tmp_path / "data.txt").write_text("2")
    found.append(now())
    (tmp_path / "data.txt").rename(tmp_path / "other.txt")
    found.append(now())
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "kuhn.pyc").write_text("3")
    assert now() == found[-1]
    assert len({before, *found}) == 4
    monkeypatch.undo()
    assert now() == before
