"""Which answers a policy is to learn from: filters by name, and what each saw of an answer that it lets pass.

Chosen: filters are joined by +, and each looks at all answers of a generation, whatever another drops. Left out: a
threshold for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from sparring.envs import near

from .answering import Answer, majority
from .funnel import Filter, each

Groups = Sequence[Sequence[Answer]]


def _by_verifier(groups: Groups, threshold: float) -> Filter[Answer]:
    return each("the verifier says it is wrong", lambda answer: answer.is_right, lambda answer: f"{answer.score:g}")


def _by_majority(groups: Groups, threshold: float) -> Filter[Answer]:
    won = {id(a): majority(group)[1] for group in groups for a in group if leads(group, threshold) == a.text != ""}
    return each(
        "it is not what most answers say", lambda answer: id(answer) in won, lambda answer: f"{won[id(answer)]:.2f}"
    )


def leads(group: Sequence[Answer], threshold: float) -> str:
    """Return what most answers to a prompt say; empty where they are a smaller share than `threshold`."""
    text, share = majority(group)
    return text if share >= threshold else ""


def _by_confidence(groups: Groups, threshold: float) -> Filter[Answer]:
    bound = float(np.quantile([a.confidence for group in groups for a in group], threshold))
    return each(
        "the policy is less sure of it than of others",
        lambda answer: answer.confidence >= bound,
        lambda answer: f"{answer.confidence:.2f}",
    )


def _by_length(
    groups: Groups, threshold: float, at: float = 0.5, reason: str = "it is short or long for its kind"
) -> Filter[Answer]:
    lengths: dict[tuple[str, int], list[int]] = {}
    for answer in (a for group in groups for a in group if a.text):
        lengths.setdefault((answer.task.family, answer.task.level), []).append(len(answer.text))
    # Never the longest: one answer that does not end would have all others dropped.
    usual = {skill: int(np.quantile(found, at, method="inverted_cdf")) for skill, found in lengths.items()}

    def fits(answer: Answer) -> bool:
        length = usual[answer.task.family, answer.task.level]
        return threshold * length <= len(answer.text) and threshold * len(answer.text) <= length

    def figure(answer: Answer) -> str:
        return f"{len(answer.text)} of {usual[answer.task.family, answer.task.level]}"

    return each(reason, fits, figure)


KEEPS: Mapping[str, Callable[[Groups, float], Filter[Answer]]] = MappingProxyType(
    {
        "verifier": _by_verifier,
        "majority": _by_majority,
        "confidence": _by_confidence,
        "length": _by_length,
        "longest": partial(_by_length, at=0.9, reason="it is short beside the longest of its kind, or longer by far"),
    }
)
"""Filters by name, each made for the answers of a generation and a threshold: the least share of a majority, the
quantile of confidence, or of two lengths, an answer's and the median of its kind, the least share that the shorter is
of the longer. "longest" takes for the latter the length that nine of ten do not exceed: where answers end too early
(Lee et al. 2025, arXiv 2502.01612)."""
ENSEMBLE = "ensemble"
"""One more: what at least `threshold` of the policy's last `members` selves answer too."""
NONE = "none"
"""No filter at all."""
IMPERSONAL = ("verifier", "length", "longest")
"""Filters that ask the policy for no opinion of its answers."""


def read_keep(words: str) -> tuple[str, ...]:
    """Return the names of filters that are joined by +. Raises ValueError for what is none, with the near name.

    >>> read_keep("length+ensemble"), read_keep("none")
    (('length', 'ensemble'), ())
    """
    names, known = words.split("+"), (*KEEPS, ENSEMBLE, NONE)
    for name in names:
        if name not in known:
            raise ValueError(f"unknown keep {name!r}.{near(name, known)}")
    if len(set(names)) < len(names) or (NONE in names and len(names) > 1):
        raise ValueError(f"keep={words!r}: name each filter once, and {NONE} alone")
    return () if words == NONE else tuple(names)
