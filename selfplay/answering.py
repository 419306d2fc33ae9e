"""A policy answers tasks: sampled, read and scored as in the game of one seat that it may also be played in.

Chosen: prompts are those of `Contest(single=True)`, so that what is trained here is what plays there. Left out: hints
and second tries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.agents import Agent, LanguageModelAgent, Message, Prompt, Reply, mix
from sparring.envs import read_move
from sparring.envs.contest import Contest, ContestState
from sparring.envs.tasks import Task, TaskFamily, read_answer, write_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to a task."""

    task: Task
    reply: Reply
    """What was sampled, with the prompt it was sampled for."""
    text: str
    """What was read as the answer; empty where nothing was."""
    score: float
    """What the verifier says, 0 to 1. Methods that may not know it do not look."""

    @property
    def is_right(self) -> bool:
        """Whether the verifier has nothing to add."""
        return self.score >= 1.0

    @property
    def confidence(self) -> float:
        """Mean log-probability of a sampled token, in nats; minus infinity for a reply without tokens."""
        logprobs = self.reply.logprobs
        return sum(logprobs) / len(logprobs) if logprobs else -math.inf


class Desk:
    """Asks tasks of some families, and reads and scores what is answered."""

    def __init__(self, families: Iterable[TaskFamily], *, skin: str = "brief") -> None:
        """Set up the families that are asked about, and the wording of `Contest` in which they are."""
        self.families = {family.name: family for family in families}
        self.game = Contest(task=tuple(self.families.values()), level=0, single=True, skin=skin)

    def prompt(self, task: Task) -> str:
        """Return the whole text that asks a task."""
        return self.game.prompt(ContestState(task), 0)

    def ask(self, agent: Agent, tasks: Sequence[Task], *, samples: int = 1, seed: int = 0) -> list[list[Answer]]:
        """Return so many answers of an agent to each task; the same seed draws the same noise.

        Raises RuntimeError, saying why, where there is no answer through no doing of the agent.
        """
        prompts = [self._prompt(task, mix(mix(seed, n), s), n) for n, task in enumerate(tasks) for s in range(samples)]
        replies = iter(agent.reply(prompts) if prompts else [])
        return [[self.read(task, next(replies)) for _ in range(samples)] for task in tasks]

    def _prompt(self, task: Task, noise: int, number: int) -> Prompt:
        messages = (Message("user", self.prompt(task)),)
        return Prompt(messages=messages, game=self.game, seat=0, legal=None, slot=(number, 0), noise=noise)

    def read(self, task: Task, reply: Reply) -> Answer:
        """Return a reply as an answer."""
        if reply.fault:
            raise RuntimeError(f"a task could not be answered: {reply.fault}")
        text = self.heard(reply.text)
        score = 0.0 if text is None else self.families[task.family].verify(task, text)
        return Answer(task=task, reply=reply, text=text or "", score=score)

    def heard(self, text: str) -> str | None:
        """Return what is read as the answer in the text of a reply; None where nothing is."""
        move = read_move(text, None, brackets=self.game.keeps_brackets).move
        return None if move is None else read_answer(move)

    def readable(self, answer: Answer) -> bool:
        """Return whether an answer could be read and is written as its task asks, right or not."""
        return answer.text != "" and self.families[answer.task.family].readable(answer.task, answer.text)

    def demonstrate(self, agent: LanguageModelAgent, task: Task, answer: str | None = None) -> Reply:
        """Return an answer, the right one if none is given, as the agent would have said it.

        Nobody sampled it, so it has no log-probabilities. Raises ValueError where no right answer is known.
        """
        family = self.families[task.family]
        answer = family.solve(task) if answer is None else answer
        if answer is None:
            raise ValueError(f"{family.name} knows no answer to {task.prompt[:60]!r}; give one")
        text = write_answer(answer, brackets=family.keeps_brackets)
        prompt_ids = agent.encode((Message("user", self.prompt(task)),))
        return Reply(text=text, prompt_ids=prompt_ids, ids=agent.encode_speech(text))


def majority(answers: Sequence[Answer]) -> tuple[str, float]:
    """Return the answer that was given most often, the first of equals, and its share of all answers.

    Answers that could not be read vote for nothing, and count.
    """
    votes = Counter(answer.text for answer in answers if answer.text)
    if not votes:
        return "", 0.0
    text, count = votes.most_common(1)[0]
    return text, count / len(answers)


def pass_at(k: int, right: int, samples: int) -> float:
    """Return the probability that one of k samples is right, unbiased: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021).

    Raises ValueError unless there are at least k samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs {k} samples or more, not {samples}")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def voting_gain(groups: Sequence[Sequence[Answer]]) -> tuple[float, float, Any]:
    """Return maj@k less pass@1 over labelled tasks, its standard error, and (maj@k, pass@1).

    Voting sharpens what is right more often than any one wrong answer, and nothing else: where this is not above 0 it
    only makes a policy surer of itself.
    """
    won = [float(any(a.is_right and a.text == majority(group)[0] for a in group)) for group in groups]
    single = [sum(a.is_right for a in group) / len(group) for group in groups]
    gains = [w - s for w, s in zip(won, single, strict=True)]
    mean = sum(gains) / len(gains)
    spread = math.sqrt(sum((g - mean) ** 2 for g in gains) / max(len(gains) - 1, 1) / len(gains))
    return mean, spread, (sum(won) / len(won), sum(single) / len(single))
