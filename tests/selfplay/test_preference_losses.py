"""Losses on whole replies against numbers worked by hand, their fixed points, and extreme values."""

import math

import pytest
import torch

from sparring.selfplay.preference_losses import (
    dpo_loss,
    hinge_loss,
    ipo_loss,
    kto_loss,
    nll_loss,
    rebel_loss,
    sppo_loss,
)

PAIR_LOSSES = [dpo_loss, ipo_loss, hinge_loss]
LOG3 = math.log(3)


def gradient(loss_of, at: float) -> float:
    """Return the derivative of a loss of one number."""
    leaf = torch.tensor([at], requires_grad=True)
    loss_of(leaf)[0].backward()
    return leaf.grad.item()


def test_dpo_by_hand() -> None:
    # d = 3 log 3 - log 3 = 2 log 3, beta 1/2: sigmoid(log 3) = 3/4, loss -log 3/4. Then d = -2 log 3: -log 1/4.
    margin_B, reference_B = torch.tensor([3 * LOG3, -LOG3]), torch.tensor([LOG3, LOG3])
    loss, metrics = dpo_loss(margin_B, reference_B, beta=0.5)
    assert loss.item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 4))
    assert metrics["accuracy"].item() == pytest.approx(0.5)
    assert metrics["margin"].item() == pytest.approx(0, abs=1e-6)


def test_soft_dpo_by_hand() -> None:
    # sigmoid(beta d) = 3/4 as above; q = 0.7: -0.7 log 3/4 - 0.3 log 1/4.
    loss, _ = dpo_loss(torch.tensor([2 * LOG3]), torch.zeros(1), beta=0.5, target_B=torch.tensor([0.7]))
    assert loss.item() == pytest.approx(-0.7 * math.log(3 / 4) - 0.3 * math.log(1 / 4))


def test_ipo_by_hand() -> None:
    # beta 1/4: the goal is d = 2. d = 5 - 1 = 4: 4. d = 0: 4. d = 2: 0.
    loss, _ = ipo_loss(torch.tensor([5.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 0.0]), beta=0.25)
    assert loss.item() == pytest.approx(8)


def test_hinge_by_hand() -> None:
    # beta 1/2. d = 1: 1 - 0.5 = 0.5. d = 4: 1 - 2 < 0, so 0. d = -2: 1 + 1 = 2.
    loss, _ = hinge_loss(torch.tensor([2.0, 4.0, -2.0]), torch.tensor([1.0, 0.0, 0.0]), beta=0.5)
    assert loss.item() == pytest.approx(2.5)


@pytest.mark.parametrize("pair_loss", PAIR_LOSSES)
def test_a_hard_target_is_no_target(pair_loss) -> None:
    torch.manual_seed(0)
    margin_B, reference_B = torch.randn(2, 6)
    plain, _ = pair_loss(margin_B, reference_B, beta=0.3)
    hard, _ = pair_loss(margin_B, reference_B, beta=0.3, target_B=torch.ones(6))
    turned, _ = pair_loss(-margin_B, -reference_B, beta=0.3, target_B=torch.zeros(6))
    torch.testing.assert_close(hard, plain)
    torch.testing.assert_close(turned, plain)


@pytest.mark.parametrize("pair_loss", PAIR_LOSSES)
def test_an_undecided_pair_stays_at_the_reference(pair_loss) -> None:
    """q = 1/2: no pull where policy and reference agree, and none that tells chosen from rejected anywhere."""
    half_B = torch.tensor([0.5])

    def loss_of(margin_B: torch.Tensor):
        return pair_loss(margin_B, torch.full((1,), 0.7), beta=0.5, target_B=half_B)

    assert gradient(loss_of, 0.7) == pytest.approx(0, abs=1e-6)
    assert gradient(loss_of, 0.7 + 3) == pytest.approx(-gradient(loss_of, 0.7 - 3))
    assert gradient(loss_of, 0.7 + 3) > 0


