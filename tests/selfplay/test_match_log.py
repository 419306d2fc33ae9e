"""The log of a tournament: what a kill leaves, what is merged, what is refused, and games played from it again."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparring.agents import HeuristicAgent, RandomAgent, ScriptedAgent
from sparring.envs import Ending, Game, make
from sparring.envs.kuhn import KuhnPoker
from sparring.selfplay.bench import header
from sparring.selfplay.match_log import LogError, MatchLog, header_digest, is_void, merge, pair_record, replay
from sparring.selfplay.tournament import Entrant, Entry, Played, plan, tournament

PLAYERS = [Entrant(name=agent.name, agent=agent) for agent in (RandomAgent(), HeuristicAgent())]
GAMES = [Entry(label=label, game=make(label)) for label in ("KuhnPoker-v0", "TicTacToe-v0")]
ABOUT = header(PLAYERS, GAMES)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk is waited for: what is on it after a power cut is not what these tests are about."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="module")
def played() -> list[Played]:
    return list(tournament(PLAYERS, GAMES, plan(PLAYERS, GAMES, pairs=3, seed=5)))


def write(path: Path, played: list[Played], about: dict[str, Any] = ABOUT) -> Path:
    log = MatchLog(path, about)
    for pair in played:
        log.add(pair)
    log.close()
    return path


def pairs(path: Path) -> Iterator[dict[str, Any]]:
    return (record for record in map(json.loads, path.read_text().splitlines()) if "pair" in record)


def test_a_log_cut_at_any_byte_of_its_last_line_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, played: list[Played]
) -> None:
    played = [pair for pair in played if pair.key.game == "KuhnPoker-v0"][:2]
    whole = write(tmp_path / "whole.jsonl", played).read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    cut = tmp_path / "cut.jsonl"
    for end in range(start, len(whole)):
        cut.write_bytes(whole[:end])
        log = MatchLog(cut, ABOUT)
        assert list(log.records) == [pair.key for pair in played[:-1]]
        log.add(played[-1])
        log.close()
        _, records = merge([cut])
        assert list(records) == [pair.key for pair in played]
    assert list(pairs(cut)) == list(pairs(tmp_path / "whole.jsonl"))


def test_a_log_cut_within_its_header_starts_anew(tmp_path: Path, played: list[Played]) -> None:
    path = write(tmp_path / "log.jsonl", [])
    path.write_bytes(path.read_bytes()[:-10])
    write(path, played[:1])
    assert list(pairs(path)) == [json.loads(json.dumps(pair_record(played[0], header=header_digest(ABOUT))))]


def test_a_pair_is_never_counted_twice(tmp_path: Path, played: list[Played]) -> None:
    path = write(write(tmp_path / "log.jsonl", [*played, *played]), played)
    assert len(list(pairs(path))) == len(played)
    # Not even one that two processes wrote into one file, or that stands in two.
    line = path.read_text().splitlines()[1]
    path.write_text(path.read_text() + line + "\n")
    _, records = merge([path, write(tmp_path / "other.jsonl", played[:2])])
    assert len(records) == len(played)


def test_a_pair_that_was_being_written_at_an_interrupt_counts_where_it_stands_in_the_file(
    tmp_path: Path, played: list[Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table that Ctrl-C showed lacked one of the pairs that the log had."""
    log = MatchLog(tmp_path / "log.jsonl", ABOUT)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        log.add(played[0])
    log.close()
    assert list(log.records) == list(merge([log.path])[1]) == [played[0].key]


def test_every_record_says_under_which_header_it_was_played(tmp_path: Path, played: list[Played]) -> None:
    newer = {**ABOUT, "versions": {**ABOUT["versions"], "torch": "99"}}
    path = write(write(tmp_path / "log.jsonl", played[:2]), played, newer)
    wanted = [header_digest(ABOUT)] * 2 + [header_digest(newer)] * (len(played) - 2)
    assert wanted[0] != wanted[-1]
    headers, records = merge([path])
    assert [header_digest(header) for header in headers] == [wanted[0], wanted[-1]]
    assert [records[pair.key]["header"] for pair in played] == wanted
    # A log of before records said so is read by where they stand.
    lines = map(json.loads, path.read_text().splitlines())
    path.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "header"}) + "\n" for r in lines))
    assert merge([path])[1] == records


