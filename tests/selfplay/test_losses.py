"""Losses against numbers worked by hand and against each other."""

import math

import pytest
import torch

from sparring.selfplay.losses import (
    AdaptiveKl,
    entropy,
    kl_divergence,
    kl_k1,
    kl_k2,
    kl_k3,
    ppo_loss,
    reinforce_loss,
    truncated_weights,
    value_loss,
)


def test_ppo_by_hand() -> None:
    # Ratios 1.5, 0.5, 1.5, 0.5; advantages +1, +1, -1, -1; clip 0.2.
    # min(r A, clip(r) A): 1.2, 0.5, -1.5, -0.8. Minus their sum: 0.6.
    old_T = torch.zeros(4)
    logp_T = torch.tensor([1.5, 0.5, 1.5, 0.5]).log()
    gain_T, pain_T = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, -1, -1])
    loss, metrics = ppo_loss(logp_T, old_T, gain_T, pain_T)
    assert loss.item() == pytest.approx(0.6)
    assert metrics["clipped"].item() == pytest.approx(0.5)  # the first and the last


def test_asymmetric_clip_by_hand() -> None:
    logp_T, old_T = torch.tensor([1.5, 0.5]).log(), torch.zeros(2)
    loss, _ = ppo_loss(logp_T, old_T, torch.tensor([1.0, 0]), torch.tensor([0.0, -1]), clip_low=0.4, clip_high=0.3)
    assert loss.item() == pytest.approx(-(1.3 - 0.6))


def test_dual_clip_by_hand() -> None:
    # Ratios 0.5, 2, 10 with A = -1 and c = 3: max(r, 0.8) is 0.8, 2, 10, of which 0.8, 2, 3 is left.
    # Ratio 10 with A = +1: 1.2, since c is for A < 0 only. Loss: 0.8 + 2 + 3 - 1.2 = 4.6; all but the second clipped.
    logp_T = torch.tensor([0.5, 2, 10, 10]).log().requires_grad_()
    gain_T, pain_T = torch.tensor([0.0, 0, 0, 1]), torch.tensor([-1.0, -1, -1, 0])
    loss, metrics = ppo_loss(logp_T, torch.zeros(4), gain_T, pain_T, dual_clip=3)
    loss.backward()
    assert loss.item() == pytest.approx(4.6)
    assert metrics["clipped"].item() == pytest.approx(0.75)
    torch.testing.assert_close(logp_T.grad, torch.tensor([0.0, 2, 0, 0]))  # d(r)/d(log p) = r


@pytest.mark.parametrize("dual_clip", [1.0, 0.5, math.nan])
def test_dual_clip_must_be_above_one(dual_clip: float) -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="above 1"):
        ppo_loss(one, one, one, -one, dual_clip=dual_clip)


def test_weights_multiply_each_token() -> None:
    # As test_ppo_by_hand: terms 1.2, 0.5, -1.5, -0.8; weights 1, 2, 0.5, 0 leave 1.2 + 1 - 0.75 = 1.45.
    logp_T = torch.tensor([1.5, 0.5, 1.5, 0.5]).log()
    gain_T, pain_T = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, -1, -1])
    loss, _ = ppo_loss(logp_T, torch.zeros(4), gain_T, pain_T, weight_T=torch.tensor([1, 2, 0.5, 0]))
    assert loss.item() == pytest.approx(-1.45)


def test_truncated_weights_by_hand() -> None:
    logp_T = torch.tensor([0.2, 0.5, 0.9]).log().requires_grad_()
    weight_T = truncated_weights(logp_T, torch.tensor([0.4, 0.5, 0.1]).log(), 2.0)
    torch.testing.assert_close(weight_T, torch.tensor([0.5, 1.0, 2.0]))  # the last would be 9
    assert not weight_T.requires_grad
    assert truncated_weights(torch.zeros(1), torch.full((1,), -1e4), 2.0).item() == 2  # exp(1e4) overflows
    with pytest.raises(ValueError, match="1 or more"):
        truncated_weights(logp_T, logp_T, 0.5)


