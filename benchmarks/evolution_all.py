"""All four methods on one suite, alone and together, at equal tokens: what `evolution.py` runs as the trial "all"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evolution_arms import Control, Start, Trial, contest_of

from sparring.agents import LanguageModelAgent
from sparring.envs.tasks import Task
from sparring.selfplay.evolve import Experience, Method, Round, Step
from sparring.selfplay.gate import Gate
from sparring.selfplay.play_method import SelfPlay
from sparring.selfplay.rules import make_rule
from sparring.selfplay.self_improving import SelfImproving
from sparring.selfplay.self_instruct import SelfInstruct
from sparring.selfplay.self_training import SelfTraining
from sparring.selfplay.skills import Curriculum, read_skill

SKILLS = ("addition-0", "copy-1", "copy-2", "reverse-2", "sort-1", "sort-2")
BUDGET = 120_000
"""Tokens a generation that the model reads, whether to answer, to propose, to play or to learn."""
ENDLESS = 10_000
"""Updates or steps, of which no generation takes so many."""


class Meter:
    """Counts the tokens that a model reads while it is on; pads are none, and what is remembered is not read again."""

    def __init__(self, agent: LanguageModelAgent) -> None:
        self.tokens = 0
        self._handle = agent.model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _: Any, __: Any, given: dict[str, Any]) -> None:
        ids, mask = given["input_ids"], given.get("attention_mask")
        self.tokens += ids.numel() if mask is None else int(mask[:, -ids.shape[1] :].sum())

    def close(self) -> None:
        self._handle.remove()


@dataclass(kw_only=True)
class Budgeted:
    """A method that goes on learning in a generation until so many tokens are spent."""

    method: Method
    tokens: int = BUDGET

    def __post_init__(self) -> None:
        self.name = self.method.name
        self.modules: Mapping[str, str] = self.method.modules

    def gather(self, round: Round) -> Experience:
        meter = Meter(round.agent)
        found = self.method.gather(round)
        found.steps = self._until_spent(iter(found.steps), meter, found)
        return found

    def _until_spent(self, steps: Iterator[Step], meter: Meter, found: Experience) -> Iterator[Step]:
        try:
            for take in steps:
                yield take
                if meter.tokens >= self.tokens:
                    break
        finally:
            meter.close()
            found.metrics["tokens"] = float(meter.tokens)

    def state_dict(self) -> dict[str, Any]:
        return self.method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.method.load_state_dict(state)


def self_training(seeds: Sequence[Task]) -> Method:
    return Budgeted(method=SelfTraining(prompts=500, samples=4, steps=ENDLESS))


def self_instruct(seeds: Sequence[Task]) -> Method:
    told: dict[str, Any] = {"novelty": 1.0, "band": (0.1, 0.9), "proposals": 200, "proposing": 4, "steps": ENDLESS}
    return Budgeted(method=SelfInstruct(seeds=seeds, **told))


def self_improving(seeds: Sequence[Task]) -> Method:
    return Budgeted(method=SelfImproving(prompts=128, samples=8, updates=ENDLESS))


def self_play(seeds: Sequence[Task]) -> Method:
    """Return two copies that answer the same task better than each other."""
    game = contest_of(Curriculum([read_skill(word) for word in SKILLS]))
    return Budgeted(method=SelfPlay(game=game, rule=lambda learner: make_rule("ppo", learner), updates=ENDLESS))


ALONE: Mapping[str, Callable[[Sequence[Task]], Method]] = {
    "self-training": self_training,
    "self-instruct": self_instruct,
    "self-improving": self_improving,
    "self-play": self_play,
}


def together(seeds: Sequence[Task]) -> Mapping[str, tuple[Method, float]]:
    return {name: (make(seeds), 1.0) for name, make in ALONE.items()}


ALL = Trial(
    title="All four methods on one suite, at equal tokens",
    claim="whether the combination beats each alone",
    start=Start(skills=SKILLS, labelled=500, steps=220, max_new_tokens=16, proposes=True, contests=True),
    generations=8,
    arms={
        "all four": together,
        **ALONE,
        "seed data only": lambda seeds: Budgeted(method=Control(steps=ENDLESS)),
    },
    shared={"probe_tasks": 32, "samples": 4, "hidden_tasks": 100, "gate": Gate(margin=0.1)},
    lr=1e-3,
)
