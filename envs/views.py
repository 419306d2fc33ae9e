"""Announces every registered game to Gymnasium and to PettingZoo."""

from __future__ import annotations

import gymnasium
import pettingzoo


def register_views(id: str) -> None:
    """Register `sparring/<id>` in Gymnasium's registry and in PettingZoo's AEC registry."""
    name = f"sparring/{id}"
    gymnasium.register(id=name, entry_point="sparring.envs.gym_view:TextGameEnv", kwargs={"game": id})
    pettingzoo.register("aec", name, "sparring.envs.aec_view:aec_env", kwargs={"game": id})
