"""The last layer is computed where it is asked for, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from sparring.agents.last_layer import FAMILIES, last_columns
from sparring.agents.prefix import EMPTY, Context

VOCABULARY = 64
B, T = 3, 9


@contextmanager
def widths(model: Any) -> Iterator[list[tuple[int, int]]]:
    """Note the columns that the perceptrons of the first and of the last layer are given, a pair a call."""
    layers = model.get_decoder().layers
    first: list[int] = []
    found: list[tuple[int, int]] = []
    handles = [
        layers[0].mlp.register_forward_hook(lambda _, x, __: first.append(x[0].shape[1])),
        # In front of the model's own, but behind what cuts: hooks run in the order in which they were added.
        layers[-1].mlp.gate_proj.register_forward_hook(lambda _, x, __: found.append((first[-1], x[0].shape[1]))),
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def logits(model: Any, ids_BT: Tensor) -> Tensor:
    found: Tensor = model(input_ids=ids_BT).logits
    return found


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_last_columns_their_cache_and_their_gradient_are_the_same(
    build_model: Callable[[str, int], Any], name: str
) -> None:
    model = build_model(name, VOCABULARY)
    ids_BT = torch.arange(B * T).reshape(B, T) % VOCABULARY

    def read() -> tuple[Tensor, list[Tensor], list[Tensor]]:
        model.zero_grad()
        output = model(input_ids=ids_BT, use_cache=True, logits_to_keep=2)
        output.logits.log_softmax(-1)[..., 5].sum().backward()
        cache = [x.detach() for layer in output.past_key_values.layers for x in (layer.keys, layer.values)]
        return output.logits.detach(), cache, [p.grad.clone() for p in model.parameters()]

    whole = read()
    with widths(model) as seen, last_columns(model, 2):
        part = read()
    assert seen == [(T, 2)]
    torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-5)


def test_what_is_read_is_read_so(build_model: Callable[[str, int], Any]) -> None:
    model = build_model("qwen3", VOCABULARY)
    context = Context(model, [(EMPTY, 0)] * 2)
    with widths(model) as seen:
        context.read([(1, 2, 3, 4), (5, 6)])
        context.read_last([(7, 8, 9), (4,)], 2)
        context.read([(7,), (8,)])
    assert seen == [(4, 1), (3, 2), (1, 1)]


def test_models_of_other_families_are_computed_whole(build_model: Callable[[str, int], Any]) -> None:
    model = build_model("gemma3", VOCABULARY)
    with widths(model) as seen, last_columns(model, 1):
        logits(model, torch.ones(1, T, dtype=torch.long))
    assert seen == [(T, T)]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_of_the_last_layer_learn_the_same(build_model: Callable[[str, int], Any]) -> None:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj", "up_proj"], init_lora_weights=False)
    model = get_peft_model(build_model("qwen3", VOCABULARY), lora)
    ids_BT = torch.arange(B * T).reshape(B, T) % VOCABULARY

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        logits(model, ids_BT)[:, -1].log_softmax(-1)[:, 5].sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    whole = gradients()
    with widths(model.get_base_model()) as seen, last_columns(model, 1):
        part = gradients()
    assert seen == [(T, 1)]
    assert any("o_proj" in name for name in whole)
    torch.testing.assert_close(part, whole, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was_even_by_an_error(build_model: Callable[[str, int], Any]) -> None:
    model = build_model("llama", VOCABULARY)
    ids_BT = torch.ones(1, T, dtype=torch.long)
    before = logits(model, ids_BT)
    with pytest.raises(RuntimeError, match="broken"), last_columns(model, 1):
        raise RuntimeError("broken")
    torch.testing.assert_close(logits(model, ids_BT), before, rtol=0, atol=0)
