"""How much of what a seat wins is luck that a baseline can know: the role, the prompt, or all that is hidden.

    python benchmarks/luck.py        # seconds; writes benchmarks/results/luck.md

Exact, over the whole tree: the variance of a turn's return around its mean given the seat (what RAE takes off), given
the prompt (RLOO with --groups prompt, or a perfect critic) and given the whole state (--groups state). Play is uniform,
or a quantal response equilibrium: the policy that maximises reward less a temperature, in chips a nat, times the KL to
uniform play, which is what self-play with that --kl settles at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparring.agents.sweeps import Table, best_response, reaches, root_values, state_values
from sparring.envs import make
from sparring.envs.tree import Floats, Tree, enumerate_tree

RESULTS = Path(__file__).resolve().parent / "results"
GAMES = ("KuhnPoker-v0", "LeducPoker-v0")
TEMPERATURES = (float("inf"), 2.0, 1.0, 0.5, 0.25)
STEPS = 3000


class Luck(NamedTuple):
    """Mean variance of returns around what is known, over turns."""

    role: float
    prompt: float
    state: float


def softmax(tree: Tree[Any], logit_M: Floats) -> Table:
    """Return the policy of these logits."""
    starts = tree.first_slot_P[:-1]
    weight_M = np.exp(logit_M - np.maximum.reduceat(logit_M, starts)[tree.prompt_M])
    return Table(weight_M / np.add.reduceat(weight_M, starts)[tree.prompt_M], np.zeros(len(starts)))


def smoothed_equilibrium(tree: Tree[Any], temperature: float) -> Table:
    """Return the quantal response equilibrium, by magnetic mirror descent (Sokota et al. 2022, arXiv 2206.05825)."""
    logit_M = np.zeros(len(tree.prompt_M))
    if np.isinf(temperature):
        return softmax(tree, logit_M)
    seat_E = tree.seat_S[tree.source_E]
    rate = min(0.05, 0.2 * temperature)
    for _ in range(STEPS):
        table = softmax(tree, logit_M)
        value_E = state_values(tree, table)[tree.child_E, seat_E]
        reach_2E = np.stack([reaches(tree, table, but=seat) for seat in (0, 1)])[:, tree.source_E]
        reach_E = np.where(seat_E == 0, *reach_2E)
        total_M, reach_M = (np.bincount(tree.slot_E, w, minlength=len(logit_M)) for w in (reach_E * value_E, reach_E))
        logit_M = (np.log(table.move_M) + rate * total_M / reach_M) / (1 + rate * temperature)
    return softmax(tree, logit_M)


def luck(tree: Tree[Any], table: Table) -> Luck:
    """Return what is left of the variance of returns by what is known."""
    squares = dataclasses.replace(tree, rewards_S2=tree.rewards_S2**2)
    turns = np.flatnonzero(tree.seat_S >= 0)
    seat_T = tree.seat_S[turns]
    share_T = reaches(tree, table)[turns]
    mean_T = state_values(tree, table)[turns, seat_T]
    square_T = state_values(squares, table)[turns, seat_T]

    def left(known_T: Any) -> float:
        total, mean, square = (np.bincount(known_T, share_T * of) for of in (1.0, mean_T, square_T))
        met = total > 0
        return float((square[met] - mean[met] ** 2 / total[met]).sum() / share_T.sum())

    return Luck(left(seat_T), left(tree.prompt_S[turns]), left(np.arange(len(turns))))


def nashconv(tree: Tree[Any], table: Table) -> float:
    best = sum(best_response(tree, table, seat, may_forfeit=False).value for seat in (0, 1))
    return float(best - root_values(tree, table).sum())


def rows() -> Iterator[str]:
    for name in GAMES:
        tree = enumerate_tree(make(name))
        for temperature in TEMPERATURES:
            table = smoothed_equilibrium(tree, temperature)
            found = luck(tree, table)
            play = "uniform" if np.isinf(temperature) else f"{temperature:g}"
            shares = " | ".join(f"{1 - left / found.role:.0%}" for left in (found.prompt, found.state))
            variances = " | ".join(f"{left:.2f}" for left in found)
            yield f"| {name} | {play} | {nashconv(tree, table):.3f} | {variances} | {shares} |"


def main() -> None:
    lines = [
        "# Luck that a baseline can know, exact",
        "",
        "Made by `python benchmarks/luck.py`. What is left of the variance of a turn's return, in chips squared,",
        "by what is known; and the shares that prompt and state explain of what the role leaves.",
        "",
        "| game | temperature | NashConv | by role | by prompt | by state | prompt explains | state explains |",
        "|---|---|---|---|---|---|---|---|",
        *rows(),
    ]
    (RESULTS / "luck.md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
