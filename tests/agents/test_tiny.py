from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from sparring.agents import LanguageModelAgent, Message, ask, mix, tiny_agent
from sparring.envs import Match, list_games, make


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(make("KuhnPoker-v0"), corpus_games=20)


LISTED = [id for id in list_games() if make(id).legal(make(id).deal(np.random.default_rng(0))) is not None]
"""Games whose moves are listed; what may be said in the others is not."""


@pytest.fixture(scope="module", params=LISTED)
def of_each_game(request: pytest.FixtureRequest) -> tuple[Any, LanguageModelAgent]:
    game = make(request.param)
    return game, tiny_agent(game, corpus_games=20, hidden=16)


def weights(agent: LanguageModelAgent) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in agent.model.parameters()])


def test_a_seed_gives_the_same_model_and_tokenizer(tiny: LanguageModelAgent) -> None:
    torch.rand(7)
    np.random.default_rng().random()
    again = tiny_agent(make("KuhnPoker-v0"), corpus_games=20)
    assert torch.equal(weights(again), weights(tiny))
    assert again.tokenizer.get_vocab() == tiny.tokenizer.get_vocab()
    assert again.tokenizer.backend_tokenizer.to_str() == tiny.tokenizer.backend_tokenizer.to_str()
    other = tiny_agent(make("KuhnPoker-v0"), corpus_games=20, seed=1)
    assert not torch.equal(weights(other), weights(tiny))


def test_layers_begin_as_large_as_asked_and_all_else_as_usual(tiny: LanguageModelAgent) -> None:
    large = dict(tiny_agent(make("KuhnPoker-v0"), corpus_games=20, init_scale=2.0).model.named_parameters())
    scaled = {name for name, weight in tiny.model.named_parameters() if torch.equal(large[name], 2 * weight)}
    kept = {name for name, weight in tiny.model.named_parameters() if torch.equal(large[name], weight)}
    assert scaled | kept == large.keys()
    assert scaled == {name for name in large if "_proj" in name}
    assert "model.embed_tokens.weight" in kept


def test_the_global_generators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Seeding through torch.manual_seed would reach the GPU's generators, which are not put back.
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPU's generators were seeded"))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    tiny_agent(make("KuhnPoker-v0"), corpus_games=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_it_is_tiny(tiny: LanguageModelAgent) -> None:
    parameters = sum(p.numel() for p in tiny.model.parameters())
    assert 80_000 < parameters < 150_000
    assert tiny.model.config.model_type == "qwen3"
    assert tiny.name == "tiny"
    # A reply of one token needs no stop string, and without one plain `generate` asks for no tokenizer.
    assert (tiny.max_new_tokens, tiny.stop, tiny.eos) == (1, (), (tiny.tokenizer.eos_token_id,))
    assert tiny_agent(make("KuhnPoker-v0"), corpus_games=5, max_new_tokens=4).stop == ("]",)


@given(st.text(max_size=60))
@example("naïve 🂡 [bet]] [[a b] \t\r\n\u2028\x00 {x}  'd ")
@example("[two  blanks] [ blank] []")
def test_the_tokenizer_loses_nothing(tiny: LanguageModelAgent, text: str) -> None:
    ids = tiny.tokenizer(text, add_special_tokens=False).input_ids
    assert tiny.tokenizer.decode(ids) == text
    # Nor does a prompt lose any of it, whatever else a chat holds.
    assert text in tiny.tokenizer.decode(tiny.encode((Message("user", text),)))


def test_control_tokens_are_single_and_distinct(tiny: LanguageModelAgent) -> None:
    tokenizer = tiny.tokenizer
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, *tokenizer("<|im_start|>").input_ids}) == 3
    ids = tiny.encode((Message("user", "Hello"),))
    assert tokenizer.decode(ids) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert ids.count(tokenizer.eos_token_id) == 1


