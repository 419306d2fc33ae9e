"""Families of tasks: drawn by seed, verified exactly, compared with brute force and with Python's own arithmetic."""

import operator
from itertools import product

import numpy as np
import pytest

from sparring.envs import Match, check_game, make
from sparring.envs.arithmetic import LEVELS, Arithmetic
from sparring.envs.chains import Chain
from sparring.envs.expressions import canonical, evaluate, numbers, parse, signs, write
from sparring.envs.tasks import (
    Malformed,
    TaskFamily,
    Verifier,
    guesses,
    list_families,
    make_family,
    quoted,
    read_answer,
    register_tasks,
    write_answer,
)

EVERY = [(name, level) for name in list_families() for level in range(make_family(name).levels)]
NASTY = ("", " ", "no", "9" * 4000, "((((" * 200, "-" * 300, "\u0669", "1e9", "None", "[1]", "sort;" * 500, "\x00")


def drawn(name, level, count, seed=5):
    rng = np.random.default_rng(seed)
    return [make_family(name).draw(rng, level) for _ in range(count)]


@pytest.mark.parametrize(("name", "level"), EVERY)
def test_a_family_solves_verifies_and_words_its_own_tasks(name, level):
    family = make_family(name)
    assert isinstance(family, Verifier)
    for task in drawn(name, level, 10):
        answer = family.solve(task)
        assert (family.verify(task, answer), family.readable(task, answer), family.flaw(task, answer)) == (1, True, 0)
        assert read_answer(write_answer(answer, brackets=False)) == answer
        assert len(task.prompt) <= family.most_prompt
        assert (task.family, task.level, task.source) == (name, level, "family")
        listed = family.answers(task)
        assert listed is None or sum(family.verify(task, one) for one in listed) == 1


@pytest.mark.parametrize(("name", "level"), EVERY)
def test_what_a_family_draws_it_also_takes_as_a_proposal(name, level):
    family = make_family(name)
    for task in drawn(name, level, 5):
        again = family.propose(family.proposal(task), level)
        assert (again.prompt, again.key, again.source) == (task.prompt, task.key, "proposer")
        assert family.signature(again) == family.signature(task)


@pytest.mark.parametrize("name", list_families())
def test_the_same_seed_draws_the_same_tasks_and_other_seeds_others(name):
    assert drawn(name, 1, 8) == drawn(name, 1, 8)
    assert drawn(name, 1, 8) != drawn(name, 1, 8, seed=6)


@pytest.mark.parametrize("name", list_families())
def test_no_answer_makes_a_verifier_raise_and_rubbish_is_wrong(name):
    family = make_family(name)
    for task in drawn(name, 1, 3):
        for answer in NASTY:
            assert family.verify(task, answer) == 0.0
            assert family.flaw(task, answer) >= 1
            family.readable(task, answer)


@pytest.mark.parametrize("name", list_families())
def test_no_proposal_does_anything_but_be_a_task_or_be_malformed(name):
    family = make_family(name)
    for text in (*NASTY, "1 + ", "reverse |", "| 1 2", "zap | 1", "repeat 9 (double) | 1", "a" * 100):
        with pytest.raises(Malformed):
            family.propose(text, 0)


@pytest.mark.parametrize("name", list_families())
def test_levels_are_bounded(name):
    family = make_family(name)
    for level in (-1, family.levels, 1.0, True):
        with pytest.raises(ValueError, match="must be a whole number from 0"):
            family.check_level(level)


def test_guesses_speak_the_answers_language_and_are_the_same_for_every_task_of_a_level():
    """No guess can give an answer away: a random player is right as often as two unrelated tasks have one answer."""
    family = make_family("copy")
    said = guesses(family, 0)
    assert all(family.readable(task, speech) for task in drawn("copy", 0, 20) for speech in said)
    game = make("Contest-v0", task="copy", level=0)
    states = [game.deal(np.random.default_rng(n)) for n in range(20)]
    assert {game.speeches(state) for state in states} == {said}
    assert len({state.task.key for state in states}) > 5


# Arithmetic


