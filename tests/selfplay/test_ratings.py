"""Ratings against hand-worked numbers, a generic optimizer and simulation; the sequential test; the metagame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from sparring.selfplay.davidson import Design, fit, probabilities
from sparring.selfplay.metagame import alpha_rank, cyclic_share, nash_average, win_matrix
from sparring.selfplay.ratings import ELO, Result, rate
from sparring.selfplay.separation import Separation
from sparring.selfplay.sprt import SCORES, Sprt, expected_score, tilted

ROCK = [[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]]


def games(first: str, second: str, won: int, drawn: int, lost: int, game: str = "") -> list[Result]:
    return [
        Result(first, second, score, game) for score, n in ((1.0, won), (0.5, drawn), (0.0, lost)) for _ in range(n)
    ]


def both(a: str, b: str, won: int, drawn: int, lost: int) -> list[Result]:
    """The same record from either seat."""
    return games(a, b, won, drawn, lost) + games(b, a, lost, drawn, won)


def test_three_wins_to_one_are_191_elo() -> None:
    found = rate(both("b", "a", 300, 0, 100), anchor="a", prior=1e6)
    assert found.players["b"].elo == pytest.approx(400 * math.log10(3), abs=0.01)
    assert found.players["a"].elo == 0.0
    assert list(found.players) == ["b", "a"]
    assert found.seat[""].elo == pytest.approx(0.0, abs=1e-6)


def test_draws_by_hand() -> None:
    """Equals that draw half of their games: nu / (2 + nu) = 1/2, so nu is 2."""
    found = rate(both("a", "b", 25, 50, 25), anchor="a")
    assert found.draw[""] == pytest.approx(2.0, rel=1e-3)
    assert found.players["b"].elo == pytest.approx(0.0, abs=1e-6)


def test_the_seat_is_told_apart_from_the_player() -> None:
    """Equals, of whom the first seat wins three games of four: the seat is worth 191 Elo and nobody is better."""
    found = rate(games("a", "b", 300, 0, 100) + games("b", "a", 300, 0, 100), anchor="a")
    assert found.seat[""].elo == pytest.approx(400 * math.log10(3), abs=1.0)
    assert found.players["b"].elo == pytest.approx(0.0, abs=1e-6)


def test_the_fit_is_that_of_a_generic_optimizer() -> None:
    rng = np.random.default_rng(3)
    results = [
        Result(*rng.permutation(["a", "b", "c", "d"])[:2], rng.choice([0.0, 0.5, 1.0]), game)
        for game in ("x", "y")
        for _ in range(60)
    ]
    design = Design.of(results, "a", 4.0)

    def loss(beta: np.ndarray) -> float:
        logp = np.log(np.maximum(probabilities(design, beta), 1e-300))
        return float(-(design.counts_K3 * logp).sum() + 0.5 * (design.precision_P * beta**2).sum())

    other = minimize(loss, np.zeros(design.size), method="BFGS", options={"gtol": 1e-7})
    assert fit(design).beta_P == pytest.approx(other.x, abs=1e-4)


def test_the_sandwich_of_single_games_is_the_binomial_interval() -> None:
    """Two players, no draws: the variance of a log-odds is 1 / (n p (1 - p)), whatever the seats."""
    found = rate(both("b", "a", 600, 0, 200), anchor="a", prior=1e6).players["b"]
    n, p = 1600, 0.75
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * ELO / math.sqrt(n * p * (1 - p)), rel=0.01)


def test_luck_that_a_pair_cancels_narrows_and_luck_that_it_doubles_widens() -> None:
    """A deal that decides both games says nothing about the players, and the interval knows it."""
    cancels, doubles = [], []
    for n in range(200):
        lucky = n % 2
        cancels += [Result("a", "b", lucky, pair=n), Result("b", "a", lucky, pair=n)]
        doubles += [Result("a", "b", lucky, pair=n), Result("b", "a", 1 - lucky, pair=n)]
    widths = {
        name: rate(results, anchor="a").players["b"].high
        for name, results in (
            ("cancels", cancels),
            ("doubles", doubles),
            ("alone", [r._replace(pair=None) for r in doubles]),
        )
    }
    # No pair of 200 was won by either. Nobody knows that none would be: at most 1.8 in 100 are, 6.4 Elo.
    assert 5 < widths["cancels"] < 10
    assert widths["doubles"] == pytest.approx(math.sqrt(2) * widths["alone"], rel=0.02)


def test_who_never_lost_is_bounded_on_one_side_only() -> None:
    found = rate(both("b", "a", 20, 0, 0) + both("c", "a", 10, 0, 10), anchor="a").players
    assert found["b"].high == math.inf
    # 40 wins in 40 games with no pairs: p^40 falls by the chi-squared bound of 1.92 at p = 0.953, 523 Elo; the seat
    # and the prior are uncertain as well.
    assert 350 < found["b"].low < 530
    assert found["c"].is_bounded
    assert rate(both("b", "a", 0, 0, 20), anchor="a").players["b"].low == -math.inf


def test_a_group_that_beats_the_anchor_is_unbounded_as_a_whole() -> None:
    """b and c split their games, so either bounds the other; only neither lost to a."""
    found = rate(both("b", "a", 5, 0, 0) + both("b", "c", 5, 0, 5), anchor="a").players
    assert found["b"].high == found["c"].high == math.inf
    assert math.isfinite(found["b"].low)


def pairs_of(a: str, b: str, scores: Sequence[tuple[float, float]]) -> list[Result]:
    """Pairs of one deal with the seats swapped; scores are those of a."""
    both = [(Result(a, b, x, pair=(a, b, n)), Result(b, a, 1 - y, pair=(a, b, n))) for n, (x, y) in enumerate(scores)]
    return [result for two in both for result in two]


def test_draws_bound_nobody_who_wins_and_never_loses() -> None:
    """17 pairs won and 3 of a win and a draw: however strong b is, games that are often drawn may be won so."""
    results = pairs_of("b", "a", [(1, 1)] * 17 + [(1, 0.5), (0.5, 1), (1, 0.5)])
    ends = [rate(results, anchor="a", prior=prior).players["b"] for prior in (750, 1500, 6000)]
    assert [found.high for found in ends] == [math.inf] * 3
    assert min(found.low for found in ends) > 300
    assert max(found.low for found in ends) == pytest.approx(min(found.low for found in ends), abs=0.1)
    lost = [*results, *pairs_of("b", "a", [(0, 0)])]
    assert rate([r._replace(pair=None) for r in lost], anchor="a").players["b"].is_bounded


def test_draws_bound_who_plays_others_that_lose_and_win_as_often_as_they_draw() -> None:
    """c and a say how often games of these players are drawn, so b's draws do say how strong it is at most."""
    results = both("b", "a", 10, 10, 0) + both("c", "a", 10, 10, 10)
    assert rate(results, anchor="a").players["b"].is_bounded
    apart = both("b", "a", 10, 10, 0) + [r._replace(game="other") for r in both("c", "a", 10, 10, 10)]
    assert rate(apart, anchor="a").players["b"].high == math.inf


