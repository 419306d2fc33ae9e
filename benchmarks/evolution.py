"""The methods of self-evolution beside their controls: five seeds each, with intervals.

    python benchmarks/evolution.py                        # hours; writes benchmarks/results/evolution.{json,md,png}
    python benchmarks/evolution.py --trials addition --seeds 0
    python benchmarks/evolution.py --figures              # writes the tables and the picture again from the store

A run that is in the store is not run again, so what was interrupted goes on where it was; whoever changes the settings
of a trial takes its runs out of the store. A run has one thread of one process.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from evolution_all import ALL
from evolution_arms import ADDITION, IMPROVING, Trial
from evolution_instruct import EXPRESSIONS, MOVES, PROGRAMS
from evolution_lengths import FURTHER, LABELLED, LONGER, reach, skill_of
from evolution_play import self_play

RESULTS = Path(__file__).resolve().parent / "results"
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t of 95 %, two-sided, by number of seeds."""
SEEDS = (0, 1, 2, 3, 4)
ACROSS = 3
"""Pictures beside each other."""
Record = dict[str, Any]
TRIALS: dict[str, Trial] = {
    "addition": ADDITION,
    "lengths": LONGER,
    "improving": IMPROVING,
    "expressions": EXPRESSIONS,
    "programs": PROGRAMS,
    "moves": MOVES,
    "all": ALL,
}
LIKE, OUTSIDE = "dropped: it is like one in the pool", "dropped: the solver always or never succeeds"
"""Of a funnel of proposals, see `SelfInstruct`."""


def one_run(job: tuple[str, str, int]) -> Record:
    trial, arm, seed = job
    torch.set_num_threads(1)
    begun = time.process_time()
    curve, extra = TRIALS[trial].run(arm, seed)
    seconds = round(time.process_time() - begun, 1)
    return {"trial": trial, "arm": arm, "seed": seed, "seconds": seconds, **extra, "curve": curve}


class Store:
    """Runs that are done, in one JSON file, one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = json.loads(path.read_text()) if path.exists() else []

    def has(self, job: tuple[str, str, int]) -> bool:
        return any((r["trial"], r["arm"], r["seed"]) == job for r in self.records)

    def add(self, record: Record) -> None:
        self.records.append(record)
        trials, arms = list(TRIALS), {name: list(trial.arms) for name, trial in TRIALS.items()}
        known = [r for r in self.records if r["trial"] in arms and r["arm"] in arms[r["trial"]]]
        known.sort(key=lambda r: (trials.index(r["trial"]), arms[r["trial"]].index(r["arm"]), r["seed"]))
        self.records = known
        partial = self.path.with_suffix(".part")
        partial.write_text("[\n" + ",\n".join(json.dumps(_rounded(r)) for r in known) + "\n]\n")
        partial.replace(self.path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half of the 95 % interval of some seeds; NaN for the latter of one."""
    if len(values) < 2:
        return values[0], math.nan
    return statistics.fmean(values), T_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))


def said(values: Sequence[float]) -> str:
    mean, half = interval(values)
    return f"{mean:.3f}" if math.isnan(half) else f"{mean:.3f} ± {half:.3f}"


def by_arm(records: Sequence[Record], trial: str) -> dict[str, list[Record]]:
    found = {arm: [r for r in records if (r["trial"], r["arm"]) == (trial, arm)] for arm in TRIALS[trial].arms}
    return {arm: runs for arm, runs in found.items() if runs}


def is_whole(records: Sequence[Record], trial: str) -> bool:
    """Whether every arm has all seeds."""
    arms = by_arm(records, trial)
    return len(arms) == len(TRIALS[trial].arms) and all(len(runs) >= len(SEEDS) for runs in arms.values())


