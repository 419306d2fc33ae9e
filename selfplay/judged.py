"""Who judges: the judge of training and the one of evaluation, kept apart, and what both counted."""

from __future__ import annotations

import copy
from typing import Any

from sparring.agents import make_judge, report_of
from sparring.envs import Game

from .measures import Measurable, Measure


def is_judged(game: Game[Any]) -> bool:
    """Whether a game has cases for a judge."""
    return type(game).case is not Game.case


def with_judge(game: Game[Any], spec: str, **settings: Any) -> Game[Any]:
    """Return a copy of the game with the judge called `spec`; `settings` are of language models.

    Raises ValueError for a game that asks none, and as `make_judge` does.
    """
    if not is_judged(game):
        raise ValueError(f"{game.name} asks no judge: leave judge {spec!r} out")
    judged = copy.copy(game)
    judged.judge = make_judge(spec, **settings)
    return judged


def judge_metrics(game: Game[Any], prefix: str = "judge") -> dict[str, float]:
    """Return what the game's judge counted since it last reported, as `judge/NAME`."""
    return {f"{prefix}/{name}": value for name, value in report_of(game.judge).items()}


def judged_apart(measure: Measure, game: Game[Any]) -> Measure:
    """Return the measure of a judged game under names of its own, so that training's figures stay beside it.

    Figures of the games that it plays are `eval/NAME` in place of `game/NAME`, and what the game's judge counted
    meanwhile is `eval_judge/NAME`.
    """

    def take(agent: Measurable) -> dict[str, float]:
        found = measure.take(agent)
        renamed = {f"eval/{k.removeprefix('game/')}" if k.startswith("game/") else k: v for k, v in found.items()}
        return renamed | judge_metrics(game, "eval_judge")

    return measure._replace(take=take)
