"""The role-conditioned baseline: order of reading and updating, correction, state."""

import json

import pytest

from sparring.agents import RandomAgent
from sparring.envs import make
from sparring.selfplay import RoleBaseline, play, samples


def test_by_hand() -> None:
    baseline = RoleBaseline(decay=0.5)
    assert baseline.advantage("g", 0, 1.0) == 1.0  # nothing known yet
    assert baseline.advantage("g", 0, 0.0) == -1.0  # the corrected mean of one reward is that reward
    # Mean 0.5 * 0.5 + 0 = 0.25, correction 1 - 0.25 = 0.75.
    assert baseline("g", 0) == pytest.approx(1 / 3)


def test_seats_and_games_are_kept_apart() -> None:
    baseline = RoleBaseline()
    baseline.advantage("g", 0, 1.0)
    assert baseline("g", 1) == 0.0
    assert baseline("h", 0) == 0.0


def test_bias_correction_learns_a_constant_at_once() -> None:
    """A baseline started at zero and not corrected has learned under a tenth of a constant after 100 games at
    decay 0.999; corrected it is right after one."""
    baseline = RoleBaseline(decay=0.999)
    baseline.advantage("g", 0, -0.7)
    assert baseline("g", 0) == pytest.approx(-0.7)


def test_a_resumed_baseline_goes_on_as_if_never_stopped() -> None:
    whole, first = RoleBaseline(0.9), RoleBaseline(0.9)
    rewards = [(i % 2, float(i % 5) - 2) for i in range(50)]
    expected = [whole.advantage("g", seat, reward) for seat, reward in rewards]
    found = [first.advantage("g", seat, reward) for seat, reward in rewards[:20]]
    second = RoleBaseline()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    found += [second.advantage("g", seat, reward) for seat, reward in rewards[20:]]
    assert found == expected


def test_bad_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\)"):
        RoleBaseline(1.0)


def test_every_turn_of_a_seat_gets_its_advantage() -> None:
    episodes = list(play(make("KuhnPoker-v0"), (agent := RandomAgent(), agent), games=20, seed=3))
    baseline, again = RoleBaseline(), RoleBaseline()
    found = list(samples(episodes, baseline))
    expected = []
    for episode in episodes:
        gained = [again.advantage(episode.game, seat, episode.rewards[seat]) for seat in (0, 1)]
        expected += [(turn.reply, gained[turn.seat]) for turn in episode.turns]
    assert [sample[:2] for sample in found] == expected
