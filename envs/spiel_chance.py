"""Whether all chance of an OpenSpiel game can be dealt at the start, and if so, every way it can fall.

It can where what chance does at its k-th turn depends on nothing but what it did before: then a whole sequence may be
drawn first, although some of it is shown later or never. That is read off the tree, so it is known, not assumed.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any, NamedTuple

MOST_SEQUENCES = 20_000
MOST_TURNS = 14
"""Turns of chance beyond which there are more sequences than that, if each of them has two outcomes."""
Drawn = tuple[int, ...]
Outcomes = tuple[tuple[int, float], ...]


class Luck(NamedTuple):
    """Every way that chance can fall."""

    listed: tuple[tuple[Drawn, float], ...]
    """What chance does at each of its turns, and how probable that is."""
    sums: tuple[float, ...]
    """Probabilities added up."""

    def pick(self, number: float) -> Drawn:
        """Return the sequence that `number`, uniform from 0 to 1, stands for."""
        return self.listed[min(bisect_right(self.sums, number), len(self.listed) - 1)][0]


def list_luck(spiel: Any, *, nodes: int) -> Luck | None:
    """Return every way that chance can fall in a game; None where it may depend on moves or is too much to list.

    Args:
        spiel: a game of pyspiel whose chance outcomes are explicit.
        nodes: most histories that are looked through.
    """
    turns = spiel.max_chance_nodes_in_history() if _has_chance(spiel) else 0
    dealt = _first_outcomes(spiel) if turns else {}
    if dealt is None:
        return None
    if max((len(drawn) + 1 for drawn in dealt), default=0) < turns:
        dealt = _all_outcomes(spiel, nodes) if turns <= MOST_TURNS else None
        if dealt is None:
            return None
    listed = _sequences(dealt)
    return None if listed is None else Luck(tuple(listed), tuple(accumulate(p for _, p in listed)))


def _has_chance(spiel: Any) -> bool:
    return not str(spiel.get_type().chance_mode).endswith("DETERMINISTIC")


def _outcomes(state: Any) -> Outcomes:
    return tuple((int(action), float(p)) for action, p in state.chance_outcomes() if p > 0)


def _first_outcomes(spiel: Any) -> dict[Drawn, Outcomes] | None:
    """Return what chance may do, by what it did, before anybody moves; None where that is too much."""
    found: dict[Drawn, Outcomes] = {}
    waiting: list[tuple[Any, Drawn]] = [(spiel.new_initial_state(), ())]
    for state, drawn in waiting:
        if not state.is_chance_node():
            continue
        found[drawn] = _outcomes(state)
        if len(waiting) + len(found[drawn]) > MOST_SEQUENCES:
            return None
        waiting += [(state.child(action), (*drawn, action)) for action, _ in found[drawn]]
    return found


def _all_outcomes(spiel: Any, nodes: int) -> dict[Drawn, Outcomes] | None:
    """Return what chance may do by what it did; None where moves matter to that, or the tree has too many nodes."""
    found: dict[Drawn, Outcomes] = {}
    waiting: list[tuple[Any, Drawn]] = [(spiel.new_initial_state(), ())]
    while waiting:
        state, drawn = waiting.pop()
        nodes -= 1
        if nodes < 0:
            return None
        if state.is_terminal():
            continue
        if not state.is_chance_node():
            waiting += [(state.child(action), drawn) for action in state.legal_actions()]
            continue
        outcomes = _outcomes(state)
        if found.setdefault(drawn, outcomes) != outcomes:
            return None
        waiting += [(state.child(action), (*drawn, action)) for action, _ in outcomes]
    return found


def _sequences(found: dict[Drawn, Outcomes]) -> list[tuple[Drawn, float]] | None:
    """Return every whole sequence with its probability; None if there are too many."""
    whole: list[tuple[Drawn, float]] = []
    waiting: list[tuple[Drawn, float]] = [((), 1.0)]
    while waiting:
        drawn, probability = waiting.pop()
        if drawn not in found:
            whole.append((drawn, probability))
        else:
            waiting += [((*drawn, action), probability * p) for action, p in found[drawn]]
        if len(whole) > MOST_SEQUENCES:
            return None
    return whole
