"""Self-Play as a method of the loop: the policy plays, and the outcome is what is learned from.

Chosen: opposite sits the policy itself, a fixed player, or a pool, which draws by the results so far: evaluation writes
the next opponents. A self enters it once it is let in, and what is not let in leaves no result. Left out: leagues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparring.agents import Agent, LanguageModelAgent, RandomAgent, Reply
from sparring.envs import Game, Void

from .advantage import RoleBaseline
from .episode import Episode, counted
from .evolve import Experience, Round
from .learner import Learner, Report
from .pairs import demonstrations
from .play import play
from .pool import BY_RESULTS, OpponentPool
from .reading import Tally
from .rules import Rule
from .skills import Skill


@dataclass(kw_only=True)
class SelfPlay:
    """Plays games and learns by an update rule."""

    game: Game[Any] | Mapping[Skill, Game[Any]]
    """What is played; or a game for each skill, of which each update draws by the objective's weights."""
    rule: Callable[[Learner], Rule]
    """Makes the update rule, `lambda learner: make_rule("ppo", learner)` for instance; called once."""
    games: int = 256
    """Games an update."""
    updates: int = 4
    """Updates a generation."""
    opponent: Agent | OpponentPool | None = None
    """Who sits opposite, the seats changing every game: an agent, a pool to draw from, or None, the policy itself."""
    baseline: RoleBaseline | None = None
    """That which the rule was given, so that a resumed run goes on with it; None where it needs none to go on."""
    name: str = "self-play"
    feedback: str = ""
    """What part the policy has in saying what is good; none where the game alone says who won."""

    def __post_init__(self) -> None:
        for name in ("games", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        self.pool = self.opponent if isinstance(self.opponent, OpponentPool) else None
        modules = {"solutions": "it plays both seats"}
        if self.opponent is not None:
            modules["solutions"] = "it plays, against others too"
        if self.feedback:
            modules["feedback"] = self.feedback
        if self.pool is not None and self.pool.weights.get("snapshots") and self.pool.draw_by in BY_RESULTS:
            modules["objective"] = "its results against its earlier selves say whom it meets"
        self.modules: Mapping[str, str] = modules
        self._rule: Rule | None = None
        self._played = 0

    def gather(self, round: Round) -> Experience:
        """Return updates that play and learn when they are taken; metrics are means over the games of all of them."""
        experience, told = Experience(()), Tally()
        experience.undo = self._undo()
        if self.pool is not None:
            # A resumed run lacks what opponents remember, and what they say may depend on it in the last bits.
            self.pool.flush()
            if self.pool.weights.get("snapshots"):
                experience.admit = partial(self.pool.grow, f"generation-{round.generation}")
        elif isinstance(self.opponent, LanguageModelAgent):
            self.opponent.flush()
        experience.steps = [partial(self._update, round, n, experience, told) for n in range(self.updates)]
        return experience

    def _undo(self) -> Callable[[], None]:
        """Return what takes back the rewards and the results of a policy that is not let in.

        They are not what the next one is to be compared with, nor what its opponents are to be drawn by.
        """
        backs: list[Callable[[], None]] = []
        if self.baseline is not None:
            backs.append(partial(self.baseline.load_state_dict, self.baseline.state_dict()))
        if self.pool is not None:
            backs.append(partial(self.pool.payoffs.load_state_dict, self.pool.payoffs.state_dict()))

        def undo() -> None:
            for back in backs:
                back()

        return undo

    def _update(self, round: Round, number: int, experience: Experience, told: Tally, learner: Learner) -> Report:
        self._rule = self._rule or self.rule(learner)
        found = tuple(self._play(round, number))
        episodes = counted(found)
        experience.funnel.came += len(found)
        experience.funnel.drop("it is void", len(found) - len(episodes))
        if not episodes:
            raise Void(f"all {len(found)} games of an update are void, the first because {found[0].why}")
        _tell(told, episodes)
        experience.metrics |= told.result()
        _count(experience.metrics, episodes)
        if self.pool is not None:
            self.pool.record(episodes)
            self.pool.forget_games()
        elif isinstance(self.opponent, LanguageModelAgent):
            self.opponent.forget_games()
        return self._rule.learn(episodes)

    def _play(self, round: Round, number: int) -> Iterator[Episode]:
        opposite = round.agent if self.opponent is None else self.opponent
        agents = (round.agent, opposite.draw if isinstance(opposite, OpponentPool) else opposite)
        swap, seed = self.opponent is not None, round.curriculum.seed
        for game, count in self._drawn(round, number):
            first, self._played = self._played, self._played + count
            yield from play(game, agents, games=count, first=first, seed=seed, swap=swap)

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
        """Return how many games were played, so that no deal comes twice, the baseline, and the pool less weights."""
        parts: dict[str, RoleBaseline | OpponentPool | None] = {"baseline": self.baseline, "pool": self.pool}
        return {"played": self._played} | {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._played = state["played"]
        if self.baseline is not None:
            self.baseline.load_state_dict(state["baseline"])
        if self.pool is not None:
            self.pool.load_state_dict(state["pool"])


def random_play(agent: LanguageModelAgent, game: Game[Any], *, games: int, seed: int) -> list[Reply]:
    """Return the moves of random legal play as `agent` would say them.

    From them a model that was made from nothing learns the words of a game, and nothing of what is good in it.
    """
    teacher = RandomAgent()
    return list(demonstrations(agent, play(game, (teacher, teacher), games=games, seed=seed), player=0))


def _tell(told: Tally, episodes: Iterable[Episode]) -> None:
    """Take in games: the policy's rewards and forfeits, and the games' own figures over those that were played out."""
    for episode in episodes:
        if episode.seated[0] == 0:
            told.add("reward_first_seat", episode.rewards[0], 1)
        told.add("forfeits", episode.offender is not None and episode.seated[episode.offender] == 0, 1)
        if 1 in episode.seated:
            seat = episode.seated.index(1)
            margin = episode.rewards[1 - seat] - episode.rewards[seat]
            told.add(f"score/{episode.players[seat]}", (float(np.sign(margin)) + 1) / 2, 1)
        for name, value in episode.figures.items():
            told.add(f"game/{name}", value, 1)


def _count(metrics: dict[str, float], episodes: Iterable[Episode]) -> None:
    """Add to the number of games against each opponent."""
    for episode in episodes:
        name = f"games/{episode.players[episode.seated.index(1)] if 1 in episode.seated else 'self'}"
        metrics[name] = metrics.get(name, 0.0) + 1
