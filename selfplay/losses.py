"""Losses of policy and critic as pure functions of tensors; each sums over items, the learner divides by turns.

Identical samples (same prompt, same tokens, same old log-probabilities) are computed once: `gain` and `pain` are the
sums of their positive and of their negative advantages, which is all that a clipped surrogate needs of them.

Shapes: T sampled tokens, N predictions of a critic, V vocabulary. Log-probabilities in nats.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Metrics = dict[str, Tensor]

UNCLIPPED = (1.0, float("inf"))
"""PPO's clip below and above 1 with which it never clips: a ratio is never below 0."""

LARGEST_LOG_RATIO = 20.0
"""Nats. Larger log-ratios count as this, without a gradient: exp overflows at 88, and infinity times 0 is no loss."""


def ppo_loss(
    logp_T: Tensor,
    old_logp_T: Tensor,
    gain_T: Tensor,
    pain_T: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float = math.inf,
    weight_T: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """Schulman et al. 2017, eq. 7, token by token: -sum w min(r A, clip(r, 1 - low, 1 + high) A).

    With A > 0 the minimum is A min(r, 1 + high), with A < 0 it is A max(r, 1 - low).

    Args:
        logp_T: of the policy that learns.
        old_logp_T: of the policy that the ratio r is taken to.
        gain_T: sum of the positive advantages of each token's samples.
        pain_T: sum of their negative advantages.
        clip_low: how far below 1 a ratio still counts; 1 or more never clips.
        clip_high: how far above 1 a ratio still counts.
        dual_clip: c of Ye et al. 2020 (arXiv 1912.09729): with A < 0 the term is A min(max(r, 1 - low), c), so that
            one token that became much likelier cannot outweigh all others.
        weight_T: w, for instance `truncated_weights`; ones where None.

    Raises ValueError if `dual_clip` is not above 1.
    """
    if not dual_clip > 1:
        raise ValueError(f"dual_clip must be above 1 (3 is usual, infinity is none), not {dual_clip}")
    ratio_T = (logp_T - old_logp_T).clamp(max=LARGEST_LOG_RATIO).exp()
    term_T = gain_T * ratio_T.clamp(max=1 + clip_high) + pain_T * ratio_T.clamp(min=1 - clip_low, max=dual_clip)
    loss = -weighted_sum(term_T, weight_T)
    with torch.no_grad():
        is_clipped_T = (ratio_T > 1 + clip_high) & (gain_T > 0)
        is_clipped_T |= ((ratio_T < 1 - clip_low) | (ratio_T > dual_clip)) & (pain_T < 0)
        metrics = {"clipped": is_clipped_T.float().mean()}
    return loss, metrics


def reinforce_loss(
    logp_T: Tensor, old_logp_T: Tensor, gain_T: Tensor, pain_T: Tensor, *, weight_T: Tensor | None = None
) -> tuple[Tensor, Metrics]:
    """Williams 1992 with importance weights: PPO that never clips. On fresh samples r = 1 and grad r = grad log p."""
    low, high = UNCLIPPED
    return ppo_loss(logp_T, old_logp_T, gain_T, pain_T, clip_low=low, clip_high=high, weight_T=weight_T)


def truncated_weights(logp_T: Tensor, sampler_logp_T: Tensor, cap: float) -> Tensor:
    """Return min(p / p_sampler, cap) without a gradient, [T]: truncated importance sampling (Ionides 2008).

    Corrects for a sampler whose numbers are not quite the learner's: `logp_T` is then the learner's own before its
    update, and also the `old_logp_T` of `ppo_loss`. Raises ValueError if `cap` is below 1, the weight of a token on
    which both agree.
    """
    if not cap >= 1:
        raise ValueError(f"cap must be 1 or more (2 is usual), not {cap}")
    return (logp_T - sampler_logp_T).detach().exp().clamp(max=cap)


def value_loss(
    value_N: Tensor,
    old_N: Tensor,
    target_N: Tensor,
    *,
    clip: float | None = None,
    weight_N: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """Half the squared error of a critic, summed; with `clip` the larger of that and of the error after clipping.

    That is PPO's value clipping (Schulman et al.'s code; Engstrom et al. 2020, arXiv 2005.12729, section 3): no
    gradient beyond `clip` of the old prediction, unless the critic has moved away from its target.

    Args:
        value_N: predicted returns.
        old_N: what the critic predicted before the update.
        target_N: the returns it should have predicted.
        clip: in rewards; None never clips.
        weight_N: how often each item counts; ones where None.

    Raises ValueError if `clip` is not above 0.
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, or None for no value clipping, not {clip}")
    error_N = (value_N - target_N).square()
    is_clipped_N = torch.zeros_like(error_N, dtype=torch.bool)
    if clip is not None:
        near_N = old_N + (value_N - old_N).clamp(-clip, clip)
        clipped_N = (near_N - target_N).square()
        is_clipped_N = clipped_N > error_N
        error_N = torch.maximum(error_N, clipped_N)
    return weighted_sum(0.5 * error_N, weight_N), {"clipped": is_clipped_N.float().mean()}


def entropy(logp_TV: Tensor) -> Tensor:
    """Return -sum p log p of each distribution, in nats, [T]."""
    return -(logp_TV.exp() * logp_TV).sum(-1)


def kl_divergence(logp_TV: Tensor, other_TV: Tensor) -> Tensor:
    """Return KL(p || other) of each pair of distributions, exactly, in nats, [T]. Good as a loss and in a reward."""
    return (logp_TV.exp() * (logp_TV - other_TV)).sum(-1)


def kl_k1(logp_T: Tensor, reference_T: Tensor) -> Tensor:
    """Return log p - log ref of each sampled token, in nats, [T]: k1 of Schulman, "Approximating KL divergence".

    Unbiased for KL(p || ref), of either sign, noisy. For a reward: detached and subtracted there, its policy gradient
    is that of KL(p || ref). Not for a loss: its gradient, grad log p, is zero on average, whatever the reference.
    """
    return logp_T - reference_T


def kl_k2(logp_T: Tensor, reference_T: Tensor) -> Tensor:
    """Return (log p - log ref)^2 / 2 of each sampled token, [T]: k2 of Schulman, "Approximating KL divergence".

    Biased as a measure of KL(p || ref). For a loss: on fresh samples its gradient is that of KL(p || ref) on average.
    Not for a reward.
    """
    return 0.5 * (logp_T - reference_T).square()


def kl_k3(logp_T: Tensor, reference_T: Tensor) -> Tensor:
    """Return ref/p - 1 - log(ref/p) of each sampled token, [T]: k3 of Schulman, "Approximating KL divergence".

    Unbiased for KL(p || ref), never negative, and less noisy than k1 where the two are close: the one to report. As a
    loss it holds the policy too, but by the other divergence: on fresh samples its gradient is that of KL(ref || p) on
    average. Not for a reward.
    """
    log_ratio_T = (reference_T - logp_T).clamp(max=LARGEST_LOG_RATIO)
    return log_ratio_T.expm1() - log_ratio_T


class AdaptiveKl:
    """The weight of a KL penalty, steered so that the KL stays near a target (Ziegler et al. 2019, arXiv 1909.08593).

    Section 2.2: e = clip(KL / target - 1, -0.2, 0.2), weight <- weight (1 + K e), here with K = min(n / horizon, 1): a
    batch of more than the horizon counts as one of just so many, else the factor would pass 0 at five horizons.
    """

    def __init__(self, weight: float, target: float, horizon: float) -> None:
        """Start at `weight`, in rewards a nat, and steer to a KL of `target` nats.

        `horizon` counts whatever `update` counts: over so many the weight changes by a fifth at most, more or less.
        Raises ValueError if one of them is not above 0.
        """
        for name, number in (("weight", weight), ("target", target), ("horizon", horizon)):
            if not number > 0:
                raise ValueError(f"{name} must be above 0, not {number}; for no KL penalty, leave the controller out")
        self.weight, self.target, self.horizon = weight, target, horizon

    def update(self, kl: float, n: int) -> float:
        """Take in a KL measured over `n` samples, and return the new weight: 0.8 to 1.2 times the old one.

        Raises FloatingPointError if the KL is not a number.
        """
        if math.isnan(kl):
            raise FloatingPointError("the KL is not a number: the policy is broken, so go back to an earlier one")
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.weight *= 1 + error * min(n / self.horizon, 1.0)
        return self.weight

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as plain data."""
        return {"weight": self.weight, "target": self.target, "horizon": self.horizon}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.weight, self.target, self.horizon = state["weight"], state["target"], state["horizon"]


def weighted_sum(terms: Tensor, weights: Tensor | None) -> Tensor:
    """Return sum w x, or sum x where there are no weights."""
    return terms.sum() if weights is None else (weights * terms).sum()
