"""Forks and the advantages made of them, against numbers worked by hand and laws that hold for all returns."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace
from math import isfinite, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents import RandomAgent, Reply
from sparring.envs import Ending, make
from sparring.selfplay import Episode, Turn, play
from sparring.selfplay.branch import branch
from sparring.selfplay.forks import Fork, Outcome, forks, group_samples, leave_one_out_samples, own_turns, whole_samples


def said(prompt: int, token: int, logprob: float = -1.0) -> Reply:
    return Reply(text=f"[{token}]", prompt_ids=(prompt,), ids=(token,), logprobs=(logprob,))


def turn(reply: Reply, *, seat: int = 0, player: int = 0, earned: float = 0.0, state: Hashable = None) -> Turn:
    return Turn(
        seat=seat,
        player=player,
        prompt=f"prompt {reply.prompt_ids}",
        reply=reply,
        move=reply.text[1:-1],
        problem=None,
        earned=earned,
        state=state,
    )


def game(*turns: Turn, rewards: tuple[float, float], fork: tuple[int, int] | None = None, name: str = "g") -> Episode:
    return Episode(
        game=name,
        index=0,
        turns=turns,
        rewards=rewards,
        ending=Ending.PLAYED,
        offender=None,
        players=("a", "b"),
        seated=(0, 1),
        fork=fork,
    )


def fork_of(*returns: tuple[float, ...]) -> Fork:
    return Fork("g", 0, tuple(Outcome(said(1, token), r) for token, r in enumerate(returns)))


def test_identical_prompts_across_games_are_one_fork() -> None:
    episodes = [
        game(turn(said(1, 7)), turn(said(2, 5), seat=1), rewards=(1.0, -1.0)),
        game(turn(said(1, 8)), turn(said(2, 5), seat=1), rewards=(-1.0, 1.0)),
        game(turn(said(1, 7, -1.5)), turn(said(3, 5), seat=1), rewards=(0.5, -0.5)),
    ]
    first, second = forks(episodes, by="prompt")
    # Equal tokens are one reply though batches round their log-probabilities apart; the first stands for them.
    assert first == Fork("g", 0, (Outcome(said(1, 7), (1.0, 0.5)), Outcome(said(1, 8), (-1.0,))))
    assert second == Fork("g", 1, (Outcome(said(2, 5), (-1.0, 1.0)),))
    assert first.outcomes[0].mean == 0.75


def test_games_and_seats_are_kept_apart_and_others_turns_left_out() -> None:
    one = said(1, 7)
    episodes = [
        game(turn(one), rewards=(1.0, -1.0)),
        game(turn(one, seat=1), rewards=(1.0, -1.0)),
        game(turn(one), rewards=(1.0, -1.0), name="h"),
        game(turn(one, player=1), turn(one, player=1), rewards=(1.0, -1.0)),
    ]
    assert list(forks(episodes, by="prompt")) == []
    (other,) = forks(episodes, by="prompt", player=1)
    assert other.returns == (1.0, 1.0)


def test_a_return_counts_from_its_turn_on() -> None:
    episode = game(turn(said(1, 7), earned=0.0), turn(said(1, 8), earned=2.0), rewards=(5.0, 0.0))
    (fork,) = forks([episode], by="prompt")
    assert fork.returns == (5.0, 3.0)


def test_branches_are_compared_at_the_fork_alone() -> None:
    shared, after = turn(said(1, 7)), turn(said(4, 2))
    episodes = [
        game(shared, turn(said(2, 5)), after, rewards=(1.0, -1.0), fork=(0, 1)),
        game(shared, turn(said(2, 6)), after, rewards=(-1.0, 1.0), fork=(0, 1)),
        game(shared, turn(said(2, 5)), after, rewards=(1.0, -1.0), fork=(1, 1)),
        game(shared, turn(said(2, 5)), after, rewards=(-1.0, 1.0), fork=(1, 1)),
    ]
    one, two = forks(episodes, by="branch")
    assert one.outcomes == (Outcome(said(2, 5), (1.0,)), Outcome(said(2, 6), (-1.0,)))
    assert two.outcomes == (Outcome(said(2, 5), (1.0, -1.0)),)
    # By prompt the stems are pooled, and the turn before the fork, sampled once a stem, is left out.
    at, later = forks(episodes, by="prompt")
    assert at.outcomes == (Outcome(said(2, 5), (1.0, 1.0, -1.0)), Outcome(said(2, 6), (-1.0,)))
    assert later.outcomes == (Outcome(said(4, 2), (1.0, -1.0, 1.0, -1.0)),)
    assert own_turns(episodes[0], 0) == list(episodes[0].turns[1:])


def test_replies_under_the_same_luck_are_compared_and_what_is_alone_by_prompt() -> None:
    """Where the hidden card alone decides, no reply is better than another; by prompt two would seem so."""
    reply = {token: said(1, token) for token in (5, 6, 7, 8)}
    played = [(5, "ace", 1.0), (6, "ace", 1.0), (5, "two", -1.0), (7, "two", -1.0), (7, "ten", 1.0), (8, "six", 0.0)]
    episodes = [game(turn(reply[t], state=card), rewards=(won, -won)) for t, card, won in played]
    assert [fork.outcomes for fork in forks(episodes, by="state")] == [
        (Outcome(reply[5], (1.0,)), Outcome(reply[6], (1.0,))),
        (Outcome(reply[5], (-1.0,)), Outcome(reply[7], (-1.0,))),
        (Outcome(reply[7], (1.0,)), Outcome(reply[8], (0.0,))),
    ]
    assert list(forks(episodes, by="state", alone=False)) == list(forks(episodes, by="state"))[:2]
    advantages = [s.advantage for s in leave_one_out_samples(forks(episodes, by="state"))]
    assert advantages == [0.0, 0.0, 0.0, 0.0, 1.0, -1.0]
    assert max(abs(s.advantage) for s in leave_one_out_samples(forks(episodes, by="prompt"))) > 0.5


def test_states_of_play_tell_what_is_hidden() -> None:
    """A state has one prompt, and a prompt of Kuhn poker two states: the cards the other may hold."""
    agent = RandomAgent()
    episodes = play(make("KuhnPoker-v0"), (agent, agent), games=200)
    prompts: dict[str, set[Hashable]] = defaultdict(set)
    for t in (t for episode in episodes for t in episode.turns):
        prompts[t.prompt].add(t.state)
    assert sorted(map(len, prompts.values())) == [2] * 12
    assert len(set().union(*prompts.values())) == 24


def test_stems_of_two_seeds_that_bear_one_number_are_not_compared() -> None:
    episodes = [game(turn(said(p, p)), rewards=(1.0, -1.0), fork=(0, 0)) for p in (1, 1, 2, 2)]
    assert [fork.outcomes[0].reply.prompt_ids for fork in forks(episodes, by="branch")] == [(1,), (2,)]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="by must be one of prompt, state, branch, not 'seat'"):
        list(forks([], by="seat"))
    with pytest.raises(ValueError, match="was not branched; play games with branch"):
        list(forks([game(turn(said(1, 7)), rewards=(1.0, -1.0))], by="branch"))
    agent = RandomAgent()
    with pytest.raises(ValueError, match="no token ids"):
        list(forks(branch(make("Nim-v0"), (agent, agent), stems=2, width=2), by="branch"))


def test_group_advantages_by_hand() -> None:
    """Returns 1, 1, 0, -2: mean 0, sum of squares 6, standard deviation sqrt(6 / 3) with Bessel's correction."""
    fork = fork_of((1.0, 1.0), (0.0,), (-2.0,))
    plain, scaled = list(group_samples([fork], scale=False)), list(group_samples([fork], scale=True))
    assert [s.reply.ids for s in scaled] == [(0,), (0,), (1,), (2,)]
    assert [s.advantage for s in plain] == pytest.approx([1.0, 1.0, 0.0, -2.0])
    assert [s.advantage for s in scaled] == pytest.approx([x / sqrt(2) for x in (1.0, 1.0, 0.0, -2.0)])


