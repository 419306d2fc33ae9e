"""Every registered game has a golden playthrough that is true today, and nothing else has one."""

from pathlib import Path

import pytest

from sparring.envs import list_games, make
from sparring.envs.playthrough import playthrough, update

FOLDER = Path(__file__).parent.parent / "playthroughs"
REMEDY = "run `python -m sparring.envs.playthrough --update` and read the diff"


def test_every_registered_game_has_one_and_no_file_is_stale():
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(list_games()), REMEDY


@pytest.mark.parametrize("id", list_games())
def test_it_is_what_the_game_plays_today(id):
    assert playthrough(id) == (FOLDER / f"{id}.txt").read_text(encoding="utf-8"), REMEDY


@pytest.mark.parametrize("id", list_games())
def test_it_shows_an_illegal_ending_a_retry_and_another_skin(id):
    text = (FOLDER / f"{id}.txt").read_text(encoding="utf-8")
    for part in (
        "-- played",
        "-- illegal",
        "Tries left: 1.",
        *(f"skin={skin}" for skin in make(id).skins[1:]),
        "show_legal=False",
        "<think>",
    ):
        assert part in text


def test_update_writes_them_all_and_removes_stale_ones(tmp_path):
    (tmp_path / "Gone-v0.txt").write_text("old")
    update(tmp_path)
    assert {file.stem for file in tmp_path.iterdir()} == set(list_games())
    with pytest.raises(SystemExit, match="root of the repository"):
        update(tmp_path / "nowhere")
