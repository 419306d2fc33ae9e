"""The update: from samples to a better policy. PPO and REINFORCE with an entropy bonus and a KL to a lagged copy.

Chosen: whatever is the same is computed once (equal samples merged, distinct prompts read once, their common prefix
read once), which is exact and makes small games fast. Only sampled tokens train; prompts are read as they were.

Shapes: T sampled tokens of distinct replies, V vocabulary.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparring.agents import LanguageModelAgent, Reply
from sparring.agents.prefix import Ids, reply_logits

from .advantage import Sample
from .groups import Group, batches, distinct, merge
from .losses import entropy, kl_divergence, ppo_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport:
    """What one update did, measured on its first pass over the samples."""

    turns: int
    loss: float
    """Mean over turns."""
    entropy: float
    """Nats a token, of the policy that was updated, at the prompts it visited."""
    kl: float
    """Nats a token, to the lagged copy; 0 where there is none."""
    mismatch: float
    """Largest |log p of the learner - log p of the sampler|, nats."""
    clipped: float
    """Share of distinct tokens whose ratio was clipped."""
    grad_norm: float
    """Before it was shortened."""


class _Read(NamedTuple):
    """Some groups as the learner sees them."""

    prompts: list[Ids]
    replies: list[tuple[int, Ids]]
    logp_TV: Tensor
    logp_T: Tensor
    """Of the sampled tokens."""
    count_T: Tensor
    """How many turns sampled each token."""


class Learner:
    """Updates the model of a `LanguageModelAgent` in place."""

    def __init__(
        self,
        agent: LanguageModelAgent,
        *,
        lr: float = 1e-3,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        epochs: int = 1,
        entropy: float = 0.0,
        kl: float = 0.0,
        anchor_every: int = 0,
        max_grad_norm: float = 1.0,
        betas: tuple[float, float] = (0.0, 0.99),
        weight_decay: float = 0.0,
        batch_tokens: int = 1 << 15,
    ) -> None:
        """Prepare to update `agent`.

        Args:
            agent: whose model learns.
            lr: learning rate of AdamW.
            clip_low: PPO's clip below 1; 1 or more never clips.
            clip_high: PPO's clip above 1; infinity never clips.
            epochs: passes over the samples of an update.
            entropy: weight of the entropy bonus, in rewards a nat.
            kl: weight of KL(policy || lagged copy), in rewards a nat.
            anchor_every: updates after which the lagged copy catches up; 0 keeps the first policy for good.
            max_grad_norm: gradients longer than this are shortened to it.
            betas: of AdamW. The first is 0 because in self-play momentum turns rotation into growing cycles.
            weight_decay: of AdamW.
            batch_tokens: most prompt tokens in one forward pass; it does not change the update.
        """
        if epochs < 1:
            raise ValueError(f"epochs must be 1 or more, not {epochs}")
        self.agent = agent
        self.clip_low, self.clip_high = clip_low, clip_high
        self.epochs = epochs
        self.entropy = entropy
        self.kl = kl
        self.anchor_every = anchor_every
        self.max_grad_norm = max_grad_norm
        self.batch_tokens = batch_tokens
        self.optimizer = torch.optim.AdamW(agent.model.parameters(), lr=lr, betas=betas, weight_decay=weight_decay)
        self.updates = 0
        self.anchor = copy.deepcopy(agent.model).requires_grad_(False) if kl else None

    @property
    def lr(self) -> float:
        """The learning rate, which may be set between updates."""
        return float(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def update(self, samples: Iterable[Sample]) -> UpdateReport:
        """Learn from one batch of samples and return what happened. Raises ValueError if there are none."""
        groups = merge(samples)
        turns = sum(group.count for group in groups)
        if not turns:
            raise ValueError("there is nothing to learn from: no turn of the learner was sampled")
        self._catch_up()
        report: dict[str, Any] = {}
        for epoch in range(self.epochs):
            sums = self._pass(groups, turns)
            norm = self._step()
            if epoch == 0:
                report = {**sums, "grad_norm": norm}
        self.updates += 1
        return UpdateReport(turns=turns, **report)

    def imitate(self, replies: Iterable[Reply]) -> float:
        """Take one step towards giving these replies; returns their mean loss before it, in nats a reply.

        Only ids are used, so replies that nobody sampled will do.
        """
        groups = merge(Sample(reply, 0.0) for reply in replies)
        turns = sum(group.count for group in groups)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for batch in batches(groups, self.batch_tokens):
            read = self._read(batch)
            loss = -(read.count_T * read.logp_T).sum() / turns
            loss.backward()
            total += loss.item()
        self._step()
        return total

    def _catch_up(self) -> None:
        due = self.anchor_every and self.updates and self.updates % self.anchor_every == 0
        if self.anchor is not None and due:
            self.anchor.load_state_dict(self.agent.model.state_dict())

    def _step(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self.agent.model.parameters(), self.max_grad_norm)
        self.optimizer.step()
        return float(norm)

    def _pass(self, groups: list[Group], turns: int) -> dict[str, float]:
        """Add up the gradient over all groups; returns sums for the report."""
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = defaultdict(float)
        tokens = sum(group.count * len(group.reply.ids) for group in groups)
        different = sum(len(group.reply.ids) for group in groups)
        for batch in batches(groups, self.batch_tokens):
            terms = self._terms(batch)
            loss = (terms["policy"] - self.entropy * terms["entropy"] + self.kl * terms["kl"]) / turns
            loss.backward()
            sums["loss"] += loss.item()
            sums["entropy"] += terms["entropy"].item() / tokens
            sums["kl"] += terms["kl"].item() / tokens
            sums["mismatch"] = max(sums["mismatch"], terms["mismatch"].item())
            sums["clipped"] += terms["clipped"].item() / different
        return dict(sums)

    def _terms(self, groups: list[Group]) -> dict[str, Tensor]:
        """Return the sums over tokens that make up the loss of some groups."""
        read = self._read(groups)
        old_T = self._tensor(lp for g in groups for lp in g.reply.logprobs)
        gain_T = self._tensor(g.gain for g in groups for _ in g.reply.ids)
        pain_T = self._tensor(g.pain for g in groups for _ in g.reply.ids)
        policy, metrics = ppo_loss(read.logp_T, old_T, gain_T, pain_T, clip_low=self.clip_low, clip_high=self.clip_high)
        return {
            "policy": policy,
            "entropy": (read.count_T * entropy(read.logp_TV)).sum(),
            "kl": (read.count_T * self._kl(read)).sum(),
            "mismatch": (read.logp_T.detach() - old_T).abs().max(),
            "clipped": metrics["clipped"] * len(old_T),
        }

    def _read(self, groups: list[Group]) -> _Read:
        prompts, replies = distinct(group.reply for group in groups)
        logp_TV = self.agent.logprobs(reply_logits(self.agent.model, prompts, replies))
        ids_T = torch.tensor([t for _, ids in replies for t in ids], device=logp_TV.device)
        logp_T = logp_TV.gather(1, ids_T[:, None])[:, 0]
        return _Read(prompts, replies, logp_TV, logp_T, self._tensor(g.count for g in groups for _ in g.reply.ids))

    def _kl(self, read: _Read) -> Tensor:
        if self.anchor is None or not self.kl:
            return torch.zeros_like(read.logp_T)
        with torch.no_grad():
            anchor_TV = self.agent.logprobs(reply_logits(self.anchor, read.prompts, read.replies))
        return kl_divergence(read.logp_TV, anchor_TV)

    def _tensor(self, values: Iterable[float]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.float32, device=self.agent.model.device)