@pytest.mark.parametrize("pair", [(0.5, 0.5), (1.0, 0.0)])
def test_where_all_is_drawn_or_won_by_the_first_seat_nothing_is_known(pair: tuple[float, float]) -> None:
    for count in (1, 50):
        found = rate(pairs_of("b", "a", [pair] * count), anchor="a").players["b"]
        assert (found.low, found.high) == (-math.inf, math.inf)


def test_a_match_up_of_one_pair_is_not_certain_though_others_have_played_often() -> None:
    often = pairs_of("a", "c", [(1, 1), (0, 0), (1, 0), (0, 1)] * 50)
    found = rate(often + pairs_of("b", "a", [(1, 0)]), anchor="a").players
    assert found["b"].high - found["b"].low > 1000
    assert found["c"].high - found["c"].low < 200


def test_separation_is_that_of_a_likelihood_that_goes_on_rising() -> None:
    """Random small tournaments: far out, in steps, the best likelihood of a rating falls or does not."""
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(30):
        names = ["a", "b", "c"]
        results = [
            Result(*(names[i] for i in rng.permutation(3)[:2]), rng.choice([0.0, 0.5, 1.0], p=[0.1, 0.6, 0.3]))
            for _ in range(9)
        ]
        if {name for r in results for name in r[:2]} != set(names):
            continue
        design = Design.of(results, "a", 1000.0)
        flat = replace(design, loose=1000.0)
        direction = design.direction("b")
        for side, is_unbounded in zip((1, -1), Separation(design).unbounded(direction), strict=True):
            near, far = (fit(flat, held=(direction, side * d)).value for d in (30.0, 60.0))
            assert (near - far < 0.1) == is_unbounded
            seen.add(is_unbounded)
    assert seen == {True, False}


