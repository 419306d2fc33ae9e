"""The whole game as arrays: every reachable state and every prompt once, in an order for solvers to sweep.

Chosen: states that are equal are one state, and an information set is the text that a seat is shown, so
tic-tac-toe has 4,520 decisions and not 294,778. Left out: chance after the deal (no `Game` has it), retries,
free-text moves.

Shapes: S states, D deals, E edges (a state and a legal move), P prompts, M slots (a prompt and a legal move).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .game import Game, State

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)


class PromptRecord(NamedTuple):
    """One information set."""

    seat: int
    """Who is asked, 0 or 1."""
    text: str
    legal: tuple[str, ...]


class Step(NamedTuple):
    """Decisions of one seat, none of which comes before another; a sweep takes them all at once."""

    seat: int
    states: slice
    edges: slice
    prompts: slice
    """What they are shown; no other step has a state that is shown the same."""
    slots: slice
    first_edges: Ints
    """Where the edges of each state begin, counted from `edges.start`."""
    first_slots: Ints
    """Where the slots of each prompt begin, counted from `slots.start`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree(Generic[State]):
    """Every reachable state of a game, in topological order. Arrays are read-only."""

    states: tuple[State, ...]
    roots_D: Ints
    """Index of each deal's state."""
    chance_D: Floats
    """Probability of each deal; they sum to one."""
    seat_S: Ints
    """Who is to move: 0 or 1, or -1 where the game is over."""
    prompt_S: Ints
    """Index into `prompts`; -1 where the game is over."""
    rewards_S2: Floats
    """Rewards where the game is over; 0 before."""
    forfeits_S2: Floats
    """Rewards if the seat to move forfeits; 0 where the game is over."""
    first_edge_S: Ints
    """Where the edges of a state begin; they stand in the order of `legal`. Length S + 1."""
    source_E: Ints
    child_E: Ints
    slot_E: Ints
    """States that share a prompt share its slots."""
    prompts: tuple[PromptRecord, ...]
    first_slot_P: Ints
    """Where the slots of a prompt begin. Length P + 1."""
    prompt_M: Ints
    """The prompt of each slot."""
    steps: tuple[Step, ...]
    """The decisions, first ones first; all states that share a prompt are in one step."""
    perfect_information: bool
    """Whether every prompt names exactly one state, so that a best move can be found state by state."""

    def __len__(self) -> int:
        return len(self.states)


class NotEnumerable(ValueError):
    """The game may be sound, but exact evaluation cannot go through it: too large, free text, no perfect recall."""


def enumerate_tree(game: Game[State], *, limit: int = 1_000_000) -> Tree[State]:
    """Return every reachable state of `game`. A second call for the same game is free.

    Args:
        game: one with `deals()`; its states must be hashable, and it must end within its `max_turns`.
        limit: the most states; a tree takes about 1 kB a state.

    Raises NotEnumerable, naming the remedy, if there are more states than `limit` or moves are free text; ValueError if
    states that share a prompt differ in legal moves or a state can come back; NotImplementedError without `deals()`.
    """
    settings = (game.show_legal, game.rules, game.max_turns)
    kept = _TREES.get(id(game))
    if kept is not None and kept.game() is game and kept.settings == settings:
        if len(kept.tree) > limit:
            raise _too_large(game, limit)
        return kept.tree
    tree = _Builder(game, limit).build()
    key = id(game)
    # By identity: a game that is a dataclass with fields to compare has no hash.
    _TREES[key] = _Kept(weakref.ref(game, lambda _: _TREES.pop(key, None)), settings, tree)
    return tree


class _Kept(NamedTuple):
    game: weakref.ref[Game[Any]]
    settings: tuple[object, ...]
    tree: Tree[Any]


_TREES: dict[int, _Kept] = {}


def previous_slots(tree: Tree[Any]) -> Ints:
    """Return for each prompt the slot that its seat played last before it, -1 on its first turn. Shape [P].

    That there is one such slot is perfect recall: what a seat is shown tells all it was shown and did before.
    Raises ValueError without it, because a best response is then not found by backward induction.
    """
    none = len(tree.prompt_M)
    low_P = np.full(len(tree.prompts), none)
    high_P = np.full(len(tree.prompts), -1)
    for seat in (0, 1):
        low_S, high_S = _last_slots(tree, seat)
        own = np.flatnonzero(tree.seat_S == seat)
        np.minimum.at(low_P, tree.prompt_S[own], low_S[own])
        np.maximum.at(high_P, tree.prompt_S[own], high_S[own])
    if (forgetful := np.flatnonzero(low_P != high_P)).size:
        seat, text, _ = tree.prompts[forgetful[0]]
        raise NotEnumerable(
            f"seat {seat} can come to one prompt by different plays of its own (no perfect recall), so exact "
            f"evaluation would be wrong; show the seat its own past in observation(). The prompt is:\n{text}"
        )
    return high_P


