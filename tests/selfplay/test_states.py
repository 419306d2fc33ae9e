"""Optimizers and random streams: put back, they go on as if never interrupted, to the bit."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring.selfplay.checkpoint import load_checkpoint, save_checkpoint
from sparring.selfplay.states import load_optimizer, optimizer_settings, optimizer_tensors, rng_state, set_rng_state

Make = Callable[[torch.nn.Module], torch.optim.Optimizer]
MAKERS: dict[str, Make] = {
    "adamw": lambda m: torch.optim.AdamW(
        [{"params": m[0].parameters()}, {"params": m[1].parameters(), "lr": 1e-4}], lr=1e-3, betas=(0.0, 0.99)
    ),
    "amsgrad": lambda m: torch.optim.AdamW(m.parameters(), amsgrad=True, foreach=True),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.001),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.001, momentum=0.9, nesterov=True),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), centered=True),
    "adafactor": lambda m: torch.optim.Adafactor(m.parameters()),
}


def model(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2, bias=False)).to(dtype)


def steps(net: torch.nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        given = torch.randn(5, 4, generator=torch.Generator().manual_seed(number)).to(next(net.parameters()).dtype)
        optimizer.zero_grad()
        net(given).square().sum().backward()
        optimizer.step()


def through_a_file(optimizer: torch.optim.Optimizer, root: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, settings = {"optimizer": optimizer_tensors(optimizer)}, {"optimizer": optimizer_settings(optimizer)}
    save_checkpoint(root, 1, tensors=tensors, state=settings)
    found = load_checkpoint(root, on_skip=pytest.fail)
    assert found is not None
    return found.tensors("optimizer"), found.state["optimizer"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", MAKERS)
def test_an_optimizer_goes_on_to_the_bit(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    net, resumed = model(dtype), model(dtype)
    optimizer = MAKERS[kind](net)
    steps(net, optimizer, range(3))
    again = MAKERS[kind](resumed)
    again.param_groups[0]["lr"] = 7.0
    resumed.load_state_dict(copy.deepcopy(net.state_dict()))
    load_optimizer(again, *through_a_file(optimizer, tmp_path))
    for which, other in ((net, optimizer), (resumed, again)):
        steps(which, other, range(3, 6))
    for one, its in zip(net.parameters(), resumed.parameters(), strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, its)
    assert repr(again.state_dict()) == repr(optimizer.state_dict())


def test_an_optimizer_that_has_not_stepped_comes_back_empty(tmp_path: Path) -> None:
    optimizer = MAKERS["adamw"](model())
    tensors, settings = through_a_file(optimizer, tmp_path)
    assert tensors == {}
    load_optimizer(optimizer, tensors, settings)
    assert optimizer.state_dict()["state"] == {}


def test_moments_finer_than_their_parameters_stay_fine() -> None:
    """torch itself would round a float32 moment of a bfloat16 parameter to bfloat16 when it loads it."""
    net = model(torch.bfloat16)
    optimizer = MAKERS["momentum"](net)
    steps(net, optimizer, range(1))
    weight = net[1].weight
    optimizer.state[weight]["momentum_buffer"] = torch.full((2, 8), 1 / 3)
    tensors, settings = optimizer_tensors(optimizer), optimizer_settings(optimizer)
    load_optimizer(optimizer, tensors, settings)
    assert torch.equal(optimizer.state[weight]["momentum_buffer"], torch.full((2, 8), 1 / 3))


def test_what_was_loaded_is_the_optimizers_own() -> None:
    """A guard goes back to one kept copy several times; steps in between must not change it."""
    net = model()
    optimizer = MAKERS["adamw"](net)
    steps(net, optimizer, range(2))
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    load_optimizer(optimizer, tensors, optimizer_settings(optimizer))
    steps(net, optimizer, range(2, 4))
    assert all(torch.equal(tensors[name], kept[name]) for name in kept)


def test_another_model_or_optimizer_is_refused_and_nothing_changes() -> None:
    net = model()
    optimizer = MAKERS["momentum"](net)
    steps(net, optimizer, range(1))
    tensors, settings = optimizer_tensors(optimizer), optimizer_settings(optimizer)
    wide = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Linear(9, 2, bias=False))
    short = torch.nn.Sequential(torch.nn.Linear(4, 8))
    for other, kind, what in (
        (wide, "momentum", r"parameter 0 had shape \[8, 4\], now \[9, 4\]"),
        (short, "momentum", r"of \[3\] parameters a group, not of \[2\]"),
        (model(), "rmsprop", "is of SGD, not of RMSprop"),
    ):
        fresh = MAKERS[kind](other)
        before = repr(fresh.state_dict())
        with pytest.raises(ValueError, match=f"{what}: resume with the model and the settings"):
            load_optimizer(fresh, tensors, settings)
        assert repr(fresh.state_dict()) == before


def test_a_learning_rate_that_is_a_tensor_is_refused() -> None:
    optimizer = torch.optim.AdamW(model().parameters(), lr=torch.tensor(1e-3))
    with pytest.raises(ValueError, match="lr of AdamW is a tensor: give it as a number"):
        optimizer_settings(optimizer)


def draw() -> tuple[list[float], ...]:
    """Gauss draws come in pairs of which the second is kept: an odd number of them leaves one over."""
    return [random.gauss(0, 1) for _ in range(3)], list(np.random.randn(3)), torch.randn(3).tolist()  # noqa: NPY002


def test_random_streams_go_on_where_they_were() -> None:
    before = rng_state()
    try:
        draw()
        state = json.loads(json.dumps(rng_state()))
        expected = draw()
        assert draw() != expected
        set_rng_state(state)
        assert draw() == expected
    finally:
        set_rng_state(before)


def test_streams_of_gpus_that_are_not_here_are_refused_and_nothing_changes() -> None:
    state = rng_state()
    random.random()
    now = rng_state()
    gpus = torch.cuda.device_count() + 1
    with pytest.raises(ValueError, match=f"are of {gpus} GPUs and {gpus - 1} are here.*set 'cuda' to"):
        set_rng_state(state | {"cuda": ["00"] * gpus})
    assert rng_state() == now
    set_rng_state(state)
