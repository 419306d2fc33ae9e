"""Lines of play worked out by hand, one game after the other, and settings that can't be."""

from __future__ import annotations

import pickle
from math import fsum

import numpy as np
import pytest

from sparring.envs import list_games, make
from sparring.envs.connect_four import LINES
from sparring.envs.kuhn import KuhnState
from sparring.envs.leduc import LeducState
from sparring.envs.liars_dice import LiarsDiceState
from sparring.envs.memo import Memo
from sparring.envs.nim import NimState

OWN_GAMES = [
    "ConnectFour-v0",
    "Goofspiel-v0",
    "KuhnPoker-v0",
    "LeducPoker-v0",
    "LiarsDice-v0",
    "Nim-v0",
    "TicTacToe-v0",
]


def line(game, state, *moves):
    """Play the moves; return the state they lead to."""
    for move in moves:
        state = game.play(state, move)
    return state


def start(game):
    return game.deal(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("cards", "moves", "rewards"),
    [
        ((2, 0), ["check", "check"], (1.0, -1.0)),
        ((0, 2), ["check", "bet", "fold"], (-1.0, 1.0)),
        ((0, 1), ["check", "bet", "call"], (-2.0, 2.0)),
        ((0, 2), ["bet", "fold"], (1.0, -1.0)),
        ((1, 0), ["bet", "call"], (2.0, -2.0)),
    ],
)
def test_kuhn(cards, moves, rewards):
    game = make("KuhnPoker-v0")
    end = line(game, KuhnState(cards), *moves)
    assert (game.seat(end), game.rewards(end)) == (None, rewards)


@pytest.mark.parametrize(
    ("cards", "moves", "rewards"),
    [
        # A fold costs what was paid: the ante, or the ante and a bet of 2.
        ((2, 0, 1), ["bet", "fold"], (1.0, -1.0)),
        ((2, 0, 1), ["check", "bet", "raise", "fold"], (3.0, -3.0)),
        # A pair with the public card beats a higher card.
        ((0, 2, 0), ["check", "check", "check", "check"], (1.0, -1.0)),
        ((2, 1, 0), ["check", "check", "bet", "call"], (5.0, -5.0)),
        # The most there is: ante 1, bet and raise of 2, bet and raise of 4.
        ((0, 1, 1), ["bet", "raise", "call", "bet", "raise", "call"], (-13.0, 13.0)),
        # Equal cards split.
        ((1, 1, 0), ["bet", "call", "bet", "call"], (0.0, 0.0)),
        # Seat 0 opens round 2 as well, and folds to a raise of 4 after 2 in round 1.
        ((1, 0, 0), ["check", "bet", "call", "bet", "raise", "fold"], (-7.0, 7.0)),
    ],
)
def test_leduc(cards, moves, rewards):
    game = make("LeducPoker-v0")
    end = line(game, LeducState(cards), *moves)
    assert (game.seat(end), game.rewards(end)) == (None, rewards)


def test_leduc_public_card_is_hidden_until_round_two():
    game = make("LeducPoker-v0")
    low, high = LeducState((1, 1, 0)), LeducState((1, 1, 2))
    for moves in ([], ["check"], ["check", "bet"]):
        seat = len(moves) % 2
        assert game.prompt(line(game, low, *moves), seat) == game.prompt(line(game, high, *moves), seat)
    assert "Public card: Jack." in game.prompt(line(game, low, "check", "check"), 0)
    assert "Public card: King." in game.prompt(line(game, high, "check", "check"), 0)


@pytest.mark.parametrize(
    ("moves", "rewards"),
    [
        ("1 4 2 5 3", (1.0, -1.0)),
        ("1 3 2 5 4 7", (-1.0, 1.0)),
        ("1 2 3 5 4 7 8 6 9", (0.0, 0.0)),
        # The ninth mark fills the board and a line at once.
        ("1 2 3 4 5 6 8 7 9", (1.0, -1.0)),
    ],
)
def test_tic_tac_toe(moves, rewards):
    game = make("TicTacToe-v0")
    end = line(game, start(game), *moves.split())
    assert (game.seat(end), game.legal(end), game.rewards(end)) == (None, (), rewards)


