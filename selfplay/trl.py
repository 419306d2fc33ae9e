"""TRL as it is: its stock trainers on our samples, and, in one place, all that connects us with TRL.

Chosen: only what was sampled is trained on. TRL reads text and tokenises it anew, so its trainers are given the
sampled ids in the place of what they made of a text. Left out: TRL's checkpoints, model cards and trackers.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch

from sparring.agents import LanguageModelAgent, Reply
from sparring.agents.adapters import Adapters
from sparring.envs import near

from .groups import check_reply
from .launch import without_engines
from .pairs import Labelled, Pair, Weighted
from .trl_rollout import make_rollout_func, outcome_reward, rollout_dataset
from .trl_rows import conversation_rows, export, label_rows, preference_rows

__all__ = [
    "conversation_rows",
    "export",
    "label_rows",
    "make_rollout_func",
    "outcome_reward",
    "preference_rows",
    "rollout_dataset",
    "trl_update",
]

REFERENCE_ADAPTER = "ref"
"""How TRL calls the copy of an adapter that is its reference."""


class _Stock(NamedTuple):
    """One of TRL's trainers."""

    trainer: str
    config: str
    item: type
    """What it learns from."""
    texts: tuple[str, ...]
    """The columns of text that its constructor prepares for training."""
    columns: Callable[[Sequence[Any], int], dict[str, list[Any]]]
    """The same columns with the sampled ids, of items in batches of some size."""


def trl_update(
    kind: str,
    agent: LanguageModelAgent,
    items: Iterable[Pair] | Iterable[Labelled] | Iterable[Weighted],
    *,
    lr: float,
    batch_size: int,
    output_dir: str | Path,
    beta: float = 0.1,
    epochs: float = 1,
    max_steps: int = -1,
    max_length: int | None = None,
    peft_config: Any = None,
    reference: Any = None,
    seed: int = 0,
    **overrides: Any,
) -> dict[str, float]:
    """Train the agent's model in place with TRL's stock `DPOTrainer`, `KTOTrainer` or `SFTTrainer`.

    The optimizer is a new one each time, so Adam's moments do not outlast a call: few calls of many steps serve better
    than many calls of one. Nothing is asked of the network, and neither checkpoints nor model cards are written.
    TRL computes log-probabilities at temperature 1, whatever the agent samples with.

    Args:
        kind: "dpo" takes `Pair`s, "kto" `Labelled` and "sft" `Weighted` replies.
        agent: whose model learns; dropout is switched off in it for good.
        items: to learn from. TRL has no weight a row, so as many rows as items are drawn, each item in proportion to
            its weight; equal weights take each once. Pairs must be hard.
        lr: learning rate of AdamW, constant.
        batch_size: rows a device and step.
        output_dir: what TRL calls its own; it stays empty.
        beta: of DPO and KTO.
        epochs: passes over the items.
        max_steps: steps to take instead, unless it is -1.
        max_length: items of more tokens than this, prompt included, are left out whole; None keeps all.
        peft_config: puts a new LoRA adapter on the model before, as `add_lora` does, with PEFT's own settings.
        reference: the model of the reference policy in DPO and KTO; None is the policy at the start of this call: a
            copy, or for a PEFT model a copy of its adapter.
        seed: of the order of the items and of a new adapter's weights; no global generator is left changed.
        overrides: of fields of the trainer's config, for instance `loss_type` or `gradient_checkpointing`.

    Returns what the trainer logged, averaged over steps, each name after "trl/", and "trl/steps", "trl/rows",
    "trl/too_long". Raises ValueError for what TRL cannot train on, naming the remedy.
    """
    given = list(items)
    kept = _kept(kind, given, max_length)
    settings = {
        "output_dir": str(output_dir),
        "learning_rate": lr,
        "num_train_epochs": epochs,
        "max_steps": max_steps,
        "per_device_train_batch_size": batch_size,
        "seed": seed,
        **({} if kind == "sft" else {"beta": beta}),
        **_surroundings(agent.model),
        **overrides,
    }
    if peft_config is not None:
        _add_adapter(agent, peft_config, seed)
    with without_engines(), _offline(), _own_state(), _own_randomness(), _left_as_found(agent.model, reference):
        trainer = _trainer(kind, agent, settings, reference)
        # In an order of ours: KTO takes rows as they come, and its batches compare one with the next.
        rows = _drawn(kept, np.random.default_rng(seed))
        trainer.train_dataset = _as_sampled(_STOCK[kind].columns(rows, batch_size), trainer.train_dataset)
        trainer.train()
    agent.model.eval()
    agent.flush()
    return {
        **_means(trainer.state.log_history),
        "trl/steps": float(trainer.state.global_step),
        "trl/rows": float(len(kept)),
        "trl/too_long": float(len(given) - len(kept)),
    }


