"""Self-Training: a policy makes its own training data out of unlabelled prompts.

Chosen: k answers a prompt, filters by name, caps and no repeats, an archive that only grows, and three ways to learn
from what is kept. STaR, ReST-EM, TTRL and ScPO are settings of it. Left out: rationalisation with the answer as a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor

from sparring.agents import LanguageModelAgent
from sparring.envs import near
from sparring.envs.tasks import Task

from .advantage import Sample
from .answering import Answer, Desk, voting_gain
from .archive import Archive, Kept, kept_of
from .ensemble import Ensemble
from .evolve import Experience, Round, Step, step
from .funnel import Filter, Funnel, at_most, each, refine, unique
from .imitation import Imitation
from .keeps import ENSEMBLE, IMPERSONAL, KEEPS, Groups, leads, read_keep
from .pairs import Pair, Weighted
from .policy_gradient import PolicyGradient
from .preference import Preference
from .skills import HIDDEN

LEARNS = ("imitate", "reinforce", "prefer")


@dataclass(kw_only=True)
class SelfTraining:
    """Answers unlabelled prompts, keeps some of the answers, and learns from them."""

    prompts: int = 256
    """Unlabelled prompts a generation."""
    samples: int = 8
    """Answers a prompt."""
    keep: str = "verifier"
    """Filters of `KEEPS`, and `ENSEMBLE`, joined by + ("length+ensemble" is against errors that breed errors); an
    answer must pass them all. Or "none"."""
    threshold: float = 0.5
    """Of each filter."""
    cap: int = 1
    """Most answers that are kept a prompt, so that easy prompts do not fill the archive. Where samples accumulate and
    the verifier is among the filters, over all generations; without it, a generation, for the first answer that was
    kept may be wrong, and no later one would ever get in. An answer that was kept before is not kept again."""
    learn: str = "imitate"
    """"imitate" what is kept; "reinforce": all answers, paid by the filter's verdict; "prefer": what most answers say
    to what the fewest say, weighted by their votes (Prasad et al. 2024, arXiv 2411.04109)."""
    restart: bool = False
    """Whether each generation trains from the first policy (STaR, ReST-EM), or goes on."""
    steps: int = 100
    """Steps of imitation a generation."""
    batch: int = 64
    """Samples a step."""
    accumulates: bool = True
    """Whether all that was ever kept, seed data included, is imitated; else only this generation's."""
    members: int = 3
    """Generations whose policies vote in an ensemble; before there are so many, those that there are."""
    kl: float = 0.0
    """Of "reinforce": weight of the KL to the learner's reference, in rewards a nat; the learner must have one then."""
    checks_voting: bool = True
    """Whether majority mode first measures that voting can help; a run that has begun is not ended by it."""
    name: str = "self-training"

    def __post_init__(self) -> None:
        self._has_checked = False
        self.keeps = read_keep(self.keep)
        if self.learn not in LEARNS:
            raise ValueError(f"unknown learn {self.learn!r}.{near(self.learn, LEARNS)}")
        if self.learn == "reinforce" and self.keep not in ("verifier", "majority"):
            raise ValueError(f"learn='reinforce' is paid by keep='verifier' or 'majority', not {self.keep!r}")
        if self.learn == "reinforce" and self.restart:
            raise ValueError(
                "learn='reinforce' is of the present policy's own answers, and restart would teach them to the first "
                "policy: leave restart out"
            )
        if self.learn == "prefer" and self.keep != "majority":
            raise ValueError(f"learn='prefer' learns from votes: take keep='majority', not {self.keep!r}")
        for name in ("prompts", "samples", "cap", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        self.ensemble = Ensemble(self.members)
        own = "+".join(name for name in self.keeps if name not in IMPERSONAL)
        self.modules: Mapping[str, str] = {"solutions": "it answers the prompts"} | (
            {"feedback": f"its own answers judge them ({own})"} if own else {}
        )

    def gather(self, round: Round) -> Experience:
        """Answer prompts, keep some answers, and return how to learn from them.

        Raises ValueError, with the figures, where voting cannot help from the first.
        """
        tasks = round.curriculum.mixed(round.weights, self.prompts, number=round.generation)
        if "majority" in self.keeps and self.checks_voting and not self._has_checked:
            self._check_voting(round)
            # Not again: where all that it answers is right at last, voting does not help either.
            self._has_checked = True
        groups = round.desk.ask(round.agent, tasks, samples=self.samples, seed=round.seed)
        funnel = Funnel()
        named = {
            name: self._by_ensemble(round, tasks) if name == ENSEMBLE else KEEPS[name](groups, self.threshold)
            for name in self.keeps
        }
        filters = self._filters(named.values(), self._earlier(round, tasks))
        kept = refine((a for group in groups for a in group), filters, funnel)
        samples = [
            kept_of(
                a.reply,
                round.desk.prompt(a.task),
                method=self.name,
                generation=round.generation,
                task=a.task,
                why=", ".join(f"{name} {stage.figure(a)}" for name, stage in named.items()) or self.keep,
            )
            for a in kept
        ]
        before = len(round.archive)
        round.archive.add(samples)
        return Experience(
            steps=self._steps(round, groups, before),
            funnel=funnel,
            metrics=_metrics(groups, kept),
            restart=self.restart,
        )

    def _by_ensemble(self, round: Round, tasks: Sequence[Task]) -> Filter[Answer]:
        self.ensemble.join(round.agent)
        voted = self.ensemble.votes(round.agent, round.desk, tasks, seed=round.seed + 101)
        least = self.threshold * len(self.ensemble.members)
        said = {task.prompt: votes for task, votes in zip(tasks, voted, strict=True)}
        return each(
            "its earlier selves say something else",
            lambda a: said[a.task.prompt][a.text] >= max(least, 1),
            lambda a: f"{said[a.task.prompt][a.text]} of {len(self.ensemble.members)}",
        )

    def _earlier(self, round: Round, tasks: Sequence[Task]) -> list[tuple[str, str]]:
        """Return prompt and answer of what was kept before to prompts that are asked again, if it is imitated again.

        Out of the archive, which a resumed run has as it was, and in which samples of a rolled-back generation stay.
        """
        if not self.accumulates or self.learn != "imitate":
            return []
        asked = {round.desk.prompt(task): task.prompt for task in tasks}
        return [
            (asked[kept.prompt], round.desk.heard(kept.text) or "")
            for kept in round.archive.samples
            if kept.method == self.name and kept.prompt in asked
        ]

    def _filters(self, keep: Iterable[Filter[Answer]], earlier: Sequence[tuple[str, str]] = ()) -> list[Filter[Answer]]:
        """Return all filters, in order; `earlier` are prompts and answers of earlier generations."""
        counted = [prompt for prompt, _ in earlier] if "verifier" in self.keeps else []
        return [
            each("it could not be read", lambda answer: answer.text != ""),
            *keep,
            unique("it was given already", lambda answer: (answer.task.prompt, answer.text), seen=earlier),
            at_most("there are enough to its prompt", self.cap, lambda answer: answer.task.prompt, seen=counted),
        ]

    def _check_voting(self, round: Round) -> None:
        """Refuse to vote where the majority of labelled tasks is no better than a single answer."""
        skills = round.curriculum.skills
        count = max(self.prompts // (2 * len(skills)), 8)
        labelled = [
            task for s in skills for task in round.curriculum.draw(s, count, stream=HIDDEN, number=round.generation)
        ]
        groups = round.desk.ask(round.agent, labelled, samples=self.samples, seed=round.seed + 1)
        gain, error, (voted, single) = voting_gain(groups)
        if gain <= 0.01:
            raise ValueError(
                f"voting cannot help here: maj@{self.samples} is {voted:.3f} and pass@1 {single:.3f}, a gain of "
                f"{gain:+.3f} +- {error:.3f}; keep by the verifier, or train on labelled data first"
            )

    def _steps(self, round: Round, groups: Groups, before: int) -> Iterator[Step]:
        """Yield updates; nothing is drawn before the candidate's weights are in place."""
        if self.learn == "reinforce":
            yield step(PolicyGradient(kl=self.kl), list(self._paid(groups)))
        elif self.learn == "prefer":
            if pairs := list(voted_pairs(groups, self.threshold)):
                yield step(Preference("sigmoid", beta=0.5, nll=1.0), pairs)
        else:
            yield from imitation_steps(
                round.archive,
                round.seed,
                self.steps,
                self.batch,
                since=0 if self.accumulates else before,
                # What a proposer said in a run of several methods is another method's.
                role="solver",
            )

    def _paid(self, groups: Groups) -> Iterator[Sample]:
        """Yield every answer with its reward less the mean of the other answers' to its prompt."""
        for group in groups:
            leader = leads(group, self.threshold)
            rewards = [a.score if self.keep == "verifier" else float(a.text == leader != "") for a in group]
            for answer, reward in zip(group, rewards, strict=True):
                others = (sum(rewards) - reward) / max(len(rewards) - 1, 1)
                yield Sample(answer.reply, reward - others)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of the ensemble's members."""
        return self.ensemble.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        self.ensemble.load_tensors(tensors)

    def state_dict(self) -> dict[str, Any]:
        """Return whether voting was found to help; all else that lasts is in the archive."""
        return {"has_checked": self._has_checked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._has_checked = state["has_checked"]


def imitation_steps(
    archive: Archive, seed: int, steps: int, batch: int, *, since: int = 0, role: str | None = None
) -> Iterator[Step]:
    """Yield steps of imitating samples of an archive, from number `since` on; none where there are none.

    Of one role, where one is given: prompts of proposers are longer by far, so they are better not in one batch.
    """
    among = [kept for kept in archive.samples[since:] if role in (None, kept.role)]
    if not among:
        return
    rng = np.random.Generator(np.random.Philox(key=[seed, 7]))
    for _ in range(steps):
        yield step(Imitation(), [Weighted(kept.reply, 1.0) for kept in archive.draw(batch, rng, of=among)])


def seed_data(tasks: Sequence[Task], desk: Desk, agent: LanguageModelAgent) -> list[Kept]:
    """Return labelled tasks with their right answers as samples of an archive."""
    return [
        kept_of(desk.demonstrate(agent, t), desk.prompt(t), method="seed", generation=0, task=t, why="it is labelled")
        for t in tasks
    ]


def voted_pairs(groups: Groups, threshold: float) -> Iterator[Pair]:
    """Yield for each prompt what most answers say, chosen, against what the fewest say, weighted by their votes.

    The weight is (most - fewest) / k (Prasad et al. 2024, arXiv 2411.04109, eq. 3); prompts on which the leader has too
    small a share, or all answers agree, give none.
    """
    for group in groups:
        votes: dict[str, list[Answer]] = {}
        for answer in group:
            if answer.text:
                votes.setdefault(answer.text, []).append(answer)
        ranked = sorted(votes.values(), key=len, reverse=True)
        if len(ranked) > 1 and len(ranked[0]) >= threshold * len(group) and len(ranked[0]) > len(ranked[-1]):
            weight = (len(ranked[0]) - len(ranked[-1])) / len(group)
            yield Pair(chosen=ranked[0][0].reply, rejected=ranked[-1][0].reply, weight=weight)


def _metrics(groups: Groups, kept: Sequence[Answer]) -> dict[str, float]:
    """Return what there is to say of the answers; labels are looked at only here, and say nothing of none."""
    answers = [answer for group in groups for answer in group]
    return ({"label_accuracy": float(np.mean([a.score for a in kept]))} if kept else {}) | {
        "train_accuracy": float(np.mean([a.score for a in answers])),
        "distinct_answers": float(np.mean([len({a.text for a in group}) for group in groups])),
        "reply_tokens": float(np.mean([len(a.reply.ids) for a in answers])),
        "kept": float(len(kept)),
    }


PRESETS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        # Zelikman et al. 2022, arXiv 2203.14465, without rationalisation.
        "star": {"keep": "verifier", "samples": 1, "restart": True},
        # Singh et al. 2023, arXiv 2312.06585.
        "rest-em": {"keep": "verifier", "samples": 8, "cap": 4, "restart": True, "accumulates": False},
        # Zuo et al. 2025, arXiv 2504.16084.
        "ttrl": {"keep": "majority", "samples": 16, "threshold": 0.0, "learn": "reinforce"},
        # Prasad et al. 2024, arXiv 2411.04109.
        "scpo": {"keep": "majority", "samples": 8, "threshold": 0.5, "learn": "prefer"},
    }
)
"""Published methods as settings."""
