"""What `evolution.py` runs: each method of self-evolution on a task of its own, beside the controls it must beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sparring.agents import LanguageModelAgent, tiny_agent
from sparring.envs.contest import Contest
from sparring.envs.proposer import Proposer
from sparring.envs.tasks import Task
from sparring.selfplay.answering import Desk, voting_gain
from sparring.selfplay.archive import Archive
from sparring.selfplay.evolve import Experience, GenerationReport, Method, Round, Snapshot, evolve
from sparring.selfplay.gate import Gate
from sparring.selfplay.learner import Learner, Report
from sparring.selfplay.self_improving import SelfImproving
from sparring.selfplay.self_instruct import SelfInstruct
from sparring.selfplay.self_training import SelfTraining, imitation_steps, seed_data
from sparring.selfplay.skills import HIDDEN, Curriculum, read_skill

SEEDS = 1 << 20
"""Number of the draw that labelled tasks come from; training never comes so far."""
Curve = list[dict[str, Any]]
Maker = Callable[[Sequence[Task]], Method | Mapping[str, tuple[Method, float]]]
STARTED: dict[str, tuple[Any, Any]] = {}
"""Weights and state of the last policy that was started, by how."""


@dataclass(kw_only=True)
class Control:
    """A method that differs from Self-Training in what is imitated only; as many steps, of as many samples."""

    steps: int
    batch: int = 64
    labelled: int = 0
    """Labelled tasks that are added in every generation; 0: the seed data are all there is."""
    name: str = "control"
    modules: Mapping[str, str] = field(default_factory=dict)

    def gather(self, round: Round) -> Experience:
        tasks = round.curriculum.mixed(round.weights, self.labelled, number=round.generation) if self.labelled else []
        round.archive.add(seed_data(tasks, round.desk, round.agent))
        return Experience(imitation_steps(round.archive, round.seed, self.steps, self.batch))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass(kw_only=True)
class Spoiled:
    """A method whose generation number `at` ends with a bad update: weights are moved at random."""

    method: Method
    at: int
    size: float
    """Standard deviation of the noise, in that of each tensor."""
    name: str = "spoiled"

    def __post_init__(self) -> None:
        self.modules = self.method.modules

    def gather(self, round: Round) -> Experience:
        found = self.method.gather(round)
        if round.generation == self.at:
            found.steps = [*found.steps, lambda learner: spoil(learner, self.size, round.seed)]
        return found

    def state_dict(self) -> dict[str, Any]:
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.method.load_state_dict(state)


def spoil(learner: Learner, size: float, seed: int) -> Report:
    """Move every weight at random."""
    generator = torch.Generator().manual_seed(seed % (1 << 63))
    with torch.no_grad():
        for parameter in learner.agent.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size * parameter.std())
    learner.agent.flush()
    return {}


@dataclass(kw_only=True)
class Start:
    """How a policy begins: a small model that imitates labelled tasks for a while."""

    skills: tuple[str, ...]
    labelled: int = 400
    steps: int = 200
    batch: int = 64
    lr: float = 2e-3
    hidden: int = 64
    layers: int = 2
    positions: str = "rotary"
    max_new_tokens: int = 8
    temperature: float = 1.0
    decays: bool = False
    """Whether its learning rate falls to a twentieth on the way."""
    rare: tuple[str, ...] = ()
    """Skills of which there are fewer labelled tasks than of the others."""
    rarity: float = 0.1
    """How many of each there are for one of each other skill."""
    proposes: bool = False
    """Whether it imitates how the labelled tasks would be proposed, too."""
    contests: bool = False
    """Whether it imitates right answers in the words of a contest between two, too."""

    def make(self, seed: int) -> tuple[LanguageModelAgent, Learner, Curriculum, Archive]:
        curriculum = Curriculum([read_skill(word) for word in self.skills], seed=seed)
        levels = tuple(sorted({skill.level for skill in curriculum.skills}))
        games = [
            Contest(task=f, level=n, single=True, skin="brief") for f in curriculum.families.values() for n in levels
        ]
        if self.proposes:
            games += [Proposer(task=s.family, level=s.level, shown=8, skin="brief") for s in curriculum.skills]
        contest = contest_of(curriculum)
        games += [contest] if self.contests else []
        shape = {"hidden": self.hidden, "layers": self.layers, "positions": self.positions}
        told = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}
        agent = tiny_agent(games, seed=seed, **told, **shape)
        learner = Learner(agent, lr=self.lr, betas=(0.9, 0.99), seed=seed)
        archive = Archive()
        tasks = self.tasks(curriculum)
        desk = Desk(curriculum.families.values())
        archive.add(seed_data(tasks, desk, agent))
        if self.contests:
            desk.game = contest
            archive.add(seed_data(tasks, desk, agent))
        if self.proposes:
            archive.add(SelfInstruct(seeds=tasks).demonstrations(agent, curriculum.families, seed=seed))
        self._train(learner, archive, tasks, seed)
        return agent, learner, curriculum, archive

    def _train(self, learner: Learner, archive: Archive, tasks: Sequence[Task], seed: int) -> None:
        """Imitate, or take the weights of the last policy that began so: arms of one seed begin alike."""
        key = repr((self, seed))
        if key in STARTED:
            learner.load(*STARTED[key])
            return
        steps = imitation_steps(archive, seed, self.steps, self.batch)
        if self.proposes:
            steps = SelfInstruct(seeds=tasks, proposing=3).imitation(archive, seed, self.steps)
        for number, take in enumerate(steps):
            learner.lr = self.lr * (1 - 0.95 * number / self.steps if self.decays else 1.0)
            take(learner)
        begun = Snapshot(learner)
        STARTED.clear()
        STARTED[key] = begun.tensors, begun.state

    def tasks(self, curriculum: Curriculum) -> list[Task]:
        """Return the labelled tasks that a policy begins with."""
        weights = {skill: self.rarity if str(skill) in self.rare else 1.0 for skill in curriculum.skills}
        return curriculum.mixed(weights, self.labelled, number=SEEDS)


def contest_of(curriculum: Curriculum) -> Contest:
    """Return the game of two in which each deal is a task of one of the skills."""
    levels = tuple({skill.level: None for skill in curriculum.skills})
    game = Contest(task=tuple(curriculum.families), level=levels, ties="draw", skin="brief")
    # The skills alone, not every family at every level.
    game.options = tuple((curriculum.families[skill.family], skill.level) for skill in curriculum.skills)
    return game


def curve_of(reports: Iterator[GenerationReport]) -> Curve:
    """Return what is kept of a run: a dictionary a generation."""
    return [
        {
            "generation": report.generation,
            "method": report.method,
            "accepted": report.admission.accepted,
            "mean": report.hidden.mean,
            "worst": report.hidden.worst,
            "pass@1": report.hidden.pass_at(1),
            "pass@8": report.hidden.pass_at(8),
            "skills": {str(skill): report.hidden.accuracy(skill) for skill in report.hidden.right},
            "funnel": report.funnel,
            **{name: value for name, value in report.metrics.items() if "/" not in name},
        }
        for report in reports
    ]


@dataclass(kw_only=True)
class Trial:
    """A method on a task, and the arms it is compared with."""

    title: str
    claim: str
    """What must come out, in words."""
    start: Start
    generations: int
    arms: Mapping[str, Maker]
    """Makers of methods, given the labelled tasks."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What `evolve` is told otherwise, by arm."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """What it is told in all of them."""
    measure: str = "mean"
    """Of a generation: what the first arm is compared with the others by."""
    lr: float | None = None
    """Learning rate after the start; None: that of the start."""
    bad: int = 0
    """The generation that ends with a bad update in the arms that have one; 0 where none has."""
    votes: bool = False
    """Whether what voting would gain is measured at the start."""

    def is_spoiled(self, arm: str) -> bool:
        """Whether an arm has the bad update."""
        return isinstance(self.arms[arm](()), Spoiled)

    def run(self, arm: str, seed: int) -> tuple[Curve, dict[str, float]]:
        """Return the generations of one run, and what else was measured."""
        agent, learner, curriculum, archive = self.start.make(seed)
        extra: dict[str, float] = {}
        if self.votes:
            desk = Desk(curriculum.families.values())
            tasks = [t for skill in curriculum.skills for t in curriculum.draw(skill, 200, stream=HIDDEN, number=9)]
            gain, error, _ = voting_gain(desk.ask(agent, tasks, samples=8, seed=seed))
            extra = {"voting_gain": gain, "voting_error": error}
        told = {
            "generations": self.generations,
            "probe_tasks": 32,
            "hidden_tasks": 250,
            "hidden_samples": 8,
            "seed": seed,
        }
        told |= {**self.shared, **self.settings.get(arm, {})}
        learner.lr = self.lr or learner.lr
        method = self.arms[arm](self.start.tasks(curriculum))
        reports = evolve(agent, learner, method, curriculum, archive=archive, **told)
        return curve_of(reports), extra


