"""A player that is no fool and no expert: it plays the best reply to a player who moves at random.

Chosen: exact, for any game that can be listed, so that every such game has an opponent between random and optimal. It
takes what it can win at once, and it can be exploited. Left out: rules of thumb for single games.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparring.envs import Game
from sparring.envs.tree import Floats, Tree, previous_slots

from .optimal import OptimalAgent
from .sweeps import Table, best_response, legal_only, with_response


class HeuristicAgent(OptimalAgent):
    """Plays in each seat the best reply to the random player; of equally good moves the first."""

    def __init__(self, *, limit: int = 300_000, name: str = "heuristic") -> None:
        """Set the size up to which games are taken: `limit` states. `name` is how tables call it."""
        super().__init__(limit=limit, name=name)

    def _moves(self, game: Game[Any], tree: Tree[Any]) -> Floats:
        if not tree.perfect_information:
            # Raises where a seat forgets what it did: a best reply is then not found backwards.
            previous_slots(tree)
        prompts = len(tree.prompts)
        random = legal_only(tree, Table(np.zeros(len(tree.prompt_M)), np.zeros(prompts)))
        table = random
        for seat in (0, 1):
            table = with_response(tree, table, best_response(tree, random, seat, may_forfeit=False))
        return table.move_M
