"""LoRA adapters on one base model: the policy that learns, and frozen snapshots of it that play in the same batch.

Chosen: PEFT holds the adapter that trains; snapshots are bare tensors beside the model, so optimizers, checkpoints and
copies of it never see them. Rows of one player stand together, and each run of rows adds its own low-rank product in
place: PEFT's `adapter_names` gathers and scatters instead. Left out: DoRA, adapted embeddings, adapters of several
ranks.

Shapes: B rows, T columns, I and O a layer's inputs and outputs, R rank.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sparring.envs import near

from .agent import Prompt, Reply
from .language_model import LanguageModelAgent

BASE = "__base__"
"""The player that is the base model without any adapter: the policy before it learned anything."""

_POLICY = "default"
"""What PEFT calls the adapter that learns."""
_NAME = re.compile(r"\w[\w.+-]*")


class _Delta(NamedTuple):
    """What one adapter adds to one layer."""

    down_RI: Tensor
    up_OR: Tensor


class _Layer(NamedTuple):
    """A linear layer with adapters."""

    name: str
    """As in PEFT's files."""
    module: Any
    frozen: dict[str, _Delta]
    """The snapshots, by name."""

    def delta(self, player: str) -> _Delta | None:
        """Return what a player's adapter adds, up to scale; None for the base."""
        if player == BASE:
            return None
        if player:
            return self.frozen[player]
        return _Delta(self.module.lora_A[_POLICY].weight, self.module.lora_B[_POLICY].weight)


