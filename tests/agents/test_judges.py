"""Judges: any player as one, by its odds and by its words; a trained one; a majority; and all of them by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparring.agents import (
    AgentJudge,
    HumanAgent,
    MajorityJudge,
    ModelJudge,
    PlayerLeft,
    Prompt,
    RandomAgent,
    Reply,
    ScriptedAgent,
    make_judge,
    report_of,
    tiny_agent,
    train_model_judge,
)
from sparring.agents.hearing import Heard, Hearing, mirrored
from sparring.agents.loading import AGENTS
from sparring.agents.model_judge import FEATURES, features
from sparring.envs import Case, Judge, Match, Statement, Verdict, make
from sparring.envs.mlp import Mlp, load_mlp, new_mlp, save_mlp
from sparring.selfplay import Settings
from sparring.selfplay.assembly import make_game
from sparring.selfplay.settings_checks import check

CASE = Case(question="What burns?", answers=("kelp", "oil"), statements=(Statement(0, "Kelp."), Statement(1, "Oil.")))
OTHER = Case(question="What burns?", answers=("oil", "kelp"))


# By words


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("[a]", Verdict(p=1.0)),
        ("[B]", Verdict(p=0.0)),
        ("<think>[b]</think> A quotes well, B does not: [ a ]", Verdict(p=1.0)),
        ("[unsure]", Verdict(abstained=True)),
    ],
)
def test_what_a_player_answers_is_read_by_the_parser(text: str, verdict: Verdict) -> None:
    assert AgentJudge(ScriptedAgent([text])).judge([CASE]) == [verdict]


def test_nonsense_is_asked_again_and_then_void() -> None:
    judge = AgentJudge(ScriptedAgent(["A, I think.", "[c]", "[b]"]))
    assert judge.judge([CASE]) == [Verdict(p=0.0)]
    assert judge.report() == {"unread": pytest.approx(2 / 3)}
    judge = AgentJudge(ScriptedAgent(["hm"] * 2, name="clerk"), tries=2)
    (verdict,) = judge.judge([CASE])
    assert verdict.void.startswith("clerk gave no verdict: Your reply had no move")


def test_only_what_was_not_read_is_asked_again_and_with_other_noise() -> None:
    seen: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        seen.append(prompt)
        return "[a]" if "oil" in prompt.text.split("\n")[3] or len(seen) > 2 else "hm"

    found = AgentJudge(ScriptedAgent(answer)).judge([CASE, OTHER])
    assert found == [Verdict(p=1.0)] * 2
    assert [prompt.text for prompt in seen].count(seen[0].text) == 2
    assert len({prompt.noise for prompt in seen}) == 3
    assert {prompt.legal for prompt in seen} == {("a", "b", "unsure")}


def test_a_player_that_cannot_be_reached_gives_no_verdict() -> None:
    class Gone:
        name = "gone"
        asked = 0

        def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
            self.asked += 1
            return [Reply(text="[a]", fault="no route") for _ in prompts]

    gone = Gone()
    assert AgentJudge(gone).judge([CASE]) == [Verdict(void="no route")]
    assert gone.asked == 1


def test_a_verdict_does_not_depend_on_what_is_judged_beside_it() -> None:
    """The random player draws from the noise, which is the case's own: 40 cases, alone and together."""
    cases = [Case(question=str(n), answers=("x", "y")) for n in range(40)]
    judge = AgentJudge(RandomAgent(), by="words")
    together = judge.judge(cases)
    assert [judge.judge([case])[0] for case in cases] == together
    assert len({(verdict.p, verdict.abstained) for verdict in together}) == 3


def test_a_person_judges_at_the_terminal() -> None:
    lines, shown = iter(["well", "b"]), []
    judge = AgentJudge(HumanAgent(input=lambda _: next(lines), output=shown.append), by="words")
    assert judge.judge([CASE]) == [Verdict(p=0.0)]
    assert 'A says: "Kelp."' in shown[0]

    def leave(_: str) -> str:
        raise EOFError

    with pytest.raises(PlayerLeft):
        AgentJudge(HumanAgent(input=leave, output=shown.append), by="words").judge([CASE])


