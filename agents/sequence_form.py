"""Equilibria of two-player zero-sum games with hidden information, by one linear program over move sequences.

Chosen: the sequence form (Koller, Megiddo and von Stengel 1996), whose size is that of the game and not of
its strategies; the second seat's equilibrium is read off the dual. Left out: refinements, so play at prompts
that the equilibrium never comes to is uniform.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sparring.envs.tree import Floats, Ints, Tree, previous_slots

_NEVER = 1e-9
"""Realisation weights below this are the solver's rounding."""


class _Sequences(NamedTuple):
    """The sequences of one seat: 0 is the empty one, the others are named by their last slot."""

    number_M: Ints
    """The sequence that ends with each slot of the seat, -1 at slots of the other seat."""
    constraints: Any
    """Sparse [1 + own prompts, sequences]: what follows a prompt weighs as much as what leads to it."""

    @property
    def size(self) -> int:
        return int(self.constraints.shape[1])


def equilibrium(tree: Tree[Any]) -> Floats:
    """Return the probability of each slot in an equilibrium. Shape [M].

    The game must be zero-sum. Raises ValueError without perfect recall, RuntimeError if the solver fails.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack

    previous_P = previous_slots(tree)
    first, second = (_sequences(tree, previous_P, seat) for seat in (0, 1))
    payoff = _payoff(tree, first, second)
    # Seat 0 weighs its sequences by x so that the value z of seat 1's first decision is highest, where seat
    # 1 answers each of its own sequences at best: maximise z_0 with E x = e, F' z <= A' x, x >= 0.
    objective = np.zeros(first.size + second.constraints.shape[0])
    objective[first.size] = -1.0
    found = linprog(
        objective,
        A_ub=hstack([-payoff.T, second.constraints.T], format="csr"),
        b_ub=np.zeros(second.size),
        A_eq=hstack([first.constraints, csr_array((first.constraints.shape[0], second.constraints.shape[0]))]),
        b_eq=np.eye(1, first.constraints.shape[0])[0],
        bounds=[(0, None)] * first.size + [(None, None)] * second.constraints.shape[0],
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    weight_M = np.zeros(len(tree.prompt_M))
    for sequences, weights in ((first, found.x[: first.size]), (second, -found.ineqlin.marginals)):
        own = sequences.number_M >= 0
        weight_M[own] = weights[sequences.number_M[own]]
    return _behaviour(tree, weight_M)


def _sequences(tree: Tree[Any], previous_P: Ints, seat: int) -> _Sequences:
    from scipy.sparse import csr_array

    own_P = np.flatnonzero([prompt.seat == seat for prompt in tree.prompts])
    own_M = np.flatnonzero(np.isin(tree.prompt_M, own_P))
    number_M = np.full(len(tree.prompt_M), -1)
    number_M[own_M] = np.arange(1, len(own_M) + 1)
    row_P = np.zeros(len(tree.prompts), dtype=np.int64)
    row_P[own_P] = np.arange(1, len(own_P) + 1)
    lead = np.where(previous_P[own_P] < 0, 0, number_M[previous_P[own_P]])
    rows = np.concatenate(([0], row_P[own_P], row_P[tree.prompt_M[own_M]]))
    columns = np.concatenate(([0], lead, number_M[own_M]))
    signs = np.concatenate(([1.0], -np.ones(len(own_P)), np.ones(len(own_M))))
    return _Sequences(number_M, csr_array((signs, (rows, columns)), shape=(len(own_P) + 1, len(own_M) + 1)))


def _payoff(tree: Tree[Any], first: _Sequences, second: _Sequences) -> Any:
    """Return seat 0's reward, weighted by the chance of the deal, for each pair of sequences that ends a game."""
    from scipy.sparse import coo_array

    # One row a state and pair of sequences that leads to it: equal states may be reached by different plays.
    rows = np.stack([tree.roots_D, np.zeros_like(tree.roots_D), np.zeros_like(tree.roots_D)])
    chance, ends = tree.chance_D, []
    while rows.shape[1]:
        ended = tree.seat_S[rows[0]] < 0
        ends.append((rows[1:, ended], chance[ended] * tree.rewards_S2[rows[0, ended], 0]))
        rows, chance = _advance(tree, first, second, rows[:, ~ended], chance[~ended])
    pairs = np.concatenate([pair for pair, _ in ends], axis=1)
    rewards = np.concatenate([reward for _, reward in ends])
    return coo_array((rewards, (pairs[0], pairs[1])), shape=(first.size, second.size)).tocsr()


def _advance(tree: Tree[Any], first: _Sequences, second: _Sequences, rows: Ints, chance: Floats) -> tuple[Ints, Floats]:
    """Play every legal move in every row; rows that come to be the same are added up."""
    degree = np.diff(tree.first_edge_S)[rows[0]]
    parent = np.repeat(np.arange(len(degree)), degree)
    nth = np.arange(len(parent)) - np.repeat(np.cumsum(degree) - degree, degree)
    edge = tree.first_edge_S[rows[0, parent]] + nth
    number_0, number_1 = (sequences.number_M[tree.slot_E[edge]] for sequences in (first, second))
    reached = np.stack(
        [
            tree.child_E[edge],
            np.where(number_0 >= 0, number_0, rows[1, parent]),
            np.where(number_1 >= 0, number_1, rows[2, parent]),
        ]
    )
    distinct, which = np.unique(reached, axis=1, return_inverse=True)
    summed = np.bincount(which.ravel(), chance[parent], minlength=distinct.shape[1])
    return distinct.astype(np.int64), summed.astype(np.float64)


def _behaviour(tree: Tree[Any], weight_M: Floats) -> Floats:
    """Turn realisation weights into move probabilities."""
    weight_M = np.where(weight_M > _NEVER, weight_M, 0.0)
    total_P = np.add.reduceat(weight_M, tree.first_slot_P[:-1])
    uniform_M = 1.0 / np.diff(tree.first_slot_P)[tree.prompt_M]
    total_M = total_P[tree.prompt_M]
    return np.where(total_M > 0.0, weight_M / np.where(total_M > 0.0, total_M, 1.0), uniform_M)