def training(keep: str) -> Callable[[Sequence[Task]], Method]:
    """Return a maker of Self-Training with one filter. Voting is let happen where it cannot help: that is the point."""
    return lambda seeds: SelfTraining(prompts=1500, samples=4, steps=200, keep=keep, checks_voting=False)


ADDITION = Trial(
    title="Self-Training on two-digit addition",
    claim="from a start of 8 to 30 %, at least twice that and at least 20 points above the seed data alone",
    start=Start(skills=("addition-1",), labelled=500, steps=300),
    generations=5,
    arms={
        "verifier": training("verifier"),
        "seed data only": lambda seeds: Control(steps=200),
        "no filter": training("none"),
        "majority": training("majority"),
        "oracle labels": lambda seeds: Control(steps=200, labelled=1500),
    },
    votes=True,
)


BAD = 4
"""The generation that ends with a bad update."""


def practice(seeds: Sequence[Task]) -> SelfImproving:
    return SelfImproving(prompts=128, samples=8, updates=4)


def spoiled(seeds: Sequence[Task]) -> Method:
    return Spoiled(method=practice(seeds), at=BAD, size=0.3)


IMPROVING = Trial(
    title="Self-Improving on ten skills",
    claim="a worst skill above that of uniform sampling at an equal budget, no skill lost, a bad update rolled back",
    # Most skills are mastered soon, so that uniform sampling spends most of its budget on what is known already; of the
    # three hardest there are few labelled tasks, but enough that some answers are right, or nobody could learn by them.
    start=Start(
        skills=(
            *("addition-0", "copy-0", "copy-1", "copy-2", "reverse-0", "reverse-1", "reverse-2"),
            *("sort-0", "sort-1", "sort-2"),
        ),
        rare=("copy-2", "reverse-2", "sort-2"),
        rarity=0.6,
        labelled=1000,
        steps=350,
        max_new_tokens=16,
    ),
    generations=14,
    measure="worst",
    lr=1e-3,
    arms={"weakness": practice, "uniform": practice, "a bad update": spoiled, "no gate, a bad update": spoiled},
    settings={
        "uniform": {"is_adaptive": False},
        "a bad update": {"generations": 2 * BAD},
        "no gate, a bad update": {"generations": 2 * BAD, "gate": None},
    },
    bad=BAD,
    # The same 64 tasks a skill, four answers each, before and after: at one half a difference has a standard error of
    # 0.044 at most. One answer each would make it twice that, and a drop of 0.1 would mean nothing.
    shared={"probe_tasks": 64, "samples": 4, "hidden_tasks": 80, "gate": Gate(margin=0.1)},
)