def _kept(kind: str, given: Sequence[Any], max_length: int | None) -> list[Any]:
    """Return the items that TRL can train on."""
    if kind not in _STOCK:
        raise ValueError(f"unknown kind {kind!r}.{near(kind, _STOCK)}")
    wrong = next((item for item in given if not isinstance(item, _STOCK[kind].item)), None)
    if wrong is not None:
        raise ValueError(f"{kind} learns from {_STOCK[kind].item.__name__} items, not {type(wrong).__name__}")
    for item in given:
        for reply in _replies(item):
            check_reply(reply)
    if kind == "dpo" and any(pair.target != 1 for pair in given):
        raise ValueError("TRL takes hard pairs only; make pairs with soft=False, or take our own sigmoid loss")
    kept = [i for i in given if max_length is None or max(len(r.prompt_ids + r.ids) for r in _replies(i)) <= max_length]
    if not kept:
        raise ValueError(f"there is nothing to learn from: {len(given)} items, none within max_length={max_length}")
    return kept


def _replies(item: Any) -> tuple[Reply, ...]:
    return (item.chosen, item.rejected) if isinstance(item, Pair) else (item.reply,)


def _drawn(items: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Return as many items as given, in random order, each as often as its weight says: w / mean(w) times on average.

    Systematic resampling (Kitagawa 1996): no item's number is off by one or more, and equal weights take each once.
    """
    weights = np.array([item.weight for item in items], dtype=float)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("weights must be finite and 0 or more, and not all 0")
    share = np.cumsum(weights) / weights.sum()
    marks = (np.arange(len(items)) + rng.random()) / len(items)
    rows = np.minimum(np.searchsorted(share, marks, side="right"), len(items) - 1)
    return [items[row] for row in rng.permutation(rows)]


def _surroundings(model: Any) -> dict[str, Any]:
    """Return the settings that follow from where the model is, and those that keep TRL quiet."""
    on_gpu = model.device.type != "cpu"
    return {
        "max_length": None,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        # Else a loss that is not a number would be logged as the last one that was.
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        # Autocast beside weights in bf16, such as a float32 adapter's; a model in float32 is trained as it plays.
        "bf16": on_gpu and model.dtype == torch.bfloat16,
    }


def _dpo_columns(pairs: Sequence[Pair], _: int) -> dict[str, list[Any]]:
    return {
        "prompt_ids": [list(pair.chosen.prompt_ids) for pair in pairs],
        "chosen_ids": [list(pair.chosen.ids) for pair in pairs],
        "rejected_ids": [list(pair.rejected.ids) for pair in pairs],
    }


def _kto_columns(items: Sequence[Labelled], batch_size: int) -> dict[str, list[Any]]:
    said = [list(item.reply.ids) for item in items]
    return {
        "prompt_ids": [list(item.reply.prompt_ids) for item in items],
        "completion_ids": said,
        "KL_completion_ids": [said[_mismatched(i, len(said), batch_size)] for i in range(len(said))],
        "label": [item.desirable for item in items],
    }


def _mismatched(i: int, count: int, batch_size: int) -> int:
    """Return whose reply stands beside prompt i in KTO's estimate of the KL: the one before it, round its batch."""
    if i % batch_size:
        return i - 1
    last = min(i + batch_size, count) - 1
    # A batch of one would compare the reply with itself.
    return last if last > i else i - 1


def _sft_columns(items: Sequence[Weighted], _: int) -> dict[str, list[Any]]:
    return {
        "input_ids": [[*item.reply.prompt_ids, *item.reply.ids] for item in items],
        "labels": [[-100] * len(item.reply.prompt_ids) + list(item.reply.ids) for item in items],
    }


_STOCK = {
    "dpo": _Stock("DPOTrainer", "DPOConfig", Pair, ("prompt", "chosen", "rejected"), _dpo_columns),
    "kto": _Stock("KTOTrainer", "KTOConfig", Labelled, ("prompt", "completion"), _kto_columns),
    "sft": _Stock("SFTTrainer", "SFTConfig", Weighted, ("prompt", "completion"), _sft_columns),
}


def _add_adapter(agent: LanguageModelAgent, peft_config: Any, seed: int) -> None:
    from peft import PeftModel, get_peft_model

    if isinstance(agent.model, PeftModel):
        raise ValueError(f"{agent.name} has an adapter already, which is what is trained; leave peft_config out")
    with _own_randomness():
        torch.manual_seed(seed)
        agent.wear(Adapters(get_peft_model(agent.model, peft_config)))


def _trainer(kind: str, agent: LanguageModelAgent, settings: dict[str, Any], reference: Any) -> Any:
    """Make the stock trainer around one row of text, which is not trained on."""
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback

    stock = _STOCK[kind]
    config = getattr(trl, stock.config)
    known = [field.name for field in fields(config)]
    unknown = next((name for name in settings if name not in known), None)
    if unknown is not None:
        raise ValueError(f"{stock.config} has no field {unknown!r}.{near(unknown, known)}")
    for module in agent.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    policies = {} if kind == "sft" else {"ref_model": _reference(agent.model, reference)}
    trainer = getattr(trl, stock.trainer)(
        model=agent.model,
        args=config(**settings),
        # End tokens merge with nothing, whatever the tokenizer. The label is KTO's.
        train_dataset=Dataset.from_list([dict.fromkeys(stock.texts, agent.tokenizer.eos_token) | {"label": True}]),
        # TRL gives a tokenizer without a pad token one.
        processing_class=copy.deepcopy(agent.tokenizer),
        **policies,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _reference(model: Any, reference: Any) -> Any:
    """Return TRL's `ref_model`; None where TRL makes it from the adapters of one base."""
    from peft import PeftModel

    if reference is not None:
        return reference
    if not isinstance(model, PeftModel):
        # TRL would load it from where the model once came from, if anywhere.
        return copy.deepcopy(model).requires_grad_(False)
    if REFERENCE_ADAPTER in model.peft_config or model.active_adapters != ["default"]:
        raise ValueError(
            f"TRL trains the adapter 'default' beside a copy called {REFERENCE_ADAPTER!r}; rename the adapters "
            f"{sorted(model.peft_config)}, or give the reference policy as a model of its own"
        )
    return None


def _as_sampled(columns: dict[str, list[Any]], prepared: Any) -> Any:
    from datasets import Dataset

    missing = columns.keys() - set(prepared.column_names)
    if missing:
        raise RuntimeError(
            f"this TRL does not train on {sorted(missing)} but on {prepared.column_names}; install trl==1.16.0"
        )
    return Dataset.from_dict(columns)


def _means(log: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each measure's mean over the steps that report a loss."""
    steps = [entry for entry in log if "loss" in entry]
    names = dict.fromkeys(name for entry in steps for name in entry if name not in ("epoch", "step"))
    return {f"trl/{name}": fmean(float(e[name]) for e in steps if name in e) for name in names}


@contextmanager
def _offline() -> Iterator[None]:
    """Keep TRL from telling its hub about every trainer that is made, and `datasets` from drawing bars."""
    import datasets
    from huggingface_hub import constants

    quiet = constants.HF_HUB_DISABLE_TELEMETRY
    bars = datasets.is_progress_bar_enabled()
    constants.HF_HUB_DISABLE_TELEMETRY = True
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = quiet
        if bars:
            datasets.enable_progress_bars()


@contextmanager
def _own_state() -> Iterator[None]:
    """Give back accelerate's state as it was: it is one for the process, and a learner may keep its own there."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    states = [state._shared_state for state in (AcceleratorState, GradientState, PartialState)]
    found = [dict(state) for state in states]
    try:
        yield
    finally:
        for state, before in zip(states, found, strict=True):
            state.clear()
            state.update(before)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Give back the global generators as they were: trainers seed all of them."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def _left_as_found(*models: Any) -> Iterator[None]:
    """Undo what trainers leave in a model beside its weights: settings, a reference adapter, and a forward of its own.

    A deep copy of a model with such a forward would compute with the first model's weights.
    """
    found = [model for model in models if model is not None]
    modules = {module: _patches(module) for model in found for module in model.modules()}
    bases = [_base(model) for model in found]
    settings = [(config, dict(vars(config))) for base in bases for config in (base.config, base.generation_config)]
    try:
        yield
    finally:
        for module, patches in modules.items():
            for name in _patches(module):
                del vars(module)[name]
            vars(module).update(patches)
        for config, before in settings:
            vars(config).clear()
            vars(config).update(before)
        for model in found:
            if model is not _base(model) and REFERENCE_ADAPTER in model.peft_config:
                model.delete_adapter(REFERENCE_ADAPTER)


def _base(model: Any) -> Any:
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def _patches(module: torch.nn.Module) -> dict[str, Any]:
    return {name: vars(module)[name] for name in ("forward", "_original_forward") if name in vars(module)}