# By odds


class Odds:
    """Gives fixed probabilities, and the prompts that it was asked."""

    name = "odds"

    def __init__(self, *rows: tuple[float, float]) -> None:
        self.rows = rows
        self.asked: list[Prompt] = []

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        raise AssertionError("odds were to be asked")

    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[Any]:
        self.asked += prompts
        return [np.array(row) for row in self.rows]


def test_odds_are_weighed_over_the_two_letters() -> None:
    agent = Odds((0.3, 0.1), (0.0, 2e-3))
    judge = AgentJudge(agent)
    assert [v.p for v in judge.judge([CASE, OTHER])] == pytest.approx([0.75, 0.0])
    assert judge.report() == {"mass": pytest.approx(0.201)}
    assert {prompt.legal for prompt in agent.asked} == {("a", "b")}


@pytest.mark.parametrize("row", [(0.0, 0.0), (np.nan, 0.5), (np.inf, 0.5), (3e-12, 1e-12)])
def test_odds_that_are_none_are_no_verdict(row: tuple[float, float]) -> None:
    (verdict,) = AgentJudge(Odds(row)).judge([CASE])
    assert verdict.void.startswith("odds gives both answers together a probability of")
    assert verdict.void.endswith("it says neither")


def test_a_language_model_judges_by_the_probability_of_its_answers() -> None:
    game = Hearing(CASE, OTHER, may_abstain=False)
    agent = tiny_agent(game, corpus_games=4, hidden=16, layers=1, seed=3)
    judge = AgentJudge(agent)
    found = judge.judge([CASE, OTHER])
    prompts = [judge._prompt(case, 0) for case in (CASE, OTHER)]
    assert prompts[0].text == game.prompt(Heard(CASE), 0)
    for verdict, row in zip(found, agent.move_probabilities(prompts), strict=True):
        assert verdict.p == pytest.approx(row[0] / row.sum())
    assert found[0] != found[1]


def test_odds_need_a_player_that_has_them() -> None:
    with pytest.raises(ValueError, match="by='words'"):
        AgentJudge(ScriptedAgent([]), by="odds")
    with pytest.raises(ValueError, match="Did you mean 'words'"):
        AgentJudge(ScriptedAgent([]), by="word")
    with pytest.raises(ValueError, match="tries"):
        AgentJudge(ScriptedAgent([]), tries=0)


# A majority


class Fixed:
    name = "fixed"

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        return [self.verdict] * len(cases)


NO, MAYBE, YES = Verdict(p=0.1), Verdict(abstained=True), Verdict(p=0.6)
LOST = Verdict(void="lost")


@pytest.mark.parametrize(
    ("votes", "verdict", "unanimous"),
    [
        ((YES, YES, NO), Verdict(p=2 / 3), {"unanimous": 0.0}),
        ((YES, MAYBE, YES, LOST), Verdict(p=1.0), {"unanimous": 1.0}),
        ((NO,), Verdict(p=0.0), {"unanimous": 1.0}),
        ((YES, NO), Verdict(p=0.5), {"unanimous": 0.0}),
        ((Verdict(p=0.5), NO), Verdict(p=0.0), {"unanimous": 1.0}),
        ((MAYBE, LOST), MAYBE, {}),
        ((LOST, LOST), LOST, {}),
    ],
)
def test_a_majority_by_hand(votes: tuple[Verdict, ...], verdict: Verdict, unanimous: dict[str, float]) -> None:
    judge = MajorityJudge([Fixed(vote) for vote in votes])
    assert judge.judge([CASE, CASE]) == [verdict] * 2
    assert judge.report() == unanimous
    with pytest.raises(ValueError, match="a judge or more"):
        MajorityJudge([])


# A trained judge


def cases_of(count: int, seed: int) -> tuple[list[Case], list[int]]:
    """Debates of random speeches, and which seat was right."""
    game, cases, right = make("Debate-v0"), [], []
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        match = Match(game, rng, deferred=True)
        while match.seat is not None:
            said = game.speeches(match.state)
            match.step(said[rng.integers(len(said))])
        assert match.case is not None
        cases.append(match.case)
        right.append(game.right_seat(match.state))
    return cases, right


