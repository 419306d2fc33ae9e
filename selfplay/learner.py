"""The update: from experience to a better policy, by whatever objective.

Chosen: whatever is the same is computed once (equal items merged, distinct prompts read once, their common prefix read
once), which is exact and makes small games fast. Only sampled tokens train; prompts are read as they were. Several
processes share the rows of an update and add up their gradients, so their number does not change it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sparring.agents import LanguageModelAgent, Reply
from sparring.agents.prefix import Ids, aligned, columns_read, reply_logits, reply_logits_and_states
from sparring.agents.whole import check_layers, whole_logits, whole_rows

from .average import Average
from .critic import Critic
from .groups import AnyRow, Row, batches, share
from .imitation import Imitation, Wanted
from .pairs import Weighted
from .policy_gradient import PolicyGradient
from .processes import Processes
from .reading import Distinct, Key, Read, Tally
from .reference import Reference, make_reference
from .shards import Shards
from .states import load_optimizer, optimizer_settings, optimizer_tensors

Report = dict[str, float]
"""Named measures of an update. Always there: `turns` (items learned from), `loss` (mean over them, on the first pass),
`grad_norm` (before it was shortened, of the first step; of the policy alone where the critic is separate) and `steps`.
A gradient that is not finite ends the update without a step, and is the `grad_norm`. Where replies were sampled,
`mismatch` and `mismatch_mean`: the largest and mean |log p(learner) - log p(sampler)| of a token over distinct replies,
in the first minibatch, before the first step."""


class Objective(Protocol):
    """What an update minimises, over items of one kind."""

    @property
    def needs_reference(self) -> bool:
        """Whether rows are read by the reference policy too."""
        ...

    def prepare(self, learner: Learner, items: Sequence[Any]) -> Sequence[Any]:
        """Return the items with what is only known before the first step; may refuse some with ValueError."""
        ...

    def size(self, items: Sequence[Any]) -> float:
        """Return what the summed loss is divided by."""
        ...

    def rows(self, items: Sequence[Any]) -> Sequence[Row]:
        """Merge equal items."""
        ...

    def loss(self, read: Read, rows: Sequence[Any], tally: Tally) -> Tensor:
        """Return the loss summed over the items behind some rows, and tell the tally what there is to measure."""
        ...

    def after(self, report: Report) -> None:
        """Take note of what an update did."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain data; numbers that are scheduled need not be in it."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        ...


