"""How far a run's policy has come from the one that it started from, for the guard.

Chosen: an estimate from turns that were played anyway; where the learner's reference stays the first policy, that is
the start, else its trainable weights lie on the CPU. Left out: the exact KL, which wants two distributions a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sparring.agents import Reply

from .episode import Episode
from .learner import Learner
from .losses import kl_k3
from .reading import Key

MOST = 256
"""Turns that a KL is estimated from."""


class Start:
    """The policy that a run started from."""

    def __init__(self, learner: Learner) -> None:
        """Keep the learner's policy as it is now."""
        self.learner = learner
        self.anchored = learner.reference is not None and not learner.anchor_every
        """Whether the learner's reference is this policy, and stays so."""
        own = {} if self.anchored else _trainable(learner)
        self._weights = {name: weight.detach().to("cpu", copy=True) for name, weight in own.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold; nothing where the reference is the start, for that has its own place."""
        return self._weights

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        self._weights = dict(tensors)

    def kl(self, episodes: Sequence[Episode]) -> float | None:
        """Estimate KL(policy || start), in nats a token, of the policy that played as agent 0; None if it never did.

        The mean of k3 (see `kl_k3`) over the tokens of `MOST` turns, spread evenly. Like the other metrics of a
        generation it speaks of the policy before the update: its own log-probabilities are those that it sampled with,
        so the estimate is unbiased. All processes of a run must call it.
        """
        replies = sampled(episodes)
        if not replies:
            return None
        told = self._score(replies)
        start_T = torch.tensor([lp for r in replies for lp in told[r.prompt_ids, r.ids]], dtype=torch.float64)
        policy_T = torch.tensor([lp for r in replies for lp in r.logprobs], dtype=torch.float64)
        return float(kl_k3(policy_T, start_T).mean())

    def _score(self, replies: Sequence[Reply]) -> dict[Key, tuple[float, ...]]:
        if self.anchored:
            return self.learner.score(replies, reference=True)
        with self._in_place():
            return self.learner.score(replies)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Within it the learner's policy is the start; afterwards it is what it was, to the bit."""
        own = _trainable(self.learner)
        present = {name: weight.detach().to("cpu", copy=True) for name, weight in own.items()}
        _put(own, self._weights)
        try:
            yield
        finally:
            _put(own, present)
            self.learner.agent.flush()


def sampled(episodes: Sequence[Episode]) -> list[Reply]:
    """Return at most `MOST` of agent 0's replies, spread evenly over the games."""
    replies = [turn.reply for e in episodes for turn in e.turns if turn.player == 0 and turn.reply.ids]
    return replies[:: -(-len(replies) // MOST)] if replies else []


def _trainable(learner: Learner) -> dict[str, Tensor]:
    return learner.tensors()["model"]


@torch.no_grad()
def _put(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    for name, weight in own.items():
        weight.copy_(weights[name])


@torch.no_grad()
def largest_weight(learner: Learner) -> float:
    """Return the largest |weight| of all that the learner trains; infinite or nan if one of them is."""
    weights = [p for group in learner.optimizer.param_groups for p in group["params"] if p.numel()]
    ends = [end.float() for weight in weights for end in weight.aminmax()]
    return float(torch.stack([end.to(ends[0].device) for end in ends]).abs().max())
