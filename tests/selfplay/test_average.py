"""The average of weights: its numbers, that nothing learns from it, and that it is what a run measures and keeps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sparring.agents import LanguageModelAgent, tiny_agent
from sparring.agents.adapters import add_lora
from sparring.envs import make
from sparring.selfplay import Learner, RoleBaseline, exploitability, play, recorder, samples
from sparring.selfplay.average import Average
from sparring.selfplay.checkpoint import load_checkpoint
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings

# Of PEFT, on transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.")
GAME = make("KuhnPoker-v0")


def learned(ema_decay: float, *, lora: bool = False, updates: int = 3) -> tuple[Learner, list[dict[str, torch.Tensor]]]:
    """A learner and its trained weights before the first update and after each."""
    agent = tiny_agent(GAME, hidden=16, layers=1, heads=2)
    if lora:
        add_lora(agent, r=2, seed=0)
    learner = Learner(agent, lr=0.05, ema_decay=ema_decay)
    path = [weights(agent)]
    for update in range(updates):
        learner.update(samples(play(GAME, (agent, agent), games=16, first=16 * update), RoleBaseline()))
        path.append(weights(agent))
    return learner, path


def weights(agent: LanguageModelAgent) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in agent.model.named_parameters() if p.requires_grad}


def test_a_hand_worked_average() -> None:
    """Decays of 1/10, 2/11 and then 0.2, where 3/12 is more."""
    weight = torch.tensor([10.0])
    average = Average({"w": weight}, decay=0.2)
    for count, value, wanted in ((1, 20.0, 19.0), (2, 30.0, 28.0), (3, 40.0, 37.6)):
        weight.fill_(value)
        average.update(count)
        assert average.tensors()["w"].item() == pytest.approx(wanted, rel=1e-6)


def test_it_reaches_the_weights_of_a_model_in_bfloat16() -> None:
    """In bfloat16 itself it stopped at 1.0625, for the last steps are less than what that tells apart."""
    weight = torch.tensor([1.0], dtype=torch.bfloat16)
    average = Average({"w": weight}, decay=0.98)
    weight.fill_(1.15)
    for count in range(1, 1000):
        average.update(count)
    with average.in_place():
        assert weight.dtype == torch.bfloat16
        assert weight.item() == torch.tensor(1.15).bfloat16().item()


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="0 or more and below 1"):
        Average({"w": torch.ones(1)}, decay)


@pytest.mark.parametrize("lora", [False, True])
def test_the_policy_has_its_average_for_a_while_and_learns_as_without_one(lora: bool) -> None:
    learner, path = learned(0.15, lora=lora)
    _, plain = learned(0.0, lora=lora)
    assert all(torch.equal(path[-1][n], plain[-1][n]) for n in plain[-1])
    wanted = copy.deepcopy(path[0])
    for now, decay in zip(path[1:], (0.1, 0.15, 0.15), strict=True):
        wanted = {n: decay * wanted[n] + (1 - decay) * now[n] for n in now}
    with learner.averaged():
        within = weights(learner.agent)
    assert any(not torch.equal(within[n], path[-1][n]) for n in within)
    for name, weight in wanted.items():
        torch.testing.assert_close(within[name], weight)
    assert all(torch.equal(w, path[-1][n]) for n, w in weights(learner.agent).items())


def test_what_an_agent_remembers_is_of_the_weights_that_it_has() -> None:
    learner, _ = learned(0.9)
    last = exploitability(GAME, learner.agent).nashconv
    with learner.averaged():
        assert exploitability(GAME, learner.agent).nashconv != last
    assert exploitability(GAME, learner.agent).nashconv == last


def test_weights_are_put_back_after_an_error() -> None:
    learner, path = learned(0.9)
    with pytest.raises(KeyboardInterrupt), learner.averaged():
        raise KeyboardInterrupt
    assert all(torch.equal(w, path[-1][n]) for n, w in weights(learner.agent).items())


def test_without_one_the_policy_stays_what_it_is() -> None:
    learner, path = learned(0.0)
    assert "average" not in learner.tensors()
    with learner.averaged():
        assert all(torch.equal(w, path[-1][n]) for n, w in weights(learner.agent).items())


def test_a_run_measures_and_keeps_the_average_and_plays_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("plot_curves", "plot_all"):
        monkeypatch.setattr(recorder, name, lambda *_, **__: None)
    tiny: dict[str, Any] = {"hidden": 16, "layers": 1, "heads": 2, "warm_steps": 5, "batch_games": 24, "games": 96}
    played = {}
    for decay in (0.0, 0.9):
        out = tmp_path / str(decay)
        run = Run(Settings(out=str(out), **tiny, lr=0.02, ema_decay=decay, save_every=4, measure_every=2), say=print)
        for _ in (*run.prepare(), *run.learn()):
            pass
        summary = run.close(finished=True)
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        played[decay] = [(r["entropy"], r["reward_first_seat"], r["loss"]) for r in records[1:]]
        saved = LanguageModelAgent.from_pretrained(str(out / "model"))
        assert exploitability(GAME, saved).nashconv == pytest.approx(summary["nashconv"], abs=1e-6)
        checkpoint = load_checkpoint(out / "checkpoints", on_skip=print)
        assert checkpoint is not None
        part = checkpoint.tensors("average" if decay else "model")
        for name, weight in saved.model.named_parameters():
            assert torch.equal(weight, part[name])
    assert played[0.0] == played[0.9]
