"""The small language: each word against Python's own, limits, and its three kinds of tasks against brute force."""

from itertools import accumulate, product

import numpy as np
import pytest

from sparring.envs.program_tasks import HIDDEN, SHOWN, Abduction, Deduction, Induction, behaviour
from sparring.envs.programs import (
    LISTS,
    MANUAL,
    MOST_SIZE,
    MOST_STEPS,
    NUMBERED,
    TEXTS,
    WORDS,
    Failed,
    parse_program,
    read_value,
    run,
    write_program,
    write_value,
)
from sparring.envs.tasks import Malformed


def result(program, value):
    like = "" if value.isalpha() and value != "nothing" else ()
    return write_value(run(parse_program(program), read_value(value, like=like)))


@pytest.mark.parametrize(
    ("program", "value", "output"),
    [
        ("reverse", "3 1 2", "2 1 3"),
        ("sort", "3 -1 2", "-1 2 3"),
        ("unique", "2 1 2 1 3", "2 1 3"),
        ("double", "1 2", "1 2 1 2"),
        ("take 2", "5 6 7", "5 6"),
        ("take 9", "5 6 7", "5 6 7"),
        ("drop 2", "5 6 7", "7"),
        ("drop 3", "5 6 7", "nothing"),
        ("rotate 1", "5 6 7", "6 7 5"),
        ("rotate 4", "5 6 7", "6 7 5"),
        ("add -2", "5 6", "3 4"),
        ("times 3", "5 -6", "15 -18"),
        ("above 1", "1 2 3", "2 3"),
        ("evens", "-2 1 0 3", "-2 0"),
        ("sums", "1 2 3", "1 3 6"),
        ("total", "1 2 3", "6"),
        ("total", "nothing", "0"),
        ("count", "7 7", "2"),
        ("reverse", "abc", "cba"),
        ("sort", "banana", "aaabnn"),
        ("unique", "banana", "ban"),
        ("rotate 2", "abcd", "cdab"),
        ("shift 3", "xyz", "abc"),
        ("vowels", "banana", "aaa"),
        ("repeated", "banana", "anana"),
        ("repeat 3 (double)", "1", "1 1 1 1 1 1 1 1"),
        ("repeat 0 (double)", "1", "1"),
        ("when 2 (reverse); add 1", "1 2 3", "4 3 2"),
        ("when 2 (reverse); add 1", "1 2", "2 3"),
        ("repeat 2 (when 1 (drop 1)); times 2", "1 2 3", "6"),
    ],
)
def test_programs_by_hand(program, value, output):
    assert result(program, value) == output


def test_words_on_random_lists_against_python():
    rng = np.random.default_rng(1)
    plain = {
        "reverse": lambda v, n: list(reversed(v)),
        "sort": lambda v, n: sorted(v),
        "take": lambda v, n: [x for i, x in enumerate(v) if i < n],
        "drop": lambda v, n: [x for i, x in enumerate(v) if i >= n],
        "rotate": lambda v, n: [v[(i + n) % len(v)] for i in range(len(v))],
        "sums": lambda v, n: list(accumulate(v)),
        "above": lambda v, n: list(filter(lambda x: x > n, v)),
        "unique": lambda v, n: [x for i, x in enumerate(v) if x not in v[:i]],
    }
    for _ in range(200):
        value = [int(x) for x in rng.integers(-5, 6, size=rng.integers(0, 8))]
        word = list(plain)[rng.integers(len(plain))]
        number = int(rng.integers(0, 9))
        program = parse_program(f"{word} {number}" if word in NUMBERED else word)
        assert run(program, tuple(value)) == tuple(plain[word](value, number))


def test_every_word_is_in_the_manual_and_does_something():
    assert all(word in MANUAL for word in WORDS)
    for table, value in ((LISTS, "3 4 4 -1"), (TEXTS, "hello")):
        for word in table:
            assert result(f"{word} 2" if word in NUMBERED else word, value) != value


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "sort;",
        "sort reverse",
        "zap",
        "take",
        "take x",
        "take -1",
        "take 100",
        "add 1000",
        "sort 3",
        "repeat 2 sort",
        "repeat (sort)",
        "repeat 2 (sort",
        "repeat 2 ()",
        "sort)",
        "__import__('os')",
        "sort # x",
        "sort; " * 60,
        "repeat 2 (" * 6 + "sort" + ")" * 6,
    ],
)
def test_what_is_no_program_is_malformed(text):
    with pytest.raises(Malformed):
        parse_program(text)


