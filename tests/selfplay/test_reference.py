"""A reference says what its policy says, and is asked once while there is room to remember it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.testing import assert_close

from sparring.agents import LanguageModelAgent, tiny_agent
from sparring.agents.adapters import add_lora
from sparring.agents.prefix import Ids, reply_logits
from sparring.envs import make
from sparring.selfplay.reference import FrozenAdapter, FullCopy, Remembering, make_reference

# Of PEFT, on transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.")
PROMPTS: list[Ids] = [(1, 2, 3), (1, 2, 3, 4), (5, 6)]
REPLIES: list[tuple[int, Ids]] = [(0, (7,)), (1, (8, 9)), (2, (7, 7, 7)), (0, (9, 8))]


@pytest.fixture
def agent() -> LanguageModelAgent:
    return tiny_agent(make("KuhnPoker-v0"), corpus_games=20, hidden=16, max_new_tokens=3, stop=())


@contextmanager
def asked(reference: Remembering, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Ids, Ids]]]:
    """What the policy behind a reference is asked, as (prompt, reply)."""
    found: list[tuple[Ids, Ids]] = []
    ask = reference.inner.logits

    def watched(prompts: list[Ids], replies: list[tuple[int, Ids]]) -> torch.Tensor:
        found.extend((prompts[prompt], ids) for prompt, ids in replies)
        return ask(prompts, replies)

    with monkeypatch.context() as patch:
        patch.setattr(reference.inner, "logits", watched)
        yield found


def test_only_what_is_new_is_asked(agent: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Remembering(FullCopy(agent))
    whole_TV = reply_logits(agent.model, PROMPTS, REPLIES).detach()
    first_TV = reference.logits(PROMPTS[:2], REPLIES[:2])
    assert_close(first_TV, whole_TV[:3], rtol=0, atol=1e-5)
    with asked(reference, monkeypatch) as found:
        # In another order, by other numbers, and one of them twice.
        again_TV = reference.logits(
            [PROMPTS[2], PROMPTS[1], PROMPTS[0]], [(0, (7, 7, 7)), (2, (9, 8)), (1, (8, 9)), (2, (9, 8))]
        )
        assert found == [(PROMPTS[2], (7, 7, 7)), (PROMPTS[0], (9, 8))]
        found.clear()
        reference.logits(PROMPTS, REPLIES)
        assert not found
        reference.flush()
        reference.logits(PROMPTS, REPLIES)
        assert len(found) == len(REPLIES)
    assert_close(again_TV, whole_TV[[3, 4, 5, 6, 7, 1, 2, 6, 7]], rtol=0, atol=1e-5)
    assert not again_TV.requires_grad


@pytest.mark.parametrize("lora", [False, True])
def test_what_was_said_before_does_not_outlive_the_policy_that_said_it(agent: LanguageModelAgent, lora: bool) -> None:
    if lora:
        add_lora(agent, r=2, seed=0)
    reference = make_reference(agent)
    assert isinstance(reference, Remembering)
    assert isinstance(reference.inner, FrozenAdapter if lora else FullCopy)
    before_TV = reference.logits(PROMPTS, REPLIES)
    kept = {name: tensor.clone() for name, tensor in reference.tensors().items()}
    with torch.no_grad():
        for parameter in agent.model.parameters():
            parameter.add_(0.1 * parameter.requires_grad)
    assert_close(reference.logits(PROMPTS, REPLIES), before_TV, rtol=0, atol=0)
    reference.catch_up()
    after_TV = reference.logits(PROMPTS, REPLIES)
    assert (after_TV - before_TV).abs().max() > 1e-3
    reference.load_tensors(kept)
    assert_close(reference.logits(PROMPTS, REPLIES), before_TV, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tokens", [0, 3, 4])
def test_memory_is_bounded_and_changes_nothing(
    agent: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    """Room for none, for the three tokens of the first two replies, and for one more, which nothing fits into."""
    width = agent.model.config.vocab_size * 4
    reference, roomy = Remembering(FullCopy(agent), room=tokens * width), Remembering(FullCopy(agent))
    for _ in range(2):
        for prompts, replies in ((PROMPTS[:2], REPLIES[:2]), (PROMPTS, REPLIES)):
            assert_close(reference.logits(prompts, replies), roomy.logits(prompts, replies), rtol=0, atol=1e-5)
    stored = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in reference._known.values()}
    assert sum(stored.values()) == (3 * width if tokens else 0)
    with asked(reference, monkeypatch) as found:
        reference.logits(PROMPTS, REPLIES)
    assert len(found) == (2 if tokens else 4)
