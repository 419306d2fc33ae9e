"""What a judge is asked and what it answers: two frozen records and a protocol of one batched method.

Judges themselves are players of a kind and stand in `sparring.agents`; a game only says what is to be decided and
what follows from a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable


class Statement(NamedTuple):
    """What a seat said, as a judge is shown it."""

    seat: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two answers to a question and what was said for them: all that a judge may know."""

    question: str
    answers: tuple[str, str]
    """What seat 0 and seat 1 stand for."""
    statements: tuple[Statement, ...] = ()
    """In the order in which they were made."""
    unordered: bool = False
    """Whether the two statements of a round were made without knowledge of each other, so that their order says
    nothing and a judge may be shown them the other way round."""
    evidence: str = ""
    """What the judge may read besides, which is true: a passage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge decided."""

    p: float = 0.5
    """Probability that the answer of seat 0 is right, 0 to 1."""
    abstained: bool = False
    """Whether the judge would not say; `p` is 0.5 then."""
    void: str = ""
    """Why there is no verdict at all; empty where there is one."""

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is a probability, from 0 to 1, not {self.p}")


@runtime_checkable
class Judge(Protocol):
    """Whoever decides cases."""

    name: str

    def judge(self, cases: Sequence[Case]) -> Sequence[Verdict]:
        """Return one verdict a case, in order. A judge that fails says so in `Verdict.void` and does not raise."""
        ...


def decide(judge: Judge, cases: Sequence[Case]) -> list[Verdict]:
    """Return a judge's verdicts, void ones where it raises or does not give one verdict a case.

    Cases of a call that fails are asked again one by one, so that one of them cannot spoil the others.
    """
    try:
        verdicts = list(judge.judge(cases))
        if len(verdicts) != len(cases) or not all(isinstance(verdict, Verdict) for verdict in verdicts):
            raise ValueError(f"it did not give one verdict a case: {len(verdicts)} to {len(cases)}")
    except Exception as error:  # noqa: BLE001 (somebody's own code)
        if len(cases) > 1:
            return [verdict for case in cases for verdict in decide(judge, [case])]
        return [Verdict(void=f"{judge.name} failed: {type(error).__name__}: {error}"[:300])]
    return verdicts


@runtime_checkable
class ReportingJudge(Judge, Protocol):
    """A judge that keeps counts."""

    def report(self) -> Mapping[str, float]:
        """Return what it counted since it was last asked to report: cases, abstentions, biases."""
        ...
