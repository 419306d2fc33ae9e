"""PettingZoo's classic games as ours: named moves, positions in text, copies that are copies, hidden cards."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from sparring.agents import RandomAgent
from sparring.envs import Match, check_game, list_games, make
from sparring.envs.bridged import read_known
from sparring.envs.from_pettingzoo import PettingZooGame
from sparring.selfplay import exploitability

KNOWN = read_known("pettingzoo")


def match_of(name: str, seed: int = 0) -> Match[Any]:
    return Match(make(f"pettingzoo/{name}"), np.random.default_rng(seed))


def after(name: str, *moves: str) -> Match[Any]:
    match = match_of(name)
    for move in moves:
        assert match.step(f"[{move}]").problem is None
    return match


def test_scholars_mate_in_uci_moves() -> None:
    match = after("chess_v6", "e2e4", "e7e5", "d1h5", "b8c6", "f1c4", "g8f6")
    assert match.legal is not None
    assert "h5f7" in match.legal
    assert "Moves so far: 0:e2e4, 1:e7e5" in match.prompt
    match.step("[h5f7]")
    assert match.rewards == (1.0, -1.0)


def test_a_pawn_becomes_what_is_asked_for() -> None:
    match = after("chess_v6", "h2h4", "a7a5", "h4h5", "a5a4", "h5h6", "a4a3", "h6g7", "a3b2")
    assert match.legal is not None
    assert {"g7h8q", "g7h8r", "g7h8b", "g7h8n"} <= set(match.legal)
    match.step("[g7h8n]")
    assert "FEN: rnbqkbnN/1ppppp1p/" in match.prompt


def test_tic_tac_toe_shows_cells_where_their_numbers_stand() -> None:
    match = after("tictactoe_v3", "3", "4")
    assert "0 x 6\n1 o 7\n2 5 8" in match.prompt


def test_a_column_of_connect_four_wins() -> None:
    assert after("connect_four_v3", "2", "3", "2", "3", "2", "3", "2").rewards == (1.0, -1.0)


def test_go_captures_and_ends_with_two_passes() -> None:
    match = after("go_v5(board_size=5)", "b1", "a1", "a2", "c3")
    assert match.prompt.count(" 1 . X . . .") == 1
    match.step("[pass]")
    match.step("[pass]")
    assert match.seat is None


def test_boards_of_two_sizes_at_once() -> None:
    """The library keeps the size of the board in its module, so a second board changed the first."""
    small, large = match_of("go_v5(board_size=5)"), match_of("go_v5(board_size=9)")
    for match, corner in ((small, "e5"), (large, "j9"), (small, "a1"), (large, "a1")):
        assert match.step(f"[{corner}]").problem is None
    assert " 5 . . . . X" in small.prompt


def test_rock_is_sealed_until_the_other_has_chosen() -> None:
    assert after("rps_v2", "rock").prompt == after("rps_v2", "paper").prompt
    assert "last choice: rock" in after("rps_v2", "rock", "paper").game.observation(
        after("rps_v2", "rock", "paper").state, 1
    )


@pytest.mark.parametrize("name", ["leduc_holdem_v4", "texas_holdem_v4", "texas_holdem_no_limit_v6"])
def test_a_hand_is_shown_to_its_owner_only(name: str) -> None:
    hands = []
    for seed in range(12):
        match = match_of(name, seed)
        lines = [match.game.observation(match.state, seat).split("\n")[1] for seat in (0, 1)]
        assert all(line.startswith("Your hand: ") for line in lines)
        for seat in (0, 1):
            other = lines[1 - seat].removeprefix("Your hand: ").rstrip(".").split()
            text = match.game.observation(match.state, seat)
            if name != "leduc_holdem_v4":
                assert not any(card in text for card in other)
        hands.append(tuple(lines))
    assert len(set(hands)) > 3


def test_exact_evaluation_of_the_end_of_a_game_counted_by_hand() -> None:
    """Cells 1, 2 and 7 are left, x to move; x wins if it gets 1 and 7.

    Uniform x does in a third of all games; the best x plays one of them and wins if o takes 2, one game in two; the
    best o never lets it. So NashConv is 1/2 - 1/3 + 1/3.
    """

    class Late(PettingZooGame):
        def deals(self) -> Any:
            ((state, probability),) = super().deals()
            for move in ("4", "0", "8", "6", "3", "5"):
                state = self.play(state, move)
            yield state, probability

    measured = exploitability(Late("tictactoe_v3"), RandomAgent())
    assert measured.values == pytest.approx((1 / 3, -1 / 3))
    assert measured.nashconv == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["chess_v6", "leduc_holdem_v4", "go_v5(board_size=5)"])
def test_games_and_states_survive_copies_and_forgetting(name: str) -> None:
    """Its environments pickle as new ones: a deep copy in the middle of a game stood at its start."""
    match = match_of(name, 2)
    rng = np.random.default_rng(1)
    for _ in range(4):
        if match.seat is not None:
            match.step(f"[{rng.choice(match.legal)}]")
    shown = [match.game.observation(match.state, seat) for seat in (0, 1)]
    for twin in (copy.deepcopy(match.game), pickle.loads(pickle.dumps(match.game)), make(f"pettingzoo/{name}")):
        assert [twin.observation(match.state, seat) for seat in (0, 1)] == shown


def test_unknown_names_say_so() -> None:
    with pytest.raises(ValueError, match="Did you mean 'chess_v6'"):
        make("pettingzoo/chess_v5")
    with pytest.raises(ValueError, match="not written as"):
        make("pettingzoo/go_v5(9)")


def test_the_table_names_every_game_of_the_library() -> None:
    works = [name for name, known in KNOWN.items() if known.works]
    assert set(KNOWN) == set(PettingZooGame.candidates())
    assert list_games("pettingzoo") == [f"pettingzoo/{name}" for name in sorted(works)]


@pytest.mark.parametrize("name", ["tictactoe_v3", "leduc_holdem_v4", "texas_holdem_v4"])
def test_what_the_table_says_to_work_works(name: str) -> None:
    assert KNOWN[name].works
    check_game(make(f"pettingzoo/{name}"), games=2)
