"""Bugs found in other self-play trainers, each as a test that fails where the bug is. The views' share of the list
stands in tests/envs. Not here because nothing here could have them yet: a critic that reads its value at the first
token, and preference pairs within one game."""

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from sparring.agents import LanguageModelAgent, Message, RandomAgent, tiny_agent
from sparring.envs import Game, make
from sparring.selfplay import Learner, RoleBaseline, play, samples


@dataclass(frozen=True, slots=True)
class Biased:
    """How many moves were made."""

    moves: int = 0


class FirstSeatWins(Game[Biased]):
    """Each seat says a word, and seat 0 always wins."""

    rules = "Say a word. The first player wins."

    def deal(self, rng: np.random.Generator) -> Biased:
        return Biased()

    def seat(self, state: Biased) -> int | None:
        return state.moves if state.moves < 2 else None

    def observation(self, state: Biased, seat: int) -> str:
        return f"You are player {seat}."

    def legal(self, state: Biased) -> tuple[str, ...]:
        return ("yes", "no")

    def play(self, state: Biased, move: str) -> Biased:
        return Biased(state.moves + 1)

    def rewards(self, state: Biased) -> tuple[float, float]:
        return (1.0, -1.0) if state.moves == 2 else (0.0, 0.0)


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(make("KuhnPoker-v0"), corpus_games=20)


def test_the_prompt_trained_on_is_the_prompt_sampled_for(tiny: LanguageModelAgent) -> None:
    """A trainer sampled with a templated prompt and trained on the raw observation, a context it never saw."""
    for sample in samples(play(make("KuhnPoker-v0"), (tiny, tiny), games=20), RoleBaseline()):
        shown = tiny.tokenizer.decode(sample.reply.prompt_ids)
        assert shown.startswith("<|im_start|>user\n")
        assert shown.endswith("<|im_start|>assistant\n")
    (episode,) = play(make("KuhnPoker-v0"), (tiny, tiny), games=1)
    turn = episode.turns[0]
    assert turn.reply.prompt_ids == tiny.encode((Message("user", turn.prompt),))


def test_a_constant_reward_teaches_nothing() -> None:
    """A trainer put the adjusted reward on top of the raw one, 2r - b: then a constant reward never stops teaching."""
    baseline = RoleBaseline()
    advantages = [baseline.advantage("g", 0, 0.5) for _ in range(200)]
    assert advantages[0] == 0.5
    assert max(map(abs, advantages[1:])) < 1e-9


def test_the_learner_holds_both_seats_evenly(tiny: LanguageModelAgent) -> None:
    """A league trainer always seated its learner first, so the second seat was never learned."""
    episodes = list(play(make("KuhnPoker-v0"), (tiny, RandomAgent()), games=100, swap=True))
    assert Counter(e.seated.index(0) for e in episodes) == {0: 50, 1: 50}
    trained = {turn.seat for e in episodes for turn in e.turns if turn.player == 0}
    assert trained == {0, 1}


def test_the_opponents_tokens_are_never_trained_on(tiny: LanguageModelAgent) -> None:
    """A league trainer also trained on what its old checkpoints had said."""
    opponent = tiny_agent(make("KuhnPoker-v0"), seed=1, corpus_games=20)
    episodes = list(play(make("KuhnPoker-v0"), (tiny, opponent), games=50, swap=True))
    own = [turn.reply for e in episodes for turn in e.turns if e.players[turn.seat] == "tiny" and turn.player == 0]
    assert [s.reply for s in samples(episodes, RoleBaseline())] == own
    assert len(own) < sum(len(e.turns) for e in episodes)


def test_rewards_that_are_all_equal_give_numbers(tiny: LanguageModelAgent) -> None:
    """(r - mean) / std + 1e-8 is NaN when all rewards are equal."""
    game = FirstSeatWins()
    agent = tiny_agent(game, corpus_games=5)
    baseline = RoleBaseline()
    for _ in range(3):
        report = Learner(agent).update(samples(play(game, (agent, agent), games=8), baseline))
        assert np.isfinite([report["loss"], report["grad_norm"]]).all()


def test_the_baseline_is_the_mean_of_all_rewards_not_of_distinct_ones() -> None:
    """A trainer centred on the mean of the distinct values: nine wins and a loss then had baseline 0, not 0.8."""
    baseline = RoleBaseline(decay=0.999)
    for reward in [1.0] * 9 + [-1.0]:
        baseline.advantage("g", 0, reward)
    assert baseline("g", 0) == pytest.approx(0.8, abs=0.01)


def test_a_seat_that_always_wins_learns_nothing_from_winning() -> None:
    """Centring within one zero-sum game subtracts 0: winning from the better seat was then taken for skill."""
    game, agent, baseline = FirstSeatWins(), RandomAgent(), RoleBaseline()
    for _ in samples(play(game, (agent, agent), games=200), baseline):
        pass
    later = samples(play(game, (agent, agent), games=50, first=200), baseline)
    assert max(abs(sample.advantage) for sample in later) < 1e-9


def test_baselines_are_one_for_all_games_in_flight() -> None:
    """Baselines kept by each actor process never met: eight workers learned eight of them."""
    agent = RandomAgent()

    def learned(in_flight: int) -> float:
        baseline = RoleBaseline()
        for _ in samples(play(make("LeducPoker-v0"), (agent, agent), games=64, in_flight=in_flight), baseline):
            pass
        return baseline("LeducPoker-v0", 1)

    assert learned(1) == learned(64) != 0


def test_the_baseline_survives_a_restart() -> None:
    """Baselines that lived in the orchestrator's memory were lost when it restarted."""
    before = RoleBaseline()
    before.advantage("g", 1, 0.25)
    after = RoleBaseline()
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after("g", 1) == before("g", 1) == 0.25
