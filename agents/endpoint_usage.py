"""What a player on a server has used: counted while it plays, read as a frozen record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .endpoint_answer import Answer, Failure, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was asked, and what it cost."""

    prompts: int
    """Prompts that were to be answered: `answers` and all `faults` together."""
    requests: int
    """Requests sent, those that were sent again included."""
    retries: int
    """Requests that were sent again."""
    answers: int
    truncated: int
    """Answers that the limit on tokens ended."""
    refusals: int
    """Answers that the server marked as refusals."""
    faults: dict[str, int]
    """Prompts without an answer, by reason: a value of `Fault` each."""
    prompt_tokens: int
    completion_tokens: int
    """As the servers counted them, reasoning included."""
    uncounted: int
    """Answers whose tokens no server counted believably: with any, tokens and cost are too low."""
    cost: float | None
    """Of these tokens, in the currency of the prices; None without prices."""
    seconds: float
    """Spent in `reply`."""

    def __str__(self) -> str:
        """Say it in a line."""
        faults = ", ".join(f"{count} {reason}" for reason, count in self.faults.items()) or "none"
        least = "at least " if self.uncounted else ""
        parts = [
            f"{self.answers} answers in {self.requests} requests ({self.retries} retries)",
            f"faults: {faults}",
            f"{least}{self.prompt_tokens}+{self.completion_tokens} tokens",
            f"{self.seconds:.1f} s",
        ]
        return "; ".join(parts if self.cost is None else [*parts, f"{least}{self.cost:.4f} to pay"])


def cost_of(tokens: tuple[int, int], prices: tuple[float, float] | None) -> float | None:
    """Return what tokens of prompts and of completions cost, at prices of a million of each; None without prices.

    >>> cost_of((1_000_000, 500_000), (0.5, 2.0)), cost_of((12, 3), None)
    (1.5, None)
    """
    return None if prices is None else (tokens[0] * prices[0] + tokens[1] * prices[1]) / 1e6


@dataclass(slots=True)
class Tally:
    """Counts as they stand; written from one thread."""

    requests: int = 0
    retries: int = 0
    answers: int = 0
    truncated: int = 0
    refusals: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    seconds: float = 0.0

    def heard(self, outcome: Answer | Failure) -> None:
        """Count what one request came to."""
        if outcome.tokens is not None:
            self.prompt_tokens += outcome.tokens[0]
            self.completion_tokens += outcome.tokens[1]

    def ended(self, outcome: Answer | Failure) -> None:
        """Count what one prompt came to."""
        if isinstance(outcome, Failure):
            self.faults[outcome.fault] += 1
            return
        self.answers += 1
        self.truncated += outcome.truncated
        self.refusals += outcome.refused
        self.uncounted += outcome.tokens is None

    def usage(self, prices: tuple[float, float] | None) -> Usage:
        """Return the record; prices are of a million tokens of prompts and of completions."""
        return Usage(
            prompts=self.answers + self.faults.total(),
            requests=self.requests,
            retries=self.retries,
            answers=self.answers,
            truncated=self.truncated,
            refusals=self.refusals,
            faults={fault.value: self.faults[fault] for fault in Fault if self.faults[fault]},
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            uncounted=self.uncounted,
            cost=cost_of((self.prompt_tokens, self.completion_tokens), prices),
            seconds=self.seconds,
        )
