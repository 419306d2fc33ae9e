"""The judge of training and the judge of evaluation: who is asked when, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparring.agents import RandomAgent
from sparring.envs import Case, Game, Verdict, make
from sparring.selfplay import Run, Settings
from sparring.selfplay.assembly import make_eval_game, make_game
from sparring.selfplay.judged import is_judged, judge_metrics, judged_apart, with_judge
from sparring.selfplay.measures import make_measure
from sparring.selfplay.settings_checks import check

JUDGES = """
from sparring.envs import Verdict

class Harsh:
    name = "harsh"
    def judge(self, cases):
        return [Verdict(p=1.0) for _ in cases]

class Kind:
    name = "kind"
    def judge(self, cases):
        return [Verdict(abstained=True) for _ in cases]
"""
SHORT = Settings(
    game="Debate-v0",
    games=32,
    batch_games=16,
    in_flight=16,
    # Two tokens are a speech, and any speech is legal: what is said is not at issue here.
    warm_steps=0,
    max_new_tokens=2,
    hidden=16,
    layers=1,
    measure_every=1,
    guard="none",
)


def short(folder: Path, **changes: Any) -> Settings:
    """Settings of a run on one question, of whose two prompts each is read once."""
    (folder / "bench.py").write_text(JUDGES)
    (folder / "one.jsonl").write_text('{"question": "?", "right": "yes", "wrong": "no"}')
    options = ["protocol=consultancy", "rounds=1", "quotes=off", f"questions={folder / 'one.jsonl'}"]
    return replace(SHORT, options=options, out=str(folder / "run"), **changes)


def trained(settings: Settings) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run it all but the drawing, which takes longest; returns the summary and the lines of metrics.jsonl."""
    run = Run(settings, say=lambda text: None)
    for _ in run.prepare():
        pass
    for _ in run.learn():
        pass
    run.recorder._draw = lambda: None  # type: ignore[method-assign]
    summary = run.close(finished=True)
    lines = (run.folder.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return summary, [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run that learns from one judge and is measured by another."""
    folder = tmp_path_factory.mktemp("judged")
    judge, eval_judge = f"swapped:{folder / 'bench.py'}:Harsh", f"{folder / 'bench.py'}:Kind"
    return trained(short(folder, judge=judge, eval_judge=eval_judge))


def test_the_summary_names_both_judges(run: Any) -> None:
    summary, _ = run
    assert (summary["judge"], summary["eval_judge"]) == ("swapped:harsh", "kind")
    assert summary["accuracy"] <= 0.5


def test_what_each_judge_counted_is_in_the_metrics_by_itself(run: Any) -> None:
    _, lines = run
    assert "judge/abstained" not in lines[0]
    for line in lines[1:]:
        # Harsh finds for whoever is listed first: all bias, no agreement.
        assert line["judge/position_bias"] == 0.5
        assert (line["judge/agreement"], line["judge/abstained"], line["judge/void"]) == (0.0, 0.0, 0.0)
    for line in lines:
        assert (line["eval_judge/abstained"], line["eval_judge/void"]) == (1.0, 0.0)
        assert "eval_judge/position_bias" not in line
        assert line["eval/abstained"] == 1.0


def test_training_keeps_its_own_figures_beside_those_of_evaluation(run: Any) -> None:
    _, lines = run
    assert all(line["game/abstained"] == 0.0 for line in lines[1:])
    assert not any(key.startswith("game/") for key in lines[0])


def test_without_names_the_games_own_judge_does_both(tmp_path: Path) -> None:
    summary, lines = trained(short(tmp_path, games=16))
    assert (summary["judge"], summary["eval_judge"]) == ("rule", "rule")
    assert "eval/accuracy" in lines[-1]


def test_a_game_without_cases_has_no_judge(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KuhnPoker-v0 asks no judge: leave judge 'rule' out"):
        make_game(Settings(judge="rule"))
    with pytest.raises(ValueError, match="asks no judge"):
        make_eval_game(Settings(eval_judge="rule"), make("KuhnPoker-v0"))
    assert not is_judged(make("KuhnPoker-v0"))


@pytest.mark.parametrize("spec", ["human", "swapped:human", "majority:rule+human", "words:human"])
@pytest.mark.parametrize("name", ["judge", "eval_judge"])
def test_a_person_judges_no_thousands(name: str, spec: str) -> None:
    with pytest.raises(ValueError, match=f"{name} 'human' cannot judge by the thousand"):
        check(Settings(game="Debate-v0", **{name: spec}))


@pytest.mark.parametrize(
    "spec", ["lm:org/superhuman-7b", "majority:rule+lm:human/7b", "bench.py:human", "words:humane"]
)
@pytest.mark.parametrize("name", ["judge", "eval_judge"])
def test_whose_name_only_sounds_human_is_no_person(name: str, spec: str) -> None:
    check(Settings(game="Debate-v0", **{name: spec}))


@pytest.mark.parametrize("around", ["", "swapped:", "majority:rule+"])
@pytest.mark.parametrize("name", ["judge", "eval_judge"])
def test_the_odds_of_a_model_on_a_server_are_refused_before_anything_is_made(name: str, around: str) -> None:
    with pytest.raises(ValueError, match="does not say its odds; take words:openai:m@http://h/v1"):
        check(Settings(game="Debate-v0", **{name: f"{around}lm:openai:m@http://h/v1"}))


def test_settings_of_loaded_models_are_of_judges_too() -> None:
    check(Settings(game="Debate-v0", eval_judge="lm:some/model", dtype="bfloat16"))
    check(Settings(game="Debate-v0", judge="majority:rule+swapped:words:some/model", dtype="bfloat16"))
    for judge in ("rule", "words:random", "words:openai:m@http://h/v1"):
        with pytest.raises(ValueError, match="none is loaded"):
            check(Settings(game="Debate-v0", judge=judge, dtype="bfloat16"))


def test_the_timeout_of_the_settings_is_the_judges(tmp_path: Path) -> None:
    (tmp_path / "bench.py").write_text(JUDGES)
    judge = f"{tmp_path / 'bench.py'}:Harsh"
    settings = Settings(game="Debate-v0", judge=judge, eval_judge=judge, judge_timeout=7.0)
    game = make_game(settings)
    for made in (game, make_eval_game(settings, game)):
        counted: Any = made.judge
        assert counted.inner.inner.timeout == 7.0


def test_the_evaluations_copy_leaves_the_game_as_it_is() -> None:
    game = make_game(Settings(game="Debate-v0", judge="rule"))
    other = make_eval_game(Settings(eval_judge="swapped:rule"), game)
    assert game.judge is not None
    assert other.judge is not None
    assert (game.judge.name, other.judge.name) == ("rule", "swapped:rule")
    assert make_eval_game(Settings(), game) is game


class Watched:
    name = "watched"

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        return [Verdict(p=0.25)] * len(cases)


def test_a_measure_reports_and_forgets() -> None:
    game: Game[Any] = with_judge(make("Debate-v0"), "swapped:rule")
    measure = judged_apart(make_measure(game, games=8), game)
    found = measure.take(RandomAgent())
    assert {"accuracy", "strength", "eval/p_right", "eval_judge/agreement", "eval_judge/abstained"} <= found.keys()
    assert judge_metrics(game) == {}
    game.judge = Watched()
    assert judge_metrics(game) == {}
