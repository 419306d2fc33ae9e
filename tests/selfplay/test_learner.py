"""The update: exact merging and batching, gradients where they belong and nowhere else, state of the lagged copy."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from sparring.agents import LanguageModelAgent, RandomAgent, Reply, tiny_agent
from sparring.agents.prefix import reply_logits
from sparring.envs import make
from sparring.selfplay import Learner, PolicyGradient, RoleBaseline, Sample, play, samples

GAME = make("KuhnPoker-v0")


@pytest.fixture
def tiny() -> LanguageModelAgent:
    # Three tokens a reply: most replies are then more than one token long.
    return tiny_agent(GAME, corpus_games=20, max_new_tokens=3, stop=())


def batch(agent: LanguageModelAgent, games: int = 40) -> list[Sample]:
    return list(samples(play(GAME, (agent, agent), games=games, seed=1), RoleBaseline()))


def gradient(
    agent: LanguageModelAgent, found: list[Sample], objective: PolicyGradient | None = None, **settings
) -> torch.Tensor:
    """The gradient of one pass over some samples, before any clipping."""
    learner = Learner(agent, objective, max_grad_norm=1e9, lr=0.0, **settings)
    learner.update(found)
    return torch.cat([p.grad.flatten() for p in agent.model.parameters()])


def plain_gradient(agent: LanguageModelAgent, found: list[Sample]) -> torch.Tensor:
    """-A grad log p, one sample after another, each read whole: the definition."""
    agent.model.zero_grad()
    for reply, advantage, *_ in found:
        ids = torch.tensor([[*reply.prompt_ids, *reply.ids]])
        logp = torch.log_softmax(agent.model(ids).logits[0, :-1], -1)
        chosen = logp.gather(1, ids[0, 1:, None])[len(reply.prompt_ids) - 1 :, 0]
        (-advantage * chosen.sum() / len(found)).backward()
    return torch.cat([p.grad.flatten() for p in agent.model.parameters()])


def test_the_gradient_is_that_of_plain_policy_gradient(tiny: LanguageModelAgent) -> None:
    """Merging, shared prompts and caches change nothing; so only sampled tokens train, for their own prompts."""
    found = batch(tiny)
    torch.testing.assert_close(gradient(tiny, found), plain_gradient(tiny, found), rtol=1e-4, atol=1e-6)


def test_small_batches_add_up_to_one_large_one(tiny: LanguageModelAgent) -> None:
    found = batch(tiny)
    whole, parts = gradient(tiny, found), gradient(tiny, found, batch_tokens=1)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_trained_on_exactly_what_was_sampled(tiny: LanguageModelAgent) -> None:
    """A trainer that renders prompts anew reads other contexts than were sampled from; then this is not near 0."""
    report = Learner(tiny).update(batch(tiny))
    assert report["mismatch"] < 1e-5


def test_a_wrong_prompt_would_be_seen(tiny: LanguageModelAgent) -> None:
    wrong = [Sample(replace(s.reply, prompt_ids=s.reply.prompt_ids[:-1]), s.advantage) for s in batch(tiny)]
    assert Learner(tiny).update(wrong)["mismatch"] > 1e-3


def test_the_mismatch_is_of_the_first_minibatch_alone(tiny: LanguageModelAgent) -> None:
    """Later ones meet a policy that has moved: what it has moved by was once told as a mismatch of 1.4 nats."""
    learner = Learner(tiny, lr=0.05, minibatches=3, epochs=2)
    report = learner.update(batch(tiny))
    assert report["drift"] > 1e-3
    assert report["mismatch_mean"] <= report["mismatch"] < 1e-5


def test_an_update_stops_by_the_drift_of_the_part_at_hand(tiny: LanguageModelAgent) -> None:
    """The first part has none; averaged with it, the second seemed to have drifted half as far as it had."""
    found = batch(tiny)

    def report(limit: float | None) -> dict[str, float]:
        return Learner(copy.deepcopy(tiny), lr=0.01, minibatches=2, kl_stop=limit).update(found)

    mean = report(None)["drift"]
    assert report(1.5 * mean)["steps"] == 1
    assert report(3 * mean)["steps"] == 2
    # What was seen is told, whether or not a step was taken from it.
    assert report(1.5 * mean)["drift"] == mean


def test_a_kl_that_is_not_measured_is_not_told(tiny: LanguageModelAgent) -> None:
    assert "kl" not in Learner(tiny, PolicyGradient()).update(batch(tiny))
    assert "kl" in Learner(tiny, PolicyGradient(kl=0.1)).update(batch(tiny))


def state(learner: Learner) -> dict[str, torch.Tensor]:
    named = (*learner.tensors()["model"].items(), *learner.tensors()["optimizer"].items())
    return {name: tensor.clone() for name, tensor in named}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(tiny: LanguageModelAgent, bad: float) -> None:
    """It once turned every weight into NaN; now the guard sees it in the report, and the policy stands."""
    # Unclipped, for a token that is clipped has no gradient.
    objective = PolicyGradient(clip_low=1.0, clip_high=float("inf"), kl=0.1, kl_target=0.1)
    learner = Learner(tiny, objective, epochs=3)
    found = batch(tiny)
    learner.update(found)
    before, weight = state(learner), objective.state_dict()
    report = learner.update([found[0]._replace(advantage=bad), *found[1:]])
    assert not math.isfinite(report["grad_norm"])
    assert report["steps"] == 0
    after = state(learner)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert objective.state_dict() == weight
    assert learner.update(found)["steps"] == 3


def test_there_are_no_more_minibatches_than_items(tiny: LanguageModelAgent) -> None:
    """Pairs become fewer as a policy sharpens; an update with fewer than minibatches once ended the run."""
    assert Learner(tiny, minibatches=4, epochs=2).update(batch(tiny)[:3])["steps"] == 6


def test_a_later_gradient_that_is_not_finite_ends_the_update(tiny: LanguageModelAgent) -> None:
    found = batch(tiny)
    learner = Learner(tiny, minibatches=4)
    last = [part for _, part in learner._parts(list(range(len(found))))][2][0]
    found[last] = found[last]._replace(advantage=float("nan"))
    report = learner.update(found)
    assert report["steps"] == 2
    assert math.isnan(report["grad_norm"])
    assert all(p.isfinite().all() for p in tiny.model.parameters())


def test_imitation_of_what_gives_no_gradient_is_refused(tiny: LanguageModelAgent) -> None:
    reply = Reply(text="[bet]", prompt_ids=batch(tiny)[0].reply.prompt_ids, ids=tiny.encode_move("bet"))
    learner = Learner(tiny, lr=1e-2)
    learner.imitate([reply])
    with torch.no_grad():
        tiny.model.lm_head.weight[0] = float("inf")
    before = state(learner)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        learner.imitate([reply])
    after = state(learner)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_wins_becomes_likelier(tiny: LanguageModelAgent) -> None:
    found = batch(tiny)
    reply = found[0].reply
    Learner(tiny, lr=1e-3).update([Sample(reply, 1.0), *(s._replace(advantage=0.0) for s in found[1:])])
    logits = reply_logits(tiny.model, [reply.prompt_ids], [(0, reply.ids)])
    now = torch.log_softmax(logits, -1).gather(1, torch.tensor(reply.ids)[:, None]).sum()
    assert now.item() > sum(reply.logprobs)


def test_equal_rewards_teach_nothing_and_are_no_nan(tiny: LanguageModelAgent) -> None:
    """Dividing by a standard deviation of zero once turned a whole model into NaN; nothing is divided here."""
    found = [s._replace(advantage=0.0) for s in batch(tiny)]
    assert gradient(tiny, found).abs().max() == 0


def test_several_epochs_clip(tiny: LanguageModelAgent) -> None:
    """With a large step the second pass meets ratios outside the clip; REINFORCE moves on, PPO stops."""
    found = [s._replace(advantage=1.0) for s in batch(tiny, games=5)]

    def moved(objective: PolicyGradient) -> float:
        agent = copy.deepcopy(tiny)
        Learner(agent, objective, lr=1e-3, epochs=8).update(found)
        pairs = zip(agent.model.parameters(), tiny.model.parameters(), strict=True)
        return sum((a - b).abs().sum().item() for a, b in pairs)

    small, none = PolicyGradient(clip_low=0.01, clip_high=0.01), PolicyGradient(clip_low=1.0, clip_high=float("inf"))
    assert moved(small) < moved(none)


def test_entropy_bonus_raises_entropy(tiny: LanguageModelAgent) -> None:
    found = [s._replace(advantage=0.0) for s in batch(tiny)]
    learner = Learner(tiny, PolicyGradient(entropy=1.0), lr=3e-3)
    first = learner.update(found)["entropy"]
    for _ in range(5):
        learner.update(found)
    assert learner.update(found)["entropy"] > first


def test_the_lagged_copy_holds_back_and_catches_up(tiny: LanguageModelAgent) -> None:
    found = batch(tiny)
    learner = Learner(tiny, PolicyGradient(kl=0.1), lr=1e-3, anchor_every=3)
    kls = [learner.update(found)["kl"] for _ in range(5)]
    assert kls[0] == pytest.approx(0.0, abs=1e-6)
    assert min(kls[1:3]) > 1e-4
    assert kls[3] == pytest.approx(0.0, abs=1e-6)  # caught up before the fourth update


def test_the_lagged_copy_is_never_trained(tiny: LanguageModelAgent) -> None:
    learner = Learner(tiny, PolicyGradient(kl=1.0), lr=1e-2)
    before = copy.deepcopy(learner.reference.tensors())
    for _ in range(3):
        learner.update(batch(tiny))
    for name, tensor in learner.reference.tensors().items():
        assert torch.equal(tensor, before[name])


def test_imitation_learns_what_it_is_shown(tiny: LanguageModelAgent) -> None:
    reply = Reply(text="[bet]", prompt_ids=batch(tiny)[0].reply.prompt_ids, ids=tiny.encode_move("bet"))
    learner = Learner(tiny, lr=1e-2)
    losses = [learner.imitate([reply]) for _ in range(20)]
    assert losses[-1] < 0.1 < losses[0]


def test_no_samples_are_refused(tiny: LanguageModelAgent) -> None:
    with pytest.raises(ValueError, match="nothing to learn from"):
        Learner(tiny).update([])


def test_replies_without_tokens_are_refused(tiny: LanguageModelAgent) -> None:
    agent = RandomAgent()
    found = samples(play(GAME, (agent, agent), games=2), RoleBaseline())
    with pytest.raises(ValueError, match="only replies of a language model can be learned from"):
        Learner(tiny).update(found)
