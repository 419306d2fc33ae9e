"""What the Gymnasium and the PettingZoo view share: their spaces, what they show, what they report.

Importing the package announces every registered game to both libraries; the views themselves load when first made.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import pettingzoo

from .game import Ending, Game
from .match import MAX_NOTICE, Match
from .reading import MAX_REPLY, Reading
from .registry import make
from .text_space import AnyText

UNREAD = Reading(None, None)
"""What an action is reported as when nobody's action has been read."""
CUT = (Ending.TRUNCATED, Ending.VOID)
"""Endings that are no ending by the rules."""
_WHY = {
    Ending.PLAYED: "",
    Ending.ILLEGAL: " by an illegal reply",
    Ending.TRUNCATED: " at the turn limit",
    Ending.VOID: ": it is void, through nobody's doing",
}


def register_views(id: str) -> None:
    """Register `sparring/<id>` in Gymnasium's registry and in PettingZoo's AEC registry."""
    name = f"sparring/{id}"
    gymnasium.register(id=name, entry_point="sparring.envs.gym_view:TextGameEnv", kwargs={"game": id})
    pettingzoo.register("aec", name, "sparring.envs.aec_view:aec_env", kwargs={"game": id})


def build(game: str | Game[Any], settings: dict[str, Any], retries: int) -> Game[Any]:
    """Return the game itself, or the one of that name made with `settings`. Raises TypeError for both.

    `retries` is looked at here so that a wrong one is reported when a view is made, not when it is reset.
    """
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    if isinstance(game, str):
        return make(game, **settings)
    if settings:
        raise TypeError(
            f"{', '.join(settings)}: settings go with a game's name; give the game its settings when you make it"
        )
    return game


def prompt_space(game: Game[Any]) -> AnyText:
    """Return the space of everything that `shown` may return for `game`."""
    return AnyText(game.max_prompt + MAX_NOTICE)


def reply_space() -> AnyText:
    """Return the space of replies that are read. Longer ones, and other objects, may be given and are illegal."""
    return AnyText(MAX_REPLY)


def shown(match: Match[Any], seat: int) -> str:
    """Return what `seat` sees now: its prompt if it is to move, otherwise its observation and why it waits."""
    if match.seat == seat:
        return match.prompt
    return f"{match.game.observation(match.state, seat)}\n{_status(match, seat)}"


def _status(match: Match[Any], seat: int) -> str:
    if match.ending is None:
        return "It is the other seat's turn."
    return f"The game is over{_WHY[match.ending]}. Your reward: {match.rewards[seat]:g}."


def report(match: Match[Any]) -> dict[str, Any]:
    """Return what both seats may know of how the game stands.

    No seat is -1, because vector environments keep one whole number a game.
    """
    return {
        "ending": match.ending,
        "offender": -1 if match.offender is None else match.offender,
        "illegal": match.illegal,
        "turns": match.turns,
    }


def report_reading(reading: Reading) -> dict[str, Any]:
    """Return what an action was read as: for its own author only, because a move may be sealed."""
    return {"move": reading.move, "problem": reading.problem, "detail": reading.detail}


def draw(match: Match[Any]) -> str:
    """Return the state as both seats see it, for the eyes of a spectator."""
    turn = "over" if match.seat is None else f"seat {match.seat} to move"
    views = [f"[seat {seat}]\n{shown(match, seat)}" for seat in (0, 1)]
    return "\n\n".join([f"{match.game.name}, turn {match.turns}, {turn}", *views])
