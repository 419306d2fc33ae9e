"""Values, reaches and best responses of a policy over a whole tree: a few numpy calls for each turn.

Chosen: one backward sweep serves both kinds of game. Under perfect information every prompt names one state,
so the sweep is dynamic programming over positions; otherwise moves are compared by counterfactual reach over
the states that share a prompt. Shapes as in `sparring.envs.tree`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sparring.envs.tree import Floats, Ints, Step, Tree

FORFEIT = -1
"""The slot of a response that does best to forfeit."""


class Table(NamedTuple):
    """A policy over every prompt of a tree."""

    move_M: Floats
    """Probability of each legal move."""
    illegal_P: Floats
    """Probability of an illegal reply, which forfeits; with the moves of its prompt it makes one."""


def state_values(tree: Tree[Any], table: Table) -> Floats:
    """Return what each seat gets on average from each state on when both follow `table`. Shape [S, 2]."""
    value_S2 = tree.rewards_S2.copy()
    for step in reversed(tree.steps):
        value_e2 = value_S2[tree.child_E[step.edges]] * table.move_M[tree.slot_E[step.edges], None]
        illegal_s = table.illegal_P[tree.prompt_S[step.states]]
        played_s2 = np.add.reduceat(value_e2, step.first_edges)
        value_S2[step.states] = played_s2 + illegal_s[:, None] * tree.forfeits_S2[step.states]
    return value_S2


def root_values(tree: Tree[Any], table: Table) -> Floats:
    """Return what each seat gets on average from the deal on. Shape [2]."""
    values_2: Floats = tree.chance_D @ state_values(tree, table)[tree.roots_D]
    return values_2


def reaches(tree: Tree[Any], table: Table, *, but: int | None = None) -> Floats:
    """Return the probability that play comes to each state. Shape [S].

    With `but`, that seat's own probabilities are taken as one: the counterfactual reach of its states.
    """
    reach_S = np.zeros(len(tree))
    np.add.at(reach_S, tree.roots_D, tree.chance_D)
    for step in tree.steps:
        reach_e = reach_S[tree.source_E[step.edges]]
        if step.seat != but:
            reach_e = reach_e * table.move_M[tree.slot_E[step.edges]]
        np.add.at(reach_S, tree.child_E[step.edges], reach_e)
    return reach_S


class Response(NamedTuple):
    """The best reply to a policy in one seat."""

    seat: int
    value: float
    """What it gets on average from the deal on."""
    slot_P: Ints
    """What it plays at its own prompts: a slot, or `FORFEIT`."""


def best_response(tree: Tree[Any], table: Table, seat: int, *, may_forfeit: bool = True) -> Response:
    """Return the best that `seat` can do against `table`. The first of equally good moves is played."""
    weight_S = np.ones(len(tree)) if tree.perfect_information else reaches(tree, table, but=seat)
    value_S = tree.rewards_S2[:, seat].copy()
    slot_P = np.full(len(tree.prompts), FORFEIT)
    for step in reversed(tree.steps):
        value_e = value_S[tree.child_E[step.edges]]
        if step.seat == seat:
            value_S[step.states] = _choose(tree, step, value_e, weight_S, slot_P, may_forfeit=may_forfeit)
            continue
        played_s = np.add.reduceat(value_e * table.move_M[tree.slot_E[step.edges]], step.first_edges)
        illegal_s = table.illegal_P[tree.prompt_S[step.states]]
        value_S[step.states] = played_s + illegal_s * tree.forfeits_S2[step.states, seat]
    return Response(seat, float(tree.chance_D @ value_S[tree.roots_D]), slot_P)


def _choose(
    tree: Tree[Any], step: Step, value_e: Floats, weight_S: Floats, slot_P: Ints, *, may_forfeit: bool
) -> Floats:
    """Write the best slot of each prompt of the step into `slot_P`; return the value of each of its states."""
    weight_e = weight_S[tree.source_E[step.edges]]
    slot_e = tree.slot_E[step.edges] - step.slots.start
    value_m = np.bincount(slot_e, value_e * weight_e, minlength=step.slots.stop - step.slots.start)
    best_p = np.maximum.reduceat(value_m, step.first_slots)
    prompt_m = tree.prompt_M[step.slots] - step.prompts.start
    is_best = np.flatnonzero(value_m == best_p[prompt_m])[::-1]
    chosen_p = np.empty(len(best_p), dtype=np.int64)
    chosen_p[prompt_m[is_best]] = is_best  # The last write stands, hence the first of equals.
    prompt_s = tree.prompt_S[step.states] - step.prompts.start
    value_s: Floats = value_e[step.first_edges + chosen_p[prompt_s] - step.first_slots[prompt_s]]
    chosen_p += step.slots.start
    if may_forfeit:
        forfeit_s = tree.forfeits_S2[step.states, tree.seat_S[step.states.start]]
        is_better_p = np.bincount(prompt_s, forfeit_s * weight_S[step.states]) > best_p
        chosen_p[is_better_p] = FORFEIT
        value_s = np.where(is_better_p[prompt_s], forfeit_s, value_s)
    slot_P[step.prompts] = chosen_p
    return value_s


def with_response(tree: Tree[Any], table: Table, response: Response) -> Table:
    """Return `table` with the response in its seat."""
    is_own_P = np.array([prompt.seat == response.seat for prompt in tree.prompts], dtype=bool)
    move_M = np.where(is_own_P[tree.prompt_M], 0.0, table.move_M)
    is_move_P = is_own_P & (response.slot_P != FORFEIT)
    move_M[response.slot_P[is_move_P]] = 1.0
    return Table(move_M, np.where(is_own_P, (response.slot_P == FORFEIT).astype(float), table.illegal_P))


def legal_only(tree: Tree[Any], table: Table) -> Table:
    """Return the table renormalised over legal moves; uniform where all replies were illegal."""
    starts = tree.first_slot_P[:-1]
    total_P = np.add.reduceat(table.move_M, starts) if len(starts) else np.zeros(0)
    is_empty_P = total_P <= 0.0
    share_M = np.where(is_empty_P[tree.prompt_M], 1.0, table.move_M)
    total_P = np.where(is_empty_P, np.diff(tree.first_slot_P), total_P)
    return Table(share_M / total_P[tree.prompt_M], np.zeros(len(starts)))
