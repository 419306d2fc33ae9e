"""Who plays: anything that answers prompts. One batched method, and one for players whose odds can be asked for.

The records that travel, `Prompt` and `Reply`, and the noise that goes with them stand in `sparring.envs`, because the
views ask opponents too; they are importable from here as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sparring.envs import Game, Message, Prompt, Reply, ask, mix, uniform, uniforms

__all__ = ["Agent", "Message", "Picky", "Policy", "Prompt", "Reply", "SharedAgent", "ask", "mix", "uniform", "uniforms"]


@runtime_checkable
class Agent(Protocol):
    """Anything that answers prompts."""

    name: str

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, in order."""
        ...


@runtime_checkable
class SharedAgent(Protocol):
    """A player that answers through an engine which others share, so that all of them are asked in one batch."""

    name: str
    engine: Agent

    def address(self, prompt: Prompt) -> Prompt:
        """Return the prompt as the engine must be asked it to answer for this player."""
        ...

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, in order."""
        ...


@runtime_checkable
class Picky(Protocol):
    """A player that plays some games only, and can say beforehand which."""

    def refusal(self, game: Game[Any]) -> str:
        """Return why it cannot play a game, "" if it can."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Anything whose move probabilities can be asked for: what exact evaluation needs."""

    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[NDArray[np.float64]]:
        """Return for each prompt the probability of each legal move, in the order of `prompt.legal`.

        A row may sum to less than one: the rest is the probability of an illegal reply.
        """
        ...
