"""The acceptance gate: a candidate takes the policy's place only if it is better and has forgotten nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .skills import Scores

ROUNDING = 1e-9
"""What a drop may be larger than the margin: 0.8 - 0.7 is not quite 0.1."""


class Admission(NamedTuple):
    """What the gate says of a candidate."""

    accepted: bool
    why: str
    """In words, with the figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Compares two policies on the same fresh tasks."""

    margin: float = 0.1
    """How far a skill may drop, in accuracy."""
    gain: float = 0.0
    """What the mean of all skills must gain, more than."""

    def judge(self, before: Scores, after: Scores) -> Admission:
        """Return whether the candidate is let in. Raises ValueError where the two were not asked the same skills."""
        if before.right.keys() != after.right.keys():
            raise ValueError("the two were probed on different skills; probe both with one curriculum and number")
        drops = {skill: before.accuracy(skill) - after.accuracy(skill) for skill in before.right}
        skill, most = max(drops.items(), key=lambda item: item[1])
        # Written so that NaN is never let in.
        if not most <= self.margin + ROUNDING:
            return Admission(False, f"{skill} drops by {most:.3f}, more than {self.margin:g}")
        gained = after.mean - before.mean
        if not gained > self.gain:
            return Admission(False, f"the mean of all skills gains {gained:+.3f}, not more than {self.gain:g}")
        return Admission(
            True, f"the mean of all skills gains {gained:+.3f}; no skill drops by more than {max(most, 0):.3f}"
        )
