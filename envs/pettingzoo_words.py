"""How PettingZoo's classic games are said in words: rules in short, names of moves, positions drawn in text.

Positions are read from the environment's own board where both seats may see all of it, and from what one seat is
shown where they may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_GO_COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"


def _number(env: Any, seat: int, action: int) -> str:
    return str(action)


def _dump(env: Any, seat: int) -> str:
    """Return whatever a seat is shown as bare numbers."""
    seen = env.observe(env.possible_agents[seat])
    parts = seen if isinstance(seen, Mapping) else {"observation": seen}
    texts = (f"{name}: {_array(value)}" for name, value in parts.items() if name != "action_mask")
    return "\n".join(texts)


def _array(value: Any) -> str:
    array = np.asarray(value)
    if array.ndim and array.size > 64:
        return f"shape {array.shape}, not zero at {np.flatnonzero(array).tolist()}"
    return str(array.astype(int).tolist() if array.dtype == bool else array.tolist())


def _nothing(env: Any) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one game is said in words."""

    rules: str = "The library does not give its rules in words: moves are the numbers of its actions."
    sides: tuple[str, str] = ("", "")
    """What each seat is told of its side."""
    named: Callable[[Any, int, int], str] = _number
    """The name of an action, by environment, seat and action."""
    sees: Callable[[Any, int], str] = _dump
    """What a seat sees, by environment and seat."""
    prepare: Callable[[Any], None] = _nothing
    """Sets what a game keeps in its module, and so for all environments at once."""
    open_moves: bool = False
    """Whether each seat sees the other's moves."""
    chance: bool = True
    """Whether there is any."""
    reward_range: tuple[float, float] = (-1.0, 1.0)
    zero_sum: bool = True
    max_turns: int = 1000


def _tictactoe(env: Any, seat: int) -> str:
    cells = [" xo"[mark].strip() or str(i) for i, mark in enumerate(env.board.squares)]
    return "\n".join(" ".join(cells[row::3]) for row in range(3))


def _connect_four(env: Any, seat: int) -> str:
    board = np.asarray(env.board).reshape(6, 7)
    return "\n".join([" ".join(".xo"[cell] for cell in row) for row in board] + ["0 1 2 3 4 5 6"])


def _chess_move(env: Any, seat: int, action: int) -> str:
    from pettingzoo.classic.chess import chess_utils

    return str(chess_utils.action_to_move(env.board, action, seat).uci())


def _chess(env: Any, seat: int) -> str:
    return f"{env.board}\nFEN: {env.board.fen()}"


def _go_move(env: Any, seat: int, action: int) -> str:
    size = env._N
    if action == size * size:
        return "pass"
    return f"{_GO_COLUMNS[action % size]}{size - action // size}"


def _go(env: Any, seat: int) -> str:
    size, board = env._N, env._go.board
    rows = [f"{size - i:2} {' '.join('.XO'[int(cell)] for cell in row)}" for i, row in enumerate(board)]
    return "\n".join([*rows, f"   {' '.join(_GO_COLUMNS[:size])}", f"Moves played: {env._go.n}"])


def _go_prepared(env: Any) -> None:
    from pettingzoo.classic.go import go_base

    if env._N != go_base.N:
        env._overwrite_go_global_variables(board_size=env._N)


def _poker_move(env: Any, seat: int, action: int) -> str:
    named = env.env.actions
    return named[action] if isinstance(named, list) else str(named(action).name).replace("_", " ")


def _poker(env: Any, seat: int) -> str:
    told = env.env.get_state(seat)["raw_obs"]
    hand = told["hand"]
    public = told.get("public_cards", [told["public_card"]] if told.get("public_card") else [])
    chips = [int(chips) for chips in told["all_chips"]]
    return "\n".join(
        [
            f"Your hand: {hand if isinstance(hand, str) else ' '.join(hand)}.",
            f"Public cards: {' '.join(public) or 'none'}.",
            f"Chips in the pot: {chips[seat]} of yours, {chips[1 - seat]} of the other player's.",
        ]
    )


def _rps(env: Any, seat: int) -> str:
    last = int(env.observe(env.possible_agents[seat]))
    return f"The other player's last choice: {'none yet' if last == env._none else env._moves[last].lower()}."


GENERIC = Words()
WORDS = {
    "tictactoe_v3": Words(
        rules="Put your mark into an empty cell, by its number; three of yours in a line win.",
        sides=("Your mark is x.", "Your mark is o."),
        sees=_tictactoe,
        open_moves=True,
        chance=False,
        max_turns=9,
    ),
    "connect_four_v3": Words(
        rules="Drop a disc into a column, by its number; four of yours in a line win.",
        sides=("Your discs are x.", "Your discs are o."),
        sees=_connect_four,
        open_moves=True,
        chance=False,
        max_turns=42,
    ),
    "chess_v6": Words(
        rules="Chess. Moves are written as e2e4 or e7e8q. Draws that can be claimed are claimed.",
        sides=("You are White (capital letters).", "You are Black (small letters)."),
        named=_chess_move,
        sees=_chess,
        open_moves=True,
        chance=False,
        max_turns=2000,
    ),
    "go_v5": Words(
        rules="Go with area scoring and 7.5 points for White unless set otherwise. Moves are written as D4, or pass.",
        sides=("You are Black (X).", "You are White (O)."),
        named=_go_move,
        sees=_go,
        prepare=_go_prepared,
        open_moves=True,
        chance=False,
        max_turns=2000,
    ),
    "leduc_holdem_v4": Words(
        rules=(
            "Leduc hold'em: two jacks, two queens, two kings; one card each, a round of bets in steps of 2, a public "
            "card, a round in steps of 4. A pair with the public card wins, else the higher card. The winner is paid "
            "half of the chips that the loser put in."
        ),
        named=_poker_move,
        sees=_poker,
        open_moves=True,
        reward_range=(-7.0, 7.0),
    ),
    "texas_holdem_v4": Words(
        rules="Limit Texas hold'em, one hand. The winner is paid half of the chips that the loser put in.",
        named=_poker_move,
        sees=_poker,
        open_moves=True,
        reward_range=(-30.0, 30.0),
    ),
    "texas_holdem_no_limit_v6": Words(
        rules="No-limit Texas hold'em, one hand, 100 chips each. Rewards are chips.",
        named=_poker_move,
        sees=_poker,
        open_moves=True,
        reward_range=(-100.0, 100.0),
    ),
    "rps_v2": Words(
        rules="Rock, paper, scissors, round after round; neither player sees a choice before both have made one.",
        named=lambda env, seat, action: str(env._moves[action]),
        sees=_rps,
        chance=False,
        reward_range=(-15.0, 15.0),
    ),
}