def test_weights_undo_a_sampler_that_is_not_the_learner() -> None:
    """Exactly, over a whole vocabulary: sum q (p / q) A grad log p is the policy gradient of p."""
    torch.manual_seed(0)
    logits, advantage_V = torch.randn(5), torch.randn(5)
    sampler_V = torch.log_softmax(torch.randn(5), -1)

    def gradient(how) -> torch.Tensor:
        leaf = logits.clone().requires_grad_()
        how(torch.log_softmax(leaf, -1)).backward()
        return leaf.grad

    def weighted(logp_V: torch.Tensor) -> torch.Tensor:
        often_V = sampler_V.exp() * truncated_weights(logp_V, sampler_V, 1e6)
        return reinforce_loss(
            logp_V, logp_V.detach(), advantage_V.clamp(min=0), advantage_V.clamp(max=0), weight_T=often_V
        )[0]

    torch.testing.assert_close(gradient(weighted), gradient(lambda logp_V: -(logp_V.exp() * advantage_V).sum()))


def test_merged_samples_lose_what_single_ones_do() -> None:
    """Advantages +2, +1 and -4 on one token: gain 3 and pain -4 give the sum of the three clipped surrogates."""
    for ratio in (0.5, 0.9, 1.0, 1.1, 2.0):
        logp, old = torch.tensor([ratio]).log(), torch.zeros(1)
        single = sum(
            ppo_loss(logp, old, torch.tensor([max(a, 0.0)]), torch.tensor([min(a, 0.0)]))[0].item()
            for a in (2.0, 1.0, -4.0)
        )
        merged, _ = ppo_loss(logp, old, torch.tensor([3.0]), torch.tensor([-4.0]))
        assert merged.item() == pytest.approx(single)


def test_ppo_on_fresh_samples_has_the_gradient_of_reinforce() -> None:
    """At ratio one the surrogate's gradient is A grad log p, whatever the clip."""
    torch.manual_seed(0)
    logits = torch.randn(6, 5)
    ids, advantage = torch.randint(5, (6, 1)), torch.randn(6)

    def gradient(loss_of) -> torch.Tensor:
        leaf = logits.clone().requires_grad_()
        logp_T = torch.log_softmax(leaf, -1).gather(1, ids)[:, 0]
        loss_of(logp_T).backward()
        return leaf.grad

    gain, pain = advantage.clamp(min=0), advantage.clamp(max=0)
    plain = gradient(lambda logp: -(advantage * logp).sum())
    clipped = gradient(lambda logp: ppo_loss(logp, logp.detach(), gain, pain)[0])
    unclipped = gradient(lambda logp: reinforce_loss(logp, logp.detach(), gain, pain)[0])
    torch.testing.assert_close(clipped, plain)
    torch.testing.assert_close(unclipped, plain)


def test_reinforce_never_clips() -> None:
    logp_T = torch.tensor([1e-3, 1e3]).log()
    ones = torch.ones(2)
    loss, metrics = reinforce_loss(logp_T, torch.zeros(2), ones, -2 * ones)
    assert loss.item() == pytest.approx((1e-3 + 1e3), rel=1e-5)
    assert metrics["clipped"].item() == 0


def test_entropy_and_kl_by_hand() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    q = torch.tensor([[0.25, 0.5, 0.25]]).log()
    assert entropy(p).item() == pytest.approx(1.5 * math.log(2))
    assert kl_divergence(p, q).item() == pytest.approx(0.5 * math.log(2) - 0.25 * math.log(2))
    assert kl_divergence(p, p).item() == pytest.approx(0.0, abs=1e-7)


def test_extreme_ratios_stay_finite() -> None:
    """exp(1000) is infinite, and infinity times a gain of 0 was not a number."""
    for gap in (-1e3, 1e3):
        for loss_of in (ppo_loss, reinforce_loss):
            logp_T = torch.full((2,), gap, requires_grad=True)
            loss, _ = loss_of(logp_T, torch.zeros(2), torch.tensor([1.0, 0]), torch.tensor([0.0, -1]))
            loss.backward()
            assert torch.isfinite(loss)
            assert torch.isfinite(logp_T.grad).all()


