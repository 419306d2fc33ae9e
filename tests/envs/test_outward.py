"""Our games in other libraries: OpenSpiel's solvers measure what ours do, TextArena's loop plays them."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pyspiel
import pytest
import textarena

from sparring.agents import RandomAgent
from sparring.envs import make
from sparring.envs.to_open_spiel import to_open_spiel
from sparring.envs.to_textarena import to_textarena
from sparring.envs.tree import NotEnumerable
from sparring.selfplay import exploitability


@pytest.mark.parametrize(
    ("id", "settings"),
    [
        ("KuhnPoker-v0", {}),
        ("KuhnPoker-v0", {"skin": "obfuscated"}),
        ("Goofspiel-v0", {"cards": 3}),
        ("LiarsDice-v0", {"dice": 1, "faces": 3}),
    ],
)
def test_open_spiel_measures_the_same(id: str, settings: dict[str, Any]) -> None:
    from open_spiel.python import policy
    from open_spiel.python.algorithms import exploitability as reference

    game = make(id, **settings)
    spiel = to_open_spiel(game)
    theirs = reference.nash_conv(spiel, policy.UniformRandomPolicy(spiel), use_cpp_br=False)
    assert theirs == pytest.approx(exploitability(game, RandomAgent()).nashconv, abs=1e-9)


def test_a_solver_of_open_spiel_learns_our_game() -> None:
    """Kuhn poker after 40 rounds of CFR is nearer to an equilibrium than uniform play, which has 11/12."""
    from open_spiel.python.algorithms import cfr
    from open_spiel.python.algorithms import exploitability as reference

    spiel = to_open_spiel("KuhnPoker-v0")
    solver = cfr.CFRSolver(spiel)
    for _ in range(40):
        solver.evaluate_and_update_policy()
    assert reference.nash_conv(spiel, solver.average_policy(), use_cpp_br=False) < 0.1


def test_it_is_known_to_open_spiel_by_name() -> None:
    game = make("KuhnPoker-v0")
    name = to_open_spiel(game).get_type().short_name
    assert to_open_spiel(game).get_type().short_name == name
    state = pyspiel.load_game(name).new_initial_state()
    state.apply_action(0)
    assert state.information_state_string(0) == game.prompt(next(iter(game.deals()))[0], 0)
    assert [state.action_to_string(0, action) for action in state.legal_actions()] == ["check", "bet"]


def test_what_has_no_tree_does_not_come_over() -> None:
    with pytest.raises(NotEnumerable):
        to_open_spiel("TicTacToe-v0", limit=100)


def test_the_interpreter_ends_well() -> None:
    """What the library holds of ours is let go of when the interpreter is gone, and crashed it."""
    code = "from sparring.envs.to_open_spiel import to_open_spiel; to_open_spiel('KuhnPoker-v0').new_initial_state()"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def played(env: Any, seed: int, *replies: str) -> tuple[Any, Any, list[str]]:
    env.reset(num_players=2, seed=seed)
    shown, done = [], False
    for reply in replies:
        assert not done
        _, told = env.get_observation()
        shown.append(told if isinstance(told, str) else "\n".join(words for _, words, _ in told))
        done, _ = env.step(reply)
    rewards, info = env.close()
    return rewards, info, shown


def test_textarena_plays_it_and_wraps_it() -> None:
    from textarena.wrappers import LLMObservationWrapper

    random.seed(1)
    before = random.getstate()
    env = LLMObservationWrapper(to_textarena("KuhnPoker-v0"))
    rewards, info, shown = played(env, 3, "<think>I hold XYZZY</think>[bet]", "[call]")
    assert sorted(rewards.values()) == [-2.0, 2.0]
    assert info[0]["turn_count"] == info[1]["turn_count"] == 1
    assert "Moves so far: bet." in shown[1]
    assert "XYZZY" not in shown[1]
    assert random.getstate() == before


def test_textarena_tells_an_illegal_reply_to_its_author_and_then_ends_it() -> None:
    rewards, info, shown = played(to_textarena("KuhnPoker-v0"), 3, "[raise]", "I would rather not.")
    assert "not a legal move" in shown[1]
    assert rewards == {0: -2.0, 1: 2.0}
    assert (info[0]["invalid_move"], info[1]["invalid_move"]) == (True, False)


def test_nothing_is_rewritten_after_the_end() -> None:
    env = to_textarena("KuhnPoker-v0")
    rewards, _, _ = played(env, 3, "[check]", "[check]")
    assert env.step("[bet]") == (True, {})
    assert env.close()[0] == rewards


def test_it_is_registered_there_by_its_entry_point() -> None:
    entry = "sparring.envs.to_textarena:SparringEnv"
    textarena.register(id="SparringKuhn-v0", entry_point=entry, game="KuhnPoker-v0")
    rewards, _, _ = played(textarena.make("SparringKuhn-v0"), 0, "[bet]", "[fold]")
    assert rewards == {0: 1.0, 1: -1.0}
