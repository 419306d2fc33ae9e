"""The guard: watches a run's metrics every update, and warns, rolls back or stops when they go where none should.

Chosen: rules are plain data, a metric against a bound that is fixed or hangs on the run's own start, recent median or
best; several updates in a row must break it. Left out: keeping the weights, which is the caller's, see `LastGood`.

    guard = Guard(default_rules())
    good = LastGood(copy_of(everything))                    # weights, optimizer, baselines: all but the counters
    for update, metrics in ...:                             # the metrics of the games and of the update from them
        verdict = guard.check(update, metrics)
        if verdict.action == "rollback":
            put_back(good.back())                           # not the games: new ones are played
            guard.rolled_back()                             # from now on lr = schedule * guard.step_factor
        elif verdict.action == "stop":
            put_back(good.back())
            break
        elif guard.is_good:
            good.vouch(copy_of(everything))

An update's metrics speak of the policy that it started from, not yet of the one that it made. So a copy is trusted only
once `good_after` quiet updates have followed it; until then `LastGood` holds it next to the one trusted before.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from .episode import Episode
from .guard_rules import ANY, Action, GuardRule, Reference, Unit, default_rules, read_rules

__all__ = [
    "Action",
    "Guard",
    "GuardRule",
    "LastGood",
    "Reference",
    "Unit",
    "Verdict",
    "default_rules",
    "read_rules",
    "vital_signs",
]

T = TypeVar("T")

RECENT = 50
"""Values that a median is taken of."""
_GRAVITY = list(Action)


class Verdict(NamedTuple):
    """What the guard says of an update."""

    action: Action
    """The gravest of what fired."""
    rule: GuardRule | None
    """The rule that asks for it; None if none fired."""
    message: str
    """What was seen, the bound, and what is to be done; of all rules that fired, the gravest first."""


class LastGood(Generic[T]):
    """Keeps two copies of a run's state: one that is trusted, and a later one that is still to prove itself.

    What `back` returns is kept, for it may be needed again: copy out of it, do not train on it.
    """

    def __init__(self, good: T, candidate: T | None = None) -> None:
        """Start from the state before the first update, trusted for want of an earlier one, or from both copies."""
        self.good = good
        self.candidate = good if candidate is None else candidate

    def vouch(self, state: T) -> None:
        """Trust the candidate, and take `state` for the next one. Call it when `Guard.is_good`."""
        self.good, self.candidate = self.candidate, state

    def back(self) -> T:
        """Return the trusted state; the candidate is given up."""
        self.candidate = self.good
        return self.good


@dataclass(slots=True)
class _Past:
    """What is remembered of a metric; finite values only."""

    count: int = 0
    first: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    best: float = -math.inf

    def add(self, value: float, *, longest: int) -> None:
        """Take a value in; the first `longest` are kept for good."""
        self.count += 1
        self.first += [value] if len(self.first) < longest else []
        self.recent = [*self.recent[1 - RECENT :], value]
        self.best = max(self.best, value)

    def reference(self, rule: GuardRule) -> float:
        """Return what the bounds of a rule are relative to."""
        if rule.reference is Reference.BEST:
            return self.best
        values = self.recent if rule.reference is Reference.MEDIAN else self.first[: rule.warmup]
        return statistics.median(values)


class Guard:
    """Holds metrics against rules, update by update."""

    def __init__(
        self,
        rules: Iterable[GuardRule],
        *,
        shrink: float = 0.5,
        max_rollbacks: int = 5,
        good_after: int = 5,
        turn: str = "update",
    ) -> None:
        """Watch by `rules`.

        Args:
            rules: see `default_rules` and `read_rules`.
            shrink: factor on the step after each rollback; above 0 and at most 1.
            max_rollbacks: rollbacks after which the next one is a stop instead.
            good_after: updates in a row without any sign of trouble that make a state good. Trouble is a value that
                is not finite, or one that breaks a rule to roll back or stop, whether or not the rule has fired yet.
            turn: what messages call that which is judged.
        """
        if not 0 < shrink <= 1 or max_rollbacks < 0 or good_after < 1:
            raise ValueError(
                f"shrink must lie in (0, 1], max_rollbacks be 0 or more and good_after 1 or more, not {shrink}, "
                f"{max_rollbacks} and {good_after}"
            )
        self.rules = tuple(rules)
        self.shrink = shrink
        self.max_rollbacks = max_rollbacks
        self.good_after = good_after
        self.turn = turn
        self.rollbacks = 0
        """Rollbacks so far."""
        self._quiet = 0
        self._streaks = [0] * len(self.rules)
        # Apart from the past, which a rollback takes back.
        self._seen: set[str] = set()
        self._past: dict[str, _Past] = {}
        # The past as it was when the caller's two copies were taken: a rollback takes the guard back too.
        self._kept = LastGood(copy.deepcopy(self._past))

    @property
    def step_factor(self) -> float:
        """What the learning rate is to be multiplied with: `shrink` once a rollback."""
        return float(self.shrink**self.rollbacks)

    @property
    def is_good(self) -> bool:
        """Whether `good_after` quiet updates have passed since the last candidate: time for `LastGood.vouch`."""
        return self._quiet > 0 and self._quiet % self.good_after == 0

    @property
    def unseen(self) -> tuple[str, ...]:
        """Metrics that rules are about and that were never reported: misspelt, or not measured."""
        return tuple(sorted({rule.metric for rule in self.rules if rule.metric != ANY} - self._seen))

    def begin(self, metrics: Mapping[str, float]) -> None:
        """Take note of what was measured before the first update; a collapse within a few is only seen against that."""
        self._remember(metrics)
        self.trust()

    def trust(self) -> None:
        """Take the present state for the good one, where what was judged is the state itself, not the one before it."""
        self._kept = LastGood(copy.deepcopy(self._past))

    def check(self, update: int, metrics: Mapping[str, float]) -> Verdict:
        """Judge the metrics of an update; those that it lacks are not judged. Call it once an update.

        A warning is given once while trouble lasts, the graver verdicts again and again until it is over.
        """
        fired, self._streaks = self._judge(metrics)
        self._remember(metrics)
        self._count(metrics)
        return self._verdict(update, fired)

    def foresees(self, metrics: Mapping[str, float]) -> bool:
        """Whether `check` would ask for a rollback or a stop; takes note of nothing.

        For what comes later in an update and wants a sound policy, as measuring it does.
        """
        return any(rule.action is not Action.WARN for rule, _ in self._judge(metrics)[0])

    def _judge(self, metrics: Mapping[str, float]) -> tuple[list[tuple[GuardRule, str]], list[int]]:
        """Return the rules that fire, each with what it sees, and the streaks of all."""
        fired: list[tuple[GuardRule, str]] = []
        streaks = list(self._streaks)
        for number, rule in enumerate(self.rules):
            if rule.metric != ANY and rule.metric not in metrics:
                continue
            trouble = _non_finite(metrics) if rule.metric == ANY else self._trouble(rule, metrics[rule.metric])
            streaks[number] = streak = streaks[number] + 1 if trouble else 0
            if trouble and (streak == rule.patience or (streak > rule.patience and rule.action != Action.WARN)):
                row = f", {streak} times in a row" if streak > 1 else ""
                fired.append((rule, f"{trouble}{row}{f', by the rule {rule.name}' if rule.name else ''}"))
        return fired, streaks

    def rolled_back(self) -> None:
        """Take note that the caller has gone back to its last good state, as a verdict asked for."""
        self.rollbacks += 1
        self.gone_back()

    def gone_back(self) -> None:
        """Forget what was judged since the last good state: the caller has gone back there for reasons of its own."""
        self._quiet = 0
        self._streaks = [0] * len(self.rules)
        self._past = copy.deepcopy(self._kept.back())

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as plain data."""
        return {
            "rollbacks": self.rollbacks,
            "quiet": self._quiet,
            "streaks": [[rule.plain(), streak] for rule, streak in zip(self.rules, self._streaks, strict=True)],
            "seen": sorted(self._seen),
            "past": _plain(self._past),
            "good": _plain(self._kept.good),
            "candidate": _plain(self._kept.candidate),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned. Rules may have been changed since; a changed one starts afresh."""
        self.rollbacks, self._quiet = state["rollbacks"], state["quiet"]
        streaks = dict(zip((GuardRule(**rule) for rule, _ in state["streaks"]), state["streaks"], strict=True))
        self._streaks = [streaks[rule][1] if rule in streaks else 0 for rule in self.rules]
        self._seen = set(state["seen"])
        self._past = _from_plain(state["past"])
        self._kept = LastGood(_from_plain(state["good"]), _from_plain(state["candidate"]))

    def _trouble(self, rule: GuardRule, value: float) -> str | None:
        """Return how a value breaks a rule, None if it does not."""
        if not math.isfinite(value):
            return f"{rule.metric} is {value}"
        past = self._past.get(rule.metric, _Past())
        if past.count < rule.warmup:
            return None
        reference = 0.0 if rule.unit is Unit.VALUE else past.reference(rule)
        if rule.unit is Unit.TIMES and reference <= 0:
            return None
        for side, number in (("above", rule.above), ("below", rule.below)):
            if number is None:
                continue
            bound = number * reference if rule.unit is Unit.TIMES else number + reference
            if value > bound if side == "above" else value < bound:
                return f"{rule.metric} {value:.4g} is {side} {bound:.4g}{_explained(rule, number, reference)}"
        return None

    def _remember(self, metrics: Mapping[str, float]) -> None:
        self._seen |= metrics.keys()
        longest = max((rule.warmup for rule in self.rules), default=0)
        for name, value in metrics.items():
            past = self._past.setdefault(name, _Past())
            if math.isfinite(value):
                past.add(float(value), longest=longest)

    def _count(self, metrics: Mapping[str, float]) -> None:
        """Count quiet updates; at every `good_after` of them, remember the past with the caller's copies."""
        grave = any(s and rule.action != Action.WARN for rule, s in zip(self.rules, self._streaks, strict=True))
        self._quiet = 0 if grave or _non_finite(metrics) else self._quiet + 1
        if self.is_good:
            self._kept.vouch(copy.deepcopy(self._past))

    def _verdict(self, update: int, fired: list[tuple[GuardRule, str]]) -> Verdict:
        if not fired:
            return Verdict(Action.GO_ON, None, "")
        fired.sort(key=lambda pair: -_GRAVITY.index(pair[0].action))
        rule = fired[0][0]
        action, deed = rule.action, "stopping"
        if action is Action.WARN:
            deed = "going on"
        elif action is Action.ROLLBACK and self.rollbacks >= self.max_rollbacks:
            action, deed = Action.STOP, f"stopping, for all {self.max_rollbacks} rollbacks are spent"
        elif action is Action.ROLLBACK:
            deed = f"back to the last good state, with the step at {self.step_factor * self.shrink:.4g} of what was set"
        return Verdict(action, rule, f"{self.turn} {update}: {'; '.join(text for _, text in fired)}: {deed}")


def vital_signs(episodes: Iterable[Episode]) -> dict[str, float]:
    """Return the metrics of games that only the guard asks for.

    `reply_tokens` is the mean length of the replies of agent 0. `seat_skew` is the share of games in which seat 0 got
    more than seat 1, less the share in which it got less: -1 to 1. Some of it may be the game's own, and good play may
    have more of it than the start's (in Connect Four the first seat can always win).
    """
    episodes = tuple(episodes)
    lengths = [len(turn.reply.ids) for episode in episodes for turn in episode.turns if turn.player == 0]
    skew = sum((e.rewards[0] > e.rewards[1]) - (e.rewards[0] < e.rewards[1]) for e in episodes)
    return {"reply_tokens": sum(lengths) / max(len(lengths), 1), "seat_skew": skew / max(len(episodes), 1)}


def _non_finite(metrics: Mapping[str, float]) -> str | None:
    found = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
    return ", ".join(found) or None


def _explained(rule: GuardRule, number: float, reference: float) -> str:
    """Return where a bound comes from."""
    if rule.unit is Unit.VALUE:
        return ""
    how = f"{number:g} times" if rule.unit is Unit.TIMES else f"{number:+g} from"
    return f" ({how} its {rule.reference}, {reference:.4g})"


def _plain(past: dict[str, _Past]) -> dict[str, Any]:
    return {name: [kept.count, list(kept.first), list(kept.recent), kept.best] for name, kept in past.items()}


def _from_plain(past: dict[str, Any]) -> dict[str, _Past]:
    return {name: _Past(count, list(first), list(recent), best) for name, (count, first, recent, best) in past.items()}
