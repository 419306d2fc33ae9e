"""How games of words are measured: exactly where they are listed, by matches where they are spoken."""

from __future__ import annotations

import pytest

from sparring.agents import RandomAgent, ScriptedAgent
from sparring.envs import make
from sparring.selfplay.measures import make_measure

SMALL = ("ant", "egg", "goat", "tea", "toe", "tent")


def test_two_truths_is_measured_exactly() -> None:
    """Whoever guesses at random finds one lie in three, whatever is said; both could do better."""
    measured = make_measure(make("TwoTruths-v0")).take(RandomAgent())
    assert measured["value_first_seat"] == pytest.approx(1 / 3)
    assert measured["nashconv"] == pytest.approx(0.69375)


def test_a_small_word_chain_is_measured_against_perfect_play() -> None:
    measure = make_measure(make("WordChain-v0", words=SMALL))
    assert measure.figure == "loss_vs_optimal"
    assert 0.5 < measure.take(RandomAgent())["loss_vs_optimal"] < 0.8


def test_few_things_and_questions_are_measured_exactly() -> None:
    game = make("TwentyQuestions-v0", things=("cat", "car", "oak"), questions=2)
    measure = make_measure(game)
    assert measure.figure == "nashconv"
    assert measure.take(RandomAgent())["nashconv"] > 1.0


def test_a_match_tells_the_roles_apart() -> None:
    """Who names every word loses each game as attacker; as defender its guess is right in one of nine games."""
    game = make("Taboo-v0", words="few")
    told = {0: "Is it " + ", ".join(game.list.words) + "?", 1: "I know the word! It is cherry."}
    agent = ScriptedAgent(lambda prompt: told[prompt.seat])
    measured = make_measure(game, games=60).take(agent)
    assert measured["reward_vs_random_seat0"] == -1.0
    assert -1.0 <= measured["reward_vs_random_seat1"] < 0.0
    assert sum(measured[f"reward_vs_random_seat{s}"] for s in (0, 1)) / 2 == pytest.approx(measured["reward_vs_random"])
    assert measured["game/slipped"] == 0.5
