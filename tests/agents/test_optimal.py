"""The optimal player: it cannot be exploited, and plays what theory says where theory is known."""

from __future__ import annotations

from collections import Counter
from functools import cache, reduce
from operator import xor

import numpy as np
import pytest

from sparring.agents import Agent, HeuristicAgent, OptimalAgent, Policy, ask, mix
from sparring.envs import make
from sparring.envs.tree import enumerate_tree
from sparring.selfplay import exploitability


def rows(game, agent):
    """Return every prompt of a game with the agent's probabilities."""
    records = enumerate_tree(game).prompts
    asked = [ask(game, text, seat, legal) for seat, text, legal in records]
    return zip(asked, agent.move_probabilities(asked), strict=True)


@pytest.mark.parametrize(
    ("name", "settings", "value"),
    [
        ("KuhnPoker-v0", {}, -1 / 18),
        ("KuhnPoker-v0", {"skin": "obfuscated"}, -1 / 18),
        ("LeducPoker-v0", {}, -0.0856064),
        ("LiarsDice-v0", {"faces": 3}, None),
        ("LiarsDice-v0", {"faces": 4}, None),
        ("Goofspiel-v0", {"cards": 4, "hidden_bids": True}, 0.0),
        ("TicTacToe-v0", {}, 0.0),
        ("Nim-v0", {}, None),
    ],
)
def test_cannot_be_exploited(name, settings, value):
    """Kuhn's value is Kuhn's; Leduc's is the published one; Goofspiel is symmetric."""
    found = exploitability(make(name, **settings), OptimalAgent())
    assert found.nashconv == pytest.approx(0.0, abs=1e-6)
    assert found.illegal_mass_max == 0.0
    if value is not None:
        assert found.values[0] == pytest.approx(value, abs=1e-6)


def test_tic_tac_toe_plays_all_the_best_moves_and_no_other():
    """In every position, so that blunders are punished too."""
    game = make("TicTacToe-v0")

    @cache
    def worth(state):
        seat = game.seat(state)
        if seat is None:
            return game.rewards(state)[0]
        return (max, min)[seat](worth(game.play(state, move)) for move in game.legal(state))

    state_of = {(game.seat(s), game.prompt(s, game.seat(s))): s for s in enumerate_tree(game).states if game.legal(s)}
    for prompt, row in rows(game, OptimalAgent()):
        state = state_of[prompt.seat, prompt.text]
        is_best = np.array([worth(game.play(state, move)) == worth(state) for move in prompt.legal])
        assert row == pytest.approx(is_best / is_best.sum())


@pytest.mark.parametrize("misere", [True, False])
def test_nim_leaves_the_heaps_that_theory_says(misere):
    """Bouton 1901: leave an even nim-sum; in misere play, once no heap above one is left, leave an odd number."""
    game = make("Nim-v0", heaps=(1, 3, 5), misere=misere)
    state_of = {(game.seat(s), game.prompt(s, game.seat(s))): s for s in enumerate_tree(game).states if game.legal(s)}

    def wins(heaps):
        if misere and max(heaps) <= 1:
            return sum(heaps) % 2 == 1
        return reduce(xor, heaps) == 0

    for prompt, row in rows(game, OptimalAgent()):
        state = state_of[prompt.seat, prompt.text]
        is_winning = np.array([wins(game.play(state, move).heaps) for move in prompt.legal])
        is_best = is_winning if is_winning.any() else np.ones(len(is_winning), dtype=bool)
        assert row == pytest.approx(is_best / is_best.sum())


def test_replies_follow_the_probabilities_and_the_noise():
    """A count of 2,000 has a standard deviation of at most 22; off by 110 comes in fewer than one of 10^5 seeds."""
    game, agent = make("TicTacToe-v0"), OptimalAgent()
    assert isinstance(agent, Agent)
    assert isinstance(agent, Policy)
    state = next(iter(game.deals()))[0]
    asked = [ask(game, game.prompt(state, 0), 0, game.legal(state), noise=mix(5, i)) for i in range(2000)]
    replies = agent.reply(asked)
    counts = Counter(reply.text for reply in replies)
    for move, p in zip(game.legal(state), agent.move_probabilities(asked[:1])[0], strict=True):
        assert abs(counts[f"[{move}]"] - 2000 * p) < 110
    assert agent.reply(asked[-3:]) == replies[-3:]


