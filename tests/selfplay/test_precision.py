"""Less memory for the same update: bfloat16, activations computed again, and little of a batch that is padding."""

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from sparring.agents import LanguageModelAgent, RandomAgent, Reply, tiny_agent
from sparring.agents.adapters import add_lora
from sparring.agents.precision import compute_in
from sparring.agents.prefix import columns_read, prompt_states, reply_logits
from sparring.agents.whole import recomputing, whole_logits
from sparring.envs import make
from sparring.selfplay import Learner, PolicyGradient, RoleBaseline, Sample, play, samples, warm_start
from sparring.selfplay.assembly import adapt
from sparring.selfplay.critic import Critic
from sparring.selfplay.groups import batches, merge
from sparring.selfplay.imitation import Imitation, Wanted
from sparring.selfplay.pairs import Weighted, demonstrations
from sparring.selfplay.reading import Distinct
from sparring.selfplay.settings import Settings

GAME = make("KuhnPoker-v0")


@pytest.fixture
def tiny() -> LanguageModelAgent:
    # Three tokens a reply, so that replies to one prompt share their first tokens only.
    return tiny_agent(GAME, corpus_games=20, hidden=32, max_new_tokens=3, stop=())


def batch(agent: LanguageModelAgent, games: int = 30) -> list[Sample]:
    return list(samples(play(GAME, (agent, agent), games=games, seed=1), RoleBaseline()))


def distinct(found: Sequence[Sample]) -> Distinct:
    return Distinct(merge(found))


def gradients(agent: LanguageModelAgent, found: list[Sample], **settings) -> list[torch.Tensor]:
    agent = agent if agent.adapters else copy.deepcopy(agent)
    critic = Critic(agent) if settings.pop("critic", False) else None
    objective = PolicyGradient(kl=0.0 if agent.adapters else 0.1)
    learner = Learner(agent, objective, critic=critic, max_grad_norm=1e9, lr=1e-12, **settings)
    learner.update(found)
    return [p.grad for group in learner.optimizer.param_groups for p in group["params"]]


