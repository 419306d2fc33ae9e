"""Who is best where A beats B, B beats C and C beats A: alpha-rank and Nash averaging over a matrix of win rates.

One rating a player cannot say that; these can, and where there is no cycle they agree with it. Both take the matrix
that a tournament gives: win rates, draws half, over both seats.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def win_matrix(rates: ArrayLike) -> Floats:
    """Return win rates as a checked matrix, [N, N]: p[i, j] is the score of i against j; 1/2 on the diagonal.

    Raises ValueError unless it is square, within [0, 1], and p[i, j] + p[j, i] = 1.
    """
    p_NN = np.array(rates, dtype=np.float64)
    if p_NN.ndim != 2 or p_NN.shape[0] != p_NN.shape[1] or not len(p_NN):
        raise ValueError(f"win rates must be a square matrix, not of shape {p_NN.shape}")
    if not np.isfinite(p_NN).all() or (p_NN < 0).any() or (p_NN > 1).any():
        raise ValueError("win rates must lie between 0 and 1; let every two players meet")
    if not np.allclose(p_NN + p_NN.T, 1.0, atol=1e-9):
        raise ValueError("p[i, j] and p[j, i] must sum to 1: count draws half, and put 1/2 on the diagonal")
    return p_NN


def alpha_rank(rates: ArrayLike, *, alpha: float = 100.0, population: int = 50) -> Floats:
    """Return the stationary distribution of alpha-rank (Omidshafiei et al. 2019, eq. 9 to 11), [N].

    One population of a symmetric game: a single mutant takes over m copies of another player with probability
    (1 - e^-u) / (1 - e^-mu), where u is alpha times its score against them less theirs against it.

    Args:
        rates: see `win_matrix`.
        alpha: strength of selection; the larger, the less a loss is forgiven.
        population: its size m.
    """
    p_NN = win_matrix(rates)
    n = len(p_NN)
    if n == 1:
        return np.ones(1)
    rho_NN = np.array(
        [[_takes_over(alpha * (p_NN[j, i] - p_NN[i, j]), population) for j in range(n)] for i in range(n)]
    )
    step_NN = rho_NN / (n - 1)
    np.fill_diagonal(step_NN, 0.0)
    np.fill_diagonal(step_NN, 1.0 - step_NN.sum(1))
    return _stationary(step_NN)


def _takes_over(u: float, population: int) -> float:
    """Return the probability that one mutant, better by `u` in the exponent, takes over; neutral: 1 / m."""
    if abs(u) < 1e-12:
        return 1.0 / population
    # Far exponents: a worse mutant never wins, a better one nearly always does.
    if u < -500.0 / population:
        return math.exp(max(u * (population - 1), -700.0))
    return math.expm1(-u) / math.expm1(-population * u)


def _stationary(step_NN: Floats) -> Floats:
    """Return the distribution that a Markov chain keeps; of several, the one that is reached from anywhere alike."""
    n = len(step_NN)
    # States that are left almost never make the linear system singular; a jump so rare changes no figure shown.
    jump = 1e-12
    walk_NN = (1 - jump) * step_NN + jump / n
    system = np.vstack([walk_NN.T - np.eye(n), np.ones(n)])
    pi_N = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]
    pi_N = np.maximum(pi_N, 0.0)
    found: Floats = pi_N / pi_N.sum()
    return found


def nash_average(rates: ArrayLike) -> tuple[Floats, Floats]:
    """Return the Nash equilibrium of greatest entropy and each player's score against it (Balduzzi et al. 2018).

    The equilibrium is over who to field in the symmetric zero-sum game of win rates, [N]; copies of a player share its
    weight, so that nobody's standing depends on how often somebody was entered. Scores are win rates, [N]: 1/2 for all
    whom the equilibrium fields.
    """
    from scipy.optimize import LinearConstraint, minimize

    p_NN = win_matrix(rates)
    n = len(p_NN)
    lead_NN = p_NN - p_NN.T
    start_N = some_nash(lead_NN)

    def negative_entropy(x: Floats) -> tuple[float, Floats]:
        x = np.maximum(x, 1e-12)
        return float((x * np.log(x)).sum()), np.log(x) + 1

    held = [LinearConstraint(np.ones((1, n)), 1, 1), LinearConstraint(-lead_NN, 0, np.inf)]
    # From inside the face of equilibria the entropy has a gradient; from a corner it has none.
    inner_N = 0.999 * start_N + 0.001 / n
    found = minimize(
        negative_entropy,
        inner_N,
        jac=True,
        bounds=[(0, 1)] * n,
        constraints=held,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    x_N = np.maximum(found.x if found.success else start_N, 0.0)
    x_N /= x_N.sum()
    if (lead_NN @ x_N).max() > 1e-6:
        x_N = start_N
    return x_N, p_NN @ x_N


def some_nash(lead_NN: Floats) -> Floats:
    """Return one equilibrium of a symmetric zero-sum game, by linear programming."""
    from scipy.optimize import linprog

    n = len(lead_NN)
    found = linprog(np.zeros(n), A_ub=lead_NN, b_ub=np.zeros(n), A_eq=np.ones((1, n)), b_eq=[1.0], bounds=[(0, 1)] * n)
    x_N: Floats = found.x
    return x_N


def cyclic_share(rates: ArrayLike) -> float:
    """Return the share of the win rates that no rating explains, 0 to 1.

    Log-odds are split into differences of ratings and a rest that is made of cycles (Hodge decomposition; Balduzzi et
    al. 2018, section 2): this is the rest's part of the sum of squares. Win rates are kept within 1 % of the ends.
    """
    odds_NN = log_odds(rates)
    whole = float((odds_NN**2).sum())
    return float((without_ratings(odds_NN) ** 2).sum()) / whole if whole > 0 else 0.0


def log_odds(rates: ArrayLike) -> Floats:
    """Return win rates as log-odds, kept within 1 % of the ends, [N, N]."""
    p_NN = np.clip(win_matrix(rates), 0.01, 0.99)
    found_NN: Floats = np.log(p_NN / (1 - p_NN))
    return found_NN


def without_ratings(odds_NN: Floats) -> Floats:
    """Return what is left of log-odds when differences of ratings are taken away: cycles."""
    rating_N = odds_NN.mean(1)
    found_NN: Floats = odds_NN - (rating_N[:, None] - rating_N[None])
    return found_NN
