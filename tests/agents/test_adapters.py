"""LoRA adapters on one base: many players in one batch, each exactly as it would play alone or as a full copy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from sparring.agents import (
    LanguageModelAgent,
    Message,
    Policy,
    Prompt,
    Reply,
    SharedAgent,
    make_agent,
    mix,
    tiny_agent,
)
from sparring.agents.adapters import BASE, AdapterAgent, Adapters, add_lora, copy_agent
from sparring.agents.prefix import reply_logits
from sparring.envs import make

pytestmark = [
    # Of PEFT, on transformers and on layers that it adapts itself to.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing."),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False"),
    pytest.mark.filterwarnings("ignore:target_parameters|The following .*_pattern keys:RuntimeWarning"),
]
GAME = make("KuhnPoker-v0")
RULES = "Kuhn poker has three cards, Jack, Queen and King. Each player antes one chip and is dealt one card. "
PLAYERS = ("", "one", "two", BASE)


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(GAME, corpus_games=20, hidden=32)


Maker = Callable[..., LanguageModelAgent]


@pytest.fixture
def agent_of(tiny: LanguageModelAgent, build_model: Callable[[str, int], Any]) -> Maker:
    """Agents with a policy, snapshots "one" and "two" and a base that all differ; `plain` has no adapter."""

    def agent(name: str = "qwen3", *, plain: bool = False, **settings: Any) -> LanguageModelAgent:
        model = build_model(name, len(tiny.tokenizer))
        made = LanguageModelAgent(model, tiny.tokenizer, **{"max_new_tokens": 5, "stop": (), **settings})
        if not plain:
            adapters = add_lora(made, r=4, alpha=6)
            for number, snapshot in enumerate(("one", "two", "")):
                learn(made, number)
                if snapshot:
                    adapters.snapshot(snapshot)
        return made

    return agent


@torch.no_grad()
def learn(agent: LanguageModelAgent, seed: int) -> None:
    """Change the policy at random."""
    noise = torch.Generator().manual_seed(seed)
    for parameter in agent.model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.1)


def asked(text: str, player: str = "", *, noise: int = 0) -> Prompt:
    messages = (Message("user", RULES + text),)
    legal = ("bet", "check")
    return Prompt(
        messages=messages, game=GAME, seat=0, legal=legal, slot=(noise, 0), noise=mix(5, noise), player=player
    )


def crowd(players: Sequence[str] = PLAYERS, *, turn: str = "") -> list[Prompt]:
    """Four prompts a player, two of them the same, and the same ones for all; players mixed."""
    texts = ("Your card: King.", "Your card: Queen. The other one bet.", "Your card: King.", "Jack.")
    asks = [(text, player) for text in texts for player in players]
    return [asked(text + turn, player, noise=i) for i, (text, player) in enumerate(asks)]


def alone(agent: LanguageModelAgent, player: str, prompts: Sequence[Prompt]) -> list[Reply]:
    """What a player answers when nobody else is asked and nothing is remembered."""
    agent.flush()
    return agent.reply([p for p in prompts if p.player == player])


def assert_same(found: Sequence[Reply], expected: Sequence[Reply]) -> None:
    for reply, other in zip(found, expected, strict=True):
        assert (reply.ids, reply.prompt_ids, reply.text) == (other.ids, other.prompt_ids, other.text)
        assert reply.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def of(player: str, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> list[Reply]:
    return [reply for prompt, reply in zip(prompts, replies, strict=True) if prompt.player == player]


# One batch.


@pytest.mark.parametrize("max_new_tokens", [1, 5])
@pytest.mark.parametrize("name", ["qwen3", "gpt2", "deepseek", "gemma3"])
def test_a_mixed_batch_is_what_each_player_says_alone(agent_of: Maker, name: str, max_new_tokens: int) -> None:
    """Three turns in the same slots, so that caches of one player lie in reach of the others."""
    mixed, single = (agent_of(name, max_new_tokens=max_new_tokens) for _ in range(2))
    for turn in ("", " Next turn.", " Next turn. Last turn."):
        prompts = crowd(turn=turn)
        replies = mixed.reply(prompts)
        for player in PLAYERS:
            assert_same(of(player, prompts, replies), alone(single, player, prompts))
    said = {player: [reply.logprobs for reply in of(player, prompts, replies)] for player in PLAYERS}
    assert len({str(logprobs) for logprobs in said.values()}) == len(PLAYERS), "the players should differ"


@pytest.mark.parametrize("max_new_tokens", [1, 5])
def test_all_players_are_read_in_one_pass_a_step(agent_of: Maker, max_new_tokens: int) -> None:
    agent = agent_of(max_new_tokens=max_new_tokens)
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    with agent.model.get_base_model().register_forward_hook(count):
        agent.reply(crowd())
    # One for what each player's prompts have in common, one for the rest and one for each further token.
    assert passes == 1 + max_new_tokens


def test_a_slot_that_changes_hands_leaves_nothing_behind(agent_of: Maker) -> None:
    """The next game in a slot may have another opponent, whose keys and values of the same text are others."""
    agent = agent_of()
    for player in PLAYERS:
        prompts = [asked("Your card: King.", player, noise=3)]
        found = agent.reply(prompts)
        assert_same(found, alone(agent_of(), player, prompts))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_what_peft_computes(tiny: LanguageModelAgent, dtype: torch.dtype) -> None:
    """Ours in one batch against PEFT's own forward, one adapter at a time; alpha / r is no power of two."""
    agent = LanguageModelAgent(tiny_agent(GAME, corpus_games=20, hidden=32).model.to(dtype), tiny.tokenizer)
    adapters = add_lora(agent, r=4, alpha=6)
    ids = torch.arange(12).reshape(4, 3)
    expected = []
    for row, name in enumerate(("one", "two", "")):
        learn(agent, row)
        expected.append(agent.model(ids).logits[row])
        if name:
            adapters.snapshot(name)
    with agent.model.disable_adapter():
        expected.append(agent.model(ids).logits[3])
    with torch.no_grad(), agent.playing(["one", "two", "", BASE]):
        found = agent.model(ids).logits
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5 if dtype == torch.float32 else 0.1, rtol=0)
    torch.testing.assert_close(agent.model(ids).logits[2], expected[2], atol=0, rtol=0)


