"""Every objective through the learner: batches add up, merging is exact, and what should steer an update does."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from sparring.agents import LanguageModelAgent, Reply, tiny_agent
from sparring.agents.adapters import add_lora, copy_agent
from sparring.envs import make
from sparring.selfplay import Anneal, Learner, PolicyGradient, RoleBaseline, Sample, make_rule, play, samples, self_play
from sparring.selfplay.critic import Critic
from sparring.selfplay.imitation import Imitation
from sparring.selfplay.pairs import Gap, Labelled, Pair, Rated, Weighted
from sparring.selfplay.pool import OpponentPool
from sparring.selfplay.preference import Preference, RelativeReward, SelfPlayPreference, UnpairedPreference
from sparring.selfplay.reference import FrozenAdapter, FullCopy, Remembering
from sparring.selfplay.snapshots import AdapterSnapshots, CopySnapshots

GAME = make("KuhnPoker-v0")


def small_agent(tokens: int = 3) -> LanguageModelAgent:
    return tiny_agent(GAME, corpus_games=20, hidden=16, max_new_tokens=tokens, stop=())


def batch(agent: LanguageModelAgent, games: int = 16) -> list[Sample]:
    found = samples(play(GAME, (agent, agent), games=games, seed=1), RoleBaseline())
    return [sample._replace(target=0.1 * n % 1, value=0.05) for n, sample in enumerate(found)]


def fork_replies(agent: LanguageModelAgent) -> list[tuple[Reply, Reply]]:
    """Pairs of different replies to one prompt."""
    by_prompt: dict[tuple[int, ...], dict[tuple[int, ...], Reply]] = {}
    for sample in batch(agent, games=40):
        by_prompt.setdefault(sample.reply.prompt_ids, {})[sample.reply.ids] = sample.reply
    found = [list(replies.values()) for replies in by_prompt.values()]
    return [pair for replies in found for pair in pairwise(replies)][:10]


def pairs_of(agent: LanguageModelAgent) -> list[Pair]:
    found = fork_replies(agent)
    both = [(0.9, 1.0), (0.4, 2.0)]
    return [Pair(chosen=a, rejected=b, target=target, weight=weight) for a, b in found for target, weight in both]


def gaps_of(agent: LanguageModelAgent) -> list[Gap]:
    return [Gap(a, b, gap, weight) for a, b in fork_replies(agent) for gap, weight in ((2.0, 1.0), (-0.5, 2.0))]


def rated_of(agent: LanguageModelAgent) -> list[Rated]:
    return [Rated(r, rate, w) for pair in fork_replies(agent) for r in pair for rate, w in ((0.9, 1.0), (0.3, 2.0))]


def labelled_of(agent: LanguageModelAgent) -> list[Labelled]:
    return [Labelled(r, good, w) for pair in fork_replies(agent) for good, r in enumerate(pair) for w in (1.0, 0.5)]


def weighted_of(agent: LanguageModelAgent) -> list[Weighted]:
    return [Weighted(r, w) for pair in fork_replies(agent) for r in pair for w in (1.0, 0.5)]


Items = Callable[[LanguageModelAgent], Sequence[Any]]
OBJECTIVES: dict[str, tuple[Callable[[], Any], Items]] = {
    "ppo": (lambda: PolicyGradient(kl=0.3, entropy=0.1), batch),
    "ppo-k3": (lambda: PolicyGradient(kl=0.3, kl_estimator="k3"), batch),
    "dpo": (lambda: Preference("sigmoid", nll=0.1), pairs_of),
    "ipo": (lambda: Preference("ipo", beta=0.3), pairs_of),
    "hinge": (lambda: Preference("hinge", nll=0.1), pairs_of),
    "sppo": (lambda: SelfPlayPreference(eta=2.0), rated_of),
    "rebel": (lambda: RelativeReward(beta=0.3), gaps_of),
    "kto": (lambda: UnpairedPreference(nll=0.1), labelled_of),
    "imitation": (Imitation, weighted_of),
}


def gradient(
    agent: LanguageModelAgent, objective: Any, items: Sequence[Any], *, critic: bool = False, **settings: Any
) -> torch.Tensor:
    """The gradient of a policy that has moved away from its reference; the agent itself stays as it is."""
    agent = copy_agent(agent, "copy")
    agent.model.requires_grad_(True)
    learner = Learner(agent, objective, critic=Critic(agent) if critic else None, max_grad_norm=1e9, lr=0.0, **settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for group in learner.optimizer.param_groups:
            for p in group["params"]:
                p.add_(0.05 * torch.randn(p.shape, generator=generator))
    learner.update(items)
    return torch.cat([p.grad.flatten() for group in learner.optimizer.param_groups for p in group["params"]])


def rounding(gradient_N: torch.Tensor) -> float:
    """What sums in another order may differ by. The longest of these gradients has entries of 17, and the like in
    double precision differ by a tenth of what they do in single."""
    return max(1e-6, 2e-6 * float(gradient_N.abs().max()))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_small_batches_add_up_to_one_large_one(name: str) -> None:
    make_objective, make_items = OBJECTIVES[name]
    agent = small_agent()
    items, critic = make_items(agent), name == "ppo"
    whole = gradient(agent, make_objective(), items, critic=critic)
    assert whole.abs().max() > 1e-4
    parts = gradient(agent, make_objective(), items, critic=critic, batch_tokens=1)
    assert_close(parts, whole, rtol=1e-4, atol=rounding(whole))


def test_pairs_that_count_for_a_power_add_up_over_batches_too() -> None:
    """The power is taken of all comparisons of two replies, which batches of rows must not take apart."""
    agent = small_agent()
    objective, items = RelativeReward(beta=0.3, weight_power=0.5, shrink=2.0), gaps_of(agent)
    whole = gradient(agent, objective, items)
    assert whole.abs().max() > 1e-4
    assert_close(gradient(agent, objective, items, batch_tokens=1), whole, rtol=1e-4, atol=rounding(whole))


def test_what_two_replies_count_for_and_how_far_apart_they_are_by_hand() -> None:
    """Gaps of 2 in one comparison and of -1 in three: a gap of (2 - 3) / (4 + 1) that counts for the root of 4."""
    agent = small_agent()
    (a, b), *_ = fork_replies(agent)
    objective = RelativeReward(beta=0.5, weight_power=0.5, shrink=1.0)
    items = [Gap(a, b, 2.0, 1.0), Gap(a, b, -1.0, 3.0)]
    assert objective.size(items) == 2
    report = Learner(agent, objective, lr=0.0).update(items)
    assert report["gap"] == pytest.approx(0.2)
    # At the reference d = 0 and -0.2 / 0.5 is wanted.
    assert report["loss"] == pytest.approx(0.4**2)


@pytest.mark.parametrize("bad", [{"beta": 0.0}, {"weight_power": -1.0}, {"shrink": -1.0}])
def test_numbers_of_rebel_that_mean_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be (above 0|0 or more)"):
        RelativeReward(**bad)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_merging_equal_items_is_exact(name: str) -> None:
    """The gradient of all items is the weighted mean of those of each item alone, which are never merged."""
    make_objective, make_items = OBJECTIVES[name]
    agent = small_agent()
    objective = make_objective()
    # KTO's reference point is of a whole batch.
    objective.prepare = lambda learner, items: items
    items = list(make_items(agent))[:12]
    items += items[:3]
    assert len(objective.rows(items)) < len(items)
    sizes = [objective.size([item]) for item in items]
    single = [size * gradient(agent, objective, [item]) for item, size in zip(items, sizes, strict=True)]
    mean = sum(single) / sum(sizes)
    assert_close(gradient(agent, objective, items), mean, rtol=0, atol=1e-4 * mean.abs().max().item())


def test_only_sampled_tokens_of_the_learner_get_a_gradient() -> None:
    """Not the prompts, which hold what opponents and environment said, and not an opponent's replies."""
    agent = small_agent()
    opponent = copy_agent(agent, "opponent")
    episodes = list(play(GAME, (agent, opponent), games=20, seed=1, swap=True))
    found = [s._replace(advantage=1.0) for s in samples(episodes, None)]
    theirs = [turn for e in episodes for turn in e.turns if turn.player == 1]
    assert theirs
    assert len(found) == sum(len(e.turns) for e in episodes) - len(theirs)
    logits: list[torch.Tensor] = []

    def keep(module: object, args: object, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
            logits.append(output)

    agent.model.lm_head.register_forward_hook(keep)
    Learner(agent, PolicyGradient()).update(found)
    trained = sum(int((x.grad.abs().sum(-1) > 0).sum()) for x in logits if x.grad is not None)
    distinct = {(s.reply.prompt_ids, s.reply.ids) for s in found}
    # One distribution after each prompt, and one after each token of a reply but the last.
    assert trained == len({prompt for prompt, _ in distinct}) + sum(len(ids) - 1 for _, ids in distinct)


def test_the_first_step_of_ppo_is_that_of_reinforce() -> None:
    agent = small_agent()
    found = batch(agent)
    reinforce = {"clip_low": 1.0, "clip_high": math.inf}

    def moved(epochs: int, **settings: float) -> torch.Tensor:
        learner = Learner(copy.deepcopy(agent), PolicyGradient(**settings), epochs=epochs, lr=1e-2)
        learner.update(found)
        return torch.cat([p.detach().flatten() for p in learner.agent.model.parameters()])

    assert torch.equal(moved(1), moved(1, **reinforce))
    assert not torch.equal(moved(3), moved(3, **reinforce))


@pytest.mark.parametrize(("gap", "weight"), [(0.5, math.exp(0.5)), (1.0, 2.0), (-0.5, math.exp(-0.5))])
def test_importance_weights_by_hand(gap: float, weight: float) -> None:
    """A sampler that thinks its tokens less likely than they are: each counts exp(gap) times, and 2 times at most."""
    agent = small_agent(tokens=1)
    found = batch(agent)
    odd = [s._replace(reply=replace(s.reply, logprobs=(s.reply.logprobs[0] - gap,))) for s in found]

    def first(objective: PolicyGradient, items: list[Sample]) -> tuple[torch.Tensor, dict[str, float]]:
        learner = Learner(copy.deepcopy(agent), objective, lr=0.0, max_grad_norm=1e9)
        report = learner.update(items)
        return torch.cat([p.grad.flatten() for p in learner.agent.model.parameters()]), report

    plain, _ = first(PolicyGradient(), found)
    corrected, report = first(PolicyGradient(importance_cap=2.0), odd)
    assert_close(corrected, weight * plain, rtol=1e-3, atol=1e-6)
    # The mismatch is told, whether or not it is corrected.
    assert report["mismatch_mean"] == pytest.approx(abs(gap), abs=1e-4)
    assert report["mismatch"] == pytest.approx(abs(gap), abs=1e-4)


def shifted(item: Any, gap: float) -> Any:
    """An item whose sampler thought its tokens likelier than they are, by `gap` nats."""

    def shift(reply: Reply) -> Reply:
        return replace(reply, logprobs=tuple(logp + gap for logp in reply.logprobs))

    if isinstance(item, Pair):
        return replace(item, chosen=shift(item.chosen), rejected=shift(item.rejected))
    if isinstance(item, Gap):
        return item._replace(first=shift(item.first), second=shift(item.second))
    return item._replace(reply=shift(item.reply))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_tells_how_far_off_the_sampler_was(name: str) -> None:
    """Only policy gradients once did, and a sampler that was off went unseen under the others."""
    make_objective, make_items = OBJECTIVES[name]
    agent = small_agent()
    items = make_items(agent)
    for gap in (0.0, 0.5):
        odd = [shifted(item, gap) for item in items]
        report = Learner(copy.deepcopy(agent), make_objective(), lr=0.1, epochs=2, minibatches=2).update(odd)
        assert report["mismatch"] == pytest.approx(gap, abs=1e-5)
        assert report["mismatch_mean"] == pytest.approx(gap, abs=1e-5)


def test_what_nobody_sampled_has_no_mismatch() -> None:
    """As with SPIN, whose chosen replies are demonstrations; and where all are, none is told."""
    agent = small_agent()
    found = pairs_of(agent)
    shown = [replace(shifted(pair, 0.5), chosen=replace(pair.chosen, logprobs=())) for pair in found]
    report = Learner(agent, Preference("sigmoid"), lr=0.0).update(shown)
    assert report["mismatch_mean"] == pytest.approx(0.5, abs=1e-5)
    only = [Weighted(pair.chosen, 1.0) for pair in shown]
    assert "mismatch" not in Learner(agent, Imitation(), lr=0.0).update(only)


@pytest.mark.parametrize("estimator", ["exact", "k1", "k2", "k3"])
def test_every_estimate_of_the_kl_holds_the_policy_near_its_reference(estimator: str) -> None:
    def drift(kl: float) -> float:
        agent = small_agent(tokens=1)
        learner = Learner(agent, PolicyGradient(kl=kl, kl_estimator=estimator), lr=3e-3)
        for step in range(10):
            games = play(GAME, (agent, agent), games=64, seed=4, first=64 * step)
            found = [s._replace(advantage=float(s.reply.ids[0] % 2)) for s in samples(games, None)]
            report = learner.update(found)
        return report["kl"]

    assert drift(5.0) < 0.5 * drift(1e-6)


def test_the_weight_of_the_kl_is_steered_to_its_target() -> None:
    """Ziegler et al.: times 1 + clip(KL / target - 1, -0.2, 0.2) n / horizon."""
    agent = small_agent(tokens=1)
    found = batch(agent)
    objective = PolicyGradient(kl=0.5, kl_target=1e-4, kl_horizon=1000)
    learner = Learner(agent, objective, lr=1e-2)
    learner.update(found)  # at the reference: no KL yet, so the weight falls
    assert objective.kl == pytest.approx(0.5 * (1 - 0.2 * len(found) / 1000))
    before = objective.kl
    assert learner.update(found)["kl"] > 2e-4
    assert objective.kl == pytest.approx(before * (1 + 0.2 * len(found) / 1000))


def test_an_update_that_goes_too_far_takes_no_more_steps() -> None:
    def report(limit: float | None) -> dict[str, float]:
        agent = small_agent()
        return Learner(agent, PolicyGradient(), epochs=6, lr=1e-2, kl_stop=limit).update(batch(agent))

    assert report(None)["steps"] == 6
    assert 1 <= report(0.01)["steps"] < 6
    assert report(1e-9)["steps"] == 1  # at least one


def test_minibatches_are_shuffled_by_seed_and_cover_everything() -> None:
    def order(seed: int, updates: int = 0) -> list[list[int]]:
        learner = Learner(small_agent(), epochs=2, minibatches=3, seed=seed)
        learner.updates = updates
        return [part for _, part in learner._parts(list(range(10)))]

    parts = order(1)
    assert [len(part) for part in parts] == [4, 3, 3] * 2
    for epoch in (parts[:3], parts[3:]):
        assert sorted(n for part in epoch for n in part) == list(range(10))
    assert parts[:3] != parts[3:]
    assert order(1) == parts
    assert order(2) != parts
    assert order(1, updates=1) != parts


def weights(agent: LanguageModelAgent) -> list[torch.Tensor]:
    return [p.detach() for p in agent.model.parameters() if p.requires_grad]


def test_a_reference_by_adapter_does_what_a_full_copy_does() -> None:
    found = []
    for kind in (FrozenAdapter, FullCopy):
        agent = small_agent()
        add_lora(agent, r=4, seed=0)
        learner = Learner(agent, PolicyGradient(kl=1.0), lr=1e-2, anchor_every=2)
        if kind is FullCopy:
            learner.reference = Remembering(FullCopy(agent))
        assert isinstance(learner.reference, Remembering)
        assert isinstance(learner.reference.inner, kind)
        items = batch(agent)
        kls = [learner.update(items)["kl"] for _ in range(3)]
        found.append((weights(agent), kls))
    assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-6)
    assert found[0][1][1] > 1e-4  # it mattered


def test_opponents_by_adapter_do_what_full_copies_do() -> None:
    found = []
    for kind in (AdapterSnapshots, CopySnapshots):
        agent = small_agent(tokens=1)
        add_lora(agent, r=4, seed=0)
        pool = OpponentPool(agent, kind(agent), weights={"snapshots": 1.0}, draw="uniform", seed=1)
        rule = make_rule("ppo", Learner(agent))
        rounds = self_play(
            GAME,
            agent,
            rule,
            games=48 * 3,
            batch_games=48,
            opponent=pool,
            snapshot_every=1,
            schedules={"lr": Anneal(1e-2, 1e-2)},
        )
        turns = [[(e.players, t.reply.text) for e in g.episodes for t in e.turns] for g in rounds]
        found.append((weights(agent), turns))
    assert found[0][1] == found[1][1]
    assert len({players for players, _ in found[0][1][-1]}) > 2
    assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
