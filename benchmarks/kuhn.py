"""Self-play on Kuhn poker against training against a fixed random opponent: exact NashConv, five seeds each.

    python benchmarks/kuhn.py                # writes benchmarks/results/kuhn.{json,md,png}; two runs at a time
    python benchmarks/kuhn.py --figures      # draws them again from kuhn.json

Every run is `python scripts/train.py` with its defaults but for `--seed` and `--opponent`.
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

from sparring.agents import RandomAgent
from sparring.envs import make
from sparring.selfplay import exploitability

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
ARMS = {"self": "self-play", "random": "against a random player"}


def one_run(opponent: str, seed: int, folder: Path, more: list[str]) -> dict[str, Any]:
    """Train once in a process of its own; returns its summary and its curve."""
    out = folder / f"{opponent}-{seed}"
    flags = ["--opponent", opponent, "--seed", str(seed), "--out", str(out), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *flags], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)} failed: {done.stderr}")
    summary = json.loads((out / "summary.json").read_text())
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    print(f"{opponent} seed {seed}: {summary['nashconv']:.4f} in {summary['seconds']:.0f} s", flush=True)
    return summary | {"curve": [[m["games"], round(m["nashconv"], 4)] for m in metrics]}


def figures(runs: list[dict[str, Any]]) -> None:
    """Draw every run's curve, one colour an arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (arm, label), colour in zip(ARMS.items(), ("C0", "C1"), strict=True):
        for number, run in enumerate(r for r in runs if r["opponent"] == arm):
            games, nashconv = zip(*run["curve"], strict=True)
            axes.plot(
                [g / 1000 for g in games], nashconv, color=colour, alpha=0.75, label=label if number == 0 else None
            )
    uniform = exploitability(make("KuhnPoker-v0"), RandomAgent()).nashconv
    for name, height in (("uniform play", uniform), ("equilibrium", 0.0)):
        axes.axhline(height, linestyle="--", linewidth=1, color="0.4")
        axes.annotate(name, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.3")
    axes.set(xlabel="thousand games", ylabel="NashConv (chips)", ylim=(0, None))
    axes.set_title("Kuhn poker: a tiny language model from nothing, five seeds each")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.88))
    figure.savefig(RESULTS / "kuhn.png")


def report(runs: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Kuhn poker, exact NashConv",
        "",
        "Made by `python benchmarks/kuhn.py`. Each run is `python scripts/train.py` with its defaults; illegal replies",
        "count as forfeits. Seconds are of the whole run and grow with whatever else the machine is doing.",
        "",
        "| opponent | seed | start | end | end, legal moves only | illegal rate | games | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in runs:
        lines.append(
            f"| {r['opponent']} | {r['seed']} | {r['nashconv_start']:.3f} | {r['nashconv']:.4f} | "
            f"{r['nashconv_legal']:.4f} | {r['illegal_rate']:.2%} | {r['games']:,} | {r['seconds']:.0f} |"
        )
    lines.append("")
    for arm, label in ARMS.items():
        ends = [r["nashconv"] for r in runs if r["opponent"] == arm]
        lines.append(
            f"- {label}: median {statistics.median(ends):.4f}, lowest {min(ends):.4f}, highest {max(ends):.4f}"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--figures", action="store_true", help="only draw again")
    options, more = parser.parse_known_args()
    store = RESULTS / "kuhn.json"
    if options.figures:
        runs = json.loads(store.read_text())
    else:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
            todo = [(arm, seed) for arm in ARMS for seed in options.seeds]
            runs = list(pool.map(lambda pair: one_run(*pair, Path(folder), more), todo))
        store.write_text(json.dumps(runs) + "\n")
    (RESULTS / "kuhn.md").write_text(report(runs))
    figures(runs)
    print(report(runs))


if __name__ == "__main__":
    main()