@pytest.fixture(scope="module")
def trained() -> ModelJudge:
    return train_model_judge(*cases_of(400, 0), steps=400)


def test_a_small_model_learns_to_judge(trained: ModelJudge) -> None:
    """On 300 other debates; guessing is right in half of them, deviation 0.03."""
    cases, right = cases_of(300, 1)
    found = [float(v.p > 0.5) for v in trained.judge(cases)]
    assert np.mean([p == 1 - seat for p, seat in zip(found, right, strict=True)]) > 0.65


def test_a_trained_judge_cannot_care_who_is_listed_first(trained: ModelJudge) -> None:
    cases, _ = cases_of(20, 2)
    for straight, crossed in zip(trained.judge(cases), trained.judge([*map(mirrored, cases)]), strict=True):
        assert straight.p == pytest.approx(1 - crossed.p)
    assert trained.judge([]) == []
    assert features(cases[0]).shape == (2, len(FEATURES))


def test_training_again_gives_the_same_judge(trained: ModelJudge, tmp_path: Path) -> None:
    again = train_model_judge(*cases_of(400, 0), steps=400)
    assert all(np.array_equal(a, b) for a, b in zip(again.mlp, trained.mlp, strict=True))
    trained.save(tmp_path / "judge.npz")
    judge = make_judge(f"model:{tmp_path / 'judge.npz'}")
    cases, _ = cases_of(5, 3)
    assert judge.judge(cases) == trained.judge(cases)


