"""NashConv of players whose move odds cannot be asked for, such as models that reason before they move.

Each prompt is asked many times, and the shares of the replies stand in for the probabilities. Every expected
reward is a sum of products of shares of different prompts, and prompts are sampled apart, so each is
unbiased. Two estimates follow, one too high and one too low on average (as in cross-validation):

- plug-in: the NashConv of the shares. Too high, because the best response also exploits the sampling noise:
  the expectation of a maximum is at least the maximum of the expectations.
- split: best responses are found on one half of the replies and valued on the other, and the other way round.
  Too low, because what is valued is some response and not the best one.

The bounds are outer quantiles of both under resampling of the replies. A reply that never came would never
be drawn again, so each bound is also taken with about one reply a prompt replaced by another one, any legal
move or (for the upper bound) an illegal reply, and the wider one stands. Without that, at 16 to 64 replies a
prompt, players that are nearly deterministic in Kuhn poker were outside of 95% bounds in up to 41% of cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sparring.agents import Agent, Prompt, ask, mix
from sparring.agents.sweeps import Response, Table, best_response, legal_only, root_values, with_response
from sparring.envs import Game, read_move
from sparring.envs.tree import Floats, Ints, Tree

from .exploitability import solvable_tree

_ILLEGAL = -1
"""Stands for the slot of an illegal reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A NashConv that was sampled."""

    plug_in: float
    """Too high on average."""
    split: float
    """Too low on average; may be negative."""
    lower: float
    """At least 0. The truth is below it in about (1 - confidence) / 2 of all cases, or fewer."""
    upper: float
    """The truth is above it in about (1 - confidence) / 2 of all cases, or fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledExploitability:
    """Estimates of the fields of `Exploitability` that have the same names."""

    nashconv: Estimate
    nashconv_legal: Estimate
    illegal_mass_max: float
    """The highest share of illegal replies over all prompts."""
    samples: int
    """Replies a prompt."""
    prompts: int
    """Distinct prompts."""
    confidence: float


def sampled_exploitability(
    game: Game[Any],
    agent: Agent,
    *,
    samples: int,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 200,
    batch: int = 1024,
    limit: int = 1_000_000,
) -> SampledExploitability:
    """Estimate the NashConv of `agent` in `game` from its replies to every prompt, with bounds.

    The module's docstring says why the bounds hold.

    Args:
        game: as for `exploitability`.
        agent: is asked every prompt `samples` times, each time with another noise key.
        samples: replies a prompt, at least 2, half of them to find responses and half to value them.
        seed: of the noise keys and of the bootstrap.
        confidence: that the truth lies between `lower` and `upper`.
        resamples: of the bootstrap.
        batch: the most prompts in one call of the agent.
        limit: the most states.
    """
    if samples < 2 or not 0.0 < confidence < 1.0:
        raise ValueError(f"samples must be 2 or more and confidence in (0, 1), not {samples} and {confidence}")
    tree = solvable_tree(game, limit=limit)
    slots_NP = sample_slots(game, tree, agent, samples=samples, seed=seed, batch=batch)
    rng = np.random.default_rng(seed)
    draws = [_resampled(tree, slots_NP, rng) for _ in range(resamples)]
    return SampledExploitability(
        nashconv=_estimate(tree, slots_NP, draws, lambda table: table, confidence=confidence),
        nashconv_legal=_estimate(tree, slots_NP, draws, lambda table: legal_only(tree, table), confidence=confidence),
        illegal_mass_max=float((slots_NP == _ILLEGAL).mean(axis=0).max(initial=0.0)),
        samples=samples,
        prompts=len(tree.prompts),
        confidence=confidence,
    )


def sample_slots(game: Game[Any], tree: Tree[Any], agent: Agent, *, samples: int, seed: int, batch: int) -> Ints:
    """Return the slot of each reply, -1 where it was illegal. Shape [samples, P]."""
    prompts = list(_prompts(game, tree, samples, seed))
    slots = []
    for start in range(0, len(prompts), batch):
        asked = prompts[start : start + batch]
        for prompt, reply in zip(asked, agent.reply(asked), strict=True):
            slots.append(_slot(tree, prompt, reply.text))
    return np.array(slots, dtype=np.int64).reshape(samples, len(tree.prompts))