@pytest.mark.parametrize(
    ("pair_loss", "fixed_point"),
    [(dpo_loss, 2 * LOG3), (ipo_loss, 0.5), (hinge_loss, 2.0)],
)
def test_where_a_soft_target_comes_to_rest(pair_loss, fixed_point: float) -> None:
    # q = 3/4, beta = 1/2. DPO: sigmoid(d / 2) = 3/4 at d = 2 log 3. IPO: (3/4 - 1/2) / (1/2) = 1/2. Hinge: d = 2.
    def loss_of(margin_B: torch.Tensor):
        return pair_loss(margin_B, torch.zeros(1), beta=0.5, target_B=torch.tensor([0.75]))

    assert gradient(loss_of, fixed_point - 0.01) < 0 < gradient(loss_of, fixed_point + 0.01)


@pytest.mark.parametrize("pair_loss", PAIR_LOSSES)
def test_pairs_raise_chosen_and_lower_rejected(pair_loss) -> None:
    chosen, rejected = torch.tensor([-3.0], requires_grad=True), torch.tensor([-2.0], requires_grad=True)
    reference = torch.zeros(1, requires_grad=True)
    pair_loss(chosen - rejected, reference.detach(), beta=0.1)[0].backward()
    assert chosen.grad.item() < 0 < rejected.grad.item()


@pytest.mark.parametrize("pair_loss", PAIR_LOSSES)
def test_weights_count_pairs(pair_loss) -> None:
    margin_B, reference_B = torch.tensor([0.3, -0.4]), torch.tensor([0.1, 0.2])
    one, two = (pair_loss(margin_B[i : i + 1], reference_B[i : i + 1], beta=0.5)[0] for i in (0, 1))
    both, _ = pair_loss(margin_B, reference_B, beta=0.5, weight_B=torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(both, 2 * one + 0.5 * two)


def test_sppo_by_hand() -> None:
    # eta 4: goals 4 (1 - 1/2) = 2 and 4 (1/4 - 1/2) = -1. Log-ratios 0.5 and 0.5: (-1.5)^2 + 1.5^2 = 4.5.
    loss, metrics = sppo_loss(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.25]), eta=4.0)
    assert loss.item() == pytest.approx(4.5)
    assert metrics["distance"].item() == pytest.approx(1.5)
    assert metrics["accuracy"].item() == pytest.approx(0.5)
    loss, _ = sppo_loss(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.25]), eta=4.0, weight_B=torch.tensor([3.0, 1]))
    assert loss.item() == pytest.approx(9)


@pytest.mark.parametrize(("win_rate", "sign"), [(1.0, -1), (0.5, 0), (0.0, 1)])
def test_sppo_raises_replies_that_win(win_rate: float, sign: int) -> None:
    slope = gradient(lambda logratio_B: sppo_loss(logratio_B, torch.tensor([win_rate]), eta=2.0), 0.0)
    assert slope == pytest.approx(2 * sign)  # 2 (0 - 2 (P - 1/2))


def test_rebel_by_hand() -> None:
    """Reached where the difference of log-ratios is that of the rewards over beta."""
    margin_B, reference_B, gap_B = torch.tensor([0.5, 2.0]), torch.tensor([-0.5, 1.0]), torch.tensor([2.0, -0.5])
    loss, metrics = rebel_loss(margin_B, reference_B, gap_B, beta=0.5)
    # d = 1 and 1, wanted are 4 and -1.
    assert loss == pytest.approx(3**2 + 2**2)
    assert metrics["accuracy"] == 0.5
    assert metrics["distance"] == pytest.approx(2.5)
    loss, _ = rebel_loss(margin_B, reference_B, gap_B, beta=0.5, weight_B=torch.tensor([1.0, 3.0]))
    assert loss == pytest.approx(9 + 3 * 4)


