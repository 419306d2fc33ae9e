"""scripts/play.py as a person meets it: speech, refusals that may be taken back, endings that are no loss."""

from __future__ import annotations

import io
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "play.py"
# A game of speech: a whisper is refused, "help" breaks the game, and in `Judged` a judge must have the last word.
GAME = """
from sparring.envs import Case, Game, Refused, Void

class Speak(Game):
    rules = "Say one thing each, aloud."
    def deal(self, rng):
        return ()
    def seat(self, state):
        return len(state) if len(state) < 2 else None
    def observation(self, state, seat):
        return f"You are {seat}. Said: {' / '.join(state) or 'nothing'}."
    def legal(self, state):
        return None
    def speeches(self, state):
        return ("Good day.",)
    def play(self, state, move):
        if move == "help":
            raise Void("the roof came down")
        if move.islower():
            raise Refused("Speak up, with a capital letter.")
        return (*state, move)
    def rewards(self, state):
        return 0.0, 0.0
    def figures(self, state):
        return {"letters": float(len("".join(state)))}

class Judged(Speak):
    def case(self, state):
        return Case(question="Who?", answers=("0", "1")) if len(state) == 2 else None
"""

Terminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Run the script with typed lines; return its exit status, what it printed and its errors."""
    main = runpy.run_path(str(SCRIPT))["main"]
    monkeypatch.setenv("COLUMNS", "200")

    def run(lines: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        status = main(arguments)
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def speak(tmp_path: Path) -> str:
    file = tmp_path / "speak.py"
    file.write_text(GAME)
    return str(file)


def test_refused_speech_is_told_why_and_may_be_retried(terminal: Terminal, speak: str) -> None:
    status, printed, errors = terminal("\nhush\nHear me!\n", "--game", f"{speak}:Speak", "--seats", "human", "random")
    assert (status, errors) == (0, "")
    # An empty line is no speech and costs no try; the refused one does, and the game is not printed again.
    assert "Your reply had no public text." in printed
    assert "Speak up, with a capital letter. Tries left: 2." in printed
    assert printed.count("Say one thing each") == printed.count("Said: nothing.") == 1
    assert "player 0 (human): Hear me!\nplayer 1 (random): Good day.\n" in printed
    assert "The game was played out. Player 0: +0, player 1: +0." in printed
    assert "How it ended for player 0:\nYou are 0. Said: Hear me! / Good day." in printed


def test_speech_that_stays_refused_forfeits(terminal: Terminal, speak: str) -> None:
    lines = "hush\nhush\n"
    _, printed, _ = terminal(lines, "--game", f"{speak}:Speak", "--seats", "human", "random", "--retries", "1")
    assert "The game was forfeited by an illegal reply of player 0. Player 0: -1, player 1: +1." in printed
    assert printed.count("'hush' (illegal_move)") == 2
    assert "How it ended" not in printed


def test_a_void_game_says_why_and_is_nobodys_loss(terminal: Terminal, speak: str) -> None:
    status, printed, _ = terminal("help\n", "--game", f"{speak}:Speak", "--seats", "human", "random")
    assert status == 0
    assert "The game was void: the roof came down. Player 0: +0, player 1: +0." in printed
    assert "How it ended" not in printed


def test_a_game_without_its_judge_is_not_begun(terminal: Terminal, speak: str) -> None:
    """It used to be found out when both had spoken."""
    status, printed, errors = terminal("Hear me!\n", "--game", f"{speak}:Judged", "--seats", "human", "random")
    assert status == 2
    assert "Judged has no judge; make it with judge=" in errors
    assert "human>" not in printed


def test_a_person_who_judges_leaves_at_once_whatever_the_timeout(terminal: Terminal) -> None:
    judge = ["--judge", "words:human", "--judge-timeout", "60"]
    status, printed, errors = terminal("hm\n", "--game", "Debate-v0", "--seats", "random", "random", *judge)
    assert (status, errors) == (0, "")
    assert "left the game, which stays unfinished." in printed


def test_a_timeout_of_no_judge_is_refused(terminal: Terminal) -> None:
    status, _, errors = terminal("", "--game", "Debate-v0", "--seats", "random", "random", "--judge-timeout", "5")
    assert status == 2
    assert "--judge-timeout does nothing without --judge" in errors
    for wrong in ("0", "-1", "nan", "inf"):
        with pytest.raises(SystemExit):
            terminal("", "--judge", "rule", "--judge-timeout", wrong)


def test_a_person_negotiates(terminal: Terminal) -> None:
    lines = "I want it all.\nThe hats for me. [keep 0 0 0]\n" + "[accept]\n" * 9
    status, printed, _ = terminal(lines, "--game", "Negotiation-v0", "--seats", "human", "random", "--seed", "4")
    assert status == 0
    assert "Your reply had no move in square brackets." in printed
    assert 'Player 0: keep 0 0 0, saying "The hats for me."' in printed
    assert "player 0 (human): The hats for me. [keep 0 0 0]" in printed
    assert printed.count("Two players divide some items.") == 1
    assert "How it ended for player 0:" in printed


def test_a_person_learns_the_word_at_the_end(terminal: Terminal) -> None:
    lines = "crane\nqqqqq\n" + "house\n" * 5
    status, printed, _ = terminal(lines, "--game", "Wordle-v0", "--seats", "random", "human", "--seed", "2")
    assert status == 0
    assert "'qqqqq' is not a legal move now." in printed
    assert "How it ended for player 1:\nYou are player 1." in printed
    assert "The word was " in printed
