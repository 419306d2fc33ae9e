"""Whole runs that go wrong under the guard: what it sees, what it takes back, and what is measured afterwards."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sparring.agents import LanguageModelAgent, RandomAgent, make_agent, tiny_agent
from sparring.agents.adapters import add_lora
from sparring.envs import make
from sparring.selfplay import (
    AdapterSnapshots,
    CopySnapshots,
    Episode,
    Learner,
    OpponentPool,
    PolicyGradient,
    RoleBaseline,
    exploitability,
    play,
    recorder,
    samples,
)
from sparring.selfplay.guard import Guard, default_rules
from sparring.selfplay.guard_rules import DEFAULTS
from sparring.selfplay.processes import Processes
from sparring.selfplay.run import Run
from sparring.selfplay.run_state import RunState
from sparring.selfplay.settings import Settings
from sparring.selfplay.start import Start, largest_weight, sampled
from sparring.selfplay.training import _gathered

# Of PEFT, on transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.")
GAME = make("KuhnPoker-v0")
SMALL = {"hidden": 16, "layers": 1, "heads": 2, "warm_steps": 5, "warm_lr": 0.02, "batch_games": 24, "transcripts": 2}
EIGHT = {**SMALL, "games": 8 * 24, "measure_every": 3}
"""Eight updates; measured are the third, the sixth and the last."""
Harm = Callable[[Learner], None]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as training."""
    for name in ("plot_curves", "plot_all"):
        monkeypatch.setattr(recorder, name, lambda *_, **__: None)


def train(out: Path, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]], Run, list[str]]:
    """Return the summary, the measured generations, the run and what it said."""
    said: list[str] = []
    run = Run(Settings(out=str(out), **{**EIGHT, **settings}), say=said.append)
    for _ in (*run.prepare(), *run.learn()):
        pass
    summary = run.close(finished=True)
    return summary, [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()], run, said


def nan_gradient(learner: Learner) -> None:
    """The next step of the learner meets a NaN among its gradients."""
    step = learner._step

    def broken() -> float:
        parameter = learner.optimizer.param_groups[0]["params"][0]
        parameter.grad.view(-1)[0] = math.nan
        learner._step = step  # type: ignore[method-assign]
        return step()

    learner._step = broken  # type: ignore[method-assign]


@torch.no_grad()
def nan_weights(learner: Learner) -> None:
    next(learner.agent.model.parameters()).view(-1)[0] = math.nan


@torch.no_grad()
def overflow(learner: Learner) -> None:
    """Weights stay finite, and what the model computes from them does not."""
    learner.agent.model.model.norm.weight.fill_(3e38)


def hurt(monkeypatch: pytest.MonkeyPatch, harm: Harm, *, at: int | None) -> None:
    """Let the update of this number, counted over the whole run, end in harm, once; None: every update."""
    update, calls = Learner.update, [0]

    def hurting(self: Learner, *arguments: Any) -> dict[str, float]:
        calls[0] += 1
        if at in (None, calls[0]) and harm is nan_gradient:
            harm(self)
        report = update(self, *arguments)
        if at in (None, calls[0]) and harm is not nan_gradient:
            harm(self)
        return report

    monkeypatch.setattr(Learner, "update", hurting)


