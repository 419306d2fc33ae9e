"""The bridge to reasoning-gym, on a stand-in for the library, and on all of the library where it is installed."""

import importlib.util
import random
import re
import sys
import types

import numpy as np
import pytest

from sparring.envs import Match, check_game, list_games, make
from sparring.envs import from_reasoning_gym as bridge
from sparring.envs.from_reasoning_gym import EXCLUDED, ReasoningGym, generators, harmless
from sparring.envs.tasks import Malformed, read_answer, write_answer

HERE = importlib.util.find_spec("reasoning_gym") is not None
needs_library = pytest.mark.skipif(not HERE, reason="needs pip install 'sparring[reasoning_gym]'")


class Sums:
    """Two lines of sums. Draws from the global generators, which the real library does in places, and must not show."""

    def __init__(self, seed, most=9):
        self.seed = seed
        self.most = most

    def __getitem__(self, index):
        a, b = random.randint(0, self.most), int(np.random.randint(self.most))  # noqa: NPY002
        return {"question": f"Give\t{a}+{b}\r\nand {a}-{b}.\x07", "answer": f"{a + b}\n{a - b}", "metadata": {}}

    def score_answer(self, answer, entry):
        if answer == "boom":
            raise KeyError(answer)
        return {"odd": float("nan"), "big": 7.0}.get(answer, float(answer == entry["answer"]))


@pytest.fixture
def stand_in(monkeypatch):
    """A library with one generator and one that is excluded."""
    library, factory = types.ModuleType("reasoning_gym"), types.ModuleType("reasoning_gym.factory")
    factory.DATASETS = {"sums": (Sums, dict), "composite": (Sums, dict)}
    factory.has_curriculum = lambda name: False
    library.factory = factory
    library.create_dataset = lambda name, seed, size: Sums(seed)
    library.__spec__ = importlib.util.spec_from_loader("reasoning_gym", None)
    monkeypatch.setitem(sys.modules, "reasoning_gym", library)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", factory)
    bridge._item.cache_clear()
    yield
    bridge._item.cache_clear()


def test_a_generator_is_a_contest_and_a_single_task(stand_in):
    assert list_games("reasoning_gym") == ["reasoning_gym/sums"]
    for settings in ({}, {"single": True}, {"pays": "score", "skin": "brief"}):
        check_game(make("reasoning_gym/sums", **settings), games=5)
    game = make("reasoning_gym/sums")
    match = Match(game, np.random.default_rng(1))
    assert "\t" not in match.prompt
    key = match.state.task.key
    match.step(key.replace("\n", r"\n"))
    match.step(key.splitlines()[0])
    assert match.rewards == (1.0, -1.0)


def test_the_global_generators_are_fenced_off(stand_in):
    game = make("SingleTask-v0", task="reasoning_gym/sums", level=0)
    deals = []
    for disturbance in (1, 2):
        random.seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        bridge._item.cache_clear()
        deals.append([game.deal(np.random.default_rng(n)) for n in range(5)])
        game.play(deals[-1][0], "no")
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert deals[0] == deals[1]
    assert len({state.task.prompt for state in deals[0]}) > 1


class Steps:
    """A curriculum of two parameters, of three steps and of two."""

    def __init__(self):
        self.attributes = {n: types.SimpleNamespace(levels=range(c)) for n, c in (("terms", 3), ("digits", 2))}
        self.chosen = {}

    def set_attr_level(self, name, level):
        assert level < len(self.attributes[name].levels)
        self.chosen[name] = level

    def generate_configuration(self, defaults):
        return {**defaults, **self.chosen}


class Many:
    """So many terms of so many digits; the most of both is more than it can do."""

    def __init__(self, config):
        self.config = config

    def __getitem__(self, index):
        if (self.config["terms"], self.config["digits"]) == (2, 1):
            raise RuntimeError("too many")
        top = 10 ** (1 + self.config["digits"]) - 1
        terms = [random.randint(1, top) for _ in range(2 + self.config["terms"])]
        return {"question": " + ".join(map(str, terms)), "answer": str(sum(terms)), "metadata": {}}

    def score_answer(self, answer, entry):
        return float(answer == entry["answer"])


@pytest.fixture
def graded(stand_in):
    """The library with a generator that has a curriculum."""
    factory = sys.modules["reasoning_gym.factory"]
    factory.DATASETS["many"] = (Many, dict)
    factory.has_curriculum = lambda name: name == "many"
    factory.create_curriculum = lambda name: Steps()


