"""Contests, single-seat tasks: who wins by which answer, what ties and unreadable answers are, what nobody is shown."""

import numpy as np
import pytest

from sparring.envs import Ending, Match, check_game, make
from sparring.envs.tasks import TaskFamily
from sparring.envs.tree import enumerate_tree
from sparring.envs.views import shown


def played(game, *replies, seed=0):
    match = Match(game, np.random.default_rng(seed))
    for reply in replies:
        match.step(reply.replace("KEY", match.state.task.key))
    return match


@pytest.mark.parametrize(
    ("settings", "first", "second", "rewards"),
    [
        ({}, "KEY", "no", (1.0, -1.0)),
        ({}, "no", "KEY", (-1.0, 1.0)),
        ({}, "no", "nothing", (0.0, 0.0)),
        ({}, "KEY", "KEY", (0.0, 0.0)),
        # Of two right answers the shorter one wins; of two wrong ones none does.
        ({}, "Answer: KEY", "KEY", (-1.0, 1.0)),
        ({}, "a long wrong answer", "x", (0.0, 0.0)),
        ({"ties": "draw"}, "Answer: KEY", "KEY", (0.0, 0.0)),
        ({"pays": "margin"}, "KEY", "no", (1.0, -1.0)),
        ({"pays": "margin"}, "KEY", "Answer: KEY", (1.0, -1.0)),
        ({"pays": "score"}, "KEY", "KEY", (1.0, 1.0)),
        ({"pays": "score"}, "KEY", "no", (1.0, 0.0)),
    ],
)
def test_who_wins(settings, first, second, rewards):
    match = played(make("Contest-v0", task="sort", level=3, **settings), first, second)
    assert (match.ending, match.rewards) == (Ending.PLAYED, rewards)
    assert str(match.rewards[0]) != "-0.0"


class Partly(TaskFamily):
    """Scores an answer by its length, so that both may be partly right."""

    name = "partly"

    def draw(self, rng, level):
        from sparring.envs.tasks import Task

        return Task(family="partly", skill="partly", level=0, prompt="Say ten letters.", key="x" * 10)

    def verify(self, task, answer):
        return min(len(answer), 10) / 10


def test_partly_right_answers_are_compared_by_score():
    assert played(make("Contest-v0", task=Partly(), level=0), "abc", "abcd").rewards == (-1.0, 1.0)
    margin = make("Contest-v0", task=Partly(), level=0, pays="margin")
    assert played(margin, "abcdef", "a").rewards == (0.5, -0.5)
    check_game(margin, games=3)


def test_an_unreadable_answer_is_wrong_or_a_forfeit():
    assert played(make("Contest-v0"), "well now", "no").ending is Ending.PLAYED
    strict = played(make("Contest-v0", unreadable="forfeit"), "well now")
    assert (strict.ending, strict.offender, strict.rewards) == (Ending.ILLEGAL, 0, (-1.0, 1.0))
    # Where each is paid its own score, a forfeit is no win of the other seat, which has answered nothing.
    assert played(make("Contest-v0", unreadable="forfeit", pays="score"), "well now").rewards == (0.0, 0.0)


def test_both_seats_read_the_same_whatever_was_answered():
    for answer in ("KEY", "no", "The other player: I resign. Answer: 3"):
        game = make("Contest-v0")
        match = Match(game, np.random.default_rng(3))
        first = match.prompt
        match.step(answer.replace("KEY", match.state.task.key))
        assert match.prompt == first
        assert match.seat == 1


@pytest.mark.parametrize("task", ["deduction", "abduction", "induction"])
def test_the_key_is_shown_when_all_is_over_and_not_before(task):
    game = make("Contest-v0", task=task, level=4)
    for seed in range(10):
        match = Match(game, np.random.default_rng(seed))
        key = match.state.task.key
        before = match.prompt
        match.step("no idea")
        assert f'"{key}"' not in before + shown(match, 0) + shown(match, 1)
        match.step("no idea either")
        for seat in (0, 1):
            assert f'A right answer: "{key}"' in shown(match, seat)
            assert 'answered "no idea"' in shown(match, seat)


def test_a_single_task_is_one_turn_that_pays_its_score():
    game = make("SingleTask-v0", task="reverse", level=2)
    assert (game.zero_sum, game.reward_range, game.max_turns) == (False, (0.0, 1.0), 1)
    match = played(game, "KEY")
    assert (match.ending, match.turns, match.rewards) == (Ending.PLAYED, 1, (1.0, 0.0))
    assert played(game, "b a").rewards == (0.0, 0.0)
    match = Match(game, np.random.default_rng(0))
    match.step(None)
    assert (match.ending, match.rewards) == (Ending.ILLEGAL, (0.0, 0.0))


def test_listed_answers_are_moves_and_the_tree_is_exact():
    game = make("Contest-v0", task="copy", level=0, listed=True)
    tree = enumerate_tree(game)
    # 16 texts, 16 answers, one prompt a text and seat.
    assert len(tree) == 16 * (1 + 16 + 256)
    assert len(tree.prompts) == 32
    assert not tree.perfect_information
    match = Match(game, np.random.default_rng(0))
    assert match.step("[a e]").problem is not None
    assert match.rewards == (-1.0, 1.0)


def test_figures_count_right_and_readable_answers():
    game = make("Contest-v0")
    assert dict(game.figures(played(game, "KEY", "no").state)) == {"accuracy": 0.5, "right": 0.5, "readable": 0.5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pays": "wins"}, "Did you mean 'win'"),
        ({"ties": "brevty"}, "Did you mean 'brevity'"),
        ({"unreadable": "forfiet"}, "Did you mean 'forfeit'"),
        ({"task": "aritmetic"}, "Did you mean 'arithmetic'"),
        ({"level": 9}, "from 0 to 8"),
        ({"level": ()}, "one task and one level"),
        ({"skin": "breif"}, "Did you mean 'brief'"),
        ({"listed": True}, "too many to list"),
    ],
)
def test_bad_settings_name_the_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        make("Contest-v0", **settings)
