"""What judges count: means of named numbers, since the last report and over all time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sparring.envs import Judge, ReportingJudge


class Counts:
    """Means of named numbers. `take` returns those since it was last called; `mean` is over all time.

    >>> counts = Counts()
    >>> counts.add(agreement=1.0)
    >>> counts.add(agreement=0.0)
    >>> counts.take(), counts.take(), counts.mean("agreement")
    ({'agreement': 0.5}, {}, 0.5)
    """

    def __init__(self) -> None:
        self._recent: dict[str, list[float]] = {}
        self._all: dict[str, list[float]] = {}

    def add(self, **numbers: float) -> None:
        """Count one case's numbers."""
        for kept in (self._recent, self._all):
            for name, number in numbers.items():
                entry = kept.setdefault(name, [0, 0.0])
                entry[0] += 1
                entry[1] += number

    def mean(self, name: str) -> float:
        """Return the mean of a number over all time; 0 if there is none."""
        count, total = self._all.get(name, (0, 0.0))
        return total / count if count else 0.0

    def count(self, name: str) -> int:
        """Return of how many cases a number is known."""
        return int(self._all.get(name, (0, 0.0))[0])

    def take(self) -> dict[str, float]:
        """Return the means since the last call, by name."""
        found = {name: total / count for name, (count, total) in self._recent.items()}
        self._recent = {}
        return found


def reported(judges: Iterable[Judge]) -> dict[str, float]:
    """Return what some judges report, the later ones winning where names are the same."""
    found: dict[str, float] = {}
    for judge in judges:
        found |= dict(report_of(judge))
    return found


def report_of(judge: Judge | None) -> Mapping[str, float]:
    """Return what a judge reports; nothing, of one that keeps no counts."""
    return judge.report() if isinstance(judge, ReportingJudge) else {}
