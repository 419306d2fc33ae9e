"""An obfuscated game is the same tree in other words: what a model recalls of the plain one does not help."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pytest

from sparring.envs import make

GAMES = [
    ("KuhnPoker-v0", {}),
    ("LeducPoker-v0", {}),
    ("TicTacToe-v0", {}),
    ("Nim-v0", {}),
    ("Nim-v0", {"heaps": (2, 2, 1, 1), "misere": False}),
    ("ConnectFour-v0", {}),
    ("LiarsDice-v0", {"faces": 4}),
    ("LiarsDice-v0", {"dice": 2, "faces": 12}),
    ("Goofspiel-v0", {}),
    ("Goofspiel-v0", {"points_order": "random", "hidden_bids": True}),
    ("Goofspiel-v0", {"points_order": "ascending", "returns": "point_difference"}),
    ("Goofspiel-v0", {"cards": 3, "points_order": "random", "returns": "total_points"}),
    ("Negotiation-v0", {"messages": False, "kinds": 2, "items": (3, 3), "total": 4, "turns": 3}),
    ("Mastermind-v0", {"pegs": 1, "colours": 3, "rounds": 2}),
    ("Mastermind-v0", {"pegs": 2, "colours": 2, "rounds": 1, "secret": "chosen"}),
]
MOST = 20_000
"""States walked below a game's deals; what is left of a larger tree is cut off."""


def words(text):
    return set(re.findall(r"[a-z]+", text.lower().replace("liar's", "liar")))


# What carries the grammar and says nothing of the game.
GRAMMAR = words(
    "a and are at both brackets each far for in is it legal more move moves of on one or so square that the three "
    "to up with you your"
)


def walk_both(id, settings):
    """Yield, state by state, the plain and the obfuscated game with their states."""
    plain, other = make(id, **settings), make(id, skin="obfuscated", **settings)
    stack = [(ours, theirs) for (ours, _), (theirs, _) in zip(plain.deals(), other.deals(), strict=True)]
    # A shuffled walk, so that a cut-off one still sees deep and shallow states of many deals.
    rng = np.random.default_rng(4)
    for _ in range(MOST):
        if not stack:
            return
        last = len(stack) - 1
        swap = int(rng.random() * len(stack)) if rng.random() < 0.1 else last
        stack[swap], stack[last] = stack[last], stack[swap]
        ours, theirs = stack.pop()
        yield plain, ours, other, theirs
        for mine, yours in zip(plain.legal(ours), other.legal(theirs), strict=True):
            stack.append((plain.play(ours, mine), other.play(theirs, yours)))


@pytest.mark.parametrize(("id", "settings"), GAMES)
def test_skins_are_isomorphic(id, settings):
    told, back = defaultdict(set), defaultdict(set)
    for plain, ours, other, theirs in walk_both(id, settings):
        assert ours == theirs
        seat = plain.seat(ours)
        assert other.seat(theirs) == seat
        assert other.rewards(theirs) == plain.rewards(ours)
        assert len(set(other.legal(theirs))) == len(plain.legal(ours))
        if seat is not None:
            here, there = plain.prompt(ours, seat), other.prompt(theirs, seat)
            told[seat, here].add(there)
            back[seat, there].add(here)
    assert all(len(texts) == 1 for texts in (*told.values(), *back.values()))
    assert len(told) > 1


@pytest.mark.parametrize(("id", "settings"), GAMES)
def test_no_plain_word_survives(id, settings):
    said, resaid = set(), set()
    for plain, ours, other, theirs in walk_both(id, settings):
        seat = plain.seat(ours)
        if seat is not None:
            said |= words(plain.prompt(ours, seat))
            resaid |= words(other.prompt(theirs, seat))
    assert len(said - GRAMMAR) > 5
    assert said & resaid <= GRAMMAR


@pytest.mark.parametrize(("id", "settings"), GAMES)
def test_no_plain_move_survives(id, settings):
    for plain, ours, other, theirs in walk_both(id, settings):
        assert not set(plain.legal(ours)) & set(other.legal(theirs))


@pytest.mark.parametrize("id", ["TicTacToe-v0", "ConnectFour-v0"])
def test_no_board_mark_survives(id):
    for _, _, other, theirs in walk_both(id, {}):
        seat = other.seat(theirs)
        if seat is not None:
            assert not re.search(r"\b[XOxo]\b", other.prompt(theirs, seat))


@pytest.mark.parametrize(("id", "settings"), GAMES)
@pytest.mark.parametrize("skin", ["plain", "obfuscated"])
def test_hiding_the_legal_moves_removes_the_list_and_nothing_else(id, settings, skin):
    shown = make(id, skin=skin, **settings)
    hidden = make(id, skin=skin, show_legal=False, **settings)
    for _, ours, _, _ in walk_both(id, settings):
        seat = shown.seat(ours)
        if seat is None:
            continue
        lines = shown.prompt(ours, seat).split("\n")
        listed = " ".join(f"[{move}]" for move in shown.legal(ours))
        assert lines[-2] == f"Legal moves: {listed}"
        assert hidden.prompt(ours, seat) == "\n".join([*lines[:-2], lines[-1]])
        assert "[" not in hidden.prompt(ours, seat)


@pytest.mark.parametrize(("id", "settings"), GAMES)
@pytest.mark.parametrize("skin", ["plain", "obfuscated"])
def test_moves_are_canonical(id, settings, skin):
    game = make(id, skin=skin, **settings)
    for _, ours, _, _ in walk_both(id, settings):
        for move in game.legal(ours):
            assert move == " ".join(move.split()).casefold()
            assert 1 <= len(move) <= 64
            assert not set(move) & set("[]")
