"""Classic games of PettingZoo by name: `make("pettingzoo/chess_v6")`, `make("pettingzoo/go_v5(board_size=9)")`.

A state is a seed and the actions so far; the environment is rebuilt from that, kept, and copied before it is stepped.
Moves have readable names and positions are drawn in text where `pettingzoo_words` knows the game; others are numbers.
Left out: games for more than two agents, actions that are not discrete, the parallel API.
"""

from __future__ import annotations

import ast
import copy
import importlib
import pickle
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bridged import Bridged, canonical, fenced, listed, newest, plain, shortened
from .game import near
from .pettingzoo_words import GENERIC, WORDS, Words

_ROOM = {"past": 2500, "sees": 6000, "legal": 3500}
_PACKAGE = "pettingzoo.classic"


@dataclass(frozen=True, slots=True)
class ZooState:
    """All that happened."""

    seed: int = 0
    """Of all chance in the game, hidden from both seats; 0 where there is none."""
    actions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ZooPosition:
    """What is derived from a state."""

    env: Any
    """The raw environment, never stepped again: a copy is."""
    moves: dict[str, int]
    """Actions by canonical move; empty where the game is over."""
    past: tuple[tuple[int, str], ...]
    """Who played what."""
    paid: tuple[float, float]
    """All rewards so far."""


class PettingZooGame(Bridged[ZooState, ZooPosition]):
    """A two-player classic game of PettingZoo with discrete actions; its illegal moves are ours."""

    family = "pettingzoo"
    kept = 1024

    def __init__(self, name: str, *, reward_range: tuple[float, float] | None = None) -> None:
        """Find a game.

        Args:
            name: its module in the library, with arguments if wanted: `"go_v5(board_size=9)"`.
            reward_range: the lowest and the highest reward of a seat, where the library's game is not known here.

        Raises ValueError for an unknown name, naming the near one, and for what is no two-player game with discrete
        actions; ImportError where what the game itself needs is missing.
        """
        super().__init__()
        self.title = name
        module, arguments = _parsed(name)
        if module not in (modules := _modules()):
            raise ValueError(f"PettingZoo has no classic game {module!r}.{near(module, modules)}")
        self._module, self._arguments = module, arguments
        words = self._words()
        self.rules = f"You are playing {module} of the library PettingZoo. {words.rules}".strip()
        self.reward_range = reward_range or words.reward_range
        self.zero_sum = words.zero_sum
        self.max_turns = words.max_turns
        self.max_prompt = sum(_ROOM.values()) + len(self.rules) + 500
        self._check(self._rebuilt(ZooState()).env)

    def _check(self, env: Any) -> None:
        agents = env.possible_agents
        if len(agents) != 2:
            raise ValueError(f"PettingZoo's {self._module} has {len(agents)} agents here; it must have two")
        for agent in agents:
            if not hasattr(env.action_space(agent), "n"):
                raise ValueError(
                    f"the actions of PettingZoo's {self._module} are not discrete: {env.action_space(agent)}"
                )

    def _words(self) -> Words:
        return WORDS.get(self._module, GENERIC)

    @classmethod
    def candidates(cls) -> dict[str, str]:
        return dict.fromkeys(_modules(), "")

    def deal(self, rng: np.random.Generator) -> ZooState:
        return ZooState(int(rng.integers(1 << 31)) if self._words().chance else 0)

    def deals(self) -> Iterator[tuple[ZooState, float]]:
        if self._words().chance:
            raise NotImplementedError(f"{self.name}: PettingZoo does not list what chance may bring; play matches")
        yield ZooState(), 1.0

    def seat(self, state: ZooState) -> int | None:
        position = self._position(state)
        return _seat(position.env) if position.moves else None

    def observation(self, state: ZooState, seat: int) -> str:
        position, words = self._position(state), self._words()
        own = [move if not words.open_moves else f"{who}:{move}" for who, move in position.past]
        if not words.open_moves:
            own = [move for who, move in position.past if who == seat]
        lines = [f"You are player {seat}. {words.sides[seat]}".strip()]
        if own:
            lines.append(f"{'M' if words.open_moves else 'Your m'}oves so far: {newest(own, _ROOM['past'], ', ')}")
        lines.append(shortened(plain(words.sees(position.env, seat)), _ROOM["sees"]))
        return "\n".join(lines)

    def legal(self, state: ZooState) -> tuple[str, ...]:
        return tuple(self._position(state).moves)

    def request(self, state: ZooState) -> str:
        return listed(self.legal(state), self.show_legal, _ROOM["legal"])

    def play(self, state: ZooState, move: str) -> ZooState:
        position = self._position(state)
        if move not in position.moves:
            raise ValueError(f"{move!r} is not legal now; legal: {tuple(position.moves)}")
        after = ZooState(state.seed, (*state.actions, position.moves[move]))
        if after not in self._positions:
            self._positions.keep(after, self._stepped(position, after, move))
        return after

    def rewards(self, state: ZooState) -> tuple[float, float]:
        position = self._position(state)
        return (0.0, 0.0) if position.moves else position.paid

    def earned(self, state: ZooState) -> tuple[float, float]:
        return self._position(state).paid

    def _rebuilt(self, state: ZooState) -> ZooPosition:
        with fenced(state.seed, 0):
            env = _module(self._module).env(**self._arguments).unwrapped
            env.reset(seed=state.seed)
        position = ZooPosition(env, self._named(env), (), (0.0, 0.0))
        for turns in range(1, len(state.actions) + 1):
            action = state.actions[turns - 1]
            move = next(name for name, number in position.moves.items() if number == action)
            position = self._stepped(position, ZooState(state.seed, state.actions[:turns]), move)
        return position

    def _stepped(self, position: ZooPosition, after: ZooState, move: str) -> ZooPosition:
        env = _copied(position.env)
        seat = _seat(env)
        self._words().prepare(env)
        with fenced(after.seed, len(after.actions)):
            env.step(after.actions[-1])
        first, second = (float(env.rewards.get(agent, 0.0)) for agent in env.possible_agents)
        paid = (position.paid[0] + first, position.paid[1] + second)
        return ZooPosition(env, self._named(env), (*position.past, (seat, move)), paid)

    def _named(self, env: Any) -> dict[str, int]:
        """Return the legal actions by canonical move; none where the game is over."""
        agents = env.possible_agents
        if any(env.terminations.get(a, True) or env.truncations.get(a, True) for a in agents):
            return {}
        words, seat = self._words(), _seat(env)
        words.prepare(env)
        seen = env.observe(agents[seat])
        mask = seen["action_mask"] if isinstance(seen, dict) and "action_mask" in seen else None
        actions = range(env.action_space(agents[seat]).n) if mask is None else np.flatnonzero(mask).tolist()
        return {canonical(words.named(env, seat, action)): action for action in actions}


