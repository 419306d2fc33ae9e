"""Sampled NashConv: its bounds hold the exact one, and its two estimates err to their own sides."""

from __future__ import annotations

import numpy as np
import pytest

from sparring.agents import RandomAgent, Reply, ScriptedAgent, uniform
from sparring.envs import make
from sparring.selfplay import exploitability, sampled_exploitability


class Mixed:
    """Plays a fixed random row at each prompt, some of it illegal. `sharpness` below 1 makes it nearly pure."""

    name = "mixed"

    def __init__(self, seed, *, sharpness=1.0, illegal=0.1):
        self.rng = np.random.default_rng(seed)
        self.sharpness = sharpness
        self.illegal = illegal
        self.rows = {}
        self.noises = []

    def move_probabilities(self, prompts):
        return [self.row(prompt) for prompt in prompts]

    def row(self, prompt):
        if prompt.text not in self.rows:
            legal = 1.0 - self.illegal * self.rng.random()
            self.rows[prompt.text] = legal * self.rng.dirichlet([self.sharpness] * len(prompt.legal))
        return self.rows[prompt.text]

    def reply(self, prompts):
        self.noises += [prompt.noise for prompt in prompts]
        return [Reply(text=self._say(prompt)) for prompt in prompts]

    def _say(self, prompt):
        i = int(np.searchsorted(np.cumsum(self.row(prompt)), uniform(prompt.noise), side="right"))
        return f"<think>hm</think>[{prompt.legal[i]}]" if i < len(prompt.legal) else "I would rather not."


@pytest.mark.parametrize("sharpness", [1.0, 0.1])
def test_the_bounds_hold_the_exact_value(sharpness):
    """12 policies, 95% bounds on two numbers each. If bounds failed in 5% of policies, three or more misses
    of either would come in 2% of choices of seeds; the bounds are cautious, so in fewer."""
    game, misses = make("KuhnPoker-v0"), np.zeros(2)
    for seed in range(12):
        policy = Mixed(seed, sharpness=sharpness)
        exact = exploitability(game, policy)
        found = sampled_exploitability(game, policy, samples=24, seed=seed, resamples=100)
        misses[0] += not found.nashconv.lower <= exact.nashconv <= found.nashconv.upper
        misses[1] += not found.nashconv_legal.lower <= exact.nashconv_legal <= found.nashconv_legal.upper
    assert misses.max() <= 2


def test_plug_in_errs_high_and_split_errs_low():
    """At 4 replies a prompt the mean errors over 40 seeds are about +0.11 and -0.16, with standard errors of
    0.035 and 0.043: a wrong sign comes in about one choice of seeds in a thousand."""
    game, policy = make("KuhnPoker-v0"), Mixed(100, illegal=0.0)
    exact = exploitability(game, policy).nashconv
    found = [sampled_exploitability(game, policy, samples=4, seed=seed, resamples=1) for seed in range(40)]
    assert np.mean([f.nashconv.plug_in for f in found]) > exact
    assert np.mean([f.nashconv.split for f in found]) < exact


def test_more_replies_narrow_the_bounds():
    game = make("KuhnPoker-v0")
    few, many = (sampled_exploitability(game, Mixed(1), samples=n, seed=0, resamples=50) for n in (8, 256))
    assert many.nashconv.upper - many.nashconv.lower < 0.5 * (few.nashconv.upper - few.nashconv.lower)


def test_a_pure_player_is_sampled_exactly():
    def bet(prompt):
        return f"[{'bet' if 'bet' in prompt.legal else 'call'}]"

    def row(prompt):
        return [float(f"[{move}]" == bet(prompt)) for move in prompt.legal]

    game = make("KuhnPoker-v0")
    found = sampled_exploitability(game, ScriptedAgent(bet), samples=2, seed=0, resamples=2)
    assert found.nashconv.plug_in == pytest.approx(exploitability(game, row).nashconv, abs=1e-12)
    assert found.nashconv.split == pytest.approx(exploitability(game, row).nashconv, abs=1e-12)
    assert found.illegal_mass_max == 0.0


def test_every_reply_has_its_own_noise_and_the_batch_does_not_matter():
    game, policy = make("KuhnPoker-v0"), Mixed(2)
    found = sampled_exploitability(game, policy, samples=6, seed=3, resamples=5)
    assert len(set(policy.noises)) == len(policy.noises) == 6 * 12
    assert sampled_exploitability(game, policy, samples=6, seed=3, resamples=5, batch=7) == found
    assert sampled_exploitability(game, policy, samples=6, seed=4, resamples=5) != found


def test_perfect_information_can_be_sampled_too():
    game = make("Nim-v0", heaps=(1, 2))
    found = sampled_exploitability(game, RandomAgent(), samples=64, seed=0, resamples=50)
    exact = exploitability(game, RandomAgent()).nashconv
    assert found.nashconv.lower <= exact <= found.nashconv.upper


@pytest.mark.parametrize("settings", [{"samples": 1}, {"samples": 4, "confidence": 1.0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="2 or more"):
        sampled_exploitability(make("KuhnPoker-v0"), RandomAgent(), seed=0, **settings)