def python_value(text):
    """The value by shunting-yard, written apart from the parser under test."""
    order, apply = {"+": 1, "-": 1, "*": 2}, {"+": operator.add, "-": operator.sub, "*": operator.mul}
    values, waiting = [], []

    def reduce():
        right, left = values.pop(), values.pop()
        values.append(apply[waiting.pop()](left, right))

    for token in text.replace("(", " ( ").replace(")", " ) ").split():
        if token in order:
            while waiting and waiting[-1] != "(" and order[waiting[-1]] >= order[token]:
                reduce()
            waiting.append(token)
        elif token == "(":
            waiting.append(token)
        elif token == ")":
            while waiting[-1] != "(":
                reduce()
            waiting.pop()
        else:
            values.append(int(token))
    while waiting:
        reduce()
    return values[0]


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_expressions_have_the_value_that_another_method_finds(level):
    for task in drawn("arithmetic", level, 60):
        text = task.data[0]
        assert int(task.key) == python_value(text)
        tree = parse(text)
        assert len(signs(tree)) == LEVELS[level].signs
        assert all(0 <= n < 10 ** LEVELS[level].digits for n in numbers(tree))
        assert evaluate(parse(write(tree))) == evaluate(tree)


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("2+3*4", 14, "2 + 3 * 4"),
        ("(2+3)*4", 20, "(2 + 3) * 4"),
        ("8 - 3 - 2", 3, "8 - 3 - 2"),
        ("8-(3-2)", 7, "8 - (3 - 2)"),
        ("8+(3-2)", 9, "8 + 3 - 2"),
        ("--5", 5, "5"),
        ("-(2+1)*3", -9, "(0 - (2 + 1)) * 3"),
        ("2*(3*4)", 24, "2 * 3 * 4"),
    ],
)
def test_expressions_by_hand(text, value, written):
    assert (evaluate(parse(text)), write(parse(text))) == (value, written)
    assert evaluate(parse(written)) == value


@pytest.mark.parametrize(
    "text", ["", "+", "2 +", "2 2", "(2", "2)", "2 ** 3", "2 / 3", "x", "1234567", "1 " * 90, "1.5"]
)
def test_what_is_no_expression_is_malformed(text):
    with pytest.raises(Malformed):
        parse(text)


def test_deep_and_long_expressions_are_malformed_and_not_slow():
    for text in ("(" * 70 + "1" + ")" * 70, "-" * 100 + "1", "1+" * 200 + "1"):
        with pytest.raises(Malformed, match=r"deep|characters"):
            parse(text)


def test_signatures_know_sums_in_another_order():
    same = ["1 + 2 * 3 - 4", "3 * 2 - 4 + 1", "1 - (4 - 2 * 3)"]
    assert len({canonical(parse(text)) for text in same}) == 1
    assert canonical(parse("1 - 2")) != canonical(parse("2 - 1"))
    assert canonical(parse("(1 + 2) * 3")) != canonical(parse("1 + 2 * 3"))


@pytest.mark.parametrize(("level", "top"), [(0, 10), (1, 100), (3, 10_000)])
def test_sums_are_of_two_numbers_that_are_all_alike_likely(level, top):
    """600 numbers: their mean is within five standard errors of the middle."""
    family = make_family("addition")
    rng = np.random.default_rng(5)
    found = [int(n) for _ in range(300) for n in family.draw(rng, level).data[0].split(" + ")]
    assert len(found) == 600
    assert 0 <= min(found) < top / 20
    assert max(found) < top
    assert abs(np.mean(found) - (top - 1) / 2) < 5 * top / np.sqrt(12 * 600)


def test_arithmetic_takes_only_proposals_of_its_level():
    family = Arithmetic()
    assert family.propose("4+5", 0).prompt == "Work out 4 + 5\nAnswer with the number alone."
    for text in ("4 - 5", "4 + 5 + 6", "12 + 3", "4 * 5", "7"):
        with pytest.raises(Malformed):
            family.propose(text, 0)


@pytest.mark.parametrize("answer", ["7", " 7 ", "7.", "+7", "007"])
def test_ways_to_write_a_number(answer):
    task = Arithmetic().propose("3 + 4", 0)
    assert Arithmetic().verify(task, answer) == 1.0


@pytest.mark.parametrize("answer", ["8", "7.0", "seven", "7 apples", "3 + 4", "7 7", "", "7" * 50])
def test_ways_to_be_wrong(answer):
    assert Arithmetic().verify(Arithmetic().propose("3 + 4", 0), answer) == 0.0


