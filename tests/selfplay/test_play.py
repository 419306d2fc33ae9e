"""The play engine: one call a wave, the same games whatever is in flight, records that hold what was sampled."""

import json

import pytest

from sparring.agents import LanguageModelAgent, Prompt, RandomAgent, Reply, ScriptedAgent, tiny_agent
from sparring.envs import Ending, make
from sparring.selfplay import play


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(make("KuhnPoker-v0"))


class Counting(RandomAgent):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def reply(self, prompts: list[Prompt]) -> list[Reply]:
        self.calls.append(len(prompts))
        return super().reply(prompts)


def test_prompts_of_both_seats_go_into_one_call_a_wave() -> None:
    agent = Counting()
    episodes = list(play(make("KuhnPoker-v0"), (agent, agent), games=100, in_flight=100))
    assert agent.calls[:2] == [100, 100]
    assert len(agent.calls) == max(len(e.turns) for e in episodes)


def test_finished_games_are_replaced_at_once() -> None:
    agent = Counting()
    list(play(make("KuhnPoker-v0"), (agent, agent), games=200, in_flight=20))
    # Only when no game is left to start may a wave be smaller.
    full = [calls == 20 for calls in agent.calls]
    assert full == sorted(full, reverse=True)


@pytest.mark.parametrize("in_flight", [1, 7, 64, 1000])
def test_a_seed_gives_the_same_games_whatever_is_in_flight(tiny: LanguageModelAgent, in_flight: int) -> None:
    game = make("KuhnPoker-v0")
    expected = [e.record() for e in play(game, (tiny, tiny), games=120, seed=5, in_flight=33)]
    assert [e.record() for e in play(game, (tiny, tiny), games=120, seed=5, in_flight=in_flight)] == expected


def test_games_of_a_seed_can_be_played_in_parts() -> None:
    game, agent = make("LeducPoker-v0"), RandomAgent()
    whole = [e.record() for e in play(game, (agent, agent), games=30, seed=1)]
    parts = [e.record() for first in (0, 10, 20) for e in play(game, (agent, agent), games=10, seed=1, first=first)]
    assert parts == whole


def test_seeds_differ() -> None:
    game, agent = make("LeducPoker-v0"), RandomAgent()
    one, two = ([e.record() for e in play(game, (agent, agent), games=30, seed=seed)] for seed in (1, 2))
    assert one != two


def test_records_hold_exactly_what_was_sampled(tiny: LanguageModelAgent) -> None:
    for episode in play(make("KuhnPoker-v0"), (tiny, tiny), games=30):
        for turn in episode.turns:
            assert turn.reply.text == tiny.tokenizer.decode(turn.reply.ids, skip_special_tokens=True)
            shown = tiny.tokenizer.decode(turn.reply.prompt_ids)
            assert turn.prompt in shown
            assert len(turn.reply.logprobs) == len(turn.reply.ids) > 0


def test_an_illegal_reply_forfeits_or_is_taken_back() -> None:
    game = make("KuhnPoker-v0")
    (lost,) = play(game, (ScriptedAgent(["what?"]), RandomAgent()), games=1)
    assert (lost.ending, lost.offender, lost.rewards) == (Ending.ILLEGAL, 0, (-2.0, 2.0))
    stubborn = ScriptedAgent(lambda prompt: "[check]" if "Tries left" in prompt.text else "what?")
    (episode,) = play(game, (stubborn, ScriptedAgent(lambda _: "[check]")), games=1, retries=1)
    assert episode.ending is Ending.PLAYED
    assert [turn.move for turn in episode.turns] == [None, "check", "check"]


def test_swapped_seats_are_even_and_said() -> None:
    one, two = RandomAgent(name="one"), RandomAgent(name="two")
    episodes = list(play(make("KuhnPoker-v0"), (one, two), games=10, swap=True))
    assert [e.players for e in episodes] == [("one", "two"), ("two", "one")] * 5
    for episode in episodes:
        assert all(episode.seated[turn.seat] == turn.player for turn in episode.turns)


def test_transcripts_are_json_even_with_lone_surrogates() -> None:
    (episode,) = play(make("KuhnPoker-v0"), (ScriptedAgent(["\ud800"]), RandomAgent()), games=1)
    line = json.dumps(episode.record())
    line.encode("utf-8")
    assert json.loads(line)["ending"] == "illegal"


def test_nothing_in_flight_is_refused() -> None:
    agent = RandomAgent()
    with pytest.raises(ValueError, match="in_flight must be 1 or more"):
        next(play(make("KuhnPoker-v0"), (agent, agent), games=1, in_flight=0))
