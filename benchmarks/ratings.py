"""Are the intervals of ratings honest, and are the error rates of the sequential test what they are said to be?

    python benchmarks/ratings.py          # minutes; writes benchmarks/results/ratings.{json,md}
    python benchmarks/ratings.py --tournaments 100

Games are drawn from the model itself (Davidson's, with a seat term), so the true ratings are known; the two games of a
pair share their deal's luck through a Gaussian copula, so each game by itself keeps its exact probabilities.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from sparring.selfplay.ratings import ELO, Result, rate
from sparring.selfplay.sprt import Sprt

RESULTS = Path(__file__).resolve().parent / "results"
PLAYERS = 8
SEAT, NU, LUCK = 0.4, 0.5, 0.5
"""Logits; Davidson's nu (a fifth of even games are drawn); share of a game's variance that is its deal's."""


def outcome(rng: np.random.Generator, d: float, luck: float) -> float:
    """Return a score of seat 0, whose luck in this deal is `luck`, standard normal."""
    weights = np.array([math.exp(-d / 2), NU, math.exp(d / 2)])
    lost, drawn = (weights / weights.sum())[:2]
    u = norm.cdf(math.sqrt(LUCK) * luck + math.sqrt(1 - LUCK) * rng.normal())
    return 0.0 if u < lost else 0.5 if u < lost + drawn else 1.0


def pair_of(rng: np.random.Generator, a: str, b: str, d: float, pair: Any) -> list[Result]:
    """Return two games of one deal with seats swapped; `d` is how much better a is, in logits."""
    luck = rng.normal()
    first, second = outcome(rng, d + SEAT, luck), outcome(rng, -d + SEAT, luck)
    return [Result(a, b, first, pair=pair), Result(b, a, second, pair=pair)]


def tournament(seed: int, pairs: int) -> tuple[list[Result], dict[str, float]]:
    """Return the games of a round robin and the true ratings in Elo, the first player at 0."""
    rng = np.random.default_rng(seed)
    strength = np.concatenate([[0.0], rng.normal(scale=0.8, size=PLAYERS - 1)])
    games = [
        game
        for i, j in combinations(range(PLAYERS), 2)
        for n in range(pairs)
        for game in pair_of(rng, str(i), str(j), strength[i] - strength[j], (i, j, n))
    ]
    return games, {str(i): ELO * strength[i] for i in range(PLAYERS)}


def coverage(tournaments: int, pairs: int, *, clustered: bool) -> dict[str, float]:
    """Return how often intervals of 95 % hold the truth, and their mean half width in Elo."""
    hits: list[float] = []
    widths: list[float] = []
    for seed in range(tournaments):
        games, truth = tournament(seed, pairs)
        if not clustered:
            games = [game._replace(pair=None) for game in games]
        found = rate(games, anchor="0").players
        rated = [(found[name], truth[name]) for name in truth if name != "0"]
        # Intervals of one tournament go together, so a tournament is one experiment.
        hits.append(statistics.fmean(r.low <= true <= r.high for r, true in rated))
        widths += [(r.high - r.low) / 2 for r, _ in rated if r.is_bounded]
    error = statistics.stdev(hits) / math.sqrt(len(hits))
    return {"coverage": statistics.fmean(hits), "error": error, "half_width": statistics.fmean(widths)}


def sequential(tests: int, elo: float, bounds: tuple[float, float]) -> dict[str, float]:
    """Return how often the test accepts that the second bound holds, and after how many games."""
    accepted, games = [], []
    for seed in range(tests):
        rng = np.random.default_rng([seed, round(elo)])
        test = Sprt(*bounds)
        while test.decision is None and test.pairs < 20_000:
            one, other = pair_of(rng, "b", "a", elo / ELO, None)
            test.add(one.score, 1 - other.score)
        accepted.append(test.decision == "better")
        games.append(2 * test.pairs)
    return {"elo": elo, "accepts": statistics.fmean(accepted), "games": statistics.fmean(games)}


def logistic_elo_of_score(elo: float) -> float:
    """Return the Elo that the mean score corresponds to, which draws make smaller than the rating difference."""
    scores = []
    for d in (elo / ELO + SEAT, elo / ELO - SEAT):
        won, lost = math.exp(d / 2), math.exp(-d / 2)
        scores.append((won + NU / 2) / (won + NU + lost))
    mean = statistics.fmean(scores)
    return ELO * math.log(mean / (1 - mean))


def report(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Honest intervals",
        "",
        f"Made by `python benchmarks/ratings.py`: {found['tournaments']:,} simulated tournaments of {PLAYERS} players",
        "a row; nominal level 95 %. Half of a game's variance is its deal's luck, which both games of a pair share.",
        "",
        "| games | intervals | coverage | half width in Elo |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['games']:,} | {row['kind']} | {row['coverage']:.1%} ± {1.96 * row['error']:.1%} "
        f"| {row['half_width']:.0f} |"
        for row in found["coverage"]
    ]
    lines += [
        "",
        "Intervals by game are wider than need be: they take the luck that a pair cancels for luck that counts.",
        "",
        f"Sequential test of 0 against 50 Elo, alpha = beta = 0.05, {found['tests']:,} tests a row. Elo is that of the",
        "mean score of a pair of games, as the test has it.",
        "",
        "| true Elo | accepts that B is better | games, mean |",
        "|---|---|---|",
    ]
    lines += [f"| {row['score_elo']:.0f} | {row['accepts']:.1%} | {row['games']:.0f} |" for row in found["sprt"]]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tournaments", type=int, default=1000)
    parser.add_argument("--tests", type=int, default=1000)
    options = parser.parse_args(argv)
    rows = []
    for pairs in (5, 20):
        for clustered in (True, False):
            row = coverage(options.tournaments, pairs, clustered=clustered)
            games = 2 * pairs * math.comb(PLAYERS, 2)
            rows.append({"games": games, "kind": "by pair" if clustered else "by game", **row})
            print(rows[-1], flush=True)
    tests = []
    for elo in (0.0, 65.0, 130.0):
        tests.append({**sequential(options.tests, elo, (0.0, 50.0)), "score_elo": logistic_elo_of_score(elo)})
        print(tests[-1], flush=True)
    found = {"tournaments": options.tournaments, "tests": options.tests, "coverage": rows, "sprt": tests}
    (RESULTS / "ratings.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "ratings.md").write_text(report(found))


if __name__ == "__main__":
    main()
