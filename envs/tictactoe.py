"""Tic-tac-toe. The prompt shows the position and no history, so 4,520 prompts are all there are to know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .game import Game, pick_skin
from .memo import Memo

SKINS = {
    "plain": {
        "rules": "Tic-tac-toe. Three in a row wins.",
        "you": "You are {mark}.",
        "marks": "XO",
        "squares": "123456789",
    },
    "obfuscated": {
        "rules": "Plenk: fill a full line across, down or slanted to prevail.",
        "you": "Yours is {mark}.",
        "marks": "#@",
        "squares": "abcdefghi",
    },
}

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


@dataclass(frozen=True, slots=True)
class TicTacToeState:
    """Nine cells, row by row from the top left: "0" or "1" where that seat has marked, "." where empty."""

    cells: str = "." * 9


@dataclass(frozen=True, slots=True)
class _Position:
    """All there is to say about one position in one skin."""

    seat: int | None
    texts: tuple[str, str]
    """What each seat is shown."""
    after: dict[str, TicTacToeState]
    """Legal move -> next state."""
    legal: tuple[str, ...]
    rewards: tuple[float, float]


class TicTacToe(Game[TicTacToeState]):
    """Tic-tac-toe; seat 0 moves first. 5,478 positions, 4,520 of them unfinished; a draw under perfect play."""

    skins = tuple(SKINS)
    roles = ("X", "O")
    hidden_information = False
    source = "traditional"

    def __init__(self, *, skin: str = "plain") -> None:
        self._words = pick_skin(SKINS, skin)
        self.rules = self._words["rules"]
        self._positions = Memo(self._look)

    def deal(self, rng: np.random.Generator) -> TicTacToeState:
        return TicTacToeState()

    def deals(self) -> Iterator[tuple[TicTacToeState, float]]:
        yield TicTacToeState(), 1.0

    def seat(self, state: TicTacToeState) -> int | None:
        return self._positions[state.cells].seat

    def observation(self, state: TicTacToeState, seat: int) -> str:
        return self._positions[state.cells].texts[seat]

    def legal(self, state: TicTacToeState) -> tuple[str, ...]:
        return self._positions[state.cells].legal

    def play(self, state: TicTacToeState, move: str) -> TicTacToeState:
        try:
            return self._positions[state.cells].after[move]
        except KeyError:
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}") from None

    def rewards(self, state: TicTacToeState) -> tuple[float, float]:
        return self._positions[state.cells].rewards

    def _look(self, cells: str) -> _Position:
        winner = _winner(cells)
        mover = (9 - cells.count(".")) & 1
        empty = [] if winner is not None else [i for i, cell in enumerate(cells) if cell == "."]
        after = {self._words["squares"][i]: TicTacToeState(cells[:i] + str(mover) + cells[i + 1 :]) for i in empty}
        return _Position(
            seat=mover if after else None,
            texts=(_describe(self._words, cells, 0), _describe(self._words, cells, 1)),
            after=after,
            legal=tuple(after),
            rewards=(0.0, 0.0) if winner is None else ((1.0, -1.0), (-1.0, 1.0))[winner],
        )


def _winner(cells: str) -> int | None:
    for a, b, c in LINES:
        if cells[a] != "." and cells[a] == cells[b] == cells[c]:
            return int(cells[a])
    return None


def _describe(words: dict[str, str], cells: str, seat: int) -> str:
    # A taken square keeps its number: "X5" says what it is wherever it stands, which small models can read.
    shown = [
        square if cell == "." else words["marks"][int(cell)] + square
        for cell, square in zip(cells, words["squares"], strict=True)
    ]
    rows = (" ".join(shown[i : i + 3]) for i in (0, 3, 6))
    return "\n".join((words["you"].format(mark=words["marks"][seat]), *rows))