class Adapters:
    """The adapter of an agent's policy and the snapshots of it."""

    def __init__(self, model: Any) -> None:
        """Take a `PeftModel` whose adapter "default" is plain LoRA on linear layers; raise ValueError if it is not."""
        from peft.tuners.lora import Linear, LoraLayer

        self.model = model
        self.serials: dict[str, int] = {}
        """Each snapshot's number among all that there ever were: a name that comes back means another one."""
        self._made = 0
        found = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
        odd = [name for name, module in found if not isinstance(module, Linear) or module.lora_variant]
        if odd or not found:
            raise ValueError(
                f"only plain LoRA on linear layers can be played in one batch; choose other targets: {odd}"
            )
        self._layers = [_Layer(name, module, {}) for name, module in found]
        self._is_worn = False

    @property
    def names(self) -> tuple[str, ...]:
        """The snapshots, the oldest first."""
        return tuple(self._layers[0].frozen)

    def snapshot(self, name: str) -> None:
        """Freeze the present policy under a name. Raises ValueError if it is taken, or is not fit for a file's."""
        self.load(name, self.tensors())

    def delete(self, name: str) -> None:
        """Forget a snapshot. Raises ValueError if there is none of that name."""
        self._check((name,))
        if name in ("", BASE):
            raise ValueError(f"{name!r} is no snapshot; only {', '.join(self.names) or 'snapshots'} can be deleted")
        for layer in self._layers:
            del layer.frozen[name]
        del self.serials[name]

    def tensors(self, name: str = "") -> dict[str, Tensor]:
        """Return the weights of the policy or of a snapshot, named as in PEFT's files. They are not copied."""
        self._check((name,))
        if name == BASE:
            raise ValueError("the base has no adapter, so there is nothing to return")
        found = {}
        for layer in self._layers:
            delta = layer.delta(name)
            assert delta is not None
            found[f"{layer.name}.lora_A.weight"] = delta.down_RI.detach()
            found[f"{layer.name}.lora_B.weight"] = delta.up_OR.detach()
        return found

    @torch.no_grad()
    def load(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned: into the policy if the name is empty, else as a new snapshot.

        Raises ValueError if the name is taken or not fit for a file's, or if the tensors are of another model.
        """
        policy = self.tensors()
        odd = {key for key in policy.keys() | tensors.keys() if _shape(policy, key) != _shape(tensors, key)}
        if odd:
            raise ValueError(
                f"these weights are not of this model's adapter; they differ in {', '.join(sorted(odd)[:3])}"
            )
        if not name:
            for key, tensor in policy.items():
                tensor.copy_(tensors[key])
            return
        if name in (*self.names, BASE) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} can name no new snapshot: take letters, digits, '.+-_', and none of {self.names}"
            )
        for layer in self._layers:
            pair = (f"{layer.name}.lora_{side}.weight" for side in "AB")
            layer.frozen[name] = _Delta(*(tensors[key].to(policy[key], copy=True) for key in pair))
        self._made += 1
        self.serials[name] = self._made

    def save(self, folder: str | Path, name: str = "") -> None:
        """Write the policy or a snapshot as PEFT does: adapter_model.safetensors and adapter_config.json."""
        from safetensors.torch import save_file

        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(self._contiguous(name), Path(folder) / "adapter_model.safetensors", metadata={"format": "pt"})
        self.model.peft_config[_POLICY].save_pretrained(str(folder))

    def _contiguous(self, name: str) -> dict[str, Tensor]:
        return {key: tensor.contiguous() for key, tensor in self.tensors(name).items()}

    @torch.no_grad()
    def save_merged(self, folder: str | Path) -> None:
        """Write the policy as an ordinary model directory, without adapters."""
        base = self.model.get_base_model()
        state = {k.replace(".base_layer.", "."): v for k, v in base.state_dict().items() if ".lora_" not in k}
        for layer in self._layers:
            key = f"{layer.name.removeprefix('base_model.model.')}.weight"
            state[key] = state[key] + layer.module.get_delta_weight(_POLICY).to(state[key].dtype)
        base.save_pretrained(folder, state_dict=state)

    @contextmanager
    def worn(self, players: str | Sequence[str]) -> Iterator[None]:
        """Within it the model is these players, one a row of its input, or one for every row.

        There is no dropout then, except for the policy alone while gradients are computed.
        Raises ValueError if there is no such player, RuntimeError within another such context.
        """
        runs = [(players, None)] if isinstance(players, str) else [(p, len(list(g))) for p, g in groupby(players)]
        self._check([player for player, _ in runs])
        if self._is_worn:
            raise RuntimeError("the model is already played as someone; leave that context first")
        if torch.is_grad_enabled() and not any(player for player, _ in runs):
            # The policy as PEFT computes it, with dropout where it trains. Without gradients ours is faster.
            yield
            return
        self._is_worn = True
        try:
            for layer in self._layers:
                layer.module.forward = _forward(layer, runs)
            yield
        finally:
            for layer in self._layers:
                del layer.module.forward
            self._is_worn = False

    def _check(self, players: Sequence[str]) -> None:
        unknown = set(players) - {"", BASE, *self.names}
        if unknown:
            raise ValueError(f"no snapshot {min(unknown)!r}; known: {', '.join(self.names) or 'none'}, and {BASE}")


def _shape(tensors: Mapping[str, Tensor], key: str) -> torch.Size | None:
    return tensors[key].shape if key in tensors else None


def _forward(layer: _Layer, runs: Sequence[tuple[str, int | None]]) -> Callable[..., Tensor]:
    """Return what a layer does while some runs of rows, given as (player, rows), are those players'."""
    base, scale = layer.module.base_layer, layer.module.scaling[_POLICY]
    deltas = [layer.delta(player) for player, _ in runs]

    def forward(x: Tensor) -> Tensor:
        out: Tensor = base(x)
        sizes = _tokens(layer.name, x, [rows for _, rows in runs])
        parts = zip(x.flatten(0, -2).split(sizes), out.view(-1, out.shape[-1]).split(sizes), deltas, strict=True)
        for x_NI, out_NO, delta in parts:
            if delta is not None:
                _add(out_NO, x_NI, delta, scale)
        return out

    return forward


def _tokens(name: str, x: Tensor, rows: list[int | None]) -> list[int]:
    """Return how many tokens each run of rows has in a layer's input."""
    tokens = x.numel() // x.shape[-1]
    if rows == [None]:
        return [tokens]
    counts = [n or 0 for n in rows]
    # Experts, for one, see tokens of all rows in an order of their own: two dimensions.
    if x.dim() < 3 or len(x) != sum(counts):
        raise ValueError(
            f"{name} does not see one row a prompt, so players can't be told apart; leave it out of targets"
        )
    return [n * (tokens // len(x)) for n in counts]


def _add(out_NO: Tensor, x_NI: Tensor, delta: _Delta, scale: float) -> None:
    low_NR = x_NI.to(delta.down_RI.dtype) @ delta.down_RI.T
    # Under autocast products are in its type, whatever the adapter's; what works in place is left alone by it.
    if out_NO.dtype == low_NR.dtype == delta.up_OR.dtype:
        out_NO.addmm_(low_NR, delta.up_OR.T, alpha=scale)
    else:
        out_NO += low_NR @ delta.up_OR.T * scale


class AdapterAgent:
    """Plays as a snapshot, or as the base, of an agent that has adapters; asked together with it in one batch."""

    def __init__(self, engine: LanguageModelAgent, adapter: str, name: str | None = None) -> None:
        """Play as `adapter` of `engine`, at the engine's temperature; tables call it `name`, or else as the adapter."""
        self.engine = engine
        self.adapter = adapter
        self.name = name or adapter

    def address(self, prompt: Prompt) -> Prompt:
        """Return the prompt as the engine must be asked it to answer for this player."""
        return replace(prompt, player=self.adapter)

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, in order."""
        return self.engine.reply([self.address(prompt) for prompt in prompts])

    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[NDArray[np.float64]]:
        """Return for each prompt the probability of each legal move."""
        return self.engine.move_probabilities([self.address(prompt) for prompt in prompts])


def add_lora(
    agent: LanguageModelAgent,
    *,
    r: int = 16,
    alpha: float = 32,
    targets: str | Sequence[str] = "all-linear",
    dropout: float = 0.0,
    seed: int = 0,
) -> Adapters:
    """Freeze an agent's model and put a LoRA adapter on it that learns instead (Hu et al. 2021, arXiv 2106.09685).

    Args:
        agent: goes on playing, at first just as before.
        r: rank of the adapter.
        alpha: its products are scaled by alpha / r.
        targets: names of the linear layers to adapt, as PEFT takes them; "all-linear" is all but the output layer.
        dropout: of the adapter's input while the model is in training mode.
        seed: of its first weights.

    Raises ValueError if the agent has an adapter already, or some target is not a linear layer.
    """
    from peft import LoraConfig, get_peft_model

    if agent.adapters is not None:
        raise ValueError(f"{agent.name} has a LoRA adapter already")
    chosen = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(
        r=r, lora_alpha=alpha, target_modules=chosen, lora_dropout=dropout, bias="none", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which would seed the GPU's generators too.
        torch.default_generator.manual_seed(seed)
        adapters = Adapters(get_peft_model(agent.model, config))
    agent.wear(adapters)
    return adapters


def check_targets(model: Any, targets: str | Sequence[str]) -> None:
    """Raise ValueError if `add_lora` could not adapt these layers of a model, which is left as it is."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    if targets == "all-linear":
        return
    layers = {name: module for name, module in model.named_modules() if name}
    linear = {name.rpartition(".")[2] for name, module in layers.items() if isinstance(module, nn.Linear | Conv1D)}
    for target in [targets] if isinstance(targets, str) else targets:
        # A pattern stays one; of several names each must be somewhere, where PEFT is content with one of them.
        config = LoraConfig(target_modules=target if isinstance(targets, str) else [target])
        found = [module for name, module in layers.items() if check_target_module_exists(config, name)]
        if not found or not all(isinstance(module, nn.Linear | Conv1D) for module in found):
            why = "is no layer of this model" if not found else "is not a linear layer"
            raise ValueError(f"LoRA target {target!r} {why}.{near(target, linear)}")


def copy_agent(agent: LanguageModelAgent, name: str) -> LanguageModelAgent:
    """Return a player with a full copy of an agent's weights, without gradients; snapshots are not copied."""
    return LanguageModelAgent(
        copy.deepcopy(agent.model).requires_grad_(False),
        agent.tokenizer,
        name=name,
        temperature=agent.temperature,
        max_new_tokens=agent.max_new_tokens,
        stop=agent.stop,
        chat_template_kwargs=agent.chat_template_kwargs,
        cache_bytes=agent.cache_bytes,
        batch_tokens=agent.batch_tokens,
    )