def test_value_loss_by_hand() -> None:
    # Errors 1, -2: (1 + 4) / 2 = 2.5.
    loss, metrics = value_loss(torch.tensor([1.0, 0]), torch.zeros(2), torch.tensor([0.0, 2]))
    assert loss.item() == pytest.approx(2.5)
    assert metrics["clipped"].item() == 0
    weighted, _ = value_loss(torch.tensor([1.0, 0]), torch.zeros(2), torch.tensor([0.0, 2]), weight_N=torch.ones(2) * 3)
    assert weighted.item() == pytest.approx(7.5)


def test_value_clipping_by_hand() -> None:
    # Old 0, clip 0.2, target 1. Value 0.5: clipped to 0.2, errors 0.25 and 0.64, the larger is 0.64, no gradient.
    # Value -0.5: clipped to -0.2, errors 2.25 and 1.44, the larger is 2.25, gradient -1.5 back towards the target.
    # Value 0.1: within the clip, error 0.81, gradient -0.9. Value 0.9: as 0.5. Half their sum: 2.17.
    value_N = torch.tensor([0.5, -0.5, 0.1, 0.9], requires_grad=True)
    loss, metrics = value_loss(value_N, torch.zeros(4), torch.ones(4), clip=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * (0.64 + 2.25 + 0.81 + 0.64))
    torch.testing.assert_close(value_N.grad, torch.tensor([0.0, -1.5, -0.9, 0.0]))
    assert metrics["clipped"].item() == pytest.approx(2 / 4)  # the first and the last
    with pytest.raises(ValueError, match="no value clipping"):
        value_loss(value_N, value_N, value_N, clip=0)


def test_kl_estimators_by_hand() -> None:
    # p = 0.5, ref = 0.25: k1 = log 2, k2 = (log 2)^2 / 2, k3 = 1/2 - 1 + log 2.
    logp_T, reference_T = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    assert kl_k1(logp_T, reference_T).item() == pytest.approx(math.log(2))
    assert kl_k2(logp_T, reference_T).item() == pytest.approx(math.log(2) ** 2 / 2)
    assert kl_k3(logp_T, reference_T).item() == pytest.approx(math.log(2) - 0.5)


def test_k1_and_k3_are_unbiased_and_k3_is_never_negative() -> None:
    """Exactly: the mean of each over the whole vocabulary, weighted by p, is the divergence."""
    torch.manual_seed(0)
    logp_V, reference_V = torch.log_softmax(torch.randn(2, 7), -1)
    exact = kl_divergence(logp_V, reference_V).item()
    assert (logp_V.exp() * kl_k1(logp_V, reference_V)).sum().item() == pytest.approx(exact)
    assert (logp_V.exp() * kl_k3(logp_V, reference_V)).sum().item() == pytest.approx(exact)
    assert (logp_V.exp() * kl_k2(logp_V, reference_V)).sum().item() != pytest.approx(exact, rel=1e-2)
    assert (kl_k1(logp_V, reference_V) < 0).any()
    assert (kl_k3(logp_V, reference_V) >= 0).all()


