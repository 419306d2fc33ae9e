"""The critic: how much the seat to move will still earn, read at the last token of its prompt.

Chosen: one value a turn, because one reply is one action. In a causal model the last token is the first that has seen
the whole prompt; a value read at token 0 is the same for every prompt. Left out: values of the tokens inside a reply.

Shapes: P prompts, H width of the model's final hidden state. Values are in rewards.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparring.agents import LanguageModelAgent
from sparring.agents.prefix import Ids, in_batches, prompt_states


class Critic(nn.Module):
    """A linear head on the policy's own model, or on a copy of it: V(prompt) = w h + b.

    `parameters` and `state_dict` are those of the head and of the copy, never the policy's.
    """

    def __init__(
        self,
        agent: LanguageModelAgent,
        *,
        separate: bool = False,
        detach: bool = False,
        batch_tokens: int = 1 << 15,
    ) -> None:
        """Put a critic beside the policy `agent`. Every value is 0 at first, whichever it is.

        Args:
            agent: whose model's final hidden state is read.
            separate: whether the critic has a copy of the model to itself, which starts as the policy is now. It
                takes the memory and the time of a second model, and nothing that it learns moves the policy.
            detach: whether the loss of the values stops at the head, so that it doesn't move the shared model.
            batch_tokens: most prompt tokens that `predict` computes in one forward pass.

        Raises ValueError if both `separate` and `detach` are set.
        """
        super().__init__()
        if separate and detach:
            raise ValueError("a separate critic shares no model that could be detached; leave detach out")
        self.agent = agent
        self.detach = detach
        self.batch_tokens = batch_tokens
        self.model: Any = _trunk(agent.model) if separate else None
        width = agent.model.config.get_text_config().hidden_size
        # Not nn.Linear as it is: that would draw from torch's global generator.
        self.head = nn.utils.skip_init(nn.Linear, width, 1, device=agent.model.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.eval()

    @property
    def separate(self) -> bool:
        """Whether the critic has a model of its own, so that it has no use for the policy's hidden states."""
        return self.model is not None

    def values(self, states_PH: Tensor) -> Tensor:
        """Return the value of each prompt from the final hidden state at its last token, float32 [P]."""
        states_PH = states_PH.detach() if self.detach else states_PH
        values_P1: Tensor = self.head(states_PH)
        return values_P1[:, 0]

    def forward(self, prompts: Sequence[Ids], states_PH: Tensor | None = None) -> Tensor:
        """Return the value of each prompt, float32 [P]. Differentiable.

        Args:
            prompts: one prompt or more, none empty.
            states_PH: their final hidden states in the policy's model, if they are known, as from
                `reply_logits_and_states`: that saves a pass. A separate critic reads the prompts itself all the same.
        """
        if self.model is not None:
            states_PH = prompt_states(self.model, prompts)
        elif states_PH is None:
            states_PH = prompt_states(self.agent.model, prompts)
        return self.values(states_PH)

    @torch.no_grad()
    def predict(self, prompts: Sequence[Ids]) -> list[float]:
        """Return the value of each prompt; equal ones are read once. Raises ValueError if one is empty."""
        distinct = dict.fromkeys(prompts)
        if () in distinct:
            raise ValueError("a prompt is empty: a model needs one token or more to read")
        known: dict[Ids, float] = {}
        for batch in in_batches(distinct, self.batch_tokens):
            known.update(zip(batch, self(batch).tolist(), strict=True))
        return [known[ids] for ids in prompts]


def _trunk(model: Any) -> Any:
    """Return a copy of a model without its output layer, which a critic has no use for."""
    trunk = copy.deepcopy(model)
    # Tied to the embeddings it would also be a second name of theirs, which safetensors refuses to save.
    trunk.set_output_embeddings(nn.Identity())
    return trunk
