"""Our games as OpenSpiel games: `to_open_spiel("KuhnPoker-v0")`, for its solvers and measures.

The deal is one move of chance, an information state is the prompt, an action is the number of a move among all moves
that the game knows. Left out: free text, judges, tensors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .game import Game
from .registry import make
from .tree import enumerate_tree

try:
    import pyspiel
except ImportError as error:
    raise ImportError("to_open_spiel needs open_spiel; install it: pip install 'sparring[open_spiel]'") from error


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a game of OpenSpiel is made from."""

    game: Game[Any]
    deals: tuple[Any, ...]
    chances: tuple[float, ...]
    moves: tuple[str, ...]
    """Every move, by the number of its action."""
    actions: dict[str, int]


_SOURCES: dict[str, Source] = {}


def to_open_spiel(game: str | Game[Any], *, limit: int = 1_000_000) -> Any:
    """Return a game, or the one of that name, as a game of `pyspiel`; it is registered there as well.

    Args:
        game: one with `deals()`; every state is looked at once, to number the moves.
        limit: the most states.

    Raises what `enumerate_tree` raises: NotEnumerable for free text, judges and too many states, NotImplementedError
    without `deals()`.
    """
    game = make(game) if isinstance(game, str) else game
    known = next((name for name, source in _SOURCES.items() if source.game is game), None)
    return pyspiel.load_game(known or _registered(game, limit))


def _registered(game: Game[Any], limit: int) -> str:
    """Register a game in OpenSpiel; return the name that it has there."""
    tree = enumerate_tree(game, limit=limit)
    moves = tuple(dict.fromkeys(move for prompt in tree.prompts for move in prompt.legal))
    deals, chances = zip(*game.deals(), strict=True)
    stem = "sparring_" + re.sub(r"\W+", "_", game.name.casefold()).strip("_")
    name = stem if stem not in _SOURCES else f"{stem}_{len(_SOURCES)}"
    _SOURCES[name] = Source(game, deals, chances, moves, {move: i for i, move in enumerate(moves)})
    about = _about(name, _SOURCES[name], perfect=tree.perfect_information)
    # A class, not a function: the library lets go of it after the interpreter is gone, when a function would be freed.
    pyspiel.register_game(about, type("SpielGame", (SpielGame,), {"name": name, "about": about}))
    return name


def _about(name: str, source: Source, *, perfect: bool) -> Any:
    kinds = pyspiel.GameType
    return kinds(
        short_name=name,
        long_name=f"{source.game.name} of Sparring",
        dynamics=kinds.Dynamics.SEQUENTIAL,
        chance_mode=kinds.ChanceMode.EXPLICIT_STOCHASTIC if len(source.deals) > 1 else kinds.ChanceMode.DETERMINISTIC,
        information=kinds.Information.PERFECT_INFORMATION if perfect else kinds.Information.IMPERFECT_INFORMATION,
        utility=kinds.Utility.ZERO_SUM if source.game.zero_sum else kinds.Utility.GENERAL_SUM,
        reward_model=kinds.RewardModel.TERMINAL,
        max_num_players=2,
        min_num_players=2,
        provides_information_state_string=True,
        provides_information_state_tensor=False,
        provides_observation_string=True,
        provides_observation_tensor=False,
        parameter_specification={},
    )


class SpielGame(pyspiel.Game):  # type: ignore[misc]
    """One of our games, as OpenSpiel's solvers see it."""

    name: str
    about: Any

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        source = _SOURCES[self.name]
        low, high = source.game.reward_range
        info = pyspiel.GameInfo(
            num_distinct_actions=len(source.moves),
            max_chance_outcomes=len(source.deals) if len(source.deals) > 1 else 0,
            num_players=2,
            min_utility=low,
            max_utility=high,
            utility_sum=0.0 if source.game.zero_sum else None,
            max_game_length=source.game.max_turns,
        )
        super().__init__(self.about, info, parameters or {})

    def new_initial_state(self) -> SpielState:
        """Return the state before the deal."""
        return SpielState(self)

    def make_py_observer(self, kind: Any = None, parameters: Any = None) -> PromptObserver:
        """Return what turns states into texts."""
        return PromptObserver()


class SpielState(pyspiel.State):  # type: ignore[misc]
    """A state of ours behind OpenSpiel's interface, which copies it deeply: so it holds names and values only."""

    def __init__(self, game: SpielGame) -> None:
        super().__init__(game)
        self.name = game.name
        source = _SOURCES[game.name]
        self.ours = source.deals[0] if len(source.deals) == 1 else None

    def current_player(self) -> int:
        """Return who is to move, chance before the deal."""
        if self.ours is None:
            return int(pyspiel.PlayerId.CHANCE)
        seat = _SOURCES[self.name].game.seat(self.ours)
        return int(pyspiel.PlayerId.TERMINAL) if seat is None else seat

    def _legal_actions(self, player: int) -> list[int]:
        source = _SOURCES[self.name]
        return sorted(source.actions[move] for move in source.game.legal(self.ours) or ())

    def chance_outcomes(self) -> list[tuple[int, float]]:
        """Return the deals with their probabilities."""
        return list(enumerate(_SOURCES[self.name].chances))

    def _apply_action(self, action: int) -> None:
        source = _SOURCES[self.name]
        if self.ours is None:
            self.ours = source.deals[action]
        else:
            self.ours = source.game.play(self.ours, source.moves[action])

    def _action_to_string(self, player: int, action: int) -> str:
        return f"deal {action}" if player == pyspiel.PlayerId.CHANCE else _SOURCES[self.name].moves[action]

    def is_terminal(self) -> bool:
        """Return whether the game is over."""
        return self.ours is not None and _SOURCES[self.name].game.seat(self.ours) is None

    def returns(self) -> list[float]:
        """Return the rewards, 0 before the end."""
        return [0.0, 0.0] if self.ours is None else list(_SOURCES[self.name].game.rewards(self.ours))

    def shown_to(self, player: int) -> str:
        """Return what a seat reads: its prompt if it is to move, else its observation."""
        if self.ours is None:
            return "The game is not dealt yet."
        game = _SOURCES[self.name].game
        to_move = game.seat(self.ours) == player
        return game.prompt(self.ours, player) if to_move else game.observation(self.ours, player)

    def __str__(self) -> str:
        return "\n".join(f"[{seat}] {self.shown_to(seat)}" for seat in (0, 1))


class PromptObserver:
    """Shows a state as its prompt; there are no tensors."""

    def __init__(self) -> None:
        self.tensor = None
        self.dict: dict[str, Any] = {}

    def set_from(self, state: SpielState, player: int) -> None:
        """Do nothing: there is no tensor to set."""

    def string_from(self, state: SpielState, player: int) -> str:
        """Return what a seat reads."""
        return state.shown_to(player)
