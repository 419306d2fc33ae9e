"""Our games as TextArena environments: `to_textarena("KuhnPoker-v0")`.

The two-player state of TextArena is filled from one `Match`, so its wrappers work; each environment has a random stream
of its own, and what a seat says in private stays private. Left out: rendering.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .game import Ending, Game
from .match import Match
from .registry import make

try:
    import textarena as ta
except ImportError as error:
    raise ImportError("to_textarena needs textarena; install it: pip install 'sparring[textarena]'") from error

_BOARD = ta.ObservationType.GAME_BOARD
_ADMIN = ta.ObservationType.GAME_ADMIN


class SparringEnv(ta.Env):  # type: ignore[misc]
    """A game of ours behind TextArena's interface.

    `textarena.register(id="Mine-v0", entry_point="sparring.envs.to_textarena:SparringEnv", game="KuhnPoker-v0")` makes
    it known there. Rewards are the game's own; an illegal reply is told to its author, who may try again once.
    """

    def __init__(self, game: str | Game[Any], retries: int = 1) -> None:
        """Wrap a game, or the one of that name; `retries` illegal replies may be taken back in a turn."""
        self.game = make(game) if isinstance(game, str) else game
        self.retries = retries

    def reset(self, num_players: int = 2, seed: int | None = None) -> None:
        """Deal a new game. Without a seed it is another one each time; no global generator is touched."""
        # No seed: TextArena would seed Python's global generator with it. Roles of its own: its default is shared.
        self.state = ta.TwoPlayerState(num_players=num_players, max_turns=self.game.max_turns, seed=None)
        self.state.reset(game_state={}, player_prompt_function=self._rules, role_mapping={0: "Player 0", 1: "Player 1"})
        self.match = Match(self.game, np.random.default_rng(seed), retries=self.retries)
        self._show()

    def step(self, action: str) -> tuple[bool, dict[str, Any]]:
        """Take the reply of the seat to move. Once the game is over nothing changes any more."""
        if self.state.done:
            return True, {}
        seat = self.state.current_player_id
        reading = self.match.step(action)
        if reading.problem is None:
            self.state.turn += 1
            self.state.game_info[seat]["turn_count"] += 1
        else:
            self.state.add_observation(to_id=seat, message=reading.detail, observation_type=_ADMIN)
        if reading.problem is None or self.match.seat is None:
            self._show()
        return self.state.done, {}

    def _rules(self, player_id: int, game_state: dict[str, Any]) -> str:
        rules = self.game.rules
        return rules if isinstance(rules, str) else rules[player_id]

    def _show(self) -> None:
        """Show the seat to move its position, or close the game."""
        match, state = self.match, self.state
        if match.seat is not None:
            state.current_player_id = match.seat
            text = f"{self.game.observation(match.state, match.seat)}\n{self.game.request(match.state)}"
            state.add_observation(to_id=match.seat, message=text, observation_type=_BOARD)
            return
        state.done = True
        state.rewards = dict(enumerate(match.rewards))
        for seat in (0, 1):
            state.game_info[seat]["reason"] = match.why or str(match.ending and match.ending.value)
            state.game_info[seat]["invalid_move"] = match.ending is Ending.ILLEGAL and match.offender == seat


def to_textarena(game: str | Game[Any], *, retries: int = 1) -> SparringEnv:
    """Return a game, or the one of that name, as a TextArena environment."""
    return SparringEnv(game, retries)
