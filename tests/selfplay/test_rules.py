"""Every update rule, by its name alone, makes the reply that wins likelier, in a game where that is all there is."""

import copy
from pathlib import Path

import numpy as np
import pytest

from sparring.agents import LanguageModelAgent, ScriptedAgent, tiny_agent
from sparring.envs import Game
from sparring.selfplay import Critic, Learner, make_objective, make_rule, self_play, warm_start
from sparring.selfplay.advantage import RoleBaseline
from sparring.selfplay.assembly import make_learner, make_update
from sparring.selfplay.rules import GROUPED, RULES
from sparring.selfplay.settings import Settings
from sparring.selfplay.settings_checks import TRL_RULES


class Pick(Game[tuple[str, ...]]):
    """Each seat picks once; left is worth a chip more than right, whatever the other does."""

    rules = "Pick a side."

    def deal(self, rng: np.random.Generator) -> tuple[str, ...]:
        return ()

    def deals(self):
        return [((), 1.0)]

    def seat(self, state: tuple[str, ...]) -> int | None:
        return len(state) if len(state) < 2 else None

    def observation(self, state: tuple[str, ...], seat: int) -> str:
        return f"You are player {seat}."

    def legal(self, state: tuple[str, ...]) -> tuple[str, ...]:
        return ("left", "right")

    def play(self, state: tuple[str, ...], move: str) -> tuple[str, ...]:
        return (*state, move)

    def rewards(self, state: tuple[str, ...]) -> tuple[float, float]:
        if len(state) < 2:
            return 0.0, 0.0
        won = ((state[0] == "left") - (state[1] == "left")) / 1.0
        return won, -won


GAME = Pick()


@pytest.fixture(scope="module")
def warm() -> LanguageModelAgent:
    agent = tiny_agent(GAME, corpus_games=10, hidden=32)
    for _ in warm_start(GAME, agent, steps=60, seed=1):
        pass
    return agent


def left(agent: LanguageModelAgent) -> list[float]:
    """The probability of [left] for each seat."""
    from sparring.envs import Match, ask

    match = Match(GAME, np.random.default_rng(0))
    prompts = [ask(GAME, match.prompt, 0, match.legal)]
    match.step("[left]")
    prompts.append(ask(GAME, match.prompt, 1, match.legal))
    return [float(odds[0]) for odds in agent.move_probabilities(prompts)]


def after(agent: LanguageModelAgent, name: str, updates: int = 12, **settings) -> list[float]:
    """Learn by a rule from a copy of `agent`; returns the probabilities of [left]."""
    agent = copy.deepcopy(agent)
    critic = Critic(agent) if settings.get("advantage") == "critic" else None
    # With a small eta the target is a fraction of a nat away, and steps of this size jump over it and back.
    objective = make_objective(name, eta=10.0) if name == "sppo" else make_objective(name)
    learner = Learner(agent, objective, lr=3e-3, critic=critic)
    rule = make_rule(name, learner, game=GAME, baseline=RoleBaseline(0.9), **settings)
    opponent = ScriptedAgent(lambda prompt: "[left]") if name == "spin" else None
    for _ in self_play(GAME, agent, rule, games=64 * updates, batch_games=64, seed=3, opponent=opponent):
        pass
    return left(agent)


def test_the_warm_start_prefers_neither_side(warm: LanguageModelAgent) -> None:
    assert all(0.25 < p < 0.75 for p in left(warm))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_learns_what_wins(warm: LanguageModelAgent, name: str) -> None:
    """Seeds are fixed; a rule with its sign turned round ends below the start."""
    assert min(after(warm, name)) > max(left(warm)) + 0.1


@pytest.mark.parametrize("name", GROUPED)
def test_branched_games_teach_the_same(warm: LanguageModelAgent, name: str) -> None:
    assert min(after(warm, name, groups="branch", width=4)) > max(left(warm)) + 0.05


@pytest.mark.parametrize("name", ["rloo", "dpo", "sppo", "rebel"])
def test_games_compared_by_state_teach_the_same(warm: LanguageModelAgent, name: str) -> None:
    assert min(after(warm, name, groups="state")) > max(left(warm)) + 0.1


@pytest.mark.parametrize("advantage", ["critic", "none"])
def test_other_advantages_teach_the_same(warm: LanguageModelAgent, advantage: str) -> None:
    assert min(after(warm, "ppo", advantage=advantage)) > max(left(warm)) + 0.1


@pytest.mark.parametrize("name", TRL_RULES)
def test_trls_own_trainers_teach_the_same(warm: LanguageModelAgent, name: str, tmp_path: Path) -> None:
    agent = copy.deepcopy(warm)
    settings = Settings(update=name, lr=3e-3, minibatches=4, beta=0.5)
    rule = make_update(settings, make_learner(settings, agent), RoleBaseline(0.9), GAME, tmp_path)
    for _ in self_play(GAME, agent, rule, games=256, batch_games=64, seed=3):
        pass
    assert min(left(agent)) > max(left(warm)) + 0.05


def test_unknown_names_are_refused_with_the_near_one(warm: LanguageModelAgent) -> None:
    with pytest.raises(ValueError, match="Did you mean 'sppo'"):
        make_objective("spo")
    learner = Learner(warm, lr=0.0)
    with pytest.raises(ValueError, match="Did you mean 'critic'"):
        make_rule("ppo", learner, advantage="critik")
    with pytest.raises(ValueError, match="needs a critic"):
        make_rule("ppo", learner, advantage="critic")


def test_spin_without_a_teacher_is_refused(warm: LanguageModelAgent) -> None:
    rule = make_rule("spin", Learner(copy.deepcopy(warm), make_objective("spin")), game=GAME)
    with pytest.raises(ValueError, match="somebody to learn from"):
        next(self_play(GAME, copy.deepcopy(warm), rule, games=8, batch_games=8))


def test_schedules_of_what_is_not_there_are_refused(warm: LanguageModelAgent) -> None:
    from sparring.selfplay import Anneal

    learner = Learner(copy.deepcopy(warm), make_objective("sppo"))
    rounds = self_play(
        GAME, learner.agent, make_rule("sppo", learner), games=8, batch_games=8, schedules={"etta": Anneal(1, 2)}
    )
    with pytest.raises(ValueError, match="Did you mean 'eta'"):
        next(rounds)
