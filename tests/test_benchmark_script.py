"""scripts/benchmark.py as its users meet it: what it writes, what it refuses, what a kill and an interrupt leave."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sparring.selfplay.bench_text import STOPPED
from sparring.selfplay.page_html import esc
from sparring.selfplay.probe import Exploit

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
TWO = ("--agents", "random", "heuristic")
SMALL = (*TWO, "--pairs", "6", "--no-exact")
SUITE = ("--suite", "sparring-suite-v1", *TWO)

Main = Callable[..., int]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_script", ROOT / "scripts" / "benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def main(script: ModuleType) -> Main:
    """The script's `main` in this process, which spares it the imports."""
    return lambda *words: script.main([str(word) for word in words])


@pytest.fixture
def refuse(main: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs what must be refused before anything is played, and returns what is said."""

    def call(*words: str | Path) -> str:
        try:
            code = main(*words, "--out", tmp_path / "refused")
        except SystemExit as error:  # of argparse
            code = int(error.code or 0)
        assert code == 2
        log = tmp_path / "refused" / "log.jsonl"
        assert not log.exists() or len(log.read_text().splitlines()) == 1, "games were played before it was refused"
        return capsys.readouterr().err

    return call


def read(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


def timeless(out: Path) -> str:
    """The report but for how long moves took."""
    return json.dumps({key: value for key, value in read(out).items() if key != "timing"})


def records(path: Path) -> list[dict[str, Any]]:
    return [record for record in map(json.loads, path.read_text().splitlines()) if "pair" in record]


def test_a_benchmark_leaves_a_log_and_three_reports(main: Main, tmp_path: Path, capsys: Any) -> None:
    assert (
        main(*SMALL, "--games", "KuhnPoker-v0", "TicTacToe-v0", "--skins", "plain", "obfuscated", "--out", tmp_path)
        == 0
    )
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "report.json", "report.md", "report.html"}
    found = read(tmp_path)
    assert found["standings"]["pairs"] == len(records(tmp_path / "log.jsonl")) == 24
    assert {len(p["turns"]) > 0 for p in found["transcripts"]} == {True}
    assert found["standings"]["anchor"] == "random"
    assert capsys.readouterr().err == ""
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        for player, rating in found["standings"]["ratings"]["players"].items():
            assert player == "random" or f"{rating['elo']:+.0f}" in text


def test_a_terminal_of_80_columns_shows_the_tables_whole(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """One table of thirteen columns stood there as "pla... gam... dra..."."""
    monkeypatch.setenv("COLUMNS", "80")
    names = ["first-of-two-runs-with-long-names-1", "first-of-two-runs-with-long-names-2"]
    words = ("--agents", *(f"{name}=random" for name in names), "optimal", "--pairs", "4")
    assert main(*words, "--games", "KuhnPoker-v0", "TicTacToe-v0", "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    for title, heads in (("How games went", ("won", "drawn", "truncated", "void")), ("Replies", ("moves", "tokens a"))):
        lines = shown.split(f"{title} ")[1].split("───")[0]
        assert [head for head in ("player", *heads) if head not in lines] == []


def test_the_same_words_give_the_same_report_and_play_nothing_twice(main: Main, tmp_path: Path) -> None:
    main(*SMALL, "--out", tmp_path / "a", "--in-flight", "3")
    main(*SMALL, "--out", tmp_path / "b")
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    kept = records(tmp_path / "a" / "log.jsonl")
    main(*SMALL, "--out", tmp_path / "a")
    assert records(tmp_path / "a" / "log.jsonl") == kept
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    # What was played for another table is no part of this one.
    main(*SMALL, "--games", "Nim-v0", "KuhnPoker-v0", "--seed", "1", "--out", tmp_path / "a")
    main(*SMALL, "--out", tmp_path / "a")
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    main(*SMALL, "--seed", "1", "--out", tmp_path / "c")
    assert timeless(tmp_path / "c") != timeless(tmp_path / "b")


def test_after_an_outage_the_same_words_play_what_was_void(
    main: Main, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(prompts: Any) -> Any:
        raise ConnectionError("no route")

    def enter(word: str, settings: Any) -> Any:
        entrant = script_enter(word, settings)
        if word == "heuristic":
            entrant.agent.reply = unreachable
        return entrant

    script_enter = script.enter
    monkeypatch.setattr(script, "enter", enter)
    assert main(*SMALL, "--out", tmp_path / "a") == 1
    assert sum(read(tmp_path / "a")["standings"]["void"].values()) == 12
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "250")
    main(*SMALL, "--out", tmp_path / "b")
    logs = [tmp_path / name / "log.jsonl" for name in "ab"]
    main("--report", *logs, "--no-exact", "--out", tmp_path / "ab")
    assert read(tmp_path / "ab")["standings"] == read(tmp_path / "b")["standings"]
    assert main(*SMALL, "--out", tmp_path / "a") == 0
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")


MANY = (*TWO, "--games", "TicTacToe-v0", "KuhnPoker-v0", "--pairs", "150", "--in-flight", "2", "--no-exact")
HEARS_CTRL_C = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script. What a shell starts in the background is deaf to SIGINT, and so is whatever that starts in turn."""


def start(out: Path, lines: int) -> subprocess.Popen[str]:
    """Start a benchmark that takes a while, and return once its log has some lines."""
    command = [sys.executable, "-c", HEARS_CTRL_C, "scripts/benchmark.py", *MANY, "--out", str(out)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process: subprocess.Popen[str] = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, **pipes)  # type: ignore[call-overload]
    log, end = out / "log.jsonl", time.monotonic() + 120
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


@pytest.fixture(scope="module")
def unbroken(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    script.main([*MANY, "--out", str(out)])
    return out


def test_a_killed_benchmark_goes_on_to_the_same_report(main: Main, unbroken: Path, tmp_path: Path) -> None:
    process = start(tmp_path, 40)
    process.kill()
    process.communicate()
    before = (tmp_path / "log.jsonl").read_bytes()
    assert 40 <= before.count(b"\n") < 290
    assert not (tmp_path / "report.json").exists()
    assert main(*MANY, "--out", tmp_path) == 0
    after = (tmp_path / "log.jsonl").read_bytes()
    assert after.startswith(before[: before.rfind(b"\n") + 1]), "what was played was not played again"
    assert timeless(tmp_path) == timeless(unbroken)
    assert len(records(tmp_path / "log.jsonl")) == 300


def test_ctrl_c_shows_the_table_of_what_was_played(main: Main, unbroken: Path, tmp_path: Path) -> None:
    process = start(tmp_path, 40)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted; this is what was played" in shown
    assert "Ratings, all games" in shown
    found = read(tmp_path)
    assert found["interrupted"] is True
    assert 39 <= found["standings"]["pairs"] < 290
    # The signal may come between two bytecodes, after a line was written and before it is counted.
    assert len(records(tmp_path / "log.jsonl")) - found["standings"]["pairs"] in (0, 1)
    assert main(*MANY, "--out", tmp_path) == 0
    assert timeless(tmp_path) == timeless(unbroken)


def test_no_pair_that_is_over_waits_for_a_longer_game_before_it(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs were written in the order of the plan: Ctrl-C, and a kill, lost 40 that waited for one game."""
    from sparring.agents import RandomAgent

    words = ("--agents", "random", "r2=random", "--games", "ConnectFour-v0", "KuhnPoker-v0", "--pairs", "10")
    calls, reply, written = [0], RandomAgent.reply, []

    def slow(agent: Any, prompts: Any) -> Any:
        calls[0] += 1
        # A wave asks both, and a game of Kuhn poker ends within three.
        if calls[0] == 8:
            written.extend(records(tmp_path / "log.jsonl"))
            raise KeyboardInterrupt
        return reply(agent, prompts)

    monkeypatch.setattr(RandomAgent, "reply", slow)
    assert main(*words, "--no-exact", "--out", tmp_path) == 130
    assert {tuple(record["pair"][1:2]) for record in written} == {("KuhnPoker-v0",)}
    assert len(written) == 10
    assert read(tmp_path)["standings"]["pairs"] == 10
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "250")
    assert main(*words, "--no-exact", "--out", tmp_path) == 0
    assert main(*words, "--no-exact", "--out", tmp_path / "unbroken") == 0
    assert timeless(tmp_path) == timeless(tmp_path / "unbroken")
    assert len(records(tmp_path / "log.jsonl")) == 20


def test_an_interrupted_test_counts_no_pair_behind_a_gap(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there because their games were short."""
    from sparring.agents import RandomAgent

    players, games = ("random", "r2=random"), ("ConnectFour-v0", "KuhnPoker-v0")
    words = ("--agents", *players, "--games", *games, "--pairs", "10", "--no-exact", "--sprt", "0", "50")
    calls, reply = [0], RandomAgent.reply

    def leaves(agent: Any, prompts: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return reply(agent, prompts)

    monkeypatch.setattr(RandomAgent, "reply", leaves)
    assert main(*words, "--out", tmp_path) == 130
    found = read(tmp_path)
    assert (found["sprt"]["pairs"], found["standings"]["pairs"]) == (0, 0)
    # Of the 32 games in flight.
    assert len(records(tmp_path / "log.jsonl")) == 8
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "250")
    assert main("--report", tmp_path / "log.jsonl", "--no-exact", "--out", tmp_path / "again") == 1
    assert read(tmp_path / "again")["sprt"] == found["sprt"]
    assert main(*words, "--out", tmp_path) == 0
    assert main(*words, "--out", tmp_path / "unbroken") == 0
    assert timeless(tmp_path) == timeless(tmp_path / "unbroken")


@pytest.mark.parametrize("slow", ["exact", "regrets", "transcripts"])
def test_ctrl_c_while_the_report_is_made_shows_what_was_played(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, slow: str
) -> None:
    """Solving games comes after play and may take minutes; who had enough of it saw no table at all."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"sparring.selfplay.bench.{slow}", interrupted)
    assert main(*TWO, "--pairs", "6", "--out", tmp_path) == 130
    assert "Ratings, all games" in capsys.readouterr().out
    assert "exact figures, regret and transcripts are left out" in (tmp_path / "report.md").read_text()
    found = read(tmp_path)
    assert (found["interrupted"], found["exact"], found["regret"], found["transcripts"]) == (True, {}, {}, [])
    assert found["standings"]["pairs"] == 6
    monkeypatch.undo()
    assert main("--report", tmp_path / "log.jsonl", "--out", tmp_path) == 0
    assert read(tmp_path)["exact"]["KuhnPoker-v0"]["random"]["nashconv"] > 0


def test_exploiters_train_behind_the_report_and_what_they_found_is_kept(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Nothing was on the disk before the last of them was done, and all trained again when it was called again."""
    trained: list[str] = []

    def exploit(game: Any, target: Any, **_: Any) -> Exploit:
        assert read(tmp_path)["standings"]["pairs"] == 6
        trained.append(target.name)
        if trained == ["random", "heuristic"]:
            raise KeyboardInterrupt
        return Exploit([0.0, 1.0, 0.5], 0.25)

    monkeypatch.setattr("sparring.selfplay.probe.exploit", exploit)
    words = (*SMALL, "--probe", "40", "--level", "0.5", "--out", tmp_path)
    assert main(*words) == 130
    shown = capsys.readouterr().out
    assert "an exploiter of random in KuhnPoker-v0 wins +0.500 (" in shown
    assert "a game; 25% of its replies were illegal" in shown
    (kept,) = read(tmp_path)["probe"]
    assert (kept["player"], kept["pairs"], read(tmp_path)["interrupted"]) == ("random", 3, True)
    assert main(*words) == 0
    assert trained == ["random", "heuristic", "heuristic"]
    assert [found["player"] for found in read(tmp_path)["probe"]] == ["random", "heuristic"]
    assert read(tmp_path)["probe"][0] == kept
    # Student's t of 2 degrees at 50 %: 0.816 times 0.5 / sqrt(3).
    assert kept["reward"]["high"] == pytest.approx(0.5 + 0.8165 * 0.5 / 3**0.5, abs=1e-3)
    assert "A fresh exploiter" in (tmp_path / "report.md").read_text()
    for name in ("report.md", "report.html"):
        assert (tmp_path / name).read_text().count("25% of its replies were illegal") == 2


def test_exploiters_that_fail_did_not_work(main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them failed, with exit code 0."""

    def exploit(*_: Any, **__: Any) -> Exploit:
        raise RuntimeError("no memory")

    monkeypatch.setattr("sparring.selfplay.probe.exploit", exploit)
    assert main(*SMALL, "--probe", "40", "--out", tmp_path) == 1
    told = (tmp_path / "report.md").read_text().split("What did not work")[1]
    assert "| exploiter | of random in KuhnPoker-v0 | RuntimeError: no memory |" in told


def test_a_report_lies_beside_its_log(main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """It overwrote that of runs/benchmark, whatever log it was of."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        main(*SMALL, "--out", tmp_path / name)
    (tmp_path / "a" / "report.json").unlink()
    assert main("--report", tmp_path / "a" / "log.jsonl", "--no-exact") == 0
    assert read(tmp_path / "a")["standings"]["pairs"] == 6
    capsys.readouterr()
    assert main("--report", Path("a", "log.jsonl"), Path("b", "log.jsonl"), "--no-exact") == 2
    assert "a, b are several folders; give --out for the report" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_log_without_games_is_said_to_be(main: Main, tmp_path: Path, capsys: Any) -> None:
    """Its reason was empty."""
    main(*SMALL, "--out", tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    capsys.readouterr()
    assert main("--report", log, "--no-exact") == 1
    assert capsys.readouterr().err == "benchmark.py: there is no pair of games to report\n"


def test_a_single_pair_is_called_so_and_makes_nothing_certain(main: Main, tmp_path: Path) -> None:
    words = ("--agents", "a=optimal", "b=optimal", "--games", "TicTacToe-v0", "--pairs", "1", "--level", "0.996")
    assert main(*words, "--no-exact", "--out", tmp_path) == 0
    text = (tmp_path / "report.md").read_text()
    assert "1 pair of games: one deal, both seats. Intervals are of 99.6%, by pair." in text
    assert "| a | unknown | no bound to no bound |" in text
    assert STOPPED not in text
    assert "99.6%, by pair" in (tmp_path / "report.html").read_text()


def test_a_sequential_test_stops_as_soon_as_it_is_decided(main: Main, tmp_path: Path) -> None:
    words = (*TWO, "--games", "TicTacToe-v0", "--pairs", "500", "--sprt", "0", "50", "--no-exact")
    assert main(*words, "--out", tmp_path) == 0
    found = read(tmp_path)
    test = found["sprt"]
    assert (test["a"], test["b"], test["decision"]) == ("random", "heuristic", "better")
    assert test["pairs"] == found["standings"]["pairs"] <= len(records(tmp_path / "log.jsonl")) < 100
    assert test["llr"] >= test["limits"][1]
    text = (tmp_path / "report.md").read_text()
    assert "Yes: the games speak for heuristic" in text
    assert STOPPED in text
    assert esc(STOPPED) in (tmp_path / "report.html").read_text()
    kept = timeless(tmp_path)
    assert main(*words, "--out", tmp_path) == 0
    assert timeless(tmp_path) == kept
    turned = ("--agents", "heuristic", "random", *words[3:])
    assert main(*turned, "--out", tmp_path / "turned") == 0
    assert read(tmp_path / "turned")["sprt"]["decision"] == "not better"


def test_games_that_are_over_when_a_test_is_decided_are_written_down(main: Main, tmp_path: Path) -> None:
    """They were thrown away, up to 256 of them, and played again by whoever went on."""
    words = (*TWO, "--games", "TicTacToe-v0", "--pairs", "60", "--no-exact")
    assert main(*words, "--sprt", "0", "50", "--out", tmp_path) == 0
    test, kept = read(tmp_path)["sprt"], records(tmp_path / "log.jsonl")
    assert test["pairs"] < len(kept) <= test["pairs"] + 16, "no more than were in flight"
    assert set(range(test["pairs"])) <= {record["pair"][4] for record in kept}
    # They say nothing to a test that has not come to them: those between are of longer games.
    assert main(*words, "--sprt", "0", "1", "--out", tmp_path) == 0
    assert main(*words, "--sprt", "0", "1", "--out", tmp_path / "fresh") == 0
    assert timeless(tmp_path) == timeless(tmp_path / "fresh")
    assert main(*words, "--out", tmp_path) == 0
    assert main(*words, "--out", tmp_path / "all") == 0
    assert timeless(tmp_path) == timeless(tmp_path / "all")
    assert {record["pair"][4]: record for record in kept}.items() <= {
        record["pair"][4]: record for record in records(tmp_path / "log.jsonl")
    }.items()
    assert len(records(tmp_path / "log.jsonl")) == 60


def test_everybody_meets_the_baseline_only(main: Main, tmp_path: Path) -> None:
    assert main(*SMALL[:3], "optimal", *SMALL[3:], "--baseline", "optimal", "--out", tmp_path) == 0
    assert {tuple(r["pair"][2:4]) for r in records(tmp_path / "log.jsonl")} == {
        ("heuristic", "optimal"),
        ("optimal", "random"),
    }
    assert read(tmp_path)["standings"]["metagame"] is None


def test_the_judge_of_debates_is_chosen_and_named(main: Main, tmp_path: Path) -> None:
    players = ("--agents", "random", "other=random", "--pairs", "6", "--no-exact")
    words = (*players, "--games", "Debate-v0", "--out")
    assert main(*words, tmp_path / "a", "--judge", "words:random") == 0
    found = read(tmp_path / "a")
    assert found["games"]["Debate-v0"]["judge"]["name"] == "words:random"
    assert found["notes"] == ["Judge of Debate-v0: words:random."]
    assert "Judge of Debate-v0: words:random." in (tmp_path / "a" / "report.md").read_text()
    assert main(*words, tmp_path / "a") == 2
    assert main(*words, tmp_path / "b") == 0
    assert read(tmp_path / "b")["notes"] == ["Judge of Debate-v0: rule."]
    assert main("--report", tmp_path / "a" / "log.jsonl", tmp_path / "b" / "log.jsonl", "--out", tmp_path / "c") == 2
    both = (*players, "--games", "Debate-v0?judge=rule", "Debate-v0?judge=words:random", "--out", tmp_path / "d")
    assert main(*both) == 0
    assert [about["judge"]["name"] for about in read(tmp_path / "d")["games"].values()] == ["rule", "words:random"]


def test_that_the_default_anchor_does_not_play_is_said(main: Main, tmp_path: Path) -> None:
    words = ("--agents", "optimal", "heuristic", "--pairs", "4", "--no-exact")
    main(*words, "--out", tmp_path / "a")
    note = "random, who would be at 0, has played no game that counts: the mean of the ratings is at 0."
    assert read(tmp_path / "a")["notes"] == [note]
    assert note in (tmp_path / "a" / "report.md").read_text()
    main(*words, "--anchor", "optimal", "--out", tmp_path / "b")
    assert read(tmp_path / "b")["notes"] == []
    assert read(tmp_path / "b")["standings"]["anchor"] == "optimal"


def test_logs_are_reported_together_whatever_their_order(main: Main, tmp_path: Path) -> None:
    main(*SMALL, "--out", tmp_path / "a")
    main(*SMALL, "--seed", "1", "--games", "KuhnPoker-v0", "Nim-v0", "--out", tmp_path / "b")
    logs = [tmp_path / name / "log.jsonl" for name in "ab"]
    for name, order in (("ab", logs), ("ba", [*logs[::-1], logs[0]])):
        assert main("--report", *order, "--no-exact", "--out", tmp_path / name) == 0
    assert timeless(tmp_path / "ab") == timeless(tmp_path / "ba")
    found = read(tmp_path / "ab")
    assert found["standings"]["pairs"] == 18
    assert found["seeds"] == [0, 1]
    assert set(found["games"]) == {"KuhnPoker-v0", "Nim-v0"}
    assert {game["game"] for game in found["transcripts"]} == {"KuhnPoker-v0", "Nim-v0"}
    assert not (tmp_path / "ab" / "log.jsonl").exists()


def test_versions_are_those_of_the_games_and_a_difference_is_said(main: Main, tmp_path: Path) -> None:
    """A report spoke of the versions that made it, whatever had played."""
    main(*SMALL, "--out", tmp_path / "a")
    log = tmp_path / "a" / "log.jsonl"
    first, rest = log.read_text().split("\n", 1)
    old = json.loads(first)
    old["versions"]["torch"] = "0.4"
    unmarked = [json.dumps({k: v for k, v in json.loads(line).items() if k != "header"}) for line in rest.splitlines()]
    log.write_text("\n".join([json.dumps(old), *unmarked, ""]))
    main("--report", log, "--no-exact", "--out", tmp_path / "b")
    assert read(tmp_path / "b")["versions"]["torch"] == "0.4"
    main(*SMALL, "--out", tmp_path / "a")
    assert read(tmp_path / "a")["versions"]["torch"] == "0.4"
    assert not any("versions" in note for note in read(tmp_path / "a")["notes"])
    main(*SMALL, "--pairs", "7", "--out", tmp_path / "a")
    now = json.loads(log.read_text().splitlines()[-2])["versions"]["torch"]
    assert read(tmp_path / "a")["versions"]["torch"] == f"0.4, {now}"
    note = f"Not all games were played with the same versions: torch 0.4 and {now}."
    assert note in (tmp_path / "a" / "report.md").read_text()


def test_a_report_of_a_log_is_that_of_its_run(main: Main, tmp_path: Path, refuse: Any) -> None:
    """Without --agents it had no players, no exact figures and none that were broken, and no sequential test."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")
    words = ("--agents", "random", "heuristic", "optimal", f"gone={tmp_path / 'model'}", "--pairs", "6")
    assert main(*words, "--games", "TicTacToe-v0", "KuhnPoker-v0", "--out", tmp_path / "a") == 1
    log = tmp_path / "a" / "log.jsonl"
    assert main("--report", log, "--out", tmp_path / "b") == 1
    ran, reported = read(tmp_path / "a"), read(tmp_path / "b")
    assert reported["agents"] == ran["agents"]
    assert reported["agents"]["gone"]["broken"]
    assert reported["exact"] == ran["exact"]
    assert reported["exact"]["KuhnPoker-v0"]["random"]["nashconv"] > 0
    assert reported["standings"]["players"] == ran["standings"]["players"]
    assert reported["versions"] == ran["versions"]
    assert "'random' is not the same as before" in refuse("--report", log, "--agents", "random=optimal")
    assert "'randm' has not entered. Did you mean 'random'?" in refuse("--report", log, "--anchor", "randm")
    assert "give --agents A B, not random, heuristic, optimal, gone" in refuse("--report", log, "--sprt", "0", "50")


def test_a_sequential_test_is_made_again_from_its_log(main: Main, tmp_path: Path, refuse: Any) -> None:
    words = (*TWO, "--games", "TicTacToe-v0", "KuhnPoker-v0", "--pairs", "40", "--no-exact")
    assert main(*words, "--sprt", "0", "80", "--out", tmp_path / "a") == 0
    log = tmp_path / "a" / "log.jsonl"
    assert main("--report", log, "--no-exact", "--sprt", "0", "80", "--out", tmp_path / "b") == 0
    assert read(tmp_path / "b")["sprt"] == read(tmp_path / "a")["sprt"]
    turned = ("--agents", "heuristic", "random", "--sprt", "0", "80", "--no-exact")
    assert main("--report", log, *turned, "--out", tmp_path / "c") == 0
    assert read(tmp_path / "c")["sprt"]["b"] == "random"
    assert read(tmp_path / "c")["sprt"]["llr"] < 0 < read(tmp_path / "a")["sprt"]["llr"]
    others = ("--report", log, "--agents", "random", "optimal", "--sprt", "0", "80")
    assert "these logs have no game of random against optimal" in refuse(*others)


def of_games(found: dict[str, Any]) -> dict[str, Any]:
    """What a report says of games, whatever their order."""
    table = found["standings"]
    return {key: table[key] for key in ("pairs", "players", "players_by_game", "void")} | {"sprt": found.get("sprt")}


@pytest.mark.parametrize("more", [(), ("--sprt", "0", "50")])
def test_a_report_of_a_tests_log_says_what_its_run_said(main: Main, tmp_path: Path, more: tuple[str, ...]) -> None:
    """It counted pairs that were over behind the one that decided: those of short games."""
    words = (*TWO, "--games", "TicTacToe-v0", "KuhnPoker-v0", "--pairs", "60", "--no-exact")
    assert main(*words, "--sprt", "0", "50", "--out", tmp_path / "a") == 0
    log, ran = tmp_path / "a" / "log.jsonl", read(tmp_path / "a")
    assert ran["standings"]["pairs"] < len(records(log)), "pairs that are kept behind the decision"
    assert main("--report", log, *more, "--no-exact", "--out", tmp_path / "b") == 0
    assert of_games(read(tmp_path / "b")) == of_games(ran)
    assert ran["sprt"]["decision"] == "better"
    # Other bounds cannot count what is behind the decision either.
    assert main("--report", log, "--sprt", "0", "1", "--no-exact", "--out", tmp_path / "c") == 0
    assert read(tmp_path / "c")["sprt"]["pairs"] == read(tmp_path / "c")["standings"]["pairs"] == ran["sprt"]["pairs"]
    # A log that holds all of them beside it does.
    assert main(*words, "--out", tmp_path / "d") == 0
    both = ("--report", log, tmp_path / "d" / "log.jsonl")
    assert main(*both, "--no-exact", "--out", tmp_path / "e") == 0
    assert of_games(read(tmp_path / "e")) == of_games(read(tmp_path / "d"))
    assert main("--report", log, log, "--no-exact", "--out", tmp_path / "f") == 0
    assert of_games(read(tmp_path / "f")) == of_games(ran)


def test_a_log_of_before_tests_said_so_is_tested_in_order(main: Main, tmp_path: Path) -> None:
    words = (*TWO, "--games", "TicTacToe-v0", "KuhnPoker-v0", "--pairs", "60", "--no-exact")
    assert main(*words, "--sprt", "0", "50", "--out", tmp_path / "a") == 0
    log, ran = tmp_path / "a" / "log.jsonl", read(tmp_path / "a")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    del lines[0]["sprt"]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main("--report", log, "--sprt", "0", "50", "--no-exact", "--out", tmp_path / "b") == 0
    assert of_games(read(tmp_path / "b")) == of_games(ran)
    # A pair that is missing ends it: those behind it were not waited for.
    gone = [n for n, line in enumerate(lines) if line.get("pair", [0] * 5)[4] == 2]
    gone.sort(key=lambda n: lines[n]["pair"][1], reverse=True)
    for missing, pairs in zip(gone, (4, 5), strict=True):
        log.write_text("".join(json.dumps(line) + "\n" for n, line in enumerate(lines) if n != missing))
        assert main("--report", log, "--sprt", "0", "50", "--no-exact", "--out", tmp_path / "c") == 0
        assert read(tmp_path / "c")["sprt"]["pairs"] == pairs


def test_a_report_of_a_log_tells_what_exploiters_won(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They trained for hours, and --report said nothing of it."""
    fails = [True]

    def exploit(game: Any, target: Any, **_: Any) -> Exploit:
        if target.name == "heuristic" and fails:
            raise RuntimeError(fails.pop())
        return Exploit([0.0, 1.0, 0.5], 0.25)

    monkeypatch.setattr("sparring.selfplay.probe.exploit", exploit)
    words = (*SMALL, "--probe", "40", "--level", "0.5", "--out", tmp_path / "a")
    log = tmp_path / "a" / "log.jsonl"
    for _ in range(2):
        main(*words)
        main("--report", log, log, "--level", "0.5", "--no-exact", "--out", tmp_path / "b")
        assert read(tmp_path / "b")["probe"] == read(tmp_path / "a")["probe"]
    assert [found["player"] for found in read(tmp_path / "b")["probe"]] == ["random", "heuristic"]
    assert "A fresh exploiter" in (tmp_path / "b" / "report.md").read_text()
    # Of a player that has the name alone there is nothing to tell.
    kept = tmp_path / "a" / "probe.jsonl"
    kept.write_text(kept.read_text().replace("HeuristicAgent", "RandomAgent"))
    main("--report", log, "--no-exact", "--out", tmp_path / "b")
    assert [found["player"] for found in read(tmp_path / "b")["probe"]] == ["random"]
    kept.write_text("{}\n")
    main("--report", log, "--no-exact", "--out", tmp_path / "b")
    assert "probe" not in read(tmp_path / "b")
    assert any("What exploiters won is not told" in note for note in read(tmp_path / "b")["notes"])


def test_a_log_of_other_players_is_not_gone_on_with(main: Main, refuse: Any, tmp_path: Path) -> None:
    out = tmp_path / "refused"
    out.mkdir()
    (out / "log.jsonl").write_text('{"format": 1, "games": {}, "players": {"random": {"kind": "Other"}}}\n')
    said = refuse(*SMALL)
    assert "'random' is not the same as before" in said
    assert "take another file, or another name" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agents", "randm", "optimal"], "Did you mean 'random'?"),
        ([*SMALL, "--games", "KuhnPokr-v0"], "Did you mean 'KuhnPoker-v0'?"),
        ([*SMALL, "--games", "LiarsDice-v0?dise=2"], "Did you mean 'dice'?"),
        ([*SMALL, "--skins", "obfuscate"], "Did you mean 'obfuscated'?"),
        ([*SMALL, "--suite", "sparring-suite-v9"], "Did you mean 'sparring-suite-v1'?"),
        ([*SMALL, "--baseline", "optimal"], "--baseline: 'optimal' has not entered. Known: heuristic, random."),
        ([*SMALL, "--baseline", "randm"], "--baseline: 'randm' has not entered. Did you mean 'random'?"),
        ([*SMALL, "--anchor", "heuristc"], "--anchor: 'heuristc' has not entered. Did you mean 'heuristic'?"),
        ([*SMALL, "--judge", "rule"], "no game here asks a judge: leave judge 'rule' out"),
        ([*SMALL, "--games", "Debate-v0", "--judge", "rul"], "Did you mean 'rule'?"),
        (["--agents", "random"], "give at least two players"),
        (["--agents", "random", "random"], "two players are called 'random'"),
        ([*SMALL, "--pairs", "0"], "--pairs must be 1 or more, not 0"),
        ([*SMALL, "--pairs", "-3"], "--pairs must be 1 or more, not -3"),
        ([*SUITE, "--pairs", "1"], "--pairs: sparring-suite-v1 sets that itself; leave it out"),
        ([*SUITE, "--seed", "0", "--retries", "0"], "--seed, --retries: sparring-suite-v1 sets that itself"),
        ([*SUITE, "--games", "Nim-v0", "--skins", "plain"], "--games, --skins: sparring-suite-v1 sets that itself"),
        ([*SUITE, "--sprt", "0", "50"], "--sprt: sparring-suite-v1 is played whole, and a test stops early"),
        ([*SUITE, "--baseline", "random"], "--baseline: sparring-suite-v1 sets that itself"),
        ([*SUITE, "--anchor", "random", "--hide-legal"], "--hide-legal, --anchor: sparring-suite-v1 sets that itself"),
        ([*SMALL, "--seed", "-1"], "--seed must be 0 or more, not -1"),
        ([*SMALL, "--retries", "-1"], "--retries must be 0 or more, not -1"),
        ([*SMALL, "--in-flight", "0"], "--in-flight must be 1 or more, not 0"),
        ([*SMALL, "--probe", "-5"], "--probe must be 0 or more, not -5"),
        ([*SMALL, "--max-new-tokens", "0"], "--max-new-tokens must be 1 or more, not 0"),
        ([*SMALL, "--temperature", "nan"], "--temperature must be 0 or more, not nan"),
        ([*SMALL, "--concurrency", "4", "--timeout", "9"], "--concurrency, --timeout: no player here is on a server"),
        ([*SMALL, "--endpoint-retries", "0"], "--endpoint-retries: no player here is on a server"),
        ([*SMALL, "--prices", "1,2"], "--prices: no player here is on a server"),
        (["--report", "x", "--timeout", "9"], "--timeout: --report plays nothing"),
        ([*SMALL, "--level", "95"], "--level must lie between 0 and 1, as 0.95 does, not 95.0"),
        ([*SMALL, "--level", "0"], "--level must lie between 0 and 1"),
        ([*SMALL, "--sprt", "50", "0"], "the second bound must be above the first"),
        ([*SMALL, "--sprt", "0", "inf"], "--sprt takes two numbers"),
        ([*SMALL, "--sprt", "0", "9", "--skins", "plain", "obfuscated"], "--sprt takes one skin"),
        ([*SMALL, "--sprt", "0", "9", "--games", "Nim-v0", "Nim-v0?skin=obfuscated"], "--sprt takes one skin"),
        ([*SMALL, "--games", "LiarsDice-v0", "LiarsDice-v0?faces=6"], "are one game, LiarsDice-v0; name it once"),
        (["--agents", "random", "heuristic", "optimal", "--sprt", "0", "9"], "the second of two agents"),
        ([*SMALL, "--pairs", "many"], "invalid int value: 'many'"),
        ([*SMALL, "--agnets", "x"], "unrecognized arguments: --agnets"),
        (["--report", "no/such/log.jsonl"], "no/such/log.jsonl"),
        (["--report", "x", "--probe", "9", "--baseline", "random"], "--baseline, --probe: --report plays nothing"),
        (["--report", "x", "--pairs", "9", "--seed", "0"], "--pairs, --seed: --report plays nothing"),
        (["--report", "x", "--skins", "plain"], "--skins: the logs say how their games were worded"),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:40],
)
def test_what_cannot_be_is_refused_before_anything_is_played(refuse: Any, words: list[str], said: str) -> None:
    error = refuse(*words)
    assert said in error
    assert "Traceback" not in error


def test_what_cannot_be_loaded_is_said_and_the_others_play(main: Main, tmp_path: Path, capsys: Any) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{")
    words = (*SMALL[:3], f"mine={model}", *SMALL[3:], "--games", "KuhnPoker-v0", "Nim-v0", "--skins", "plain")
    assert main(*words, "--out", tmp_path / "out") == 1
    found = read(tmp_path / "out")
    assert found["standings"]["pairs"] == 12
    assert found["agents"]["mine"]["broken"]
    assert "What did not work" in capsys.readouterr().out
    assert "mine" in (tmp_path / "out" / "report.md").read_text().split("What did not work")[1]


def test_a_game_whose_library_is_missing_is_said_and_the_others_are_played(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparring.envs import registry

    family = registry.Family("lacking", "no_such_package.games:Games", "no_such_package", "lacking")
    monkeypatch.setitem(registry._FAMILIES, "lacking", family)
    assert main(*SMALL, "--games", "lacking/go", "KuhnPoker-v0", "--out", tmp_path) == 1
    text = (tmp_path / "report.md").read_text().split("What did not work")[1]
    assert "lacking/go" in text
    assert "pip install 'sparring[lacking]'" in text
    assert read(tmp_path)["standings"]["pairs"] == 6


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A suite of nothing much, as words."""
    from sparring.selfplay import suites

    small = suites.Suite(
        name="small",
        games=("KuhnPoker-v0",),
        skins=("plain", "obfuscated"),
        opponents=("random", "optimal"),
        pairs=3,
        seed=77,
        retries=1,
        show_legal=False,
        anchor="optimal",
    )
    monkeypatch.setitem(suites.SUITES, "small", small)
    return ("--suite", "small", "--no-exact")


def test_a_suite_is_played_as_it_says(main: Main, tmp_path: Path, small: tuple[str, ...]) -> None:
    assert main(*small, "--agents", "heuristic", "random", "--out", tmp_path) == 0
    found = read(tmp_path)
    assert (found["seeds"], found["retries"], found["standings"]["anchor"]) == ([77], [1], "optimal")
    assert list(found["agents"]) == ["random", "optimal", "heuristic"]
    assert found["standings"]["pairs"] == 3 * 3 * 2
    assert len(found["suite"]["hash"]) == 16
    assert "Legal moves" not in found["transcripts"][0]["turns"][0]["prompt"]
    assert main(*small, "--report", tmp_path / "log.jsonl", "--out", tmp_path / "again") == 0
    assert read(tmp_path / "again")["suite"] == found["suite"]


def test_only_the_whole_suite_has_its_hash(main: Main, tmp_path: Path, small: tuple[str, ...]) -> None:
    """The hash stood on any log, and on a run of one pair."""
    main(*small, "--out", tmp_path)
    log, part = tmp_path / "log.jsonl", tmp_path / "part.jsonl"

    def said(text: str) -> str:
        part.write_text(text)
        assert main(*small, "--report", part, "--out", tmp_path / "out") == 0
        assert "suite" not in read(tmp_path / "out")
        assert "manifest" not in (tmp_path / "out" / "report.md").read_text()
        (note,) = (note for note in read(tmp_path / "out")["notes"] if "Suite small" in note)
        assert note in (tmp_path / "out" / "report.md").read_text()
        assert "Suite small" in (tmp_path / "out" / "report.html").read_text()
        return note

    lines = log.read_text().splitlines(keepends=True)
    assert "incomplete: 5 of 6 pairs" in said("".join(lines[:-1]))
    words = ("--agents", "random", "optimal", "--skins", "plain", "obfuscated", "--hide-legal", "--no-exact")
    for number, (more, why) in enumerate(
        [
            (("--pairs", "3", "--seed", "78", "--retries", "1"), "it has seed 77 and retries 1, not 78 and 1"),
            (("--pairs", "3", "--seed", "77"), "it has seed 77 and retries 1, not 77 and 0"),
            (("--pairs", "4", "--seed", "77", "--retries", "1"), "it has 3 pairs"),
        ]
    ):
        main(*words, *more, "--out", tmp_path / str(number))
        assert f"this is not the suite: {why}" in said((tmp_path / str(number) / "log.jsonl").read_text())
    other = lines[0].replace("OptimalAgent", "RandomAgent")
    assert "this is not the suite: the log: 'optimal' is not the same" in said("".join([other, *lines[1:]]))
    main(*SMALL, "--games", "Nim-v0", "--out", tmp_path / "nim")
    assert "this is not the suite: it has no Nim-v0" in said((tmp_path / "nim" / "log.jsonl").read_text())


@pytest.mark.parametrize("changed", ["prompt", "reply", "rewards", "turns"])
def test_games_that_other_opponents_played_have_no_hash(
    main: Main, tmp_path: Path, small: tuple[str, ...], changed: str
) -> None:
    """A log of an optimal player that was mended since had the hash of the one that plays now."""
    assert main(*small, "--out", tmp_path) == 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    game = next(line for line in lines if line.get("pair", [0] * 5)[1:] == ["KuhnPoker-v0", "optimal", "random", 1])[
        "games"
    ][1]
    if changed == "rewards":
        game["rewards"] = [3.0, -3.0]
    elif changed == "turns":
        del game["turns"][-1]
    else:
        game["turns"][0][changed] = "other"
    part = tmp_path / "part.jsonl"
    part.write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(*small, "--report", part, "--out", tmp_path / "out")
    found = read(tmp_path / "out")
    assert "suite" not in found
    said = next(note for note in found["notes"] if note.startswith("Suite small, but this is not the suite: pair 1 of"))
    assert {
        "prompt": "from turn 0 of game 2 on, by the prompt",
        "reply": "from turn 0 of game 2 on, by the reply",
        "rewards": "did not end as it does here",
        "turns": "of game 2 on, by the prompt",
    }[changed] in said


def test_games_of_another_source_are_said_to_be(main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One version number stands for many states of the source, between which a built-in player may have changed."""
    main(*SMALL, "--out", tmp_path)
    monkeypatch.setattr("sparring.selfplay.versions.source_digest", lambda: "0" * 12)
    main(*SMALL, "--pairs", "7", "--out", tmp_path)
    (note,) = (note for note in read(tmp_path)["notes"] if "versions" in note)
    assert re.fullmatch(rf"Not all games were played with the same versions: source {'0' * 12} and \w{{12}}\.", note)


BROKEN = """
from sparring.envs.kuhn import KuhnPoker

class Falls(KuhnPoker):
    name = "Falls"
    def play(self, state, move):
        raise RuntimeError("the table fell over")

class Unmade(KuhnPoker):
    def __init__(self, **settings):
        raise RuntimeError("no wood")

class Ruleless(KuhnPoker):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.rules = None
"""


def test_a_game_that_breaks_is_said_and_the_others_are_rated(main: Main, tmp_path: Path) -> None:
    """Two cannot be made, one raises in play and so in every look at its tree: the table is of the last."""
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    games = ("--games", f"{path}:Falls", f"{path}:Unmade", f"{path}:Ruleless", "KuhnPoker-v0")
    assert main(*TWO, *games, "--pairs", "4", "--out", tmp_path / "out") == 1
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "no wood" in found["games"][f"{path}:Unmade"]["broken"]
    assert "TypeError" in found["games"][f"{path}:Ruleless"]["broken"]
    assert "the table fell over" in found["exact"][f"{path}:Falls"]["none"]
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()[1:]]
    endings = {(record["pair"][1], game["ending"]) for record in log for game in record["games"]}
    assert endings == {(f"{path}:Falls", "void"), ("KuhnPoker-v0", "played")}


@pytest.mark.parametrize("changed", ["prompt", "seat", "reply"])
def test_a_game_that_does_not_replay_is_said_and_the_tables_stand(main: Main, tmp_path: Path, changed: str) -> None:
    """One prompt that was not as recorded lost the report of all games."""
    words = (*SMALL, "--games", "TicTacToe-v0", "Nim-v0", "--out", tmp_path)
    main(*words)
    before, log = read(tmp_path), tmp_path / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    pair = [0, "TicTacToe-v0", "heuristic", "random", 0]
    first = next(line for line in lines if line.get("pair") == pair)["games"][0]["turns"][0]
    first[changed] = {"prompt": "0" * 16, "seat": 1, "reply": "pass"}[changed]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main("--report", log, "--no-exact", "--out", tmp_path / "again") == 1
    found = read(tmp_path / "again")
    assert found["standings"]["ratings"] == before["standings"]["ratings"]
    lost = found["unreplayed"].pop("TicTacToe-v0")
    assert (lost["pairs"], found["unreplayed"]) == (1, {})
    where = f"turn {int(changed == 'reply')} of pair 0 of heuristic against random in TicTacToe-v0, seed 0"
    assert lost["why"] == f"{where} is not as it was recorded: TicTacToe-v0 has changed since"
    for name in ("report.md", "report.html"):
        text = (tmp_path / "again" / name).read_text().split("What did not work", 1)[1]
        assert "not replayed, so without regret and transcript" in text
        assert "TicTacToe-v0, 1 pairs" in text
    # The next ones take its place, and the other pairs have their regret.
    shown = [(game["game"], game["pair"]) for game in found["transcripts"]]
    assert sorted(set(shown)) == [("Nim-v0", n) for n in (0, 1, 2)] + [("TicTacToe-v0", n) for n in (1, 2, 3)]
    assert found["regret"]["Nim-v0"] == before["regret"]["Nim-v0"]
    assert found["regret"]["TicTacToe-v0"]["random"] != before["regret"]["TicTacToe-v0"]["random"]


@pytest.mark.parametrize("game", ["KuhnPoker-v0", "TicTacToe-v0"])
def test_all_pairs_that_do_not_replay_are_counted(main: Main, tmp_path: Path, game: str) -> None:
    """Where cards are hidden three were tried: of a log with most pairs damaged nothing was said, with exit code 0."""
    main(*SMALL, "--games", game, "--out", tmp_path)
    log = tmp_path / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if line.get("pair", [0] * 5)[4] > 2:
            line["games"][1]["turns"][-1]["prompt"] = "0" * 16
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main("--report", log, "--no-exact", "--out", tmp_path / "again") == 1
    found = read(tmp_path / "again")
    assert found["unreplayed"][game]["pairs"] == 3
    assert [(told["pair"]) for told in found["transcripts"]] == [0, 0, 1, 1, 2, 2]


def test_a_void_pair_that_does_not_replay_is_counted(main: Main, tmp_path: Path) -> None:
    """What was played of a void game has no regret, and was not looked at."""
    main(*SMALL, "--games", "TicTacToe-v0", "--out", tmp_path)
    log = tmp_path / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    game = next(line for line in lines if line.get("pair", [0] * 5)[4] == 5)["games"][0]
    game |= {"ending": "void", "why": "random: no route", "rewards": [0.0, 0.0]}
    game["turns"][0]["prompt"] = "0" * 16
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    main("--report", log, "--no-exact", "--out", tmp_path / "again")
    assert read(tmp_path / "again")["unreplayed"]["TicTacToe-v0"]["pairs"] == 1


def test_a_game_that_breaks_when_it_is_replayed_is_said(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparring.envs.tictactoe import TicTacToe

    main(*SMALL, "--games", "TicTacToe-v0", "KuhnPoker-v0", "--out", tmp_path)
    before = read(tmp_path)

    def play(*_: Any) -> Any:
        raise KeyError("cells")

    monkeypatch.setattr(TicTacToe, "play", play)
    main("--report", tmp_path / "log.jsonl", "--no-exact", "--out", tmp_path)
    found = read(tmp_path)
    assert found["standings"]["players_by_game"] == before["standings"]["players_by_game"]
    assert found["unreplayed"]["TicTacToe-v0"] == {"pairs": 6, "why": "KeyError: 'cells'"}
    assert {game["game"] for game in found["transcripts"]} == {"KuhnPoker-v0"}


def test_a_game_that_breaks_at_the_deal_has_a_report(main: Main, tmp_path: Path) -> None:
    """It broke once more when the report wanted its transcript, and the other games' tables were lost."""
    path = tmp_path / "broken.py"
    path.write_text(
        BROKEN
        + """
class Undealt(KuhnPoker):
    def deal(self, rng):
        raise RuntimeError("no cards")
"""
    )
    words = ("--agents", "random", "other=random", "--games", f"{path}:Undealt", "KuhnPoker-v0", "--pairs", "2")
    main(*words, "--out", tmp_path / "out")
    found = read(tmp_path / "out")
    assert found["standings"]["ratings"]["pairs"] == 2
    assert sum(found["standings"]["void"].values()) == 4
    assert found["unreplayed"] == {}


def test_where_nothing_can_be_played_there_is_a_report_that_says_why(main: Main, tmp_path: Path, capsys: Any) -> None:
    """Of two players one could not be loaded: exit code 2, and no report."""
    assert main("--agents", "random", "no/such/model", "--out", tmp_path) == 1
    assert "nothing could be played. no/such/model: ValueError: no player" in capsys.readouterr().err
    found = read(tmp_path)
    assert found["standings"]["pairs"] == 0
    assert found["standings"]["players"].keys() == {"random", "no/such/model"}
    for name in ("report.md", "report.html"):
        assert "no/such/model" in (tmp_path / name).read_text().split("What did not work", 1)[1]
    assert main("--report", tmp_path / "log.jsonl", "--out", tmp_path / "again") == 1
    assert read(tmp_path / "again")["agents"] == found["agents"]


@pytest.mark.parametrize("more", [(), ("--sprt", "0", "2000")])
def test_what_was_played_stands_though_a_player_is_gone(main: Main, tmp_path: Path, model: Path, more: Any) -> None:
    words = ("--agents", "random", f"mine={model}", "--games", "KuhnPoker-v0", "Nim-v0", "--pairs", "3", "--no-exact")
    assert main(*words, *more, "--out", tmp_path / "out") == 0
    before = read(tmp_path / "out")
    (model / "config.json").write_text("{")
    assert main(*words, *more, "--out", tmp_path / "out") == 1
    found = read(tmp_path / "out")
    assert found["agents"]["mine"].pop("broken")
    assert found["agents"]["mine"] == {k: v for k, v in before["agents"]["mine"].items() if k != "broken"}
    for key in ("standings", "transcripts", "sprt"):
        assert found.get(key) == before.get(key)
    # What is missing cannot be played any more.
    assert main(*words, "--pairs", "4", *more, "--out", tmp_path / "out") == 1
    assert read(tmp_path / "out")["standings"] == before["standings"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model that plays."""
    from sparring.agents import tiny_agent
    from sparring.envs import make

    agent = tiny_agent([make("KuhnPoker-v0"), make("Nim-v0")], hidden=16, layers=1, heads=2)
    agent.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("skins", [(), ("--skins", "plain", "obfuscated")])
def test_who_cannot_play_a_game_is_left_out_of_it_and_that_is_said_once(main: Main, tmp_path: Path, skins: Any) -> None:
    """`optimal` and `heuristic` played nothing but void games in a debate."""
    agents = ("--agents", "random", "other=random", "optimal", "heuristic")
    words = (*agents, "--games", "Debate-v0", "KuhnPoker-v0", "--pairs", "2", "--no-exact", *skins)
    # A wording that a game has not did not work.
    code = int(bool(skins))
    assert main(*words, "--out", tmp_path) == code
    found, played = read(tmp_path), records(tmp_path / "log.jsonl")
    assert found["standings"]["void"] == {}
    debates = {tuple(r["pair"][2:4]) for r in played if r["pair"][1].startswith("Debate-v0")}
    assert debates == {("other", "random")}
    assert len({tuple(r["pair"][2:4]) for r in played if r["pair"][1] == "KuhnPoker-v0"}) == 6
    assert found["unable"].keys() == {"optimal", "heuristic"}
    for text in ((tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()):
        table = text.split("What did not work", 1)[1]
        assert table.count("does not play Debate-v0") == 2
    again = tmp_path / "again"
    assert main("--report", tmp_path / "log.jsonl", "--no-exact", "--out", again) == code
    assert read(again)["unable"] == found["unable"]


def test_where_nobody_can_play_there_is_a_report(main: Main, tmp_path: Path, capsys: Any) -> None:
    words = ("--agents", "heuristic", "optimal", "--games", "Debate-v0", "--sprt", "0", "50", "--probe", "20")
    assert main(*words, "--out", tmp_path) == 1
    assert "nothing could be played. heuristic: does not play Debate-v0: " in capsys.readouterr().err
    found = read(tmp_path)
    assert (found["sprt"]["decision"], found["sprt"]["pairs"], found["probe"]) == (None, 0, [])


def test_games_that_a_player_has_played_are_not_solved_to_see_whether_it_can(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparring.agents import HeuristicAgent

    asked: list[str] = []
    refusal = HeuristicAgent.refusal
    monkeypatch.setattr(HeuristicAgent, "refusal", lambda agent, game: asked.append(game.name) or refusal(agent, game))
    assert main(*SMALL, "--out", tmp_path) == 0
    assert main(*SMALL, "--games", "KuhnPoker-v0", "Nim-v0", "--out", tmp_path) == 0
    assert asked == ["KuhnPoker-v0", "Nim-v0"]
