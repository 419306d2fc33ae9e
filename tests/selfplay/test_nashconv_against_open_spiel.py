"""NashConv of uniform and of random policies against open_spiel's, game by game."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from sparring.agents import Prompt
from sparring.envs import Game, make
from sparring.envs.leduc import LeducState
from sparring.selfplay import exploitability

pyspiel = pytest.importorskip("pyspiel", reason="pip install 'sparring[open_spiel]'")

Action = Callable[[Any, str], int]
"""From open_spiel's state and one of our moves to open_spiel's action."""
Case = tuple[str, Game[Any], Action, dict[tuple[int, ...], Any]]
"""open_spiel's game, ours, the action of a move, and our deal for each chance history."""


class Rows:
    """A policy with one row for each prompt, the same each time it is asked: random, or uniform without a seed."""

    def __init__(self, seed: int | None) -> None:
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.rows: dict[tuple[int, str], np.ndarray] = {}

    def __call__(self, prompt: Prompt) -> np.ndarray:
        return self.row(prompt.seat, prompt.text, len(prompt.legal))

    def row(self, seat: int, text: str, size: int) -> np.ndarray:
        if self.rng is None:
            return np.full(size, 1 / size)
        # open_spiel's open-bid Goofspiel forgets who bid what when; a policy that both can express does so too.
        key = seat, re.sub(r"Rounds so far: .*", "", text)
        if key not in self.rows:
            self.rows[key] = self.rng.dirichlet(np.ones(size))
        return self.rows[key]


def by_table(table: dict[str, int]) -> Action:
    return lambda theirs, move: table[move]


def by_name(theirs: Any, move: str) -> int:
    player = theirs.current_player()
    return next(a for a in theirs.legal_actions() if theirs.action_to_string(player, a).lower() == move)


def by_number(theirs: Any, move: str) -> int:
    return int(move) - 1


def kuhn() -> Case:
    game = make("KuhnPoker-v0")
    action = by_table({"check": 0, "fold": 0, "bet": 1, "call": 1})
    return "kuhn_poker", game, action, {state.cards: state for state, _ in game.deals()}


def leduc() -> Case:
    action = by_table({"fold": 0, "check": 1, "call": 1, "bet": 2, "raise": 2})
    deals = {cards: LeducState(tuple(card // 2 for card in cards)) for cards in permutations(range(6), 3)}
    return "leduc_poker", make("LeducPoker-v0"), action, deals


def liars_dice(faces: int) -> Case:
    game = make("LiarsDice-v0", dice=1, faces=faces)
    deals = {(s.dice[0][0] - 1, s.dice[1][0] - 1): s for s, _ in game.deals()}
    return f"liars_dice(numdice=1,dice_sides={faces})", game, by_name, deals


def goofspiel(order: str, returns: str, *, hidden: bool) -> Case:
    spec = f"goofspiel(num_cards=4,points_order={order},imp_info={hidden},returns_type={returns})"
    game = make("Goofspiel-v0", cards=4, points_order=order, hidden_bids=hidden, returns=returns)
    ((start, _),) = game.deals()
    return spec, game, by_number, {(): start}


CASES: dict[str, Callable[[], Case]] = {
    "kuhn": kuhn,
    "leduc": leduc,
    "liars_dice_3": lambda: liars_dice(3),
    "liars_dice_4": lambda: liars_dice(4),
    "goofspiel": lambda: goofspiel("descending", "win_loss", hidden=False),
    "goofspiel_hidden": lambda: goofspiel("descending", "win_loss", hidden=True),
    "goofspiel_points": lambda: goofspiel("ascending", "point_difference", hidden=True),
}


def rows_of_information_states(spiel: Any, case: Case, rows: Rows) -> dict[str, list[tuple[int, float]]]:
    """Return the policy `rows` by open_spiel's information states, read off both trees side by side."""
    _, game, action_of, deals = case
    table = {}

    def walk(ours: Any, theirs: Any, chance: tuple[int, ...]) -> None:
        while theirs.is_chance_node():
            theirs, chance = theirs.child(chance[0]), chance[1:]
        if theirs.is_terminal():
            return
        seat, legal = theirs.current_player(), game.legal(ours)
        actions = [action_of(theirs, move) for move in legal]
        row = rows.row(seat, game.prompt(ours, seat), len(legal)).tolist()
        table[theirs.information_state_string()] = list(zip(actions, row, strict=True))
        for move, action in zip(legal, actions, strict=True):
            walk(game.play(ours, move), theirs.child(action), chance)

    for chance, ours in deals.items():
        walk(ours, spiel.new_initial_state(), chance)
    return table


def spiel_policy(spiel: Any, table: dict[str, list[tuple[int, float]]]) -> Any:
    from open_spiel.python.policy import Policy

    class Tabular(Policy):
        def action_probabilities(self, state, player_id=None):
            player = state.current_player() if player_id is None else player_id
            return dict(table[state.information_state_string(player)])

    return Tabular(spiel, [0, 1])


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_open_spiel(name: str, seed: int | None) -> None:
    from open_spiel.python.algorithms import exploitability as reference

    case, rows = CASES[name](), Rows(seed)
    spiel = pyspiel.load_game(case[0])
    if spiel.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        spiel = pyspiel.convert_to_turn_based(spiel)
    policy = spiel_policy(spiel, rows_of_information_states(spiel, case, rows))
    theirs = reference.nash_conv(spiel, policy, return_only_nash_conv=False, use_cpp_br=False)
    ours = exploitability(case[1], rows)
    assert ours.nashconv == pytest.approx(theirs.nash_conv, abs=1e-9)
    assert ours.nashconv_legal == pytest.approx(theirs.nash_conv, abs=1e-9)
    gains = np.subtract(ours.best_responses, ours.values)
    assert gains == pytest.approx(theirs.player_improvements, abs=1e-9)


def test_agrees_with_open_spiel_on_all_of_tic_tac_toe() -> None:
    """Its C++, because its Python takes 13 s for the 294,778 histories that are 4,520 positions to us."""
    game, spiel, rows = make("TicTacToe-v0"), pyspiel.load_game("tic_tac_toe"), Rows(3)
    ((start, _),) = game.deals()
    table = rows_of_information_states(spiel, ("tic_tac_toe", game, by_number, {(): start}), rows)
    assert len(table) == 294_778
    theirs = pyspiel.nash_conv(spiel, pyspiel.PartialTabularPolicy(table), False)
    assert exploitability(game, rows).nashconv == pytest.approx(theirs, abs=1e-9)