def test_a_proposer_chooses_steps_of_the_curriculum_and_an_item(graded):
    family = ReasoningGym("many")
    assert family.levels == 4
    task = family.propose(" digits 1 | 17 ", 2)
    assert len(task.prompt.split(" + ")) == 2
    assert (family.verify(task, task.key), family.verify(task, "0")) == (1.0, 0.0)
    assert family.proposal(task) == "terms 0; digits 1 | 17"
    assert family.propose(family.proposal(task), 2) == task
    more = family.propose("digits 0; terms 1 | 17", 2)
    assert len(more.prompt.split(" + ")) == 3
    assert all(int(n) < 10 for n in more.prompt.split(" + "))
    assert family.signature(more) != family.signature(task)
    assert "terms (0 to 1), digits (0 to 1)" in family.language(2)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_drawn_item_can_be_proposed(graded, level):
    family = ReasoningGym("many" if level else "sums")
    for n in range(5):
        task = family.draw(np.random.default_rng(n), level)
        proposed = family.propose(family.proposal(task), level)
        assert (proposed.prompt, proposed.key, proposed.source) == (task.prompt, task.key, "proposer")


@pytest.mark.parametrize(
    ("text", "level", "why"),
    [
        ("terms 2 | 5", 2, "terms has one step, from 0 to 1 here"),
        ("terms 0; terms 1 | 5", 2, "terms has one step"),
        ("seed 3 | 5", 2, "name parameters with their steps: terms, digits"),
        ("terms 1 | 5", 0, "there are none here"),
        ("terms 1", 2, "an item has a number"),
        ("terms 1 | -5", 2, "an item has a number"),
        ("2147483648", 0, "an item has a number from 0 to 2147483647"),
        ("9" * 1_000, 0, "an item has a number"),
        ("9" * 10_000, 0, "a proposal has at most 2000 characters"),
        ("terms __import__('os') | 5", 2, "name parameters"),
        ("terms 2; digits 1 | 5", 3, "the library makes no item of that"),
    ],
)
def test_what_is_no_item_says_why(graded, text, level, why):
    with pytest.raises(Malformed, match=re.escape(why)):
        ReasoningGym("many").propose(text, level)


class Endless(Many):
    """Never done where terms is above 0, and takes every error for one of its own."""

    def __getitem__(self, index):
        while self.config["terms"]:
            try:
                sum(term + 1 for term in range(100))
            except Exception:  # noqa: BLE001
                continue
        return super().__getitem__(index)


def test_an_item_that_takes_for_ever_is_no_task(graded):
    sys.modules["reasoning_gym.factory"].DATASETS["many"] = (Endless, dict)
    family, before = ReasoningGym("many"), (random.getstate(), sys.gettrace())
    with pytest.raises(Malformed, match="for too long; choose lower steps"):
        family.propose("terms 1; digits 0 | 17", 2)
    assert (random.getstate(), sys.gettrace()) == before
    assert family.propose("terms 0; digits 1 | 17", 2).key


@pytest.mark.parametrize("lines", [2, 5, 40])
def test_lines_are_counted_each_turn_of_a_loop_too(lines):
    def run(turns):
        for _ in range(turns):
            pass
        return turns

    # A turn is two lines, the loop's end one, and the return another.
    assert bridge.bounded(lambda: run(lines), 2 * lines + 3) == lines
    with pytest.raises(bridge.TooLong):
        bridge.bounded(lambda: run(lines), 2 * lines + 2)
    assert sys.gettrace() is None


class Trusting(Many):
    """Works at some answers for ever, or for long and takes the end of it for an error of its own."""

    def score_answer(self, answer, entry):
        while answer == "for ever":
            try:
                sum(term + 1 for term in range(100))
            except Exception:  # noqa: BLE001
                continue
        try:
            for _ in range(1_000_000 if answer == "for long" else 0):
                pass
        except:  # noqa: E722
            pass
        return 1.0


def test_an_answer_that_takes_for_ever_is_wrong(graded, monkeypatch):
    monkeypatch.setattr(bridge, "MOST_LINES", 10_000)
    sys.modules["reasoning_gym.factory"].DATASETS["many"] = (Trusting, dict)
    family, before = ReasoningGym("many"), (random.getstate(), sys.gettrace())
    task = family.draw(np.random.default_rng(0), 1)
    assert [family.verify(task, answer) for answer in ("short", "for ever", "for long")] == [1.0, 0.0, 0.0]
    assert (random.getstate(), sys.gettrace()) == before


def test_texts_that_are_too_long_do_not_reach_the_library(graded):
    sys.modules["reasoning_gym.factory"].DATASETS["many"] = (Trusting, dict)
    family = ReasoningGym("many")
    task = family.draw(np.random.default_rng(0), 1)
    assert [family.verify(task, "1" * n) for n in (bridge.MOST_ANSWER, bridge.MOST_ANSWER + 1)] == [1.0, 0.0]
    with pytest.raises(Malformed, match="at most 2000 characters"):
        family.propose("terms 0;" * 10_000 + " | 17", 2)


