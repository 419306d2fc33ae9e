"""One game in progress: turns, retries, endings, freezing, branching."""

import copy
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sparring.envs import Ending, Game, Match, Problem, make
from sparring.envs.match import MAX_NOTICE


@dataclass(frozen=True)
class CountState:
    count: int = 0


class Count(Game):
    """Seats say "up" in turn; it is over at five."""

    rules = "Say up."
    last = 5

    def deal(self, rng):
        return CountState()

    def seat(self, state):
        return state.count % 2 if state.count < self.last else None

    def observation(self, state, seat):
        return f"{state.count}"

    def legal(self, state):
        return ("up",) if state.count < self.last else ()

    def play(self, state, move):
        if move not in self.legal(state):
            raise ValueError(move)
        return replace(state, count=state.count + 1)

    def rewards(self, state):
        return (1.0, -1.0) if state.count >= self.last else (0.0, 0.0)


def new(retries=0, game=None):
    return Match(game or Count(), np.random.default_rng(0), retries=retries)


def snapshot(match):
    return {name: getattr(match, name) for name in Match.__slots__}


def play(match, replies):
    for reply in replies:
        match.step(reply)
    return match


def test_seats_alternate_and_the_end_pays():
    match = new()
    seats = []
    while match.ending is None:
        seats.append(match.seat)
        match.step("[up]")
    assert seats == [0, 1, 0, 1, 0]
    assert (match.ending, match.rewards, match.offender) == (Ending.PLAYED, (1.0, -1.0), None)


@pytest.mark.parametrize("bad", ["[down]", None, 3])
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_an_illegal_reply_forfeits_at_once(bad, turns):
    match = play(new(), ["[up]"] * turns + [bad])
    seat = turns % 2
    assert (match.ending, match.offender) == (Ending.ILLEGAL, seat)
    assert match.rewards == ((-1.0, 1.0) if seat == 0 else (1.0, -1.0))
    assert match.illegal == ((1, 0) if seat == 0 else (0, 1))


def test_retries_are_for_each_turn_and_are_all_counted():
    match = play(new(retries=2), ["no", "no", "[up]", "no", "[up]", "no", "no"])
    assert match.ending is None
    assert match.illegal == (4, 1)
    match.step("no")
    assert (match.ending, match.offender, match.illegal) == (Ending.ILLEGAL, 0, (5, 1))


def test_the_notice_says_what_was_wrong_how_often_one_may_err_and_goes_away():
    match = new(retries=2)
    plain = match.prompt
    match.step("[down]")
    assert match.prompt == f"'down' is not a legal move now. Tries left: 2.\n\n{plain}"
    match.step(None)
    assert match.prompt.startswith("Your reply was not text. Tries left: 1.")
    match.step("[up]")
    assert match.prompt == match.game.prompt(match.state, 1)


@pytest.mark.parametrize(
    "bad",
    ["[" + "\U0001f600" * 64 + "]", "[" + "\x1b" * 64 + "]", "x" * 10**6, "[" * 10**5, "[\u202e\ud800]"],
)
def test_a_notice_is_short_and_carries_nothing_raw(bad):
    match = new(retries=10**6)
    plain = match.prompt
    match.step(bad)
    assert len(match.prompt) <= len(plain) + MAX_NOTICE
    assert match.notice.isascii()
    assert match.notice.isprintable()


@pytest.mark.parametrize("replies", [["[up]"] * 5, ["[up]", "no"]])
def test_a_finished_match_raises_and_changes_nothing(replies):
    match = play(new(), replies)
    before = snapshot(match)
    for reply in ("[up]", None, "no"):
        with pytest.raises(RuntimeError, match="over"):
            match.step(reply)
    with pytest.raises(RuntimeError, match="over"):
        _ = match.prompt
    assert snapshot(match) == before


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_the_turn_limit_is_exactly_the_number_of_moves(limit):
    game = Count()
    game.max_turns = limit
    match = new(game=game, retries=1)
    for _ in range(limit):
        assert match.ending is None
        match.step("no")
        match.step("[up]")
    assert (match.ending, match.turns, match.rewards) == (Ending.TRUNCATED, limit, (0.0, 0.0))


def test_a_game_that_ends_on_its_last_turn_is_played_not_truncated():
    game = Count()
    game.max_turns = game.last
    assert play(new(game=game), ["[up]"] * 5).ending is Ending.PLAYED


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_branch_leaves_its_stem_alone(clone):
    match = play(Match(make("KuhnPoker-v0"), np.random.default_rng(3), retries=2), ["[check]", "no"])
    before = snapshot(match)
    branch = clone(match)
    assert {k: v for k, v in snapshot(branch).items() if k != "game"} == {
        k: v for k, v in before.items() if k != "game"
    }
    play(branch, ["no", "[bet]", "[fold]"])
    assert branch.ending is Ending.PLAYED
    assert snapshot(match) == before


def test_negative_retries_are_refused():
    with pytest.raises(ValueError, match="retries must be 0 or more, not -1"):
        new(retries=-1)


def test_a_problem_is_reported_to_the_caller():
    assert new().step("[down]").problem is Problem.ILLEGAL_MOVE
