"""Losses against numbers worked by hand and against each other."""

import math

import pytest
import torch

from sparring.selfplay.losses import entropy, kl_divergence, ppo_loss, reinforce_loss


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
