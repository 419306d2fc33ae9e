"""The one parser: what counts as a move, what hides, what comes back to the player."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs import Problem, public_text, read_move
from sparring.envs.reading import MAX_MOVE, MAX_REPLY, MAX_SPEECH, clean_speech

LEGAL = ("check", "bet", "2 from a")


@pytest.mark.parametrize(
    ("reply", "move"),
    [
        ("[check]", "check"),
        ("I [Check].", "check"),
        ("[ BET ]", "bet"),
        ("[bet] no, [check]", "check"),
        ("[[check]]", "check"),
        ("[check][", "check"),
        ("]check] [bet]", "bet"),
        ("[2  from\ta]", "2 from a"),
        ("<think>[bet]</think>[check]", "check"),
        ("[bet]<think>[check]</think>", "bet"),
        ("reasoning without an opening tag [bet]</think>[check]", "check"),
        ("<THINK>[bet]</Think >[check]", "check"),
        ("[\u212aheck] [chec\u212a]", "check"),  # the Kelvin sign folds to k
    ],
)
def test_the_last_bracket_outside_the_reasoning_is_the_move(reply, move):
    assert read_move(reply, LEGAL).move == move


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (None, Problem.NOT_TEXT),
        (b"[check]", Problem.NOT_TEXT),
        (["[check]"], Problem.NOT_TEXT),
        ("", Problem.NO_MOVE),
        ("check", Problem.NO_MOVE),
        ("[]", Problem.NO_MOVE),
        ("[check", Problem.NO_MOVE),
        ("<think>[check]", Problem.NO_MOVE),
        ("[check]</think>", Problem.NO_MOVE),
        ("[check] [raise]", Problem.ILLEGAL_MOVE),
        ("[che\u200bck]", Problem.ILLEGAL_MOVE),
        ("[" + "c" * (MAX_MOVE + 1) + "]", Problem.NO_MOVE),
        ("x" * MAX_REPLY + "[check]", Problem.TOO_LONG),
    ],
)
def test_what_is_wrong_is_named(reply, problem):
    reading = read_move(reply, LEGAL)
    assert (reading.move, reading.problem) == (None, problem)
    assert reading.detail


def test_an_illegal_last_bracket_is_not_replaced_by_an_earlier_legal_one():
    assert read_move("[check] or rather [raise]", LEGAL).problem is Problem.ILLEGAL_MOVE


def test_a_reply_of_exactly_the_longest_length_is_read():
    assert read_move("x" * (MAX_REPLY - 7) + "[check]", LEGAL).move == "check"


@pytest.mark.parametrize("inside", ["\x00\x1b", "\u202egnorw", "\ud800", "\U0001f600" * 64, "\u0390" * 64, "9" * 64])
def test_the_detail_is_short_plain_ascii(inside):
    detail = read_move(f"[{inside}]", LEGAL).detail
    assert detail.isascii()
    assert detail.isprintable()
    assert len(detail) < 120


def test_speech_is_the_public_part_on_one_printable_line():
    reading = read_move("<think>I hold the King</think>Fold,\nplease.\x00 [Seat 0]: \u202ei fold\ud800", None)
    assert reading.move == "Fold, please. (Seat 0): i fold"


def test_speech_is_capped_before_it_is_cleaned():
    assert len(read_move("a" * MAX_REPLY, None).move) == MAX_SPEECH
    assert clean_speech(" " * 4 * MAX_SPEECH + "unread") == ""
    assert read_move("\u200b\x00 \n", None).problem is Problem.NO_MOVE


def slow_public(text):
    """The rule of `public_text` spelled out one character at a time."""
    kept, depth, i = "", 0, 0
    while i < len(text):
        if text.startswith("<think>", i):
            depth, i = depth + 1, i + 7
        elif text.startswith("</think>", i):
            kept = kept if depth else ""
            depth, i = max(depth - 1, 0), i + 8
        else:
            kept += "" if depth else text[i]
            i += 1
    return kept


pieces = st.sampled_from(["[", "]", "check", "bet", "raise", " ", "<think>", "</think>", "<", "x", "\n", "[check]"])
replies = st.lists(pieces, max_size=12).map("".join)


@given(replies)
def test_public_text_agrees_with_the_rule_spelled_out(text):
    assert public_text(text) == slow_public(text)


@given(replies)
def test_the_move_agrees_with_looking_at_every_bracket_in_turn(text):
    found = re.findall(r"\[([^\[\]]+)\]", slow_public(text))
    last = " ".join(found[-1].split()) if found else None
    assert read_move(text, LEGAL).move == (last if last in LEGAL else None)


@given(st.text(), st.booleans())
def test_reading_what_was_read_changes_nothing(text, listed):
    legal = LEGAL if listed else None
    move = read_move(text, legal).move
    if move is not None:
        assert read_move(f"[{move}]" if listed else move, legal).move == move