def test_two_logs_are_merged(tmp_path: Path, played: list[Played]) -> None:
    one, two = write(tmp_path / "1.jsonl", played[:4]), write(tmp_path / "2.jsonl", played[2:])
    headers, records = merge([two, one])
    assert len(headers) == 2
    assert set(records) == {pair.key for pair in played}


def test_logs_that_tell_one_pair_in_two_ways_are_refused(tmp_path: Path, played: list[Played]) -> None:
    one = write(tmp_path / "1.jsonl", played[:1])
    other = json.loads(one.read_text().splitlines()[1])
    other["games"][0]["rewards"] = [9.0, -9.0]
    two = tmp_path / "2.jsonl"
    two.write_text(json.dumps({"format": 1, **ABOUT}) + "\n" + json.dumps(other) + "\n")
    with pytest.raises(LogError, match="another result of pair 0 of heuristic against random in KuhnPoker-v0, seed 5"):
        merge([one, two])


def outage(played: list[Played], *voids: int) -> list[Played]:
    """The same pairs, of which some games were void."""
    why = {"ending": Ending.VOID, "rewards": (0.0, 0.0), "offender": None, "why": "no route"}
    return [
        pair._replace(episodes=tuple(replace(e, **why) if i in voids else e for i, e in enumerate(pair.episodes)))
        for pair in played
    ]


@pytest.mark.parametrize("voids", [(0,), (1,), (0, 1)])
def test_what_was_played_takes_the_place_of_what_was_void(
    tmp_path: Path, played: list[Played], voids: tuple[int, ...]
) -> None:
    """An outage was final: its pairs were not played again, and a log in which they were played could not be merged."""
    path = write(tmp_path / "1.jsonl", outage(played, *voids))
    log = MatchLog(path, ABOUT)
    assert not log.done
    assert len(log.records) == len(played)
    log.close()
    other = write(tmp_path / "2.jsonl", played[:2])
    for order in ([path, other], [other, path]):
        _, records = merge(order)
        assert len(records) == len(played)
        assert [is_void(records[pair.key]) for pair in played] == [False] * 2 + [True] * (len(played) - 2)
    write(write(path, played), outage(played, 0, 1))
    assert len(list(pairs(path))) == 2 * len(played)
    log = MatchLog(path, ABOUT)
    assert log.done == log.records == merge([path])[1]
    log.close()


def test_of_two_pairs_that_are_void_in_part_the_same_counts_in_any_order(tmp_path: Path, played: list[Played]) -> None:
    logs = [write(tmp_path / f"{i}.jsonl", outage(played, *v)) for i, v in enumerate(((0,), (1,), (0, 1)))]
    found = [merge(order)[1] for order in itertools.permutations(logs)]
    assert all(records == found[0] for records in found)
    assert all(sum(game["ending"] == "void" for game in r["games"]) == 1 for r in found[0].values())


def test_another_player_or_game_under_one_name_is_refused(tmp_path: Path, played: list[Played]) -> None:
    path = write(tmp_path / "log.jsonl", played)
    kept = path.read_bytes()
    changed = [Entrant(name="random", agent=ScriptedAgent(["x"])), PLAYERS[1]]
    with pytest.raises(
        LogError, match=r"'random' is not the same as before .*RandomAgent.* then, .*ScriptedAgent.* now"
    ):
        MatchLog(path, header(changed, GAMES))
    worded = [Entry(label="KuhnPoker-v0", game=make("KuhnPoker-v0", skin="obfuscated"))]
    with pytest.raises(
        LogError, match=r"'KuhnPoker-v0' is not the same as before .*take another file, or another name"
    ):
        MatchLog(path, header(PLAYERS, worded))
    with pytest.raises(LogError, match=r"'KuhnPoker-v0' is not the same as before .*'retries': 2"):
        MatchLog(path, header(PLAYERS, GAMES, retries=2))
    assert path.read_bytes() == kept
    with pytest.raises(LogError, match="is not the same as before"):
        merge([path, write(tmp_path / "other.jsonl", [], header(changed, []))])


