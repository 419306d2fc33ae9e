"""Does debate help a weak judge? Exact minimax values of the sparse-pixel debate, over five judges of either size.

    python benchmarks/debate.py         # some three minutes of one core; writes benchmarks/results/debate.{json,md,png}
    python benchmarks/debate.py --seeds 0 --images 50

Each judge is trained from nothing, by its seed, on digits of which 4 or 6 random lit pixels are left. It then judges
new images of which 12 lit pixels are kept, under four ways of choosing what it sees: at random, by a consultant, by a
debate about one lie, and by debates that an honest player must win against every lie. Play is the best there is, by
dynamic programming over sets of pixels; who opens is averaged over.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sparring.envs.digits import DigitJudge, drawn, train_digit_judge

RESULTS = Path(__file__).resolve().parent / "results"
LIT = 12
PUBLISHED = {4: (48.2, 85.2), 6: (59.4, 88.9)}
"""Irving et al. 2018, table 1: percent right from random pixels, and in debate with pre-commitment, on MNIST."""
MEASURES = {
    "random_10way": "ten digits, random pixels",
    "debate_10way": "ten digits, honest beats all nine lies",
    "consultant_10way": "ten digits, honest consultant beats all nine lies",
    "random_binary": "two digits, random pixels",
    "consultant_binary": "two digits, one consultant of a random side",
    "debate_binary": "two digits, debate",
}
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for a two-sided interval of 95 %, by the number of seeds."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@lru_cache
def sets_of(lit: int, size: int) -> np.ndarray[Any, Any]:
    """Return every set of so many of `lit` pixels, [S, size]."""
    return np.array(list(combinations(range(lit), size)), dtype=np.int64).reshape(math.comb(lit, size), size)


@lru_cache
def larger_sets(lit: int, size: int) -> np.ndarray[Any, Any]:
    """Return for each set of so many pixels the sets with one pixel more, by number, [S, lit - size]."""
    number = {tuple(row): n for n, row in enumerate(sets_of(lit, size + 1).tolist())}
    rows = [
        [number[tuple(sorted((*row, more)))] for more in range(lit) if more not in row]
        for row in sets_of(lit, size).tolist()
    ]
    return np.array(rows)


def honest_wins(judge: DigitJudge, lit: tuple[int, ...], label: int, pixels: int) -> Floats:
    """Return whether the judge prefers the truth to each lie at each set of so many pixels: 1, 0, or 0.5. [S, 9]."""
    scores_SC = judge.scores(np.array(lit)[sets_of(len(lit), pixels)])
    ahead_SL = scores_SC[:, [label]] - np.delete(scores_SC, label, axis=1)
    return 0.5 + 0.5 * np.sign(ahead_SL)


def debated(win_SL: Floats, lit: int, pixels: int) -> Floats:
    """Return the value of a debate about each lie if the honest seat opens, and if it does not. [2, L]."""
    found = []
    for opener in (0, 1):
        value_SL = win_SL
        for size in reversed(range(pixels)):
            is_honest = size % 2 == opener
            after_SNL = value_SL[larger_sets(lit, size)]
            value_SL = after_SNL.max(1) if is_honest else after_SNL.min(1)
        found.append(value_SL[0])
    return np.stack(found)


def measure(judge: DigitJudge, images: list[tuple[tuple[int, ...], int]], pixels: int) -> dict[str, float]:
    """Return the judge's accuracy on some images, (lit pixels, digit), in every way of choosing what it sees."""
    rows = []
    for lit, label in images:
        win_SL = honest_wins(judge, lit, label, pixels)
        value_2L = debated(win_SL, len(lit), pixels)
        best_L, worst_L = win_SL.max(0), win_SL.min(0)
        rows.append(
            {
                "random_10way": float(win_SL.min(1).mean()),
                "debate_10way": float(value_2L.min(1).mean()),
                "consultant_10way": float(win_SL.min(1).max()),
                "random_binary": float(win_SL.mean()),
                "consultant_binary": float((best_L + worst_L).mean() / 2),
                "debate_binary": float(value_2L.mean()),
            }
        )
    return {name: statistics.fmean(row[name] for row in rows) for name in MEASURES}