def test_what_is_no_trained_judge(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file: .*; train a judge with scripts/train_judge.py"):
        make_judge("model:nowhere.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="holds no weights"):
        make_judge(f"model:{tmp_path / 'bad.npz'}")
    save_mlp(tmp_path / "other.npz", new_mlp(np.random.default_rng(0), 4, 3, 1))
    with pytest.raises(ValueError, match="10 features and one output, not 4 and 1"):
        make_judge(f"model:{tmp_path / 'other.npz'}")
    wrong = Mlp(np.zeros((4, 3)), np.zeros(2), np.zeros((3, 1)), np.zeros(1))
    save_mlp(tmp_path / "wrong.npz", wrong)
    with pytest.raises(ValueError, match="do not fit together"):
        load_mlp(tmp_path / "wrong.npz")
    with pytest.raises(ValueError, match="a case or more"):
        train_model_judge([], [])


# By name


def test_judges_by_name(tmp_path: Path) -> None:
    assert make_judge("rule").name == "rule"
    assert make_judge("swapped:rule").name == "swapped:rule"
    judge = make_judge("swapped:majority:rule+words:random+rule")
    assert judge.name == "swapped:majority:rule+words:random+rule"
    judge.judge([CASE, OTHER])
    assert report_of(judge).keys() >= {"abstained", "void", "unanimous", "unread", "agreement"}
    assert make_judge("human").name == "human"
    assert make_judge("lm:random").judge([CASE]) == [Verdict(p=0.5)]
    agent = tiny_agent(Hearing(CASE, may_abstain=False), corpus_games=2, hidden=16, layers=1)
    agent.save_pretrained(tmp_path / "model")
    judge = make_judge(f"lm:{tmp_path / 'model'}", temperature=1.0)
    (verdict,) = judge.judge([CASE])
    assert verdict.p == pytest.approx(AgentJudge(agent).judge([CASE])[0].p, abs=1e-6)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("rul", "unknown judge 'rul'. Did you mean 'rule'"),
        ("swaped:rule", "Did you mean 'swapped'"),
        ("swapped:rul", "Did you mean 'rule'"),
        ("majority:rule+humn", "Did you mean 'human'"),
        ("swapped", "needs what follows it, as in swapped:"),
        ("lm:", "needs what follows it, as in lm:"),
        ("rule:strict", "'rule' stands by itself"),
        ("rule:", "'rule' stands by itself"),
        ("", "unknown judge ''"),
        ("words:randm", "Did you mean 'random'"),
        ("lm:openai:m@http://localhost:1/v1", "a server does not say its odds; take words:openai:m@http"),
    ],
)
def test_names_that_are_none(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_judge(spec)


def test_a_model_on_a_server_judges_in_training() -> None:
    """What is only a loaded model's, its device for instance, is not given to a server; the other settings are."""
    server = "openai:m@http://localhost:1/v1"
    for spec in (f"words:{server}", f"majority:rule+words:{server}", f"swapped:words:{server}"):
        check(Settings(game="Debate-v0", judge=spec, judge_timeout=5.0))
        game = make_game(Settings(game="Debate-v0", judge=spec, judge_timeout=5.0))
        assert game.judge is not None
        assert game.judge.name == spec
    with pytest.raises(ValueError, match="judge_timeout"):
        check(Settings(game="Debate-v0", judge="rule", judge_timeout=0.0))


@pytest.mark.parametrize(("kind", "calls"), [("lm", 1), ("words", 3)])
def test_a_player_that_says_neither_answer_is_not_waited_for(
    kind: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries multiplied, 3 times 4 of them with 7 seconds of waits, for what the same noise must say again."""
    asked: list[int] = []

    class Mumbler(Odds):
        def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
            asked.append(len(prompts))
            return [Reply(text="hm") for _ in prompts]

        def move_probabilities(self, prompts: Sequence[Prompt]) -> list[Any]:
            asked.append(len(prompts))
            return super().move_probabilities(prompts)

    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setitem(AGENTS, "mumbler", lambda: Mumbler((3e-12, 1e-12)))
    (verdict,) = make_judge(f"{kind}:mumbler").judge([CASE])
    assert verdict.void.startswith(f"{kind}:mumbler g")
    assert (asked, slept) == ([1] * calls, [])


def test_one_voter_that_breaks_leaves_the_others_their_votes() -> None:
    class Broken:
        name = "broken"

        def judge(self, cases: Sequence[Case]) -> list[Verdict]:
            raise RuntimeError("out of order")

    first, second = MajorityJudge([Broken(), Fixed(Verdict(p=1.0))]), MajorityJudge([Broken()])
    assert first.judge([CASE]) == [Verdict(p=1.0)]
    assert second.judge([CASE]) == [Verdict(void="broken failed: RuntimeError: out of order")]


OWN = """
from sparring.envs import Verdict

class Mine:
    name = "mine"
    def judge(self, cases):
        return [Verdict(p=0.25) for _ in cases]

ready = Mine()
number = 3
def maker():
    return Mine()
class Moody:
    name = "moody"
    asked = []
    def judge(self, cases):
        self.asked.append(len(cases))
        if len(self.asked) == 1:
            raise RuntimeError("not now")
        return [Verdict(p=1.0) for _ in cases]
def liar():
    return 3
"""


def test_a_judge_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bench.py"
    path.write_text(OWN)
    for name in ("Mine", "ready", "maker"):
        judge = make_judge(f"{path}:{name}")
        assert isinstance(judge, Judge)
        assert (judge.name, judge.judge([CASE])) == ("mine", [Verdict(p=0.25)])
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    judge = make_judge(f"{path}:Moody")
    assert judge.judge([CASE]) == judge.judge([CASE]) == [Verdict(p=1.0)]
    moody: Any = judge.inner.inner.inner  # type: ignore[attr-defined]
    assert moody.asked == [1, 1]  # once in vain, once again, and then the verdict is known
    with pytest.raises(ValueError, match="Did you mean 'ready'"):
        make_judge(f"{path}:redy")
    with pytest.raises(ValueError, match="is no judge"):
        make_judge(f"{path}:liar")
    with pytest.raises(ValueError, match="is no judge"):
        make_judge(f"{path}:number")
    with pytest.raises(ValueError, match="no such file"):
        make_judge("nowhere.py:Mine")
    assert make_judge("sparring.envs.quote_judge:QuoteJudge").name == "rule"
