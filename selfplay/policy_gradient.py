"""Policy gradients from samples with advantages: PPO, and REINFORCE as PPO that never clips.

Held near a reference by a KL, and critics trained along, where asked. Length of replies is not normalised away: a
sample's loss is the sum over its tokens, as the log-probability of a reply is.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .advantage import Sample
from .groups import Group, merge
from .losses import AdaptiveKl, entropy, kl_divergence, kl_k2, kl_k3, ppo_loss, truncated_weights, value_loss
from .reading import Key, Read, Tally

if TYPE_CHECKING:
    from .learner import Learner

SAMPLED = {"k2": kl_k2, "k3": kl_k3}
ESTIMATORS = ("exact", "k1", "k2", "k3")


class PolicyGradient:
    """Clipped policy gradient with an entropy bonus, a KL to the reference and, where there is a critic, its loss."""

    def __init__(
        self,
        *,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        dual_clip: float = float("inf"),
        entropy: float = 0.0,
        kl: float = 0.0,
        kl_estimator: str = "exact",
        kl_target: float | None = None,
        kl_horizon: float = 10_000,
        value_weight: float = 0.5,
        value_clip: float | None = None,
        standardize: bool = False,
        importance_cap: float | None = None,
    ) -> None:
        """Set the numbers of the loss.

        Args:
            clip_low: PPO's clip below 1; 1 or more never clips.
            clip_high: PPO's clip above 1; infinity never clips.
            dual_clip: where advantages are negative, the ratio counts as this at most (Ye et al. 2020).
            entropy: weight of the entropy bonus, in rewards a nat.
            kl: weight of KL(policy || reference), in rewards a nat.
            kl_estimator: "exact": over the whole vocabulary, as a loss; "k2" or "k3": from the sampled tokens, as a
                loss (k3 as GRPO has it, though its gradient is that of KL(reference || policy)); "k1": from the
                sampled tokens, taken off each turn's advantage.
            kl_target: nats a token that the weight of the KL is steered to (Ziegler et al. 2019); None: it is fixed.
            kl_horizon: turns over which it is steered.
            value_weight: weight of the critic's loss.
            value_clip: how far, in rewards, a value may move in an update before its loss stops pulling; None: any.
            standardize: whether advantages are shifted and scaled to mean 0 and deviation 1 over each update.
            importance_cap: most weight that a token gets to correct a sampler that differs from the learner; None
                corrects nothing.
        """
        if kl_estimator not in ESTIMATORS:
            raise ValueError(f"kl_estimator must be one of {', '.join(ESTIMATORS)}, not {kl_estimator!r}")
        self.clip_low, self.clip_high, self.dual_clip = clip_low, clip_high, dual_clip
        self.entropy = entropy
        self.kl = kl
        self.kl_estimator = kl_estimator
        self.steered = None if kl_target is None else AdaptiveKl(kl, kl_target, kl_horizon)
        self.value_weight, self.value_clip = value_weight, value_clip
        self.standardize = standardize
        self.importance_cap = importance_cap
        self.needs_reference = kl > 0
        self._before: dict[Key, tuple[float, ...]] = {}

    def prepare(self, learner: Learner, items: Sequence[Sample]) -> Sequence[Sample]:
        """Return samples with advantages as they are trained on."""
        if self.standardize:
            items = _standardized(items)
        replies = [sample.reply for sample in items]
        if self.importance_cap is not None:
            self._before = learner.score(replies)
        if not self.kl or self.kl_estimator != "k1":
            return items
        told = learner.score(replies, reference=True)
        gaps = (sum(r.logprobs) - sum(told[r.prompt_ids, r.ids]) for r in replies)
        return [s._replace(advantage=s.advantage - self.kl * gap) for s, gap in zip(items, gaps, strict=True)]

    def size(self, items: Sequence[Sample]) -> float:
        """Return the number of samples."""
        return len(items)

    def rows(self, items: Sequence[Sample]) -> list[Group]:
        """Merge equal samples."""
        return merge(items)

    def loss(self, read: Read, rows: Sequence[Group], tally: Tally) -> Tensor:
        """Return the loss summed over samples."""
        replies = [group.reply for group in rows]
        of_token = read.tokens_of(replies)
        logp_T, sampler_T = read.logp_T[of_token], read.float(lp for r in replies for lp in r.logprobs)
        gain_T = read.float(g.gain for g in rows for _ in g.reply.ids)
        pain_T = read.float(g.pain for g in rows for _ in g.reply.ids)
        count_T = read.float(g.count for g in rows for _ in g.reply.ids)
        old_T, weight_T = self._old(read, rows, sampler_T)
        loss, metrics = ppo_loss(
            logp_T,
            old_T,
            gain_T,
            pain_T,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            dual_clip=self.dual_clip,
            weight_T=weight_T,
        )
        tokens = float(count_T.sum())
        tally.add("clipped", metrics["clipped"] * len(old_T), len(old_T))
        tally.add("drift", (count_T * kl_k3(old_T, logp_T.detach())).sum(), tokens)
        return loss + self._near(read, of_token, count_T, tally) + self._values(read, rows, tally)

    def _old(self, read: Read, rows: Sequence[Group], sampler_T: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the log-probabilities that ratios start from, and the weight of each token."""
        if self.importance_cap is None:
            return sampler_T, None
        old_T = read.float(lp for g in rows for lp in self._before[g.reply.prompt_ids, g.reply.ids])
        return old_T, truncated_weights(old_T, sampler_T, self.importance_cap)

    def _near(self, read: Read, of_token: Tensor, count_T: Tensor, tally: Tally) -> Tensor:
        """Return the entropy bonus and the KL, summed over the tokens of all samples."""
        tokens = float(count_T.sum())
        # Summed onto distinct tokens first: the whole vocabulary is looked at once each.
        share_T = torch.zeros_like(read.logp_T).index_add(0, of_token, count_T)
        bonus = (share_T * entropy(read.logp_TV)).sum()
        tally.add("entropy", bonus, tokens)
        if read.reference_TV is None:
            return -self.entropy * bonus
        if self.kl_estimator in SAMPLED:
            kl_T = SAMPLED[self.kl_estimator](read.logp_T, read.reference_T)
        else:
            kl_T = kl_divergence(read.logp_TV, read.reference_TV)
        kl = (share_T * kl_T).sum()
        tally.add("kl", kl, tokens)
        return (0.0 if self.kl_estimator == "k1" else self.kl) * kl - self.entropy * bonus

    def _values(self, read: Read, rows: Sequence[Group], tally: Tally) -> Tensor:
        """Return the critic's loss, summed over samples that have a target."""
        pairs = [pair for group in rows for pair in group.targets]
        if read.values_P is None or not pairs:
            return torch.zeros((), device=read.logp_T.device)
        owner = read.prompts_of(group.reply for group in rows for _ in group.targets)
        target_N, old_N = read.float(t for t, _ in pairs), read.float(v for _, v in pairs)
        loss, _ = value_loss(read.values_P[owner], old_N, target_N, clip=self.value_clip)
        tally.add("value_loss", loss, len(pairs))
        tally.add("value_error", (target_N - read.values_P[owner].detach()).square().sum(), len(pairs))
        tally.add("target_square", target_N.square().sum(), len(pairs))
        return self.value_weight * loss

    def after(self, report: dict[str, float]) -> None:
        """Move the weight of the KL towards its target, if it has one."""
        if self.steered is not None:
            self.kl = self.steered.update(report["kl"], int(report["turns"]))

    def state_dict(self) -> dict[str, Any]:
        """Return the weight of the KL, where it is steered."""
        return {} if self.steered is None else {"kl": self.kl, "steered": self.steered.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        if self.steered is not None:
            self.kl = state["kl"]
            self.steered.load_state_dict(state["steered"])


def _standardized(items: Sequence[Sample]) -> list[Sample]:
    """Shift and scale advantages to mean 0 and deviation 1; all equal ones become 0, and nothing NaN."""
    values = [sample.advantage for sample in items]
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    scale = 1 / deviation if deviation > 1e-8 else 0.0
    return [sample._replace(advantage=(sample.advantage - mean) * scale) for sample in items]
