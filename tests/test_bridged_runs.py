"""Games of other libraries in scripts and runs: the slash in their names makes no folder, a family lists its games."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sparring.selfplay.measures import make_measure
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_of_a_bridged_game_has_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run(Settings(game="open_spiel/kuhn_poker", games=8, warm_steps=0), say=lambda text: None)
    assert run.folder.path == Path("runs/open_spiel-kuhn_poker-self-seed0")
    assert run.measure.figure == "nashconv"


GAMES = {
    "open_spiel/kuhn_poker": "pyspiel",
    "textarena/TicTacToe-v0": "textarena",
    "pettingzoo/tictactoe_v3": "pettingzoo",
}


@pytest.mark.parametrize("game", GAMES)
def test_a_run_of_it_learns_from_a_generation(game: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(GAMES[game], reason=f"pip install 'sparring[{game.partition('/')[0]}]'")
    monkeypatch.setattr("sparring.selfplay.run.make_measure", partial(make_measure, games=4))
    tiny: dict[str, Any] = {"warm_steps": 0, "hidden": 16, "layers": 1, "measure": "match"}
    settings = Settings(game=game, games=8, batch_games=8, out=str(tmp_path / "run"), **tiny)
    run = Run(settings, say=lambda text: None)
    before = [parameter.detach().clone() for parameter in run.player.model.parameters()]
    for _ in run.learn():
        pass
    summary = run.close(finished=True)
    assert (summary["finished"], summary["games"]) == (True, 8)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["turns"] > 0 for line in lines if "turns" in line] == [True]
    assert any((a != b).any() for a, b in zip(before, run.player.model.parameters(), strict=True))


@pytest.mark.parametrize("game", GAMES)
def test_the_terminal_plays_it(game: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("play").main(["--game", game, "--seats", "random", "random", "--seed", "1"]) == 0
    assert "The game was played out" in capsys.readouterr().out


def test_importing_the_games_imports_no_other_library() -> None:
    code = "import sys, sparring.envs; print(sorted({'pyspiel', 'textarena', 'chess', 'rlcard'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