def test_a_game_is_solved_once_and_a_prompt_may_begin_with_a_notice():
    game, agent = make("KuhnPoker-v0"), OptimalAgent()
    seat, text, legal = enumerate_tree(game).prompts[0]
    (first,) = agent.move_probabilities([ask(game, text, seat, legal)])
    (again,) = agent.move_probabilities([ask(game, f"Your reply had no move. Tries left: 1.\n\n{text}", seat, legal)])
    assert again is first


def test_that_a_game_is_too_large_is_found_out_once(monkeypatch):
    """Each move of a tournament in Connect Four took seconds to be refused."""
    game, agent = make("KuhnPoker-v0"), OptimalAgent(limit=3)
    seat, text, legal = enumerate_tree(game).prompts[0]
    asked = [ask(game, text, seat, legal)]
    with pytest.raises(ValueError, match="cannot be solved exactly") as first:
        agent.reply(asked)
    monkeypatch.setattr("sparring.agents.optimal.enumerate_tree", None)
    with pytest.raises(ValueError, match="cannot be solved exactly") as second:
        agent.reply(asked)
    assert str(first.value) == str(second.value)


def test_prompts_of_another_game_are_refused():
    agent = OptimalAgent()
    seat, text, legal = enumerate_tree(make("KuhnPoker-v0", skin="obfuscated")).prompts[0]
    with pytest.raises(ValueError, match="another game's"):
        agent.move_probabilities([ask(make("KuhnPoker-v0"), text, seat, legal)])


def test_connect_four_is_too_large():
    game = make("ConnectFour-v0")
    state = game.deal(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"ConnectFour-v0 cannot be solved exactly.*more than 20,000 states.*limit="):
        OptimalAgent(limit=20_000).reply([ask(game, game.prompt(state, 0), 0, game.legal(state))])


def test_too_many_prompts_for_the_linear_program():
    with pytest.raises(ValueError, match=r"192 prompts, more than 100.*smaller settings"):
        list(rows(make("LiarsDice-v0", faces=3), OptimalAgent(max_prompts=100)))


def test_games_that_are_not_zero_sum_have_no_optimal_player():
    game = make("Goofspiel-v0", cards=3, hidden_bids=True, returns="total_points")
    with pytest.raises(ValueError, match=r"not zero-sum.*another agent"):
        list(rows(game, OptimalAgent()))


@pytest.mark.parametrize(
    ("name", "settings", "agent", "plays"),
    [
        ("KuhnPoker-v0", {}, OptimalAgent(), True),
        ("TicTacToe-v0", {}, OptimalAgent(), True),
        ("ConnectFour-v0", {}, OptimalAgent(limit=2_000), False),
        ("LiarsDice-v0", {"faces": 3}, OptimalAgent(max_prompts=100), False),
        ("Goofspiel-v0", {"cards": 3, "hidden_bids": True, "returns": "total_points"}, OptimalAgent(), False),
        ("Taboo-v0", {}, OptimalAgent(), False),
    ],
)
def test_whether_a_game_can_be_played_is_known_before_it_is_solved(name, settings, agent, plays, monkeypatch):
    monkeypatch.setattr("sparring.agents.optimal.equilibrium", None)
    assert agent.can_play(make(name, **settings)) is plays


@pytest.mark.parametrize("agent", [OptimalAgent(), HeuristicAgent()])
def test_it_says_beforehand_what_it_cannot_play(agent: OptimalAgent) -> None:
    assert agent.refusal(make("KuhnPoker-v0")) == ""
    assert agent.refusal(make("Debate-v0"))
    small = type(agent)(limit=10)
    assert "cannot be solved exactly" in small.refusal(make("TicTacToe-v0"))
