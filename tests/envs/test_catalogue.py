"""The catalogue: the committed table is true today, and what games say of themselves is so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sparring.envs import make, register
from sparring.envs.catalogue import BEGIN, END, catalogue, entry, filled, main, table, update
from sparring.envs.registry import _SPECS, own_games

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"
REMEDY = "run `python -m sparring.envs.catalogue --update` and read the diff"


def test_the_committed_table_is_what_the_games_say_today():
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text) == text, REMEDY


def test_every_registered_game_is_in_it_and_says_where_it_comes_from():
    entries = catalogue()
    assert [found.id for found in entries] == own_games()
    assert [found.id for found in entries if not found.source] == []
    assert all(found.listed or found.spoken for found in entries)


@pytest.mark.parametrize("id", [found.id for found in catalogue() if found.states is not None])
def test_what_a_game_says_of_hidden_information_is_what_its_tree_shows(id, monkeypatch):
    said = entry(id).hidden
    monkeypatch.setattr(type(make(id)), "hidden_information", None)
    assert entry.__wrapped__(id).hidden is said


def test_what_is_known_of_three_games():
    kuhn, negotiation = entry("KuhnPoker-v0"), entry("Negotiation-v0")
    assert (kuhn.states, kuhn.hidden, kuhn.listed, kuhn.spoken, kuhn.judged) == (54, True, True, False, False)
    assert (negotiation.states, negotiation.spoken, negotiation.listed, negotiation.zero_sum) == (
        None,
        True,
        False,
        False,
    )
    four = entry("ConnectFour-v0", limit=100)
    assert (four.states, four.larger, four.hidden, four.roles) == (None, True, False, ("X", "O"))
    assert entry("KuhnPoker-v0", limit=53).larger
    assert entry("KuhnPoker-v0", limit=54).states == 54


def test_a_game_of_anyones_is_in_it_at_once(monkeypatch):
    monkeypatch.setitem(_SPECS, "Mine-v0", None)
    monkeypatch.delitem(_SPECS, "Mine-v0")
    register("Mine-v0", "sparring.envs.nim:Nim", heaps=(2, 1))
    found = entry("Mine-v0")
    assert found in catalogue()
    assert f"{found.states} states" in table((found,))
    assert "a \\| b" in table((replace(found, source="a | b"),))


def test_the_page_is_filled_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    update(page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| game |")
    assert text.endswith(f"|\n{END}\nafter\n")
    assert "old" not in text
    page.write_text("nothing here")
    with pytest.raises(SystemExit, match="put them back"):
        update(page)
    with pytest.raises(SystemExit, match="root of the repository"):
        update(tmp_path / "none.md")


def test_the_command_prints_the_table(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["catalogue", "--limit", "60"])
    main()
    printed = capsys.readouterr().out
    assert "| `KuhnPoker-v0` | alike | zero-sum | yes | listed | no | 54 states |" in printed
    assert "above 60 states" in printed


def test_every_game_of_the_package_says_what_is_hidden_and_where_it_comes_from() -> None:
    page = Path(__file__).parents[2] / "docs" / "catalogue.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert not [line for line in rows if "not said" in line]
