"""Update rules side by side on Kuhn and Leduc poker: exact NashConv against games and against seconds, five seeds each.

    python benchmarks/learning.py                     # hours; writes benchmarks/results/learning.{json,md,png}
    python benchmarks/learning.py --games KuhnPoker-v0 --arms rae critic --seeds 0 1
    python benchmarks/learning.py --share 0.1         # a tenth of the games: another store is wise, see --store
    python benchmarks/learning.py --figures           # writes the figures again from the store

Every run is one process, `python scripts/train.py` with the settings of `RUNS`. A run that is in the store with the
same settings is not run again, so what was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

ARMS = {
    "none": "PPO, no baseline, no KL",
    "rae": "PPO, RAE, no KL",
    "rae+kl": "PPO, RAE, KL",
    "critic": "PPO, critic, KL",
    "rae+pool": "PPO, RAE, KL, opponent pool",
    "dpo": "DPO, branch pairs",
    "sppo": "SPPO, by state",
    "rloo": "RLOO, by prompt, KL",
    "rloo-state": "RLOO, by state, KL",
    "rebel": "REBEL, by state",
    "long": "REBEL, by state, 2.56 million games",
}
GOALS = {"KuhnPoker-v0": 0.05, "LeducPoker-v0": 0.5}
UNIFORM = {"KuhnPoker-v0": 11 / 12, "LeducPoker-v0": 4.7472}
"""NashConv of uniform legal play, in chips."""

PROCESSES = "nproc_per_node"
Settings = dict[str, Any]
Record = dict[str, Any]

KUHN: Settings = {
    "game": "KuhnPoker-v0",
    "games": 300_000,
    "batch_games": 512,
    "lr": 2e-3,
    "lr_end": 3e-5,
    "measure_every": 40,
}
# One wide layer, its first weights doubled, tells cards apart in some hundred steps. That is a lot, so that batches
# must not be large where few games are played. With 200 steps of warm start rare prompts drifted into illegal replies,
# and a forfeit of 13 chips then threw a run back from 1.0 to 2.7.
LEDUC: Settings = {
    "game": "LeducPoker-v0",
    "show_legal": False,
    "hidden": 128,
    "layers": 1,
    "init_scale": 2.0,
    "games": 100_000,
    "batch_games": 512,
    "warm_steps": 300,
    "lr": 1e-3,
    "lr_end": 1e-4,
    "adam_beta2": 0.9,
    "ema_decay": 0.95,
    "measure_every": 25,
}
NO_KL: Settings = {"kl": 0.0, "lr": 1e-3}
KUHN_KL: Settings = {"kl": 0.5, "kl_end": 0.03}
LEDUC_KL: Settings = {"kl": 1.5, "kl_end": 0.5}
BRANCH: Settings = {"update": "dpo", "groups": "branch"}
# The root of the comparisons and two more without a difference: rare prompts count, and one game's luck does not.
REBEL: Settings = {"update": "rebel", "groups": "state", "weight_power": 0.5, "shrink": 2.0}
SPPO: Settings = {"update": "sppo", "groups": "state"}
BY_STATE: Settings = {"update": "rloo", "groups": "state"}
RUNS: dict[str, dict[str, Settings]] = {
    "KuhnPoker-v0": {
        "none": KUHN | NO_KL | {"advantage": "none"},
        "rae": KUHN | NO_KL,
        "rae+kl": KUHN | KUHN_KL,
        "critic": KUHN | KUHN_KL | {"advantage": "critic"},
        "rae+pool": KUHN | KUHN_KL | {"opponent": "pool"},
        "dpo": KUHN | BRANCH | {"beta": 0.25, "beta_end": 0.015},
        "sppo": KUHN | SPPO | {"lr": 1e-3, "eta": 15.0, "eta_end": 250.0},
        "rloo": KUHN | KUHN_KL | {"update": "rloo"},
        "rloo-state": KUHN | KUHN_KL | BY_STATE,
    },
    "LeducPoker-v0": {
        "none": LEDUC | NO_KL | {"advantage": "none"},
        "rae": LEDUC | NO_KL,
        "rae+kl": LEDUC | LEDUC_KL,
        # In chips: the critic's loss, of squares, would drown the policy's at the usual weight.
        "critic": LEDUC | LEDUC_KL | {"advantage": "critic", "value_weight": 0.02, "lam": 0.9},
        "rae+pool": LEDUC | LEDUC_KL | {"opponent": "pool"},
        "dpo": LEDUC | BRANCH | {"beta": 0.03, "beta_end": 0.01},
        "sppo": LEDUC | SPPO | {"eta": 35.0, "eta_end": 150.0},
        "rebel": LEDUC | REBEL | {"beta": 0.5, "beta_end": 0.25},
        # Two processes, because most of a large batch is playing, which they share.
        "long": LEDUC
        | REBEL
        | {PROCESSES: 2, "games": 2_560_000, "batch_games": 2048, "in_flight": 2048}
        | {"beta": 0.5, "beta_end": 0.18, "ema_decay": 0.995, "measure_every": 50},
    },
}
"""Settings of scripts/train.py, by game and arm; what is not said is its default. `PROCESSES` is torchrun's."""