@pytest.mark.parametrize("at", [2, 3, 8], ids=["not measured", "measured", "last"])
@pytest.mark.parametrize(
    ("harm", "seen"),
    [(nan_gradient, "grad_norm is nan"), (nan_weights, "largest_weight is nan"), (overflow, "logits is nan")],
)
def test_numbers_that_are_not_finite_are_rolled_back_whenever_they_come(
    harm: Harm, seen: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measures came before the guard once, and raised at the NaN that it was there to see."""
    hurt(monkeypatch, harm, at=at)
    summary, measured, run, _ = train(tmp_path / "run")
    assert (summary["finished"], summary["rollbacks"], summary["games"]) == (True, 1, EIGHT["games"])
    (note,) = summary["guard"]
    # What only play reveals is said of the update that could not be played, and so was played again.
    assert note.startswith(f"update {3 if harm is overflow and at == 2 else at}: ")
    assert seen in note
    assert [m["update"] for m in measured] == [0, 3, 6, 8]
    assert all(math.isfinite(m["nashconv"]) for m in measured)
    assert run.state is not None
    assert math.isfinite(largest_weight(run.state.learner))
    again = exploitability(GAME, make_agent(str(tmp_path / "run" / "model"))).nashconv
    assert again == pytest.approx(summary["nashconv"], abs=1e-4)


@pytest.mark.parametrize("settings", [{"guard": "none"}, {"guard_rules": ["finite=warn"]}], ids=["none", "warn"])
@pytest.mark.parametrize("at", [2, 3])
def test_where_nothing_goes_back_a_broken_policy_ends_the_run_with_its_update(
    settings: dict[str, Any], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurt(monkeypatch, overflow, at=at)
    with pytest.raises(FloatingPointError, match=r"update 3: the model's logits are not finite.* a run goes back"):
        train(tmp_path / "run", **settings)


def test_what_breaks_play_again_and_again_is_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurt(monkeypatch, overflow, at=None)
    summary, _, run, _ = train(tmp_path / "run")
    assert (summary["finished"], summary["rollbacks"], run.stopped_by) == (False, 5, "finite")
    assert "all 5 rollbacks are spent" in summary["stopped"]
    assert summary["nashconv"] == summary["nashconv_start"]


def test_after_a_rollback_for_strength_at_the_end_the_model_that_is_saved_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No strength is enough here; the second measure, the last, is the one that rolls back."""
    monkeypatch.setitem(DEFAULTS, "strength_drop", replace(DEFAULTS["strength_drop"], below=1.0))
    summary, measured, *_ = train(tmp_path / "run", measure_every=4)
    assert summary["rollbacks"] == 1
    assert [(m["update"], m.get("rollbacks")) for m in measured] == [(0, None), (4, 0), (8, 0), (8, 1)]
    again = exploitability(GAME, make_agent(str(tmp_path / "run" / "model"))).nashconv
    assert again == pytest.approx(summary["nashconv"], abs=1e-5)
    assert abs(measured[2]["nashconv"] - summary["nashconv"]) > 1e-3
    # Games are kept once, however often the policy is measured after them.
    transcripts = (tmp_path / "run" / "transcripts.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in transcripts] == [4, 4, 8, 8]


# The pool.


@pytest.mark.parametrize("lora", [0, 2], ids=["copies", "adapters"])
@pytest.mark.parametrize("harm", ["nan", "collapse"])
def test_a_rollback_takes_snapshots_of_what_went_wrong_out_of_the_pool(
    lora: int, harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen before the guard had judged them they stayed: broken ones killed the next games, bad ones were played."""
    more: dict[str, Any] = {"opponent": "pool", "snapshot_every": 1, "pool_mix": ["snapshots=1"], "lora": lora}
    if harm == "nan":
        hurt(monkeypatch, nan_lora if lora else nan_weights, at=4)
    else:
        # No entropy is enough: fires at the third judged update, which is the fourth, and again at the eighth.
        more["guard_rules"] = ["entropy_floor=1e9", "entropy_low=none"]
    summary, _, run, _ = train(tmp_path / "run", **more)
    assert run.pool is not None
    assert summary["rollbacks"] == (1 if harm == "nan" else 2)
    left = {"update-5", "update-6", "update-7", "update-8"} if harm == "nan" else set()
    assert set(run.pool.names) == left
    rows = json.loads((tmp_path / "run" / "payoffs.json").read_text())
    assert {name for row in rows for name in (row["player"], row["opponent"])} <= left | {run.player.name}
    assert all(row["games"] == row["won"] + row["drawn"] + row["lost"] > 0 for row in rows)
    assert rows == run.pool.payoffs.table()
    met = sum(row["games"] for row in rows if row["player"] == run.player.name)
    # After the rollback three generations met snapshots only, and the first after it itself.
    assert met == (3 * 24 if harm == "nan" else 0)
    if lora:
        assert run.player.adapters is not None
        assert set(run.player.adapters.names) - {"reference"} == left


@torch.no_grad()
def nan_lora(learner: Learner) -> None:
    for parameter in learner.optimizer.param_groups[0]["params"]:
        parameter.view(-1)[0] = math.nan


@pytest.mark.parametrize("kind", [AdapterSnapshots, CopySnapshots])
def test_snapshots_that_are_older_than_the_last_good_state_stay(
    kind: type[AdapterSnapshots | CopySnapshots],
) -> None:
    agent = tiny_agent(GAME, corpus_games=20, hidden=16, name="me")
    if kind is AdapterSnapshots:
        add_lora(agent, r=2)
    pool = OpponentPool(agent, kind(agent), weights={"snapshots": 1.0})
    state = RunState(Learner(agent), RoleBaseline(), pool=pool, guard=Guard(default_rules()))
    for name in ("old", "good", "candidate", "bad"):
        pool.grow(name)
        if name != "bad":
            # The one that is taken for good now is trusted once the next one is.
            state.vouch()
    state.roll_back()
    assert pool.names == ("old", "good")
    pool.grow("new")
    state.roll_back()
    assert pool.names == ("old", "good")


# The KL to the start.


UNANCHORED: dict[str, dict[str, Any]] = {
    "no reference": {"kl": 0.0},
    "a reference that moves": {"anchor_every": 2},
    "rft": {"update": "rft"},
}


@pytest.mark.parametrize("name", UNANCHORED)
def test_the_kl_to_the_start_is_there_at_every_measure(name: str, tmp_path: Path) -> None:
    _, measured, run, said = train(tmp_path / "run", **UNANCHORED[name])
    assert all(m["kl_start"] >= 0 for m in measured[1:])
    # The first games that are measured are those of the third update, so the policy has moved.
    assert measured[1]["kl_start"] > 1e-6
    assert run.guard is not None
    assert run.guard.unseen == ()
    assert said == []


def test_where_the_reference_is_the_start_the_kl_is_the_updates_own(tmp_path: Path) -> None:
    _, measured, run, _ = train(tmp_path / "run")
    assert [m["kl_start"] for m in measured[1:]] == [m["kl"] for m in measured[1:]]
    assert run.state is not None
    assert run.state.start is not None
    assert run.state.start.tensors() == {}
    assert "start-model" not in run.state.tensors()


def moved() -> tuple[LanguageModelAgent, Learner, Start, Start]:
    """An agent some way from where it started, and the start by weights and by reference."""
    agent = tiny_agent(GAME, corpus_games=20, hidden=16)
    by_weights = Start(Learner(agent))
    learner = Learner(agent, PolicyGradient(kl=1.0))
    by_reference = Start(learner)
    with torch.no_grad():
        for number, parameter in enumerate(agent.model.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.add_(0.02 * noise)
    return agent, learner, by_weights, by_reference


def test_the_estimate_is_near_the_exact_kl_and_leaves_the_policy_as_it_was() -> None:
    agent, learner, by_weights, by_reference = moved()
    before = {name: weight.clone() for name, weight in agent.model.state_dict().items()}
    episodes = list(play(GAME, (agent, agent), games=300, seed=1))
    found = by_weights.kl(episodes)
    assert found is not None
    assert found == pytest.approx(by_reference.kl(episodes), rel=1e-6)
    assert all(torch.equal(before[name], weight) for name, weight in agent.model.state_dict().items())
    exact = learner.update(samples(episodes, RoleBaseline()))["kl"]
    assert exact > 0.01
    assert found == pytest.approx(exact, rel=0.25)
    assert by_weights.kl([]) is None


def test_a_bounded_number_of_turns_is_looked_at_from_all_games() -> None:
    agent = tiny_agent(GAME, corpus_games=20, hidden=16)
    episodes = list(play(GAME, (agent, agent), games=600, seed=1))
    replies = sampled(episodes)
    assert 128 <= len(replies) <= 256
    last = [turn.reply for episode in episodes[-10:] for turn in episode.turns]
    assert any(reply is other for reply in replies for other in last)


# What is said.


def test_rules_that_have_nothing_to_judge_are_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Learner.update
    monkeypatch.setattr(Learner, "update", lambda *arguments: {"turns": update(*arguments)["turns"]})
    *_, said = train(tmp_path / "run", games=3 * 24)
    assert said == [
        "the guard: this run does not report entropy, grad_norm, so these rules do nothing: entropy_low, "
        "entropy_floor, entropy_ceiling, grad_norm_high, grad_norm_ceiling"
    ]


class Two(Processes):
    """Two processes, whose exchanges are counted."""

    exchanged = 0

    def __init__(self, other: list[Any]) -> None:
        super().__init__()
        self.other = other

    def gather(self, found: Any) -> list[Any]:
        self.exchanged += 1
        return [*found, *self.other]


def test_what_breaks_play_in_one_process_is_raised_by_all() -> None:
    """The one that breaks must still exchange, or the others would wait for it."""

    def breaks() -> Iterator[Episode]:
        yield from play(GAME, (RandomAgent(), RandomAgent()), games=1)
        raise FloatingPointError("of this process")

    for own, other, said in ((breaks(), [], "of this"), (iter(()), [FloatingPointError("of the other")], "of the oth")):
        processes = Two(other)
        with pytest.raises(FloatingPointError, match=said):
            _gathered(processes, own)
        assert processes.exchanged == 1


def test_the_start_is_kept_with_checkpoints(tmp_path: Path) -> None:
    """In every one of them it is the policy before the first game."""
    train(tmp_path / "run", kl=0.0, save_every=1, keep=9)
    folders = sorted((tmp_path / "run" / "checkpoints").iterdir())
    first, last = (load_file(folder / "start.safetensors") for folder in (folders[0], folders[-1]))
    began = load_file(folders[0] / "model.safetensors")
    assert all(torch.equal(first[name], last[name]) and torch.equal(first[name], began[name]) for name in began)
