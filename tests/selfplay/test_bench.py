"""From words to a report: who and what can be entered, what is said of what cannot, learning curves, the text."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring.agents import (
    LanguageModelAgent,
    ModelJudge,
    OptimalAgent,
    RandomAgent,
    ScriptedAgent,
    make_judge,
    tiny_agent,
)
from sparring.agents.model_judge import FEATURES
from sparring.envs import make, registry
from sparring.envs.mlp import new_mlp
from sparring.envs.registry import Family
from sparring.selfplay.bench import (
    enter,
    enter_game,
    enter_games,
    fingerprint,
    header,
    judge_fingerprint,
    judged_by,
    recorded_games,
    report,
    weights_hash,
)
from sparring.selfplay.bench_page import page
from sparring.selfplay.bench_text import markdown
from sparring.selfplay.match_log import LogError, check_same, pair_record
from sparring.selfplay.probe import Exploit, ProbeLog, exploit, probe
from sparring.selfplay.run_curves import curves, read_curves, run_folder
from sparring.selfplay.standings import mean_interval
from sparring.selfplay.tournament import Entrant, Entry, plan, tournament


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts/train.py leaves: metrics, and a model inside."""
    folder = tmp_path_factory.mktemp("runs") / "kuhn"
    tiny_agent(make("KuhnPoker-v0"), hidden=16, layers=1, heads=2).save_pretrained(folder / "model")
    lines = [{"update": u, "games": 128 * u, "nashconv": 1.0 - u / 4, "seconds": 9.0 * u, "kl": None} for u in range(3)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"games": 384, "nash')
    return folder


def test_a_run_is_entered_by_its_folder_or_by_its_model(run: Path) -> None:
    """The folder of a run was no player once, though the help said so."""
    for spec in (str(run), str(run / "model")):
        entrant = enter(f"mine={spec}")
        assert (entrant.name, entrant.broken, entrant.spec) == ("mine", "", spec)
        assert isinstance(entrant.agent, LanguageModelAgent)
        assert run_folder(entrant.spec) == run
    assert enter(str(run)).name == str(run)


def test_the_curves_of_a_run_are_its_measures_over_games(run: Path) -> None:
    players = [enter("random"), enter(f"mine={run}"), enter(f"again={run / 'model'}")]
    found = curves(players)
    assert found["mine"] == {"nashconv": [[0, 1.0], [128, 0.75], [256, 0.5]]}
    assert list(found) == ["mine", "again"]
    assert curves([Entrant(name="x", agent=None, broken="gone", spec="nowhere"), Entrant(name="y", agent=None)]) == {}


def test_a_metrics_file_that_is_none_has_no_curves(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'\xff\xfe\n[1]\n"x"\n{"games": "many", "a": 1}\n{"games": 5, "a": NaN, "b": true, "c": 2}\n')
    assert read_curves(path) == {"c": [[5, 2]]}


@pytest.mark.parametrize(("word", "near"), [("randm", "'random'"), ("me=optimall", "'optimal'")])
def test_a_misspelt_player_is_refused(word: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean {near}"):
        enter(word)


def test_a_model_that_cannot_be_loaded_is_an_entrant_that_says_why(tmp_path: Path, run: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no such thing"}')
    for spec in (str(tmp_path), f"x={tmp_path}", str(tmp_path / "nowhere")):
        entrant = enter(spec)
        assert entrant.agent is None
        assert entrant.broken
    assert "Did you mean" in enter(str(run.with_name("kuhm"))).broken


def test_games_are_entered_in_every_skin_that_they_have_and_the_lack_of_one_is_said() -> None:
    entries = enter_games(["KuhnPoker-v0", "LiarsDice-v0?dice=2&faces=3", "ConnectFour-v0"], ["plain", "obfuscated"])
    labels = [entry.label for entry in entries if entry.game is not None]
    assert labels[:2] == ["KuhnPoker-v0", "KuhnPoker-v0[obfuscated]"]
    assert "LiarsDice-v0?dice=2&faces=3[obfuscated]" in labels
    broken = {entry.label: entry.broken for entry in entries if entry.game is None}
    lacking = {e.label for e in entries if "obfuscated" in e.label} - set(labels)
    assert broken.keys() == lacking
    for why in broken.values():
        assert why.startswith("it has no such skin, only plain")
    assert [entry.label for entry in enter_games(["Nim-v0", "Nim-v0"])] == ["Nim-v0"]


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("KuhnPoker-v0?skin=obfuscated", "KuhnPoker-v0[obfuscated]"),
        ("KuhnPoker-v0?skin=plain", "KuhnPoker-v0"),
        ("LiarsDice-v0?faces=6", "LiarsDice-v0"),
        ("LiarsDice-v0?skin=obfuscated&faces=3&dice=2", "LiarsDice-v0?dice=2&faces=3[obfuscated]"),
        ("Nim-v0?heaps=[3,4]", "Nim-v0?heaps=[3, 4]"),
        ("Goofspiel-v0?points_order=random", "Goofspiel-v0?points_order=random"),
    ],
)
def test_a_game_has_one_label_however_it_is_written(spec: str, label: str) -> None:
    """Each wording of the words was a game of its own, and its pairs were experiments of their own."""
    entry = enter_game(spec)
    assert entry.label == label
    again = enter_games([label.split("[obf")[0]], ["obfuscated"] if label.endswith("[obfuscated]") else ())[0]
    assert header([], [again])["games"] == header([], [entry])["games"]
    with pytest.raises(ValueError, match=r"are one game, .*; name it once"):
        enter_games([spec, f"{spec}&"])


def test_games_of_a_log_keep_the_labels_that_it_has() -> None:
    about = header([], enter_games(["KuhnPoker-v0?skin=obfuscated", "LiarsDice-v0"]))["games"]
    old = dict(zip(("KuhnPoker-v0?skin=obfuscated", "LiarsDice-v0?faces=6"), about.values(), strict=True))
    again = recorded_games([{"games": old}])
    assert [entry.label for entry in again] == list(old)
    assert header([], again)["games"] == old


def test_games_that_cannot_be_are_refused_with_what_is_near() -> None:
    with pytest.raises(ValueError, match="Did you mean 'KuhnPoker-v0'"):
        enter_games(["KuhnPokr-v0"])
    with pytest.raises(ValueError, match=r"no game here has the skin 'obfuscate'\. Did you mean 'obfuscated'"):
        enter_games(["KuhnPoker-v0"], ["obfuscate"])
    with pytest.raises(ValueError, match="has no setting 'dise'"):
        enter_game("LiarsDice-v0?dise=2")
    with pytest.raises(ValueError, match="is one for all games; give --hide-legal"):
        enter_game("KuhnPoker-v0?show_legal=false")
    with pytest.raises(ValueError, match="has its skin in its settings"):
        enter_games(["KuhnPoker-v0?skin=obfuscated"], ["obfuscated"])
    with pytest.raises(ValueError, match="has its skin in its settings"):
        enter_games(["KuhnPoker-v0?skin=obfuscated"], ["plain"])


def test_a_game_whose_library_is_missing_is_an_entry_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family("lacking", "no_such_package.games:Games", "no_such_package", "lacking")
    monkeypatch.setitem(registry._FAMILIES, "lacking", family)
    (entry,) = enter_games(["lacking/go"], ["plain", "plain"])
    assert (entry.label, entry.game) == ("lacking/go", None)
    assert "pip install 'sparring[lacking]'" in entry.broken


def test_logs_say_which_games_they_are_of() -> None:
    entries = enter_games(["Nim-v0?heaps=[3, 4]", "KuhnPoker-v0"], ["plain", "obfuscated"], show_legal=False)
    again = recorded_games([header([], entries), header([], entries)])
    assert [e.label for e in again] == [e.label for e in entries if e.game is not None]
    assert header([], again)["games"] == header([], entries)["games"]
    gone = recorded_games([{"games": {"Gone-v0[odd]": {"show_legal": True}}}])
    assert gone[0].game is None
    assert "unknown game 'Gone-v0'" in gone[0].broken


def test_games_with_other_judges_are_other_games(tmp_path: Path) -> None:
    """Whoever judged, the logs merged, and no report said who it was."""
    for seed in (1, 2):
        mlp = new_mlp(np.random.default_rng(seed), len(FEATURES), 4, 1)
        ModelJudge(mlp).save(tmp_path / f"{seed}.npz")
    specs = ["rule", f"model:{tmp_path / '1.npz'}", f"model:{tmp_path / '2.npz'}", "words:random", "majority:rule+rule"]
    specs += ["swapped:rule"]
    plain = enter_games(["Debate-v0", "KuhnPoker-v0"])
    found = [header([], judged_by(plain, spec)) for spec in specs]
    assert found[0]["games"] == header([], plain)["games"]
    abouts = [about["games"]["Debate-v0"]["judge"] for about in found]
    assert [about["name"] for about in abouts[:2]] == specs[:2]
    assert "judge" not in found[0]["games"]["KuhnPoker-v0"]
    for one, other in itertools.combinations(found, 2):
        with pytest.raises(LogError, match="'Debate-v0' is not the same as before"):
            check_same([one, other], "x")
    # The same file with other weights is another judge.
    (tmp_path / "2.npz").replace(tmp_path / "1.npz")
    again = judge_fingerprint(make_judge(specs[1]))
    assert again["name"] == abouts[1]["name"]
    assert again["weights"] == abouts[2]["weights"] != abouts[1]["weights"]
    # A log from before judges were written down goes on.
    del found[1]["games"]["Debate-v0"]["judge"]
    check_same(found[:2], "x")


def test_a_game_may_name_its_judge() -> None:
    entry = enter_game("Debate-v0?judge=swapped:rule")
    assert (entry.label, entry.game and entry.game.judge and entry.game.judge.name) == (
        "Debate-v0?judge=swapped:rule",
        "swapped:rule",
    )
    assert header([], recorded_games([header([], [entry])]))["games"] == header([], [entry])["games"]
    with pytest.raises(ValueError, match="Did you mean 'rule'"):
        enter_game("Debate-v0?judge=rul")
    with pytest.raises(ValueError, match="KuhnPoker-v0 asks no judge"):
        enter_game("KuhnPoker-v0?judge=rule")
    with pytest.raises(ValueError, match="has its judge in its settings"):
        judged_by([entry], "rule")


def test_a_player_is_known_by_its_weights_and_how_it_samples() -> None:
    agent = tiny_agent(make("KuhnPoker-v0"), hidden=16, layers=1, heads=2)
    before = fingerprint(agent)
    with torch.no_grad():
        next(agent.model.parameters()).view(-1)[0] += 1e-3
    after = fingerprint(agent)
    assert before["weights"] != after["weights"]
    agent.temperature = 0.5
    assert fingerprint(agent) == {**after, "temperature": 0.5}
    assert fingerprint(RandomAgent()) == {"kind": "RandomAgent"}


def test_weights_without_dimensions_count_too() -> None:
    """A scale that is a single number could not be seen as bytes, and no such model could be entered."""
    found = []
    for scale in (1.0, 2.0):
        module = torch.nn.Linear(2, 2).to(torch.bfloat16)
        torch.nn.init.ones_(module.weight)
        torch.nn.init.ones_(module.bias)
        module.register_buffer("scale", torch.tensor(scale))
        found.append(weights_hash(module))
    assert found[0] != found[1]


def make_report(players: list[Entrant], entries: list[Entry], pairs: int = 4) -> dict[str, Any]:
    records = [pair_record(p) for p in tournament(players, entries, plan(players, entries, pairs=pairs))]
    return report(players, entries, json.loads(json.dumps(records)), [header(players, entries)])


def test_a_report_is_plain_data_and_what_did_not_work_is_in_its_table(run: Path) -> None:
    entries = [*enter_games(["KuhnPoker-v0"]), Entry(label="Go-v0", game=None, broken="ImportError: no library")]
    faulty = Entrant(name="faulty", agent=RandomAgent(name="faulty"))
    faulty.agent.reply = None  # type: ignore[assignment, union-attr, method-assign]
    players = [enter("random"), enter("optimal"), enter(f"mine={run}"), faulty]
    players.append(Entrant(name="gone", agent=None, broken="ValueError: no | such \x1b[31mfolder"))
    found = make_report(players, entries)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["seeds"] == [0]
    assert found["curves"]["mine"]["nashconv"][0] == [0, 1.0]
    assert found["timing"].keys() == {"random", "optimal", "mine"}
    assert {turn["problem"] for game in found["transcripts"] for turn in game["turns"]} >= {None}
    text = markdown(found)
    broken = text[text.index("## What did not work") :]
    assert "| player | gone | ValueError: no \\| such  [31mfolder |" in broken
    assert "| game | Go-v0 | ImportError: no library |" in broken
    # A game that "mine" forfeits at once never asks the other.
    assert re.search(r"\| void games \| \d+ \| faulty: TypeError: 'NoneType' object is not callable \|", broken)
    assert found["standings"]["metagame"] is None or "gone" not in found["standings"]["metagame"]["alpha_rank"]


def test_who_has_played_a_game_since_can_play_it() -> None:
    """With a larger limit, or in another version: what an older header says is over."""
    players = [Entrant(name=agent.name, agent=agent) for agent in (RandomAgent(), OptimalAgent())]
    entries = enter_games(["KuhnPoker-v0", "Debate-v0"])
    cannot = {("optimal", label): "too large" for label in ("KuhnPoker-v0", "Debate-v0")}
    headers = [header(players, entries, unable=cannot), header(players, entries)]
    records = [pair_record(p) for p in tournament(players, entries[:1], plan(players, entries[:1], pairs=1))]
    assert report(players, entries, records, headers)["unable"] == {"optimal": {"Debate-v0": "too large"}}
    assert set(report(players, entries, [], headers)["unable"]["optimal"]) == {"KuhnPoker-v0", "Debate-v0"}


def test_where_the_optimal_player_is_missing_is_said() -> None:
    games = enter_games(["KuhnPoker-v0", "Taboo-v0", "TicTacToe-v0"])
    told = "The optimal player, which --agents optimal enters, could play KuhnPoker-v0, TicTacToe-v0."
    players = [enter("random"), enter("heuristic")]
    found = make_report(players, games, pairs=1)
    assert told in found["notes"]
    assert told in markdown(found)
    assert told in page(found)
    found = make_report([enter("random"), enter("best=optimal")], games[:1], pairs=1)
    assert not any("optimal player" in note for note in found["notes"])
    # Without exact figures it is said as well, and a log tells who played.
    about = header(players, games)
    assert report(players, games, [], [about], is_exact=False)["notes"][0] == told
    gone = [Entrant(name="best", agent=None)]
    about["players"] = {"best": {"kind": "OptimalAgent"}}
    assert not any("optimal player" in note for note in report(gone, games, [], [about])["notes"])


def test_a_game_of_several_has_its_own_table_where_something_went_wrong() -> None:
    """Illegal replies in one game were lost in the sum over all games."""
    folds = Entrant(name="folds", agent=ScriptedAgent(lambda prompt: "[fold]", name="folds"))
    games = enter_games(["TicTacToe-v0", "KuhnPoker-v0", "Nim-v0"])
    found = make_report([enter("random"), enter("heuristic")], games)
    assert "## How games went," not in markdown(found)
    found["standings"]["players_by_game"] |= make_report([enter("random"), folds], games[:1])["standings"][
        "players_by_game"
    ]
    text = markdown(found)
    assert re.findall(r"## How games went, (.*)", text) == ["TicTacToe-v0"]
    assert "| folds | 8 | 0 | 0 | 0 | 8 | 0 | 0 |" in text
    assert "How games went," not in markdown(make_report([enter("random"), folds], games[:1])), "one game is all games"


def test_why_a_game_has_no_exact_figure_is_said_in_a_line() -> None:
    found = make_report([enter("random"), enter("heuristic")], enter_games(["KuhnPoker-v0"]))
    found["exact"]["Go-v0"] = {"none": "more than 100,000 states | \n<b>"}
    text = markdown(found)
    assert "- None in Go-v0: more than 100,000 states |  &lt;b>\n" in text
    found["exact"].pop("KuhnPoker-v0")
    assert "## Exploitability, exact\n\n- None in Go-v0" in markdown(found)
    assert "## Exploitability" not in markdown({**found, "exact": {}})


def test_the_scores_of_pairs_are_in_the_text() -> None:
    found = make_report([enter("random"), enter("optimal")], enter_games(["TicTacToe-v0"]), pairs=9)
    (met,) = found["standings"]["meetings"]
    assert sum(met["pairs"]) == 9
    assert met["pairs"][4] > 0
    told = " / ".join(map(str, met["pairs"]))
    assert f"| TicTacToe-v0 | optimal | random | {told} |" in markdown(found)
    assert told in page(found)


def test_the_random_player_can_be_exploited_in_kuhn_poker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best response to it wins 11/24, 0.458 a game over both seats; with this seed 2,000 games find much of it."""
    monkeypatch.setattr("sparring.selfplay.probe.WARM_STEPS", 40)
    monkeypatch.setattr("sparring.selfplay.probe.MATCH", 600)
    won, _ = exploit(make("KuhnPoker-v0"), RandomAgent(), games=2000, seed=1)
    assert len(won) == 300
    found = mean_interval(won, 0.95)
    assert found["low"] > 0.1
    assert found["low"] < 11 / 24


def test_a_probe_of_what_breaks_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.selfplay.probe.WARM_STEPS", 1)

    class Broken(RandomAgent):
        def reply(self, prompts: Any) -> Any:
            raise OSError("no route")

    players = [Entrant(name="broken", agent=Broken()), Entrant(name="gone", agent=None)]
    entries = [*enter_games(["KuhnPoker-v0"]), Entry(label="x", game=None)]
    (found,) = probe(players, entries, games=4)
    assert found == {"game": "KuhnPoker-v0", "player": "broken", "games": 4, "none": "OSError: no route"}


def test_an_exploiter_is_measured_by_pairs_of_one_deal_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was measured by 1,000 games whatever the budget, of which no two were of one deal."""
    monkeypatch.setattr("sparring.selfplay.probe.train_exploiter", lambda *_, **__: OptimalAgent())
    seen: list[tuple[str, int, int]] = []
    won, illegal = exploit(make("TicTacToe-v0"), RandomAgent(), games=20, watch=lambda *told: seen.append(told))
    assert (len(won), illegal) == (10, 0.0)
    assert seen[-1] == ("is played against", 10, 10)
    assert {2 * mean for mean in won} <= {-2, -1, 0, 1, 2}
    # Who plays like the other, and draws nothing, wins with one deal in one seat what it loses in the other.
    first = ScriptedAgent(lambda prompt: f"[{prompt.legal[0]}]")
    monkeypatch.setattr("sparring.selfplay.probe.train_exploiter", lambda *_, **__: first)
    assert exploit(make("KuhnPoker-v0"), first, games=4000, seed=5).won == [0.0] * 500
    # One that forfeits has no first move that is one, and says so.
    mute = ScriptedAgent(lambda prompt: "", name="exploiter")
    monkeypatch.setattr("sparring.selfplay.probe.train_exploiter", lambda *_, **__: mute)
    assert exploit(make("KuhnPoker-v0"), first, games=40).illegal == 1.0


def test_a_probe_that_won_the_same_in_every_pair_is_not_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kuhn poker pays from -2 to 2; it once said -2.000 (-2.000 to -2.000) after two pairs."""
    monkeypatch.setattr("sparring.selfplay.probe.exploit", lambda *_, **__: Exploit([-2.0, -2.0], 0.0))
    players, entries = [enter("random")], enter_games(["KuhnPoker-v0"])
    about = header(players, entries)
    log = ProbeLog(tmp_path / "probe.jsonl", about)
    (found,) = probe(players, entries, games=4, log=log)
    assert (found["reward"]["low"], found["reward"]["high"]) == (-2.0, pytest.approx(-2 + 4 * (1 - 0.025**0.5)))
    assert log.kept([about], 0.95) == [found]


def test_what_a_probe_found_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def win(game: Any, target: Any, *, seed: int, **_: Any) -> Exploit:
        trained.append(seed)
        if target.name == "down":
            raise OSError("no route")
        return Exploit([0.0, 1.0, 1.0, 0.0], 0.0)

    monkeypatch.setattr("sparring.selfplay.probe.exploit", win)
    players = [enter("random"), Entrant(name="down", agent=RandomAgent(name="down"))]
    entries = enter_games(["KuhnPoker-v0", "TicTacToe-v0"])
    path, about = tmp_path / "probe.jsonl", header(players, entries)

    def probed(level: float = 0.95, **more: Any) -> list[dict[str, Any]]:
        log = ProbeLog(path, {**about, **more})
        return list(probe(players, entries, games=8, seed=3, level=level, log=log))

    first = probed()
    assert len(trained) == 4
    assert [p["reward"]["mean"] for p in first if p["player"] == "random"] == [0.5, 0.5]
    assert probed() == first
    assert len(trained) == 6, "what failed is tried again, what was found is not"
    narrow, wide = (p["reward"]["high"] - p["reward"]["low"] for p in (probed(0.5)[0], first[0]))
    assert narrow < wide / 3
    # Another player of the same name is another.
    probed(players={"random": {"kind": "Other"}, "down": {}})
    assert len(trained) == 12
    path.write_text(path.read_text() + "{")
    with pytest.raises(ValueError, match=r"probe\.jsonl, line 13 is damaged"):
        probed()
