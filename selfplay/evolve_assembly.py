"""From settings to the parts of a run of self-evolution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparring.agents import AGENTS, Agent, LanguageModelAgent, is_endpoint, make_agent, tiny_agent
from sparring.envs import Game, make, near
from sparring.envs.contest import Contest
from sparring.envs.critic import Critic
from sparring.envs.proposer import Proposer

from .advantage import RoleBaseline
from .evolve import Method
from .evolve_opponents import loading, make_opposite
from .learner import Learner, Objective
from .play_method import SelfPlay
from .policy_gradient import PolicyGradient
from .pool import OpponentPool
from .preference import Preference
from .prover_critic import critic_games
from .rules import make_objective, make_rule
from .self_improving import SelfImproving
from .self_instruct import SelfInstruct
from .self_training import PRESETS, SelfTraining
from .settings import read_numbers
from .settings_checks import PG
from .skills import Curriculum, Skill

if TYPE_CHECKING:
    from .evolve_run import EvolveSettings

METHODS = ("self-training", "self-instruct", "self-improving", "self-play", "critic")
SEEDS = 1 << 20
"""Number of the draw from which labelled tasks come."""
CRITICISM = "it judges its own solutions, and the verifier judges its verdicts"
"""What part the model has in the feedback of the critic."""


def make_player(settings: EvolveSettings, curriculum: Curriculum) -> LanguageModelAgent:
    """Return the policy, with the words of all that it will be asked if it is made from nothing."""
    s = settings
    if s.model != "tiny":
        agent = _load(s)
        if s.lora:
            from sparring.agents import add_lora

            add_lora(agent, r=s.lora, alpha=2 * s.lora, seed=s.seed)
        return agent
    games: list[Game[Any]] = []
    for skill in curriculum.skills:
        games.append(Contest(task=skill.family, level=skill.level, single=True, skin="brief"))
        if "self-instruct" in weights_of_methods(s):
            games.append(Proposer(task=skill.family, level=skill.level, shown=8, skin="brief"))
    if "self-play" in weights_of_methods(s):
        games.append(make(s.game))
    if "critic" in weights_of_methods(s):
        games += make_critics(s, curriculum).values()
    shape: dict[str, Any] = {"hidden": s.hidden, "layers": s.layers, "max_new_tokens": s.max_new_tokens}
    return tiny_agent(games, seed=s.seed, batch_tokens=s.batch_tokens, **shape)


def _load(settings: EvolveSettings) -> LanguageModelAgent:
    if settings.model in AGENTS or is_endpoint(settings.model):
        raise ValueError(f"{settings.model} is no language model whose weights are here, so it cannot evolve")
    agent = make_agent(settings.model, **loading(settings))
    assert isinstance(agent, LanguageModelAgent)
    return agent


def weights_of_methods(settings: EvolveSettings) -> dict[str, float]:
    """Return the weight of each method. Raises ValueError, with what to do, for weights and methods that are none."""
    words = [word if "=" in word else f"{word}=1" for word in settings.method]
    found = {name: weight or 0.0 for name, weight in read_numbers(words, "method").items()}
    for name in found:
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}.{near(name, METHODS)}")
    if not all(0 <= weight < math.inf for weight in found.values()) or not any(found.values()):
        raise ValueError(
            f"method must have finite weights of 0 or more, one of them above 0, not {' '.join(settings.method)!r}"
        )
    return found


def make_methods(
    settings: EvolveSettings, curriculum: Curriculum, player: LanguageModelAgent
) -> dict[str, tuple[Method, float]]:
    """Return the methods with their weights."""
    s = settings
    preset: dict[str, Any] = {} if s.preset is None else PRESETS[s.preset]
    of_training = ("samples", "keep", "threshold", "members", "cap", "accumulates", "learn", "restart")
    training = {name: getattr(s, name) for name in of_training} | preset
    makers: dict[str, Callable[[], Method]] = {
        "self-training": lambda: SelfTraining(prompts=s.prompts, steps=s.steps, batch=s.batch, kl=s.kl, **training),
        "self-instruct": lambda: SelfInstruct(
            seeds=[t for k in curriculum.skills for t in _pool(curriculum, k, s.seed_tasks)],
            proposals=s.prompts,
            samples=s.samples,
            novelty=s.novelty,
            band=(s.band_low, s.band_high),
            reward=s.reward,
            learn="reinforce" if s.learn == "reinforce" else "imitate",
            kl=s.kl,
            steps=s.steps,
            batch=s.batch,
        ),
        "self-improving": lambda: SelfImproving(
            prompts=s.prompts,
            samples=s.samples,
            updates=s.updates,
            assess=s.assess,
            revise=s.revise,
            critique=s.critique,
            kl=s.kl,
        ),
        "self-play": lambda: _against(s, make(s.game), player),
        "critic": lambda: _playing(s, make_critics(s, curriculum), "critic", feedback=CRITICISM),
    }
    return {name: (makers[name](), weight) for name, weight in weights_of_methods(s).items()}


def make_critics(settings: EvolveSettings, curriculum: Curriculum) -> dict[Skill, Critic]:
    """Return the games of the method "critic". Raises ValueError for settings and skills that cannot be."""
    s = settings
    return critic_games(curriculum, helpful=s.helpful, pays=s.pays, listed=s.listed)


def _against(settings: EvolveSettings, game: Game[Any], player: LanguageModelAgent) -> SelfPlay:
    """Return the method that plays a game against the run's opponents."""
    return _playing(settings, game, "self-play", opponent=make_opposite(settings, player, game))


