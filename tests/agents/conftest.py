"""Small models of many architectures, with random weights, so that what is true of one is not taken for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers

COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    # Large, so that what was read before shows in the logits.
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
}
HYBRID = ["sliding_attention", "full_attention"]
OLD = {"initializer_range": 0.2, "bos_token_id": None, "eos_token_id": 2}
# Class, and what its config is made with. A window is shorter than the prompts, so that it matters.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", COMMON),
    "llama_eager": ("Llama", COMMON | {"attn_implementation": "eager"}),
    "qwen3": ("Qwen3", COMMON | {"head_dim": 8}),
    "gpt2": ("GPT2", OLD | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "deepseek": ("DeepseekV3", COMMON | LATENT),
    "mistral": ("Mistral", COMMON | {"sliding_window": 8}),
    "gemma3": ("Gemma3", COMMON | {"head_dim": 8, "sliding_window": 8, "layer_types": HYBRID}),
    "lfm2": ("Lfm2", COMMON | {"layer_types": ["conv", "full_attention"]}),
    "mpt": ("Mpt", OLD | {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512}),
    "gpt_neo": (
        "GPTNeo",
        OLD
        | {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "window_size": 8,
            "max_position_embeddings": 512,
        }
        | {"attention_types": [[["global", "local"], 1]]},
    ),
    "mamba": ("Mamba", OLD | {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
}
CONFIGS = {"Gemma3": "Gemma3TextConfig"}
HEADS = {"GPT2": "GPT2LMHeadModel"}


def build(name: str, vocabulary: int) -> Any:
    """Return a model of `ARCHITECTURES` with random weights, the same every time."""
    kind, settings = ARCHITECTURES[name]
    attention = {k: v for k, v in settings.items() if k == "attn_implementation"}
    shape = {k: v for k, v in settings.items() if k not in attention}
    config = getattr(transformers, CONFIGS.get(kind, f"{kind}Config"))(vocab_size=vocabulary, **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, HEADS.get(kind, f"{kind}ForCausalLM"))._from_config(config, **attention)
    return model.eval()


@pytest.fixture(scope="session")
def build_model() -> Callable[[str, int], Any]:
    return build


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
