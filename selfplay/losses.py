"""Losses as pure functions of tensors. Each sums over tokens; the learner divides by the number of turns.

Identical samples (same prompt, same tokens, same old log-probabilities) are computed once: `gain` and `pain` are the
sums of their positive and of their negative advantages, which is all that a clipped surrogate needs of them.

Shapes: T sampled tokens, V vocabulary. Log-probabilities in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

Metrics = dict[str, Tensor]

UNCLIPPED = (1.0, float("inf"))
"""PPO's clip below and above 1 with which it never clips: a ratio is never below 0."""


def ppo_loss(
    logp_T: Tensor,
    old_logp_T: Tensor,
    gain_T: Tensor,
    pain_T: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> tuple[Tensor, Metrics]:
    """Schulman et al. 2017, eq. 7, token by token: -sum min(r A, clip(r, 1 - low, 1 + high) A).

    With A > 0 the minimum is A min(r, 1 + high), with A < 0 it is A max(r, 1 - low).
    """
    ratio_T = (logp_T - old_logp_T).exp()
    loss = -(gain_T * ratio_T.clamp(max=1 + clip_high) + pain_T * ratio_T.clamp(min=1 - clip_low)).sum()
    with torch.no_grad():
        is_clipped_T = ((ratio_T > 1 + clip_high) & (gain_T > 0)) | ((ratio_T < 1 - clip_low) & (pain_T < 0))
        metrics = {"clipped": is_clipped_T.float().mean()}
    return loss, metrics


def reinforce_loss(logp_T: Tensor, old_logp_T: Tensor, gain_T: Tensor, pain_T: Tensor) -> tuple[Tensor, Metrics]:
    """Williams 1992 with importance weights: PPO that never clips. On fresh samples r = 1 and grad r = grad log p."""
    return ppo_loss(logp_T, old_logp_T, gain_T, pain_T, clip_low=UNCLIPPED[0], clip_high=UNCLIPPED[1])


def entropy(logp_TV: Tensor) -> Tensor:
    """Return -sum p log p of each distribution, in nats, [T]."""
    return -(logp_TV.exp() * logp_TV).sum(-1)


def kl_divergence(logp_TV: Tensor, other_TV: Tensor) -> Tensor:
    """Return KL(p || other) of each pair of distributions, exactly, in nats, [T]."""
    return (logp_TV.exp() * (logp_TV - other_TV)).sum(-1)
