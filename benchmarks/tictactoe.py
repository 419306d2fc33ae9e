"""The tic-tac-toe recipe: how often a tiny model that learned by playing itself loses to perfect play, exactly.

    python benchmarks/tictactoe.py --seeds 0 1 --jobs 2    # half an hour; writes results/tictactoe.{json,md,png}
    python benchmarks/tictactoe.py --figures               # writes them again from tictactoe.json

Each run is `python scripts/train.py --config scripts/recipes/tictactoe.yaml --seed N`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sparring.selfplay.plots import plot_curves

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


def one_run(seed: int, folder: Path, more: list[str]) -> dict[str, Any]:
    """Train once in a process of its own; returns its summary and its measures."""
    out = folder / str(seed)
    recipe = ROOT / "scripts" / "recipes" / "tictactoe.yaml"
    flags = ["--config", str(recipe), "--seed", str(seed), "--out", str(out), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *flags], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)} failed: {done.stderr}")
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = ("games", "seconds", "loss_vs_optimal", "illegal_vs_optimal", "nashconv", "entropy", "illegal_rate")
    curve = [{key: round(m[key], 4) for key in kept if key in m} for m in metrics]
    return json.loads((out / "summary.json").read_text()) | {"updates": metrics[-1]["update"], "curve": curve}


def setback(run: dict[str, Any]) -> float:
    """Return the largest rise of the loss above the lowest value before it: a collapse would be near 1."""
    worst, best = 0.0, 1.0
    for point in run["curve"]:
        best = min(best, point["loss_vs_optimal"])
        worst = max(worst, point["loss_vs_optimal"] - best)
    return worst


def report(runs: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Tic-tac-toe, losses to perfect play",
        "",
        "Made by `python benchmarks/tictactoe.py --seeds 0 1`; each run is `scripts/train.py --config",
        "scripts/recipes/tictactoe.yaml --seed N` on one core. The loss is the exact probability of losing to the",
        "player that picks uniformly among the minimax-optimal moves, the two seats averaged, an illegal reply being",
        "a loss. The setback is the largest rise of that loss above its lowest value so far, over the whole run.",
        "Rollbacks are those of the guard.",
        "",
        "| seed | updates | games | CPU seconds | loss before | after | illegal | setback | NashConv | rollbacks |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in runs:
        lines.append(
            f"| {r['seed']} | {r['updates']} | {r['games']:,} | {r['cpu_seconds']:.0f} | "
            f"{r['loss_vs_optimal_start']:.3f} | "
            f"{r['loss_vs_optimal']:.4f} | {r['curve'][-1]['illegal_vs_optimal']:.4f} | {setback(r):.3f} | "
            f"{r['nashconv']:.3f} | {r['rollbacks']} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--figures", action="store_true", help="only write the figures again")
    options, more = parser.parse_known_args()
    store = RESULTS / "tictactoe.json"
    if options.figures:
        runs = json.loads(store.read_text())
    else:
        # Each run is a process of its own on one core; threads only wait for them.
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
            runs = list(pool.map(lambda seed: one_run(seed, Path(folder), more), options.seeds))
        store.write_text(json.dumps(runs) + "\n")
    (RESULTS / "tictactoe.md").write_text(report(runs))
    plot_curves(
        RESULTS / "tictactoe.png",
        {f"seed {r['seed']}": [(p["games"] / 1000, p["loss_vs_optimal"]) for p in r["curve"]] for r in runs},
        x="thousand games",
        y="losses to perfect play",
        lines={"never loses": 0.0},
        title="Tic-tac-toe: a tiny language model from nothing",
    )
    print(report(runs))


if __name__ == "__main__":
    main()
