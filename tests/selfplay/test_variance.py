"""Role-conditioned baselines (RAE) where the seats earn unequally: they keep the gradient and take noise away."""

import itertools
import runpy
from pathlib import Path

import pytest
import torch

from sparring.agents import LanguageModelAgent, tiny_agent
from sparring.agents.prefix import reply_logits
from sparring.envs import check_game, make
from sparring.selfplay import Learner, RoleBaseline, play, samples

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "variance.py"
BENCHMARK = runpy.run_path(str(FILE))
GAMES = 4000


def shifted(shift: float):
    return make(f"{FILE}:ShiftedKuhn", shift=shift)


@pytest.fixture(scope="module")
def agent() -> LanguageModelAgent:
    # The prompts do not tell the shift, so one model is enough.
    game = shifted(0.0)
    tiny = tiny_agent(game, hidden=32, layers=1, corpus_games=20)
    return BENCHMARK["warm"](game, tiny, steps=100, batch_games=16, lr=1e-2)


def ratio(agent: LanguageModelAgent, shift: float):
    game = shifted(shift)
    return BENCHMARK["variance_ratio"](agent, list(play(game, (agent, agent), games=GAMES, seed=1)))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_shifted_game_keeps_the_contract(shift: float) -> None:
    check_game(shifted(shift))


def test_unequal_seats_are_less_noisy_with_a_baseline_of_each(agent: LanguageModelAgent) -> None:
    """Without a baseline seat 0, which earns more often than not, is told that whatever it did was good.

    Over other games the ratio is 0.68 with a standard deviation of 0.014: one in five million fails.
    """
    assert ratio(agent, 1.0).ratio <= 0.75


def test_equal_seats_gain_nothing(agent: LanguageModelAgent) -> None:
    """Kuhn's seats differ by a tenth of a chip at most, so a baseline has nothing to take away.

    Over other games the ratio is 1.003 with a standard deviation of 0.003, ten of which fit into what is allowed.
    """
    assert abs(ratio(agent, 0.0).ratio - 1) <= 0.05


def test_the_variance_is_that_of_the_gradients(agent: LanguageModelAgent) -> None:
    """Against the learner's own gradients, one game at a time."""
    game = shifted(1.0)
    episodes = list(play(game, (agent, agent), games=12, seed=2))
    replies = list({(t.reply.prompt_ids, t.reply.ids): t.reply for e in episodes for t in e.turns}.values())
    baseline = RoleBaseline()
    found = [list(samples([episode], baseline)) for episode in episodes]
    learner = Learner(agent, lr=0.0, max_grad_norm=1e9)
    rows = []
    for game_samples in found:
        learner.update(game_samples)
        # The learner's loss is a mean over turns and is minimised.
        gradient = torch.cat([p.grad.flatten() for p in agent.model.parameters()])
        rows.append(-gradient * len(game_samples))
    expected = torch.stack(rows).var(0).sum().item()
    gram = BENCHMARK["by_weights"](agent, replies)
    got = BENCHMARK["total_variance"](BENCHMARK["weights"](found, replies), gram)
    assert got == pytest.approx(expected, rel=1e-4)


def test_gradients_by_logits_are_those_of_autograd(agent: LanguageModelAgent) -> None:
    game = shifted(1.0)
    replies = [turn.reply for episode in play(game, (agent, agent), games=12, seed=2) for turn in episode.turns]
    rows = []
    for reply in replies:
        logits_TV = reply_logits(agent.model, [reply.prompt_ids], [(0, reply.ids)]).detach().requires_grad_()
        torch.log_softmax(logits_TV, -1)[0, reply.ids[0]].backward()
        rows.append(logits_TV.grad[0].double())
    gram = BENCHMARK["by_logits"](agent, replies)
    for i, j in itertools.product(range(len(replies)), repeat=2):
        same = replies[i].prompt_ids == replies[j].prompt_ids
        assert gram[i, j] == pytest.approx((rows[i] @ rows[j]).item() if same else 0.0, abs=1e-5)
