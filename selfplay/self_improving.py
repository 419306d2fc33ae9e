"""Self-Improving: the policy practises what its evaluation says it is weak at.

Chosen: the objective's weights decide which skills are practised, the verifier pays, and answers to one task are
compared with each other. What the policy says of itself can be measured, learned from the verifier, or pay where it is
better than chance. A second answer may follow its verdict, measured or learned from. Left out: critiques in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparring.envs import near

from .advantage import Sample
from .answering import Answer
from .archive import kept_of
from .assessment import Discernment, assess, calibration, discernment, revise, verdicts
from .evolve import Experience, Round, Step, step
from .funnel import Filter, Funnel, each, refine
from .imitation import Imitation
from .pairs import Weighted
from .policy_gradient import PolicyGradient

ASSESS = ("none", "log", "train", "reward")
REVISE = ("none", "log", "train")


@dataclass(kw_only=True)
class SelfImproving:
    """Practises tasks in proportion to the objective's weights, paid by the verifier."""

    prompts: int = 128
    """Tasks an update."""
    samples: int = 8
    """Answers a task, which are compared with each other."""
    updates: int = 4
    """Updates a generation, each from tasks and answers of its own."""
    assess: str = "none"
    """Whether the policy is asked if its answers are right: "none"; "log" measures what its word is worth, and changes
    nothing; "train" has it learn the verifier's verdicts too, which at first costs it right answers; "reward" pays by
    its word in the verifier's place, and is refused where that tells answers to a task apart no better than chance from
    the first; where it does so later, answers of that update are not learned from."""
    revise: str = "none"
    """Whether each answer is followed by a second one that sees the first and the policy's verdict on it: "none";
    "log" measures what that gains, and changes nothing; "train" learns from it too, each second answer against the
    others to its task."""
    critique: bool = False
    """Whether the policy also writes what is good or wrong in its first answer, which the second one sees."""
    kl: float = 0.0
    """Weight of the KL to the learner's reference, in rewards a nat; the learner must have one then."""
    name: str = "self-improving"

    def __post_init__(self) -> None:
        self._has_checked = False
        if self.assess not in ASSESS:
            raise ValueError(f"unknown assess {self.assess!r}.{near(self.assess, ASSESS)}")
        if self.revise not in REVISE:
            raise ValueError(f"unknown revise {self.revise!r}.{near(self.revise, REVISE)}")
        if self.critique and self.revise == "none":
            raise ValueError("critique is of second tries: set revise to log or train, or leave it out")
        for name in ("prompts", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.samples < 2:
            raise ValueError(f"samples must be 2 or more, not {self.samples}: one answer has none to be compared with")
        self.modules: Mapping[str, str] = {"solutions": "it answers the tasks"} | (
            {"feedback": "it judges its own answers"} if self.assess == "reward" else {}
        )

    def gather(self, round: Round) -> Experience:
        """Return updates that ask, score and learn when they are taken, and what came of the first."""
        funnel, metrics = Funnel(), dict[str, float]()
        experience = Experience((), funnel=funnel, metrics=metrics)
        experience.steps = self._steps(round, experience)
        return experience

    def _steps(self, round: Round, experience: Experience) -> Iterator[Step]:
        for n in range(self.updates):
            tasks = round.curriculum.mixed(round.weights, self.prompts, number=(round.generation << 8) + n)
            groups = round.desk.ask(round.agent, tasks, samples=self.samples, seed=round.seed + n)
            answers = [answer for group in groups for answer in group]
            # All is asked before the update, so that what is compared is of one policy.
            own, again = self._asked(round, answers, n)
            if n == 0:
                experience.metrics |= self._measured(answers, own, again)
            if self.assess != "reward":
                yield from self._practise(round, answers, [a.score for a in answers], experience.funnel)
            elif self._may_pay(own, answers):
                yield from self._practise(round, answers, own, experience.funnel)
            else:
                experience.metrics["unpaid"] = experience.metrics.get("unpaid", 0.0) + 1
            if self.revise == "train":
                compared = zip(again, _compared([a.score for a in again], self.samples), strict=True)
                if left := [Sample(a.reply, gain) for a, gain in compared if gain]:
                    yield step(PolicyGradient(kl=self.kl), left)
            if self.assess == "train":
                yield step(Imitation(), [Weighted(r, 1.0) for r in verdicts(round.agent, round.desk, answers)])

    def _asked(self, round: Round, answers: Sequence[Answer], n: int) -> tuple[list[float], list[Answer]]:
        """Return what the policy says of its answers, and its second tries; nothing where nobody will look at it."""
        is_assessed = self.assess == "reward" or (n == 0 and self.assess != "none")
        is_revised = self.revise == "train" or (n == 0 and self.revise != "none")
        told: dict[str, Any] = {"seed": round.seed + n + 53, "in_words": self.critique}
        return (
            assess(round.agent, round.desk, answers) if is_assessed else [],
            revise(round.agent, round.desk, answers, **told) if is_revised else [],
        )

    def _measured(self, answers: Sequence[Answer], own: Sequence[float], again: Sequence[Answer]) -> dict[str, float]:
        found = {"train_accuracy": float(np.mean([a.score for a in answers]))}
        if own:
            worth = calibration(own, [a.is_right for a in answers])
            found |= {"assessment_auroc": worth.auroc, "assessment_ece": worth.ece}
            apart = self._discernment(own, answers)
            found |= {"assessment_within": apart.auroc, "assessment_error": apart.error}
        if again:
            gains = np.array([new.score - old.score for new, old in zip(again, answers, strict=True)])
            # Answers to one task hang together, so tasks are counted.
            by_task = gains.reshape(-1, self.samples).mean(1)
            error = float(by_task.std(ddof=1) / np.sqrt(len(by_task))) if len(by_task) > 1 else 0.0
            found |= {"revision_gain": float(gains.mean()), "revision_error": error}
        return found

    def _may_pay(self, own: Sequence[float], answers: Sequence[Answer]) -> bool:
        """Return whether the policy's word is a reward. Raises ValueError, with the figures, if it never was one."""
        found = self._discernment(own, answers)
        if not self._has_checked and not found.is_informative:
            raise ValueError(
                "the policy cannot tell its right answers from its wrong ones (AUROC within a task "
                f"{found.auroc:.3f} +- {found.error:.3f}), so its own word is no reward; take assess='train' until it "
                "can"
            )
        self._has_checked = True
        return found.is_informative

    def _discernment(self, own: Sequence[float], answers: Sequence[Answer]) -> Discernment:
        return discernment(own, [a.is_right for a in answers], self.samples)

    def _practise(
        self, round: Round, answers: Sequence[Answer], rewards: Sequence[float], funnel: Funnel
    ) -> Iterator[Step]:
        varied: Filter[tuple[Answer, float]] = each("all answers to it did alike", lambda item: item[1] != 0.0)
        left = refine(zip(answers, _compared(rewards, self.samples), strict=True), [varied], funnel)
        round.archive.add(
            kept_of(
                a.reply,
                round.desk.prompt(a.task),
                method=self.name,
                generation=round.generation,
                task=a.task,
                why="better than the others",
            )
            for a, gain in left
            if gain > 0
        )
        if left:
            yield step(PolicyGradient(kl=self.kl), [Sample(answer.reply, gain) for answer, gain in left])

    def state_dict(self) -> dict[str, Any]:
        """Return whether its own word was found to be a reward; all else that lasts is in the loop's weights."""
        return {"has_checked": self._has_checked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._has_checked = state["has_checked"]


def _compared(rewards: Sequence[float], samples: int) -> Iterator[float]:
    """Yield each reward less the mean of the others in its group of `samples`."""
    for start in range(0, len(rewards), samples):
        group = rewards[start : start + samples]
        for reward in group:
            yield reward - (sum(group) - reward) / (len(group) - 1)
