"""How playing changes the policy, and how that is measured. torch is imported only when something learns."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .advantage import RoleBaseline, Sample, samples
from .episode import Episode, Turn
from .exploitability import Exploitability, OptimalLosses, Outcomes, exploitability, losses_to_optimal
from .play import play
from .sampled import Estimate, SampledExploitability, sampled_exploitability

if TYPE_CHECKING:
    from .learner import Learner, UpdateReport
    from .training import Anneal, Generation, self_play, warm_start

__all__ = [
    "Anneal",
    "Episode",
    "Estimate",
    "Exploitability",
    "Generation",
    "Learner",
    "OptimalLosses",
    "Outcomes",
    "RoleBaseline",
    "Sample",
    "SampledExploitability",
    "Turn",
    "UpdateReport",
    "exploitability",
    "losses_to_optimal",
    "play",
    "sampled_exploitability",
    "samples",
    "self_play",
    "warm_start",
]

_LAZY = {
    "Anneal": ".training",
    "Generation": ".training",
    "Learner": ".learner",
    "UpdateReport": ".learner",
    "self_play": ".training",
    "warm_start": ".training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