def layer_calls(agent: LanguageModelAgent) -> list[int]:
    """A list that gets an entry whenever the first feed-forward block computes."""
    calls: list[int] = []
    found = [module for name, module in agent.model.named_modules() if name.endswith("layers.0.mlp")]
    # Before it: torch stops computing again as soon as nothing more is needed, which is before a block's end.
    found[0].register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def test_whole_rows_give_the_same_logits_and_states(tiny: LanguageModelAgent) -> None:
    d = distinct(batch(tiny))
    logits, states = whole_logits(tiny.model, d.prompts, d.replies, states=True)
    assert_close(logits, reply_logits(tiny.model, d.prompts, d.replies), rtol=0, atol=1e-5)
    assert_close(states, prompt_states(tiny.model, d.prompts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("critic", [False, True])
def test_recomputed_activations_give_the_same_gradient(tiny: LanguageModelAgent, lora: bool, critic: bool) -> None:
    found = [s._replace(target=0.5) for s in batch(tiny)]
    if lora:
        add_lora(tiny, r=4)
    kept = gradients(tiny, found, critic=critic)
    again = gradients(tiny, found, critic=critic, gradient_checkpointing=True)
    assert max(g.abs().max().item() for g in kept) > 1e-3
    assert_close(again, kept, rtol=1e-4, atol=1e-6)


def test_recomputed_in_small_batches_too(tiny: LanguageModelAgent) -> None:
    found = batch(tiny)
    whole = gradients(tiny, found, gradient_checkpointing=True)
    assert_close(gradients(tiny, found, gradient_checkpointing=True, batch_tokens=1), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_layers_do_compute_again_in_the_backward_pass(tiny: LanguageModelAgent, checkpointing: bool) -> None:
    """transformers checkpoints in training mode only, so in evaluation mode its switch silently saves nothing."""
    d = distinct(batch(tiny))
    calls = layer_calls(tiny)
    logits = (
        whole_logits(tiny.model, d.prompts, d.replies)[0]
        if checkpointing
        else reply_logits(tiny.model, d.prompts, d.replies)
    )
    before = len(calls)
    logits.sum().backward()
    assert len(calls) - before == checkpointing


def test_dropout_stays_off_and_the_model_as_it_was(tiny: LanguageModelAgent) -> None:
    add_lora(tiny, r=4, dropout=0.5)
    d = distinct(batch(tiny))
    with torch.no_grad():
        for module in tiny.model.modules():
            if hasattr(module, "lora_B"):
                module.lora_B["default"].weight.fill_(0.1)
    once, twice = (whole_logits(tiny.model, d.prompts, d.replies)[0] for _ in range(2))
    assert torch.equal(once, twice)
    assert not any("forward" in vars(module) for module in tiny.model.modules())
    with pytest.raises(RuntimeError), recomputing(tiny.model):
        raise RuntimeError
    assert not any("forward" in vars(module) for module in tiny.model.modules())


def test_models_without_layers_to_recompute_are_refused(tiny: LanguageModelAgent) -> None:
    from transformers.modeling_layers import GradientCheckpointingLayer

    for layer in tiny.model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.__class__ = type("Plain", (torch.nn.Module,), {})
    with pytest.raises(ValueError, match="leave gradient checkpointing out"):
        Learner(tiny, gradient_checkpointing=True)


def learns(agent: LanguageModelAgent, **settings) -> tuple[list[float], list[dict[str, float]]]:
    """Reward one of the commonest replies and punish all others; returns its probability over time, and reports."""
    learner = Learner(agent, lr=3e-3, **settings)
    odds, reports = [], []
    for step in range(12):
        found = batch_of(agent, step)
        wanted = agent.encode_move("bet")
        odds.append(sum(s.reply.ids == wanted for s in found) / len(found))
        rewarded = [s._replace(advantage=1.0 if s.reply.ids == wanted else -1.0) for s in found]
        reports.append(learner.update(rewarded))
    return odds, reports


def batch_of(agent: LanguageModelAgent, step: int) -> list[Sample]:
    return list(samples(play(GAME, (agent, agent), games=64, seed=2, first=64 * step), RoleBaseline()))


def warm() -> LanguageModelAgent:
    agent = tiny_agent(GAME, corpus_games=20, hidden=32)
    for _ in warm_start(GAME, agent, steps=60):
        pass
    return agent


@pytest.mark.parametrize("lora", [0, 4])
def test_mixed_precision_learns_and_keeps_weights_and_optimizer_in_float32(lora: int) -> None:
    """With adapters it once ended in an error: what adds them up in place is not autocast."""
    agent = warm()
    if lora:
        add_lora(agent, r=lora, alpha=4 * lora)
    adapt(Settings(mixed_precision="bf16"), agent)
    odds, reports = learns(agent)
    assert odds[-1] > odds[0] + 0.2
    assert all(p.dtype == torch.float32 for p in agent.model.parameters())
    # bfloat16 has 8 bits; that sampler and learner round alike is what keeps this near 0.
    assert 0 < max(r["mismatch_mean"] for r in reports) < 0.02


def test_mixed_precision_computes_in_bfloat16_everywhere(tiny: LanguageModelAgent) -> None:
    compute_in(tiny.model, torch.bfloat16)
    seen: list[torch.dtype] = []
    tiny.model.lm_head.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    found = batch(tiny)
    Learner(tiny, PolicyGradient(kl=1.0)).update(found)
    Learner(tiny, gradient_checkpointing=True).update(found)
    assert set(seen) == {torch.bfloat16}
    assert not torch.is_autocast_enabled("cpu")


def test_a_copy_of_a_model_in_mixed_precision_computes_with_its_own_weights(tiny: LanguageModelAgent) -> None:
    """accelerate's way, a new `forward` on the model, is copied with the original's weights in it."""
    compute_in(tiny.model, torch.bfloat16)
    ids = torch.arange(9)[None]
    other = copy.deepcopy(tiny.model)
    with torch.no_grad():
        before = other(ids).logits
        for p in other.parameters():
            p.mul_(1.5)
        after = other(ids).logits
    assert before.dtype == after.dtype == torch.bfloat16
    assert not torch.equal(before, after)


def test_a_forward_pass_that_fails_leaves_no_autocast_behind(tiny: LanguageModelAgent) -> None:
    compute_in(tiny.model, torch.bfloat16)
    with pytest.raises(IndexError):
        tiny.model(torch.tensor([[10**6]]))
    assert not torch.is_autocast_enabled("cpu")


def test_without_mixed_precision_nothing_is_touched(tiny: LanguageModelAgent) -> None:
    adapt(Settings(), tiny)
    assert not tiny.model._forward_pre_hooks
    assert not tiny.model._forward_hooks


@pytest.mark.parametrize("lora", [0, 4])
def test_a_model_loaded_in_bfloat16_learns(tmp_path: Path, lora: int) -> None:
    warm().save_pretrained(tmp_path)
    agent = LanguageModelAgent.from_pretrained(tmp_path, dtype="bfloat16", device="cpu")
    if lora:
        add_lora(agent, r=lora, alpha=4 * lora)
    odds, reports = learns(agent, gradient_checkpointing=bool(lora), critic=None if lora else Critic(agent))
    assert agent.model.dtype == torch.bfloat16
    assert odds[-1] > odds[0] + 0.2
    assert 0 < max(r["mismatch_mean"] for r in reports) < 0.02


def test_the_padding_that_is_reported_is_what_the_model_was_given(tiny: LanguageModelAgent) -> None:
    d = distinct(batch(tiny))
    given: list[tuple[int, int]] = []

    def count(module: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        ids = kwargs["input_ids"]
        given.append((int(kwargs["attention_mask"][:, -ids.shape[1] :].sum()), ids.numel()))

    tiny.model.register_forward_pre_hook(count, with_kwargs=True)
    reply_logits(tiny.model, d.prompts, d.replies)
    tokens, columns = map(sum, zip(*given, strict=True))
    assert columns_read(tiny.model, d.prompts, d.replies) == (tokens, columns)


@pytest.mark.parametrize("name", ["LeducPoker-v0", "LiarsDice-v0", "TicTacToe-v0"])
def test_little_is_padding_where_prompts_of_like_length_go_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one batch, in which every prompt is as wide as the longest, much more of it is; the update is the same."""
    game = make(name)
    agent, teacher = tiny_agent(game, corpus_games=20, hidden=16), RandomAgent()
    replies = demonstrations(agent, play(game, (teacher, teacher), games=200, seed=1), player=0)
    found = [Weighted(reply, 1.0) for reply in replies]
    little = Learner(agent, Imitation(), lr=0.0).update(found)
    monkeypatch.setattr("sparring.selfplay.groups.MOST_SHORTER", 1.0)
    much = Learner(agent, Imitation(), lr=0.0).update(found)
    assert 0 < little["padding"] < 0.05
    assert much["padding"] > 1.5 * little["padding"]
    assert little["loss"] == pytest.approx(much["loss"], rel=1e-5)
    assert little["grad_norm"] == pytest.approx(much["grad_norm"], rel=1e-4)


def test_a_small_batch_is_not_cut() -> None:
    """A pass of its own for a few tokens would cost more than their pads."""
    rows = [Wanted(Reply(text="", prompt_ids=(1,) * n, ids=(2,))) for n in (5, 90, 10, 40)]
    (one,) = batches(rows, 1 << 15)
    assert [len(row.reply.prompt_ids) for row in one] == [90, 40, 10, 5]
    many = [Wanted(Reply(text="", prompt_ids=(n,) * (100 + n), ids=(2,))) for n in range(60)]
    assert [len(batch) for batch in batches(many, 1 << 15)] == [12, 13, 15, 17, 3]
    assert sorted(row.reply.prompt_ids[0] for batch in batches(many, 1 << 15) for row in batch) == list(range(60))


@pytest.mark.parametrize("whole", [False, True])
def test_many_long_replies_to_few_prompts_are_several_batches(whole: bool) -> None:
    """They were one batch whatever their number, which is what a policy that knows no moves yet replies."""
    rows = [Wanted(Reply(text="", prompt_ids=(n % 3,) * 80, ids=(n,) * 21)) for n in range(300)]
    rows += [Wanted(Reply(text="", prompt_ids=(n % 3,) * 80, ids=(n,))) for n in range(300)]
    found = list(batches(rows, 3000, whole=whole))
    assert sorted(row.reply.ids for batch in found for row in batch) == sorted(row.reply.ids for row in rows)
    longer = [sum(len(row.reply.ids) > 1 for row in batch) for batch in found]
    # Twenty tokens and an eighth of the prompt's, or all of prompt and reply.
    assert max(longer) == (3000 // 101 if whole else 3000 // 30)
    assert len(found) <= (21 if whole else 5)
    # What is one token long costs nothing more than its prompt.
    assert len(list(batches(rows[300:], 3000))) == 1