def _playing(
    settings: EvolveSettings,
    game: Game[Any] | dict[Skill, Critic],
    name: str,
    *,
    feedback: str = SelfPlay.feedback,
    opponent: Agent | OpponentPool | None = None,
) -> SelfPlay:
    """Return a method that plays, with an objective of its own: the learner's may be another method's."""
    s, baseline = settings, RoleBaseline()
    if s.rule == "spin":
        raise ValueError("spin imitates another player's moves, and only scripts/train.py has it: take ppo or another")
    objective = _objective(s)
    example = next(iter(game.values())) if isinstance(game, dict) else game
    return SelfPlay(
        game=game,
        rule=lambda learner: make_rule(s.rule, learner, game=example, baseline=baseline, objective=objective),
        games=s.games,
        updates=s.updates,
        baseline=baseline,
        opponent=opponent,
        name=name,
        feedback=feedback,
    )


def _objective(settings: EvolveSettings) -> Objective:
    """Return what the rule of those that play minimises, held to the reference by a KL where it can be."""
    return make_objective(settings.rule, **({"kl": settings.kl} if settings.rule in PG else {}))


def make_learner(settings: EvolveSettings, agent: LanguageModelAgent) -> Learner:
    """Return the learner, with a reference where any method needs one."""
    s, used = settings, weights_of_methods(settings)
    prefers = s.learn == "prefer" or s.preset == "scpo"
    plays = ("self-play" in used or "critic" in used) and _objective(s).needs_reference
    return Learner(
        agent,
        # Each method brings an objective of its own; this one only says whether there is a reference.
        Preference("sigmoid", beta=0.5) if prefers or plays else PolicyGradient(kl=s.kl),
        lr=s.lr,
        betas=(s.momentum, 0.99),
        seed=s.seed,
        batch_tokens=s.batch_tokens,
        gradient_checkpointing=s.gradient_checkpointing,
    )


def _pool(curriculum: Curriculum, skill: Skill, count: int) -> list[Any]:
    """Return the seed pool of a skill: the labelled tasks are all it is made of."""
    tasks = curriculum.mixed(dict.fromkeys(curriculum.skills, 1.0), count, number=SEEDS)
    return [task for task in tasks if (task.family, task.level) == skill]
