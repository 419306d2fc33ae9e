"""Mastermind: feedback against another way to count it, equal turns, codes that nobody sees."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sparring.envs import Match, Problem, make
from sparring.envs.mastermind import MastermindState


def counted_by_hand(guess, code):
    """Take pegs out of two bags, as people do at the table: first the exact pairs, then the misplaced ones."""
    guess, code, exact, misplaced = list(guess), list(code), 0, 0
    for i in reversed(range(len(guess))):
        if guess[i] == code[i]:
            exact += 1
            del guess[i], code[i]
    for peg in guess:
        if peg in code:
            misplaced += 1
            code.remove(peg)
    return exact, misplaced


@pytest.mark.parametrize(
    ("pegs", "colours", "repeats"), [(1, 4, True), (2, 4, True), (3, 4, True), (4, 3, True), (3, 5, False)]
)
def test_feedback_over_all_pairs_of_codes(pegs, colours, repeats):
    game = make("Mastermind-v0", pegs=pegs, colours=colours, repeats=repeats)
    codes = range(len(game.codes))
    for guess, code in product(codes, codes):
        assert game.feedback(guess, code) == counted_by_hand(game.codes[guess], game.codes[code])


@pytest.mark.parametrize(
    ("guess", "code", "told"),
    [
        ("red red blue blue", "red red blue blue", "4 exact, 0 misplaced"),
        ("red blue red blue", "blue red blue red", "0 exact, 4 misplaced"),
        # One red of the code for two of the guess: the exact one has it.
        ("red red green green", "blue red blue blue", "1 exact, 0 misplaced"),
        ("green red blue blue", "red green yellow yellow", "0 exact, 2 misplaced"),
        ("red red red blue", "blue blue red red", "1 exact, 2 misplaced"),
        ("purple purple purple purple", "red blue green yellow", "0 exact, 0 misplaced"),
    ],
)
def test_feedback_worked_by_hand(guess, code, told):
    game = make("Mastermind-v0")
    codes = game.legal(game.deal(np.random.default_rng(0)))
    state = game.play(MastermindState((0, codes.index(code))), guess)
    assert f"{guess}: {told}\nThe other player's guesses at your code: none." in game.observation(state, 0)
    # The other seat reads it when it has guessed too.
    assert "guesses at your code: none." in game.observation(state, 1)
    state = game.play(state, guess)
    assert f"guesses at your code:\n{guess}: {told}" in game.observation(state, 1)


def play(codes, *guesses, **settings):
    game = make("Mastermind-v0", pegs=2, colours=3, rounds=3, **settings)
    moves = game.legal(game.deal(np.random.default_rng(0)))
    state = MastermindState(tuple(moves.index(code) for code in codes))
    for guess in guesses:
        state = game.play(state, guess)
    return game, state


RR, RB, BR, GG = "red red", "red blue", "blue red", "green green"


@pytest.mark.parametrize(
    ("guesses", "seat", "rewards"),
    [
        # Seat 1's code is RB, seat 0's is GG. Seat 0 finds it first, and seat 1 still has its guess of the round.
        ([RB], 1, (0.0, 0.0)),
        ([RB, RR], None, (1.0, -1.0)),
        ([RB, GG], None, (0.0, 0.0)),
        ([RR, GG], None, (-1.0, 1.0)),
        ([RR, RR, BR, RR, RB, BR], None, (1.0, -1.0)),
        ([RR, RR, BR, RR, BR, BR], None, (0.0, 0.0)),
        ([RR, RR, BR, RR], 0, (0.0, 0.0)),
    ],
)
def test_both_seats_have_the_same_number_of_guesses(guesses, seat, rewards):
    game, state = play((GG, RB), *guesses)
    assert (game.seat(state), game.rewards(state)) == (seat, rewards)
    if seat is None:
        assert game.legal(state) == ()
        with pytest.raises(ValueError, match="not legal now"):
            game.play(state, RR)
        assert "Player 0's code was green green, player 1's was red blue." in game.observation(state, 1)


def test_neither_seat_has_the_better_of_it():
    """Sealed guesses make the two seats mirror images: equal policies are worth 0, and either can gain the same."""
    from sparring.selfplay import exploitability

    game = make("Mastermind-v0", pegs=2, colours=2, rounds=2)
    found = exploitability(game, lambda prompt: [1 / len(prompt.legal)] * len(prompt.legal))
    assert found.values == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.0, abs=1e-12))
    assert found.best_responses == (pytest.approx(0.234375), pytest.approx(0.234375))


def test_figures_by_hand():
    """Seat 0: red red tells that there is one red, so that green green after it cannot be right; then it finds it."""
    game, state = play((GG, RB), RR, RR, GG, BR, RB, GG)
    # Seat 1: red red tells that there is no red, so blue red could not be right; green green could.
    assert game.figures(state) == {"found": 1.0, "speed": 1 / 3, "consistent": 4 / 6}
    game, state = play((GG, RB), RR, RR, RR, RR, RR, RR)
    assert game.figures(state) == {"found": 0.0, "speed": 0.0, "consistent": 2 / 6}
    game, state = play((GG, RB), RB, RR)
    assert game.figures(state) == {"found": 1.0, "speed": 1.0, "consistent": 1.0}


def test_codes_can_be_chosen_in_a_sealed_first_turn():
    game = make("Mastermind-v0", pegs=2, colours=3, secret="chosen")
    match = Match(game, np.random.default_rng(0))
    assert "Set your own code." in match.prompt
    match.step("[green green]")
    assert match.seat == 1
    assert "green green" not in match.prompt.split("Legal moves")[0]
    match.step("[red blue]")
    assert (match.seat, match.state.guesses) == (0, ())
    assert "Your own code: green green. Round 1 of 10." in match.prompt
    match.step("[red blue]")
    match.step("[red red]")
    assert match.rewards == (1.0, -1.0)


def test_a_large_space_of_codes_is_described_and_exact():
    game = make("Mastermind-v0", pegs=5, colours=8)
    match = Match(game, np.random.default_rng(0), retries=9)
    assert len(match.legal) == 8**5
    assert match.prompt.endswith("\nYour move, in square brackets:")
    assert "[" not in match.prompt
    for wrong in (
        "red",
        "red red red red",
        "red red red red red red",
        "red red red red pink",
        "red, red, red, red, red",
    ):
        assert match.step(f"[{wrong}]").problem is Problem.ILLEGAL_MOVE
    assert match.step("[White  BLACK red red orange]").move == "white black red red orange"
    few = make("Mastermind-v0", pegs=2, colours=3)
    assert "Legal moves: [red red] [red blue]" in few.prompt(few.deal(np.random.default_rng(0)), 0)


def test_deals_are_listed_where_they_are_few():
    game = make("Mastermind-v0", pegs=2, colours=3)
    listed = dict(game.deals())
    assert len(listed) == 81
    assert sum(listed.values()) == pytest.approx(1.0)
    rng = np.random.default_rng(1)
    # 4,000 draws miss one of 81 deals with odds below 1e-19.
    assert {game.deal(rng) for _ in range(4000)} == set(listed)
    with pytest.raises(NotImplementedError, match="fewer pegs or colours"):
        next(iter(make("Mastermind-v0").deals()))


@pytest.mark.parametrize("secret", ["dealt", "chosen"])
def test_prompts_stay_bounded_at_the_largest_settings(secret):
    game = make("Mastermind-v0", pegs=6, colours=6, rounds=20, secret=secret)
    state = game.deal(np.random.default_rng(0))
    while (seat := game.seat(state)) is not None:
        assert len(game.prompt(state, seat)) <= game.max_prompt
        moves = game.legal(state)
        state = game.play(state, moves[1] if -1 in state.codes else moves[-1 - len(state.guesses)])
    assert len(state.guesses) == 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pegs": 7}, "pegs must be a whole number from 1 to 6"),
        ({"colours": 1}, "colours must be"),
        ({"rounds": 0}, "rounds must be"),
        ({"pegs": 6, "colours": 7}, "117649 codes, more than 50000"),
        ({"pegs": 6, "colours": 10, "repeats": False}, "151200 codes are more"),
        ({"pegs": 4, "colours": 3, "repeats": False}, "or repeats=True"),
        ({"repeats": 1}, "repeats must be True or False"),
        ({"secret": "choosen"}, "Did you mean 'chosen'"),
        ({"skin": "plan"}, "Did you mean 'plain'"),
    ],
)
def test_bad_settings_name_the_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        make("Mastermind-v0", **settings)
