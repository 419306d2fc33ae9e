"""The guard in the loop of self-evolution: its rules, what they are told of a candidate, and who is let in.

Chosen: a candidate is judged once, when all updates of its generation are taken, and what is gone back to is the policy
before it; so no rule waits for several candidates in a row. Left out: keeping older policies to go back to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sparring.envs import near

from .gate import Admission, Gate
from .guard import Guard, Verdict
from .guard_rules import DEFAULTS, Action, GuardRule, Unit, changed_rules, only_warning
from .learner import Learner
from .skills import Scores

if TYPE_CHECKING:
    from .evolve import Experience

GUARDS = ("default", "warn", "none")
FEW_WRONG = 0.05
"""Share of wrong answers below which how they are spread says nothing."""
SAID = ("valid", "wrong_spread")
"""What is of the policy before the updates, so that to roll those back mends nothing."""
UPDATE = "update/"
"""What the names of what the updates report begin with, among the metrics of a generation."""


def _loop_rules() -> dict[str, GuardRule]:
    """Return the default rules of the loop by name.

    Those of `DEFAULTS` but for bounds on entropy, KL, the seats and the longest gradient. A task with one right answer
    makes a policy that has learned it deterministic, so its entropy falls without harm; and methods that take turns
    learn from replies of different kinds, whose entropies and gradients say little of each other. What harm those would
    foretell, the probe of the candidate sees. The loop does not measure seats, nor KL where no method is held by it.

    Strength is the mean accuracy of a probe and is compared with the best of all generations, each on tasks of its own.
    With one skill, 64 tasks and one answer to each its standard error is up to 0.06, so a drop by 0.1 is mostly luck;
    one by 0.3 happens by luck in one generation of a thousand.
    """
    kept = ("finite", "illegal_rise", "length_low", "length_ceiling", "grad_norm_high", "strength_drop")
    half = GuardRule(metric="valid", action=Action.WARN, below=0.5, unit=Unit.TIMES, name="valid_low")
    return {name: replace(DEFAULTS[name], patience=1) for name in kept} | {
        "strength_drop": replace(DEFAULTS["strength_drop"], patience=1, below=-0.3),
        # A proposer that is paid for what is no task, or is paid below 0 for it until it proposes nothing else.
        "valid_low": half,
        # Wrong answers to a prompt have become one: what most say, right or not.
        "spread_low": replace(half, metric="wrong_spread", name="spread_low"),
    }


LOOP_RULES = _loop_rules()
"""The rules that `loop_guard` starts from, by name."""


def loop_guard(kind: str = "default", words: Iterable[str] = ()) -> Guard | None:
    """Return a guard for `evolve`: "default", "warn" (goes back only from what is not finite), or None for "none".

    `words` change bounds and actions by name, as `changed_rules` reads them. Raises ValueError, naming the near one,
    for a kind and for words that cannot be meant, and for words without a guard.
    """
    if kind not in GUARDS:
        raise ValueError(f"unknown guard {kind!r}.{near(kind, GUARDS)}")
    words = list(words)
    if kind == "none":
        if words:
            raise ValueError("guard_rules does nothing without a guard: set that, or leave it out")
        return None
    rules = only_warning(LOOP_RULES) if kind == "warn" else LOOP_RULES
    changed = changed_rules(words, rules)
    for rule in changed:
        if rule.metric in SAID and rule.action is not Action.WARN:
            raise ValueError(
                f"guard_rules: {rule.name} is of the policy before the updates, so that a {rule.action} mends nothing; "
                "let it warn"
            )
    return Guard(changed, turn="generation")


def measured(scores: Scores) -> dict[str, float]:
    """Return what a probe tells the guard."""
    return {
        "illegal_rate": scores.illegal_rate,
        "reply_tokens": scores.reply_tokens,
        "strength": scores.mean,
    }


def signs(metrics: Mapping[str, float], scores: Scores | None) -> dict[str, float]:
    """Return what the guard judges of a candidate: what its updates reported, what the policy said, and its probe.

    `scores` are None where the candidate's numbers were not finite, so that it could not be asked.
    """
    updates = {name.removeprefix(UPDATE): value for name, value in metrics.items() if name.startswith(UPDATE)}
    return updates | _said(metrics) | ({"logits": math.nan} if scores is None else measured(scores))


def _said(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what a method reports of proposals and of several answers to a prompt.

    Fewer distinct answers are no harm where more are right, for right ones are alike: what counts is how many there are
    beyond the first for each wrong one.
    """
    found = {"valid": metrics["valid"]} if "valid" in metrics else {}
    wrong = 1 - metrics.get("train_accuracy", 1.0)
    if "distinct_answers" in metrics and wrong > FEW_WRONG:
        found["wrong_spread"] = (metrics["distinct_answers"] - 1) / wrong
    return found


def shorten(learner: Learner, factor: float) -> None:
    """Let a learner take steps of `factor` times what was set."""
    learner.lr *= factor / learner.factor
    learner.factor = factor


@dataclass(slots=True)
class Candidate:
    """What came of a generation's updates."""

    found: Experience
    scores: Scores | None = None
    """Of the probe; None where there is none, because numbers were not finite."""
    hidden: Scores | None = None
    """Of the hidden test; None for what is not to be let in."""
    error: FloatingPointError | None = None
    """What was raised where numbers were not finite."""


def judge(
    candidate: Candidate,
    before: Scores,
    generation: int,
    guard: Guard | None,
    gate: Gate | None,
    hidden: Callable[[], Scores],
) -> tuple[Admission, Verdict | None]:
    """Return whether a candidate is let in: by the guard first, and then by the gate.

    Raises FloatingPointError, with what to do, for a broken candidate that the guard would let in.
    """
    admission = _test(candidate, before, guard, gate, hidden)
    verdict = None if guard is None else guard.check(generation, signs(candidate.found.metrics, candidate.scores))
    if verdict is not None and verdict.action in (Action.ROLLBACK, Action.STOP):
        return Admission(False, verdict.message), verdict
    if candidate.scores is None:
        how = "a guard (--guard default)" if guard is None else "the guard's rule finite as it is by default"
        raise FloatingPointError(
            f"generation {generation}: {candidate.error}; with {how} a run goes back to where it was good"
        ) from candidate.error
    if guard is not None and admission.accepted:
        guard.trust()
    elif guard is not None:
        guard.gone_back()
        _keep_said(guard, candidate)
    return admission, verdict


def went_back(guard: Guard, candidate: Candidate) -> None:
    """Tell a guard that its caller has gone back from a candidate, as its verdict asked for."""
    guard.rolled_back()
    _keep_said(guard, candidate)


def _keep_said(guard: Guard, candidate: Candidate) -> None:
    """Let a guard that has gone back remember what was said before the updates: the policy that stays said it."""
    if said := _said(candidate.found.metrics):
        guard.begin(said)


def _test(
    candidate: Candidate, before: Scores, guard: Guard | None, gate: Gate | None, hidden: Callable[[], Scores]
) -> Admission:
    """Return what the gate says of a candidate; give it the hidden test if it is to be let in.

    Before anybody is told so: numbers that first break there are the guard's to roll back, too.
    """
    if candidate.scores is None:
        return Admission(False, "it could not be asked")
    admission = Admission(True, "there is no gate") if gate is None else gate.judge(before, candidate.scores)
    is_foreseen = guard is not None and guard.foresees(signs(candidate.found.metrics, candidate.scores))
    if admission.accepted and not is_foreseen:
        try:
            candidate.hidden = hidden()
        except FloatingPointError as error:
            candidate.scores, candidate.error = None, error
    return admission
