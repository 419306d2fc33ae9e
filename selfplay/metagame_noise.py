"""How much of what a matrix of win rates says of cycles is noise: resampling by pairs of games.

Chosen: a bootstrap of each match-up's pairs, beside which one pair won and one lost are counted, so that pairs that all
went alike are not taken for certain. The part of the log-odds that ratings explain and the part that is cycles are at
right angles, so noise in the one says nothing of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .metagame import Floats, alpha_rank, log_odds, some_nash, without_ratings

DRAWS = 200


def metagame_noise(
    rates: ArrayLike, pairs: Mapping[tuple[int, int], Sequence[float]], *, seed: int = 0
) -> dict[str, float]:
    """Return what resampled pairs make of the figures of the metagame.

    Args:
        rates: see `win_matrix`.
        pairs: the scores of i against j in their pairs, by (i, j) with i below j.
        seed: of the resampling.

    `cyclic_noise` is the share of cycles, of the log-odds there are, that noise alone would make on average, 1 at most;
    `cyclic_p` how often it would make as many as there are. `alpha_rank_first` and `nash_first` are how often the same
    player is first.
    """
    drawn_BNN = _resampled(len(np.asarray(rates)), pairs, np.random.default_rng(seed))
    odds_NN, odds_BNN = log_odds(rates), np.array([log_odds(p_NN) for p_NN in drawn_BNN])
    noise_B = np.array([(without_ratings(part_NN) ** 2).sum() for part_NN in odds_BNN - odds_BNN.mean(0)])
    cycles, whole = (without_ratings(odds_NN) ** 2).sum(), (odds_NN**2).sum()
    return {
        "cyclic_noise": float(min(noise_B.mean() / whole, 1.0)) if whole > 0 else 1.0,
        "cyclic_p": float((1 + (noise_B >= cycles).sum()) / (1 + len(noise_B))),
        "alpha_rank_first": _same_first(alpha_rank(rates), [alpha_rank(p_NN) for p_NN in drawn_BNN]),
        "nash_first": _same_first(_nash(rates), [_nash(p_NN) for p_NN in drawn_BNN]),
    }


def _resampled(n: int, pairs: Mapping[tuple[int, int], Sequence[float]], rng: np.random.Generator) -> Floats:
    """Return win rates of as many pairs, drawn from those there were, [B, N, N]."""
    p_BNN = np.full((DRAWS, n, n), 0.5)
    for (i, j), scores in pairs.items():
        drawn_BC = rng.choice([*scores, 0.0, 1.0], size=(DRAWS, len(scores)))
        p_BNN[:, i, j] = drawn_BC.mean(1)
        p_BNN[:, j, i] = 1 - p_BNN[:, i, j]
    return p_BNN


def _nash(rates: ArrayLike) -> Floats:
    p_NN = np.asarray(rates, dtype=np.float64)
    return some_nash(p_NN - p_NN.T)


def _same_first(found_N: Floats, drawn: Sequence[Floats]) -> float:
    return float(np.mean([other_N.argmax() == found_N.argmax() for other_N in drawn]))