def test_equal_replies_share_their_mean_advantage() -> None:
    """A reply that won and lost gets the mean of both; returns 1, -1, 1, 1 have mean 1/2 and sum of squares 3."""
    samples = list(group_samples([fork_of((1.0, -1.0), (1.0, 1.0))], scale=True))
    assert [s.advantage for s in samples] == pytest.approx([-0.5, -0.5, 0.5, 0.5])


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3])
def test_equal_returns_give_no_advantage(value: float) -> None:
    """The standard deviation of three times 0.1 is 1.7e-17 in floats: divided by, it would make advantages of 1."""
    fork = fork_of((value, value), (value,), (value + 1e-17,))
    for scale in (True, False):
        assert [s.advantage for s in group_samples([fork], scale=scale)] == [0.0] * 4


def test_leave_one_out_by_hand() -> None:
    """Returns 3, 0, -1: 3 - (0 - 1) / 2, 0 - (3 - 1) / 2, -1 - (3 + 0) / 2."""
    assert [s.advantage for s in leave_one_out_samples([fork_of((3.0,), (0.0,), (-1.0,))])] == [3.5, -1.0, -2.5]
    # Of equal replies with 3 and 0, each gets the mean of 3.5 and -1.
    assert [s.advantage for s in leave_one_out_samples([fork_of((3.0, 0.0), (-1.0,))])] == [1.25, 1.25, -2.5]


