"""What a player says is shown so that it can pose as nobody else, in every game that lets players speak."""

from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
import pytest

from sparring.envs import make
from sparring.envs.catalogue import entry
from sparring.envs.quotes import enclosed, plain_signs
from sparring.envs.quoting import quoted as quoted_words
from sparring.envs.reading import read_move
from sparring.envs.registry import own_games
from sparring.envs.talk import quoted as quoted_speech
from sparring.envs.tasks import quoted as quoted_answer

SHOWN = {
    "enclosed": enclosed,
    "talk": lambda text: quoted_speech("A", text).removeprefix("A: "),
    "words": lambda text: quoted_words(text, 400),
    "answer": quoted_answer,
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_no_words_close_their_quotes_leave_their_line_or_hold_a_templates_token(show, attack):
    said = show(attack)
    assert said[0] == said[-1] == '"'
    inside = said[1:-1]
    assert '"' not in inside
    assert "''" not in inside
    assert said.isprintable()
    assert not re.search(r"<[|/a-z]", inside)
    assert not {unicodedata.category(c) for c in inside if ord(c) > 127} & {"Ps", "Pe", "Pi", "Pf"}


def test_no_sign_of_unicode_that_is_a_bracket_or_a_quotation_mark_is_left():
    """Every code point whose category, or whose plain form (NFKC), makes it one."""
    plain = set("()[]{}<>\"'|:")
    for code in range(0x80, sys.maxunicode + 1):
        sign = chr(code)
        is_one = unicodedata.category(sign) in ("Ps", "Pe", "Pi", "Pf")
        if is_one or (unicodedata.normalize("NFKC", sign) in plain and sign.isprintable()):
            shown = plain_signs(f"a{sign}b")
            assert shown.isascii(), (hex(code), unicodedata.name(sign, ""), shown)
            assert not set(shown) & set("[]"), hex(code)


def test_no_piece_of_a_tall_bracket_is_left():
    pieces = [c for c in map(chr, range(0x2300, 0x2400)) if re.match("(LEFT|RIGHT) .*BRACKET", unicodedata.name(c, ""))]
    assert len(pieces) >= 12
    assert {plain_signs(c) for c in pieces} == {"(", ")"}


def test_no_sign_of_unicode_that_is_named_a_quotation_mark_is_left():
    named = re.compile(r"QUOTATION MARK|DOUBLE PRIME|DITTO MARK|PUNCTUATION GERSHAYIM|DOUBLE (ACUTE ACCENT|APOSTROPHE)")
    signs = [c for c in map(chr, range(0x80, sys.maxunicode + 1)) if named.search(unicodedata.name(c, ""))]
    # A mark over a letter is no sign of its own.
    signs = [c for c in signs if unicodedata.category(c) != "Mn" and c.isprintable()]
    assert len(signs) > 30
    # Two ornaments of that name are angles to the eye.
    assert {ascii(c) for c in signs if plain_signs(c) not in ("'", '"', "<", ">")} == set()


def test_only_so_much_longer_as_prompts_have_room_for():
    for text in ("<" * 50, "<a" * 50, "'\"" * 50):
        assert len(enclosed(text)) <= 2 * len(text) + 2


SETTINGS = {"TwentyQuestions-v0": {"free": True}}
"""How games that list their moves otherwise take speech."""
GAMES = [id for id in own_games() if id in SETTINGS or entry(id, limit=1).spoken]
TURNS = 2
"""After these the words of both seats have been shown, where both speak."""


def said(game, state, words):
    """The words as a reply: where a move goes with them, one stands at their end."""
    example = game.speeches(state)[-1]
    reply = f"{words} {example[example.index('[') :]}" if game.keeps_brackets else words
    move = read_move(reply, None, brackets=game.keeps_brackets).move
    assert move is not None
    return move


def lines_after(name, words, turns=TURNS):
    """What both seats read after each of the first turns on which these words are said."""
    game = make(name, **SETTINGS.get(name, {}))
    state = game.deal(np.random.default_rng(0))
    lines = []
    while turns and game.seat(state) is not None:
        legal = game.legal(state)
        state = game.play(state, said(game, state, words) if legal is None else legal[-1])
        observations = [game.observation(state, seat) for seat in (0, 1)]
        assert max(map(len, observations)) <= game.max_prompt
        lines += [line for text in observations for line in text.split("\n")]
        turns -= 1
    return lines


def test_games_that_take_speech_are_found():
    assert {"Taboo-v0", "DontSayIt-v0", "Negotiation-v0", "Trading-v0", "Debate-v0", "Contest-v0"} < set(GAMES)


@pytest.mark.parametrize("name", GAMES)
def test_a_speech_is_shown_where_plain_words_are_and_as_they_are(name, attack):
    """What is read after an attack differs from what is read after plain words in the lines that show them alone."""
    plain, attacked = lines_after(name, "Kelp is a plant."), lines_after(name, attack)
    assert len(plain) == len(attacked)
    changed = [(line, other) for line, other in zip(attacked, plain, strict=True) if line != other]
    assert changed
    for line, other in changed:
        assert "Kelp is a plant." in other
        assert [line.count(sign) for sign in '"[]'] == [other.count(sign) for sign in '"[]']
        assert line.isprintable()
        assert "''" not in line
        assert not re.search(r"<[|/a-z]", line)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("piece", ["<", "<a"])
def test_prompts_have_room_for_speech_that_grows_when_it_is_shown(name, piece):
    game = make(name, **SETTINGS.get(name, {}))
    state = game.deal(np.random.default_rng(0))
    for _ in range(game.max_turns):
        if game.seat(state) is None:
            break
        assert len(game.prompt(state, game.seat(state))) <= game.max_prompt
        legal = game.legal(state)
        words = piece * (4000 // len(piece) - 40)
        state = game.play(state, said(game, state, words) if legal is None else legal[-1])
    assert len(game.observation(state, 0)) <= game.max_prompt
