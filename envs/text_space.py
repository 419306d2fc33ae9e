"""The text space of the views: every string up to a length, whatever its characters.

Chosen: membership is type and length alone, so that a skin or a speech in any language fits and a check
costs nothing. Left out: sampling anything but printable ASCII and legal moves; flattening; shared memory.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from gymnasium.error import CustomSpaceError
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

_GIBBERISH = 64
"""Most characters of a sample drawn without a mask."""


class AnyText(Text):
    """Any string of at most `max_length` characters.

    >>> "naïve \\N{BLACK SPADE SUIT} [bet]" in AnyText(20)
    True
    """

    def __init__(self, max_length: int, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=string.printable, seed=seed)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Draw one of the legal moves, in brackets, or gibberish if there is no mask.

        Args:
            mask: the legal moves, as `info["legal_actions"]` has them; empty gives the empty string.
            probability: one weight a legal move, summing to 1; uniform if None. Needs `mask`.
        """
        if mask is None:
            size = self.np_random.integers(min(self.max_length, _GIBBERISH) + 1)
            return "".join(string.printable[i] for i in self.np_random.integers(100, size=size))
        if not all(isinstance(move, str) for move in mask):
            raise TypeError("the mask of a text space is the tuple of legal moves: info['legal_actions']")
        if not mask:
            return ""
        return f"[{mask[self.np_random.choice(len(mask), p=probability)]}]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and other.max_length == self.max_length

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"


@create_shared_memory.register(AnyText)
def _no_shared_memory(space: AnyText, n: int = 1, ctx: Any = None) -> Any:
    # Gymnasium 1.4 reads shared text once, when the vector environment is made, and returns that for ever
    # after (its issue 1164). It turns this error into one that says to pass shared_memory=False.
    raise CustomSpaceError("text cannot be shared between processes; pass shared_memory=False to AsyncVectorEnv")