# Full copies.


def test_adapters_and_full_copies_play_the_same(agent_of: Maker) -> None:
    agent = agent_of(plain=True)
    base = copy_agent(agent, "base")
    adapters = add_lora(agent, r=4)
    learn(agent, 0)
    adapters.snapshot("one")
    copied = copy_agent(agent, "one")
    learn(agent, 1)
    prompts = crowd(("one", BASE))
    assert copied.name == "one"
    assert not any(parameter.requires_grad for parameter in copied.model.parameters())
    for player, other in (("one", copied), (BASE, base)):
        mine = [p for p in prompts if p.player == player]
        plain = [replace(p, player="") for p in mine]
        assert_same(of(player, prompts, agent.reply(prompts)), other.reply(plain))
        for odds, expected in zip(agent.move_probabilities(mine), other.move_probabilities(plain), strict=True):
            assert odds == pytest.approx(expected, abs=1e-6)


def test_a_copy_plays_by_the_same_settings(agent_of: Maker) -> None:
    agent = agent_of(temperature=0.7, max_new_tokens=3, stop=("]", "x"), cache_bytes=7, batch_tokens=300)
    copied = copy_agent(agent, "copy")
    for setting in ("temperature", "max_new_tokens", "stop", "eos", "cache_bytes", "batch_tokens"):
        assert getattr(copied, setting) == getattr(agent, setting), setting
    assert_same(copied.reply(crowd(("",))), agent.reply(crowd(("",))))


def test_a_reference_policy_is_the_same_either_way(agent_of: Maker) -> None:
    """The learner asks for logits of whole replies, over several passes with differing numbers of rows."""
    agent = agent_of(plain=True)
    before = copy_agent(agent, "before")
    add_lora(agent, r=4)
    learn(agent, 0)
    prompts = [agent.encode(asked(text).messages) for text in ("King.", "Queen. Bet.")]
    replies = [(0, (4, 5, 6)), (1, (7,)), (1, (8, 9))]
    with torch.no_grad(), agent.playing(BASE):
        found = reply_logits(agent.model, prompts, replies)
    torch.testing.assert_close(found, reply_logits(before.model, prompts, replies).detach(), atol=1e-5, rtol=0)
    assert not torch.allclose(reply_logits(agent.model, prompts, replies), found, atol=1e-3)