def test_two_processes_do_not_write_one_log(tmp_path: Path, played: list[Played]) -> None:
    """Each played everything, and both wrote it down."""
    path = tmp_path / "log.jsonl"
    log = MatchLog(path, ABOUT)
    log.add(played[0])
    code = (
        "import sys; from sparring.selfplay.match_log import LogError, MatchLog\n"
        "try: MatchLog(sys.argv[1], {})\n"
        "except LogError as error: sys.exit(str(error))"
    )
    before = path.read_bytes()

    def other() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)

    second = other()
    assert (second.returncode, second.stderr.strip()) == (
        1,
        f"{path} is being written by another process; wait until that is done, or take another file (--out)",
    )
    assert path.read_bytes() == before
    assert len(merge([path])[1]) == 1, "it can be reported meanwhile"
    log.close()
    assert other().returncode == 0


def test_what_is_no_log_is_refused_and_left_alone(tmp_path: Path, played: list[Played]) -> None:
    path = write(tmp_path / "log.jsonl", played)
    lines = path.read_text().splitlines(keepends=True)
    for text, said in (
        ("".join([lines[0], "{damaged}\n", *lines[1:]]), "line 2 is damaged .* remove that line"),
        ("".join(lines[1:]), "has no header"),
        ('{"format": 99}\n', "has format 99, and this version reads 1"),
        ("a,b\nc,d\n", "line 1 is damaged"),
    ):
        path.write_text(text)
        with pytest.raises(LogError, match=said):
            MatchLog(path, ABOUT)
        assert path.read_text() == text


def test_every_record_can_be_played_again(played: list[Played]) -> None:
    games = {entry.label: entry.game for entry in GAMES}
    for pair in played:
        record = json.loads(json.dumps(pair_record(pair)))
        for which, episode in enumerate(pair.episodes):
            turns = [(turn.seat, turn.prompt, turn.reply.text) for turn in episode.turns]
            assert replay(record, which, games[pair.key.game]) == turns


def test_replies_that_no_encoding_can_write_are_logged_and_replayed(tmp_path: Path) -> None:
    bad = "\ud800\u202e\x00</script>\u2028[bet]"
    players = [Entrant(name="bad", agent=ScriptedAgent(lambda p: bad, name="bad")), PLAYERS[0]]
    played = list(tournament(players, GAMES[:1], plan(players, GAMES[:1], pairs=2), retries=1))
    log = MatchLog(tmp_path / "log.jsonl", header(players, GAMES[:1], retries=1))
    for pair in played:
        log.add(pair, retries=1)
    log.close()
    _, records = merge([tmp_path / "log.jsonl"])
    for record in records.values():
        for which in (0, 1):
            assert bad in [reply for _, _, reply in replay(record, which, GAMES[0].game)]


class Generous(KuhnPoker):
    """Kuhn poker in which what is won is half as much."""

    def rewards(self, state: Any) -> tuple[float, float]:
        first, second = super().rewards(state)
        return first / 2, second / 2


class Chatty(KuhnPoker):
    def observation(self, state: Any, seat: int) -> str:
        return super().observation(state, seat) + " "


@pytest.mark.parametrize(
    ("changed", "said"), [(Generous(), "ended otherwise"), (Chatty(), "turn 0 of .* is not as it")]
)
def test_a_changed_rule_is_noticed(played: list[Played], changed: Game[Any], said: str) -> None:
    kuhn = [json.loads(json.dumps(pair_record(p))) for p in played if p.key.game == "KuhnPoker-v0"]
    with pytest.raises(LogError, match=f"{said}.*has changed since"):
        _ = [replay(record, which, changed) for record in kuhn for which in (0, 1)]
