"""The game that README.md shows, taken from there: it is short, keeps the contract, is played, and trains."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.envs import check_game, make
from sparring.selfplay import exploitability

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(marker: str) -> Iterator[str]:
    """Yield the code of each fenced block that follows the line `<!-- marker -->`."""
    for found in re.finditer(rf"^<!-- {marker} -->\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        yield found[1]


@pytest.fixture(scope="module")
def source() -> str:
    (code,) = blocks("own game")
    return code


@pytest.fixture(scope="module")
def name(source: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The game as scripts are told of it: `path/to/bluff.py:Bluff`."""
    file = tmp_path_factory.mktemp("own") / "bluff.py"
    file.write_text(source)
    return f"{file}:Bluff"


def script(file: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of our scripts from the root of the project."""
    command = [sys.executable, f"scripts/{file}", *arguments]
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, check=False)


def test_it_is_one_file_of_under_40_lines(source: str) -> None:
    assert len(source.splitlines()) < 40
    assert source.rstrip().endswith('register("Bluff-v0", Bluff)')


def test_it_keeps_the_contract(name: str) -> None:
    check_game(make(name))


@pytest.mark.parametrize(
    ("moves", "won"),
    [("2 believe", 2), ("3 doubt", 6), ("4 doubt", -4), ("1 doubt", 2)],
)
def test_its_rewards_are_what_its_rules_say(name: str, moves: str, won: float) -> None:
    game = make(name)
    state = ("3",)
    for move in moves.split():
        state = game.play(state, move)
    assert game.rewards(state) == (won, -won)


def test_its_exact_nashconv(name: str) -> None:
    """Worked by hand for the uniform policy, claims c against a die d, each 1 to 4.

    Seat 0 gets c when believed and 2c or -c when doubted: half of 3c for an honest claim, 0 for a lie. The best
    claim is the die itself: 1.5 * (1 + 2 + 3 + 4) / 4 = 3.75. The uniform policy itself is worth, over the ten
    honest pairs of sixteen, 1.5 * (4 * 1 + 3 * 2 + 2 * 3 + 1 * 4) / 16 = 1.875. Seat 1 sees claim c, honest with
    probability (5 - c) / 4: believing costs c, doubting c * (2h - (1 - h)) = c * (3h - 1), h that probability,
    so it doubts when h < 2/3: claims 3 (h = 1/2) and 4 (h = 1/4). It pays (1 + 2 + 3/2 - 1) / 4 = 0.875.
    """
    result = exploitability(make(name), lambda prompt: [1 / len(prompt.legal)] * len(prompt.legal))
    assert result.values[0] == pytest.approx(1.875, abs=1e-12)
    assert result.best_responses == (pytest.approx(3.75, abs=1e-12), pytest.approx(-0.875, abs=1e-12))
    assert result.nashconv == pytest.approx(3.75 - 0.875, abs=1e-12)


def test_two_agents_play_it(name: str) -> None:
    done = script("play.py", "--game", name, "--seats", "random", "random", "--games", "3", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The game was played out.") == 3
    assert "You rolled" in done.stdout
    assert "Player 0 claims" in done.stdout


def test_a_human_plays_it(name: str) -> None:
    """Whatever the die, claim 4; a first reply that is no move is taken back."""
    done = script("play.py", "--game", name, "--seats", "human", "random", stdin="[five]\n[4]\n")
    assert done.returncode == 0, done.stderr
    assert "You rolled" in done.stdout
    assert "not a legal move" in done.stdout
    assert "player 0 (human): [4]" in done.stdout
    assert "The game was played out." in done.stdout


def test_a_human_sees_nothing_of_the_other_seat(name: str) -> None:
    """The human is seat 1 and leaves before answering: the die must not have been printed."""
    done = script("play.py", "--game", name, "--seats", "random", "human", stdin="")
    assert done.returncode == 0, done.stderr
    assert "Player 0 claims" in done.stdout
    assert "You rolled" not in done.stdout
    assert "unfinished" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("--game", "KuhnPokr-v0"), "KuhnPoker-v0"),
        (("--seats", "randon", "random"), "random"),
        (("--seats", "random", "random", "--skin", "obfuscate"), "obfuscated"),
    ],
)
def test_an_unknown_name_suggests_the_near_one(arguments: tuple[str, ...], meant: str) -> None:
    done = script("play.py", *arguments)
    assert done.returncode == 2
    assert repr(meant) in done.stderr
    assert "Traceback" not in done.stderr


def test_it_trains(name: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = script("train.py", "--game", name, "--games", "400", "--warm_steps", "20", "--seed", "0", "--out", str(out))
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["games"] >= 400
    assert summary["nashconv"] >= 0.0


def test_the_tour_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks run in order, as one program; their asserts are what the README claims."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks("tour"))
    assert code
    exec(compile(code, "README.md", "exec"), {"__name__": "tour"})
