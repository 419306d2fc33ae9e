"""How autonomous a run of self-evolution is, in the words of Tao et al. 2024 (arXiv 2404.14387).

Chosen: only tasks, judging and the objective count as elements of medium autonomy; that a policy gives the answers that
it learns from is so in all of reinforcement learning. Left out: degrees of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .evolve import Method

MODULES = ("tasks", "solutions", "feedback", "refinement", "update", "evaluation", "objective")
"""What the survey says a loop is made of; each is fixed by the user or set by the model."""
ELEMENTS = ("tasks", "feedback", "objective")
"""Those that are of medium autonomy where the model sets them."""
FIXED = "fixed by the user"


def autonomy(methods: Iterable[Method], *, is_adaptive: bool) -> tuple[str, dict[str, str]]:
    """Return how autonomous a run is, in the survey's words, and who sets each module, by which methods if several.

    Low: the user sets the objective and all modules. Medium: the user sets the objective only. High: the model sets
    that too. Where a model sets some of `ELEMENTS` it is called low with medium elements: no more is claimed than is
    so.
    """
    methods = list(methods)
    said: dict[str, list[str]] = {module: [] for module in MODULES}
    for method in methods:
        for module, how in method.modules.items():
            said[module].append(f"{how} ({method.name})" if len(methods) > 1 else how)
    found = {module: f"set by the model: {'; '.join(words)}" if words else FIXED for module, words in said.items()}
    if is_adaptive:
        found["objective"] = "; ".join(["weights of the user's skills are set by the evaluation", *said["objective"]])
    free = [module for module in ELEMENTS if found[module] != FIXED]
    return f"low, with medium elements ({', '.join(free)})" if free else "low", found
