"""Update rules by name: how the outcomes of a generation's games become one update.

| rule | learns from | advantage, or what a pair is |
|---|---|---|
| ppo, reinforce | every turn | `advantage`: role-conditioned baseline (rae), critic with turn-level GAE, or none |
| grpo, rloo | replies to one prompt | outcome against the group's mean, or against the mean of the others |
| dpo, ipo, hinge | pairs of replies to one prompt | the one with the better mean outcome is chosen |
| sppo | replies to one prompt | empirical win rate against the others |
| rebel | pairs of replies to one prompt | the difference of their mean outcomes |
| kto | every turn | desirable where the game went better than the seat's baseline |
| rft | the winner's turns | imitated |
| spin | the opponent's turns | its move is chosen over one's own reply to the same prompt |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.agents import mix
from sparring.envs import Game, near

from .advantage import RoleBaseline, samples
from .episode import Episode
from .forks import BY, forks, group_samples, leave_one_out_samples, whole_samples
from .gae import critic_samples
from .imitation import Imitation
from .learner import Learner, Objective, Report
from .losses import UNCLIPPED
from .pairs import demonstrations, gaps, labelled, own_replies, pairs, rated, spin_pairs, winners
from .policy_gradient import PolicyGradient
from .preference import Preference, RelativeReward, SelfPlayPreference, UnpairedPreference

RULES = ("ppo", "reinforce", "grpo", "rloo", "dpo", "ipo", "hinge", "sppo", "rebel", "kto", "rft", "spin")
ADVANTAGES = ("rae", "critic", "none")
GROUPED = ("grpo", "rloo", "dpo", "ipo", "hinge", "sppo", "rebel")
"""Rules that compare replies to one prompt, and so can learn from branched games."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a generation is played and learned from."""

    learner: Learner
    """Holds what is updated."""
    learn: Callable[[Sequence[Episode]], Report]
    """Updates the policy from the games of a generation."""
    width: int = 0
    """Continuations that are played from one state; 0: whole games, each dealt anew."""
    rollouts: int = 1
    """Times that each continuation's reply is played out."""


def make_objective(rule: str, **settings: float | str | bool | None) -> Objective:
    """Return what a rule minimises; `settings` are those of its class. Raises ValueError for an unknown rule."""
    if rule not in RULES:
        raise ValueError(f"unknown update rule {rule!r}.{near(rule, RULES)}")
    makers: dict[str, Callable[..., Objective]] = {
        "reinforce": lambda **more: PolicyGradient(**{**more, "clip_low": UNCLIPPED[0], "clip_high": UNCLIPPED[1]}),
        **{name: lambda **more: PolicyGradient(**more) for name in ("ppo", "grpo", "rloo")},
        "dpo": lambda **more: Preference("sigmoid", **more),
        "ipo": lambda **more: Preference("ipo", **more),
        "hinge": lambda **more: Preference("hinge", **more),
        "spin": lambda **more: Preference("sigmoid", **more),
        "sppo": lambda **more: SelfPlayPreference(**more),
        "rebel": lambda **more: RelativeReward(**more),
        "kto": lambda **more: UnpairedPreference(**more),
        "rft": lambda **more: Imitation(**more),
    }
    return makers[rule](**settings)


