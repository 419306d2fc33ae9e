"""The player that cannot be beaten: exact minimax where all is seen, an equilibrium where not.

Chosen: solved when first asked, once a game object, over the game's own prompts. Left out: search,
approximation; a game that is too large to solve is refused.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparring.envs import Game, Prompt, Reply
from sparring.envs.tree import Floats, Tree, enumerate_tree, previous_slots

from .players import pick
from .sequence_form import equilibrium

_TIE = 1e-9
"""Rewards closer than this are equal."""


class OptimalAgent:
    """Plays perfectly: uniform over the minimax-optimal moves, or an equilibrium where something is hidden.

    Which one is unspecified where there are several. A lost position is played on with any move.
    """

    def __init__(self, *, limit: int = 300_000, max_prompts: int = 30_000, name: str = "optimal") -> None:
        """Set the sizes up to which games are solved.

        Args:
            limit: the most states, for any game.
            max_prompts: the most prompts of a game that hides information; 24,576 took 3 s and 280 MB.
            name: how tables call this player.
        """
        self.name = name
        self.limit = limit
        self.max_prompts = max_prompts
        self._solved: dict[int, tuple[weakref.ref[Game[Any]], bool, _Solution | str]] = {}
        """By the id of a game: it, its `show_legal`, and its solution, or why it has none."""

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, drawn by the prompt's noise. Raises as `move_probabilities`."""
        rows = self.move_probabilities(prompts)
        return [Reply(text=f"[{pick(prompt, row)}]") for prompt, row in zip(prompts, rows, strict=True)]

    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[NDArray[np.float64]]:
        """Return the probability of each legal move.

        Raises ValueError if the game is too large, not zero-sum or without perfect recall, or if a prompt is
        none of its game's.
        """
        return [self._solution(prompt.game).row(prompt) for prompt in prompts]

    def refusal(self, game: Game[Any]) -> str:
        """Return why it cannot play a game, "" if it can. It is solved for that, and its first move takes no time then.

        What a game of somebody else's raises comes through.
        """
        try:
            self._solution(game)
        except ValueError as error:
            return str(error)
        return ""

    def can_play(self, game: Game[Any]) -> bool:
        """Whether a game can be solved, without solving it: its positions can be listed, and are not too many."""
        try:
            tree = enumerate_tree(game, limit=self.limit)
            self._check(game, tree)
            if not tree.perfect_information:
                previous_slots(tree)
        except (ValueError, NotImplementedError):
            return False
        return True

    def _solution(self, game: Game[Any]) -> _Solution:
        kept = self._solved.get(id(game))
        if kept is None or kept[0]() is not game or kept[1] != game.show_legal:
            solved, key = self._solved, id(game)
            kept = weakref.ref(game, lambda _: solved.pop(key, None)), game.show_legal, self._try(game)
            self._solved[key] = kept
        if isinstance(kept[2], str):
            raise ValueError(kept[2])
        return kept[2]

    def _try(self, game: Game[Any]) -> _Solution | str:
        """Solve a game, or say why not: to find out again takes seconds, and is asked at every move."""
        try:
            return self._solve(game)
        except (ValueError, NotImplementedError) as error:
            return str(error) or type(error).__name__

    def _solve(self, game: Game[Any]) -> _Solution:
        try:
            tree = enumerate_tree(game, limit=self.limit)
        except ValueError as error:
            raise ValueError(f"{game.name} cannot be solved exactly: {error}") from None
        index = {(prompt.seat, prompt.text): i for i, prompt in enumerate(tree.prompts)}
        rows = np.split(self._moves(game, tree), tree.first_slot_P[1:-1])
        return _Solution(game.name, index, rows)

    def _moves(self, game: Game[Any], tree: Tree[Any]) -> Floats:
        """Return the probability of each slot, [M]."""
        self._check(game, tree)
        return minimax(tree) if tree.perfect_information else equilibrium(tree)

    def _check(self, game: Game[Any], tree: Tree[Any]) -> None:
        if np.abs(tree.rewards_S2.sum(axis=1)).max() > _TIE:
            raise ValueError(f"{game.name} is not zero-sum, so no play is best against everyone; choose another agent")
        if not tree.perfect_information and len(tree.prompts) > self.max_prompts:
            raise ValueError(
                f"{game.name} hides information and has {len(tree.prompts):,} prompts, more than "
                f"{self.max_prompts:,}; raise max_prompts=, choose smaller settings (fewer dice, faces or "
                "cards), or choose another agent"
            )


class _Solution(NamedTuple):
    game: str
    number: dict[tuple[int, str], int]
    """The number of each seat and prompt."""
    rows: list[NDArray[np.float64]]

    def row(self, prompt: Prompt) -> NDArray[np.float64]:
        # After an illegal reply the prompt begins with a notice, a paragraph of its own.
        for text in (prompt.text, prompt.text.partition("\n\n")[2]):
            if (i := self.number.get((prompt.seat, text))) is not None:
                return self.rows[i]
        raise ValueError(
            f"{self.game} never shows seat {prompt.seat} this prompt; is it another game's?\n{prompt.text}"
        )


def minimax(tree: Tree[Any]) -> Floats:
    """Return the probability of each slot, uniform over the best moves. Shape [M]. Zero-sum, nothing hidden."""
    value_S = tree.rewards_S2[:, 0].copy()
    move_M = np.zeros(len(tree.prompt_M))
    for step in reversed(tree.steps):
        sign = 1.0 if step.seat == 0 else -1.0
        value_e = sign * value_S[tree.child_E[step.edges]]
        best_s = np.maximum.reduceat(value_e, step.first_edges)
        value_S[step.states] = sign * best_s
        best_e = np.repeat(best_s, np.diff(step.first_edges, append=len(value_e)))
        move_M[tree.slot_E[step.edges]] = value_e >= best_e - _TIE
    starts = tree.first_slot_P[:-1]
    count_P = np.add.reduceat(move_M, starts) if len(starts) else np.zeros(0)
    return move_M / count_P[tree.prompt_M]
