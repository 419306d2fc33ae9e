"""Wordle: marks worked by hand, the race, sealed guesses on a shared board, the word list, the enciphered skin."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from sparring.envs import Match, Problem, make
from sparring.envs.vocabulary import Vocabulary
from sparring.envs.wordle import WordleState, marks, word_list


@pytest.mark.parametrize(
    ("guess", "word", "told"),
    [
        ("crane", "crane", "+++++"),
        ("crane", "moult", "-----"),
        ("crane", "nerve", "-?-?+"),
        # The word has one e, and it stands where the guess has its last: the earlier ones are not in it any more.
        ("geese", "crane", "----+"),
        ("eerie", "merit", "-+++-"),
        # Two letters of the guess, one of the word, none in place: the first has it.
        ("allay", "loyal", "-??+?"),
        ("otter", "total", "??+--"),
        ("sassy", "glass", "??-+-"),
        ("speed", "erase", "?-??-"),
        ("abbey", "babes", "??++-"),
        ("babes", "abbey", "??++-"),
        ("llama", "label", "+??--"),
    ],
)
def test_marks_worked_by_hand(guess, word, told):
    assert marks(guess, word) == told


def test_marks_count_as_many_letters_as_both_words_have():
    """The invariant of repeated letters, over a fixed sample of pairs: marked letters are the common multiset."""
    words = word_list()
    for guess in words[::7]:
        for word in words[::11]:
            told = marks(guess, word)
            marked = Counter(letter for letter, mark in zip(guess, told, strict=True) if mark != "-")
            assert marked == Counter(guess) & Counter(word)
            assert [mark == "+" for mark in told] == [a == b for a, b in zip(guess, word, strict=True)]


def test_the_list_is_sorted_and_made_of_five_letters():
    words = word_list()
    assert len(words) > 700
    assert list(words) == sorted(set(words))
    assert all(len(word) == 5 and word.isascii() and word.isalpha() and word.islower() for word in words)


def play(word, *guesses, **settings):
    game = make("Wordle-v0", rounds=3, **settings)
    moves = game.legal(game.deal(np.random.default_rng(0)))
    state = WordleState(moves.index(word))
    for guess in guesses:
        state = game.play(state, guess)
    return game, state


@pytest.mark.parametrize("board", ["own", "shared"])
@pytest.mark.parametrize(
    ("guesses", "seat", "rewards"),
    [
        (["crane"], 1, (0.0, 0.0)),
        (["crane", "house"], None, (1.0, -1.0)),
        (["house", "crane"], None, (-1.0, 1.0)),
        (["crane", "crane"], None, (0.0, 0.0)),
        (["house", "house", "crane", "mouse"], None, (1.0, -1.0)),
        (["house"] * 6, None, (0.0, 0.0)),
        (["house"] * 4, 0, (0.0, 0.0)),
    ],
)
def test_who_finds_the_word_in_fewer_guesses_wins(board, guesses, seat, rewards):
    game, state = play("crane", *guesses, board=board)
    assert (game.seat(state), game.rewards(state)) == (seat, rewards)
    if seat is None:
        assert game.legal(state) == ()
        with pytest.raises(ValueError, match="not legal now"):
            game.play(state, "house")


def test_own_boards_show_own_guesses():
    game, state = play("crane", "nerve", "house", "waist")
    assert game.observation(state, 1) == "You are player 1. Round 2 of 3. Guesses:\nhouse: h- o- u- s- e+"
    assert game.observation(state, 0) == (
        "You are player 0. Round 2 of 3. Guesses:\nnerve: n? e- r? v- e+\nwaist: w- a? i- s- t-"
    )


def test_a_shared_board_shows_a_round_when_it_is_over():
    """Otherwise the second seat would copy the find of the first and every game were a draw."""
    game, state = play("crane", "nerve", "house", "crane", board="shared")
    assert game.observation(state, 1) == (
        "You are player 1. Round 2 of 3. Guesses:\nPlayer 0: nerve: n? e- r? v- e+\nPlayer 1: house: h- o- u- s- e+"
    )
    end = game.play(state, "price")
    assert game.observation(end, 1).endswith(
        "Player 1: price: p- r+ i- c? e+\nThe word was crane. Player 0 found it in 2. Player 1 did not find it."
    )


def test_figures_by_hand():
    # Seat 0's mouse could not be right after house; its crane could. Seat 1's three guesses could all be right.
    game, state = play("crane", "house", "nerve", "mouse", "crane")
    assert game.figures(state) == {"found": 1.0, "speed": 2 / 3, "consistent": 3 / 4}
    game, state = play("crane", *["house"] * 6)
    assert game.figures(state) == {"found": 0.0, "speed": 0.0, "consistent": 2 / 6}
    # On a shared board seat 1 has been told what seat 0's guess told.
    game, state = play("crane", "house", "mount", "mount", "crane", board="shared")
    assert game.figures(state)["consistent"] == 3 / 4


def test_words_outside_the_list_are_refused_and_the_list_is_not_shown():
    match = Match(make("Wordle-v0"), np.random.default_rng(0), retries=4)
    assert match.prompt.endswith("\nYour move, in square brackets:")
    for wrong in ("xylyl", "cranes", "cran", "c r a n e"):
        assert match.step(f"[{wrong}]").problem is Problem.ILLEGAL_MOVE
    assert match.step("[CRANE]").move == "crane"
    few = make("Wordle-v0", words=3)
    assert "one of those listed below" in few.rules
    assert "Legal moves: [about] [" in few.prompt(few.deal(np.random.default_rng(0)), 0)


@pytest.mark.parametrize("board", ["own", "shared"])
@pytest.mark.parametrize("words", [9, 0])
def test_the_obfuscated_skin_is_the_same_game_in_strings_that_are_no_words(board, words):
    plain, other = (make("Wordle-v0", words=words, board=board, skin=skin) for skin in ("plain", "obfuscated"))
    rng = np.random.default_rng(5)
    told, back = {}, {}
    for _ in range(60):
        ours = theirs = plain.deal(rng)
        while (seat := plain.seat(ours)) is not None:
            here, there = plain.observation(ours, seat), other.observation(theirs, seat)
            assert told.setdefault((seat, here), there) == there
            assert back.setdefault((seat, there), here) == here
            assert len(other.prompt(theirs, seat)) <= other.max_prompt
            move = int(rng.integers(len(plain.legal(ours))))
            ours, theirs = plain.play(ours, plain.legal(ours)[move]), other.play(theirs, other.legal(theirs)[move])
        assert (ours, plain.rewards(ours)) == (theirs, other.rewards(theirs))
    assert not set(word_list()) & set(other.legal(other.deal(rng)))
    assert "Legal moves:" in other.request(other.deal(rng))


def test_a_vocabulary_is_a_tuple_that_travels():
    words = Vocabulary(["b", "a", "c"])
    again = pickle.loads(pickle.dumps(words))
    assert again == words == ("b", "a", "c")
    assert (type(again), again.number("a"), again.number("x"), again.asked) == (Vocabulary, 1, -1, words.asked)
    assert ("a" in words, "x" in words, words == ["b"]) == (True, False, False)
    assert Vocabulary(map(str, range(65))).asked == Vocabulary(["a"], listed=False).asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": 1}, "words must be 0 for all or a whole number from 2"),
        ({"words": 100_000}, "words must be"),
        ({"rounds": 13}, "rounds must be a whole number from 1 to 12"),
        ({"board": "share"}, "Did you mean 'shared'"),
        ({"skin": "plan"}, "Did you mean 'plain'"),
    ],
)
def test_bad_settings_name_the_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        make("Wordle-v0", **settings)
