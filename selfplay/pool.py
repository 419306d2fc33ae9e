"""The opponent pool: the current policy, frozen snapshots of it and fixed agents, drawn by weights.

Chosen: who plays a game is a pure function of the seed, the game's number and what is in the pool, and the two games of
a pair (2k and 2k + 1, between which the seats change) meet the same opponent. So record and grow between calls of
`play`, not while one is under way. Left out: leagues of several learners.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sparring.agents import Agent, mix, uniform
from sparring.envs import near

from .episode import Episode
from .payoffs import Payoffs

Floats = NDArray[np.float64]
Weighting = Callable[[Floats], Floats]

KINDS = ("self", "snapshots", "fixed")
_STREAM = 0x706F6F6C
"""Keeps draws apart from other uses of the same seed."""

WEIGHTINGS: dict[str, Weighting] = {
    "squared": lambda p_N: (1.0 - p_N) ** 2,
    "even": lambda p_N: p_N * (1.0 - p_N),
}
"""Prioritised fictitious self-play by the learner's win rate p (Vinyals et al. 2019, Methods): f_hard and f_var."""

DRAWS: dict[str, Callable[[Floats, Weighting], Floats]] = {
    "latest": lambda p_N, _: np.arange(len(p_N)) == len(p_N) - 1.0,
    "uniform": lambda p_N, _: np.ones(len(p_N)),
    "pfsp": lambda p_N, weighting: weighting(p_N),
    "worst": lambda p_N, _: p_N == p_N.min(),
}
"""The weight of each snapshot, the oldest first."""
BY_RESULTS = ("pfsp", "worst")
"""Those that look at results."""


class Snapshots(Protocol):
    """How the policy is frozen: `AdapterSnapshots` or `CopySnapshots`."""

    def freeze(self, name: str) -> Agent:
        """Return the present policy, frozen."""
        ...

    def drop(self, name: str) -> None:
        """Forget a frozen policy."""
        ...

    def save(self, name: str, path: Path) -> None:
        """Write a frozen policy as safetensors."""
        ...

    def load(self, name: str, path: Path) -> Agent:
        """Return the frozen policy that was written."""
        ...


@runtime_checkable
class _Remembers(Protocol):
    """An agent that keeps what it has computed."""

    def flush(self) -> None: ...

    def forget_games(self) -> None: ...