class Learner:
    """Updates the model of a `LanguageModelAgent` in place."""

    def __init__(
        self,
        agent: LanguageModelAgent,
        objective: Objective | None = None,
        *,
        lr: float = 1e-3,
        epochs: int = 1,
        minibatches: int = 1,
        kl_stop: float | None = None,
        anchor_every: int = 0,
        critic: Critic | None = None,
        critic_lr: float | None = None,
        max_grad_norm: float = 1.0,
        betas: tuple[float, float] = (0.0, 0.99),
        weight_decay: float = 0.0,
        ema_decay: float = 0.0,
        batch_tokens: int = 1 << 15,
        gradient_checkpointing: bool = False,
        seed: int = 0,
        processes: Processes | None = None,
    ) -> None:
        """Prepare to update `agent`.

        Args:
            agent: whose model learns; of a model with LoRA adapters only those that are trainable do.
            objective: what is minimised; None is `PolicyGradient()`.
            lr: learning rate of AdamW.
            epochs: passes over the items of an update.
            minibatches: steps a pass, one an item at most; the items are shuffled if there are several.
            kl_stop: nats a token from the sampler beyond which no more steps are taken in an update; None: never.
            anchor_every: updates after which the reference catches up; 0 keeps the first policy for good.
            critic: trained along with the policy where the objective asks for it.
            critic_lr: its learning rate; None: that of the policy.
            max_grad_norm: gradients longer than this are shortened to it; a separate critic's by itself.
            betas: of AdamW. The first is 0 because in self-play momentum turns rotation into growing cycles.
            weight_decay: of AdamW.
            ema_decay: an update, of the average of the policy's weights that `averaged` gives; 0 keeps none.
            batch_tokens: most tokens of prompts, or of replies, in one forward pass; it does not change the update.
            gradient_checkpointing: compute activations again in the backward pass instead of keeping them; it does not
                change the update, but prompts are then read once a reply. A separate critic's are kept.
            seed: of the shuffling.
            processes: who shares the work, `Processes(Accelerator())` for instance; None is this one alone. All of them
                must call `update` with the same items.

        Raises ValueError for numbers out of range and for what the model or the processes cannot do.
        """
        if epochs < 1 or minibatches < 1:
            raise ValueError(f"epochs and minibatches must be 1 or more, not {epochs} and {minibatches}")
        self.agent = agent
        self.objective: Objective = objective or PolicyGradient()
        self.epochs, self.minibatches, self.kl_stop = epochs, minibatches, kl_stop
        self.anchor_every = anchor_every
        self.critic = critic
        self.max_grad_norm = max_grad_norm
        self.batch_tokens = batch_tokens
        if gradient_checkpointing:
            check_layers(agent.model)
        self.gradient_checkpointing = gradient_checkpointing
        self.seed = seed
        self.processes = processes or Processes()
        self.updates = 0
        self.factor = 1.0
        """What schedules of the learning rate are multiplied by; a guard lowers it."""
        self.critic_factor = 1.0 if critic_lr is None else critic_lr / lr
        self.optimizer = torch.optim.AdamW(self._groups(lr), lr=lr, betas=betas, weight_decay=weight_decay)
        trained = {n: p for n, p in agent.model.named_parameters() if p.requires_grad}
        self.average = Average(trained, ema_decay) if ema_decay else None
        self.shards = Shards(self.optimizer, self.processes) if self.processes.shards else None
        self.reference: Reference | None = make_reference(agent) if self.objective.needs_reference else None

    def _groups(self, lr: float) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": [p for p in self.agent.model.parameters() if p.requires_grad]}]
        if self.critic is not None:
            groups.append({"params": list(self.critic.parameters()), "lr": lr * self.critic_factor})
        return groups

    @property
    def lr(self) -> float:
        """The learning rate of the policy, which may be set between updates; the critic's follows."""
        return float(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        for group, factor in zip(self.optimizer.param_groups, (1.0, self.critic_factor), strict=False):
            group["lr"] = value * factor

    def update(self, items: Iterable[Any], objective: Objective | None = None) -> Report:
        """Learn from one batch of items and return what happened. Raises ValueError if there are none.

        `objective` takes the place of the learner's own for this update; it must need no reference the other lacks.
        """
        objective = objective or self.objective
        items = list(items)
        if not items:
            raise ValueError("there is nothing to learn from: no turn of the learner was sampled")
        self._catch_up()
        items = list(objective.prepare(self, items))
        report: Report = {}
        first, steps = Tally(), 0
        for epoch, part in self._parts(items):
            seen = Tally()
            self._pass(objective, part, seen, compare=not steps)
            first.join([seen] if epoch == 0 else [])
            # What is seen in this part is what the steps so far did; one more would go further.
            if self.kl_stop is not None and steps and seen.result().get("drift", 0.0) > self.kl_stop:
                break
            norm = self._step()
            if not math.isfinite(norm):
                report["grad_norm"] = norm
                break
            steps += 1
            report.setdefault("grad_norm", norm)
        self.updates += 1
        if self.average is not None:
            self.average.update(self.updates)
        report = {"turns": len(items), **first.result(), **report, "steps": steps}
        # What broke is nothing to steer by, and is the guard's to judge.
        if math.isfinite(report["grad_norm"]):
            objective.after(report)
        return report

    def imitate(self, replies: Iterable[Reply]) -> float:
        """Take one step towards giving these replies; returns their mean loss before it, in nats a reply.

        Only ids are used, so replies that nobody sampled will do. Raises FloatingPointError, having changed no weight,
        if the gradient is not finite.
        """
        items = [Weighted(reply, 1.0) for reply in replies]
        tally = Tally()
        self._pass(Imitation(), items, tally)
        norm = self._step()
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the gradient of imitated replies is {norm}: lower the learning rate (--warm_lr), or compute in "
                "float32 (--dtype float32, --mixed_precision no)"
            )
        return tally.result()["loss"]

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the policy has the average of its weights, where one is kept."""
        # The agent notices by itself that its weights change.
        return nullcontext() if self.average is None else self.average.in_place()

    @torch.no_grad()
    def score(self, replies: Iterable[Reply], *, reference: bool = False) -> dict[Key, tuple[float, ...]]:
        """Return the log-probability of every token of each distinct reply, by the policy or by the reference."""
        found: dict[Key, tuple[float, ...]] = {}
        for batch in batches(self._own([Wanted(reply) for reply in replies]), self.batch_tokens):
            distinct = Distinct(batch)
            logits = self._reference().logits if reference else self._policy_logits
            logp_TV = self.agent.logprobs(logits(distinct.prompts, distinct.replies))
            ids_T = torch.tensor([t for _, ids in distinct.replies for t in ids], device=logp_TV.device)
            values = iter(logp_TV.gather(1, ids_T[:, None])[:, 0].tolist())
            found.update((key, tuple(next(values) for _ in key[1])) for key in distinct.reply_of)
        return dict(self.processes.gather(found.items()))

    def _own(self, rows: Iterable[AnyRow]) -> list[AnyRow]:
        """Return this process's share of some rows."""
        return share(rows, self.processes.index, self.processes.count)

    def _policy_logits(self, prompts: list[Any], replies: list[tuple[int, Any]]) -> Tensor:
        return reply_logits(self.agent.model, prompts, replies)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return every tensor that learning changes, by part and name; not copies.

        Where the optimizer's state is shared out, its tensors are those of this process.
        """
        found = {"model": {n: p.data for n, p in self.agent.model.named_parameters() if p.requires_grad}}
        found["optimizer"] = optimizer_tensors(self.optimizer)
        if self.average is not None:
            found["average"] = self.average.tensors()
        if self.critic is not None:
            found["critic"] = dict(self.critic.state_dict())
        if self.reference is not None:
            found["reference"] = self.reference.tensors()
        return found

    def whole(self, optimizer: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the optimizer tensors of all processes, on the main one; all of them must call it.

        On the others it is the part that they hold, where each holds one.
        """
        return optimizer if self.shards is None else self.shards.whole(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return the rest of what learning changes, as plain data."""
        return {
            "updates": self.updates,
            "factor": self.factor,
            "optimizer": optimizer_settings(self.optimizer),
            "objective": self.objective.state_dict(),
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Take over what `tensors` and `state_dict` returned. Raises ValueError if they are of another model."""
        own = {n: p for n, p in self.agent.model.named_parameters() if p.requires_grad}
        _check_names(own, tensors["model"])
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(tensors["model"][name])
        kept = tensors["optimizer"] if self.shards is None else self.shards.own(tensors["optimizer"])
        load_optimizer(self.optimizer, dict(kept), state["optimizer"])
        if self.average is not None:
            self.average.load_tensors(tensors["average"])
        if self.critic is not None:
            self.critic.load_state_dict(dict(tensors["critic"]))
        if self.reference is not None:
            self.reference.load_tensors(tensors["reference"])
        self.updates, self.factor = state["updates"], state["factor"]
        self.objective.load_state_dict(state["objective"])
        self.agent.flush()

    def flush(self) -> None:
        """Forget what policy and reference have computed: from here on a resumed run does the same to the bit."""
        self.agent.flush()
        if self.reference is not None:
            self.reference.flush()

    def _reference(self) -> Reference:
        if self.reference is None:
            raise ValueError("this objective needs a reference policy; give it to the learner when that is made")
        return self.reference

    def _catch_up(self) -> None:
        due = self.anchor_every and self.updates and self.updates % self.anchor_every == 0
        if self.reference is not None and due:
            self.reference.catch_up()

    def _parts(self, items: list[Any]) -> Iterator[tuple[int, list[Any]]]:
        """Yield (epoch, items of one step)."""
        # How many items there are may shrink as the policy sharpens: pairs, for one, need outcomes that differ.
        minibatches = min(self.minibatches, len(items))
        rng = np.random.Generator(np.random.Philox(key=[self.seed, self.updates]))
        for epoch in range(self.epochs):
            if minibatches == 1:
                yield epoch, items
                continue
            for part in np.array_split(rng.permutation(len(items)), minibatches):
                yield epoch, [items[i] for i in part]

    def _pass(self, objective: Objective, items: Sequence[Any], tally: Tally, *, compare: bool = False) -> None:
        """Add up the gradient of the mean loss over all items; `compare` tells how far off the sampler was."""
        self.optimizer.zero_grad(set_to_none=True)
        local, size = Tally(), objective.size(items)
        own = self._own(objective.rows(items))
        for rows in batches(own, self.batch_tokens, whole=self.gradient_checkpointing):
            read = self._read(objective, rows, local)
            if compare:
                read.compare(rows, local)
            loss = objective.loss(read, rows, local) / size
            local.add("loss", loss.item(), 0.0)
            loss.backward()
        tally.join(self.processes.gather([local]))
        tally.add("loss", 0.0, 1.0)

    def _read(self, objective: Objective, rows: Sequence[Row], tally: Tally) -> Read:
        distinct = Distinct(rows)
        self._count_pads(distinct, tally)
        logits_TV, states_PH = self._logits_and_states(distinct.prompts, distinct.replies)
        values_P = None if self.critic is None else self.critic.forward(distinct.prompts, states_PH)
        logp_TV = self.agent.logprobs(logits_TV)
        ids_T = torch.tensor([t for _, ids in distinct.replies for t in ids], device=logp_TV.device)
        reference_TV = None
        if objective.needs_reference:
            reference_TV = self.agent.logprobs(self._reference().logits(distinct.prompts, distinct.replies))
        return Read(
            distinct=distinct,
            logp_TV=logp_TV,
            logp_T=logp_TV.gather(1, ids_T[:, None])[:, 0],
            reference_TV=reference_TV,
            values_P=values_P,
        )

    def _logits_and_states(self, prompts: list[Ids], replies: list[tuple[int, Ids]]) -> tuple[Tensor, Tensor | None]:
        """Read what is learned from; the states are those that the critic wants, if there is one."""
        model = self.agent.model
        if self.gradient_checkpointing:
            return whole_logits(model, prompts, replies, states=self.critic is not None)
        if self.critic is None:
            return self._policy_logits(prompts, replies), None
        return reply_logits_and_states(model, prompts, replies)

    def _count_pads(self, distinct: Distinct, tally: Tally) -> None:
        """Tell the tally the share of what the policy computes that is padding."""
        if self.gradient_checkpointing:
            _, is_token_RT = aligned(list(whole_rows(distinct.prompts, distinct.replies)))
            tokens, columns = int(is_token_RT.sum()), is_token_RT.numel()
        else:
            tokens, columns = columns_read(self.agent.model, distinct.prompts, distinct.replies)
        tally.add("padding", columns - tokens, columns)

    def _step(self) -> float:
        """Take a step, unless the gradient is not finite; returns its norm, which is the same in every process."""
        groups = [group["params"] for group in self.optimizer.param_groups]
        self.processes.add_up([p for group in groups for p in group])
        if self.critic is None or not self.critic.separate:
            groups = [[p for group in groups for p in group]]
        # A model of the critic's own has a length of its own: large errors of values must not shorten the policy's.
        norms = [float(torch.nn.utils.clip_grad_norm_(group, self.max_grad_norm)) for group in groups]
        norm = next((n for n in norms if not math.isfinite(n)), norms[0])
        if not math.isfinite(norm):
            # One such step makes every weight and the optimizer's memory NaN for good.
            return norm
        if self.shards is None:
            self.optimizer.step()
        else:
            self.shards.step()
        return norm


def _check_names(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not of this model."""
    odd = [n for n in own.keys() | other.keys() if n not in own or n not in other or own[n].shape != other[n].shape]
    if odd:
        raise ValueError(
            f"the weights are of another model: {min(odd)} and {len(odd) - 1} others differ in name or shape"
        )