def _last_slots(tree: Tree[Any], seat: int) -> tuple[Ints, Ints]:
    """Return the lowest and highest slot that `seat` may have played last on the way to each state."""
    low_S = np.full(len(tree), len(tree.prompt_M))
    high_S = np.full(len(tree), -1)
    low_S[tree.roots_D] = -1
    for step in tree.steps:
        child_e, source_e = tree.child_E[step.edges], tree.source_E[step.edges]
        own = step.seat == seat
        np.minimum.at(low_S, child_e, tree.slot_E[step.edges] if own else low_S[source_e])
        np.maximum.at(high_S, child_e, tree.slot_E[step.edges] if own else high_S[source_e])
    return low_S, high_S


class _Builder(Generic[State]):
    """Finds the states in the order of discovery, then puts them in topological order."""

    def __init__(self, game: Game[State], limit: int) -> None:
        self.game = game
        self.limit = limit
        self.index: dict[State, int] = {}
        self.states: list[State] = []
        self.chance: dict[int, float] = {}
        self.seats: list[int] = []
        self.asked: list[int] = []
        """The prompt of each state, -1 where the game is over."""
        self.children: list[int] = []
        self.rewards: list[tuple[float, float]] = []
        """Of a finished game, or of a forfeit here."""
        self.prompts: list[PromptRecord] = []
        self.prompt_index: dict[tuple[int, str], int] = {}

    def build(self) -> Tree[State]:
        self._deal()
        for state in self.states:  # It grows while it is walked.
            self._visit(state)
        return self._ordered()

    def _deal(self) -> None:
        for state, probability in self.game.deals():
            i = self._add(state)
            self.chance[i] = self.chance.get(i, 0.0) + probability
        if abs(sum(self.chance.values()) - 1.0) > 1e-9:
            raise ValueError(
                f"{self.game.name}: the probabilities of deals() sum to {sum(self.chance.values())}, not 1"
            )

    def _add(self, state: State) -> int:
        try:
            i = self.index.setdefault(state, len(self.states))
        except TypeError:
            raise ValueError(
                f"{self.game.name}: states must be hashable; use frozen dataclasses of numbers and tuples"
            ) from None
        if i == len(self.states):
            if i >= self.limit:
                raise _too_large(self.game, self.limit)
            self.states.append(state)
        return i

    def _visit(self, state: State) -> None:
        seat = self.game.seat(state)
        if seat is None and self.game.case(state) is not None:
            raise NotEnumerable(f"{self.game.name} is decided by a judge, so it has no tree; play matches instead")
        if seat is None:
            self.seats.append(-1)
            self.asked.append(-1)
            self.rewards.append(self.game.rewards(state))
            return
        self.seats.append(seat)
        legal = self.game.legal(state)
        self.asked.append(self._ask(self.game.prompt(state, seat), seat, legal))
        self.rewards.append(self.game.forfeit(state, seat))
        for move in legal or ():
            self.children.append(self._add(self.game.play(state, move)))

    def _ask(self, text: str, seat: int, legal: tuple[str, ...] | None) -> int:
        if not legal:
            what = "takes free text" if legal is None else "has a seat to move but no legal move"
            raise NotEnumerable(f"{self.game.name} {what}, so it has no tree; play sampled matches instead")
        i = self.prompt_index.setdefault((seat, text), len(self.prompts))
        if i == len(self.prompts):
            self.prompts.append(PromptRecord(seat, text, legal))
        elif self.prompts[i].legal != legal:
            raise ValueError(
                f"{self.game.name}: states that seat {seat} cannot tell apart have different legal moves, "
                f"{self.prompts[i].legal} and {legal}; show the difference in observation(). "
                f"The prompt is:\n{text}"
            )
        return i

    def _ordered(self) -> Tree[State]:
        """Renumber by level, seat and prompt: each step is then a run of states, prompts and slots."""
        asked, seats = np.array(self.asked), np.array(self.seats)
        degree = np.array([len(prompt.legal) for prompt in self.prompts] + [0])[asked]
        child = np.array(self.children, dtype=np.int64)
        level = self._levels(asked, np.repeat(np.arange(len(seats)), degree), child)
        order = np.lexsort((asked, seats, level))
        prompt_order = _unique_in_order(asked[order][seats[order] >= 0])
        prompt_rank = np.append(np.argsort(prompt_order), -1)  # The -1 of finished games stays -1.
        shape = _Shape(
            seat_S=seats[order],
            prompt_S=prompt_rank[asked[order]],
            first_edge_S=_starts(degree[order]),
            first_slot_P=_starts([len(self.prompts[i].legal) for i in prompt_order]),
        )
        rank, edges = np.argsort(order), _ranges(_starts(degree), order)
        ended_S1 = shape.seat_S[:, None] < 0
        rewards_S2 = np.array(self.rewards, dtype=float)[order]
        return Tree(
            states=tuple(self.states[i] for i in order),
            roots_D=_fixed(rank[list(self.chance)]),
            chance_D=_fixed(np.array(list(self.chance.values()))),
            rewards_S2=_fixed(np.where(ended_S1, rewards_S2, 0.0)),
            forfeits_S2=_fixed(np.where(ended_S1, 0.0, rewards_S2)),
            child_E=_fixed(rank[child[edges]]),
            prompts=tuple(self.prompts[i] for i in prompt_order),
            steps=tuple(_steps(level[order], shape)),
            perfect_information=len(self.prompts) == int((seats >= 0).sum()),
            **_indices(shape),
        )

    def _levels(self, asked: Ints, source: Ints, child: Ints) -> Ints:
        """Return the longest way to each state, those that share a prompt taken as one."""
        name, most = self.game.name, self.game.max_turns
        node = np.where(asked >= 0, asked, len(self.prompts) + np.arange(len(asked)))
        level = _longest_ways(node[source], node[child], len(self.prompts) + len(asked))
        if level is not None and level[node].max() <= most:
            return level[node]
        turns = _longest_ways(source, child, len(asked))
        if turns is None:
            raise ValueError(f"{name}: a state can come back, so play need not end; keep a count in it")
        if turns.max() > most:
            raise ValueError(f"{name} can take {turns.max()} turns; raise max_turns, which is {most}")
        if level is None:
            raise NotEnumerable(
                f"{name}: a prompt can come before itself, or before and after another (no perfect recall), so "
                "exact evaluation would be wrong; show each seat its own past in observation()"
            )
        return level[node]


