"""Losses on whole replies: pairs (DPO, IPO, hinge, REBEL), win rates (SPPO), labels (KTO), imitation, all sums.

Chosen: the log-probability of a reply is the sum over its tokens, and nothing is divided by length. Who wants length
normalisation, as TRL's IPO has it, divides before calling.

Shapes: B pairs or replies. Margins are log p(chosen) - log p(rejected), log-ratios are log p(policy) - log
p(reference), both in nats.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .losses import Metrics, weighted_sum


def dpo_loss(
    margin_B: Tensor,
    reference_margin_B: Tensor,
    *,
    beta: float,
    target_B: Tensor | None = None,
    weight_B: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """Rafailov et al. 2023 (arXiv 2305.18290), eq. 7: -sum log sigmoid(beta d), d = margin - reference margin.

    Args:
        margin_B: of the policy that learns.
        reference_margin_B: of the policy that it is held to.
        beta: strength of that hold, above 0.
        target_B: q, the probability that chosen is the better one; with it the loss is -q log sigmoid(beta d)
            - (1 - q) log sigmoid(-beta d), which is least where sigmoid(beta d) = q. Ones where None.
        weight_B: of each pair; ones where None.

    Raises ValueError if `beta` is not above 0. Metrics: `accuracy`, the share of pairs with d > 0, and `margin`, the
    mean of beta d.
    """
    return _pair_loss(lambda d_B: -logsigmoid(beta * d_B), margin_B - reference_margin_B, beta, target_B, weight_B)


def ipo_loss(
    margin_B: Tensor,
    reference_margin_B: Tensor,
    *,
    beta: float,
    target_B: Tensor | None = None,
    weight_B: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """Azar et al. 2023 (arXiv 2310.12036), eq. 17: sum (d - 1 / (2 beta))^2, d = margin - reference margin.

    `beta` is their tau. With targets q each pair counts q times as it is and 1 - q times the other way round, which
    is least where d = (q - 1/2) / beta. Otherwise as `dpo_loss`.
    """
    return _pair_loss(lambda d_B: (d_B - 0.5 / beta).square(), margin_B - reference_margin_B, beta, target_B, weight_B)


def hinge_loss(
    margin_B: Tensor,
    reference_margin_B: Tensor,
    *,
    beta: float,
    target_B: Tensor | None = None,
    weight_B: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """SLiC's hinge (Zhao et al. 2023, arXiv 2305.10425): sum max(0, 1 - beta d), d = margin - reference margin.

    The reference is subtracted as in Liu et al. 2023 (arXiv 2309.06657). Targets as in `ipo_loss`; with q above 1/2
    the least is at beta d = 1, with q = 1/2 anywhere from -1 to 1. Otherwise as `dpo_loss`.
    """
    return _pair_loss(lambda d_B: (1 - beta * d_B).relu(), margin_B - reference_margin_B, beta, target_B, weight_B)


def sppo_loss(
    logratio_B: Tensor, win_rate_B: Tensor, *, eta: float, weight_B: Tensor | None = None
) -> tuple[Tensor, Metrics]:
    """Wu et al. 2024 (arXiv 2405.00675), Algorithm 1: sum (log-ratio - eta (P - 1/2))^2, one reply at a time.

    Args:
        logratio_B: to the reference. In the paper that is the policy that played (a learner with `anchor_every=1`); to
            the first policy, which runs take by default, the fixed point is a smoothed equilibrium, and the larger eta
            is, the closer to a real one.
        win_rate_B: P, how often each reply beats that policy's own replies to the same prompt, in [0, 1].
        eta: step size of the multiplicative weights that this regression approximates, in nats a win.
        weight_B: of each reply; ones where None.

    Raises ValueError if `eta` is not above 0. Metrics: `accuracy`, the share of replies that moved the way of their
    win rate, and `distance`, the mean of |log-ratio - eta (P - 1/2)|.
    """
    _check_above_zero("eta", eta)
    edge_B = win_rate_B - 0.5
    error_B = logratio_B - eta * edge_B
    with torch.no_grad():
        metrics = {"accuracy": (logratio_B * edge_B > 0).float().mean(), "distance": error_B.abs().mean()}
    return weighted_sum(error_B.square(), weight_B), metrics


def rebel_loss(
    margin_B: Tensor,
    reference_margin_B: Tensor,
    gap_B: Tensor,
    *,
    beta: float,
    weight_B: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """Gao et al. 2024 (arXiv 2404.16767), eq. 1, over beta^2: sum (d - gap / beta)^2, d = margin - reference margin.

    Args:
        margin_B: log p(first) - log p(second), of the policy that learns.
        reference_margin_B: of the policy that it is held to; in the paper the one that played.
        gap_B: how much more the first reply earned, in rewards.
        beta: 1/eta of the paper, in rewards a nat. At the least of the loss, d = gap / beta, the policy is the one that
            maximises reward less beta times the KL to the reference.
        weight_B: of each pair; ones where None.

    Raises ValueError if `beta` is not above 0. Metrics: `accuracy`, the share of pairs that moved the way of their gap,
    and `distance`, the mean of |d - gap / beta|.
    """
    _check_above_zero("beta", beta)
    d_B = margin_B - reference_margin_B
    error_B = d_B - gap_B / beta
    with torch.no_grad():
        metrics = {"accuracy": (d_B * gap_B > 0).float().mean(), "distance": error_B.abs().mean()}
    return weighted_sum(error_B.square(), weight_B), metrics


def kto_loss(
    logratio_B: Tensor,
    is_desirable_B: Tensor,
    kl: float | Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weight_B: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """Ethayarajh et al. 2024 (arXiv 2402.01306), eq. 7-8: sum lambda (1 - sigmoid(+-beta (log-ratio - z))).

    The sign is + for desirable replies and - for the others.

    Args:
        logratio_B: of each reply to the reference.
        is_desirable_B: True where the reply is to become likelier; bool.
        kl: KL(policy || reference) in nats; below 0 it counts as 0, and no gradient flows through it. This is z.
        beta: how quickly a reply counts as settled, above 0.
        desirable_weight: lambda of desirable replies.
        undesirable_weight: lambda of the others. The paper wants desirable_weight times their number over this times
            that of the others in [1, 4/3].
        weight_B: of each reply; ones where None.

    Raises ValueError if `beta` is not above 0. Metrics: `accuracy`, the share of replies on their side of z, and
    `margin`, the mean of +-beta (log-ratio - z).
    """
    _check_above_zero("beta", beta)
    baseline = torch.as_tensor(kl, dtype=logratio_B.dtype, device=logratio_B.device).detach().clamp(min=0)
    sign_B = torch.where(is_desirable_B, 1.0, -1.0)
    lambda_B = torch.where(is_desirable_B, desirable_weight, undesirable_weight)
    margin_B = sign_B * beta * (logratio_B - baseline)
    # sigmoid(-x) is 1 - sigmoid(x), without its rounding where x is large.
    return weighted_sum(lambda_B * (-margin_B).sigmoid(), weight_B), _sides(margin_B)


def nll_loss(logp_B: Tensor, *, weight_B: Tensor | None = None) -> tuple[Tensor, Metrics]:
    """-sum log p of whole replies: imitation, and the term that keeps chosen replies likely beside a pair loss.

    Pairs only fix a difference, so without it both replies of a pair may become less likely (Pang et al. 2024, arXiv
    2404.19733, who divide it by length). Metrics: `nll`, its mean.
    """
    return weighted_sum(-logp_B, weight_B), {"nll": -logp_B.detach().mean()}


def _pair_loss(
    term: Callable[[Tensor], Tensor], d_B: Tensor, beta: float, target_B: Tensor | None, weight_B: Tensor | None
) -> tuple[Tensor, Metrics]:
    """Sum `term` of each pair as it is, or, with targets, of the pair both ways round."""
    _check_above_zero("beta", beta)
    term_B = term(d_B) if target_B is None else target_B * term(d_B) + (1 - target_B) * term(-d_B)
    return weighted_sum(term_B, weight_B), _sides(beta * d_B)


def _sides(margin_B: Tensor) -> Metrics:
    """Return how many margins are on the right side of 0, and their mean."""
    margin_B = margin_B.detach()
    return {"accuracy": (margin_B > 0).float().mean(), "margin": margin_B.mean()}


def _check_above_zero(name: str, number: float) -> None:
    if not number > 0:
        raise ValueError(f"{name} must be above 0, not {number}")