def test_kuhn_moves_are_one_token(tiny: LanguageModelAgent) -> None:
    assert tiny.max_new_tokens == 1
    assert {len(tiny.encode_move(move)) for move in ("check", "bet", "call", "fold")} == {1}


@pytest.mark.parametrize("name", ["LeducPoker-v0", "TicTacToe-v0"])
def test_moves_that_no_prompt_lists_are_one_token_too(name: str) -> None:
    agent = tiny_agent(make(name, show_legal=False), corpus_games=20, hidden=16)
    assert agent.max_new_tokens == 1


def test_every_legal_move_of_its_game_can_be_said_in_few_tokens(
    of_each_game: tuple[Any, LanguageModelAgent],
) -> None:
    """Moves of games that the corpus did not hold, too."""
    game, agent = of_each_game
    # The critic's moves are answers to a task, other ones in every deal.
    assert agent.max_new_tokens <= (16 if game.name == "Critic-v0" else 4)
    for index in range(30):
        match = Match(game, np.random.default_rng([99, index]))
        while match.seat is not None:
            assert match.legal is not None
            for move in match.legal:
                assert len(agent.encode_move(move)) <= agent.max_new_tokens
            match.step(f"[{match.legal[mix(index, match.turns) % len(match.legal)]}]")


def test_it_plays_its_game(of_each_game: tuple[Any, LanguageModelAgent]) -> None:
    """It is untrained, so what it says is seldom legal; but it reads every prompt and says something."""
    game, agent = of_each_game
    match = Match(game, np.random.default_rng(5))
    turns = 0
    while match.seat is not None:
        prompt = ask(game, match.prompt, match.seat, match.legal, slot=(0, match.seat), noise=mix(1, turns))
        (reply,) = agent.reply([prompt])
        assert len(reply.ids) == len(reply.logprobs) > 0
        (odds,) = agent.move_probabilities([prompt])
        assert match.legal is not None
        assert odds.shape == (len(match.legal),)
        assert (odds > 0).all()
        assert odds.sum() <= 1
        match.step(f"[{match.legal[-1]}]")
        turns += 1
    assert turns > 0


def test_one_model_can_be_made_for_several_games() -> None:
    agent = tiny_agent([make("KuhnPoker-v0"), make("Nim-v0")], corpus_games=20, hidden=16)
    assert len(agent.encode_move("check")) == 1
    assert len(agent.encode_move(make("Nim-v0").legal(make("Nim-v0").deal(np.random.default_rng(0)))[0])) <= 4


@pytest.mark.parametrize("heads", [1, 2, 3, 5])
def test_any_number_of_heads_will_do(heads: int) -> None:
    agent = tiny_agent(make("KuhnPoker-v0"), corpus_games=2, hidden=8 * heads, heads=heads, layers=1)
    assert agent.reply([ask(make("KuhnPoker-v0"), "Card?", 0, None)])[0].ids


@pytest.mark.parametrize(
    ("positions", "order", "far"), [("rotary", True, True), ("none", False, True), ("local", True, False)]
)
def test_one_layer_sees_order_and_what_is_far_as_its_positions_say(positions: str, order: bool, far: bool) -> None:
    agent = tiny_agent(make("KuhnPoker-v0"), corpus_games=2, hidden=32, layers=1, positions=positions)
    text = torch.tensor([[7, 8, 9, 10, 11, 12, 13]])

    def changes(index: list[int]) -> bool:
        with torch.no_grad():
            said, other = (agent.model(ids).logits[0, -1] for ids in (text, text[:, index]))
        return not torch.allclose(said, other, atol=1e-5)

    assert changes([0, 1, 2, 3, 5, 4, 6]) is order
    assert changes([1, 1, 2, 3, 4, 5, 6]) is far


def test_positions_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown positions 'loacl'\. Did you mean 'local'"):
        tiny_agent(make("KuhnPoker-v0"), corpus_games=2, positions="loacl")
