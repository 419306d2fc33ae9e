"""How long exact NashConv takes, side by side with open_spiel: tree and evaluation, the policy's own time left out.

    python benchmarks/exact.py        # writes benchmarks/results/exact.{json,md}

The policy is uniform and costs next to nothing. Ours starts from a fresh game each time, so the tree is built anew.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pyspiel
from open_spiel.python.algorithms import exploitability as reference
from open_spiel.python.policy import UniformRandomPolicy

from sparring.agents import RandomAgent
from sparring.envs import make
from sparring.selfplay import exploitability

RESULTS = Path(__file__).resolve().parent / "results"
GAMES = {
    "KuhnPoker-v0": "kuhn_poker",
    "LeducPoker-v0": "leduc_poker",
    "TicTacToe-v0": "tic_tac_toe",
    "LiarsDice-v0": "liars_dice",
}


def seconds(call: Any) -> tuple[float, Any]:
    started = time.thread_time()
    result = call()
    return time.thread_time() - started, result


def measure(id: str, spiel: str, repeats: int = 5) -> dict[str, Any]:
    """Time one game; ours is the median of some repeats."""
    times = []
    for _ in range(repeats):
        game = make(id)
        taken, found = seconds(lambda game=game: exploitability(game, RandomAgent()))
        times.append(taken)
    theirs = pyspiel.load_game(spiel)
    other, nashconv = seconds(lambda: reference.nash_conv(theirs, UniformRandomPolicy(theirs), use_cpp_br=False))
    return {
        "game": id,
        "prompts": found.prompts,
        "nashconv": found.nashconv,
        "difference": abs(found.nashconv - nashconv),
        "seconds": statistics.median(times),
        "open_spiel_seconds": other,
    }


def main() -> None:
    rows = [measure(id, spiel) for id, spiel in GAMES.items()]
    lines = [
        "# Exact NashConv, time",
        "",
        "Made by `python benchmarks/exact.py`: uniform policy, tree building included, in CPU-seconds of one thread;",
        "open_spiel is its Python `nash_conv` over histories. The ratios carry over to other machines.",
        "",
        "| game | prompts | NashConv | difference | seconds | open_spiel, seconds | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['game']} | {r['prompts']:,} | {r['nashconv']:.6f} | {r['difference']:.0e} | {r['seconds']:.3f} | "
            f"{r['open_spiel_seconds']:.3f} | {r['open_spiel_seconds'] / r['seconds']:.1f} |"
        )
    text = "\n".join([*lines, ""])
    (RESULTS / "exact.json").write_text(json.dumps(rows, indent=1) + "\n")
    (RESULTS / "exact.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