def report(records: Sequence[Record]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# The methods of self-evolution, beside their controls",
        "",
        "Made by `python benchmarks/evolution.py`. Accuracy on a hidden test of fresh tasks, at the last generation;",
        "mean over seeds and its 95 % interval (Student's t). Differences are of runs of one seed, which begin alike.",
        "Seconds are CPU seconds of one core a run, tests included; a start that arms share counts in one of them.",
        "A run that is here is not made again when code changes: all but the trials of lengths and of four words, and",
        "the arm that says so, are of code before answers that were kept once were no longer kept again.",
    ]
    for name, trial in TRIALS.items():
        arms = by_arm(records, name)
        lines += ["", f"## {trial.title}", "", f"To be shown: {trial.claim}.", ""]
        if not is_whole(records, name):
            wanted = len(SEEDS) * len(trial.arms)
            lines += [
                f"Not finished: {sum(map(len, arms.values()))} of {wanted} runs, of which nothing is claimed yet."
            ]
            continue
        if trial is LONGER:
            lines += _lengths(arms)
            continue
        lines += [*_table(trial, arms), *_proposals(arms)]
        if trial is ALL:
            lines += ["", *_spent(arms)]
        if trial.bad:
            lines += ["", *_rolled_back(trial, arms)]
        if trial.votes:
            gains = {r["seed"]: r["voting_gain"] for runs in arms.values() for r in runs}
            lines += ["", f"At the start maj@8 less pass@1 is {said(list(gains.values()))}."]
    return "\n".join([*lines, "", *self_play(said), ""])


