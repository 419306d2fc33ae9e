"""The players that need no model."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest

from sparring.agents import Agent, HumanAgent, PlayerLeft, Policy, RandomAgent, ScriptedAgent, ask, mix
from sparring.agents.players import SPEECH, pick
from sparring.envs import make, read_move

GAME = make("KuhnPoker-v0")
MOVES = ("check", "bet", "fold")


def prompts(n, legal=MOVES):
    return [ask(GAME, "Your move:", 0, legal, noise=mix(7, i)) for i in range(n)]


def test_all_are_agents_and_the_random_one_is_a_policy():
    for agent in (RandomAgent(), ScriptedAgent([]), HumanAgent()):
        assert isinstance(agent, Agent)
    assert isinstance(RandomAgent(), Policy)
    assert not isinstance(ScriptedAgent([]), Policy)


def test_random_plays_each_move_equally_often():
    """Each of 3 counts has mean 1,000 and standard deviation 26; off by 110 comes in one of 10,000 seeds."""
    counts = Counter(reply.text for reply in RandomAgent().reply(prompts(3000)))
    assert set(counts) == {"[check]", "[bet]", "[fold]"}
    assert all(abs(count - 1000) < 110 for count in counts.values())


def test_random_depends_on_the_noise_alone():
    agent, asked = RandomAgent(), prompts(50)
    together = agent.reply(asked)
    assert [agent.reply([prompt])[0] for prompt in reversed(asked)] == together[::-1]


def test_random_states_uniform_probabilities():
    rows = RandomAgent().move_probabilities(prompts(2))
    assert [row.tolist() for row in rows] == [pytest.approx([1 / 3] * 3)] * 2


def test_random_says_a_sentence_where_the_move_is_free_text():
    (prompt,) = prompts(1, legal=None)
    assert read_move(RandomAgent().reply([prompt])[0].text, None).move == SPEECH
    assert RandomAgent().move_probabilities([prompt])[0].shape == (0,)


def test_pick_never_returns_a_move_without_probability():
    for prompt in prompts(200):
        assert pick(prompt, [0.0, 1.0 - 1e-12, 0.0]) == "bet"
        assert pick(prompt, [0.5, 0.5, 0.0]) != "fold"


def test_pick_draws_with_the_given_odds():
    """A count of 3,000 at 0.2 has standard deviation 22; off by 95 comes in one of 50,000 seeds."""
    drawn = Counter(pick(prompt, np.array([0.2, 0.5, 0.3])) for prompt in prompts(3000))
    assert abs(drawn["check"] - 600) < 95


def test_scripted_says_its_lines_in_order_and_then_complains():
    agent = ScriptedAgent(["[bet]", "whatever"])
    assert [reply.text for prompt in prompts(2) for reply in agent.reply([prompt])] == ["[bet]", "whatever"]
    with pytest.raises(IndexError, match="all its 2 replies"):
        agent.reply(prompts(1))


def test_scripted_may_be_a_function_of_the_prompt():
    agent = ScriptedAgent(lambda prompt: prompt.legal[-1])
    assert [reply.text for reply in agent.reply(prompts(2))] == ["fold", "fold"]


def test_scripted_refuses_one_text_for_a_list():
    """A string is a sequence of strings: it would have been said letter by letter."""
    with pytest.raises(TypeError, match=r"give \['\[bet\]'\]"):
        ScriptedAgent("[bet]")


def person(*lines):
    """Return a human agent that types the lines, an exception being raised, and what it was shown."""
    typed, shown = iter(lines), []

    def type_line(_):
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    return HumanAgent(input=type_line, output=shown.append), shown


def test_a_person_is_shown_the_prompt_and_may_leave_out_the_brackets():
    agent, shown = person("  Bet ")
    (reply,) = agent.reply(prompts(1))
    assert read_move(reply.text, MOVES).move == "bet"
    assert shown == ["Your move:"]


def test_a_person_is_asked_again_until_the_line_can_be_read():
    agent, shown = person("", "raise", "[check]")
    assert agent.reply(prompts(1))[0].text == "[check]"
    assert len(shown) == 3
    assert "'raise' is not a legal move" in shown[2]


def test_a_person_may_speak_freely():
    agent, _ = person("", "I keep two books.")
    assert agent.reply(prompts(1, legal=None))[0].text == "I keep two books."


def test_a_person_reads_the_rules_once_and_the_game_once_a_turn():
    agent, shown = person("nothing", "bet", "check")
    rules, turn = GAME.rules, "Your card: Jack.\nYour move:"
    for text in (f"{rules}\n\n{turn}", f"No. Tries left: 1.\n\n{rules}\n\n{turn}", f"{rules}\n\nAgain {turn}"):
        agent.reply([ask(GAME, text, 0, None)])
    assert shown == [f"{rules}\n\n{turn}", "No. Tries left: 1.", f"\nAgain {turn}"]


def test_a_person_is_told_the_rules_of_each_part_and_of_each_game():
    agent, shown = person("bet", "bet", "bet")
    game = copy.copy(GAME)
    game.rules = ("Attack.", "Defend.")
    for seat in (0, 1, 1):
        agent.reply([ask(game, f"{game.rules[seat]}\n\nGo.", seat, MOVES)])
    assert shown == ["Attack.\n\nGo.", "Defend.\n\nGo.", "\nGo."]


@pytest.mark.parametrize("end", [EOFError(), KeyboardInterrupt()], ids=repr)
def test_a_person_can_leave(end):
    agent, _ = person(end)
    with pytest.raises(PlayerLeft, match="human left the game"):
        agent.reply(prompts(1))
