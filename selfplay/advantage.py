"""From outcomes to advantages: one training sample a turn, the role-conditioned baseline of SPIRAL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sparring.agents import Reply

from .episode import Episode


class Sample(NamedTuple):
    """One turn to learn from."""

    reply: Reply
    """What was sampled, with the prompt it was sampled for."""
    advantage: float
    """How much better than expected the game went for the seat that moved."""
    target: float | None = None
    """What a critic should have said of this prompt, in rewards; None where there is no critic."""
    value: float = 0.0
    """What the critic did say, before the update."""


class RoleBaseline:
    """Role-conditioned advantage estimation (Liu et al. 2025, arXiv 2506.24119): A = R - b[game, seat].

    b is an exponential mean of that seat's own rewards, read before its update and corrected for its start at zero,
    as Adam's moments are.
    """

    def __init__(self, decay: float = 0.95) -> None:
        """`decay` is how much of the mean a game leaves in place; 1 - decay is the weight of a new game."""
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), not {decay}")
        self.decay = decay
        self._mean: dict[tuple[str, int], float] = {}
        self._left: dict[tuple[str, int], float] = {}

    def __call__(self, game: str, seat: int) -> float:
        """Return the present baseline of a seat, 0 before its first game."""
        key = game, seat
        return self._mean[key] / (1 - self._left[key]) if key in self._mean else 0.0

    def advantage(self, game: str, seat: int, reward: float) -> float:
        """Return the reward less the baseline, and then take the reward into the baseline."""
        return reward - self.take(game, seat, reward)

    def take(self, game: str, seat: int, reward: float) -> float:
        """Take a reward into the baseline; returns the baseline before."""
        before, key = self(game, seat), (game, seat)
        self._mean[key] = self.decay * self._mean.get(key, 0.0) + (1 - self.decay) * reward
        self._left[key] = self.decay * self._left.get(key, 1.0)
        return before

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as plain data."""
        return {"decay": self.decay, "seats": [[*key, self._mean[key], self._left[key]] for key in self._mean]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.decay = state["decay"]
        self._mean = {(game, seat): mean for game, seat, mean, _ in state["seats"]}
        self._left = {(game, seat): left for game, seat, _, left in state["seats"]}


def samples(episodes: Iterable[Episode], baseline: RoleBaseline | None, *, player: int = 0) -> Iterator[Sample]:
    """Yield one sample a turn of the agent number `player`; other agents' turns are never trained on.

    A turn's return is what its seat still got after it, undiscounted; without a baseline that is its advantage.
    """
    for episode in episodes:
        expected = {
            seat: 0.0 if baseline is None else baseline.take(episode.game, seat, episode.rewards[seat])
            for seat in (0, 1)
            if episode.seated[seat] == player
        }
        for turn in episode.turns:
            if turn.player == player:
                yield Sample(turn.reply, episode.rewards[turn.seat] - turn.earned - expected[turn.seat])