class _Shape(NamedTuple):
    """What all other indices of a tree follow from; see the fields of `Tree`."""

    seat_S: Ints
    prompt_S: Ints
    first_edge_S: Ints
    first_slot_P: Ints


def _indices(shape: _Shape) -> dict[str, Ints]:
    degree_S = np.diff(shape.first_edge_S)
    source_E = np.repeat(np.arange(len(degree_S)), degree_S)
    nth_E = np.arange(len(source_E)) - shape.first_edge_S[source_E]
    prompt_M = np.repeat(np.arange(len(shape.first_slot_P) - 1), np.diff(shape.first_slot_P))
    slot_E = shape.first_slot_P[shape.prompt_S[source_E]] + nth_E
    fields = {**shape._asdict(), "source_E": source_E, "slot_E": slot_E, "prompt_M": prompt_M}
    return {name: _fixed(array) for name, array in fields.items()}


def _longest_ways(source: Ints, target: Ints, n: int) -> Ints | None:
    """Return the most edges of a path that ends at each of `n` nodes; None if there is a cycle."""
    by_source = np.argsort(source, kind="stable")
    first = _starts(np.bincount(source, minlength=n))
    waiting = np.bincount(target, minlength=n)
    level = np.full(n, -1)
    ready = np.flatnonzero(waiting == 0)
    turn = 0
    while ready.size:
        level[ready] = turn
        reached, times = np.unique(target[by_source[_ranges(first, ready)]], return_counts=True)
        waiting[reached] -= times
        ready = reached[waiting[reached] == 0]
        turn += 1
    return None if (level < 0).any() else level


def _steps(level_S: Ints, shape: _Shape) -> Iterator[Step]:
    seat_S, prompt_S, first_edge_S, first_slot_P = shape
    cuts = np.flatnonzero((np.diff(level_S) != 0) | (np.diff(seat_S) != 0)) + 1
    for start, stop in pairwise([0, *cuts.tolist(), len(seat_S)]):
        if seat_S[start] < 0:
            continue
        edges = slice(int(first_edge_S[start]), int(first_edge_S[stop]))
        prompts = slice(int(prompt_S[start]), int(prompt_S[stop - 1]) + 1)
        slots = slice(int(first_slot_P[prompts.start]), int(first_slot_P[prompts.stop]))
        yield Step(
            seat=int(seat_S[start]),
            states=slice(start, stop),
            edges=edges,
            prompts=prompts,
            slots=slots,
            first_edges=first_edge_S[start:stop] - edges.start,
            first_slots=first_slot_P[prompts] - slots.start,
        )


def _fixed(array: NDArray[T]) -> NDArray[T]:
    array.setflags(write=False)
    return array


def _starts(lengths: Iterable[int] | Ints) -> Ints:
    """Return where each of consecutive runs begins, and where the last ends."""
    return np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64))))


def _ranges(first: Ints, of: Ints) -> Ints:
    """Return `first[i], first[i] + 1, ... first[i + 1] - 1` for each i in `of`, one after another."""
    length = first[of + 1] - first[of]
    return np.repeat(first[of] - _starts(length)[:-1], length) + np.arange(length.sum())


def _unique_in_order(values: Ints) -> Ints:
    found, where = np.unique(values, return_index=True)
    return found[np.argsort(where)]


def _too_large(game: Game[Any], limit: int) -> NotEnumerable:
    return NotEnumerable(
        f"{game.name} has more than {limit:,} states, too many to go through; raise limit=, choose smaller "
        "settings, or play sampled matches"
    )