def test_intervals_hold_the_truth_where_nearly_all_is_drawn() -> None:
    """100 tournaments of two players, 50 Elo apart, 91 % draws, 10 pairs: fewer than 88 of 95 % once in 500."""
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng([7, seed])
        d = 50 / ELO
        p = np.array([math.exp(d / 2), 20.0, math.exp(-d / 2)])
        scores = rng.choice([1.0, 0.5, 0.0], p=p / p.sum(), size=(10, 2))
        found = rate(pairs_of("b", "a", scores), anchor="a").players["b"]
        hits += found.low <= 50 <= found.high
    assert hits >= 88


def test_without_an_anchor_the_mean_is_0() -> None:
    found = rate(both("a", "b", 30, 10, 20) + both("b", "c", 30, 10, 20) + both("c", "a", 20, 0, 10)).players
    assert sum(r.elo for r in found.values()) == pytest.approx(0.0, abs=1e-6)
    assert all(r.is_bounded for r in found.values())


@pytest.mark.parametrize(
    ("results", "settings", "message"),
    [
        ([], {}, "no games to rate"),
        (both("a", "b", 1, 1, 1), {"anchor": "c"}, "anchor 'c' has not played; players are a, b"),
        (both("a", "b", 1, 1, 1) + both("c", "d", 1, 1, 1), {}, "c, d and a have met neither"),
        ([Result("a", "b", 0.7)], {}, "not 0.7; where stakes differ, name it in staked"),
        ([Result("a", "b", 1.7)], {"staked": [""]}, "between 0 and 1, not 1.7"),
        (both("a", "b", 1, 1, 1), {"level": 95}, "level must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_rated_is_refused_in_words(results: list[Result], settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rate(results, **settings)


def test_intervals_hold_the_truth() -> None:
    """60 small tournaments with luck by deal, 4 players: 180 intervals of 95 %, fewer than 160 by chance once in 1e5.

    Intervals of one tournament go together, so the odds are those of 60 experiments, roughly. benchmarks/ratings.py
    does it at length.
    """
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        true = np.append(0.0, rng.normal(size=3))
        results = []
        for i, j in combinations(range(4), 2):
            for n in range(15):
                luck = rng.normal()
                for a, b in ((i, j), (j, i)):
                    # A probit of standard normal luck and noise is a logit to within a hundredth at this scale.
                    d = true[a] - true[b] + 0.4
                    x = (luck + rng.normal()) / math.sqrt(2) < d / 1.702
                    results.append(Result(str(a), str(b), float(x), pair=(i, j, n)))
        found = rate(results, anchor="0").players
        hits += sum(found[str(i)].low <= ELO * true[i] <= found[str(i)].high for i in (1, 2, 3))
    assert 160 <= hits <= 179


def test_tilted_has_the_mean_and_is_the_likeliest_that_has() -> None:
    counts = np.array([3.0, 5.0, 9.0, 4.0, 2.0])
    p = tilted(counts, 0.6)
    assert p.sum() == pytest.approx(1.0)
    assert p @ SCORES == pytest.approx(0.6)
    best = float(counts @ np.log(p))
    rng = np.random.default_rng(0)
    # Directions that keep sum and mean.
    across = np.linalg.svd(np.stack([np.ones(5), SCORES]))[2][2:]
    for _ in range(50):
        other = p + 0.01 * rng.normal(size=3) @ across
        assert float(counts @ np.log(np.maximum(other, 1e-12))) < best


def test_the_sequential_test_decides_and_its_ratio_is_that_of_its_hypotheses() -> None:
    test = Sprt(0, 50)
    assert test.decision is None
    for _ in range(40):
        test.add(1, 0.5)
    assert test.decision == "better"
    other = Sprt(0, 50)
    for _ in range(400):
        other.add(1, 0)
        other.add(0.5, 0)
        other.add(0.5, 1)
    assert other.decision == "not better"
    # Turned round, a test of the mirrored bounds sees the mirrored evidence.
    one, two = Sprt(-30, 10), Sprt(-10, 30)
    for first, second in ((1, 0.5), (0.5, 0.5), (0, 0), (1, 1), (0, 0.5)):
        one.add(first, second)
        two.add(1 - second, 1 - first)
    assert one.llr == pytest.approx(-two.llr)
    assert expected_score(400) == pytest.approx(10 / 11)


def test_the_sequential_test_errs_as_rarely_as_it_says() -> None:
    """200 tests at the first bound, alpha 0.05: more than 22 wrong ones by chance once in a thousand."""
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        test = Sprt(0, 100)
        while test.decision is None:
            test.add(float(rng.random() < 0.5), float(rng.random() < 0.5))
        wrong += test.decision == "better"
    assert wrong <= 22


def test_bad_bounds_and_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="second bound must be above"):
        Sprt(50, 0)
    with pytest.raises(ValueError, match="alpha and beta"):
        Sprt(0, 50, alpha=0.7)
    with pytest.raises(ValueError, match="a game scores 1"):
        Sprt(0, 50).add(0.3, 1)


def test_a_cycle_is_all_cycle_and_a_ladder_none() -> None:
    odds = np.array([[0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0]])
    assert cyclic_share(1 / (1 + np.exp(-odds))) == pytest.approx(0.0, abs=1e-12)
    assert cyclic_share(ROCK) == pytest.approx(1.0)
    assert cyclic_share([[0.5]]) == 0.0


def test_nash_averaging_shares_weight_among_copies() -> None:
    """Rock entered twice: rock, paper and scissors keep a third each (Balduzzi et al. 2018)."""
    twice = np.array(ROCK)[np.ix_([0, 0, 1, 2], [0, 0, 1, 2])]
    weights, scores = nash_average(twice)
    assert weights == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3], abs=1e-4)
    assert scores == pytest.approx([0.5] * 4, abs=1e-4)
    weights, scores = nash_average([[0.5, 0.7], [0.3, 0.5]])
    assert weights == pytest.approx([1.0, 0.0], abs=1e-6)
    assert scores == pytest.approx([0.5, 0.3], abs=1e-6)