# What is remembered.


@contextmanager
def tokens_read(agent: LanguageModelAgent) -> Iterator[list[int]]:
    """Collect how many tokens each pass reads, pads left out."""
    read: list[int] = []

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        read.append(int(given["attention_mask"][:, -given["input_ids"].shape[1] :].sum()))

    hook = agent.model.get_base_model().register_forward_pre_hook(count, with_kwargs=True)
    yield read
    hook.remove()


@pytest.mark.parametrize("max_new_tokens", [1, 5])
def test_learning_changes_the_policy_and_leaves_what_snapshots_read(agent_of: Maker, max_new_tokens: int) -> None:
    agent = agent_of(max_new_tokens=max_new_tokens)
    prompts = crowd()
    before = agent.reply(prompts)
    optimizer = torch.optim.SGD([p for p in agent.model.parameters() if p.requires_grad], lr=0.5)
    agent.model(torch.arange(8)[None]).logits.logsumexp(-1).sum().backward()
    optimizer.step()
    frozen = [p for p in prompts if p.player]
    with tokens_read(agent) as read:
        after = agent.reply(prompts)
    for player in PLAYERS[1:]:
        assert_same(of(player, prompts, after), of(player, prompts, before))
    assert_same(of("", prompts, after), alone(agent, "", prompts))
    assert [r.logprobs for r in of("", prompts, after)] != [r.logprobs for r in of("", prompts, before)]
    agent.flush()
    with tokens_read(agent) as cold:
        agent.reply(prompts)
    # One player's prompts of four; of the others' at most the last token and what they say.
    assert sum(read[:2]) < sum(cold[:2]) / 2
    with tokens_read(agent) as known:
        agent.reply(frozen)
    assert max_new_tokens > 1 or not known


def test_snapshots_that_come_and_go_leave_what_others_read(agent_of: Maker) -> None:
    """Every one that a full pool takes in once made all of them forget."""
    agent = agent_of(max_new_tokens=1)
    prompts = crowd(("two",))
    before = agent.reply(prompts)
    assert agent.adapters is not None
    agent.adapters.delete("one")
    agent.adapters.snapshot("three")
    with tokens_read(agent) as read:
        assert_same(agent.reply(prompts), before)
    assert not read


def test_a_name_that_comes_again_is_another_player(agent_of: Maker) -> None:
    agent = agent_of()
    prompts = crowd(("one",))
    before = agent.reply(prompts)
    assert agent.adapters is not None
    agent.adapters.delete("one")
    agent.adapters.snapshot("one")
    after = agent.reply(prompts)
    assert [r.logprobs for r in after] != [r.logprobs for r in before]
    assert_same(after, agent.reply([replace(p, player="") for p in prompts]))


def test_snapshots_are_not_weights_of_the_model(agent_of: Maker) -> None:
    """An optimizer, a checkpoint or a copy of the model would drag sixteen of them along."""
    agent = agent_of()
    names = {name for name, p in agent.model.named_parameters() if p.requires_grad}
    assert names
    assert all(".lora_" in name for name in names)
    assert agent.adapters is not None
    before = set(agent.model.state_dict())
    agent.adapters.snapshot("three")
    assert set(agent.model.state_dict()) == before


# Adapters as players.


def test_adapter_agents_are_asked_through_their_engine(agent_of: Maker) -> None:
    agent = agent_of()
    player = AdapterAgent(agent, "two", "second")
    assert isinstance(player, SharedAgent)
    assert isinstance(player, Policy)
    assert (player.name, player.engine, AdapterAgent(agent, "two").name) == ("second", agent, "two")
    prompts = crowd(("",))
    through = [replace(p, player="two") for p in prompts]
    assert [player.address(p) for p in prompts] == through
    assert_same(player.reply(prompts), alone(agent_of(), "two", through))
    (odds,) = player.move_probabilities(prompts[:1])
    (own,) = agent.move_probabilities(prompts[:1])
    assert odds != pytest.approx(own, rel=1e-2)


