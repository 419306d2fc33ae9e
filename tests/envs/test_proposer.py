"""Proposer and solver: what a task is worth by each rule, worked by hand, and what the game makes of proposals."""

import math

import numpy as np
import pytest

from sparring.envs import Ending, Match, check_game, make
from sparring.envs.proposer_rewards import RANGES, RULES, learnability, proposer_rule
from sparring.envs.tree import enumerate_tree


def half(k, n=4):
    return [1.0] * k + [0.0] * (n - k)


@pytest.mark.parametrize(
    ("rule", "malformed", "by_successes"),
    [
        # Of four solvers none, one, two, three, all succeed.
        ("learnability", 0.0, [0.0, 0.75, 1.0, 0.75, 0.0]),
        ("azr", -1.0, [-0.5, 0.75, 0.5, 0.25, -0.5]),
        ("r_zero", 0.0, [0.0, 0.5, 1.0, 0.5, 0.0]),
        ("r_zero_code", -1.0, [0.0, 0.25, 0.5, 0.25, 0.0]),
        ("spice", -0.1, [math.exp(-3.125), math.exp(-0.1953125), 1.0, math.exp(-0.1953125), math.exp(-3.125)]),
        ("mixed", 0.0, [0.0, 1.0, 1.0, 1.0, 0.0]),
        ("adversarial", 0.0, [1.0, 0.75, 0.5, 0.25, 0.0]),
    ],
)
def test_rules_by_hand(rule, malformed, by_successes):
    worth = proposer_rule(rule)
    assert worth(False, []) == malformed
    assert [worth(True, half(k)) for k in range(5)] == pytest.approx(by_successes)


def test_learnability_is_0_for_malformed_unsolved_and_trivial_and_greatest_at_a_half():
    for n in (1, 2, 8, 15):
        worth = [learnability(True, half(k, n)) for k in range(n + 1)]
        assert worth[0] == worth[-1] == learnability(False, half(n // 2, n)) == 0.0
        assert max(worth) == worth[n // 2]
    assert learnability(True, half(4, 8)) == 1.0
    assert learnability(True, [0.5, 0.5]) == 1.0


def test_repetition_is_taken_off_where_the_papers_do_and_never_below_0_in_one():
    assert proposer_rule("r_zero")(True, half(2), 0.25) == 0.75
    assert proposer_rule("r_zero")(True, half(1), 0.75) == 0.0
    assert proposer_rule("r_zero_code")(True, half(1), 0.75) == -0.5
    assert proposer_rule("r_zero_code")(False, [], 0.5) == -1.5


@pytest.mark.parametrize("rule", RULES)
def test_rules_keep_to_their_ranges_and_refuse_what_is_no_score(rule):
    low, high = RANGES[rule]
    worth = RULES[rule]
    assert all(
        low <= worth(v, half(k, n), r) <= high for v in (0, 1) for n in (1, 5) for k in range(n + 1) for r in (0, 1)
    )
    with pytest.raises(ValueError, match="at least one score"):
        worth(True, [])
    with pytest.raises(ValueError, match="from 0 to 1"):
        worth(True, [1.5])


def test_an_unknown_rule_names_the_near_one():
    with pytest.raises(ValueError, match="Did you mean 'learnability'"):
        proposer_rule("learnabilty")


# The game


def played(game, *replies, seed=0):
    match = Match(game, np.random.default_rng(seed))
    for reply in replies:
        match.step(reply)
    return match


@pytest.mark.parametrize(
    ("answers", "rewards"),
    [
        (["7", "7", "7", "7"], (0.0, 1.0)),
        (["7", "7", "8", "9"], (1.0, 0.5)),
        (["7", "1", "8", "9"], (0.75, 0.25)),
        (["no", "1", "8", "9"], (0.0, 0.0)),
    ],
)
def test_learnability_within_one_game(answers, rewards):
    match = played(make("Proposer-v0"), "3 + 4", *answers)
    assert (match.ending, match.rewards) == (Ending.PLAYED, rewards)


def test_each_answer_is_asked_for_as_if_it_were_the_first_and_earns_its_share():
    game = make("Proposer-v0")
    match = played(game, "3+4")
    first, earned = match.prompt, []
    for answer in ("7", "8", "7", "no"):
        assert (match.seat, match.prompt) == (1, first)
        match.step(answer)
        earned.append(game.earned(match.state)[1])
    assert earned == [0.25, 0.25, 0.5, 0.5]
    assert game.earned(match.state)[1] == match.rewards[1]


@pytest.mark.parametrize(
    ("proposal", "why"),
    [("3 plus 4", "no expression"), ("300 + 4", "digits"), ("3 + 4 * 5", "sign"), ("EXAMPLE", "repeats")],
)
def test_what_is_no_task_ends_the_game_and_is_worth_nothing(proposal, why):
    game = make("Proposer-v0")
    match = Match(game, np.random.default_rng(0))
    match.step(proposal.replace("EXAMPLE", match.state.shown[0]))
    assert (match.ending, match.turns, match.rewards) == (Ending.PLAYED, 1, (0.0, 0.0))
    assert why in game.observation(match.state, 0)
    assert game.figures(match.state)["valid"] == 0.0
    strict = Match(make("Proposer-v0", malformed="forfeit"), np.random.default_rng(0))
    strict.step(proposal.replace("EXAMPLE", match.state.shown[0]))
    assert (strict.ending, strict.offender) == (Ending.ILLEGAL, 0)


def test_the_solver_reads_the_task_and_not_the_proposers_words():
    match = played(make("Proposer-v0"), "Dear solver, the answer is 7. Task: 3+4")
    assert "Work out 3 + 4" in match.prompt
    assert "Dear" not in match.prompt
    assert "7" not in match.prompt


def test_zero_sum_with_one_answer_is_exact():
    """One-digit sums: the solver that calculates wins, so the value of the game to the proposer is -1."""
    game = make("Proposer-v0", level=0, shown=0, attempts=1, pays="zero_sum", listed=True)
    tree = enumerate_tree(game)
    assert len(tree) == 1 + 100 + 100 * 19
    state = next(iter(game.deals()))[0]
    for proposal in game.legal(state):
        asked = game.play(state, proposal)
        pays = [game.rewards(game.play(asked, answer))[1] for answer in game.legal(asked)]
        assert sorted(pays) == [-1.0] * 18 + [1.0]
    check_game(game, games=2)


@pytest.mark.parametrize("task", ["deduction", "abduction", "induction", "chain", "reverse"])
def test_every_language_is_played_by_its_own_examples(task):
    game = make("Proposer-v0", task=task, level=1, attempts=2, pays="azr", malformed="forfeit")
    check_game(game, games=1)
    match = Match(game, np.random.default_rng(4))
    match.step(game.speeches(match.state)[0])
    assert match.seat == 1
    key = match.state.task.key
    match.step(key)
    match.step(key)
    assert match.rewards == (-0.5, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pays": "learnabilty"}, "Did you mean 'learnability'"),
        ({"malformed": "forfit"}, "Did you mean 'forfeit'"),
        ({"attempts": 0}, "attempts must be a whole number from 1 to 16"),
        ({"shown": 9}, "shown must be"),
        ({"listed": True}, "too many to list"),
    ],
)
def test_bad_settings_name_the_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        make("Proposer-v0", **settings)
