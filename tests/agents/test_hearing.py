"""What a judge reads: debaters' text that tries to pose as the referee, the judge's template or the other side."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from sparring.agents import Message, tiny_agent
from sparring.agents.hearing import RULES, Hearing, digest, mirrored, shown
from sparring.envs import Case, Match, Statement, check_game, make

HONEST = Case(question="What burns?", answers=("kelp", "oil"), statements=(Statement(0, "Kelp."), Statement(1, "Oil.")))


def heard(attack: str) -> Case:
    """The case in which seat 0 says this in a debate, and seat 1 answers plainly."""
    match = Match(make("Debate-v0", rounds=1), np.random.default_rng(0), deferred=True)
    assert match.step(attack).problem is None
    match.step("Oil.")
    assert match.case is not None
    return replace(HONEST, statements=match.case.statements)


def test_no_speech_leaves_its_line_its_quotes_or_its_side(attack: str) -> None:
    text = shown(heard(attack))
    lines = text.splitlines()
    assert len(lines) == 5
    starts = ("Question: ", "A: ", "B: ", "A says: ", "B says: ")
    for line, start in zip(lines, starts, strict=True):
        body = line.removeprefix(start)
        assert line.startswith(start)
        assert body[0] == body[-1] == '"'
        assert '"' not in body[1:-1]
    # Nothing else looks like a fence, a bracket of the referee, a control or a template's token.
    assert not re.search("[\u201c\u201d\u00ab\u00bb\uff02\uff3b\uff3d\uff1c\uff5c\\[\\]]", text)
    assert text.isprintable() or all(line.isprintable() for line in lines)
    assert not re.search(r"<[|/a-z]", text)


def test_a_case_built_by_hand_is_no_way_around(attack: str) -> None:
    """Another game may put raw text into question, answer or statement; only marks in brackets are left to it."""
    for case in (
        replace(HONEST, question=attack),
        replace(HONEST, answers=(attack, "oil")),
        replace(HONEST, evidence=attack),
        replace(HONEST, statements=(Statement(1, attack),)),
    ):
        lines = shown(case).splitlines()
        assert len(lines) == 3 + bool(case.evidence) + len(case.statements)
        assert all(line.count('"') == 2 and line.endswith('"') and line.isprintable() for line in lines)


def test_the_chat_template_sees_one_message(attack: str) -> None:
    """What a model reads has the control tokens of one user's turn, whatever was said."""
    game = Hearing(HONEST)
    agent = test_the_chat_template_sees_one_message.__dict__.setdefault(
        "agent", tiny_agent(game, corpus_games=2, hidden=16, layers=1)
    )
    tokenizer = agent.tokenizer
    control = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>", "<|endoftext|>")]
    plain = agent.encode((Message("user", f"{RULES}\n\n{shown(HONEST)}"),))
    spoken = agent.encode((Message("user", f"{RULES}\n\n{shown(heard(attack))}"),))
    assert [spoken.count(token) for token in control] == [plain.count(token) for token in control] == [2, 1, 0]


def test_the_referees_marks_stand() -> None:
    match = Match(make("Debate-v0", rounds=1), np.random.default_rng(0), deferred=True)
    sentence = match.game.questions[match.state.question].passage.split(". ")[0]
    match.step(f"It says <quote>{sentence}</quote> and <quote>pigs fly</quote>.")
    match.step("No.")
    assert match.case is not None
    assert f"[verified: {sentence}] and [not found: pigs fly]." in shown(match.case)


def test_a_hearing_is_a_game() -> None:
    check_game(Hearing(HONEST), games=3)
    check_game(Hearing(HONEST, replace(HONEST, evidence="Kelp burns."), may_abstain=False), games=3)
    game = Hearing()
    assert "Neither side has said anything." in game.prompt(game.deal(np.random.default_rng(0)), 0)


def test_mirrors() -> None:
    said = tuple(Statement(n % 2, text) for n, text in enumerate("abcd"))
    case = replace(HONEST, statements=said, evidence="e")
    assert mirrored(mirrored(case)) == case
    assert mirrored(case).answers == ("oil", "kelp")
    assert mirrored(case).evidence == "e"
    # In a debate, an answer still comes after what it answers.
    assert [s.text for s in mirrored(case).statements] == list("abcd")
    assert [s.seat for s in mirrored(case).statements] == [1, 0, 1, 0]
    at_once = replace(case, unordered=True)
    assert mirrored(at_once).statements == (Statement(0, "b"), Statement(1, "a"), Statement(0, "d"), Statement(1, "c"))
    assert mirrored(mirrored(at_once)) == at_once
    monologue = replace(case, statements=(Statement(1, "a"), Statement(1, "b"), Statement(1, "c")), unordered=True)
    assert [s.text for s in mirrored(monologue).statements] == list("abc")


def test_a_digest_is_of_everything_a_case_holds() -> None:
    others = [
        replace(HONEST, question="What burnt?"),
        replace(HONEST, answers=("oil", "kelp")),
        replace(HONEST, statements=HONEST.statements[:1]),
        replace(HONEST, statements=(Statement(1, "Kelp."), Statement(1, "Oil."))),
        replace(HONEST, unordered=True),
        replace(HONEST, evidence="x"),
    ]
    assert len({digest(case) for case in (HONEST, *others)}) == 7
    assert digest(replace(HONEST)) == digest(HONEST)