def test_items_are_copies_by_their_question_and_not_by_their_number(graded):
    """By ROUGE-L of proposals two items of the same steps are alike: "terms 1; digits 1 | 17" and "... | 18", 0.86."""
    from sparring.agents import Reply
    from sparring.selfplay.self_instruct import Proposal, SelfInstruct
    from sparring.selfplay.skills import Skill

    family = ReasoningGym("many")
    tasks = [family.propose(f"terms 1; digits 1 | {number}", 3) for number in (17, 18, 17, 19)]
    assert {family.wording(task) for task in tasks} == {""}
    method = SelfInstruct(seeds=[family.propose("terms 1; digits 1 | 19", 3)], novelty=0.7)
    said = [
        Proposal(skill=Skill(family.name, 3), prompt="", reply=Reply(text=""), text=family.proposal(task), task=task)
        for task in tasks
    ]
    assert [p.task for p in method._new({family.name: family}, said)] == tasks[:2]


def test_a_proposer_has_a_choice_from_level_2_on(graded):
    """Level 0 has the library's defaults, which are no step of its curriculum; at level 1 parameters have one each."""
    family = ReasoningGym("many")
    assert "digits" not in family.language(0)
    assert "terms (0 to 0), digits (0 to 0)" in family.language(1)
    assert "terms (0 to 2), digits (0 to 1)" in family.language(3)
    hard, mixed = family.propose("terms 1; digits 1 | 3", 2), family.propose("terms 2 | 3", 3)
    assert (len(hard.prompt.split(" + ")), len(mixed.prompt.split(" + "))) == (3, 4)


def test_the_game_of_proposing_takes_a_generator(graded):
    for name, level in (("sums", 0), ("many", 2)):
        check_game(make("Proposer-v0", task=f"reasoning_gym/{name}", level=level, attempts=2), games=5)


@pytest.mark.parametrize(("answer", "score"), [("boom", 0.0), ("odd", 0.0), ("big", 1.0), ("no", 0.0)])
def test_whatever_the_verifier_does_a_score_is_a_score(stand_in, answer, score):
    family = ReasoningGym("sums")
    assert family.verify(family.draw(np.random.default_rng(0), 0), answer) == score


def test_what_is_not_offered_says_why(stand_in):
    with pytest.raises(ValueError, match="not offered: it is made of other generators"):
        make("reasoning_gym/composite")
    with pytest.raises(ValueError, match="Did you mean 'sums'"):
        make("reasoning_gym/sumz")
    with pytest.raises(ValueError, match="from 0 to 0"):
        make("reasoning_gym/sums", level=1)


@pytest.mark.parametrize(
    ("generator", "answer", "passes"),
    [
        # These verifiers hand an answer to eval or to sympy's parser, which is eval too.
        ("spiral_matrix", "1 2 3", True),
        ("spiral_matrix", "[1, 2, 3]", True),
        ("spiral_matrix", "__import__('os').system('true')", False),
        ("binary_matrix", "exit()", False),
        ("n_queens", "_ Q _\nQ _ _", True),
        ("n_queens", "().__class__", False),
        ("string_insertion", "['A', 'B']", True),
        ("string_insertion", "open('x')", False),
        ("countdown", "3 * (4 + 5) - 6/2", True),
        ("countdown", "9**9**9", False),
        ("countdown", "9 * * 9", False),
        ("puzzle24", "factorial(99999999)", False),
        ("simple_integration", "2*x**3/3 + C", True),
        ("intermediate_integration", "exp(2*x)/2 - log(x) + sin(x)**2 + C", True),
        ("intermediate_integration", "x**(1/2) + C", True),
        ("polynomial_multiplication", "-6*x**4 + 2*x*y - 1", True),
        ("polynomial_multiplication", "9**9**9**9", False),
        ("polynomial_multiplication", "x**(9**9)", False),
        ("polynomial_multiplication", "x**99999999", False),
        ("polynomial_multiplication", "x.__class__", False),
        ("polynomial_multiplication", "x.subs", False),
        ("simple_integration", "factorial(10)", False),
        ("simple_integration", "1e999999999", False),
        ("intermediate_integration", "((9**99)**99)**99", False),
        ("intermediate_integration", "(sin((9**20)**9))**9", False),
        ("intermediate_integration", "(x**2 + 1)**3/6 + sin(x**2)**2 + C", True),
        ("polynomial_multiplication", "x**99 + y**99 + z**99", True),
        ("complex_arithmetic", "nan", False),
        ("complex_arithmetic", "-84.0 + 48.5i", True),
        ("coin_flip", "1e999999999", False),
        ("coin_flip", "0.25", True),
        ("coin_flip", "3.05e-05", True),
        ("game_of_life_halting", "no such thing", False),
        ("game_of_life_halting", "False", True),
        ("chain_sum", "anything", True),
    ],
)
def test_no_answer_that_would_run_reaches_a_verifier(generator, answer, passes):
    assert harmless(generator, answer) is passes


