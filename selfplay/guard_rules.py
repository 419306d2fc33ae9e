"""The rules of the guard: which metric may not go where, and what is done if it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from sparring.envs import near

METRICS = {
    "clipped": "share of tokens whose ratio was clipped",
    "entropy": "nats a token",
    "forfeits": "share of games forfeited",
    "grad_norm": "before it is shortened",
    "illegal_rate": "share of replies that are no legal move",
    "kl": "nats a token, to the lagged copy",
    "kl_start": "nats a token, to the policy that the run started from",
    "largest_weight": "largest |weight| of those that are trained",
    "loss": "of the update",
    "mismatch": "largest |log p of the learner - log p of the sampler|, nats",
    "reply_tokens": "tokens a reply",
    "reward_first_seat": "mean reward of seat 0",
    "seat_skew": "share of games that seat 0 wins less the share that seat 1 wins",
    "strength": "score against frozen references, higher is better: 0 loses all, 1 wins all",
    "turns_a_game": "turns of both seats",
    "valid": "share of proposals that are tasks",
    "wrong_spread": "distinct answers to a prompt beyond the first, over the share of wrong answers",
}
"""The metrics that rules read from plain data may be about, and what each is."""
ANY = "any"
"""In place of a metric: all that are reported, which must be finite."""


class Action(StrEnum):
    """What a verdict asks for, in order of gravity."""

    GO_ON = "go on"
    WARN = "warn"
    ROLLBACK = "rollback"
    STOP = "stop"


class Unit(StrEnum):
    """What a rule's bounds are in."""

    VALUE = "value"
    """The metric's own."""
    TIMES = "times"
    """Multiples of the reference; not judged while that is not above 0."""
    PLUS = "plus"
    """Difference to the reference."""