@pytest.mark.parametrize(
    ("program", "value", "why"),
    [
        ("repeat 9 (double)", "1", f"longer than {MOST_SIZE}"),
        ("repeat 99 (repeat 99 (reverse))", "1 2", f"more than {MOST_STEPS} steps"),
        ("repeat 99 (repeat 0 (sort))", "1", None),
        ("repeat 99 (when 99 (sort))", "1", None),
        ("repeat 9 (times 99)", "9", "larger than"),
        ("add 1", "abc", "for lists"),
        ("vowels", "1", "for texts"),
    ],
)
def test_limits_of_a_run(program, value, why):
    if why is None:
        assert result(program, value) == value
        return
    with pytest.raises(Failed, match=why):
        result(program, value)


@pytest.mark.parametrize("text", ["1 2 x", "1.5", "99999999", "1 " * 70, "a1", "[1]", "-"])
def test_what_is_no_list(text):
    with pytest.raises(Malformed):
        read_value(text, like=())


def tasks(family, level, count=25):
    rng = np.random.default_rng(3)
    return [family.draw(rng, level) for _ in range(count)]


def test_programs_are_written_one_way():
    for task in tasks(Induction(), 4):
        assert write_program(parse_program(task.key)) == task.key


def test_a_deduction_has_one_answer():
    family = Deduction()
    for task in tasks(family, 2):
        program, given = task.data
        assert task.key == result(program, given)
        assert family.verify(task, task.key.replace(" ", ", ") + ".") == 1.0
        assert family.verify(task, given) == 0.0


def test_an_abduction_takes_every_input_that_does_it():
    """All lists of up to two numbers from -3 to 3: the verifier agrees with running the program on each."""
    family = Abduction()
    task = family.propose("unique; take 1 | 2 1", 1)
    assert task.prompt.endswith(
        "Program: unique; take 1\nOutput: 2\nAnswer with an input, a list, that gives this output."
    )
    right = {"2", "2 2", *(f"2 {x}" for x in range(-3, 4))}
    for size in (1, 2):
        for value in product(range(-3, 4), repeat=size):
            text = write_value(value)
            assert family.verify(task, text) == float(text in right)


def test_an_induction_is_judged_by_hidden_examples_too():
    """Every program of one or two plain words: right is exactly what does the same on all seven inputs."""
    family = Induction()
    task = family.propose("reverse; sort | 3 1 2", 1)
    assert len(task.data) == SHOWN + HIDDEN
    assert task.prompt.count(" -> ") == SHOWN + 1
    assert family.verify(task, "sort") == 1.0
    plain = [word for word in LISTS if word not in NUMBERED]
    for words in (*((w,) for w in plain), *product(plain, repeat=2)):
        text = "; ".join(words)
        try:
            same = all(result(text, given) == result("sort", given) for given in task.data)
        except Failed:
            same = False
        assert family.verify(task, text) == float(same)


def test_hidden_inputs_are_not_shown():
    for task in tasks(Induction(), 3):
        shown = task.prompt.rpartition("Examples of input -> output:\n")[2].splitlines()[:SHOWN]
        assert [line.partition(" -> ")[0] for line in shown] == list(task.data[:SHOWN])


def test_programs_that_do_the_same_have_one_signature():
    assert behaviour("reverse; reverse; sort") == behaviour("sort")
    assert behaviour("add 1; add 2") == behaviour("add 3")
    assert behaviour("sort") != behaviour("reverse")
    family = Deduction()
    one, other = (family.propose(f"{program} | 3 1 2", 2) for program in ("sort", "reverse; sort"))
    assert family.signature(one) == family.signature(other)


@pytest.mark.parametrize("family", [Deduction(), Abduction(), Induction()])
@pytest.mark.parametrize(
    "text", ["sort", "sort | x1", "double; double; double | 1", "vowels | 1 2", "sort | 1 2 3 4 5"]
)
def test_proposals_must_run_and_keep_to_the_level(family, text):
    with pytest.raises(Malformed):
        family.propose(text, 0)
