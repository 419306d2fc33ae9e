"""What a player is asked and what it answers: two frozen records, one protocol, one noise function.

Chosen: sampling noise is a pure function of a key that travels with the prompt, so a reply depends on its own game
alone and never on the batch it was computed in. It stands here, below the players, because the views ask opponents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .game import Game
from .records import travelling

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


class Message(NamedTuple):
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a player is asked."""

    messages: tuple[Message, ...]
    """The chat so far; the last message is the user's."""
    game: Game[Any]
    seat: int
    """Who is to move, 0 or 1."""
    legal: tuple[str, ...] | None
    """The canonical moves; None where the move is free text."""
    slot: tuple[int, int] = (0, 0)
    """Which game and seat it belongs to, so that an engine can keep that seat's key-value cache."""
    noise: int = 0
    """64-bit key of this turn's random stream: the same key draws the same numbers."""
    speeches: tuple[str, ...] = ()
    """Where the move is free text: examples of what might be said, see `Game.speeches`."""
    player: str = ""
    """Which of an engine's policies answers; empty: the current one."""

    @property
    def text(self) -> str:
        """The content of the last message."""
        return self.messages[-1].content


@travelling
@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a player answered; a language model adds exactly what it sampled."""

    text: str
    prompt_ids: tuple[int, ...] = ()
    """Token ids that the model read."""
    ids: tuple[int, ...] = ()
    """Token ids that the model sampled, the end token included if it sampled one."""
    logprobs: tuple[float, ...] = ()
    """Nats, one a sampled token, at the temperature it was sampled with."""
    fault: str = ""
    """Why there is no answer at all, through nobody's doing: a server that is down. The game is then void."""
    unreached: bool = False
    """Whether the fault is that nobody was reached: another prompt will hardly be answered either."""
    seconds: float = field(default=0.0, compare=False)
    """What it took, its share of a batch, where somebody took the time."""
    tokens: tuple[int, int] | None = None
    """Of the prompt and of the reply, reasoning included, as a server counted them; None where none did."""
    cut_off: bool = False
    """Whether the limit on tokens ended it."""


@runtime_checkable
class Opponent(Protocol):
    """What a view needs of the other seat's player. Every `sparring.agents.Agent` is one."""

    def reply(self, prompts: Sequence[Prompt]) -> Sequence[Reply]:
        """Return one reply a prompt, in order."""
        ...


def ask(
    game: Game[Any],
    text: str,
    seat: int,
    legal: tuple[str, ...] | None,
    *,
    slot: tuple[int, int] = (0, 0),
    noise: int = 0,
    speeches: tuple[str, ...] = (),
) -> Prompt:
    """Return the prompt that shows `text` to a seat."""
    messages = (Message("user", text),)
    return Prompt(messages=messages, game=game, seat=seat, legal=legal, slot=slot, noise=noise, speeches=speeches)


def mix(key: int, step: int) -> int:
    """Return the 64-bit key of `step` in the stream `key` (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = (key + (step + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(key: int, step: int = 0) -> float:
    """Return the `step`-th number of the stream `key`, uniform in [0, 1)."""
    return (mix(key, step) >> 11) * 2.0**-53


def uniforms(keys: NDArray[np.uint64], step: int = 0) -> NDArray[np.float64]:
    """Return `uniform` of each key, all at the same step. Shape [N] in, [N] out."""
    with np.errstate(over="ignore"):
        z = keys + np.uint64(((step + 1) * _GOLDEN) & _MASK)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