def _copied(env: Any) -> Any:
    """Return a copy of a raw environment: `copy.deepcopy` makes a new one, because such environments pickle so."""
    twin = object.__new__(type(env))
    shared = {key: value for key, value in env.__dict__.items() if key.endswith("_spaces")}
    own = {key: value for key, value in env.__dict__.items() if key not in shared}
    try:
        own = pickle.loads(pickle.dumps(own))  # Several times faster than a deep copy.
    except (pickle.PicklingError, AttributeError, TypeError):
        own = copy.deepcopy(own)
    twin.__dict__.update(shared | own)
    return twin


def _seat(env: Any) -> int:
    return int(env.possible_agents.index(env.agent_selection))


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    """Return module and arguments of `"go_v5(board_size=9)"`. Raises ValueError for what is not so written."""
    try:
        call = ast.parse(name, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        pass
    if "(" in name:
        raise ValueError(f"{name!r} is not written as name or name(setting=value)")
    return name, {}


def _modules() -> list[str]:
    package = importlib.import_module(_PACKAGE)
    return [found.name for found in pkgutil.iter_modules(package.__path__) if "_v" in found.name]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ImportError as error:
        raise ImportError(
            f"PettingZoo's {name} needs {error.name or 'more'}; install it: pip install 'sparring[pettingzoo]'"
        ) from error
