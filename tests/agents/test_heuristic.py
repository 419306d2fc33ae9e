"""The player between random and optimal."""

from __future__ import annotations

import pytest

from sparring.agents import HeuristicAgent, RandomAgent, make_agent
from sparring.envs import make
from sparring.selfplay import exploitability, play


@pytest.mark.parametrize("name", ["KuhnPoker-v0", "TicTacToe-v0", "Nim-v0"])
def test_it_gains_against_the_random_player_what_a_best_reply_gains(name: str) -> None:
    game = make(name)
    best = exploitability(game, RandomAgent()).best_responses
    episodes = play(game, (HeuristicAgent(), RandomAgent()), games=1500, seed=2, swap=True)
    got = [e.rewards[e.seated.index(0)] for e in episodes]
    # Rewards are at most 2 wide on average, so 0.15 is three standard errors and more.
    assert sum(got) / len(got) == pytest.approx(sum(best) / 2, abs=0.15)


def test_in_kuhn_poker_it_is_the_reply_that_is_known() -> None:
    """A Jack folds to a bet and a King calls; with a Queen a call is right, for a random player bets any card."""
    game, agent = make("KuhnPoker-v0"), make_agent("heuristic")
    found = {}
    for episode in play(game, (RandomAgent(), agent), games=300, seed=0):
        for turn in episode.turns:
            if turn.seat == 1 and "Moves so far: bet" in turn.prompt:
                found[turn.prompt.split("Your card: ")[1].split(".")[0]] = turn.move
    assert found == {"Jack": "fold", "Queen": "call", "King": "call"}
    assert exploitability(game, agent).nashconv > 0.3


def test_a_game_that_cannot_be_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="ConnectFour-v0 cannot be solved exactly"):
        list(play(make("ConnectFour-v0"), (HeuristicAgent(), RandomAgent()), games=1))