def test_alpha_rank_agrees_with_open_spiel() -> None:
    alpharank = pytest.importorskip("open_spiel.python.egt.alpharank")
    rng = np.random.default_rng(1)
    for n in (2, 3, 7):
        above = np.triu(rng.random((n, n)), 1)
        p = above + np.tril(1 - above.T, -1) + 0.5 * np.eye(n)
        for alpha in (0.5, 5.0, 20.0):
            theirs = alpharank.compute([p], m=50, alpha=alpha)[2]
            assert alpha_rank(p, alpha=alpha) == pytest.approx(theirs, abs=1e-8)


def test_alpha_rank_at_the_ends() -> None:
    assert alpha_rank(ROCK) == pytest.approx([1 / 3] * 3)
    assert alpha_rank([[0.5, 1.0], [0.0, 0.5]]) == pytest.approx([1.0, 0.0], abs=1e-9)
    assert alpha_rank([[0.5, 0.5], [0.5, 0.5]]) == pytest.approx([0.5, 0.5])
    assert alpha_rank([[0.5]]) == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("rates", "message"),
    [([[0.5, 0.5]], "square"), ([[0.5, 2.0], [-1.0, 0.5]], "between"), ([[0.5, 0.6], [0.6, 0.5]], "sum to 1")],
)
def test_bad_win_rates_are_refused(rates: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        win_matrix(rates)


def test_stakes_count_by_how_much_was_won() -> None:
    """b loses most hands and wins most chips: by outcomes a is better, by stakes b is."""
    won = [Result("a", "b", 0.6, "poker", n) for n in range(80)]
    lost = [Result("a", "b", 0.0, "poker", 80 + n) for n in range(20)]
    hands = [*won, *lost, *(Result("b", "a", 1 - r.score, "poker", r.pair) for r in won + lost)]
    found = rate(hands, anchor="a", staked=["poker"], prior=1e6)
    assert found.players["b"].elo == pytest.approx(ELO * math.log(0.52 / 0.48), abs=0.01)
    assert found.draw["poker"] == 0.0
    outcomes = [r._replace(score=float(r.score > 0.5)) for r in hands]
    assert rate(outcomes, anchor="a").players["b"].elo < 0
