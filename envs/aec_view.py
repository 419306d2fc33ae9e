"""The PettingZoo view: agents `seat_0` and `seat_1` in turn.

A thin shell around `Match`. Observations are `{"text": ...}`, because PettingZoo's own checks ask an observation that
is neither a dict nor an array for its dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Dict
from pettingzoo import AECEnv

from .game import Game
from .match import Match
from .reading import Reading
from .views import CUT, UNREAD, build, draw, prompt_space, reply_space, report, report_reading, shown

SEATS = ("seat_0", "seat_1")


class TextGameAECEnv(AECEnv):  # type: ignore[misc]
    """A two-player language game as a PettingZoo environment; made by `aec_env`.

    Any object is accepted as a live agent's action and judged by `read_move`. Rewards are 0 until the game ends.
    `infos[agent]` has `legal_actions` and, the same under PettingZoo's name for it, `action_mask` (empty for the agent
    that is not to move, None where the move is free text); `ending`, `offender`, `illegal`, `turns`; and how the
    agent's own last action was read: `move`, `problem`, `detail`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["ansi"],
        "render_fps": 1,
        "is_parallelizable": True,
    }

    def __init__(self, game: Game[Any], *, retries: int, render_mode: str | None) -> None:
        super().__init__()
        self.game = game
        self.retries = retries
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "name": game.name}
        self.possible_agents = list(SEATS)
        self.agents: list[str] = []
        self.observation_spaces = {agent: Dict({"text": prompt_space(game)}) for agent in SEATS}
        self.action_spaces = {agent: reply_space() for agent in SEATS}
        self._rng: np.random.Generator | None = None
        self._match: Match[Any] | None = None

    @property
    def match(self) -> Match[Any]:
        """The game in progress. Raises RuntimeError before the first reset."""
        if self._match is None:
            raise RuntimeError("call reset() before anything else")
        return self._match

    def observation_space(self, agent: str) -> Dict:
        """Return the space of what `agent` is shown."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Return the space of replies. `sample(infos[agent]["legal_actions"])` draws a legal one."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a new game. The same seed gives the same deal in every view."""
        if seed is not None or self._rng is None:
            self._rng = np.random.default_rng(seed)
        match = self._match = Match(self.game, self._rng, retries=self.retries)
        # As the Gymnasium view does for its opponent, so that later deals agree as well.
        self._rng.integers(2**63)
        self.agents = list(SEATS)
        self._cumulative_rewards = dict.fromkeys(SEATS, 0.0)
        self._skip_agent_selection = None
        self._readings = dict.fromkeys(SEATS, UNREAD)
        self.agent_selection = SEATS[match.seat or 0]
        self._publish(match)

    def step(self, action: object) -> None:
        """Judge the reply of the agent to move; None is the only action of an agent whose game is over."""
        match = self.match
        if not self.agents:
            raise RuntimeError("the game is over; call reset()")
        agent = self.agent_selection
        if match.ending is not None:
            self._was_dead_step(action)
            return
        reading = match.step(action)
        self._readings[agent] = reading
        self._cumulative_rewards[agent] = 0.0
        self._publish(match)
        self._accumulate_rewards()
        self.agent_selection = SEATS[match.seat if match.seat is not None else 1 - SEATS.index(agent)]

    def observe(self, agent: str) -> dict[str, str]:
        """Return the prompt of `agent` if it is to move, otherwise what it may know meanwhile."""
        return {"text": shown(self.match, SEATS.index(agent))}

    def render(self) -> str | None:
        """Return the state as both seats see it in "ansi" mode."""
        return draw(self.match) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _publish(self, match: Match[Any]) -> None:
        truncated = match.ending in CUT
        over = match.ending is not None
        self.rewards = dict(zip(SEATS, match.rewards, strict=True))
        self.terminations = dict.fromkeys(SEATS, over and not truncated)
        self.truncations = dict.fromkeys(SEATS, truncated)
        self.infos = {agent: self._info(match, agent) for agent in SEATS}

    def _info(self, match: Match[Any], agent: str) -> dict[str, Any]:
        reading: Reading = self._readings[agent]
        legal = match.legal if match.seat == SEATS.index(agent) else ()
        return {"legal_actions": legal, "action_mask": legal, **report(match), **report_reading(reading)}


def aec_env(
    game: str | Game[Any], *, retries: int = 0, render_mode: str | None = None, **settings: Any
) -> TextGameAECEnv:
    """Return a game as a PettingZoo AEC environment.

    Args:
        game: a game, or the name of one; `settings` are then its settings, for instance `skin="obfuscated"`.
        retries: illegal replies that a seat may take back in one turn; 0 forfeits at once.
        render_mode: "ansi" or None.
    """
    return TextGameAECEnv(build(game, settings, retries), retries=retries, render_mode=render_mode)