def settings_of(game: str, arm: str, seed: int, share: float) -> Settings:
    """Return all that one run is given; `share` of the games are played, and schedules shrink with them."""
    settings = RUNS[game][arm]
    # The guard only speaks: what a rule does when left alone is to be seen.
    return settings | {"games": round(settings["games"] * share), "guard": "warn", "seed": seed}


def one_run(arm: str, settings: Settings, folder: Path) -> Record:
    """Train once in a process of its own; returns its end and its curve of [games, seconds, NashConv]."""
    out = folder / f"{settings['game']}-{arm}-{settings['seed']}"
    several = [f"--{PROCESSES}", str(settings[PROCESSES])] if PROCESSES in settings else []
    launcher = ["-m", "torch.distributed.run", "--standalone", *several] if several else []
    flags = [word for name, value in settings.items() if name != PROCESSES for word in (f"--{name}", str(value))]
    script = str(ROOT / "scripts" / "train.py")
    command = [sys.executable, *launcher, script, *flags, "--out", str(out), "--transcripts", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(flags)} failed: {done.stderr}")
    summary = json.loads((out / "summary.json").read_text())
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # Other runs and whatever else the machine does take part of the cores: a run of one process is told by its own.
    share = 1.0 if several else summary["cpu_seconds"] / summary["seconds"]
    curve = [[m["games"], round(m["seconds"] * share, 1), round(m["nashconv"], 4)] for m in metrics]
    kept = ("nashconv", "nashconv_legal", "illegal_rate", "games")
    seconds = {"seconds": round(summary["seconds"] * share, 1)}
    return {"arm": arm, "settings": settings, **{key: summary[key] for key in kept}, **seconds, "curve": curve}