def _table(trial: Trial, arms: Mapping[str, Sequence[Record]]) -> list[str]:
    name, first = next(iter(arms.items()))
    base = {r["seed"]: r["curve"] for r in first}
    what = "worst skill" if trial.measure == "worst" else "mean"
    lines = [
        f"| arm | seeds | mean, start | after {trial.generations} generations | worst skill, start | end | {name} is "
        f"better by ({what}) | most lost in a skill | pass@8, start | end | accepted | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, runs in arms.items():
        starts, ends = [r["curve"][0] for r in runs], [r["curve"][-1] for r in runs]
        # At the same generation, where an arm has fewer.
        gaps = [
            base[r["seed"]][len(r["curve"]) - 1][trial.measure] - r["curve"][-1][trial.measure]
            for r in runs
            if r["seed"] in base and r["curve"][0]["skills"] == base[r["seed"]][0]["skills"]
        ]
        # Run with code whose last bits differ, so that a seed's start is another policy.
        if len(gaps) < len(runs):
            gaps, arm = [], f"{arm} (from other starts)"
        accepted = statistics.fmean(sum(g["accepted"] for g in r["curve"][1:]) for r in runs)
        generations = len(runs[0]["curve"]) - 1
        cells = [
            arm if generations == trial.generations else f"{arm}, {generations} generations",
            str(len(runs)),
            *(said([g[key] for g in some]) for key in ("mean", "worst") for some in (starts, ends)),
            said(gaps) if arm != name and gaps else "",
            said([lost(r["curve"]) for r in runs]),
            *(f"{statistics.fmean(g['pass@8'] for g in some):.3f}" for some in (starts, ends)),
            f"{accepted:.1f}",
            f"{statistics.fmean(r['seconds'] for r in runs):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _lengths(arms: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return how right the policy is at the length that each generation has practised, by arm."""
    lines = [
        f"Lengths of up to {max(LABELLED)} are labelled. A column is a generation and the length it practises, the",
        "accuracy at that length after it. Mastered is the longest length up to which all are at 95 % or better, by",
        "seed.",
        "",
        f"| arm | seeds | {' | '.join(map(str, FURTHER))} | mastered, start | end | pass@1, start | end | "
        "pass@8, start | end | seconds |",
        "|---" * (len(FURTHER) + 9) + "|",
    ]
    for arm, runs in arms.items():
        at = [said([r["curve"][g]["skills"][skill_of(length)] for r in runs]) for g, length in enumerate(FURTHER, 1)]
        ends = [", ".join(str(reach(r["curve"][g]["skills"])) for r in runs) for g in (0, -1)]
        passes = [f"{statistics.fmean(r['curve'][g][f'pass@{k}'] for r in runs):.3f}" for k in (1, 8) for g in (0, -1)]
        seconds = f"{statistics.fmean(r['seconds'] for r in runs):.0f}"
        lines.append(f"| {' | '.join([arm, str(len(runs)), *at, *ends, *passes, seconds])} |")
    return lines


def _spent(arms: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return how many tokens a generation took, by arm."""
    lines = ["Thousand tokens that the model read a generation, tests left out:", ""]
    for arm, runs in arms.items():
        tokens = [g["tokens"] / 1000 for r in runs for g in r["curve"][1:]]
        lines.append(f"- {arm}: {statistics.fmean(tokens):.0f}, {min(tokens):.0f} to {max(tokens):.0f}")
    return lines


def _rolled_back(trial: Trial, arms: Mapping[str, Sequence[Record]]) -> list[str]:
    lines = [f"The bad update of generation {trial.bad}:", ""]
    for arm, runs in arms.items():
        if trial.is_spoiled(arm):
            back = sum(not r["curve"][trial.bad]["accepted"] for r in runs)
            lines.append(f"- {arm}: rolled back in {back} of {len(runs)} runs.")
    return lines


def _proposals(arms: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return what became of proposals, in the arms that have any."""
    rows = []
    for arm, runs in arms.items():
        first, last = ([r["curve"][at] for r in runs] for at in (1, -1))
        if any("valid" not in g for g in first):
            continue
        shares = [[g["funnel"][key] / g["funnel"]["came"] for g in last] for key in (LIKE, OUTSIDE, "kept")]
        valid = [said([g["valid"] for g in some]) for some in (first, last)]
        rows.append(f"| {' | '.join([arm, *valid, *map(said, shares)])} |")
    heads = ["proposals", "valid, first generation", "last", "like one in the pool", "outside the band", "kept"]
    return ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows] if rows else []


def measured(generation: Mapping[str, Any], key: str) -> float:
    """Return what the arms of a trial are compared by."""
    return reach(generation["skills"]) if key == "reach" else generation[key]


def lost(curve: Sequence[Mapping[str, Any]]) -> float:
    """Return by how much the skill that dropped most is below its start."""
    start, end = curve[0]["skills"], curve[-1]["skills"]
    return max(0.0, *(start[skill] - end[skill] for skill in start))


def figures(records: Sequence[Record], path: Path) -> None:
    """Draw what the arms of each trial are compared by against generations, mean and interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [name for name in TRIALS if is_whole(records, name)]
    if not drawn:
        return
    rows = math.ceil(len(drawn) / ACROSS)
    figure = Figure(figsize=(6.2 * ACROSS, 4.4 * rows), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, ACROSS, squeeze=False).flat
    for name, axes in zip(drawn, places, strict=False):
        key = TRIALS[name].measure
        what = {"mean": "accuracy", "worst": "worst skill", "reach": "longest length mastered"}[key]
        for arm, runs in by_arm(records, name).items():
            points = [
                interval([measured(g, key) for g in seeds]) for seeds in zip(*(r["curve"] for r in runs), strict=True)
            ]
            x, y = range(len(points)), [mean for mean, _ in points]
            (line,) = axes.plot(x, y, label=arm, linewidth=1.5)
            low, high = ([mean + sign * (0.0 if math.isnan(h) else h) for mean, h in points] for sign in (-1, 1))
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.12)
        axes.set(title=TRIALS[name].title, xlabel="generation", ylabel=f"{what} on the hidden test")
        axes.set_ylim(0, None if key == "reach" else 1)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
    for axes in places:
        axes.set_axis_off()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--arms", nargs="+", help="some arms only")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    parser.add_argument("--store", type=Path, default=RESULTS / "evolution.json")
    parser.add_argument("--figures", action="store_true", help="only write the tables and the picture again")
    options = parser.parse_args()
    store = Store(options.store)
    jobs = [
        (trial, arm, seed)
        for seed in options.seeds
        for trial in options.trials
        for arm in TRIALS[trial].arms
        if options.arms is None or arm in options.arms
    ]
    left = [] if options.figures else [job for job in jobs if not store.has(job)]
    # A process does several runs, one after another: those of a seed begin with the same policy, trained once.
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for record in pool.imap_unordered(one_run, left, chunksize=1):
            store.add(record)
            begun, ended = record["curve"][0]["mean"], record["curve"][-1]["mean"]
            print(f"{record['trial']}, {record['arm']}, seed {record['seed']}: {begun:.3f} to {ended:.3f}", flush=True)
    options.store.with_suffix(".md").write_text(report(store.records))
    figures(store.records, options.store.with_suffix(".png"))
    print(report(store.records))


if __name__ == "__main__":
    main()
