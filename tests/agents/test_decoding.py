"""Sampling in batches and from caches must change nothing but the time it takes.

Where two ways of computing are compared token for token, a number may fall within rounding error (1e-6) of the edge
between two tokens. Over the few hundred tokens compared that happens with odds below one in a thousand, and then
always on the same machine, since every seed is fixed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from sparring.agents import LanguageModelAgent, Message, Prompt, Reply, mix, tiny_agent, uniform
from sparring.agents import decoding as decoding_module
from sparring.agents.decoding import Decoder, _inverse_cdf
from sparring.agents.language_model import REMEMBERED
from sparring.agents.prefix import Past, common_length
from sparring.envs import make

GAME = make("KuhnPoker-v0")
RULES = "You are playing a game of words. Say one word a turn, and never the same word twice."
CUT = ["tiny", "llama", "gpt2", "deepseek"]
WHOLE = ["mistral", "gemma3", "lfm2"]
Maker = Callable[..., LanguageModelAgent]


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(GAME, corpus_games=20)


@pytest.fixture(scope="module")
def agent_of(tiny: LanguageModelAgent, build_model: Callable[[str, int], Any]) -> Maker:
    models = {name: build_model(name, len(tiny.tokenizer)) for name in [*CUT[1:], *WHOLE]} | {"tiny": tiny.model}

    def agent(name: str = "tiny", **settings: Any) -> LanguageModelAgent:
        return LanguageModelAgent(models[name], tiny.tokenizer, **{"stop": (), "max_new_tokens": 6, **settings})

    return agent


def user(text: str, *, slot: tuple[int, int] = (0, 0), noise: int = 0) -> Prompt:
    return Prompt(
        messages=(Message("user", text),), game=GAME, seat=slot[1], legal=None, slot=slot, noise=mix(noise, 0)
    )


def answered(prompt: Prompt, reply: Reply, text: str) -> Prompt:
    """The next turn of the chat: what was replied, and what came then."""
    messages = (*prompt.messages, Message("assistant", reply.text), Message("user", text))
    return replace(prompt, messages=messages, noise=mix(prompt.noise, 1))


def openings(count: int) -> list[Prompt]:
    return [user(f"{RULES} You are number {i}." + " Go on." * (i % 3), slot=(i, i % 2), noise=i) for i in range(count)]


@torch.no_grad()
def by_hand(agent: LanguageModelAgent, prompt: Prompt) -> tuple[list[int], list[float]]:
    """Sample one reply the slow way: every token from a whole forward pass, by inverting the distribution."""
    ids, said, logprobs = list(agent.encode(prompt.messages)), [], []
    for step in range(agent.max_new_tokens):
        logits = agent.model(input_ids=torch.tensor([ids + said])).logits[0, -1].float()
        logp = torch.log_softmax(logits / agent.temperature, -1)
        cdf = logp.double().exp().cumsum(0).numpy()
        token = int(np.searchsorted(cdf, uniform(prompt.noise, step) * cdf[-1], side="right"))
        said.append(token)
        logprobs.append(float(logp[token]))
        if token in agent.eos:
            break
    return said, logprobs


def assert_same(replies: Sequence[Reply], others: Sequence[Reply]) -> None:
    for reply, other in zip(replies, others, strict=True):
        assert (reply.ids, reply.prompt_ids, reply.text) == (other.ids, other.prompt_ids, other.text)
        assert reply.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@contextmanager
def passes(agent: LanguageModelAgent) -> Iterator[list[tuple[int, int]]]:
    """Record the rows and columns of every forward pass."""
    shapes: list[tuple[int, int]] = []
    hook = agent.model.register_forward_pre_hook(
        lambda _module, _args, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield shapes
    hook.remove()


# Cached, uncached and plain generation.


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", [*CUT, *WHOLE])
def test_cached_uncached_and_plain_generation_agree(agent_of: Maker, name: str, temperature: float) -> None:
    """Four chats of three turns. Lfm2, which is recurrent in part, once could not be sampled at all."""
    cached = agent_of(name, temperature=temperature)
    uncached = agent_of(name, temperature=temperature, cache_bytes=0)
    prompts = openings(4)
    for turn in range(3):
        replies = cached.reply(prompts)
        assert_same(replies, uncached.reply(prompts))
        for prompt, reply in zip(prompts, replies, strict=True):
            ids, logprobs = by_hand(cached, prompt)
            assert list(reply.ids) == ids
            assert reply.logprobs == pytest.approx(logprobs, abs=1e-5)
        prompts = [
            answered(p, r, f"Turn {turn}." + " More." * p.slot[0]) for p, r in zip(prompts, replies, strict=True)
        ]
    assert bool(cached._decoder._slots) == (name in CUT)


@pytest.mark.parametrize("max_new_tokens", [1, 6])
def test_a_later_turn_reads_only_what_is_new(agent_of: Maker, max_new_tokens: int) -> None:
    """One chat by itself. Its whole prompt was once read again every turn, as what all prompts have in common."""
    agent = agent_of(max_new_tokens=max_new_tokens)
    first = user(RULES, noise=1)
    with passes(agent) as shapes:
        (reply,) = agent.reply([first])
    assert shapes == [(1, len(reply.prompt_ids))] + [(1, 1)] * (len(reply.ids) - 1)
    with passes(agent) as shapes:
        (later,) = agent.reply([answered(first, reply, "And now?")])
    known = common_length(reply.prompt_ids + reply.ids[:-1], later.prompt_ids)
    assert known > len(reply.prompt_ids) - 2
    assert shapes[0] == (1, len(later.prompt_ids) - known)


def test_what_prompts_have_in_common_is_read_once(agent_of: Maker) -> None:
    agent = agent_of()
    prompts = openings(5)
    ids = [agent.encode(p.messages) for p in prompts]
    common = common_length(min(ids), max(ids))
    with passes(agent) as shapes:
        agent.reply(prompts)
    assert shapes[:2] == [(1, common), (5, max(map(len, ids)) - common)]
    agent.reply([replace(p, slot=(p.slot[0] + 100, 0)) for p in prompts])
    with passes(agent) as shapes:
        agent.reply([replace(prompts[0], slot=(200, 0))])
    assert shapes[0] == (1, len(ids[0]) - common)


def test_a_known_distribution_is_not_computed_again(agent_of: Maker) -> None:
    agent = agent_of(max_new_tokens=1)
    prompts = openings(3)
    before = agent.reply(prompts)
    with passes(agent) as shapes:
        again = agent.reply(prompts[::-1])
    assert not shapes
    assert_same(again[::-1], before)


# Batches.


def crowd() -> list[Prompt]:
    """Prompts of which some are equal, some with equal noise too, in the slots of twelve chats."""
    texts = [RULES, f"{RULES} Begin.", "Say a word.", f"{RULES} You are number 3, and it is late."]
    return [user(texts[i % 4], slot=(i % 12, 0), noise=i % 9) for i in range(36)]


@pytest.mark.parametrize("max_new_tokens", [1, 6])
@pytest.mark.parametrize("name", ["tiny", "mistral"])
def test_a_reply_does_not_depend_on_its_company(agent_of: Maker, name: str, max_new_tokens: int) -> None:
    prompts = crowd()
    replies = agent_of(name, max_new_tokens=max_new_tokens).reply(prompts)
    agent = agent_of(name, max_new_tokens=max_new_tokens)
    order = np.random.default_rng(0).permutation(len(prompts)).tolist()
    assert_same(agent.reply([prompts[i] for i in order]), [replies[i] for i in order])
    alone = [agent.reply([prompt])[0] for prompt in prompts]
    assert_same(alone, replies)
    for batch_tokens in (1, 300):
        few = agent_of(name, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens)
        assert_same(few.reply(prompts), replies)
    assert len({(r.prompt_ids, r.ids) for r in replies}) > (8 if max_new_tokens == 1 else 30)


def test_batch_tokens_bounds_a_forward_pass(agent_of: Maker) -> None:
    agent = agent_of(batch_tokens=300, cache_bytes=0)
    with passes(agent) as shapes:
        agent.reply(crowd())
    longest = max(len(agent.encode(p.messages)) for p in crowd())
    assert longest < 300
    assert max(rows * columns for rows, columns in shapes) <= 300


def test_batch_tokens_bounds_what_parting_replies_remember(agent_of: Maker) -> None:
    """The samples of a prompt were not counted: thousands of answers of a large model would have been one batch."""
    prompts = [user(f"{RULES} You are number {n % 8}.", slot=(n, 0), noise=n) for n in range(64)]
    longest = max(len(agent_of().encode(p.messages)) for p in prompts)
    most = 17 * (longest + 6)
    agent = agent_of(max_new_tokens=6, batch_tokens=-(-most // REMEMBERED))
    with passes(agent) as shapes:
        replies = agent.reply(prompts)
    # Two prompts of eight rows each, and a third would be too many.
    assert 8 < max(rows for rows, _ in shapes) <= 17
    assert_same(replies, agent_of(max_new_tokens=6).reply(prompts))
    # A reply of one token remembers nothing of its own.
    at_once = agent_of(max_new_tokens=1, batch_tokens=8 * longest)
    with passes(at_once) as shapes:
        at_once.reply(prompts)
    assert max(rows for rows, _ in shapes) == 8


def test_nobody_asks_nobody_answers(agent_of: Maker) -> None:
    assert agent_of().reply([]) == []


# Distributions.


def assert_distributed(tokens: Sequence[int], probability_V: np.ndarray[Any, Any]) -> None:
    """Chi-square against exact probabilities, rare tokens merged; a right sampler fails once in a million seeds."""
    observed = np.bincount(tokens, minlength=len(probability_V)).astype(float)
    expected = probability_V * len(tokens)
    rare = expected < 10
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    kept = expected > 0
    assert observed[~kept].sum() == 0
    assert chisquare(observed[kept], expected[kept] * observed.sum() / expected[kept].sum()).pvalue > 1e-6


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_follow_the_models_distribution(agent_of: Maker, temperature: float) -> None:
    agent = agent_of("gpt2", max_new_tokens=1, temperature=temperature)
    texts = [RULES, "Say a word."]
    prompts = [user(texts[i % 2], slot=(i, 0), noise=i) for i in range(20_000)]
    replies = agent.reply(prompts)
    for k, text in enumerate(texts):
        with torch.no_grad():
            logits = agent.model(torch.tensor([agent.encode((Message("user", text),))])).logits[0, -1]
        exact = torch.softmax(logits.double() / temperature, -1).numpy()
        assert_distributed([r.ids[0] for r in replies[k::2]], exact)


def test_second_tokens_follow_the_distribution_given_the_first(agent_of: Maker) -> None:
    agent = agent_of("gpt2", max_new_tokens=2, temperature=0.4)
    prompt = user(RULES)
    replies = agent.reply([replace(prompt, slot=(i, 0), noise=mix(7, i)) for i in range(10_000)])
    firsts = [r.ids[0] for r in replies if len(r.ids) == 2]
    first = max(set(firsts), key=firsts.count)
    assert firsts.count(first) > 500
    with torch.no_grad():
        ids = (*agent.encode(prompt.messages), first)
        logits = agent.model(torch.tensor([ids])).logits[0, -1]
    exact = torch.softmax(logits.double() / 0.4, -1).numpy()
    assert_distributed([r.ids[1] for r in replies if r.ids[0] == first and len(r.ids) == 2], exact)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12).filter(any),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 3),
)
def test_a_number_picks_the_token_whose_interval_it_falls_in(weights: list[int], number: float, rows: int) -> None:
    logp_BV = (torch.tensor([weights, weights[::-1]]) / sum(weights)).log()
    tokens = _inverse_cdf(logp_BV, np.array([1] * rows + [0]), np.full(rows + 1, number))
    for token, row in zip(tokens.tolist(), [weights[::-1]] * rows + [weights], strict=True):
        assert row[token] > 0, "a token of probability zero"
        below = sum(row[:token]) / sum(row)
        assert below - 1e-6 <= number <= below + row[token] / sum(row) + 1e-6


def test_large_vocabularies_are_inverted_a_few_rows_at_a_time(agent_of: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = agent_of().reply(crowd())
    monkeypatch.setattr(decoding_module, "CDF_NUMBERS", 1)
    assert_same(agent_of().reply(crowd()), expected)


def test_a_diverged_model_is_named(agent_of: Maker) -> None:
    agent = agent_of("llama")
    agent.model = copy.deepcopy(agent.model)
    agent._decoder.model = agent.model
    torch.nn.init.constant_(agent.model.lm_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="learning rate"):
        agent.reply(openings(2))


# New weights.


def _step(kind: Callable[..., torch.optim.Optimizer], **settings: Any) -> Callable[[Any], None]:
    def step(model: Any) -> None:
        optimizer = kind(model.parameters(), lr=0.05, **settings)
        model(input_ids=torch.tensor([[5, 6, 7]])).logits.log_softmax(-1)[..., 9].sum().backward()
        optimizer.step()

    return step


def _load(model: Any) -> None:
    model.load_state_dict({k: v * 1.1 for k, v in model.state_dict().items()})


def _replace(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 1.1


CHANGES: dict[str, Callable[[Any], None]] = {
    "sgd": _step(torch.optim.SGD),
    "adamw": _step(torch.optim.AdamW),
    "adamw foreach": _step(torch.optim.AdamW, foreach=True),
    "adamw fused": _step(torch.optim.AdamW, fused=True),
    "load_state_dict": _load,
    "new tensors": _replace,
}


@pytest.mark.parametrize("max_new_tokens", [1, 4])
@pytest.mark.parametrize("change", CHANGES)
def test_new_weights_are_noticed(tiny: LanguageModelAgent, change: str, max_new_tokens: int) -> None:
    settings: dict[str, Any] = {"stop": (), "max_new_tokens": max_new_tokens}
    agent = LanguageModelAgent(copy.deepcopy(tiny.model), tiny.tokenizer, **settings)
    prompts = openings(3)
    before = agent.reply(prompts)
    CHANGES[change](agent.model)
    after = agent.reply(prompts)
    fresh = LanguageModelAgent(copy.deepcopy(agent.model), tiny.tokenizer, **settings)
    assert_same(after, fresh.reply(prompts))
    assert [r.logprobs for r in after] != [r.logprobs for r in before]


def test_a_new_temperature_is_noticed(agent_of: Maker) -> None:
    """Remembered distributions were once of the temperature before."""
    agent = agent_of(max_new_tokens=1)
    agent.reply(openings(3))
    agent.temperature = 0.3
    assert_same(agent.reply(openings(3)), agent_of(max_new_tokens=1, temperature=0.3).reply(openings(3)))


def test_flush_forgets_everything(agent_of: Maker) -> None:
    agent = agent_of(max_new_tokens=1)
    agent.reply(openings(3))
    assert stored_bytes(agent._decoder) > 0
    agent.flush()
    assert stored_bytes(agent._decoder) == 0


def test_what_is_said_at_once_outlives_the_games(agent_of: Maker) -> None:
    agent = agent_of(max_new_tokens=1)
    before = agent.reply(openings(3))
    agent.forget_games()
    assert not len(agent._decoder._slots)
    with passes(agent) as shapes:
        assert_same(agent.reply(openings(3)), before)
    assert not shapes


def test_no_more_than_half_of_the_memory_outlives_the_games(agent_of: Maker) -> None:
    agent = agent_of(max_new_tokens=1)
    agent.reply(openings(3))
    first = sum(logp_V.nbytes for logp_V in agent._decoder._first.values())
    agent._decoder.cache_bytes = 2 * first
    agent.forget_games()
    assert len(agent._decoder._first) == 3
    agent._decoder.cache_bytes = 2 * first - 2
    agent.forget_games()
    assert not agent._decoder._first


def test_a_model_left_in_training_mode_samples_without_dropout(
    tiny: LanguageModelAgent, build_model: Callable[[str, int], Any]
) -> None:
    agent = LanguageModelAgent(build_model("gpt2", len(tiny.tokenizer)), tiny.tokenizer, max_new_tokens=4)
    before = agent.reply(openings(3))
    agent.model.train()
    agent.flush()
    assert_same(agent.reply(openings(3)), before)


# Memory.


def stored_bytes(decoder: Decoder) -> int:
    """The storage behind everything that a decoder remembers, each counted once and whole."""
    pasts: list[Past] = [*(kept.past for kept in decoder._slots.values()), *decoder._common.values()]
    tensors = [past.kv for past in pasts if past.kv is not None] + list(decoder._first.values())
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


@pytest.mark.parametrize("max_new_tokens", [1, 6])
@pytest.mark.parametrize("cache_bytes", [0, 1, 20_000, 100_000, 300_000, 1 << 28])
def test_memory_is_bounded_and_changes_no_sample(agent_of: Maker, max_new_tokens: int, cache_bytes: int) -> None:
    """Remembered distributions and shared prefixes were once not counted."""
    agent = agent_of(max_new_tokens=max_new_tokens, cache_bytes=cache_bytes)
    plain = agent_of(max_new_tokens=max_new_tokens, cache_bytes=0)
    prompts = openings(6)
    most = 0
    for turn in range(3):
        replies = agent.reply(prompts)
        assert_same(replies, plain.reply(prompts))
        most = max(most, stored_bytes(agent._decoder))
        prompts = [answered(p, r, f"Turn {turn}.") for p, r in zip(prompts, replies, strict=True)]
    assert most <= cache_bytes
    if cache_bytes >= 100_000:
        assert most > cache_bytes // 2 or len(agent._decoder._slots) == len(prompts)
    assert stored_bytes(plain._decoder) == 0


def test_what_a_seat_read_last_makes_room_for_what_it_reads_next(agent_of: Maker) -> None:
    roomy = agent_of()
    first = user(RULES, noise=1)
    later = answered(first, roomy.reply([first])[0], "And now?")
    roomy.reply([later])
    needed = stored_bytes(roomy._decoder)
    agent = agent_of(cache_bytes=needed)
    agent.reply([first])
    assert 0 < stored_bytes(agent._decoder) < needed
    agent.reply([later])
    assert stored_bytes(agent._decoder) == needed


def test_prompts_may_share_a_slot(agent_of: Maker) -> None:
    """As they do where whoever asks keeps no slots."""
    prompts = [replace(p, slot=(0, 0)) for p in crowd()]
    agent = agent_of(cache_bytes=100_000)
    assert_same(agent.reply(prompts), agent_of().reply(crowd()))
    assert stored_bytes(agent._decoder) <= 100_000
    assert_same(agent.reply(prompts), agent_of().reply(crowd()))
