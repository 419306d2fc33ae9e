from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparring.agents.prefix import (
    EMPTY,
    SHARE_FROM,
    Context,
    Ids,
    can_continue,
    can_cut,
    common_length,
    in_batches,
    prompt_states,
    read_shared,
    reply_logits,
    reply_logits_and_states,
)

VOCABULARY = 64
TOLERANCE = 2e-5
"""Of logits in float32; a token forgotten or counted twice moves them by 0.1 or more."""
CUT = ["llama", "llama_eager", "qwen3", "gpt2", "deepseek"]
WHOLE = ["mistral", "gemma3", "lfm2", "mpt", "gpt_neo"]


@pytest.fixture(scope="module")
def models(build_model: Callable[[str, int], Any]) -> dict[str, Any]:
    return {name: build_model(name, VOCABULARY) for name in [*CUT, *WHOLE]}


def tokens(seed: int, *lengths: int) -> list[Ids]:
    rng = np.random.default_rng(seed)
    return [tuple(rng.integers(3, VOCABULARY, n).tolist()) for n in lengths]


def plain(model: Any, ids: Ids) -> Tensor:
    """The logits after each token, read by itself: no cache, no padding, no company."""
    logits: Tensor = model(input_ids=torch.tensor([ids])).logits[0].float()
    return logits