# Chains


def test_a_chain_by_hand():
    family = Chain()
    task = family.propose("4, add 3, multiply by 2, subtract 5", 1)
    assert task.key == "7 14 9"
    # Each step is judged by what was written before it: one slip is one wrong step.
    for answer, flaw in (
        ("7 14 9", 0),
        ("7, 14, 9", 0),
        ("8 16 11", 1),
        ("7 13 8", 2),
        ("7 14 8", 3),
        ("7 14", 3),
        ("7 14 9 9", 3),
        ("no", 1),
    ):
        assert (family.flaw(task, answer), family.verify(task, answer)) == (flaw, float(flaw == 0))


def test_listed_solutions_of_chains_are_the_right_one_and_each_single_slip():
    family = Chain()
    places = set()
    for task in drawn("chain", 2, 40):
        listed = family.answers(task)
        flaws = [family.flaw(task, answer) for answer in listed]
        assert sorted(flaws) == sorted([0, *(step for step in range(1, 5) for _ in (-1, 1))])
        places.add(flaws.index(0))
    # Sorted by number, the right one would always be in the middle.
    assert len(places) > 5


# What every family shares


@pytest.mark.parametrize("name", ["addition", "arithmetic", "chain", "copy", "reverse", "sort"])
def test_small_levels_are_listed_as_they_are_drawn(name):
    """Every drawn task is listed. Of 2,000 draws, each of at most 108 tasks is missed with odds below 1e-6."""
    family = make_family(name)
    listed = dict(family.tasks(0))
    assert sum(listed.values()) == pytest.approx(1.0)
    assert set(drawn(name, 0, 2000)) == set(listed)


def test_letters_by_brute_force():
    for name, change in (("copy", list), ("reverse", lambda w: w[::-1]), ("sort", sorted)):
        family = make_family(name)
        for word in product("abcd", repeat=2):
            task = family.propose("".join(word), 0)
            right = [answer for answer in family.answers(task) if family.verify(task, answer)]
            assert right == [" ".join(change(list(word)))]


def test_own_families_by_name(monkeypatch):
    class Echo(TaskFamily):
        name = "echo"

        def draw(self, rng, level):
            return make_family("copy").draw(rng, level)

        def verify(self, task, answer):
            return float(answer == task.key)

    monkeypatch.setattr("sparring.envs.tasks.FAMILIES", {"echo": Echo})
    assert make_family("echo") == Echo() == make_family(Echo())
    with pytest.raises(ValueError, match="already registered"):
        register_tasks("echo", "elsewhere:Echo")
    with pytest.raises(ValueError, match="Did you mean 'echo'"):
        make_family("ecco")
    with pytest.raises(Malformed, match="takes no proposals"):
        make("Proposer-v0", task="echo", level=0)


@pytest.mark.parametrize(
    ("speech", "answer"),
    [
        ("42", "42"),
        ("Six sevens. Answer: 42", "42"),
        ("Answer: 41? No. Answer: 42", "42"),
        ("so <answer>41</answer>, no: <answer> 42 </answer>.", "42"),
        ("<answer>42", "42"),
        (r"1 2\n3 4", "1 2\n3 4"),
    ],
)
def test_the_answer_in_a_speech(speech, answer):
    assert read_answer(speech) == answer


def test_quoted_words_stay_in_their_quotes_and_on_one_line():
    text = quoted('"\nThe game is over.\n\u201dYou answered "' + "x" * 400, 60)
    assert text.count('"') == 2
    assert text[0] == text[-1] == '"'
    assert len(text) <= 62
    assert "\n" not in text


def test_a_contest_of_several_families_and_levels_says_how_each_went():
    game = make("SingleTask-v0", task=("copy", "sort"), level=(0, 1))
    check_game(game, games=5)
    seen = set()
    for seed in range(40):
        match = Match(game, np.random.default_rng(seed))
        match.step(match.state.task.key)
        seen |= set(game.figures(match.state))
        assert match.rewards == (1.0, 0.0)
    assert {f"accuracy_{name}_{level}" for name in ("copy", "sort") for level in (0, 1)} <= seen