# Files.


def test_a_saved_player_is_an_ordinary_model_with_the_adapter_merged(agent_of: Maker, tmp_path: Path) -> None:
    from peft import PeftModel

    agent = agent_of()
    agent.save_pretrained(tmp_path)
    ids = torch.arange(12).reshape(2, 6)
    expected = agent.model(ids).logits
    weights = load_file(tmp_path / "model.safetensors")
    assert not any("lora" in name or "base_layer" in name for name in weights)
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(tmp_path)(ids).logits, expected)
    player = make_agent(str(tmp_path), device="cpu", max_new_tokens=5, stop=())
    assert_same(player.reply(crowd(("",))), agent.reply(crowd(("",))))
    base = agent_of(plain=True).model
    torch.testing.assert_close(PeftModel.from_pretrained(base, tmp_path / "adapter")(ids).logits, expected)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 4


def test_weights_travel_by_name(agent_of: Maker) -> None:
    agent = agent_of()
    adapters = agent.adapters
    assert adapters is not None
    saved = {key: tensor.clone() for key, tensor in adapters.tensors("one").items()}
    adapters.load("again", saved)
    prompts = crowd(("one", "again"))
    replies = agent.reply([replace(p, noise=mix(1, i // 2)) for i, p in enumerate(prompts)])
    assert_same(of("again", prompts, replies), of("one", prompts, replies))
    adapters.load("", saved)
    assert all(torch.equal(adapters.tensors()[key], tensor) for key, tensor in saved.items())
    assert adapters.names == ("one", "two", "again")


# Errors and repeatability.


def test_first_weights_follow_the_seed_and_change_nothing_yet(agent_of: Maker) -> None:
    agents = [agent_of(plain=True) for _ in range(3)]
    before = agents[0].reply(crowd(("",)))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, same, other = (add_lora(agent, seed=seed).tensors() for agent, seed in zip(agents, (3, 3, 4), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    assert_same(agents[0].reply(crowd(("",))), before)


def test_mistakes_name_the_remedy(agent_of: Maker) -> None:
    plain, agent = agent_of(plain=True), agent_of()
    adapters = agent.adapters
    assert adapters is not None
    with pytest.raises(ValueError, match="see add_lora"):
        plain.reply([asked("King.", "one")])
    with pytest.raises(ValueError, match=r"no snapshot 'on'; known: one, two"):
        agent.reply([asked("King.", "on")])
    with pytest.raises(ValueError, match="has a LoRA adapter already"):
        add_lora(agent)
    for name in ("one", BASE, "a/b", "..", ""):
        if name:
            with pytest.raises(ValueError, match="can name no new snapshot"):
                adapters.snapshot(name)
        with pytest.raises(ValueError, match="no snapshot"):
            adapters.delete(name if name != "one" else "three")
    with pytest.raises(ValueError, match=r"differ in .*lora_A"):
        adapters.load("three", {})
    with pytest.raises(ValueError, match="the base has no adapter"):
        adapters.tensors(BASE)
    assert adapters.names == ("one", "two")


def test_players_do_not_nest_and_leave_the_model_as_it_was(agent_of: Maker) -> None:
    agent = agent_of()
    ids = torch.arange(6)[None]
    before = agent.model(ids).logits
    with agent.playing("one"), pytest.raises(RuntimeError, match="leave that context first"):
        agent.reply(crowd(("",)))
    torch.testing.assert_close(agent.model(ids).logits, before, atol=0, rtol=0)
    with pytest.raises(ValueError, match="one row a prompt"), agent.playing(["one", "two"]):
        agent.model(ids)
    torch.testing.assert_close(agent.model(ids).logits, before, atol=0, rtol=0)


def test_adapted_embeddings_are_refused(agent_of: Maker) -> None:
    agent = agent_of(plain=True)
    with pytest.raises(ValueError, match="choose other targets"):
        add_lora(agent, targets=["q_proj", "embed_tokens"])


def test_targets_choose_layers(agent_of: Maker) -> None:
    agent = agent_of(plain=True)
    adapters: Adapters = add_lora(agent, targets=["q_proj"])
    assert {key.rsplit(".", 3)[-3] for key in adapters.tensors()} == {"q_proj"}