def test_kto_by_hand() -> None:
    # beta 1/2, kl = 2 log 3. Desirable, log-ratio 4 log 3: 1 - sigmoid(log 3) = 1/4. Log-ratio 0: 3/4.
    # Undesirable, log-ratio 0: 1 - sigmoid(log 3) = 1/4. With weights 2 and 3: 2 (1/4 + 3/4) + 3/4 = 2.75.
    logratio_B = torch.tensor([4 * LOG3, 0.0, 0.0])
    desirable_B = torch.tensor([True, True, False])
    loss, metrics = kto_loss(logratio_B, desirable_B, 2 * LOG3, beta=0.5)
    assert loss.item() == pytest.approx(1.25)
    assert metrics["accuracy"].item() == pytest.approx(2 / 3)
    assert metrics["margin"].item() == pytest.approx(LOG3 / 3)  # log 3, -log 3, log 3
    loss, _ = kto_loss(logratio_B, desirable_B, 2 * LOG3, beta=0.5, desirable_weight=2, undesirable_weight=3)
    assert loss.item() == pytest.approx(2.75)
    loss, _ = kto_loss(logratio_B, desirable_B, 2 * LOG3, beta=0.5, weight_B=torch.tensor([0.0, 1, 4]))
    assert loss.item() == pytest.approx(1.75)


def test_kto_takes_no_gradient_through_its_kl_and_none_below_zero() -> None:
    kl = torch.tensor(0.5, requires_grad=True)
    logratio_B = torch.tensor([0.3, -0.2], requires_grad=True)
    desirable_B = torch.tensor([True, False])
    kto_loss(logratio_B, desirable_B, kl, beta=0.5)[0].backward()
    assert kl.grad is None
    assert logratio_B.grad[0] < 0 < logratio_B.grad[1]
    below, at = (kto_loss(logratio_B, desirable_B, kl, beta=0.5)[0].item() for kl in (-3.0, 0.0))
    assert below == at


def test_nll_by_hand() -> None:
    logp_B = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss, metrics = nll_loss(logp_B, weight_B=torch.tensor([1.0, 0.5]))
    loss.backward()
    assert loss.item() == pytest.approx(2)
    assert metrics["nll"].item() == pytest.approx(1.5)
    torch.testing.assert_close(logp_B.grad, torch.tensor([-1.0, -0.5]))
    assert nll_loss(logp_B)[0].item() == pytest.approx(3)


@pytest.mark.parametrize("far", [-1e4, 1e4])
def test_extreme_values_stay_finite(far: float) -> None:
    def losses(x_B: torch.Tensor):
        for pair_loss in PAIR_LOSSES:
            for target_B in (None, torch.ones(1), torch.full((1,), 0.5), torch.zeros(1)):
                yield pair_loss(x_B, torch.zeros(1), beta=0.5, target_B=target_B)
        yield sppo_loss(x_B, torch.ones(1), eta=1e3)
        yield rebel_loss(x_B, -x_B, x_B, beta=1e-3)
        for is_desirable in (True, False):
            yield kto_loss(x_B, torch.tensor([is_desirable]), 1.0, beta=0.5)

    x_B = torch.tensor([far], requires_grad=True)
    for loss, metrics in losses(x_B):
        (slope,) = torch.autograd.grad(loss, x_B)
        assert torch.isfinite(loss)
        assert torch.isfinite(slope).all()
        assert all(torch.isfinite(value) and not value.requires_grad for value in metrics.values())


def test_strengths_must_be_above_zero() -> None:
    one_B = torch.ones(1)
    for pair_loss in PAIR_LOSSES:
        with pytest.raises(ValueError, match="beta must be above 0"):
            pair_loss(one_B, one_B, beta=0.0)
    with pytest.raises(ValueError, match="beta must be above 0"):
        kto_loss(one_B, one_B > 0, 0.0, beta=-1.0)
    with pytest.raises(ValueError, match="eta must be above 0"):
        sppo_loss(one_B, one_B, eta=math.nan)
    with pytest.raises(ValueError, match="beta must be above 0"):
        rebel_loss(one_B, one_B, one_B, beta=0.0)
