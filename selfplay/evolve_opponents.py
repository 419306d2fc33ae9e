"""Who sits opposite in the loop's games: settings named as those of training, checked before anything is built.

Chosen: the policy itself, a fixed player, or a pool of both and of the policy's earlier selves; a self enters the pool
once guard and gate have let it in. Left out: opponents of the critic, whose two roles are one policy's.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from sparring.agents import Agent, LanguageModelAgent, make_agent, settings_of
from sparring.envs import Game, near

from .assembly import check_opponents, make_opponent
from .pool import DRAWS, WEIGHTINGS, OpponentPool
from .settings import Settings
from .settings_checks import NEEDS, check_pool

if TYPE_CHECKING:
    from .evolve_run import EvolveSettings

POOLED = ("pool_mix", "pool_fixed", "pool_draw", "pool_weighting", "pool_size")
"""Settings of a pool, with the meaning that they have in training."""


def check_opposite(settings: EvolveSettings, *, plays: bool) -> None:
    """Raise ValueError for opponents that cannot be and for settings that would do nothing, with the remedy.

    `plays` says whether the method self-play is one of the run's.
    """
    s = settings
    default = {f.name: getattr(type(s)(), f.name) for f in fields(s)}
    for name in ("opponent", *POOLED):
        if getattr(s, name) != default[name] and not plays:
            raise ValueError(f"{name} is of the method self-play: add that, or leave it out")
    for name, known in (("pool_draw", DRAWS), ("pool_weighting", WEIGHTINGS)):
        if getattr(s, name) not in known:
            raise ValueError(f"unknown {name} {getattr(s, name)!r}.{near(getattr(s, name), known)}")
    # They are the same settings, of which alone these look at any.
    same = cast(Settings, s)
    check_pool(same)
    if "human" in (s.opponent, *s.pool_fixed):
        raise ValueError("opponent 'human' cannot train by the thousand; play against the model with scripts/play.py")
    for name in POOLED:
        for need in NEEDS[name] if getattr(s, name) != default[name] else ():
            if not need.met(same):
                raise ValueError(f"{name} {need.refusal}")
    if s.opponent != "self" and s.games % 2:
        raise ValueError(
            f"games {s.games} is odd, so one seat would be played more often against an opponent: set --games "
            f"{s.games + 1}"
        )


def make_opposite(settings: EvolveSettings, player: LanguageModelAgent, game: Game[Any]) -> Agent | OpponentPool | None:
    """Return who sits opposite; None is the policy itself. Raises ValueError for a player that cannot play the game."""
    # They are the same settings, of which alone it looks at any but for how models are loaded.
    opposite = make_opponent(cast(Settings, settings), player, lambda name: _fixed(name, settings))
    check_opponents(game, opposite, ())
    return opposite


def _fixed(name: str, settings: EvolveSettings) -> Agent:
    return make_agent(name, **settings_of(name, loading(settings)))


def loading(settings: EvolveSettings) -> dict[str, Any]:
    """Return how models are loaded, the policy and its opponents alike."""
    s = settings
    return {
        "device": s.device,
        "dtype": s.dtype,
        "chat_template_kwargs": None if s.thinking is None else {"enable_thinking": s.thinking},
        "max_new_tokens": s.max_new_tokens,
        "batch_tokens": s.batch_tokens,
    }