def make_rule(
    name: str,
    learner: Learner,
    *,
    game: Game[Any] | None = None,
    baseline: RoleBaseline | None = None,
    objective: Objective | None = None,
    advantage: str = "rae",
    gamma: float = 1.0,
    lam: float = 0.95,
    groups: str = "prompt",
    width: int = 4,
    rollouts: int = 1,
    scale: bool = True,
    soft: bool = False,
    threshold: float = 0.0,
    turn_decay: float | None = None,
) -> Rule:
    """Return an update rule over a learner; what is minimised must be of the kind of `make_objective(name)`.

    Args:
        name: one of `RULES`.
        learner: updates the policy.
        game: what is played. Its rewards' range makes win rates of mean outcomes, and spin needs it to ask the policy
            what it would have said; without it win rates count which outcome was better, not by how much.
        baseline: of "rae" and of KTO's labels; None is a fresh one.
        objective: what is minimised; None is the learner's own.
        advantage: of ppo and reinforce: "rae", "critic" (the learner's) or "none" (the reward itself).
        gamma: discount a turn, with a critic.
        lam: lambda of turn-level GAE, with a critic.
        groups: where rules compare replies to one prompt: "prompt" takes identical prompts across games, "state" those
            with the same hidden state too, "branch" plays several continuations from one state.
        width: replies a branched state.
        rollouts: games played out after each of them.
        scale: whether grpo divides by the group's standard deviation.
        soft: whether the targets of pairs are empirical probabilities of being better, not 1.
        threshold: least difference of mean outcomes that makes a pair.
        turn_decay: of rft: later turns of a winner weigh more by 1/turn_decay each; None: all the same.

    Raises ValueError for unknown names, and where the learner lacks a critic that is asked for.
    """
    if name not in RULES:
        raise ValueError(f"unknown update rule {name!r}.{near(name, RULES)}")
    if advantage not in ADVANTAGES:
        raise ValueError(f"unknown advantage {advantage!r}.{near(advantage, ADVANTAGES)}")
    if groups not in BY:
        raise ValueError(f"groups must be one of {', '.join(BY)}, not {groups!r}")
    baseline = baseline or RoleBaseline()
    branched = name in GROUPED and groups == "branch"
    rollouts = rollouts if branched else 1
    span = None if game is None else game.reward_range[1] - game.reward_range[0]

    def grouped(make: Callable[..., Iterable[Any]], **more: Any) -> Callable[[Sequence[Episode]], Iterable[Any]]:
        return lambda episodes: make(forks(episodes, by=groups), **more)

    makers: dict[str, Callable[[Sequence[Episode]], Iterable[Any]]] = {
        **dict.fromkeys(("ppo", "reinforce"), _advantages(advantage, learner, baseline, gamma, lam)),
        **dict.fromkeys(("dpo", "ipo", "hinge"), grouped(pairs, threshold=threshold, soft=soft, span=span)),
        "grpo": grouped(group_samples, scale=scale),
        "rloo": grouped(leave_one_out_samples, rollouts=rollouts),
        "sppo": grouped(rated, span=span),
        # Gaps of one state and of one prompt would be added up as equals, although luck makes the latter far noisier.
        "rebel": lambda episodes: gaps(forks(episodes, by=groups, alone=False)),
        "kto": lambda episodes: labelled(samples(episodes, baseline), by_size=True),
        "rft": lambda episodes: winners(episodes, decay=turn_decay),
        "spin": lambda episodes: _demonstrated(learner, game, episodes),
    }
    make = makers[name]
    only_whole = branched and name == "rloo"

    def learn(episodes: Sequence[Episode]) -> Report:
        kept = whole_samples(episodes, rollouts=rollouts) if only_whole else episodes
        items = list(make(kept))
        # Where every outcome was the same there may be no pair and no winner.
        report: Report = learner.update(items, objective) if items else {"turns": 0}
        left_out = len(episodes) - len(kept)
        return {**report, "games_left_out": left_out} if left_out else report

    return Rule(
        learner=learner,
        learn=learn,
        width=width if branched else 0,
        rollouts=rollouts,
    )


def _advantages(
    advantage: str, learner: Learner, baseline: RoleBaseline, gamma: float, lam: float
) -> Callable[[Sequence[Episode]], Iterable[Any]]:
    if advantage == "rae":
        return lambda episodes: samples(episodes, baseline)
    if advantage == "none":
        return lambda episodes: samples(episodes, None)
    critic = learner.critic
    if critic is None:
        raise ValueError("advantage 'critic' needs a critic; make the learner with critic=Critic(agent)")
    return lambda episodes: critic_samples(episodes, critic, gamma=gamma, lam=lam)


def _demonstrated(learner: Learner, game: Game[Any] | None, episodes: Sequence[Episode]) -> Iterable[Any]:
    """Pair the opponent's moves with the policy's own replies to the same prompts."""
    if game is None:
        raise ValueError("spin samples replies of its own; give make_rule the game")
    shown = list(demonstrations(learner.agent, episodes, player=1))
    if not shown:
        raise ValueError("spin needs somebody to learn from: set an opponent other than the policy itself")
    seed = mix(learner.seed, learner.updates)
    return spin_pairs(shown, own_replies(learner.agent, game, episodes, player=1, seed=seed))
