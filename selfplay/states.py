"""What a run remembers outside its weights, as plain data and tensors: optimizers and random streams.

Chosen: an optimizer's own `state_dict`, taken apart into tensors and plain data and put together again. Streams of
`numpy.random.Generator` need nothing of this: `rng.bit_generator.state` of PCG64 is plain data already.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors an optimizer keeps for its parameters, by parameter number and name: "3.exp_avg"."""
    return {name: value for name, value in _entries(optimizer) if isinstance(value, Tensor)}


def optimizer_settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the rest of an optimizer as plain data: its kind, its groups' numbers, the shapes of its parameters."""
    groups = optimizer.state_dict()["param_groups"]
    for group in groups:
        for key, value in group.items():
            if isinstance(value, Tensor):
                raise ValueError(f"{key} of {type(optimizer).__name__} is a tensor: give it as a number")
    return {
        "kind": type(optimizer).__name__,
        "groups": groups,
        "shapes": [list(parameter.shape) for parameter in _parameters(optimizer)],
        "plain": {name: value for name, value in _entries(optimizer) if not isinstance(value, Tensor)},
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Put an optimizer back where `optimizer_tensors` and `optimizer_settings` found it, to the bit.

    Raises ValueError, and changes nothing, if it is of another kind or its parameters differ in number or shape.
    """
    _check_fits(optimizer, settings)
    state: dict[int, dict[str, Any]] = {}
    for name, value in (tensors | settings["plain"]).items():
        number, _, key = name.partition(".")
        # Cloned, because torch keeps what it is given, and the next step would change the caller's tensors.
        state.setdefault(int(number), {})[key] = value.clone() if isinstance(value, Tensor) else value
    pairs = zip(settings["groups"], optimizer.param_groups, strict=True)
    groups = [{key: _as_it_was(value, now.get(key)) for key, value in saved.items()} for saved, now in pairs]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _undo_casts(optimizer, state)


def rng_state() -> dict[str, Any]:
    """Return the global random streams of Python, numpy and torch as plain data; of CUDA too if it is in use."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (a library may draw from the global stream)
    # Asking a GPU that nobody uses would start it up.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in cuda],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the global random streams back. Raises ValueError if the CUDA streams are of another number of GPUs."""
    cuda = state["cuda"]
    if cuda and len(cuda) != torch.cuda.device_count():
        raise ValueError(
            f"the random streams are of {len(cuda)} GPUs and {torch.cuda.device_count()} are here: resume where as "
            f"many are, or set 'cuda' to [] and go on, not to the bit"
        )
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(_unhex(state["torch"]))
    if cuda:
        torch.cuda.set_rng_state_all([_unhex(text) for text in cuda])


def _entries(optimizer: torch.optim.Optimizer) -> list[tuple[str, Any]]:
    state = optimizer.state_dict()["state"]
    return [(f"{number}.{key}", value) for number, kept in state.items() for key, value in kept.items()]


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters in the order in which a `state_dict` numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _check_fits(optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> None:
    remedy = "resume with the model and the settings that the run was started with"
    if settings["kind"] != type(optimizer).__name__:
        raise ValueError(f"the state is of {settings['kind']}, not of {type(optimizer).__name__}: {remedy}")
    now, then = _parameters(optimizer), settings["shapes"]
    counts = [[len(group["params"]) for group in groups] for groups in (settings["groups"], optimizer.param_groups)]
    if counts[0] != counts[1]:
        raise ValueError(f"the state is of {counts[0]} parameters a group, not of {counts[1]}: {remedy}")
    for number, (parameter, shape) in enumerate(zip(now, then, strict=True)):
        if list(parameter.shape) != list(shape):
            raise ValueError(f"parameter {number} had shape {shape}, now {list(parameter.shape)}: {remedy}")


def _as_it_was(value: Any, now: Any) -> Any:
    """Return a tuple where JSON has made a list of one."""
    return tuple(value) if isinstance(value, list) and isinstance(now, tuple) else value


def _undo_casts(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Any]]) -> None:
    """Put back what torch has cast: it gives a tensor the type of its parameter, also where it had a finer one."""
    for number, parameter in enumerate(_parameters(optimizer)):
        for key, value in state.get(number, {}).items():
            loaded = optimizer.state[parameter][key]
            if isinstance(value, Tensor) and loaded.dtype != value.dtype:
                optimizer.state[parameter][key] = value.to(loaded.device)


def _hex(state: Tensor) -> str:
    return bytes(state.cpu().numpy()).hex()


def _unhex(text: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