# The library itself

# What scores nothing else than an answer, and keeps no reference answer to compare with: its verifier executes.
WITHOUT_KEY = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
# Finds hardly an item at the first step of its curriculum.
GIVES_UP = {"knight_swap"}
NAMES = generators() if HERE else []


@needs_library
def test_the_list_of_what_works_is_complete():
    import reasoning_gym.factory

    assert set(NAMES) | set(EXCLUDED) == set(reasoning_gym.factory.DATASETS)
    assert len(NAMES) >= 105


@pytest.mark.parametrize("name", NAMES)
def test_every_generator_works(name):
    """One item of each: seeded, printable, bounded; its own answer as a speech of one line scores 1, rubbish not."""
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    family = ReasoningGym(name)
    task = family.draw(np.random.default_rng(7), 0)
    bridge._item.cache_clear()
    assert family.draw(np.random.default_rng(7), 0) == task
    assert all(c == "\n" or c.isprintable() or ord(c) > 0xE000 for c in task.prompt)
    assert len(task.prompt) < 7000
    answer = family.solve(task)
    assert (answer is None) == (name in WITHOUT_KEY)
    if answer is not None:
        assert family.verify(task, read_answer(write_answer(answer, brackets=True))) == 1.0
    assert family.verify(task, "no such answer") <= 0.2
    assert family.propose(family.proposal(task), 0).prompt == task.prompt
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


@needs_library
@pytest.mark.parametrize(
    "name", ["chain_sum", "pool_matrix", "countdown", "binary_matrix", "rush_hour", "letter_jumble"]
)
def test_the_contract_is_kept(name):
    check_game(make(f"reasoning_gym/{name}"), games=2)
    check_game(make(f"reasoning_gym/{name}", single=True), games=1)


@needs_library
def test_levels_go_up_the_librarys_own_curriculum():
    family = ReasoningGym("chain_sum")
    lengths = [len(family.draw(np.random.default_rng(0), level).prompt) for level in (1, 6, 11)]
    assert lengths == sorted(set(lengths))


@needs_library
@pytest.mark.parametrize("name", [name for name in NAMES if name not in GIVES_UP])
def test_every_generator_with_a_curriculum_takes_its_steps_from_a_proposer(name):
    family = ReasoningGym(name)
    level = min(1, family.levels - 1)
    task = family.draw(np.random.default_rng(3), level)
    proposed = family.propose(family.proposal(task), level)
    assert (proposed.prompt, proposed.key) == (task.prompt, task.key)
    assert set(family.parameters) == {part.split()[0] for part in proposed.data[1].split("; ") if level}


@needs_library
def test_a_proposer_may_make_one_parameter_harder_than_another():
    family = ReasoningGym("chain_sum")
    few, many = (family.propose(f"num_terms {terms}; num_digits 0 | 5", 6) for terms in (0, 5))
    assert len(few.prompt) < len(many.prompt)
    assert family.verify(many, many.key) == 1.0


@needs_library
@pytest.mark.parametrize("name", NAMES)
def test_a_proposer_chooses_every_parameter_and_no_more_than_its_level(name):
    family = ReasoningGym(name)
    for level in range(family.levels):
        bounds = dict(family._choice(level))
        assert set(bounds) == (set(family.parameters) if level else set())
        assert all(0 <= most < family.parameters[parameter] for parameter, most in bounds.items())
        assert len(bridge._written(tuple(bounds.items()))) < bridge.MOST_PROPOSAL
        for parameter, most in bounds.items():
            assert dict(family._read(f"{parameter} {most}", level))[parameter] == most
            with pytest.raises(Malformed):
                family._read(f"{parameter} {most + 1}", level)


HOSTILE = [
    "9" * 4000,
    "1e999999999",
    "((9**99)**99)**99",
    "99999999**99999999",
    "[" * 5000,
    '{"a":' * 2000,
    "(" * 1500 + "1" + ")" * 1500,
    "1 " * 7000,
    "nan",
    "\u0663 + \u0664",
    "__import__('os').system('true')",
    "1" * 1_000_000,
]


@needs_library
@pytest.mark.parametrize("name", NAMES)
def test_hostile_answers_end_as_wrong_ones(name):
    """A line of sympy worked at `1e999999999` for minutes, and "nan" was right wherever it was read as a number."""
    family = ReasoningGym(name)
    task = family.draw(np.random.default_rng(7), 0)
    assert all(family.verify(task, answer) <= 0.2 for answer in HOSTILE)
