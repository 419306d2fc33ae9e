"""The part of `check_game` that looks at cases, verdicts and figures, and what all laws share: a spot, a complaint."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from .game import Game
from .judging import Verdict

MOST_MOVES = 40
"""Moves of a state that are looked at; of more than that a sample is."""
SPEECH = "I have made up my mind, and I will say so at some length. " * 10


class ContractError(AssertionError):
    """A game breaks a law of `Game`; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One state of a random game, before and after which nothing may have changed."""

    game: Game[Any]
    state: Any
    rng: np.random.Generator
    known: dict[tuple[int, str], tuple[str, tuple[str, ...] | None]]
    """What was shown and legal when a seat to move had an observation: (seat, observation) -> (prompt, moves)."""


def moves_of(game: Game[Any], state: Any) -> tuple[str, ...]:
    """Return moves that must be playable: the legal ones or, where the move is free text, what the game would say."""
    legal = game.legal(state)
    return legal if legal is not None else game.speeches(state) or (SPEECH.strip(),)


def some(spot: Spot, moves: tuple[str, ...]) -> tuple[str, ...]:
    """Return the moves, or every so many of them where there are more than `MOST_MOVES`."""
    step = -(-len(moves) // MOST_MOVES)
    return moves[int(spot.rng.integers(step)) :: step] if step > 1 else moves


def broken(game: Game[Any], law: str, remedy: str, cause: BaseException | None = None) -> NoReturn:
    """Raise ContractError: the law that the game breaks, and what to do."""
    raise ContractError(f"{game.name}: {law}; {remedy}") from cause


def settled(spot: Spot) -> Any:
    """Check what each verdict makes of a case; returns one of the states after them, at random."""
    after = [_settle(spot, Verdict(p=p)) for p in (0.0, 0.25, 0.5, 1.0)]
    return after[spot.rng.integers(len(after))]


def _settle(spot: Spot, verdict: Verdict) -> Any:
    game, state = spot.game, spot.state
    before = copy.deepcopy(state)
    try:
        after = game.settle(state, verdict)
    except Exception as error:  # noqa: BLE001
        broken(game, f"settle() raised {error!r}", "say what follows from any verdict on a case", error)
    if state != before or after != game.settle(before, verdict):
        broken(game, "settle() is no pure function", "return a new state that follows from state and verdict alone")
    if game.case(after) == game.case(state):
        broken(game, "settle() leaves the case open", "keep the verdict in the state, and return no case then")
    return after


def check_figures(spot: Spot) -> None:
    """Finite numbers by name, of a game that is over."""
    game = spot.game
    try:
        figures = dict(game.figures(spot.state))
    except Exception as error:  # noqa: BLE001
        broken(game, f"figures() raised {error!r}", "say of any finished game what is worth averaging", error)
    wrong = [n for n, v in figures.items() if not (isinstance(n, str) and isinstance(v, int | float))]
    if wrong or not all(map(math.isfinite, figures.values())):
        broken(game, f"figures() returned {figures}", "return finite numbers by name")
    if game.figure and not 0 <= figures.get(game.figure, -1.0) <= 1:
        broken(game, f"figures() gives no {game.figure!r} from 0 to 1", "let `figure` name one of figures()")
