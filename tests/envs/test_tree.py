"""The tree of a game: every state once, in an order that can be swept, and clear refusals where there is
none."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from sparring.envs import Game, make
from sparring.envs.tree import enumerate_tree, previous_slots


class Graph(Game[str]):
    """A game drawn as a table: name -> (seat, what it is shown, {move: name}), or the rewards at the end."""

    rules = "Follow the arrows."

    def __init__(self, nodes, deals=(("start", 1.0),), max_turns=9):
        self.nodes = nodes
        self.listed = deals
        self.max_turns = max_turns
        self.show_legal = False

    def deal(self, rng):
        return self.listed[0][0]

    def deals(self):
        return self.listed

    def seat(self, state):
        return self.nodes[state][0] if len(self.nodes[state]) == 3 else None

    def observation(self, state, seat):
        return self.nodes[state][1]

    def legal(self, state):
        moves = self.nodes[state][2]
        return moves if moves is None else tuple(moves)

    def play(self, state, move):
        return self.nodes[state][2][move]

    def rewards(self, state):
        return self.nodes[state] if len(self.nodes[state]) == 2 else (0.0, 0.0)


WON, LOST = (1.0, -1.0), (-1.0, 1.0)
END = {"won": WON, "lost": LOST}


def choice(a="won", b="lost"):
    return {"a": a, "b": b}


# Seat 1 is asked the same after one move of seat 0 and after two: its prompt stands at two depths.
TWO_DEPTHS = {
    "start": (0, "first", {"quick": "asked", "slow": "again"}),
    "again": (0, "second", {"on": "asked late", "off": "won"}),
    "asked": (1, "guess", choice("won", "lost")),
    "asked late": (1, "guess", choice("lost", "won")),
    **END,
}


@pytest.mark.parametrize(
    ("name", "states", "prompts", "perfect"),
    [
        ("KuhnPoker-v0", 54, 12, False),
        ("LeducPoker-v0", None, 288, False),
        ("TicTacToe-v0", 5478, 4520, True),
    ],
)
def test_sizes_are_the_known_ones(name, states, prompts, perfect):
    tree = enumerate_tree(make(name))
    assert len(tree) == (states or len(tree))
    assert len(tree.prompts) == prompts
    assert tree.perfect_information is perfect


@pytest.mark.parametrize("name", ["KuhnPoker-v0", "LeducPoker-v0", "TicTacToe-v0", "Nim-v0"])
def test_arrays_say_what_the_game_says(name):
    game = make(name)
    tree = enumerate_tree(game)
    assert sum(tree.chance_D) == pytest.approx(1.0)
    assert {tree.states[i] for i in tree.roots_D} == {state for state, _ in game.deals()}
    for i, state in enumerate(tree.states):
        seat = game.seat(state)
        edges = slice(tree.first_edge_S[i], tree.first_edge_S[i + 1])
        if seat is None:
            assert (tree.seat_S[i], tree.prompt_S[i], edges.stop - edges.start) == (-1, -1, 0)
            assert tuple(tree.rewards_S2[i]) == game.rewards(state)
            continue
        prompt = tree.prompts[tree.prompt_S[i]]
        assert prompt == (seat, game.prompt(state, seat), game.legal(state))
        assert tuple(tree.forfeits_S2[i]) == game.forfeit(state, seat)
        assert [tree.states[c] for c in tree.child_E[edges]] == [game.play(state, m) for m in prompt.legal]
        first = tree.first_slot_P[tree.prompt_S[i]]
        assert tree.slot_E[edges].tolist() == list(range(first, first + len(prompt.legal)))


@pytest.mark.parametrize("game", [make("KuhnPoker-v0"), make("TicTacToe-v0"), Graph(TWO_DEPTHS)], ids=repr)
def test_steps_hold_every_decision_once_parents_first_and_prompts_whole(game):
    tree = enumerate_tree(game)
    step_S = np.full(len(tree), len(tree.steps))
    for i, step in enumerate(tree.steps):
        assert (step_S[step.states] == len(tree.steps)).all()
        assert (tree.seat_S[step.states] == step.seat).all()
        step_S[step.states] = i
    decides = tree.seat_S >= 0
    assert (step_S[decides] < len(tree.steps)).all()
    assert (step_S[tree.source_E] < step_S[tree.child_E]).all()
    for prompt in range(len(tree.prompts)):
        assert len(set(step_S[tree.prompt_S == prompt])) == 1


def test_a_second_call_is_free_and_the_game_can_still_be_freed():
    game = make("KuhnPoker-v0")
    tree = enumerate_tree(game)
    assert enumerate_tree(game) is tree
    game.show_legal = False
    assert "Legal moves" not in enumerate_tree(game).prompts[0].text
    gone = weakref.ref(game)
    del game
    gc.collect()
    assert gone() is None


def test_previous_slots_name_the_move_before():
    tree = enumerate_tree(make("KuhnPoker-v0"))
    for prompt, slot in zip(tree.prompts, previous_slots(tree), strict=True):
        # Only seat 0 moves twice, and only after it checked.
        if "check, bet" not in prompt.text:
            assert slot == -1
            continue
        before = tree.prompts[tree.prompt_M[slot]]
        assert before.text.splitlines()[2] == prompt.text.splitlines()[2]  # the same card
        assert before.legal[slot - tree.first_slot_P[tree.prompt_M[slot]]] == "check"


def test_forgetting_ones_own_move_is_refused():
    nodes = {
        "start": (0, "first", choice("x", "y")),
        "x": (1, "other", choice("p", "lost")),
        "y": (1, "other", choice("q", "won")),
        "p": (0, "what did I do?", choice()),
        "q": (0, "what did I do?", choice("lost", "won")),
        **END,
    }
    with pytest.raises(ValueError, match=r"perfect recall.*observation"):
        previous_slots(enumerate_tree(Graph(nodes)))


LOOP = {"start": (0, "here", choice("there", "won")), "there": (1, "there", choice("start", "won")), **END}
ABSENT_MINDED = {"start": (0, "exit?", choice("next", "won")), "next": (0, "exit?", choice()), **END}
UNLIKE = {
    "start": (0, "first", choice("x", "y")),
    "x": (1, "same", choice()),
    "y": (1, "same", {"a": "won", "c": "lost"}),
    **END,
}


@pytest.mark.parametrize(
    ("game", "message"),
    [
        (Graph(LOOP), r"come back.*count"),
        (Graph(ABSENT_MINDED), r"before itself.*observation"),
        (Graph(UNLIKE), r"different legal moves.*observation"),
        (Graph({"start": (0, "speak", None)}), r"free text.*matches"),
        (Graph({"start": (0, "stuck", {})}), r"no legal move"),
        (Graph(TWO_DEPTHS, max_turns=2), r"3 turns; raise max_turns"),
        (Graph(TWO_DEPTHS, deals=(("start", 0.5),)), r"sum to 0\.5"),
        (Graph(TWO_DEPTHS, deals=(([], 1.0),)), r"hashable.*frozen"),
    ],
    ids=lambda value: None if isinstance(value, Game) else value[:12],
)
def test_what_has_no_tree_is_refused_with_the_remedy(game, message):
    with pytest.raises(ValueError, match=message):
        enumerate_tree(game)


def test_too_many_states_names_the_limit_even_when_the_tree_is_known():
    game = make("TicTacToe-v0")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"more than 5,000 states.*limit="):
            enumerate_tree(game, limit=5000)
        assert len(enumerate_tree(game, limit=5478)) == 5478


def test_a_game_without_deals_says_what_to_define():
    game = make("KuhnPoker-v0")
    game.deals = lambda: Game.deals(game)
    with pytest.raises(NotImplementedError, match=r"define deals\(\)"):
        enumerate_tree(game)
