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
from dataclasses import dataclass
from itertools import combinations, product
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
MOSTLY, NEARLY_ALL = 20.0, 65.0
"""Nu of games of which equals draw 91 and 97 percent."""
HARD_SEED = 10_000
"""The intervals were worked on with seeds below it."""
POTS = ((0.9, 0.05), (0.1, 0.4))
"""Of games of stakes: how often each stake is played for, as a share of the range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of tournament: a round robin of pairs."""

    kind: str
    pairs: int
    """Of every two players in each game."""
    strengths: tuple[float, ...] | None = None
    """In Elo, the first player at 0; None draws them anew for each tournament."""
    nus: tuple[float, ...] = (NU,)
    """Davidson's nu of each game."""
    clustered: bool = True
    staked: bool = False
    """Whether one more game is of stakes: most of them small, a few large."""

    @property
    def games(self) -> int:
        """Of a tournament."""
        players = PLAYERS if self.strengths is None else len(self.strengths)
        return 2 * self.pairs * math.comb(players, 2) * (len(self.nus) + self.staked)


LADDER = (0.0, 50.0, 100.0)
MAIN = [
    Case(kind="by pair" if clustered else "by game", pairs=pairs, clustered=clustered)
    for pairs in (5, 20)
    for clustered in (True, False)
]
HARD = [
    *(
        Case(kind="2 players, 91 % draws", pairs=pairs, strengths=LADDER[:2], nus=(MOSTLY,))
        for pairs in (5, 10, 20, 80)
    ),
    Case(kind="3 players, 91 % draws", pairs=20, strengths=LADDER, nus=(MOSTLY,)),
    Case(kind="3 players, 97 % draws", pairs=20, strengths=LADDER, nus=(NEARLY_ALL,)),
    Case(kind="3 players, 97 % draws", pairs=100, strengths=LADDER, nus=(NEARLY_ALL,)),
    *(Case(kind="2 players, 21 % draws", pairs=pairs, strengths=LADDER[:2]) for pairs in (1, 2, 5)),
    *(Case(kind="3 players, stakes", pairs=n, strengths=(0.0, 15.0, 30.0), nus=(), staked=True) for n in (10, 50)),
    Case(kind="3 players, games of 21 % and 91 % draws", pairs=10, strengths=LADDER, nus=(NU, MOSTLY)),
    Case(kind="3 players, games of 21 % draws and of stakes", pairs=10, strengths=(0.0, 15.0, 30.0), staked=True),
]


def outcome(rng: np.random.Generator, d: float, luck: float, nu: float = NU) -> float:
    """Return a score of seat 0, whose luck in this deal is `luck`, standard normal."""
    weights = np.array([math.exp(-d / 2), nu, math.exp(d / 2)])
    lost, drawn = (weights / weights.sum())[:2]
    u = norm.cdf(math.sqrt(LUCK) * luck + math.sqrt(1 - LUCK) * rng.normal())
    return 0.0 if u < lost else 0.5 if u < lost + drawn else 1.0


def stake(rng: np.random.Generator, d: float, luck: float, pot: float) -> float:
    """Return what seat 0 wins of the range, on average the logistic function of d."""
    sign = 1.0 if math.sqrt(LUCK) * luck + math.sqrt(1 - LUCK) * rng.normal() > 0 else -1.0
    return 1 / (1 + math.exp(-d)) + sign * pot


def pair_of(rng: np.random.Generator, a: str, b: str, d: float, pair: Any, nu: float = NU) -> list[Result]:
    """Return two games of one deal with seats swapped; `d` is how much better a is, in logits."""
    luck = rng.normal()
    first, second = outcome(rng, d + SEAT, luck, nu), outcome(rng, -d + SEAT, luck, nu)
    return [Result(a, b, first, pair=pair), Result(b, a, second, pair=pair)]


def staked_pair_of(rng: np.random.Generator, a: str, b: str, d: float, pair: Any) -> list[Result]:
    """Return two games of stakes of one deal, as large in both."""
    luck, pot = rng.normal(), rng.choice([size for _, size in POTS], p=[share for share, _ in POTS])
    return [Result(*two, stake(rng, sign * d, luck, pot), pair=pair) for two, sign in (((a, b), 1), ((b, a), -1))]


def tournament(seed: int, case: Case) -> tuple[list[Result], dict[str, float]]:
    """Return the games of a round robin and the true ratings in Elo, the first player at 0."""
    rng = np.random.default_rng(seed)
    if case.strengths is None:
        strength = np.concatenate([[0.0], rng.normal(scale=0.8, size=PLAYERS - 1)])
    else:
        strength = np.array(case.strengths) / ELO
    games: list[Result] = []
    for (i, j), n in product(combinations(range(len(strength)), 2), range(case.pairs)):
        who = (str(i), str(j), strength[i] - strength[j])
        for g, nu in enumerate(case.nus):
            games += [game._replace(game=str(g)) for game in pair_of(rng, *who, (i, j, n, g), nu)]
        if case.staked:
            games += [game._replace(game="stakes") for game in staked_pair_of(rng, *who, (i, j, n, "stakes"))]
    return games, {str(i): ELO * strength[i] for i in range(len(strength))}


