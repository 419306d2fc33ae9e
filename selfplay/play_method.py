"""Self-Play as a method of the loop: two copies of the policy play, and the outcome is what is learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparring.agents import LanguageModelAgent, RandomAgent, Reply
from sparring.envs import Ending, Game

from .advantage import RoleBaseline
from .episode import Episode, counted
from .evolve import Experience, Round
from .learner import Learner, Report
from .pairs import demonstrations
from .play import play
from .reading import Tally
from .rules import Rule
from .skills import Skill


@dataclass(kw_only=True)
class SelfPlay:
    """Plays games against itself and learns by an update rule."""

    game: Game[Any] | Mapping[Skill, Game[Any]]
    """What is played; or a game for each skill, of which each update draws by the objective's weights."""
    rule: Callable[[Learner], Rule]
    """Makes the update rule, `lambda learner: make_rule("ppo", learner)` for instance; called once."""
    games: int = 256
    """Games an update."""
    updates: int = 4
    """Updates a generation."""
    baseline: RoleBaseline | None = None
    """That which the rule was given, so that a resumed run goes on with it; None where it needs none to go on."""
    name: str = "self-play"
    feedback: str = ""
    """What part the policy has in saying what is good; none where the game alone says who won."""

    def __post_init__(self) -> None:
        for name in ("games", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        self.modules: Mapping[str, str] = {"solutions": "it plays both seats"} | (
            {"feedback": self.feedback} if self.feedback else {}
        )
        self._rule: Rule | None = None
        self._played = 0

    def gather(self, round: Round) -> Experience:
        """Return updates that play and learn when they are taken; metrics are means over the games of all of them."""
        experience, told = Experience(()), Tally()
        if self.baseline is not None:
            # Rewards of a policy that is not let in are not what the next one is to be compared with.
            experience.undo = partial(self.baseline.load_state_dict, self.baseline.state_dict())
        experience.steps = [partial(self._update, round, n, experience, told) for n in range(self.updates)]
        return experience

    def _update(self, round: Round, number: int, experience: Experience, told: Tally, learner: Learner) -> Report:
        self._rule = self._rule or self.rule(learner)
        found = tuple(self._play(round, number))
        episodes = counted(found)
        experience.funnel.came += len(found)
        experience.funnel.drop("it is void", len(found) - len(episodes))
        _tell(told, episodes)
        experience.metrics |= told.result()
        return self._rule.learn(episodes)

    def _play(self, round: Round, number: int) -> Iterator[Episode]:
        agents, seed = (round.agent, round.agent), round.curriculum.seed
        for game, count in self._drawn(round, number):
            first, self._played = self._played, self._played + count
            yield from play(game, agents, games=count, first=first, seed=seed)

    def _drawn(self, round: Round, number: int) -> list[tuple[Game[Any], int]]:
        """Return which games are played in an update, and how many of each."""
        if isinstance(self.game, Game):
            return [(self.game, self.games)]
        weights = np.array([round.weights.get(skill, 0.0) for skill in self.game])
        p = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
        rng = np.random.Generator(np.random.Philox(key=[round.seed, 31 + number]))
        drawn = zip(self.game.values(), rng.multinomial(self.games, p).tolist(), strict=True)
        return [(game, count) for game, count in drawn if count]

    def state_dict(self) -> dict[str, Any]:
        """Return how many games were played, so that no deal comes twice, and the baseline."""
        return {"played": self._played} | ({} if self.baseline is None else {"baseline": self.baseline.state_dict()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._played = state["played"]
        if self.baseline is not None:
            self.baseline.load_state_dict(state["baseline"])


def random_play(agent: LanguageModelAgent, game: Game[Any], *, games: int, seed: int) -> list[Reply]:
    """Return the moves of random legal play as `agent` would say them.

    From them a model that was made from nothing learns the words of a game, and nothing of what is good in it.
    """
    teacher = RandomAgent()
    return list(demonstrations(agent, play(game, (teacher, teacher), games=games, seed=seed), player=0))


def _tell(told: Tally, episodes: Iterable[Episode]) -> None:
    """Take in games: rewards, forfeits, and the games' own figures over those that were played out."""
    for episode in episodes:
        told.add("reward_first_seat", episode.rewards[0], 1)
        told.add("forfeits", episode.ending is Ending.ILLEGAL, 1)
        for name, value in episode.figures.items():
            told.add(f"game/{name}", value, 1)
