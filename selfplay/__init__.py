"""How playing changes the policy, and how that is measured. torch is imported only when something learns."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .advantage import RoleBaseline, Sample, samples
from .branch import branch
from .episode import Episode, Turn, counted, mean_figures
from .exploitability import Exploitability, OptimalLosses, Outcomes, exploitability, losses_to_optimal
from .forks import Fork, forks, group_samples, leave_one_out_samples, whole_samples
from .gae import critic_samples
from .pairs import (
    Gap,
    Labelled,
    Pair,
    Rated,
    Weighted,
    demonstrations,
    gaps,
    labelled,
    pairs,
    rated,
    spin_pairs,
    winners,
)
from .play import play
from .sampled import Estimate, SampledExploitability, sampled_exploitability

if TYPE_CHECKING:
    from .critic import Critic
    from .guard import Guard, GuardRule, LastGood, Verdict, default_rules, vital_signs
    from .imitation import Imitation
    from .learner import Learner
    from .policy_gradient import PolicyGradient
    from .pool import OpponentPool
    from .preference import Preference, RelativeReward, SelfPlayPreference, UnpairedPreference
    from .rules import Rule, make_objective, make_rule
    from .run import Run
    from .settings import Settings
    from .snapshots import AdapterSnapshots, CopySnapshots
    from .training import Anneal, Generation, self_play, warm_start

__all__ = [
    "AdapterSnapshots",
    "Anneal",
    "CopySnapshots",
    "Critic",
    "Episode",
    "Estimate",
    "Exploitability",
    "Fork",
    "Gap",
    "Generation",
    "Guard",
    "GuardRule",
    "Imitation",
    "Labelled",
    "LastGood",
    "Learner",
    "OpponentPool",
    "OptimalLosses",
    "Outcomes",
    "Pair",
    "PolicyGradient",
    "Preference",
    "Rated",
    "RelativeReward",
    "RoleBaseline",
    "Rule",
    "Run",
    "Sample",
    "SampledExploitability",
    "SelfPlayPreference",
    "Settings",
    "Turn",
    "UnpairedPreference",
    "Verdict",
    "Weighted",
    "branch",
    "counted",
    "critic_samples",
    "default_rules",
    "demonstrations",
    "exploitability",
    "forks",
    "gaps",
    "group_samples",
    "labelled",
    "leave_one_out_samples",
    "losses_to_optimal",
    "make_objective",
    "make_rule",
    "mean_figures",
    "pairs",
    "play",
    "rated",
    "sampled_exploitability",
    "samples",
    "self_play",
    "spin_pairs",
    "vital_signs",
    "warm_start",
    "whole_samples",
    "winners",
]

_LAZY = {
    "AdapterSnapshots": ".snapshots",
    "Anneal": ".training",
    "CopySnapshots": ".snapshots",
    "Critic": ".critic",
    "Generation": ".training",
    "Guard": ".guard",
    "GuardRule": ".guard",
    "Imitation": ".imitation",
    "LastGood": ".guard",
    "Learner": ".learner",
    "OpponentPool": ".pool",
    "PolicyGradient": ".policy_gradient",
    "Preference": ".preference",
    "RelativeReward": ".preference",
    "Rule": ".rules",
    "Run": ".run",
    "SelfPlayPreference": ".preference",
    "Settings": ".settings",
    "UnpairedPreference": ".preference",
    "Verdict": ".guard",
    "default_rules": ".guard",
    "make_objective": ".rules",
    "make_rule": ".rules",
    "self_play": ".training",
    "vital_signs": ".guard",
    "warm_start": ".training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