def coverage(case: Case, tournaments: int, first: int = 0) -> dict[str, Any]:
    """Return, of tournaments from seed `first` on, how often intervals of 95 % hold the truth, and how wide they are.

    Half widths, in Elo, are of intervals with both ends; `bounded` is the share of those.
    """
    hits: list[float] = []
    widths: list[float] = []
    for seed in range(first, first + tournaments):
        games, truth = tournament(seed, case)
        if not case.clustered:
            games = [game._replace(pair=None) for game in games]
        found = rate(games, anchor="0", staked=["stakes"]).players
        rated = [(found[name], truth[name]) for name in truth if name != "0"]
        # Intervals of one tournament go together, so a tournament is one experiment.
        hits.append(statistics.fmean(r.low <= true <= r.high for r, true in rated))
        widths += [(r.high - r.low) / 2 for r, _ in rated]
    bounded = [width for width in widths if math.isfinite(width)]
    return {
        "kind": case.kind,
        "games": case.games,
        "tournaments": tournaments,
        "coverage": statistics.fmean(hits),
        "error": statistics.stdev(hits) / math.sqrt(len(hits)),
        "half_width": statistics.median(bounded) if bounded else None,
        "bounded": len(bounded) / len(widths),
    }


def sequential(tests: int, elo: float, bounds: tuple[float, float], rated: int) -> dict[str, float]:
    """Return how often the test accepts that the second bound holds, and after how many games.

    Of the first `rated` tests, also how often the rating interval of the games up to the end holds the truth.
    """
    accepted, games, hits = [], [], []
    for seed in range(tests):
        rng = np.random.default_rng([seed, round(elo)])
        test, played = Sprt(*bounds), []
        while test.decision is None and test.pairs < 20_000:
            played += pair_of(rng, "b", "a", elo / ELO, test.pairs)
            test.add(played[-2].score, 1 - played[-1].score)
        accepted.append(test.decision == "better")
        games.append(2 * test.pairs)
        if seed < rated:
            found = rate(played, anchor="a").players["b"]
            hits.append(found.low <= elo <= found.high)
    return {
        "elo": elo,
        "accepts": statistics.fmean(accepted),
        "games": statistics.fmean(games),
        "coverage": statistics.fmean(hits),
        "rated": len(hits),
    }


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
        "| games | intervals | coverage | half width in Elo, median |",
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
        "## Few games, many draws, stakes",
        "",
        f"{found['hard'][0]['tournaments']:,} tournaments a row, of seeds that nothing was chosen by; two players are",
        "50 Elo apart and three at 0, 50 and 100, with stakes at 0, 15 and 30. Intervals are by pair. An interval with",
        "one end, or none, holds much: they are wide on purpose where few games were decisive.",
        "",
        "| players and games | pairs a match-up and game | coverage | both ends | half width of those, median |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['kind']} | {row['pairs']} | {row['coverage']:.1%} ± {1.96 * row['error']:.1%} | {row['bounded']:.0%} "
        f"| {'-' if row['half_width'] is None else format(row['half_width'], '.0f')} |"
        for row in found["hard"]
    ]
    lines += [
        "",
        "## Sequential test",
        "",
        f"0 against 50 Elo, alpha = beta = 0.05, {found['tests']:,} tests a row. Elo is that of the mean score of a",
        "pair of games, as the test has it. The last column is of rating intervals of the games of",
        f"{found['sprt'][0]['rated']} of these tests: a sample that was stopped for how it looked.",
        "",
        "| true Elo | accepts that B is better | games, mean | 95 % rating interval holds the truth |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['score_elo']:.0f} | {row['accepts']:.1%} | {row['games']:.0f} | {row['coverage']:.1%} |"
        for row in found["sprt"]
    ]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tournaments", type=int, default=1000)
    parser.add_argument("--hard", type=int, default=300, help="tournaments a row of few games, many draws, or stakes")
    parser.add_argument("--tests", type=int, default=1000)
    options = parser.parse_args(argv)
    found: dict[str, Any] = {"tournaments": options.tournaments, "tests": options.tests}
    tables = {"coverage": (MAIN, options.tournaments, 0), "hard": (HARD, options.hard, HARD_SEED)}
    for table, (cases, tournaments, first) in tables.items():
        found[table] = []
        for case in cases:
            found[table].append({**coverage(case, tournaments, first), "pairs": case.pairs})
            print(found[table][-1], flush=True)
    found["sprt"] = []
    for elo in (0.0, 65.0, 130.0):
        row = sequential(options.tests, elo, (0.0, 50.0), min(options.hard, options.tests))
        found["sprt"].append({**row, "score_elo": logistic_elo_of_score(elo)})
        print(found["sprt"][-1], flush=True)
    (RESULTS / "ratings.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "ratings.md").write_text(report(found))


if __name__ == "__main__":
    main()