def test_tic_tac_toe_prompt_shows_the_board_only():
    game = make("TicTacToe-v0")
    one, other = (line(game, start(game), *moves.split()) for moves in ("1 5 9", "9 5 1"))
    assert game.prompt(one, 1) == game.prompt(other, 1)
    assert game.prompt(one, 1) == (
        "Tic-tac-toe. Three in a row wins.\n\nYou are O.\nX1 2 3\n4 O5 6\n7 8 X9\n"
        "Legal moves: [2] [3] [4] [6] [7] [8]\nYour move, in square brackets:"
    )


@pytest.mark.parametrize(("misere", "winner"), [(True, 1), (False, 0)])
def test_nim(misere, winner):
    game = make("Nim-v0", heaps=(1, 2), misere=misere)
    assert game.legal(start(game)) == ("1 from 1", "1 from 2", "2 from 2")
    end = line(game, start(game), "1 from 2", "1 from 1", "1 from 2")
    assert game.seat(end) is None
    assert game.rewards(end)[winner] == 1.0
    assert game.rewards(end)[1 - winner] == -1.0


def test_nim_takes_no_more_than_a_heap_holds():
    game = make("Nim-v0", heaps=(1, 2))
    with pytest.raises(ValueError, match="not legal now"):
        game.play(NimState((1, 2)), "2 from 1")


@pytest.mark.parametrize(
    ("moves", "winner"),
    [
        ("1 2 1 2 1 2 1", 0),  # upright
        ("1 1 2 2 3 3 4", 0),  # level
        ("7 1 1 2 7 2 7 3 6 3 6 4", 1),  # level, by seat 1
        ("1 2 2 3 3 4 3 4 4 7 4", 0),  # rising
        ("7 6 6 5 5 4 5 4 4 1 4", 0),  # falling
    ],
)
def test_connect_four(moves, winner):
    game = make("ConnectFour-v0")
    *before, last = moves.split()
    state = line(game, start(game), *before)
    assert game.seat(state) is not None
    end = game.play(state, last)
    assert game.seat(end) is None
    assert game.rewards(end)[winner] == 1.0


def test_connect_four_refuses_a_full_column():
    game = make("ConnectFour-v0")
    state = line(game, start(game), *"111111")
    assert game.legal(state) == tuple("234567")
    with pytest.raises(ValueError, match="not legal now"):
        game.play(state, "1")


def test_connect_four_has_69_lines():
    """24 level, 21 upright, 12 rising and 12 falling: none runs on around the edge."""
    wins = {stones for lines in LINES.values() for _, sets in lines for stones in sets}
    assert sum(stones.bit_count() == 4 for stones in wins) == 69


def test_connect_four_draw_fills_the_board():
    game = make("ConnectFour-v0")
    # Pairs of columns filled so that colours alternate in twos: no line of four anywhere.
    state = line(game, start(game), *"121212212121343434434343565656656565777777".replace("", " ").split())
    assert (game.seat(state), game.legal(state), game.rewards(state)) == (None, (), (0.0, 0.0))


@pytest.mark.parametrize(
    ("moves", "winner"),
    [
        (["1-2", "liar"], 0),  # seat 0 holds a 2
        (["2-2", "liar"], 0),  # and seat 1 the wild 6
        (["1-5", "2-1", "liar"], 0),  # one wild, no 1: seat 1 lied
        (["2-6", "liar"], 1),  # a bid of wilds counts wilds only
        (["1-6", "2-6", "liar"], 0),
    ],
)
def test_liars_dice(moves, winner):
    game = make("LiarsDice-v0")
    end = line(game, LiarsDiceState(((2,), (6,))), *moves)
    assert game.seat(end) is None
    assert game.rewards(end)[winner] == 1.0


