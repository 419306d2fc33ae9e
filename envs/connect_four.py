"""Connect Four on the standard board of 7 columns and 6 rows. The prompt shows the position and no history.

Stones are bits, so that a win is a lookup in four lines; the drawn board is kept along, because one splice
a move is cheaper than drawing 42 cells a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .game import Game, pick_skin

COLUMNS, ROWS = 7, 6
# A column takes seven bits, the lowest row first; the seventh stays empty, so that no line runs on to the next column.
HEIGHT = ROWS + 1
BOTTOM = tuple(1 << column * HEIGHT for column in range(COLUMNS))
COLUMN = tuple(((1 << ROWS) - 1) * bottom for bottom in BOTTOM)
TOP = tuple(bottom << ROWS - 1 for bottom in BOTTOM)
ALL_TOPS = sum(TOP)
FULL = sum(COLUMN)
# Where a stone's character stands in the drawing.
PLACE = {
    BOTTOM[column] << row: (ROWS - 1 - row) * 2 * COLUMNS + 2 * column
    for column in range(COLUMNS)
    for row in range(ROWS)
}
# Steps from a bit to the next one up, level to the right, rising and falling.
STEPS = (1, HEIGHT, HEIGHT + 1, HEIGHT - 1)
EMPTY_DRAWING = "\n".join([" ".join("." * COLUMNS)] * ROWS)

SKINS = {
    "plain": {
        "rules": (
            "You are playing Connect Four. Drop a disc into a column that is not full. The first to line up four own "
            "discs, across, down or diagonally, wins."
        ),
        "you": "You are {mark}.",
        "marks": ".XO",
        "columns": "1234567",
    },
    "obfuscated": {
        "rules": (
            "This contest is Murl. Send a bead along any open chute; it rests upon the bead below. A run of 4 equal "
            "beads, level, upright or slanted, takes all."
        ),
        "you": "Yours: {mark}",
        "marks": "-#@",
        "columns": "abcdefg",
    },
}


def _lines(cell: int) -> tuple[tuple[int, frozenset[int]], ...]:
    """Return the four lines through a cell: the bits of each, and which sets of stones on it are a win."""
    found = []
    for step in STEPS:
        runs = list(_runs(cell, step))
        line = sum(bit for bit in PLACE if any(bit & run for run in runs))
        found.append((line, frozenset(s for s in _subsets(line) if any(s & run == run for run in runs))))
    return tuple(found)


def _runs(cell: int, step: int) -> Iterator[int]:
    """Yield the runs of four through a cell that lie on the board."""
    for below in range(4):
        run = sum(cell << step * i >> step * below for i in range(4))
        if run & ~FULL == 0 and run.bit_count() == 4:
            yield run


def _subsets(bits: int) -> Iterator[int]:
    subset = bits
    while subset:
        yield subset
        subset = subset - 1 & bits


LINES = {cell: _lines(cell) for cell in PLACE}


class ConnectFourState(NamedTuple):
    """A position. A named tuple: it is made in half the time of a frozen dataclass, once a move."""

    drawing: str = EMPTY_DRAWING
    """Six rows from the top: "X" seat 0, "O" seat 1, "." empty, a space between cells."""
    filled: int = 0
    """Bits of all stones: bit 7 * column + row, rows counted from the bottom."""
    own: int = 0
    """Bits of the stones of the seat to move; at the end, of the seat that did not move last."""
    seat: int | None = 0
    winner: int | None = None


class ConnectFour(Game[ConnectFourState]):
    """Connect Four, 7 columns by 6 rows; seat 0 moves first. At most 42 moves."""

    skins = tuple(SKINS)
    roles = ("X", "O")
    hidden_information = False
    source = "Milton Bradley 1974; solved by Allis 1988, A knowledge-based approach of Connect-Four"

    def __init__(self, *, skin: str = "plain") -> None:
        words = pick_skin(SKINS, skin)
        self.rules = words["rules"]
        header = " ".join(words["columns"])
        self._heads = tuple(f"{words['you'].format(mark=mark)}\n{header}\n" for mark in words["marks"][1:])
        self._redraw = None if words["marks"] == ".XO" else str.maketrans(".XO", words["marks"])
        self._columns = {name: (BOTTOM[i], COLUMN[i]) for i, name in enumerate(words["columns"])}
        self._legal = dict(_open_columns(words["columns"]))

    def deal(self, rng: np.random.Generator) -> ConnectFourState:
        return ConnectFourState()

    def deals(self) -> Iterator[tuple[ConnectFourState, float]]:
        yield ConnectFourState(), 1.0

    def seat(self, state: ConnectFourState) -> int | None:
        return state.seat

    def observation(self, state: ConnectFourState, seat: int) -> str:
        drawing = state.drawing if self._redraw is None else state.drawing.translate(self._redraw)
        return self._heads[seat] + drawing

    def legal(self, state: ConnectFourState) -> tuple[str, ...]:
        return () if state.seat is None else self._legal[state.filled & ALL_TOPS]

    def play(self, state: ConnectFourState, move: str) -> ConnectFourState:
        drawing, filled, own, seat, _ = state
        bottom, column = self._columns.get(move, (0, 0))
        # Adding the bottom bit carries up to the first empty cell; it is 0 where the column is full or unknown.
        cell = (filled + bottom) & column
        if not cell or seat is None:
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        at = PLACE[cell]
        drawing = f"{drawing[:at]}{'XO'[seat]}{drawing[at + 1 :]}"
        theirs = filled ^ own
        filled |= cell
        own |= cell
        for line, wins in LINES[cell]:
            if own & line in wins:
                return ConnectFourState(drawing, filled, theirs, None, seat)
        return ConnectFourState(drawing, filled, theirs, 1 - seat if filled != FULL else None)

    def rewards(self, state: ConnectFourState) -> tuple[float, float]:
        if state.winner is None:
            return 0.0, 0.0
        return (1.0, -1.0) if state.winner == 0 else (-1.0, 1.0)


def _open_columns(names: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield, for each set of full columns (as their top bits), the names of the others."""
    for bits in range(1 << COLUMNS):
        tops = sum(top for i, top in enumerate(TOP) if bits >> i & 1)
        yield tops, tuple(name for i, name in enumerate(names) if not bits >> i & 1)