class Spy:
    """A model that counts the tokens it is given, pads included, and the calls that want every layer's states."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.shapes: list[tuple[int, ...]] = []
        self.asked_states = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, *, input_ids: Tensor, **rest: Any) -> Any:
        self.shapes.append(tuple(input_ids.shape))
        self.asked_states += "output_hidden_states" in rest
        return self.model(input_ids=input_ids, **rest)


@given(st.lists(st.integers(0, 1), max_size=8), st.lists(st.integers(0, 1), max_size=8))
def test_common_length_counts_the_leading_equal_tokens(a: list[int], b: list[int]) -> None:
    n = common_length(tuple(a), tuple(b))
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@pytest.mark.parametrize("name", [*CUT, *WHOLE])
def test_caches_are_cut_only_where_that_is_exact(models: dict[str, Any], name: str) -> None:
    # MPT and GPT-Neo have caches that look plain, but count distance in columns, pads included.
    assert can_cut(models[name]) == (name in CUT)
    assert can_continue(models[name])


def test_a_model_that_keeps_its_own_kind_of_cache_is_known(build_model: Callable[[str, int], Any]) -> None:
    # Mamba swallows past_key_values among its keyword arguments, and forgets what it read without a word.
    assert not can_continue(build_model("mamba", VOCABULARY))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_wrapped_models_are_judged_by_what_is_inside(build_model: Callable[[str, int], Any]) -> None:
    from peft import LoraConfig, get_peft_model

    model = build_model("llama", VOCABULARY)
    compiled = torch.compile(model, backend="eager")
    assert can_continue(compiled)
    assert can_cut(compiled)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    assert can_continue(adapted)
    assert can_cut(adapted)


@pytest.mark.parametrize("name", [*CUT, *WHOLE])
@torch.no_grad()
def test_reading_in_a_batch_equals_reading_alone(models: dict[str, Any], name: str) -> None:
    """Ragged prompts, then a token a time, with rows dropped, repeated and reordered on the way."""
    model = models[name]
    rows = tokens(0, 5, 21, 1)
    context = Context(model, [(EMPTY, 0)] * 3)
    logits_BV = context.read(rows)
    for step in range(10):
        expected = torch.stack([plain(model, ids)[-1] for ids in rows])
        assert logits_BV.isfinite().all()
        torch.testing.assert_close(logits_BV, expected, rtol=0, atol=TOLERANCE)
        if step == 3:
            context.select([2, 1, 1])
            rows = [rows[2], rows[1], rows[1]]
        if step == 6:
            context.select([1, 0])
            rows = [rows[1], rows[0]]
        more = tokens(step, *[1] * len(rows))
        rows = [a + b for a, b in zip(rows, more, strict=True)]
        logits_BV = context.read(more)


@pytest.mark.parametrize("name", CUT)
@torch.no_grad()
def test_reading_on_from_a_cut_past_equals_reading_all(models: dict[str, Any], name: str) -> None:
    model = models[name]
    rows = tokens(1, 12, 30, 4)
    context = Context(model, [(EMPTY, 0)] * 3)
    context.read(rows)
    one, two, three = context.pasts([(0, rows[0]), (1, rows[1]), (2, rows[2])])
    starts = [(two, 30), (one, 7), (EMPTY, 0), (three, 1)]
    chunks = tokens(2, 1, 9, 5, 3)
    reading = Context(model, starts)
    logits_BV = reading.read(chunks)
    whole = [past.ids[:n] + chunk for (past, n), chunk in zip(starts, chunks, strict=True)]
    expected = torch.stack([plain(model, ids)[-1] for ids in whole])
    torch.testing.assert_close(logits_BV, expected, rtol=0, atol=TOLERANCE)
    # And what this reading remembers, pads in the middle of its rows, can be cut in turn.
    (again,) = reading.pasts([(1, whole[1])])
    torch.testing.assert_close(
        Context(model, [(again, 10)]).read([(5, 6)])[0],
        plain(model, (*whole[1][:10], 5, 6))[-1],
        rtol=0,
        atol=TOLERANCE,
    )


@torch.no_grad()
def test_a_past_takes_the_bytes_it_says(models: dict[str, Any]) -> None:
    (ids,) = tokens(3, 17)
    context = Context(models["deepseek"], [(EMPTY, 0)])
    context.read([ids])
    (past,) = context.pasts([(0, ids)])
    assert past.kv is not None
    assert past.bytes == past.kv.untyped_storage().nbytes() == 17 * context.token_bytes
    assert EMPTY.bytes == 0
    assert context.pasts([]) == []


REPLIES = ((0, 1), (1, 6), (2, 2), (0, 4), (2, 1))


@pytest.mark.parametrize("name", [*CUT, *WHOLE])
@torch.no_grad()
def test_reply_logits_equal_plain_forward_passes(models: dict[str, Any], name: str) -> None:
    """Replies of unlike lengths to prompts of unlike lengths.

    Sliding windows once counted the pads between a prompt and a shorter reply as tokens: logits were off by 3.
    """
    model = models[name]
    prompts = [(7,) * (SHARE_FROM + 2) + ids for ids in tokens(4, 3, 1, 11)]
    replies = [(p, tokens(10 + i, n)[0]) for i, (p, n) in enumerate(REPLIES)]
    expected = [plain(model, prompts[p] + ids)[len(prompts[p]) - 1 : -1] for p, ids in replies]
    torch.testing.assert_close(reply_logits(model, prompts, replies), torch.cat(expected), rtol=0, atol=TOLERANCE)
    single = [(p, ids[:1]) for p, ids in replies]
    torch.testing.assert_close(
        reply_logits(model, prompts, single), torch.stack([x[0] for x in expected]), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_gradients_flow_through_shared_prefixes(models: dict[str, Any], name: str) -> None:
    model = models[name]
    prompts = [(9,) * (SHARE_FROM + 4) + ids for ids in tokens(5, 2, 6)]
    replies = [(0, (4, 5)), (1, (6,)), (1, (7, 8, 9))]

    def gradients(logits_NV: Tensor) -> list[Tensor]:
        model.zero_grad()
        logits_NV.log_softmax(-1)[:, 3].sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    whole = [plain(model, prompts[p] + ids)[len(prompts[p]) - 1 : -1] for p, ids in replies]
    expected = gradients(torch.cat(whole))
    got = gradients(reply_logits(model, prompts, replies))
    assert sum(float(g.abs().sum()) for g in expected) > 1
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_common_prefix_is_read_once(models: dict[str, Any]) -> None:
    spy = Spy(models["qwen3"])
    prompts = [(5,) * 20 + (i, 3) for i in range(6, 10)]
    _, logits_BV = read_shared(spy, prompts)
    assert spy.shapes == [(1, 20), (4, 2)]
    torch.testing.assert_close(
        logits_BV, torch.stack([plain(spy.model, ids)[-1] for ids in prompts]), rtol=0, atol=TOLERANCE
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "prompts",
    [[(5,) * 20], [(5,) * 20, (5,) * 21], [(5,) * (SHARE_FROM - 1) + (i,) for i in (3, 4)], [(6,), (7, 7)]],
    ids=["alone", "one the prefix of the other", "too little in common", "nothing in common"],
)
def test_any_prompts_can_be_read_together(models: dict[str, Any], prompts: list[Ids]) -> None:
    _, logits_BV = read_shared(models["qwen3"], prompts)
    expected = torch.stack([plain(models["qwen3"], ids)[-1] for ids in prompts])
    torch.testing.assert_close(logits_BV, expected, rtol=0, atol=TOLERANCE)


def final_state(model: Any, ids: Ids) -> Tensor:
    """The final hidden state at the last of some tokens, read by themselves."""
    states: Tensor = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -1].float()
    return states


@pytest.mark.parametrize("name", [*CUT, *WHOLE])
@torch.no_grad()
def test_states_are_those_at_the_last_prompt_token(models: dict[str, Any], name: str) -> None:
    """Ragged prompts, replies read on from them; the state is the one that the output layer turns into logits."""
    model = models[name]
    prompts = [(7,) * (SHARE_FROM + 2) + ids for ids in tokens(4, 3, 1, 11)]
    replies = [(p, tokens(10 + i, n)[0]) for i, (p, n) in enumerate(REPLIES)]
    expected = torch.stack([final_state(model, ids) for ids in prompts])
    logits_NV, states_PH = reply_logits_and_states(model, prompts, replies)
    torch.testing.assert_close(states_PH, expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(prompt_states(model, prompts), expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(logits_NV, reply_logits(model, prompts, replies), rtol=0, atol=0)
    last_PV = torch.stack([plain(model, ids)[-1] for ids in prompts])
    torch.testing.assert_close(model.get_output_embeddings()(states_PH), last_PV, rtol=0, atol=1e-4)


@torch.no_grad()
def test_states_do_not_depend_on_the_replies(models: dict[str, Any]) -> None:
    prompts = tokens(6, 12, 4)
    _, some = reply_logits_and_states(models["qwen3"], prompts, [(0, (4, 5, 6)), (1, (7,))])
    _, others = reply_logits_and_states(models["qwen3"], prompts, [(0, (9,)), (0, (8, 8)), (1, (3, 3, 3, 3))])
    assert torch.equal(some, others)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@torch.no_grad()
def test_states_come_through_adapters(build_model: Callable[[str, int], Any]) -> None:
    from peft import LoraConfig, get_peft_model

    base = build_model("llama", VOCABULARY)
    prompts = [(5,) * 20 + (i, 3) for i in range(6, 10)]
    before = prompt_states(base, prompts)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    model = get_peft_model(base, config).eval()
    states_PH = prompt_states(model, prompts)
    expected = torch.stack([final_state(model, ids) for ids in prompts])
    torch.testing.assert_close(states_PH, expected, rtol=0, atol=TOLERANCE)
    assert (states_PH - before).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_gradients_of_states_flow_through_shared_prefixes(models: dict[str, Any], name: str) -> None:
    model = models[name]
    prompts = [(9,) * (SHARE_FROM + 4) + ids for ids in tokens(5, 2, 6)]

    def gradient(states_PH: Tensor) -> Tensor:
        model.zero_grad()
        states_PH[:, ::2].square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    expected = gradient(torch.stack([final_state(model, ids) for ids in prompts]))
    assert expected.abs().sum() > 1
    torch.testing.assert_close(gradient(prompt_states(model, prompts)), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_only_who_asks_for_states_pays_for_them(models: dict[str, Any]) -> None:
    spy = Spy(models["qwen3"])
    prompts = [(5,) * 20 + (i, 3) for i in range(6, 10)]
    replies = [(0, (4, 5))]
    reply_logits(spy, prompts, replies)
    Context(spy, [(EMPTY, 0)]).read([prompts[0]])
    assert spy.asked_states == 0
    spy.shapes.clear()
    reply_logits_and_states(spy, prompts, replies)
    # The common prefix, what the prompts have of their own, the reply: states of the second only.
    assert spy.shapes == [(1, 20), (4, 2), (1, 1)]
    assert spy.asked_states == 1


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9).map(tuple), max_size=12), st.integers(1, 30))
def test_batches_hold_every_prompt_once_and_no_more_tokens_than_allowed(prompts: list[Ids], most: int) -> None:
    found = list(in_batches(prompts, most))
    assert sorted(ids for batch in found for ids in batch) == sorted(prompts)
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) <= most for batch in found)
