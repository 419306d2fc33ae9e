"""The sparse-pixel debate: digits, the judge in whole numbers, lines of play by hand, and exact values."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from sparring.envs import Ending, Match, check_game, make
from sparring.envs.digits import (
    NAMES,
    PIXELS,
    DigitJudge,
    draw,
    drawn,
    own_judges,
    save_judges,
    sparse,
    train_digit_judge,
)
from sparring.envs.mlp import fit, new_mlp, softmax
from sparring.envs.sparse_debate import SparseDebate, SparseState, best_accuracy, exact_accuracy
from sparring.envs.tree import enumerate_tree

SMALL: dict[str, Any] = {"pixels": 2, "lit": 5, "images": 3, "lie": "likeliest"}


class Points(DigitJudge):
    """A judge that adds up points of pixels: those below 50 speak for 7, the others for 1."""

    @classmethod
    def new(cls) -> Points:
        """Hidden unit 0 counts pixels below 50, unit 1 the others."""
        first = np.zeros((PIXELS, 2), dtype=np.int64)
        first[:50, 0] = first[50:, 1] = 1
        second = np.zeros((2, 10), dtype=np.int64)
        second[0, 7] = second[1, 1] = 1
        return cls(first, np.zeros(2, dtype=np.int64), second, np.zeros(10, dtype=np.int64))


def points_game(**settings: Any) -> SparseDebate:
    game = make("SparseDebate-v0", **settings)
    assert isinstance(game, SparseDebate)
    game.pixel_judge = Points.new()
    return game


# Digits and judges


def test_digits_differ_and_have_enough_pixels() -> None:
    rng = np.random.default_rng(0)
    pictures = [draw(rng, label) for label in range(10) for _ in range(20)]
    assert len({picture.tobytes() for picture in pictures}) == 200
    assert all(6 < picture.sum() < 45 for picture in pictures)
    assert all(len(drawn(rng, label, 12)) == 12 for label in range(10))
    assert drawn(np.random.default_rng(3), 4, 12) == drawn(np.random.default_rng(3), 4, 12)


def test_pixels_are_named_by_column_and_row() -> None:
    assert (NAMES[0], NAMES[9], NAMES[10], NAMES[99]) == ("a0", "j0", "a1", "j9")
    assert len(set(NAMES)) == 100


def test_a_judge_adds_whole_numbers() -> None:
    """By hand: two pixels below 50 and one above give 7 two points and 1 one point."""
    scores = Points.new().scores(np.array([3, 49, 50]))
    assert scores.dtype == np.int64
    assert scores.tolist() == [0, 1, 0, 0, 0, 0, 0, 2, 0, 0]
    rows = np.array([[3, 49, 50], [60, 70, 80]])
    assert Points.new().scores(rows)[1].tolist() == [0, 3, 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("pixels", "least"), [(2, 0.18), (4, 0.33), (6, 0.45)])
def test_our_own_judges_tell_digits_from_a_few_random_pixels(pixels: int, least: float) -> None:
    """Of 600 digits, of which a tenth would be right by chance; deviation 0.02."""
    rng = np.random.default_rng(5)
    images = np.stack([draw(rng, n % 10) for n in range(600)])
    lit = np.stack([np.flatnonzero(row) for row in sparse(rng, images, pixels)])
    assert lit.shape == (600, pixels)
    assert images[np.arange(600)[:, None], lit].all()
    right = own_judges()[pixels].scores(lit).argmax(-1) == np.arange(600) % 10
    assert least < right.mean() < 0.75


def test_judges_are_made_again_by_the_same_seed(tmp_path: Any) -> None:
    judges = [train_digit_judge(pixels=3, seed=0, hidden=6, images=60, steps=20) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*judges, strict=True))
    save_judges(tmp_path / "judges.npz", {3: judges[0]})
    with np.load(tmp_path / "judges.npz") as found:
        assert np.array_equal(found["first_PH_3"], judges[0].first_PH)


def test_the_gradient_of_the_network_is_right() -> None:
    """Adam with one tiny step moves every weight by the sign of its gradient, which finite differences give too."""
    rng = np.random.default_rng(0)
    mlp = new_mlp(rng, 3, 4, 1)
    x_B2F, y_B = rng.normal(size=(5, 2, 3)), np.array([0, 1, 1, 0, 1])

    def loss(at: Any) -> float:
        return float(-np.log(softmax(at(x_B2F)[..., 0])[np.arange(5), y_B]).mean())

    moved = fit(mlp, [(x_B2F, y_B)], steps=1, lr=1e-3)
    for name in ("first_FH", "second_HC"):
        before, after = getattr(mlp, name), getattr(moved, name)
        for index in np.ndindex(before.shape):
            nudged = before.copy()
            nudged[index] += 1e-6
            slope = (loss(mlp._replace(**{name: nudged})) - loss(mlp)) / 1e-6
            if abs(slope) > 1e-4:
                assert np.sign(after[index] - before[index]) == -np.sign(slope)


# Play


def test_a_debate_by_hand() -> None:
    """Pixels a0 and b0 speak for 7, a9 and b9 for 1; the honest seat, 1, claims 7."""
    game = points_game(pixels=2, lit=4)
    state = SparseState((0, 1, 90, 91), label=7, honest=1, lie=1)
    assert (game.claims(state), game.seat(state)) == ((1, 7), 0)
    assert game.legal(state) == ("a0", "b0", "a9", "b9")
    after = game.play(state, "a9")
    assert (game.seat(after), game.legal(after)) == (1, ("a0", "b0", "b9"))
    tied = game.play(after, "a0")
    assert (game.seat(tied), game.rewards(tied), game.figures(tied)["accuracy"]) == (None, (0.0, 0.0), 0.5)
    lost = game.play(after, "b9")
    assert (game.rewards(lost), game.figures(lost)["accuracy"]) == ((1.0, -1.0), 0.0)
    # Each reveals what speaks for itself, so it is even at best.
    assert best_accuracy(game, state) == 0.5
    assert best_accuracy(game, replace(state, lit=(0, 1, 2, 91))) == 0.5
    assert best_accuracy(game, replace(state, lit=(0, 1, 2, 3))) == 1.0


def test_what_is_revealed_counts_and_not_who_revealed_it() -> None:
    game = make("SparseDebate-v0")
    state = game.deal(np.random.default_rng(0))
    one, other = game.legal(state)[2:4]
    assert game.play(game.play(state, one), other) == game.play(game.play(state, other), one)


def test_numbers_are_other_names_of_the_same_moves() -> None:
    squares, numbers = (make("SparseDebate-v0", show="list", named=named) for named in ("squares", "numbers"))
    state = squares.deal(np.random.default_rng(0))
    assert state == numbers.deal(np.random.default_rng(0))
    for _ in range(4):
        moves = zip(squares.legal(state), numbers.legal(state), strict=True)
        assert all(squares.play(state, a) == numbers.play(state, b) for a, b in moves)
        assert f"{numbers.legal(state)[0]} {squares.legal(state)[0]}" in numbers.observation(state, 0)
        state = squares.play(state, squares.legal(state)[-2 if len(state.revealed) < 3 else 0])


@pytest.mark.parametrize("speaker", [0, 1])
def test_in_a_consultancy_one_seat_reveals_all(speaker: int) -> None:
    game = points_game(pixels=2, lit=4, protocol="consultancy")
    state = SparseState((0, 1, 90, 91), label=7, honest=0, lie=1, speaker=speaker)
    after = game.play(state, "a0")
    assert (game.seat(state), game.seat(after)) == (speaker, speaker)
    assert best_accuracy(game, state) == (1.0 if speaker == 0 else 0.0)
    end = game.play(after, "b0")
    assert set(game.figures(end)) == {"accuracy", "accuracy_honest" if speaker == 0 else "accuracy_dishonest"}


def test_random_pixels_are_dealt_and_hidden_until_they_are_looked_at() -> None:
    game = make("SparseDebate-v0", protocol="random")
    state = game.deal(np.random.default_rng(0))
    assert len(state.drawn) == 4
    assert set(state.drawn) < set(state.lit)
    twin = replace(state, drawn=state.lit[:4])
    assert twin != state
    for seat in (0, 1):
        assert game.observation(state, seat) == game.observation(twin, seat)
    assert game.legal(state) == ("look",)
    assert game.play(state, "look").revealed == state.drawn


@pytest.mark.parametrize("honest", [0, 1])
def test_who_is_wrong_may_choose_its_claim_first(honest: int) -> None:
    game = make("SparseDebate-v0", lie="chosen")
    state = SparseState(tuple(range(12)), label=7, honest=honest, lie=-1)
    assert game.seat(state) == 1 - honest
    assert "7" not in game.legal(state)
    assert len(game.legal(state)) == 9
    after = game.play(state, "3")
    assert game.claims(after)[1 - honest] == 3
    assert game.seat(after) == 0
    with pytest.raises(ValueError, match="not legal"):
        game.play(state, "7")


def test_a_forfeit_costs_more_than_a_lost_debate() -> None:
    match = Match(make("SparseDebate-v0"), np.random.default_rng(0))
    match.step("nonsense")
    assert (match.ending, match.rewards) == (Ending.ILLEGAL, (-1.5, 1.5))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "debat"}, "Did you mean 'debate'"),
        ({"lie": "choosen"}, "Did you mean 'chosen'"),
        ({"show": "lst"}, "Did you mean 'list'"),
        ({"named": "number"}, "Did you mean 'numbers'"),
        ({"named": "numbers"}, "needs show='list'"),
        ({"skin": "breif"}, "Did you mean 'brief'"),
        ({"pixels": 3}, "must be one of 2, 4, 6"),
        ({"lit": 3}, r"lit must be 4 \(pixels\) to 14"),
        ({"lit": 15}, "lit must be"),
        ({"digits": 1}, "digits must be 2 to 10"),
        ({"images": -1}, "images 0 or more"),
        ({"protocol": "random", "lie": "chosen"}, "no seat that could choose"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("SparseDebate-v0", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        SMALL | {"protocol": "consultancy", "skin": "brief", "show": "list"},
        SMALL | {"named": "numbers", "show": "list"},
        SMALL | {"protocol": "random", "lie": "dealt"},
        SMALL | {"lie": "chosen", "digits": 3},
        {"pixels": 6, "lit": 14},
    ],
    ids=str,
)
def test_every_protocol_keeps_the_contract(settings: dict[str, Any]) -> None:
    check_game(make("SparseDebate-v0", **settings), games=5)


def test_deals_are_drawn_evenly() -> None:
    """480 deals of 4 images, 2 digits, 2 seats: each of 8 kinds 60 times; five deviations of 7.2 away is no chance."""
    game = make("SparseDebate-v0", images=4, digits=2)
    assert len(list(game.deals())) == 8
    dealt = [game.deal(np.random.default_rng([1, n])) for n in range(480)]
    counts = [dealt.count(state) for state, _ in game.deals()]
    assert sum(counts) == 480
    assert all(abs(count - 60) < 37 for count in counts)
    with pytest.raises(NotImplementedError, match="set images="):
        list(make("SparseDebate-v0").deals())


# Exact values


def test_minimax_is_what_the_tree_says() -> None:
    """Backward induction over the whole tree, by rewards; and one deal by trying every line of play."""
    game = make("SparseDebate-v0", **SMALL)
    tree = enumerate_tree(game)
    assert tree.perfect_information
    value_S = tree.rewards_S2[:, 0].copy()
    for s in reversed(range(len(tree))):
        if tree.seat_S[s] >= 0:
            after = value_S[tree.child_E[tree.first_edge_S[s] : tree.first_edge_S[s + 1]]]
            value_S[s] = after.max() if tree.seat_S[s] == 0 else after.min()
    for root in tree.roots_D:
        state = tree.states[root]
        value = value_S[root] if state.honest == 0 else -value_S[root]
        assert best_accuracy(game, state) == (1 + value) / 2
    state = tree.states[tree.roots_D[0]]
    tried = [
        [game.accuracy(game.play(game.play(state, one), two)) for two in game.legal(game.play(state, one))]
        for one in game.legal(state)
    ]
    by_hand = max(map(min, tried)) if state.honest == 0 else min(map(max, tried))
    assert best_accuracy(game, state) == by_hand


def test_debate_beats_random_pixels_which_beat_a_consultant() -> None:
    """Exact values of a fixed bank of images, as in docs/debate.md and the recipe."""
    settings: dict[str, Any] = {"pixels": 2, "lit": 8, "images": 20, "lie": "likeliest"}
    found = {p: exact_accuracy(make("SparseDebate-v0", protocol=p, **settings)) for p in ("debate", "consultancy")}
    assert found == pytest.approx({"debate": 0.75, "consultancy": 0.55})
    game = make("SparseDebate-v0", **settings)
    random = [
        game.accuracy(replace(state, revealed=pixels))
        for state, _ in game.deals()
        for pixels in combinations(state.lit, 2)
    ]
    assert np.mean(random) == pytest.approx(0.588, abs=0.001)