def test_the_others_are_other_samples_not_other_rollouts_of_the_same() -> None:
    """Two candidates of two rollouts, means 2 and -1: each less the other's mean, 3 and -3, for both of its games."""
    fork = fork_of((3.0, 1.0), (0.0, -2.0))
    assert [s.advantage for s in leave_one_out_samples([fork], rollouts=2)] == pytest.approx([3.0, 3.0, -3.0, -3.0])
    for rollouts in (3, 4):
        with pytest.raises(ValueError, match="give the rollouts of branch"):
            list(leave_one_out_samples([fork], rollouts=rollouts))


def test_a_sample_that_lacks_a_rollout_is_left_out_and_with_it_a_fork_of_one() -> None:
    """Three samples of two rollouts a stem: stem 0 lost a game of one, stem 1 one each of two, stem 2 all of one."""
    numbered = [replace(game(turn(said(1, 7)), rewards=(1.0, -1.0), fork=(n // 6, 0)), index=n) for n in range(18)]
    played = [episode for episode in numbered if episode.index not in (3, 6, 9, 14, 15)]
    assert [e.index for e in whole_samples(played, rollouts=2)] == [0, 1, 4, 5, 12, 13, 16, 17]
    assert whole_samples(numbered, rollouts=2) == numbered


RETURNS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5).map(tuple)
FORKS = st.lists(RETURNS, min_size=1, max_size=5).filter(lambda rs: sum(map(len, rs)) > 1).map(lambda rs: fork_of(*rs))


@given(FORKS)
def test_advantages_are_finite_sum_to_zero_and_miss_no_game(fork: Fork) -> None:
    largest = max(map(abs, fork.returns))
    for samples, size in (
        (list(group_samples([fork], scale=True)), 1.0),
        (list(group_samples([fork], scale=False)), largest),
        (list(leave_one_out_samples([fork])), largest),
    ):
        assert [s.reply for s in samples] == [o.reply for o in fork.outcomes for _ in o.returns]
        assert all(isfinite(s.advantage) for s in samples)
        # Scaled, rounding of the mean is blown up where the returns hardly differ.
        spread = max(fork.returns) - min(fork.returns)
        slack = 1e-9 * (size + (largest / spread if spread > 1e-9 else 0.0)) + 1e-9
        assert abs(sum(s.advantage for s in samples)) <= slack


@given(FORKS)
def test_summed_over_equal_replies_advantages_are_the_textbooks(fork: Fork) -> None:
    returns = torch.tensor(fork.returns, dtype=torch.float64)
    textbook = returns - (returns.sum() - returns) / (len(returns) - 1)
    mine = torch.tensor([s.advantage for s in leave_one_out_samples([fork])], dtype=torch.float64)
    sizes = [len(o.returns) for o in fork.outcomes]
    for one, other in zip(mine.split(sizes), textbook.split(sizes), strict=True):
        assert float(one.sum()) == pytest.approx(float(other.sum()), abs=1e-8 * (1 + float(returns.abs().max())))
