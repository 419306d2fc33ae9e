"""Games of other libraries in scripts and runs: the slash in their names makes no folder, a family lists its games."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

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


@pytest.mark.parametrize("game", ["open_spiel/kuhn_poker", "textarena/TicTacToe-v0", "pettingzoo/tictactoe_v3"])
def test_the_terminal_plays_it(game: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("play").main(["--game", game, "--seats", "random", "random", "--seed", "1"]) == 0
    assert "The game was played out" in capsys.readouterr().out


def test_importing_the_games_imports_no_other_library() -> None:
    code = "import sys, sparring.envs; print(sorted({'pyspiel', 'textarena', 'chess', 'rlcard'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