class OpponentPool:
    """Who sits opposite a learner. `play(game, (learner, pool.draw), swap=True, ...)` uses it."""

    def __init__(
        self,
        learner: Agent,
        snapshots: Snapshots,
        *,
        weights: Mapping[str, float],
        fixed: Sequence[Agent] = (),
        draw: str = "pfsp",
        weighting: str = "squared",
        size: int = 16,
        keep: str = "spread",
        decay: float = 0.99,
        seed: int = 0,
    ) -> None:
        """Start without snapshots.

        Args:
            learner: the current policy.
            snapshots: how it is frozen.
            weights: of "self", "snapshots" and "fixed". An empty kind's weight goes to the others; where all that
                have weight are empty, the learner plays itself.
            fixed: agents that never change; each is as likely as the others.
            draw: of snapshots: "latest"; "uniform"; "pfsp", by `weighting`; "worst", the lowest win rate.
            weighting: of pfsp: "squared" for those that win most, "even" for even matches.
            size: most snapshots.
            keep: which to keep when full: "newest", or "spread", whose gaps grow with age.
            decay: how much of the earlier games of a pair each new one leaves in the learner's win rates.
            seed: of the draws.

        Raises ValueError for unknown names, numbers out of range, and agents of one name.
        """
        named: list[tuple[Collection[str], str]] = [(DRAWS, draw), (WEIGHTINGS, weighting), (KEEPS, keep)]
        for table, name in (*named, *((KINDS, kind) for kind in weights)):
            if name not in table:
                raise ValueError(f"unknown {name!r}.{near(name, table)}")
        if size < 1 or min(weights.values(), default=-1.0) < 0 or not sum(weights.values()):
            raise ValueError(f"size must be 1 or more, and weights not negative nor all 0: {size}, {dict(weights)}")
        self.learner, self.snapshots, self.fixed = learner, snapshots, tuple(fixed)
        self.weights = dict(weights)
        self.draw_by, self.weighting = draw, weighting
        self.size, self.keep, self.seed = size, keep, seed
        self.payoffs = Payoffs(decay)
        self._born: dict[str, int] = {}
        """How many snapshots were made before each one, the oldest first."""
        self._frozen: dict[str, Agent] = {}
        self._made = 0
        self._check_names([learner.name, *(agent.name for agent in fixed)])

    @property
    def names(self) -> tuple[str, ...]:
        """The snapshots, the oldest first."""
        return tuple(self._born)

    def frozen(self) -> tuple[Agent, ...]:
        """Return the snapshots as players, the oldest first."""
        return tuple(self._frozen[name] for name in self._born)

    @property
    def made(self) -> int:
        """How many snapshots were taken in so far, those that were dropped again included."""
        return self._made

    def draw(self, index: int) -> Agent:
        """Return who sits opposite in the game of this number."""
        key = mix(mix(self.seed, _STREAM), index // 2)
        members = self._members()
        kinds = [kind for kind, weight in self.weights.items() if weight and members[kind]] or ["self"]
        kind = kinds[_pick(np.array([self.weights.get(kind, 1.0) for kind in kinds]), uniform(key, 0))]
        odds = self.odds() if kind == "snapshots" else np.ones(len(members[kind]))
        return members[kind][_pick(odds, uniform(key, 1))]

    def odds(self) -> Floats:
        """Return the probability of each snapshot once one is drawn; uniform where all have weight 0."""
        if not self._born:
            return np.zeros(0)
        p_N = np.array([self.win_rate(name) for name in self._born])
        weight_N = np.asarray(DRAWS[self.draw_by](p_N, WEIGHTINGS[self.weighting]), dtype=np.float64)
        if not weight_N.any():
            weight_N = np.ones(len(p_N))
        odds_N: Floats = weight_N / weight_N.sum()
        return odds_N

    def win_rate(self, name: str) -> float:
        """Return the learner's mean score against an opponent: 1 a win, 1/2 a draw; 1/2 before their first game."""
        return self.payoffs.win_rate(self.learner.name, name)

    def record(self, episodes: Iterable[Episode]) -> None:
        """Take the outcomes of games into the payoffs; games of the learner against itself say nothing.

        Raises ValueError for an opponent that is not in the pool.
        """
        known = {*self._born, *(agent.name for agent in self.fixed)}
        for episode in episodes:
            if 1 not in episode.seated:
                continue
            seat = episode.seated.index(1)
            opponent, margin = episode.players[seat], episode.rewards[1 - seat] - episode.rewards[seat]
            if opponent not in known:
                raise ValueError(f"{opponent!r} is not in the pool: record games before it grows, and only its own")
            self.payoffs.add(self.learner.name, opponent, (np.sign(margin).item() + 1.0) / 2.0)

    def grow(self, name: str) -> None:
        """Take in a snapshot of the present policy, with the learner's win rates; drop one first if the pool is full.

        Raises ValueError if the name is taken.
        """
        self._check_names([name, self.learner.name, *self._born, *(agent.name for agent in self.fixed)])
        while len(self._born) >= self.size:
            self._drop(KEEPS[self.keep](self._born, self._made))
        self._frozen[name] = self.snapshots.freeze(name)
        self._born[name] = self._made
        self._made += 1
        self.payoffs.inherit(name, self.learner.name)

    def forget(self, since: int) -> None:
        """Drop the snapshots that were made after the first `since`, a number that `made` was."""
        for name in [name for name, born in self._born.items() if born >= since]:
            self._drop(name)

    def flush(self) -> None:
        """Let every opponent with weights of its own forget what it has computed."""
        for agent in self._remembering():
            agent.flush()

    def forget_games(self) -> None:
        """Let every opponent with weights of its own forget the games, which are over."""
        for agent in self._remembering():
            agent.forget_games()

    def _remembering(self) -> list[_Remembers]:
        return [agent for agent in (*self._frozen.values(), *self.fixed) if isinstance(agent, _Remembers)]

    def state_dict(self) -> dict[str, Any]:
        """Return all but settings and weights, as plain data."""
        return {"made": self._made, "born": list(self._born.items()), "payoffs": self.payoffs.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the snapshots' weights come by `load`."""
        for name in self._frozen:
            self.snapshots.drop(name)
        self._frozen = {}
        self._made = state["made"]
        self._born = dict(state["born"])
        self.payoffs.load_state_dict(state["payoffs"])

    def save(self, folder: str | Path) -> None:
        """Write each snapshot's weights to a folder, which is made if need be: `NAME.safetensors`."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name in self._frozen:
            self.snapshots.save(name, _file(folder, name))

    def load(self, folder: str | Path) -> None:
        """Read the weights of the snapshots that `load_state_dict` named; ValueError if the folder has others."""
        found = {path.name for path in Path(folder).glob("*.safetensors")}
        wanted = {_file(folder, name).name for name in self._born}
        if found != wanted:
            raise ValueError(f"{folder} holds {sorted(found)}, not {sorted(wanted)}; call load_state_dict first")
        for name in self._born:
            if name not in self._frozen:
                self._frozen[name] = self.snapshots.load(name, _file(folder, name))

    def _members(self) -> dict[str, Sequence[Agent]]:
        missing = self._born.keys() - self._frozen.keys()
        if missing:
            raise RuntimeError(f"the weights of {sorted(missing)} are missing; call load(folder)")
        return {"self": (self.learner,), "snapshots": [self._frozen[name] for name in self._born], "fixed": self.fixed}

    def _drop(self, name: str) -> None:
        self.snapshots.drop(name)
        del self._frozen[name], self._born[name]
        self.payoffs.drop(name)

    def _check_names(self, names: Sequence[str]) -> None:
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{min(twice)!r} names two players of the pool; give each a name of its own")


def _file(folder: str | Path, name: str) -> Path:
    return Path(folder) / f"{name}.safetensors"


def _pick(weight_N: Floats, number: float) -> int:
    """Return the place at which cumulative weights pass a number that is uniform in [0, 1)."""
    total_N = np.cumsum(weight_N)
    # The product may round up to the whole sum.
    return int(min(np.searchsorted(total_N, number * total_N[-1], side="right"), np.flatnonzero(weight_N)[-1]))


def _oldest(born: Mapping[str, int], made: int) -> str:
    return next(iter(born))


def _crowded(born: Mapping[str, int], made: int) -> str:
    """Return whose neighbours in time lie closest together for its age; the first and the last have one only."""
    names, times = list(born), list(born.values())
    inner = range(1, len(names) - 1)
    if not inner:
        return names[0]
    return names[min(inner, key=lambda i: (times[i + 1] - times[i - 1]) / (made - times[i]))]


KEEPS: dict[str, Callable[[Mapping[str, int], int], str]] = {"newest": _oldest, "spread": _crowded}
"""Which snapshot goes when the pool is full."""