class Store:
    """Runs that are done, in one JSON file, one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = json.loads(path.read_text()) if path.exists() else []
        self._lock = threading.Lock()

    def has(self, arm: str, settings: Settings) -> bool:
        return any(r["arm"] == arm and r["settings"] == settings for r in self.records)

    def add(self, record: Record) -> None:
        """Take in a run in place of one of that game, arm and seed, and write the file whole."""
        with self._lock:
            self.records = [r for r in self.records if _key(r) != _key(record)] + [record]
            self.records.sort(key=_key)
            lines = ",\n".join(json.dumps(r) for r in self.records)
            partial = self.path.with_suffix(".part")
            partial.write_text(f"[\n{lines}\n]\n")
            partial.replace(self.path)


def _key(record: Record) -> tuple[int, int, int]:
    settings = record["settings"]
    return list(RUNS).index(settings["game"]), list(ARMS).index(record["arm"]), settings["seed"]


def run_all(store: Store, todo: Sequence[tuple[str, Settings]], jobs: int) -> None:
    """Run what is not in the store yet, some at a time."""

    def run(job: tuple[str, Settings]) -> None:
        arm, settings = job
        with tempfile.TemporaryDirectory() as folder:
            record = one_run(arm, settings, Path(folder))
        store.add(record)
        end, seconds = record["nashconv"], record["seconds"]
        print(f"{settings['game']} {arm} seed {settings['seed']}: {end:.4f} in {seconds:.0f} s", flush=True)

    left = [job for job in todo if not store.has(*job)]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, [job for job in left if PROCESSES not in job[1]]))
    # What takes several cores has them to itself.
    for job in left:
        if PROCESSES in job[1]:
            run(job)


def of_game(records: Sequence[Record], game: str) -> dict[str, list[Record]]:
    """Return the runs of a game by arm, in the order of the arms."""
    found = {arm: [r for r in records if r["arm"] == arm and r["settings"]["game"] == game] for arm in ARMS}
    return {arm: runs for arm, runs in found.items() if runs}


def report(records: Sequence[Record]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Update rules on Kuhn and Leduc poker, exact NashConv",
        "",
        "Made by `python benchmarks/learning.py`, whose table `RUNS` holds every setting. Illegal replies count as",
        "forfeits. With five seeds the lowest and the highest bound the median with 94 % confidence. Seconds are CPU",
        "seconds of one core, warm start and measures included, beside other runs, which slow each other; those of the",
        "long arm are of the clock, on two cores. Branched games are counted without the stems they branch",
        "from, which cost time all the same.",
    ]
    for game in RUNS:
        arms = of_game(records, game)
        if arms:
            lines += ["", f"## {game}", "", *_table(game, arms)]
    return "\n".join([*lines, ""])


def _table(game: str, arms: dict[str, list[Record]]) -> list[str]:
    lines = [
        f"Uniform play has {UNIFORM[game]:.3f}; the goal is {GOALS[game]:g}.",
        "",
        "| arm | seeds | median | lowest to highest | every seed | games | seconds | seconds to the goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, runs in arms.items():
        ends = [r["nashconv"] for r in runs]
        reached = [when for when in (seconds_to(GOALS[game], r["curve"]) for r in runs) if when is not None]
        goal = f"{statistics.median(reached):.0f} ({len(reached)} of {len(runs)})" if reached else "never"
        lines.append(
            f"| {ARMS[arm]} | {len(runs)} | {statistics.median(ends):.4f} | {min(ends):.4f} to {max(ends):.4f} | "
            f"{', '.join(f'{end:.3f}' for end in ends)} | {runs[0]['games']:,} | "
            f"{statistics.median(r['seconds'] for r in runs):.0f} | {goal} |"
        )
    return lines


def seconds_to(goal: float, curve: Sequence[Sequence[float]]) -> float | None:
    """Return when a run came to the goal and stayed there to its end; None if it did not."""
    when = None
    for _, seconds, nashconv in curve:
        when = (seconds if when is None else when) if nashconv <= goal else None
    return when


def figures(records: Sequence[Record], path: Path) -> None:
    """Draw each arm's median and the range of its seeds, against games and against seconds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    games = [game for game in RUNS if of_game(records, game)]
    figure = Figure(figsize=(12, 4.6 * len(games)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(games), 2, squeeze=False)
    for game, row in zip(games, panels, strict=True):
        for axes, column, unit, label in ((row[0], 0, 1000, "thousand games"), (row[1], 1, 1, "CPU seconds")):
            for arm, runs in of_game(records, game).items():
                points = list(zip(*(r["curve"] for r in runs), strict=False))
                x = [statistics.median(p[column] for p in seeds) / unit for seeds in points]
                y = [sorted(p[2] for p in seeds) for seeds in points]
                (line,) = axes.plot(x, [statistics.median(seeds) for seeds in y], label=ARMS[arm], linewidth=1.5)
                axes.fill_between(x, [s[0] for s in y], [s[-1] for s in y], color=line.get_color(), alpha=0.12)
            for name, height in (("uniform play", UNIFORM[game]), ("goal", GOALS[game])):
                axes.axhline(height, linestyle="--", linewidth=1, color="0.4")
                axes.annotate(name, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom")
            axes.set(xlabel=label, ylabel="NashConv (chips)", yscale="log", title=game)
            axes.grid(alpha=0.25, which="both")
    # An arm may be in one game only.
    named = {
        label: line for axes in panels[:, 0] for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--share", type=float, default=1.0, help="of the games of each run; its time goes with them")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    parser.add_argument("--store", type=Path, default=RESULTS / "learning.json")
    parser.add_argument("--figures", action="store_true", help="only write the figures again")
    options = parser.parse_args()
    store = Store(options.store)
    # Seed by seed, so that what is interrupted holds every arm.
    todo = [
        (arm, settings_of(game, arm, seed, options.share))
        for seed in options.seeds
        for game in options.games
        for arm in options.arms
        if arm in RUNS[game]
    ]
    if not options.figures:
        run_all(store, todo, options.jobs)
    options.store.with_suffix(".md").write_text(report(store.records))
    figures(store.records, options.store.with_suffix(".png"))
    print(report(store.records))


if __name__ == "__main__":
    main()