def test_what_the_gradient_of_each_estimator_is_on_average() -> None:
    """Averaged exactly over what p samples: as losses k1 gives nothing, k2 the gradient of KL(p || ref), k3 that of
    KL(ref || p); in a reward k1 gives that of KL(p || ref), and k2 and k3 something else."""
    torch.manual_seed(0)
    logits, reference_V = torch.randn(7), torch.log_softmax(torch.randn(7), -1)

    def gradient(loss_of) -> torch.Tensor:
        leaf = logits.clone().requires_grad_()
        logp_V = torch.log_softmax(leaf, -1)
        loss_of(logp_V, logp_V.detach().exp()).backward()
        return leaf.grad

    def in_loss(estimate) -> torch.Tensor:
        return gradient(lambda logp_V, p_V: (p_V * estimate(logp_V, reference_V)).sum())

    def in_reward(estimate) -> torch.Tensor:
        return gradient(lambda logp_V, p_V: (p_V * estimate(logp_V, reference_V).detach() * logp_V).sum())

    kl = gradient(lambda logp_V, _: kl_divergence(logp_V, reference_V))
    other_kl = gradient(lambda logp_V, _: kl_divergence(reference_V, logp_V))
    assert (kl - other_kl).abs().max() > 0.05
    torch.testing.assert_close(in_loss(kl_k1), torch.zeros(7))
    torch.testing.assert_close(in_loss(kl_k2), kl)
    torch.testing.assert_close(in_loss(kl_k3), other_kl)
    torch.testing.assert_close(in_reward(kl_k1), kl)
    for unfit in (kl_k2, kl_k3):
        assert (in_reward(unfit) - kl).abs().max() > 0.05


def test_k3_stays_finite_and_keeps_its_digits() -> None:
    logp_T = torch.tensor([-1e3, 0.0], requires_grad=True)
    k3_T = kl_k3(logp_T, torch.tensor([0.0, -1e3]))
    k3_T.sum().backward()
    assert torch.isfinite(k3_T).all()
    assert torch.isfinite(logp_T.grad).all()
    assert kl_k3(torch.zeros(1), torch.full((1,), 1e-3)).item() == pytest.approx(5e-7, rel=0.01)  # x^2 / 2


def test_adaptive_kl_by_hand() -> None:
    # Target 2, horizon 100. KL 3 is 50 % too much, which counts as 20 %: 1 + 0.2 * 50/100 = 1.1.
    # KL 1.8 is 10 % too little: 1 - 0.1 * 100/100 = 0.9. KL 0 counts as 20 % too little: 0.8. KL 2 is as wanted.
    controller = AdaptiveKl(0.5, 2.0, 100)
    assert controller.update(3.0, 50) == pytest.approx(0.5 * 1.1)
    assert controller.update(1.8, 100) == pytest.approx(0.55 * 0.9)
    assert controller.update(0.0, 100) == pytest.approx(0.495 * 0.8)
    assert controller.update(2.0, 100) == pytest.approx(0.396)
    assert controller.update(math.inf, 100) == pytest.approx(0.396 * 1.2)


@pytest.mark.parametrize("n", [100, 101, 500, 51_210 * 100])
def test_adaptive_kl_takes_batches_of_any_size(n: int) -> None:
    """A run of 51,210 turns an update once ended at its first one: with a horizon of 10,000 the factor was below 0."""
    controller = AdaptiveKl(0.5, 2.0, 100)
    assert controller.update(0.0, n) == pytest.approx(0.5 * 0.8)
    assert controller.update(20.0, n) == pytest.approx(0.5 * 0.8 * 1.2)


def test_adaptive_kl_steers_to_its_target() -> None:
    """A policy whose KL is 1 / weight settles where that is the target."""
    controller = AdaptiveKl(1.0, 0.25, 10)
    for _ in range(500):
        controller.update(1 / controller.weight, 1)
    assert 1 / controller.weight == pytest.approx(0.25, rel=1e-3)


def test_adaptive_kl_goes_on_after_a_restart() -> None:
    one, other = AdaptiveKl(0.5, 2.0, 100), AdaptiveKl(1.0, 1.0, 1)
    one.update(3.0, 10)
    other.load_state_dict(one.state_dict())
    assert other.update(1.0, 10) == one.update(1.0, 10)
    assert other.state_dict() == one.state_dict()


def test_adaptive_kl_refuses_what_would_break_it() -> None:
    for numbers in ((0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, math.nan)):
        with pytest.raises(ValueError, match="above 0"):
            AdaptiveKl(*numbers)
    controller = AdaptiveKl(1.0, 1.0, 10)
    with pytest.raises(FloatingPointError, match="not a number"):
        controller.update(math.nan, 1)
    assert controller.weight == 1