def _prompts(game: Game[Any], tree: Tree[Any], samples: int, seed: int) -> Iterator[Prompt]:
    for sample in range(samples):
        for i, (seat, text, legal) in enumerate(tree.prompts):
            number = sample * len(tree.prompts) + i
            yield ask(game, text, seat, legal, slot=(number, seat), noise=mix(mix(seed, 0), number))


def _slot(tree: Tree[Any], prompt: Prompt, text: str) -> int:
    legal = prompt.legal or ()
    move = read_move(text, legal).move
    if move is None:
        return _ILLEGAL
    return int(tree.first_slot_P[prompt.slot[0] % len(tree.prompts)]) + legal.index(move)


class _Draw(NamedTuple):
    """Replies drawn again, each of shape [samples, P]."""

    seen: Ints
    """Only replies that came."""
    or_legal: Ints
    """With a few others that are legal."""
    or_any: Ints
    """With a few others, legal or not."""


def _resampled(tree: Tree[Any], slots_NP: Ints, rng: np.random.Generator) -> _Draw:
    """Draw the replies of each prompt again, with replacement, within each of the two halves."""
    seen_NP = np.empty_like(slots_NP)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        part = slots_NP[half]
        seen_NP[half] = part[rng.integers(len(part), size=part.shape), np.arange(part.shape[1])]
    # One reply in each half of each prompt, on average.
    is_other_NP = rng.random(slots_NP.shape) < 1.0 / (len(slots_NP) // 2 + 1)
    legal_P = np.diff(tree.first_slot_P)
    legal_NP = tree.first_slot_P[:-1] + rng.integers(legal_P, size=slots_NP.shape)
    is_illegal_NP = rng.integers(legal_P + 1, size=slots_NP.shape) == legal_P
    any_NP = np.where(is_illegal_NP, _ILLEGAL, legal_NP)
    return _Draw(seen_NP, np.where(is_other_NP, legal_NP, seen_NP), np.where(is_other_NP, any_NP, seen_NP))


def _estimate(
    tree: Tree[Any],
    slots_NP: Ints,
    draws: list[_Draw],
    convention: Callable[[Table], Table],
    *,
    confidence: float,
) -> Estimate:
    def table(slots: Ints) -> Table:
        return convention(_shares(tree, slots))

    def plug_in(slots: Ints) -> float:
        whole = table(slots)
        return _gain(tree, whole, _responses(tree, whole))

    # They are kept while the replies that value them are drawn again: their value has no bias to add to.
    responses = [_responses(tree, table(slots_NP[start::2])) for start in (0, 1)]

    def split(slots: Ints) -> float:
        # The responses to each half are valued on the other half.
        return sum(_gain(tree, table(slots[1 - start :: 2]), responses[start]) for start in (0, 1)) / 2

    tail = (1.0 - confidence) / 2
    lows = np.quantile([(split(draw.seen), split(draw.or_legal)) for draw in draws], tail, axis=0)
    highs = np.quantile([(plug_in(draw.seen), plug_in(draw.or_any)) for draw in draws], 1.0 - tail, axis=0)
    lower = max(0.0, float(lows.min()))
    return Estimate(plug_in=plug_in(slots_NP), split=split(slots_NP), lower=lower, upper=max(lower, float(highs.max())))


def _shares(tree: Tree[Any], slots_NP: Ints) -> Table:
    legal = slots_NP[slots_NP != _ILLEGAL]
    counts_M: Floats = np.bincount(legal, minlength=len(tree.prompt_M)).astype(float)
    return Table(counts_M / len(slots_NP), (slots_NP == _ILLEGAL).mean(axis=0))


def _responses(tree: Tree[Any], table: Table) -> list[Response]:
    return [best_response(tree, table, seat) for seat in (0, 1)]


def _gain(tree: Tree[Any], table: Table, responses: list[Response]) -> float:
    """Return what the two seats gain by the responses, summed: NashConv if they are the best ones."""
    gained = [root_values(tree, with_response(tree, table, answer))[answer.seat] for answer in responses]
    return float(sum(gained) - root_values(tree, table).sum())