def new_images(seed: int, count: int, lit: int = LIT) -> list[tuple[tuple[int, ...], int]]:
    """Return images that no judge was trained on."""
    rng = np.random.default_rng([seed, 0xDEBA7E])
    return [(drawn(rng, n % 10, lit), n % 10) for n in range(count)]


def interval(values: list[float]) -> tuple[float, float]:
    """Return the mean over seeds, and half the width of its interval of 95 %; nan of one seed."""
    if len(values) < 2:
        return values[0], math.nan
    return statistics.fmean(values), T_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))


def report(runs: list[dict[str, Any]], images: int) -> str:
    """Return the results as Markdown."""
    seeds = len({run["seed"] for run in runs})
    lines = [
        "# Sparse debate: exact accuracy of a weak judge",
        "",
        f"Made by `python benchmarks/debate.py`: {seeds} judges of either size, each trained from nothing by its own",
        f"seed and asked about {images} new images of its own, of which {LIT} lit pixels are kept. Play is exact",
        "minimax. Means in percent over the seeds, with 95 % intervals (Student's t over the seeds).",
        "",
        "| judge sees | 4 pixels | 6 pixels |",
        "|---|---|---|",
    ]
    for name, label in MEASURES.items():
        cells = []
        for pixels in PUBLISHED:
            mean, half = interval([run[name] for run in runs if run["pixels"] == pixels])
            cells.append(f"{100 * mean:.1f} ± {100 * half:.1f}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    published = " and ".join(f"{a} to {b} at {k} pixels" for k, (a, b) in PUBLISHED.items())
    return "\n".join(
        [
            *lines,
            "",
            f"Irving et al. 2018 report, for ten MNIST digits, {published},",
            "random pixels against debate. The digits here are drawn by a generator, so levels are not to be compared,",
            "only which way is better. An honest consultant alone does best, but a judge that hears one consultant of",
            "an unknown side learns next to nothing: that is the row of one consultant of a random side.",
            "",
        ]
    )


def picture(runs: list[dict[str, Any]]) -> None:
    """Draw the means and their intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [name for name in MEASURES if name != "consultant_10way"]
    for offset, pixels in ((-0.19, 4), (0.19, 6)):
        found = [interval([run[name] for run in runs if run["pixels"] == pixels]) for name in names]
        heights, halves = zip(*found, strict=True)
        axes.bar(np.arange(len(names)) + offset, heights, 0.36, yerr=np.nan_to_num(halves), label=f"{pixels} pixels")
    axes.set_xticks(range(len(names)), [MEASURES[name].replace(", ", ",\n", 1) for name in names], fontsize=7)
    axes.set(ylabel="the judge is right", ylim=(0, 1))
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "debate.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--figures", action="store_true", help="only write the table and the picture again")
    options = parser.parse_args()
    store = RESULTS / "debate.json"
    runs: list[dict[str, Any]] = json.loads(store.read_text()) if options.figures else []
    for seed in [] if options.figures else options.seeds:
        for pixels in PUBLISHED:
            # Seeds of their own: seed 0 made the judges that come with the package.
            judge = train_digit_judge(pixels=pixels, seed=1000 + seed)
            found = measure(judge, new_images(seed, options.images), pixels)
            runs.append({"seed": seed, "pixels": pixels, **{name: round(v, 4) for name, v in found.items()}})
            print(json.dumps(runs[-1]), flush=True)
    store.write_text(json.dumps(runs) + "\n")
    (RESULTS / "debate.md").write_text(report(runs, options.images))
    picture(runs)
    print(report(runs, options.images))


if __name__ == "__main__":
    main()
