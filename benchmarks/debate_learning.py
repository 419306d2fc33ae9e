"""Two copies of a tiny model learn the sparse debate by self-play; consultancy, its control, is learned the same way.

    python benchmarks/debate_learning.py              # writes benchmarks/results/debate_learning.{json,md,png}
    python benchmarks/debate_learning.py --seeds 0 --jobs 1

Every run is `python scripts/train.py --config scripts/recipes/debate.yaml` but for the seed and the protocol. What is
reported is exact, over every deal: how often the judge finds for the truth when the trained model holds both seats, a
forfeit counting against who makes it, and what the best play of both would give.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sparring.agents import LanguageModelAgent, Policy, RandomAgent
from sparring.agents.sweeps import reaches
from sparring.envs import Game, make, read_options
from sparring.envs.sparse_debate import SparseDebate, exact_accuracy
from sparring.envs.tree import enumerate_tree
from sparring.selfplay import exploitability
from sparring.selfplay.exploitability import tabulate

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
RECIPE = ROOT / "scripts" / "recipes" / "debate.yaml"
PROTOCOLS = ("debate", "consultancy")


def build(protocol: str) -> SparseDebate:
    """Return the game of the recipe under a protocol."""
    found = yaml.safe_load(RECIPE.read_text())
    options = read_options(found["options"]) | {"protocol": protocol}
    game: Game[Any] = make(found["game"], skin=found["skin"], **options)
    assert isinstance(game, SparseDebate)
    return game


def accuracy(game: SparseDebate, policy: Policy) -> float:
    """Return how often the truth wins when `policy` holds both seats, exactly; who forfeits loses."""
    tree = enumerate_tree(game)
    table = tabulate(game, tree, policy)
    reach_S = reaches(tree, table)
    found = 0.0
    for s, state in enumerate(tree.states):
        if tree.seat_S[s] < 0:
            found += reach_S[s] * game.accuracy(state)
        elif tree.seat_S[s] != state.honest:
            found += reach_S[s] * table.illegal_P[tree.prompt_S[s]]
    return float(found)


def one_run(protocol: str, seed: int, folder: Path, more: list[str]) -> dict[str, Any]:
    """Train once in a process of its own; returns what came of it."""
    out = folder / f"{protocol}-{seed}"
    options = [f"protocol={protocol}", *(o for o in yaml.safe_load(RECIPE.read_text())["options"])]
    flags = ["--config", str(RECIPE), "--options", *options, "--seed", str(seed), "--out", str(out), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *flags], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)} failed: {done.stderr}")
    summary = json.loads((out / "summary.json").read_text())
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    game = build(protocol)
    agent = LanguageModelAgent.from_pretrained(out / "model")
    found = exploitability(game, agent)
    run = {
        "protocol": protocol,
        "seed": seed,
        "games": summary["games"],
        "cpu_seconds": summary["cpu_seconds"],
        "accuracy": round(accuracy(game, agent), 4),
        "nashconv_start": round(metrics[0]["nashconv"], 4),
        "nashconv": round(found.nashconv, 4),
        "illegal": round(found.illegal_mass, 4),
        "curve": [[m["games"], round(m["game/accuracy"], 4)] for m in metrics if "game/accuracy" in m],
    }
    print(json.dumps({k: v for k, v in run.items() if k != "curve"}), flush=True)
    return run


def report(runs: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Sparse debate, learned by self-play",
        "",
        "Made by `python benchmarks/debate_learning.py`: `scripts/recipes/debate.yaml` for each protocol and seed. All",
        "numbers are exact, over every deal: the judge's accuracy when one policy holds both seats, forfeits counting",
        "as lost.",
        "",
        "| protocol | random play | best play | seed | learned | NashConv, start | end | illegal | games | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for protocol in PROTOCOLS:
        game = build(protocol)
        known = f"{accuracy(game, RandomAgent()):.3f} | {exact_accuracy(game):.3f}"
        for r in (run for run in runs if run["protocol"] == protocol):
            lines.append(
                f"| {protocol} | {known} | {r['seed']} | {r['accuracy']:.3f} | {r['nashconv_start']:.3f} | "
                f"{r['nashconv']:.3f} | {r['illegal']:.2%} | {r['games']:,} | {r['cpu_seconds']:.0f} |"
            )
    lines.append("")
    for protocol in PROTOCOLS:
        ends = [run["accuracy"] for run in runs if run["protocol"] == protocol]
        if ends:
            lines.append(f"- {protocol}: median {statistics.median(ends):.3f}, {min(ends):.3f} to {max(ends):.3f}")
    lines += ["", "With five seeds the lowest and the highest bound the median with 94 % confidence."]
    return "\n".join([*lines, ""])


def picture(runs: list[dict[str, Any]]) -> None:
    """Draw the judge's accuracy in the games of training."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.8), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for colour, protocol in zip(("C0", "C1"), PROTOCOLS, strict=True):
        axes.axhline(exact_accuracy(build(protocol)), color=colour, linestyle="--", linewidth=1)
        for number, run in enumerate(r for r in runs if r["protocol"] == protocol):
            games, heights = np.array(run["curve"]).T
            axes.plot(games / 1000, heights, color=colour, alpha=0.75, label=None if number else protocol)
    axes.set(xlabel="thousand games", ylabel="the judge is right", ylim=(0.4, 0.9))
    axes.set_title("Dashed: both seats at their best", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "debate_learning.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=2)
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        todo = [(protocol, seed) for protocol in PROTOCOLS for seed in options.seeds]
        runs = list(pool.map(lambda pair: one_run(*pair, Path(folder), more), todo))
    (RESULTS / "debate_learning.json").write_text(json.dumps(runs) + "\n")
    (RESULTS / "debate_learning.md").write_text(report(runs))
    picture(runs)
    print(report(runs))


if __name__ == "__main__":
    main()