class Reference(StrEnum):
    """What relative bounds are relative to."""

    START = "start"
    """Median of the metric's first `warmup` values."""
    MEDIAN = "median"
    """Median of its last 50 values."""
    BEST = "best"
    """Its highest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRule:
    """A metric, its bounds, and what happens beyond them. Raises ValueError for a rule that can never be judged."""

    metric: str
    """Its name, or "any" for a rule that all metrics must be finite."""
    action: Action
    """Done when the rule fires: warn, rollback or stop."""
    above: float | None = None
    """Values above this break the rule; None: no such bound."""
    below: float | None = None
    """Values below this break the rule; None: no such bound."""
    unit: Unit = Unit.VALUE
    """Of both bounds."""
    reference: Reference = Reference.START
    """Of units other than "value"."""
    patience: int = 1
    """Values in a row that must break the rule before it fires. A value that is not finite breaks every rule."""
    warmup: int = 1
    """Values of the metric that come before the first that is judged."""
    name: str = ""
    """What it is called in messages and settings; "" for one without a name."""

    def __post_init__(self) -> None:
        """Take names for the enums, so that rules can be written as plain data."""
        for name, kind in (("action", Action), ("unit", Unit), ("reference", Reference)):
            object.__setattr__(self, name, _named(kind, getattr(self, name), name))
        bounds = [bound for bound in (self.above, self.below) if bound is not None]
        if self.action is Action.GO_ON:
            raise ValueError(f"a rule about {self.metric} must warn, rollback or stop")
        if (self.metric == ANY) == bool(bounds):
            raise ValueError(f"a rule about {self.metric} must have {'no bound' if bounds else 'above, below or both'}")
        if any(bound != bound for bound in bounds):
            raise ValueError(f"a rule about {self.metric} has nan for a bound, which nothing breaks")
        least = 0 if self.unit is Unit.VALUE else 1
        if self.patience < 1 or self.warmup < least:
            raise ValueError(
                f"a rule about {self.metric} has patience {self.patience} and warmup {self.warmup}: at least 1 and "
                f"{least}, for a bound relative to the run itself needs a value to start from"
            )

    def plain(self) -> dict[str, Any]:
        """Return the rule as plain data, for `read_rules`."""
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in asdict(self).items()}


def read_rules(data: Iterable[Mapping[str, Any]], *, metrics: Iterable[str] = METRICS) -> tuple[GuardRule, ...]:
    """Return rules from plain data, as YAML holds them.

    >>> read_rules([{"metric": "entorpy", "action": "warn", "below": 0.1}])
    Traceback (most recent call last):
    ...
    ValueError: a guard rule is about the unknown metric 'entorpy'. Did you mean 'entropy'?

    Raises ValueError, naming what is near, for an unknown metric, setting, action, unit or reference.
    """
    return tuple(_read(entry, {*metrics, ANY}) for entry in data)


def _read(entry: Mapping[str, Any], metrics: set[str]) -> GuardRule:
    if not isinstance(entry, Mapping) or not {"metric", "action"} <= entry.keys():
        raise ValueError(f"a guard rule needs a metric and an action: {entry!r}")
    known = [field.name for field in fields(GuardRule)]
    for key, value in entry.items():
        if key not in known:
            raise ValueError(f"a guard rule has the unknown setting {key!r}.{near(str(key), known)}")
        if key in _KINDS and (isinstance(value, bool) or not isinstance(value, _KINDS[key])):
            raise ValueError(f"{key} of a guard rule must be a number, not {value!r}; YAML reads 0.001, not 1e-3")
    if entry["metric"] not in metrics:
        raise ValueError(
            f"a guard rule is about the unknown metric {entry['metric']!r}.{near(entry['metric'], metrics)}"
        )
    return GuardRule(**entry)


_KINDS: dict[str, Any] = {"above": int | float | None, "below": int | float | None, "patience": int, "warmup": int}


def _named(kind: type[StrEnum], value: str, name: str) -> StrEnum:
    known = [str(member) for member in kind if member is not Action.GO_ON]
    if value not in [str(member) for member in kind]:
        raise ValueError(f"a guard rule has the unknown {name} {value!r}.{near(str(value), known)}")
    return kind(value)


def _defaults() -> dict[str, GuardRule]:
    """Return the default rules by name; the name's last word says which way the metric may not go.

    Measured in tic-tac-toe runs of the tiny model: in those that learned, entropy stayed above 0.29 of its start and
    the skew within 0.25 of its start; the one that collapsed came to about 0.1 and 0.6.
    """
    warn, rollback = Action.WARN, Action.ROLLBACK
    # The first update's metrics are those of the policy as it started. Too large a step ruins it within three.
    start = {"unit": Unit.TIMES, "patience": 3, "warmup": 1}
    median = start | {"reference": Reference.MEDIAN, "warmup": 3}
    shift = start | {"unit": Unit.PLUS}
    best = {"unit": Unit.PLUS, "reference": Reference.BEST, "patience": 2}
    skew = shift | {"metric": "seat_skew", "warmup": 3}
    rules: dict[str, dict[str, Any]] = {
        "finite": {"metric": ANY, "action": rollback, "warmup": 0},
        "illegal_rise": shift | {"metric": "illegal_rate", "action": rollback, "above": 0.25},
        "entropy_low": start | {"metric": "entropy", "action": warn, "below": 0.25},
        # Collapsed: what is never sampled any more cannot be learned from.
        "entropy_floor": start | {"metric": "entropy", "action": rollback, "below": 0.15},
        # Babble.
        "entropy_ceiling": start | {"metric": "entropy", "action": rollback, "above": 3.0},
        "length_low": start | {"metric": "reply_tokens", "action": warn, "below": 0.2},
        "length_ceiling": start | {"metric": "reply_tokens", "action": rollback, "above": 3.0},
        "kl_high": {"metric": "kl_start", "action": warn, "above": 5.0, "patience": 3},
        "kl_ceiling": {"metric": "kl_start", "action": rollback, "above": 15.0, "patience": 3},
        # Only warnings: under good play a game may favour a seat more than it did at the start.
        "skew_rise": skew | {"action": warn, "above": 0.4},
        "skew_drop": skew | {"action": warn, "below": -0.4},
        "grad_norm_high": median | {"metric": "grad_norm", "action": warn, "above": 10.0},
        "grad_norm_ceiling": median | {"metric": "grad_norm", "action": rollback, "above": 100.0},
        "strength_drop": best | {"metric": "strength", "action": rollback, "below": -0.1},
    }
    return {name: GuardRule(**settings, name=name) for name, settings in rules.items()}


DEFAULTS = _defaults()
"""The rules that `default_rules` starts from, by name."""


def default_rules(**bounds: float | None) -> tuple[GuardRule, ...]:
    """Return rules for what goes wrong in self-play, with other bounds for some by name, or without those set to None.

    A metric that is not reported is not judged. Where good play is deterministic, as in Nim, entropy may fall without
    harm: `default_rules(entropy_low=None, entropy_floor=None)`. Raises ValueError for a name that is not in `DEFAULTS`.

    >>> [rule.below for rule in default_rules(entropy_floor=0.05) if rule.metric == "entropy"]
    [0.25, 0.05, None]
    """
    rules = dict(DEFAULTS)
    for name, bound in bounds.items():
        rule = _called(name)
        if bound is None:
            del rules[name]
        else:
            rules[name] = _with_bound(rule, bound)
    return tuple(rules.values())


def only_warning(rules: Mapping[str, GuardRule]) -> dict[str, GuardRule]:
    """Return rules that warn and do no more, but for that all must be finite, which stays as it is."""
    return {name: rule if rule.metric == ANY else replace(rule, action=Action.WARN) for name, rule in rules.items()}


def changed_rules(words: Iterable[str], rules: Mapping[str, GuardRule] = DEFAULTS) -> tuple[GuardRule, ...]:
    """Return rules with other bounds or actions for some, as words of a command line say, or without them.

    Words: `kl_ceiling=20`, `kl_ceiling=stop`, `kl_ceiling=20:stop`; `kl_ceiling=none` drops the rule.

    >>> [(r.name, r.below, str(r.action)) for r in changed_rules(["entropy_low=0.4:stop"]) if r.name == "entropy_low"]
    [('entropy_low', 0.4, 'stop')]

    Raises ValueError for words that are none of these, a name that is not in `DEFAULTS`, and one that is given twice.
    """
    found = dict(rules)
    given: set[str] = set()
    for word in words:
        name, _, change = word.partition("=")
        bound, action = _read_change(word, change)
        rule = _called(name, rules)
        if name in given:
            raise ValueError(f"guard_rules has {name} twice: write both changes as one, {name}=BOUND:ACTION")
        given.add(name)
        if change == "none":
            del found[name]
            continue
        rule = rule if bound is None else _with_bound(rule, bound)
        found[name] = rule if action is None else replace(rule, action=action)
    return tuple(found.values())


def _read_change(word: str, change: str) -> tuple[float | None, Action | None]:
    """Return the bound and the action of a word's part behind the "="; None for what it leaves as it is."""
    if change == "none":
        return None, None
    number, colon, action = change.partition(":")
    known = [member.value for member in Action if member is not Action.GO_ON]
    if not colon and number in known:
        return None, Action(number)
    try:
        bound = float(number)
    except ValueError:
        syntax = "takes name=number, name=action, name=number:action or name=none"
        raise ValueError(f"guard_rules {syntax}, not {word!r}; actions are {', '.join(known)}") from None
    if colon and action not in known:
        raise ValueError(f"guard_rules has the unknown action {action!r} in {word!r}.{near(action, known)}")
    return bound, Action(action) if colon else None


def _called(name: str, rules: Mapping[str, GuardRule] = DEFAULTS) -> GuardRule:
    if name not in rules:
        raise ValueError(f"no default guard rule is called {name!r}.{near(name, rules)}")
    return rules[name]


def _with_bound(rule: GuardRule, bound: float) -> GuardRule:
    if rule.metric == ANY:
        raise ValueError(f"{rule.name} has no bound: leave it as it is, or set it to None to drop it")
    if rule.above is None and rule.unit is Unit.PLUS and rule.reference is Reference.BEST and bound > 0:
        raise ValueError(
            f"{rule.name} is how far {rule.metric} may lie below its best, so it is 0 or less: write {-bound:g}, "
            f"not {bound:g}"
        )
    return replace(rule, above=bound) if rule.above is not None else replace(rule, below=bound)
