"""OpenSpiel's games as ours: the same exploitability, nothing hidden shown, the table of what works kept honest."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyspiel
import pytest

from sparring.agents import RandomAgent
from sparring.envs import Match, TextGameEnv, check_game, list_games, make
from sparring.envs.bridged import read_known
from sparring.envs.from_open_spiel import OpenSpielGame, SpielState
from sparring.selfplay import exploitability

KNOWN = read_known("open_spiel")
WORKS = sorted(name for name, known in KNOWN.items() if known.works)


def random_match(game: Any, seed: int = 0) -> Match[Any]:
    rng = np.random.default_rng(seed)
    match = Match(game, np.random.default_rng([seed, 1]))
    while match.seat is not None:
        assert match.legal is not None
        match.step(f"[{rng.choice(match.legal)}]")
    return match


@pytest.mark.parametrize(
    "name",
    [
        "kuhn_poker",
        "leduc_poker",
        "liars_dice(dice_sides=3)",
        "tiny_hanabi",
        "coordinated_mp",
        "lewis_signaling",
        "matrix_rps",
        "goofspiel(num_cards=3,points_order=descending)",
        "nim(pile_sizes=1;2)",
    ],
)
def test_exploitability_equals_that_of_the_library(name: str) -> None:
    from open_spiel.python import policy
    from open_spiel.python.algorithms import exploitability as reference

    spiel = pyspiel.load_game(name)
    if spiel.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        spiel = pyspiel.convert_to_turn_based(spiel)
    theirs = reference.nash_conv(spiel, policy.UniformRandomPolicy(spiel), use_cpp_br=False)
    assert exploitability(make(f"open_spiel/{name}"), RandomAgent()).nashconv == pytest.approx(theirs, abs=1e-9)


def test_the_public_card_of_leduc_is_dealt_at_the_start_and_shown_later() -> None:
    game = make("open_spiel/leduc_poker")
    deals = list(game.deals())
    assert len(deals) == 120
    assert all(len(state.history) == 2 and len(state.drawn) == 1 for state, _ in deals)


def test_a_seat_of_leduc_reads_the_same_whatever_is_hidden_from_it() -> None:
    game = make("open_spiel/leduc_poker")
    deals = [state for state, _ in game.deals()]
    looked = 0
    for number in range(200):
        rng = np.random.default_rng(number)
        one, other = (deals[i] for i in rng.integers(len(deals), size=2))
        seat = next((s for s in (0, 1) if one.history[s] == other.history[s]), None)
        if seat is None or one == other:
            continue
        while game.seat(one) is not None and len(one.drawn) == 1:
            assert game.observation(one, seat) == game.observation(other, seat)
            assert (game.seat(one), game.legal(one)) == (game.seat(other), game.legal(other))
            looked += 1
            move = rng.choice(game.legal(one))
            one, other = game.play(one, move), game.play(other, move)
    assert looked > 30


def test_the_key_of_later_chance_is_shown_to_nobody() -> None:
    game = make("open_spiel/pig")
    state = game.deal(np.random.default_rng(0))
    assert state.key
    for seat in (0, 1):
        for key in range(50):
            twin = SpielState(state.history, (), key)
            assert game.observation(twin, seat) == game.observation(state, seat)
    with pytest.raises(NotImplementedError, match="nodes="):
        next(iter(game.deals()))


def test_chance_falls_as_often_as_it_should() -> None:
    """Of 600 first rolls of a die each face comes 60 to 140 times but for once in 10,000 such tests."""
    game = make("open_spiel/pig")
    rng, faces = np.random.default_rng(0), []
    for _ in range(600):
        faces.append(game.play(game.deal(rng), "roll").history[-1])
    counts = np.bincount(faces)
    assert counts.sum() == 600
    assert all(60 <= n <= 140 for n in counts[counts > 0])
    assert (counts > 0).sum() == 6


def test_a_sealed_simultaneous_move_is_not_shown() -> None:
    game = make("open_spiel/goofspiel(num_cards=4,points_order=descending)")
    start = game.deal(np.random.default_rng(0))
    seen = {game.prompt(game.play(start, move), 1) for move in game.legal(start)}
    assert len(game.legal(start)) == 4
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["leduc_poker", "backgammon", "goofspiel(num_cards=3)", "negotiation"])
def test_games_and_states_survive_copies_and_forgetting(name: str) -> None:
    game = make(f"open_spiel/{name}")
    state = random_match(game, 3).state
    for twin in (copy.deepcopy(game), pickle.loads(pickle.dumps(game)), make(f"open_spiel/{name}")):
        assert (twin.max_turns, twin.rules) == (game.max_turns, game.rules)
        assert twin.seat(state) is None
        assert twin.rewards(state) == game.rewards(state)
        assert [twin.observation(state, s) for s in (0, 1)] == [game.observation(state, s) for s in (0, 1)]


def test_moves_whose_names_differ_in_case_only_are_called_by_number() -> None:
    """In algebraic notation Bxc4 is a bishop's capture and bxc4 a pawn's; a move here is in lower case."""
    from sparring.envs.from_open_spiel import SpielPosition

    spiel = pyspiel.load_game("chess").new_initial_state("4k3/8/8/8/2p5/1P1B4/8/4K3 w - - 0 1")
    moves = SpielPosition(spiel, ((), ())).moves
    assert len(moves) == len(spiel.legal_actions())
    assert sum(name.startswith("move ") for name in moves) == 2


def test_unknown_and_unfit_names_say_so() -> None:
    with pytest.raises(ValueError, match="Did you mean 'kuhn_poker'"):
        make("open_spiel/kuhn_pokr")
    with pytest.raises(ValueError, match="4 to 4 players"):
        make("open_spiel/bridge")
    with pytest.raises(ValueError, match="3 players"):
        make("open_spiel/kuhn_poker(players=3)")
    with pytest.raises(ValueError, match="cannot make"):
        make("open_spiel/breakthrough(rowz=6)")
    with pytest.raises(ValueError, match="no setting 'skin'"):
        make("open_spiel/kuhn_poker", skin="plain")


def test_parameters_and_rules_of_ones_own() -> None:
    game = make("open_spiel/breakthrough(rows=6,columns=6)", rules="Reach the other side.")
    assert game.rules == "Reach the other side."
    assert "6bbbbbb" in game.observation(game.deal(np.random.default_rng(0)), 0)
    assert game.name == "open_spiel/breakthrough(rows=6,columns=6)"


def test_the_gymnasium_view_takes_it() -> None:
    env = TextGameEnv("open_spiel/kuhn_poker")
    text, info = env.reset(seed=0)
    assert text in env.observation_space
    assert info["legal_actions"] == ("pass", "bet")


def test_the_table_names_every_game_of_the_library() -> None:
    assert set(KNOWN) == set(OpenSpielGame.candidates())
    assert list_games("open_spiel") == [f"open_spiel/{name}" for name in WORKS]
    page = (Path(__file__).parents[2] / "docs" / "bridges.md").read_text(encoding="utf-8")
    assert f"Of the {len(KNOWN)} names that the library has, {len(WORKS)} work here" in page
    assert all(known.why for known in KNOWN.values() if not known.works)


SAMPLE = [name for name in WORKS if KNOWN[name].turns <= 60][::4]


@pytest.mark.parametrize("name", SAMPLE)
def test_what_the_table_says_to_work_works(name: str) -> None:
    """A quarter of the short games; `python -m sparring.envs.bridges open_spiel` measures all of them."""
    game = make(f"open_spiel/{name}")
    check_game(game, games=1)
    assert random_match(game).rewards is not None
