"""Self-Play as a method of the loop: two copies of the policy play, and the outcome is what is learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparring.envs import Game

from .episode import counted
from .evolve import Experience, Round
from .funnel import Funnel
from .learner import Learner, Report
from .play import play
from .rules import Rule


@dataclass(kw_only=True)
class SelfPlay:
    """Plays games against itself and learns by an update rule."""

    game: Game[Any]
    rule: Callable[[Learner], Rule]
    """Makes the update rule, `lambda learner: make_rule("ppo", learner)` for instance; called once."""
    games: int = 256
    """Games an update."""
    updates: int = 4
    """Updates a generation."""
    name: str = "self-play"

    def __post_init__(self) -> None:
        for name in ("games", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        self.modules: Mapping[str, str] = {"solutions": "it plays both seats", "feedback": "its opponent is itself"}
        self._rule: Rule | None = None
        self._played = 0

    def gather(self, round: Round) -> Experience:
        """Return updates that play and learn when they are taken."""
        funnel, metrics = Funnel(), dict[str, float]()

        def update(learner: Learner) -> Report:
            self._rule = self._rule or self.rule(learner)
            agents = (round.agent, round.agent)
            found = tuple(play(self.game, agents, games=self.games, first=self._played, seed=round.curriculum.seed))
            self._played += self.games
            episodes = counted(found)
            funnel.came += len(found)
            funnel.drop("it is void", len(found) - len(episodes))
            metrics["reward_first_seat"] = float(np.mean([e.rewards[0] for e in episodes])) if episodes else 0.0
            return self._rule.learn(episodes)

        return Experience([update] * self.updates, funnel=funnel, metrics=metrics)

    def state_dict(self) -> dict[str, Any]:
        """Return how many games were played, so that no deal comes twice."""
        return {"played": self._played}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._played = state["played"]