def test_liars_dice_bids_rise_and_nobody_challenges_nothing():
    game = make("LiarsDice-v0", faces=3)
    opening = LiarsDiceState(((1,), (3,)))
    assert game.legal(opening) == ("1-1", "1-2", "1-3", "2-1", "2-2", "2-3")
    assert game.legal(game.play(opening, "2-1")) == ("2-2", "2-3", "liar")
    for moves, bad in ([[], "liar"], [["2-1"], "1-3"], [["2-1"], "2-1"], [["2-1", "liar"], "liar"]):
        with pytest.raises(ValueError, match="not legal now"):
            game.play(line(game, opening, *moves), bad)


def test_goofspiel_plays_the_forced_last_bids_itself():
    game = make("Goofspiel-v0", cards=3)
    # Prize 3: 2 beats 1. Prize 2: 1 loses to 3. Prize 1: the 3 that is left beats the 2. Points 4 to 2.
    end = line(game, start(game), "2", "1", "1", "3")
    assert end.bids == (2, 1, 1, 3, 3, 2)
    assert (game.seat(end), game.rewards(end)) == (None, (1.0, -1.0))


def test_goofspiel_tie_discards_the_prize():
    game = make("Goofspiel-v0", cards=3, returns="total_points")
    end = line(game, start(game), "3", "3", "2", "1")
    assert game.rewards(end) == (2.0, 1.0)
    assert not game.zero_sum


def test_goofspiel_bids_are_sealed():
    game = make("Goofspiel-v0", cards=4)
    after = [game.prompt(game.play(start(game), bid), 1) for bid in "1234"]
    assert len(set(after)) == 1


@pytest.mark.parametrize("hidden", [True, False])
def test_goofspiel_hidden_bids_show_winners_only(hidden):
    game = make("Goofspiel-v0", cards=4, hidden_bids=hidden)
    first, second = (line(game, start(game), "3", bid) for bid in "12")
    assert (game.prompt(first, 0) == game.prompt(second, 0)) is hidden


def test_goofspiel_open_bids_are_told_to_both():
    game = make("Goofspiel-v0", cards=4)
    state = line(game, start(game), "3", "2")
    for seat in (0, 1):
        assert "prize 4: bids 3 and 2, player 0 won" in game.prompt(state, seat)


def test_goofspiel_prizes_to_come_are_hidden():
    game = make("Goofspiel-v0", cards=4, points_order="random")
    dealt = {state.prizes: state for state, _ in game.deals()}
    assert game.prompt(dealt[2, 1, 3, 4], 0) == game.prompt(dealt[2, 4, 3, 1], 0)
    assert game.prompt(dealt[2, 1, 3, 4], 0) != game.prompt(dealt[1, 2, 3, 4], 0)


@pytest.mark.parametrize(
    ("id", "settings", "message"),
    [
        ("Nim-v0", {"heaps": ()}, "1 to 9 heaps"),
        ("Nim-v0", {"heaps": (1,) * 10}, "1 to 9 heaps"),
        ("Nim-v0", {"heaps": (1, 0)}, "1 or more"),
        ("Nim-v0", {"heaps": (1, 2.0)}, "whole number"),
        ("Nim-v0", {"heaps": (60, 60)}, "at most 100"),
        ("Nim-v0", {"heaps": 5}, "for instance"),
        ("LiarsDice-v0", {"dice": 0}, "dice must be a whole number from 1 to 10"),
        ("LiarsDice-v0", {"faces": 1}, "faces must be a whole number from 2 to 12"),
        ("LiarsDice-v0", {"faces": True}, "faces must be"),
        ("Goofspiel-v0", {"cards": 1}, "from 2 to 20"),
        ("Goofspiel-v0", {"points_order": "descnding"}, "Did you mean 'descending'"),
        ("Goofspiel-v0", {"returns": "winloss"}, "Did you mean 'win_loss'"),
        *((id, {"skin": "obfuscatd"}, "Did you mean 'obfuscated'") for id in OWN_GAMES),
    ],
)
def test_bad_settings_name_the_remedy(id, settings, message):
    with pytest.raises(ValueError, match=message):
        make(id, **settings)


def test_too_many_orders_are_not_listed():
    with pytest.raises(NotImplementedError, match="at most 8 cards"):
        next(iter(make("Goofspiel-v0", cards=9, points_order="random").deals()))


