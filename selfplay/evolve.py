"""The loop of self-evolution: acquire, refine, update, evaluate, and let the evaluation set the next objective.

The survey of Tao et al. 2024 (arXiv 2404.14387) describes every self-evolving model by it. A method acquires and
refines; the learner updates; a probe on fresh tasks evaluates; a guard goes back from what is broken, and a gate lets
the candidate in or rolls it back; and the evaluation writes the task distribution of the next generation. Left out:
objectives that a model sets itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from sparring.agents import LanguageModelAgent, mix, uniform

from .answering import Desk
from .archive import Archive
from .evolve_guard import UPDATE, Candidate, judge, measured, shorten, went_back
from .funnel import Funnel
from .gate import Admission, Gate
from .guard import Guard, Verdict
from .guard_rules import Action
from .learner import Learner, Objective, Report
from .skills import HIDDEN, Curriculum, Scores, Skill, probe, read_skill, weights_of

Step = Callable[[Learner], Report]
"""Takes one or more updates and reports what happened."""


def step(objective: Objective, items: Sequence[Any]) -> Step:
    """Return one update: what is minimised over some items, of which there is at least one."""
    return lambda learner: learner.update(items, objective)


@dataclass(slots=True)
class Experience:
    """What a method acquired and refined in a generation."""

    steps: Iterable[Step]
    """Updates to take, in order; made when they are taken."""
    funnel: Funnel = field(default_factory=Funnel)
    metrics: dict[str, float] = field(default_factory=dict)
    restart: bool = False
    """Whether the candidate is trained from the policy that the run began with."""
    undo: Callable[[], None] = field(default=lambda: None)
    """Takes back what the method has learned of the candidate beside its weights; called where it is not let in."""
    admit: Callable[[], None] = field(default=lambda: None)
    """Takes note that the candidate is the policy now; called where guard and gate let it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a method may look at in a generation."""

    generation: int
    seed: int
    """Of this generation; the same for the same run."""
    agent: LanguageModelAgent
    learner: Learner
    desk: Desk
    curriculum: Curriculum
    weights: Mapping[Skill, float]
    """The objective: how much of its tasks should come from each skill. Written by the last evaluation."""
    archive: Archive


class Method(Protocol):
    """A way to make experience of one's own."""

    name: str
    modules: Mapping[str, str]
    """Which of `autonomy.MODULES` the model sets, and by what; the others are fixed by the user."""

    def gather(self, round: Round) -> Experience:
        """Acquire and refine: return what is to be learned in this generation."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        ...


class Progress(NamedTuple):
    """Where a run is between two generations."""

    generation: int
    """How many there were."""
    weights: Mapping[Skill, float]
    """The objective of the next one."""
    best: Mapping[Skill, float]
    """The best accuracy that each skill has had, in the policy."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        pairs = {"weights": self.weights, "best": self.best}
        return {"generation": self.generation} | {k: {str(s): v for s, v in d.items()} for k, d in pairs.items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Progress:
        """Return what `as_dict` had returned."""
        weights, best = ({read_skill(s): v for s, v in found[name].items()} for name in ("weights", "best"))
        return cls(found["generation"], weights, best)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationReport:
    """One turn of the loop."""

    progress: Progress
    """Where the run is after it; generation 0 is the policy as it began, with no method."""
    method: str
    admission: Admission
    before: Scores
    """The policy on the probe of this generation."""
    after: Scores
    """The candidate on the same tasks; where there was none, the policy."""
    hidden: Scores
    """Whoever is the policy now, on tasks that no gate and no objective looks at."""
    funnel: dict[str, int]
    metrics: dict[str, float]
    verdict: Verdict | None = None
    """What the guard says of the candidate; None without a guard, and of generation 0."""

    @property
    def warning(self) -> str:
        """What the guard warns of; what else it says is why the candidate is not let in."""
        return self.verdict.message if self.verdict and self.verdict.action is Action.WARN else ""

    @property
    def stopped(self) -> str:
        """Why the guard ended the run with this generation; empty if it did not."""
        return self.verdict.message if self.verdict and self.verdict.action is Action.STOP else ""

    @property
    def generation(self) -> int:
        """Its number."""
        return self.progress.generation

    @property
    def weights(self) -> Mapping[Skill, float]:
        """The objective of the next generation."""
        return self.progress.weights

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, with pass@1 and pass@k of the hidden test."""
        hidden = self.hidden
        samples = len(next(iter(hidden.right.values()))[0])
        passes = {f"pass@{k}": hidden.pass_at(k) for k in sorted({1, samples})}
        return {
            "generation": self.generation,
            "method": self.method,
            "accepted": self.admission.accepted,
            "why": self.admission.why,
            "warning": self.warning,
            "before": self.before.mean,
            "after": self.after.mean,
            "hidden": {"mean": hidden.mean, "worst": hidden.worst, **passes, "table": hidden.table()},
            "weakness": self.after.table(),
            "weights": {str(skill): weight for skill, weight in self.weights.items()},
            "funnel": self.funnel,
            "metrics": {name: float(value) for name, value in self.metrics.items()},
        }


class Snapshot:
    """A learner as it was, to go back to."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.state = learner.state_dict()
        """What of it is plain data."""
        self.tensors: dict[str, dict[str, Tensor]] = {
            part: {name: tensor.detach().clone() for name, tensor in named.items()}
            for part, named in learner.tensors().items()
        }
        """Its tensors, by part and name."""

    def restore(self) -> None:
        """Make the learner what it was, but for its learning rate; the snapshot can be gone back to again."""
        # A guard makes steps smaller for good, and a schedule is of the run, not of a policy in it.
        lr, factor = self._learner.lr, self._learner.factor
        self._learner.load(self.tensors, self.state)
        self._learner.lr, self._learner.factor = lr, factor


def _train(candidate: Candidate, method: Method, here: Round, start: Snapshot, probed: Callable[[], Scores]) -> None:
    """Let a method make a candidate of the policy, and probe it."""
    try:
        candidate.found = found = method.gather(here)
        if found.restart:
            start.restore()
        found.metrics |= learn(here.learner, found.steps)
        candidate.scores = probed()
    except FloatingPointError as error:
        candidate.error = error


def evolve(
    agent: LanguageModelAgent,
    learner: Learner,
    methods: Mapping[str, tuple[Method, float]] | Method,
    curriculum: Curriculum,
    *,
    generations: int,
    gate: Gate | None = None,
    guard: Guard | None = None,
    archive: Archive | None = None,
    probe_tasks: int = 64,
    samples: int = 1,
    hidden_tasks: int = 128,
    hidden_samples: int = 1,
    bonus: float = 1.0,
    is_adaptive: bool = True,
    seed: int = 0,
    skin: str = "brief",
    progress: Progress | None = None,
    start: Snapshot | None = None,
) -> Iterator[GenerationReport]:
    """Let a policy evolve; yields a report a generation, the first of the policy as it is.

    Args:
        agent: the policy, which is updated in place; a candidate that is not let in, or is interrupted, is rolled back.
        learner: how it is updated.
        methods: a method, or several by name with weights: each generation draws one.
        curriculum: the skills that count.
        generations: turns of the loop.
        gate: lets candidates in; None lets every one in.
        guard: looks at them before the gate, `loop_guard()` for instance. A rollback also makes the learner's steps
            smaller from then on; a stop is the last report.
        archive: where kept samples go; None is one in memory.
        probe_tasks: fresh tasks a skill at each evaluation.
        samples: answers a task at each evaluation.
        hidden_tasks: tasks a skill that only reports look at.
        hidden_samples: answers to each, for pass@k.
        bonus: how much a skill that dropped is trained more, in the policy or in a candidate that was rolled back for
            it, see `weights_of`.
        is_adaptive: whether the evaluation writes the next objective; else every skill counts alike.
        seed: of everything.
        skin: the wording in which tasks are asked.
        progress: where a run that is taken up again was; None begins.
        start: the policy that the run began with, for methods that train from it; None is the policy as it is.

    Raises ValueError for a number of generations below 1, FloatingPointError where the policy's numbers are no longer
    finite and no guard goes back.
    """
    if generations < 1:
        raise ValueError(f"generations must be 1 or more, not {generations}")
    named = methods if isinstance(methods, Mapping) else {methods.name: (methods, 1.0)}
    desk, archive = Desk(curriculum.families.values(), skin=skin), Archive() if archive is None else archive
    start = Snapshot(learner) if start is None else start
    weights = dict.fromkeys(curriculum.skills, 1.0 / len(curriculum.skills))
    best: dict[Skill, float] = {}

    def hidden() -> Scores:
        return probe(agent, desk, curriculum, tasks=hidden_tasks, number=0, samples=hidden_samples, stream=HIDDEN)

    def probed(generation: int) -> Scores:
        return probe(agent, desk, curriculum, tasks=probe_tasks, number=generation, samples=samples)

    if progress is None:
        scores = probed(0)
        if guard is not None:
            guard.begin(measured(scores))
        begun = Admission(True, "the policy as it began")
        if is_adaptive:
            weights = weights_of(scores, best, bonus=bonus)
        best = _best(best, scores)
        yield _report(Progress(0, dict(weights), dict(best)), "", begun, scores, scores, hidden(), Experience(()))
    else:
        weights, best = dict(progress.weights), dict(progress.best)
    for generation in range(1 + (progress.generation if progress else 0), generations + 1):
        method = draw_method(named, mix(seed, generation))
        here = Round(
            generation=generation,
            seed=mix(seed, generation),
            agent=agent,
            learner=learner,
            desk=desk,
            curriculum=curriculum,
            weights=weights,
            archive=archive,
        )
        # What is remembered from questions before depends on which were asked; a resumed run lacks it.
        learner.flush()
        before, kept, candidate = probed(generation), Snapshot(learner), Candidate(Experience(()))
        try:
            _train(candidate, method, here, start, partial(probed, generation))
            admission, verdict = judge(candidate, before, generation, guard, gate, hidden)
            is_broken = verdict is not None and verdict.action in (Action.ROLLBACK, Action.STOP)
            if not admission.accepted:
                kept.restore()
                candidate.found.undo()
            if guard is not None and verdict is not None and verdict.action is Action.ROLLBACK:
                went_back(guard, candidate)
                shorten(learner, guard.step_factor)
            after = before if candidate.scores is None else candidate.scores
            scores = after if admission.accepted else before
            best = _best(best, scores)
            if is_adaptive:
                # What a candidate forgot counts though the gate rolled it back: else the same objective would come
                # again, and with it a candidate that forgets the same. What is broken has not forgotten anything.
                weights = weights_of(scores, _best(best, before), latest=before if is_broken else after, bonus=bonus)
            now = Progress(generation, dict(weights), dict(best))
            tested = hidden() if candidate.hidden is None else candidate.hidden
            report = _report(now, method.name, admission, before, after, tested, candidate.found, verdict)
            if admission.accepted:
                candidate.found.admit()
        except BaseException:
            # Ctrl-C, say: what nobody has judged must not be what is saved.
            kept.restore()
            candidate.found.undo()
            raise
        yield report
        if report.stopped:
            return


def _best(best: Mapping[Skill, float], scores: Scores) -> dict[Skill, float]:
    return {skill: max(best.get(skill, 0.0), scores.accuracy(skill)) for skill in scores.right}


def _report(
    progress: Progress,
    method: str,
    admission: Admission,
    before: Scores,
    after: Scores,
    hidden: Scores,
    found: Experience,
    verdict: Verdict | None = None,
) -> GenerationReport:
    return GenerationReport(
        progress=progress,
        method=method,
        admission=admission,
        before=before,
        after=after,
        hidden=hidden,
        funnel=found.funnel.as_dict(),
        metrics=dict(found.metrics),
        verdict=verdict,
    )


def draw_method(methods: Mapping[str, tuple[Method, float]], key: int) -> Method:
    """Return a method in proportion to its weight. Raises ValueError if no weight is above 0."""
    whole = sum(weight for _, weight in methods.values())
    if not whole > 0 or any(weight < 0 for _, weight in methods.values()):
        raise ValueError("give the methods weights of 0 or more, one of them above 0")
    left = uniform(key) * whole
    for method, weight in methods.values():
        left -= weight
        if left < 0:
            return method
    return next(method for method, weight in reversed(list(methods.values())) if weight > 0)


def learn(learner: Learner, steps: Iterable[Step]) -> Report:
    """Take some updates, and return the mean of what they report."""
    reports = [take(learner) for take in steps]
    names = {name for report in reports for name in report}
    found = {f"{UPDATE}{n}": sum(r.get(n, 0.0) for r in reports) / len(reports) for n in sorted(names)}
    return {**found, "updates": float(len(reports))}
