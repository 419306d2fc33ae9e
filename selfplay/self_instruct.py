"""Self-Instruct: the policy makes its own tasks, and learns from how they are solved.

Chosen: proposals are in a family's language and count by execution; what is kept is valid, new by wording and by
solution, and neither trivial nor impossible for the present solver; both sides learn. Left out: tasks without a
verifier, whose labels would be opinions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from rapidfuzz.distance import Indel

from sparring.agents import LanguageModelAgent, Message, Prompt, Reply, mix
from sparring.envs import near, read_move
from sparring.envs.proposer import Proposer, ProposerState
from sparring.envs.proposer_rewards import BY_MAJORITY, proposer_rule
from sparring.envs.tasks import Malformed, Task, TaskFamily, read_answer, write_answer

from .advantage import Sample
from .answering import Answer, majority
from .archive import Archive, Kept, kept_of
from .evolve import Experience, Round, Step, step
from .funnel import Filter, Funnel, each, refine
from .policy_gradient import PolicyGradient
from .self_training import imitation_steps
from .skills import Skill

_TOKEN = re.compile(r"\w+|[^\w\s]")
LEARNS = ("imitate", "reinforce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A task that the policy wrote, or tried to."""

    skill: Skill
    prompt: str
    reply: Reply
    text: str
    task: Task | None
    """None where it is none."""
    why: str = ""
    """Why it is none."""
    scores: tuple[float, ...] = ()
    """Of the solver, where it was asked: what the verifier says of each answer."""
    agreed: tuple[float, ...] = ()
    """Whether each answer is what most of them are: 1 or 0."""

    @property
    def solved(self) -> float:
        """The share of answers that are right."""
        return float(np.mean(self.scores)) if self.scores else 0.0


