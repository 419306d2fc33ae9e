"""Ratings while a run trains: what is played, what is kept, and that a resumed run has the same."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sparring.agents import OptimalAgent, Prompt, RandomAgent, Reply, ScriptedAgent
from sparring.envs import make
from sparring.selfplay import Settings
from sparring.selfplay.match_log import header_digest, merge
from sparring.selfplay.run import Run
from sparring.selfplay.run_ratings import NAME, RunRatings
from sparring.selfplay.settings_checks import check


def test_each_measure_adds_games_on_other_deals(tmp_path: Path) -> None:
    game = make("TicTacToe-v0")
    rated = RunRatings(game, tmp_path / "log.jsonl", [RandomAgent(), OptimalAgent()], pairs=6)
    first, second = rated.take(OptimalAgent(name="me"), 0), rated.take(RandomAgent(name="me"), 1)
    keys = list(rated.log.records)
    assert len(keys) == 2 * 2 * 6
    assert len({key.seed for key in keys}) == 2
    assert {name for key in keys for name in (key.one, key.other)} == {f"{NAME}0", f"{NAME}1", "random", "optimal"}
    assert first["rating"] > second["rating"] + 200
    assert second["rating_low"] < second["rating"] < second["rating_high"]


def test_the_log_says_who_the_anchors_were_and_with_which_versions(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    # A run of before, which said less, goes on.
    path.write_text('{"format": 1, "games": {"KuhnPoker-v0": {"reward_range": [-2.0, 2.0]}}}\n')
    rated = RunRatings(make("KuhnPoker-v0"), path, [RandomAgent()], pairs=2, retries=1)
    rated.take(RandomAgent(name="me"), 0)
    headers, records = merge([path])
    assert headers[-1]["players"] == {"random": {"kind": "RandomAgent"}}
    assert headers[-1]["games"]["KuhnPoker-v0"]["retries"] == 1
    assert "sparring" in headers[-1]["versions"]
    assert {record["header"] for record in records.values()} == {header_digest(headers[-1])}


def test_what_was_played_before_counts_again_when_the_log_is_opened_anew(tmp_path: Path) -> None:
    game = make("KuhnPoker-v0")
    whole = RunRatings(game, tmp_path / "whole.jsonl", [RandomAgent()], pairs=10, seed=3)
    wanted = [whole.take(RandomAgent(name="me"), n) for n in range(3)]
    parts = [
        RunRatings(game, tmp_path / "parts.jsonl", [RandomAgent()], pairs=10, seed=3).take(RandomAgent(name="me"), n)
        for n in range(3)
    ]
    assert parts == wanted
    assert len(merge([tmp_path / "parts.jsonl"])[1]) == 30


@pytest.mark.parametrize("played", [0, 1, 7, 11, 19, 20, 26, 30])
def test_a_log_that_was_cut_short_anywhere_gives_the_ratings_of_a_whole_one(tmp_path: Path, played: int) -> None:
    """A half-played measure took a number: the next call was another measure, of the same policy, on other deals."""

    def take(path: Path, measures: range) -> list[dict[str, float]]:
        rated = RunRatings(make("KuhnPoker-v0"), path, [RandomAgent(), OptimalAgent()], pairs=5, seed=3)
        return [rated.take(RandomAgent(name="me"), n) for n in measures]

    wanted = take(tmp_path / "whole.jsonl", range(3))
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_text("".join(lines[: 1 + played]))
    # The checkpoint is of before the second measure, whatever the log holds of that and of the third.
    assert take(cut, range(1)) == wanted[:1]
    assert take(cut, range(1, 3)) == wanted[1:]
    assert merge([cut])[1].keys() == merge([tmp_path / "whole.jsonl"])[1].keys()
    pairs = [line for line in cut.read_text().splitlines() if '"pair"' in line]
    assert len(pairs) == 30


def test_an_interrupted_measure_is_gone_on_with(tmp_path: Path) -> None:
    """Ctrl-C in a measure, and the run's last measure, of the same policy, played all anew under another name."""

    class Leaves(RandomAgent):
        asked = 0

        def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
            self.asked += 1
            if self.asked == 3:
                raise KeyboardInterrupt
            return super().reply(prompts)

    game, me = make("KuhnPoker-v0"), Leaves(name="me")
    rated = RunRatings(game, tmp_path / "a.jsonl", [RandomAgent()], pairs=300)
    with pytest.raises(KeyboardInterrupt):
        rated.take(me, 0)
    assert 0 < len(rated.log.records) < 300
    whole = RunRatings(game, tmp_path / "b.jsonl", [RandomAgent()], pairs=300)
    assert rated.take(me, 0) == whole.take(RandomAgent(name="me"), 0)
    assert rated.log.records.keys() == whole.log.records.keys()