@pytest.mark.parametrize("id", OWN_GAMES)
def test_deals_are_distributed_as_listed(id):
    """Frequencies of 20,000 deals against `deals()`.

    A deal of chance p is off by more than 6 standard deviations with odds below 2e-9, and there are at most 36.
    """
    game, rng, n = make(id), np.random.default_rng(11), 20_000
    listed = dict(game.deals())
    assert fsum(listed.values()) == pytest.approx(1.0, abs=1e-12)
    counts = dict.fromkeys(listed, 0)
    for _ in range(n):
        counts[game.deal(rng)] += 1
    for state, chance in listed.items():
        assert abs(counts[state] - n * chance) <= 6 * (n * chance * (1 - chance)) ** 0.5


@pytest.mark.parametrize("id", OWN_GAMES)
def test_reward_range_is_kept_and_reached_at_random_play(id):
    """Random play meets the extremes of every game's default settings; the seed is fixed."""
    game, rng = make(id), np.random.default_rng(12)
    met = set()
    for _ in range(3000):
        state = game.deal(rng)
        while game.seat(state) is not None:
            legal = game.legal(state)
            state = game.play(state, legal[int(rng.random() * len(legal))])
        met.update(game.rewards(state))
    assert (min(met), max(met)) == game.reward_range


@pytest.mark.parametrize("returns", ["win_loss", "point_difference", "total_points"])
def test_goofspiel_reward_range_is_exact(returns):
    game = make("Goofspiel-v0", cards=3, returns=returns)
    met, stack = set(), [state for state, _ in game.deals()]
    while stack:
        state = stack.pop()
        if game.seat(state) is None:
            met.update(game.rewards(state))
        stack += [game.play(state, move) for move in game.legal(state)]
    assert (min(met), max(met)) == game.reward_range


@pytest.mark.parametrize("id", OWN_GAMES)
def test_an_unknown_move_raises_and_changes_nothing(id):
    game = make(id)
    state = start(game)
    before = game.prompt(state, 0)
    for move in ("", "castle", "0", "CHECK", "[1]", "1 "):
        with pytest.raises(ValueError, match="not legal now"):
            game.play(state, move)
    assert game.prompt(state, 0) == before


@pytest.mark.parametrize("id", OWN_GAMES)
def test_no_move_follows_the_end(id):
    game = make(id)
    state = start(game)
    moves = set()
    while game.seat(state) is not None:
        moves.update(game.legal(state))
        state = game.play(state, game.legal(state)[-1])
    for move in moves:
        with pytest.raises(ValueError, match="not legal now"):
            game.play(state, move)


@pytest.mark.parametrize(
    ("id", "settings"),
    [
        ("Nim-v0", {"heaps": (11, 11, 11, 11, 11, 11, 11, 11, 12)}),
        ("LiarsDice-v0", {"dice": 10, "faces": 12}),
        ("Goofspiel-v0", {"cards": 20, "hidden_bids": True}),
        ("Goofspiel-v0", {"cards": 20, "points_order": "random"}),
    ],
)
@pytest.mark.parametrize("skin", ["plain", "obfuscated"])
def test_prompts_stay_bounded_at_the_largest_settings(id, settings, skin):
    """Always the first legal move: the longest games that these rules allow."""
    game = make(id, skin=skin, **settings)
    state = start(game)
    while (seat := game.seat(state)) is not None:
        assert len(game.prompt(state, seat)) <= game.max_prompt
        state = game.play(state, game.legal(state)[0])


def test_a_memo_forgets_when_full_and_travels_empty():
    asked = []
    memo = Memo(lambda key: asked.append(key) or key, limit=2)
    assert [memo[key] for key in (1, 2, 1, 3, 1)] == [1, 2, 1, 3, 1]
    assert asked == [1, 2, 3, 1]
    game = make("TicTacToe-v0")
    line(game, start(game), "1", "2", "3")
    assert len(pickle.dumps(game)) == len(pickle.dumps(make("TicTacToe-v0")))


def test_every_game_here_is_registered():
    assert set(OWN_GAMES) <= set(list_games())