@dataclass(kw_only=True)
class SelfInstruct:
    """Writes tasks by example, filters them, solves them, and learns both to write and to solve."""

    seeds: Sequence[Task]
    """The pool to begin with."""
    proposals: int = 128
    """A generation."""
    from_seeds: int = 6
    from_own: int = 2
    """Examples that a proposer is shown, from the seed pool and of its own accepted tasks (Wang et al. 2023)."""
    samples: int = 8
    """Answers a task."""
    novelty: float | None = 0.7
    """Most ROUGE-L F to any task of the pool; 1 lets everything pass but copies, and None copies too."""
    band: tuple[float, float] = (0.25, 0.75)
    """Shares of right answers between which a task is worth keeping."""
    reward: str = "learnability"
    """Of proposers: a rule of `proposer_rewards`; those of `BY_MAJORITY` are told of votes and of near-copies."""
    is_gated: bool = True
    """Whether what is no task is worth nothing; without it, it counts as a task that nobody solves."""
    learn: str = "imitate"
    """"imitate": right answers to accepted tasks, and proposals as far as they are paid, with all that the archive
    holds; "reinforce": one policy gradient a generation, each side's rewards compared with its own alone."""
    kl: float = 0.0
    """Of "reinforce": weight of the KL to the learner's reference, in rewards a nat; the learner must have one then."""
    steps: int = 100
    """Of imitating answers a generation."""
    batch: int = 64
    """Answers a step, and half as many proposals."""
    proposing: int = 8
    """After so many steps of imitating answers comes one of imitating proposals."""
    rehearsal: float = 0.1
    """Weight of a demonstration of proposing; that of a proposal is what it is paid above the mean."""
    trains_proposer: bool = True
    trains_solver: bool = True
    skin: str = "brief"
    name: str = "self-instruct"
    own: list[Task] = field(default_factory=list)
    """Accepted tasks of its own, the oldest first."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("self-instruct writes tasks by example; give it at least one seed task")
        if not 0 <= self.band[0] <= self.band[1] <= 1:
            raise ValueError(f"band must be two shares from 0 to 1, the lower first, not {self.band}")
        if self.samples < 8:
            raise ValueError(
                f"samples must be 8 or more, not {self.samples}: fewer cannot tell whether a task is in the band"
            )
        if self.learn not in LEARNS:
            raise ValueError(f"unknown learn {self.learn!r}.{near(self.learn, LEARNS)}")
        self.rule = proposer_rule(self.reward)
        self.modules: Mapping[str, str] = {"tasks": "it writes them", "solutions": "it solves them"}

    def gather(self, round: Round) -> Experience:
        """Propose, filter, solve, and return how both sides learn from it."""
        proposals = self._propose(round)
        funnel = Funnel()
        new = refine(proposals, self._before_solving(round), funnel)
        solved, answers = self._solve(round, new)
        learnable: Filter[Proposal] = each(
            "the solver always or never succeeds", lambda p: self.band[0] <= p.solved <= self.band[1]
        )
        accepted = list(learnable.keep(solved))
        funnel.drop(learnable.reason, len(solved) - len(accepted))
        self.own += [p.task for p in accepted if p.task is not None]
        paid = {id(p.reply): p for p in solved}
        shares = self._repetition(round.curriculum.families, proposals)
        rewards = [self._worth(paid.get(id(p.reply)), p, r) for p, r in zip(proposals, shares, strict=True)]
        kept = {id(p.reply) for p in accepted}
        groups = [group for p, group in zip(solved, answers, strict=True) if id(p.reply) in kept]
        if self.trains_solver:
            round.archive.add(right_answers(groups, round, name=self.name, why="right, in the band"))
        if self.trains_proposer:
            round.archive.add(self._paid(round, proposals, rewards))
        return Experience(
            steps=self._steps(round, proposals, rewards, answers),
            funnel=funnel,
            metrics={
                "valid": float(np.mean([p.task is not None for p in proposals])),
                "proposer_reward": float(np.mean(rewards)),
                "solved": float(np.mean([p.solved for p in solved])) if solved else 0.0,
                "pool": float(len(self.seeds) + len(self.own)),
                **histogram([p.solved for p in solved]),
            },
        )

    def _propose(self, round: Round) -> list[Proposal]:
        rng = np.random.Generator(np.random.Philox(key=[round.seed, 11]))
        skills = [Skill(task.family, task.level) for task in self.seeds]
        among = list(dict.fromkeys(skills))
        p = np.array([round.weights.get(skill, 0.0) for skill in among])
        p = p / p.sum() if p.sum() > 0 else np.full(len(among), 1 / len(among))
        drawn = [among[i] for i in rng.choice(len(among), size=self.proposals, p=p)]
        prompts = [self._prompt(round, skill, n, rng) for n, skill in enumerate(drawn)]
        replies = round.agent.reply(prompts)
        return [self._read(round, *three) for three in zip(drawn, prompts, replies, strict=True)]

    def _prompt(self, round: Round, skill: Skill, number: int, rng: np.random.Generator) -> Prompt:
        seeds, own = (
            [task for task in tasks if (task.family, task.level) == skill] for tasks in (self.seeds, self.own)
        )
        shown = [
            *_some(seeds, self.from_seeds + max(self.from_own - len(own), 0), rng),
            *_some(own, self.from_own, rng),
        ]
        game, text = self._asked(round.curriculum.families[skill.family], skill.level, shown)
        noise = mix(mix(round.seed, 13), number)
        return Prompt(messages=(Message("user", text),), game=game, seat=0, legal=None, slot=(number, 0), noise=noise)

    def _asked(self, family: TaskFamily, level: int, shown: Sequence[Task]) -> tuple[Proposer, str]:
        """Return the game of proposing, and the prompt that shows some tasks and asks for one more."""
        game = Proposer(task=family, level=level, skin=self.skin)
        state = ProposerState(family.name, level, tuple(family.proposal(task) for task in shown))
        return game, game.prompt(state, 0)

    def demonstrations(self, agent: LanguageModelAgent, families: Mapping[str, TaskFamily], *, seed: int) -> list[Kept]:
        """Return how each seed task would have been proposed after others of its kind: what a small model learns from.

        A large one can write tasks by example as it is; one that was made from nothing cannot.
        """
        rng = np.random.Generator(np.random.Philox(key=[seed, 23]))
        found = []
        for task in self.seeds:
            others = [t for t in self.seeds if (t.family, t.level) == (task.family, task.level) and t is not task]
            family = families[task.family]
            _, prompt = self._asked(family, task.level, _some(others, self.from_seeds + self.from_own, rng))
            text = write_answer(family.proposal(task), brackets=family.keeps_brackets)
            prompt_ids = agent.encode((Message("user", prompt),))
            reply = Reply(text=text, prompt_ids=prompt_ids, ids=agent.encode_speech(text))
            found.append(
                kept_of(
                    reply,
                    prompt,
                    method="seed",
                    generation=0,
                    task=task,
                    why="it shows how to propose",
                    role="proposer",
                    weight=self.rehearsal,
                )
            )
        return found

    def imitation(self, archive: Archive, seed: int, steps: int) -> Iterator[Step]:
        """Yield so many steps of imitating answers, and those of imitating proposals in between."""
        answers = imitation_steps(archive, seed, steps, self.batch, role="solver")
        proposals = imitation_steps(archive, seed + 1, steps, max(self.batch // 2, 1), role="proposer")
        for number in range(1, steps + 1):
            if self.trains_solver:
                yield from islice(answers, 1)
            if self.trains_proposer and number % self.proposing == 0:
                yield from islice(proposals, 1)

    def _read(self, round: Round, skill: Skill, prompt: Prompt, reply: Reply) -> Proposal:
        family = round.curriculum.families[skill.family]
        move = read_move(reply.text, None, brackets=family.keeps_brackets).move or ""
        text = read_answer(move, "Task:")
        task, why = None, ""
        try:
            task = family.propose(text, skill.level)
        except Malformed as error:
            why = str(error)
        return Proposal(skill=skill, prompt=prompt.text, reply=reply, text=text, task=task, why=why)

    def _before_solving(self, round: Round) -> list[Filter[Proposal]]:
        return [
            each("it is no task", lambda p: p.task is not None),
            Filter("it is like one in the pool", lambda ps: self._new(round.curriculum.families, ps)),
        ]

    def _new(self, families: Mapping[str, TaskFamily], proposals: Sequence[Proposal]) -> list[Proposal]:
        """Return those that are unlike the pool and unlike each other, by wording and by solution."""
        if self.novelty is None:
            return list(proposals)
        pool = [_told(families, task) for task in (*self.seeds, *self.own)]
        words = [said for _, said in pool]
        known = {signature for signature, _ in pool}
        kept = []
        for proposal in proposals:
            assert proposal.task is not None
            signature, said = _told(families, proposal.task)
            if signature in known or any(_is_like(said, other, self.novelty) for other in words):
                continue
            known.add(signature)
            words.append(said)
            kept.append(proposal)
        return kept

    def _solve(self, round: Round, proposals: Sequence[Proposal]) -> tuple[list[Proposal], list[list[Answer]]]:
        tasks = [p.task for p in proposals if p.task is not None]
        groups = round.desk.ask(round.agent, tasks, samples=self.samples, seed=round.seed + 17)
        scored = [
            replace(p, scores=tuple(a.score for a in g), agreed=_agreed(g))
            for p, g in zip(proposals, groups, strict=True)
        ]
        return scored, groups

    def _repetition(self, families: Mapping[str, TaskFamily], proposals: Sequence[Proposal]) -> list[float]:
        """Return the share of the batch that is like each proposal, itself counted, for rules that ask for it.

        Like as copies of the pool are, by solution or by wording; what is no task has no solution but its text.
        R-Zero clusters by BLEU instead (Huang et al. 2025, arXiv 2508.05004).
        """
        if self.reward not in BY_MAJORITY:
            return [0.0] * len(proposals)
        most = 1.0 if self.novelty is None else self.novelty
        told = [(p.text, tokens(p.text)) if p.task is None else _told(families, p.task) for p in proposals]
        return [float(np.mean([a == b or _is_like(said, other, most) for b, other in told])) for a, said in told]

    def _worth(self, solved: Proposal | None, proposal: Proposal, repetition: float = 0.0) -> float:
        """Return what a proposal is paid: by the rule where it was solved, and where it is no task.

        A copy is paid nothing, or what the worst of valid tasks is if that is less: else copying would be the better
        of the two under rules that go below 0.
        """
        if solved is not None:
            return self.rule(True, solved.agreed if self.reward in BY_MAJORITY else solved.scores, repetition)
        if proposal.task is not None:
            return min(0.0, *(self.rule(True, (score,) * self.samples, 1.0) for score in (0.0, 1.0)))
        return self.rule(False, (), repetition) if self.is_gated else self.rule(True, (0.0,) * self.samples, repetition)

    def _paid(self, round: Round, proposals: Sequence[Proposal], rewards: Sequence[float]) -> Iterator[Kept]:
        """Yield the proposals that are paid above the mean, weighted by how far."""
        mean = float(np.mean(rewards))
        for proposal, reward in zip(proposals, rewards, strict=True):
            if reward > mean and proposal.reply.ids:
                yield Kept(
                    prompt=proposal.prompt,
                    text=proposal.reply.text,
                    prompt_ids=proposal.reply.prompt_ids,
                    ids=proposal.reply.ids,
                    method=self.name,
                    generation=round.generation,
                    parent=f"{proposal.skill} by example",
                    why=f"paid {reward:.2f} as a proposal",
                    weight=reward - mean,
                    role="proposer",
                )

    def _steps(
        self,
        round: Round,
        proposals: Sequence[Proposal],
        rewards: Sequence[float],
        answers: Sequence[Sequence[Answer]],
    ) -> Iterable[Step]:
        """Return the updates of a generation."""
        if self.learn == "imitate":
            return self.imitation(round.archive, round.seed, self.steps)
        items: list[Sample] = []
        if self.trains_proposer:
            mean = float(np.mean(rewards))
            items += [Sample(p.reply, r - mean) for p, r in zip(proposals, rewards, strict=True)]
        if self.trains_solver:
            for group in answers:
                scores = [a.score for a in group]
                items += [Sample(a.reply, a.score - (sum(scores) - a.score) / (len(scores) - 1)) for a in group]
        return [step(PolicyGradient(kl=self.kl), items)] if items else []

    def state_dict(self) -> dict[str, Any]:
        """Return the tasks of its own."""
        from dataclasses import asdict

        return {"own": [asdict(task) for task in self.own]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.own = [Task(**{**task, "data": tuple(task["data"])}) for task in state["own"]]


def histogram(shares: Sequence[float]) -> dict[str, float]:
    """Return which part of some tasks has what share of right answers, in percent: none, up to all.

    The two in the middle are the default band.

    >>> [part for part in histogram([0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0, 1.0]).values()]
    [0.125, 0.125, 0.25, 0.125, 0.125, 0.25]
    """
    within: Mapping[str, Callable[[float], bool]] = {
        "0": lambda p: p == 0,
        "1-24": lambda p: 0 < p < 0.25,
        "25-50": lambda p: 0.25 <= p <= 0.5,
        "51-75": lambda p: 0.5 < p <= 0.75,
        "76-99": lambda p: 0.75 < p < 1,
        "100": lambda p: p == 1,
    }
    return {f"solved/{name}": sum(map(fits, shares)) / max(len(shares), 1) for name, fits in within.items()}


def right_answers(groups: Sequence[Sequence[Answer]], round: Round, *, name: str, why: str) -> list[Kept]:
    """Return a right answer to each task that has one, as it was sampled."""
    right = (next((a for a in group if a.is_right), None) for group in groups)
    return [
        kept_of(a.reply, round.desk.prompt(a.task), method=name, generation=round.generation, task=a.task, why=why)
        for a in right
        if a is not None
    ]


def _some(tasks: Sequence[Task], count: int, rng: np.random.Generator) -> list[Task]:
    """Return so many tasks, or all, drawn without repeats."""
    return [tasks[i] for i in rng.permutation(len(tasks))[:count]]


def _agreed(group: Sequence[Answer]) -> tuple[float, ...]:
    leader, _ = majority(group)
    return tuple(float(a.text == leader != "") for a in group)


def _told(families: Mapping[str, TaskFamily], task: Task) -> tuple[str, list[str]]:
    """Return by what copies of a task are known: its signature and its wording."""
    family = families[task.family]
    return family.signature(task), tokens(family.wording(task))


def _is_like(said: Sequence[str], other: Sequence[str], most: float) -> bool:
    # Without wording there is nothing to be alike; two empty texts are one by the formula.
    return bool(said) and rouge_l(said, other) > most


def tokens(text: str) -> list[str]:
    """Return the words, numbers and signs of a text, in lower case."""
    return _TOKEN.findall(text.casefold())


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """Return ROUGE-L F1 of two token lists: 2 LCS / (m + n) (Lin 2004); 1 for two empty ones.

    >>> rouge_l(["3", "+", "4"], ["3", "+", "5"]), rouge_l(["a"], ["b"])
    (0.6666666666666667, 0.0)
    """
    return float(Indel.normalized_similarity(one, other))
