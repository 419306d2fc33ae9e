"""Can a policy tell its right answers from its wrong ones? What it says of itself, against the verifier.

Chosen: one question, "is it right?", whose yes has a probability; AUROC and calibration error over labelled answers;
and a refusal to pay by a self-assessment that is not better than chance; a second try after the policy's own verdict,
and after what it says is wrong, where that is asked for. Left out: scales of five points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparring.agents import LanguageModelAgent, Message, Prompt, Reply, mix
from sparring.envs.tasks import quoted

from .answering import Answer, Desk

YES, NO = "yes", "no"
CRITIQUE = "What is good or wrong in it?"
BINS = 10
FEWEST = 8
"""Tasks with right and wrong answers below which nothing is said of how well these are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How much a self-assessment is worth."""

    auroc: float
    """Probability that a right answer is assessed higher than a wrong one; 1/2 is chance, and where one kind lacks."""
    error: float
    """Its standard error, were all answers to different tasks (Hanley and McNeil 1982)."""
    ece: float
    """Expected calibration error over ten bins (Naeini et al. 2015)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discernment:
    """How well the answers to one task are told apart, which is all that a reward compares.

    A policy that says yes to every answer of a skill it is good at has a good AUROC over all answers, and none here.
    """

    auroc: float
    """The mean over tasks that have right and wrong answers; 1/2 where there is no such task."""
    error: float
    """Its standard error, over tasks; infinite where there are fewer than `FEWEST`."""

    @property
    def is_informative(self) -> bool:
        """Whether it is better than chance beyond two standard errors."""
        return self.auroc - 2 * self.error > 0.5


def question(desk: Desk, answer: Answer, number: int = 0) -> Prompt:
    """Return the prompt that asks a policy whether an answer of its own is right; its moves are yes and no."""
    text = f"{desk.prompt(answer.task)}\n\nAn answer: {quoted(answer.text)}\nIs it right? [{YES}] or [{NO}]:"
    return Prompt(messages=(Message("user", text),), game=desk.game, seat=0, legal=(YES, NO), slot=(number, 0))


def assess(agent: LanguageModelAgent, desk: Desk, answers: Sequence[Answer]) -> list[float]:
    """Return the probability of yes, given that it says yes or no, for each answer; 1/2 where it says neither."""
    rows = agent.move_probabilities([question(desk, answer, n) for n, answer in enumerate(answers)])
    return [float(yes / (yes + no)) if yes + no > 0 else 0.5 for yes, no in rows]


def verdicts(agent: LanguageModelAgent, desk: Desk, answers: Sequence[Answer]) -> list[Reply]:
    """Return what a policy should have said of some answers: demonstrations to learn assessment from."""
    found = []
    for answer in answers:
        word = YES if answer.is_right else NO
        prompt_ids = agent.encode(question(desk, answer).messages)
        found.append(Reply(text=f"[{word}]", prompt_ids=prompt_ids, ids=agent.encode_move(word)))
    return found


def revise(
    agent: LanguageModelAgent, desk: Desk, answers: Sequence[Answer], *, seed: int, in_words: bool = False
) -> list[Answer]:
    """Return a second try at each task by a policy that is shown its own answer and what it says of it.

    That is a verdict, and with `in_words` a critique as well, which it writes freely (Madaan et al. 2023, arXiv
    2303.17651).
    """
    own = assess(agent, desk, answers)
    said = [judged(desk, answer, yes) for answer, yes in zip(answers, own, strict=True)]
    if in_words:
        critiques = _replies(agent, desk, [f"{text}\n{CRITIQUE}" for text in said], seed=mix(seed, 1))
        said = [f"{text}\n{CRITIQUE} {quoted(reply.text)}" for text, reply in zip(said, critiques, strict=True)]
    replies = _replies(agent, desk, [f"{text}\nYour last answer:" for text in said], seed=seed)
    return [desk.read(answer.task, reply) for answer, reply in zip(answers, replies, strict=True)]


def _replies(agent: LanguageModelAgent, desk: Desk, texts: Sequence[str], *, seed: int) -> list[Reply]:
    prompts = [
        Prompt(messages=(Message("user", text),), game=desk.game, seat=0, legal=None, slot=(n, 0), noise=mix(seed, n))
        for n, text in enumerate(texts)
    ]
    return agent.reply(prompts)


def judged(desk: Desk, answer: Answer, yes: float) -> str:
    """Return a task, an answer and the policy's verdict; `yes` is how sure it is that the answer is right."""
    word = YES if yes >= 0.5 else NO
    return f"{desk.prompt(answer.task)}\n\nAn answer: {quoted(answer.text)}\nIs it right? [{word}]"


def calibration(assessed: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Return AUROC and calibration error of some assessments, 0 to 1. Raises ValueError for none."""
    if not assessed or len(assessed) != len(right):
        raise ValueError(f"{len(assessed)} assessments of {len(right)} answers; give one of each, and at least one")
    p, is_right = np.asarray(assessed, dtype=np.float64), np.asarray(right, dtype=bool)
    auroc = _auroc(p[is_right], p[~is_right])
    n, m = int(is_right.sum()), int((~is_right).sum())
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = [
        abs(p[bins == b].mean() - is_right[bins == b].mean()) * (bins == b).mean()
        for b in range(BINS)
        if (bins == b).any()
    ]
    return Calibration(auroc=auroc, error=_auroc_error(auroc, n, m), ece=float(sum(gaps)))


def discernment(assessed: Sequence[float], right: Sequence[bool], samples: int) -> Discernment:
    """Return how well some assessments tell the answers to one task apart; each task has `samples` answers in a row."""
    p_TS = np.asarray(assessed, dtype=np.float64).reshape(-1, samples)
    is_right_TS = np.asarray(right, dtype=bool).reshape(-1, samples)
    mixed = is_right_TS.any(1) & ~is_right_TS.all(1)
    found = [_auroc(p[is_right], p[~is_right]) for p, is_right in zip(p_TS[mixed], is_right_TS[mixed], strict=True)]
    error = float(np.std(found, ddof=1) / math.sqrt(len(found))) if len(found) >= FEWEST else math.inf
    return Discernment(auroc=float(np.mean(found)) if found else 0.5, error=error)


def _auroc(high: np.ndarray, low: np.ndarray) -> float:
    """Return the share of pairs in which the first is larger, ties half (Mann and Whitney 1947)."""
    if not len(high) or not len(low):
        return 0.5
    return float((high[:, None] > low[None]).mean() + 0.5 * (high[:, None] == low[None]).mean())


def _auroc_error(auroc: float, n: int, m: int) -> float:
    if not n or not m:
        return 0.5
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (n - 1) * (q1 - auroc**2) + (m - 1) * (q2 - auroc**2)
    return math.sqrt(max(spread, 0.0) / (n * m))