def test_forfeits_count_and_a_player_that_is_gone_does_not(tmp_path: Path) -> None:
    game = make("KuhnPoker-v0")
    silent = RunRatings(game, tmp_path / "a.jsonl", [RandomAgent()], pairs=10).take(
        ScriptedAgent(lambda _: "", name="me"), 0
    )
    assert math.isnan(silent["rating_low"])
    assert silent["rating_high"] < 0

    def fail(_: object) -> str:
        raise ConnectionError("gone")

    gone = RunRatings(game, tmp_path / "b.jsonl", [RandomAgent()], pairs=4).take(ScriptedAgent(fail, name="me"), 0)
    assert math.isnan(gone["rating"])


@pytest.mark.pictures
def test_a_run_writes_its_rating_with_its_interval_and_resumes_to_the_same(tmp_path: Path) -> None:
    def settings(name: str) -> Settings:
        return Settings(
            games=24,
            batch_games=8,
            measure_every=1,
            save_every=1,
            warm_steps=2,
            hidden=16,
            layers=1,
            rate_pairs=4,
            opponent="pool",
            snapshot_every=1,
            pool_size=2,
            guard="none",
            out=str(tmp_path / name),
            rate_anchors=["random", "optimal"],
        )

    def finish(run: Run) -> list[dict[str, float]]:
        for _ in (*run.prepare(), *run.learn()):
            pass
        run.close(finished=True)
        lines = (run.folder.path / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k.startswith("rating")} for line in lines]

    whole = finish(Run(settings("whole")))
    assert len(whole) == 4
    assert all(set(record) == {"rating", "rating_low", "rating_high"} for record in whole)
    assert (tmp_path / "whole" / "rating.png").stat().st_size > 1000
    assert "rating" in json.loads((tmp_path / "whole" / "summary.json").read_text())
    stopped = Run(settings("parts"))
    for _ in stopped.prepare():
        pass
    for generation, _ in stopped.learn():
        if generation is not None and generation.update == 2:
            break
    assert finish(Run(Settings(resume=str(tmp_path / "parts")))) == whole
    # The pool's snapshots were met too.
    names = {name for key in merge([tmp_path / "parts" / "ratings.jsonl"])[1] for name in (key.one, key.other)}
    assert {"random", "optimal", "update-1"} <= names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate_anchors": ["optimal"]}, "rate_anchors does nothing without --rate_pairs above 0"),
        ({"rate_pairs": 3, "rate_anchors": []}, "name one, for instance --rate_anchors random"),
        ({"rate_pairs": -1}, "rate_pairs must be 0 or more"),
        ({"rate_pairs": 3, "rate_anchors": ["human"]}, "cannot train by the thousand"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(Settings(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate_pairs": 3, "rate_anchors": ["random", "random"]}, "rate_anchors has random twice: name each"),
        ({"rate_pairs": 3, "rate_anchors": ["nowhere/here"]}, "nowhere/here"),
        ({"rate_pairs": 3, "rate_anchors": ["optimal"]}, "optimal cannot play ConnectFour-v0: .*; name another"),
        ({"opponent": "optimal"}, "optimal cannot play ConnectFour-v0: .*; name another"),
        (
            {"opponent": "pool", "pool_mix": ["fixed=1"], "pool_fixed": ["optimal"]},
            "optimal cannot play ConnectFour-v0: .*; name another",
        ),
        ({"lora": 4, "lora_targets": "foo"}, "LoRA target 'foo' is no layer of this model. Known: .*q_proj"),
        ({"lora": 4, "lora_targets": "q_proj,v_pro"}, "LoRA target 'v_pro' is no layer .* Did you mean 'v_proj'?"),
        ({"lora": 4, "lora_targets": "embed_tokens"}, "LoRA target 'embed_tokens' is not a linear layer"),
        ({"lora": 4, "lora_targets": ".*nope"}, r"LoRA target '\.\*nope' is no layer of this model"),
    ],
)
def test_what_only_the_parts_of_a_run_can_tell_is_refused_before_there_is_a_folder(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """These once left a folder behind, which the next try then found taken."""
    with pytest.raises((ValueError, OSError), match=message):
        Run(Settings(game="ConnectFour-v0", hidden=16, out=str(tmp_path / "run"), **given))
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.")  # of PEFT, on transformers
@pytest.mark.parametrize("targets", ["q_proj", "q_proj,v_proj", r".*_proj", "all-linear"])
def test_layers_that_are_there_are_taken(targets: str, tmp_path: Path) -> None:
    run = Run(
        Settings(hidden=16, lora=2, lora_targets=targets, warm_steps=0, games=2, batch_games=2, out=str(tmp_path))
    )
    list(run.learn())
    assert run.player.adapters is not None
    named = {name.split(".")[-3] for name in run.player.adapters.tensors()}
    assert {"q_proj": len(named) == 1, "q_proj,v_proj": len(named) == 2}.get(targets, len(named) > 2)
