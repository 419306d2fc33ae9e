"""How much can be won against a player by somebody who trains for nothing else: a best response as a probe.

A fresh tiny model is trained against the frozen player within a budget of games; what it then wins is a lower bound on
what a best response would. Left out: several exploiters; the best of them would be biased upwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sparring.agents import Agent
from sparring.envs import Game

from .episode import counted
from .play import play
from .standings import mean_interval
from .tournament import Entrant, Entry, said
from .training import Anneal

MATCH = 1000
"""Games that are played after training, on deals that were not trained on."""
MATCH_SEED = 1 << 33
WARM_STEPS = 200
LR, KL = Anneal(2e-3, 1e-4), Anneal(0.1, 0.01)
"""Against a player that does not change there is nothing to circle around, so the pull to the start may be weak."""


def probe(
    entrants: Sequence[Entrant],
    entries: Sequence[Entry],
    *,
    games: int,
    seed: int = 0,
    level: float = 0.95,
    say: Callable[[str], None] = print,
) -> Iterator[dict[str, Any]]:
    """Train an exploiter against each player in each game, and yield what each wins.

    Args:
        entrants: the players.
        entries: the games.
        games: to train on, each.
        seed: of the exploiter and its games.
        level: of the interval of its mean reward.
        say: gets a line for each.
    """
    for entry in entries:
        for entrant in entrants:
            if entry.game is None or entrant.agent is None:
                continue
            say(f"an exploiter of {entrant.name} trains in {entry.label}")
            about = {"game": entry.label, "player": entrant.name, "games": games}
            try:
                reward = exploit(entry.game, entrant.agent, games=games, seed=seed, level=level)
                yield {**about, "reward": reward}
            except Exception as error:  # noqa: BLE001
                # Whatever the player or the game broke on, the other probes go on.
                yield {**about, "none": said(error)}


def exploit(game: Game[Any], target: Agent, *, games: int, seed: int = 0, level: float = 0.95) -> dict[str, Any]:
    """Return the mean reward of a fresh exploiter against `target`, over both seats, with its interval."""
    agent = train_exploiter(game, target, games=games, seed=seed)
    match = counted(play(game, (agent, target), games=MATCH, seed=seed + MATCH_SEED, swap=True))
    if not match:
        raise RuntimeError("every game against the exploiter was void")
    return mean_interval([episode.rewards[episode.seated.index(0)] for episode in match], level)


def train_exploiter(game: Game[Any], target: Agent, *, games: int, seed: int = 0) -> Agent:
    """Return a tiny model trained by PPO against `target`, which stays as it is."""
    from sparring.agents import tiny_agent

    from .advantage import RoleBaseline
    from .learner import Learner
    from .rules import make_objective, make_rule
    from .training import self_play, warm_start

    agent = tiny_agent(game, seed=seed, name="exploiter")
    for _ in warm_start(game, agent, steps=WARM_STEPS, seed=seed + 2 * MATCH_SEED):
        pass
    learner = Learner(agent, make_objective("ppo", kl=KL.start), lr=LR.start, seed=seed)
    rule = make_rule("ppo", learner, baseline=RoleBaseline(0.99))
    batch = max(min(512, games // 20), 1)
    schedules = {"lr": LR, "kl": KL}
    for _ in self_play(
        game, agent, rule, games=games, batch_games=batch, opponent=target, seed=seed, schedules=schedules
    ):
        pass
    return agent
