"""Small models of many architectures, with random weights, so that what is true of one is not taken for all; and a
server of chat completions that misbehaves as it is told.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
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
    "qwen2": ("Qwen2", COMMON),
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


class ChatServer:
    """A server of chat completions on this machine, which does what a test tells it to, misdeeds included."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        """Headers, in lower case, and body of every request, in the order in which they came."""
        self.answer: Callable[[int, dict[str, Any]], Any] = lambda number, request: completion("[check]")
        """From the number of a request and its body to what comes back: a body, or a function that does it all."""
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append(({name.lower(): text for name, text in self.headers.items()}, body))
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                with suppress(OSError):
                    reply = outer.answer(number, body)
                    with outer._lock:
                        outer._at_once -= 1
                    if callable(reply):
                        reply(self)
                    else:
                        send(reply)(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def completion(text: Any, *, ended: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """Return an ordinary body; `fields` replace its own, or leave them out where they are None."""
    body = {
        "model": "m",
        "choices": [{"index": 0, "finish_reason": ended, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
    } | fields
    return {name: field for name, field in body.items() if field is not None}


def send(
    body: Any, status: int = 200, kind: str = "application/json", **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what sends a body, JSON unless it is bytes; a header's underscores are hyphens."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in {"content_type": kind, "content_length": str(len(sent)), **headers}.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.end_headers()
        handler.wfile.write(sent)

    return write


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    for name in list(os.environ):
        if name.startswith("OPENAI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    running = ChatServer()
    yield running
    running.close()


@pytest.fixture
def chat() -> SimpleNamespace:
    """The words in which a test says what its server does."""
    return SimpleNamespace(completion=completion, send=send)
