"""Several processes that train one policy, started by `accelerate launch` or torchrun.

Chosen: every process holds the whole model and takes the same steps. Games and rows are shared out, what comes of them
is exchanged, and gradients are added up; so their number changes nothing but the order in which floats are summed.
Launched by a configuration of FSDP or DeepSpeed they share out the optimizer's state. Left out: models cut into pieces
(tensor and pipeline parallelism), in which sampling a token is a call of every process.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedType,
    broadcast,
    broadcast_object_list,
    gather_object,
    reduce,
)
from torch import Tensor

from sparring.envs import Void

from .launch import REMEDY, check_launch, is_launched, sharded_by, without_engines

T = TypeVar("T")

LONGEST_WAIT = timedelta(hours=12)
"""That processes wait for one another, while one of them measures for instance."""
SAME_SIGNAL = 5.0
"""Seconds within which a second signal is the first one again: a terminal and a launcher both send it."""
BUCKET = 1 << 25
"""Numbers that are added up over processes in one call."""

WHOLE = {
    DistributedType.NO,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_XPU,
    DistributedType.MULTI_NPU,
    DistributedType.FSDP,
    DistributedType.DEEPSPEED,
}


class Processes:
    """This process among those of a run; alone without a state of accelerate's."""

    def __init__(self, state: Accelerator | PartialState | None = None, *, shards: bool | None = None) -> None:
        """Take part in what accelerate has started.

        Args:
            state: what accelerate has started.
            shards: whether the optimizer's state is shared out; None: if the state is of FSDP or DeepSpeed.

        Raises ValueError if the model would be cut into pieces.
        """
        self.count: int = 1 if state is None else state.num_processes
        self.index: int = 0 if state is None else state.process_index
        self.device: Any = None if state is None else state.device
        if state is not None and state.distributed_type not in WHOLE:
            raise ValueError(f"{state.distributed_type.value} is not supported: {REMEDY}")
        if isinstance(state, Accelerator) and state.mixed_precision != "no":
            raise ValueError(
                "sampling and learning must round alike, so mixed precision is the model's: make the Accelerator "
                "without it, and call sparring.agents.precision.compute_in(agent.model, torch.bfloat16)"
            )
        if shards is None:
            shards = state is not None and state.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        self.shards = shards and self.count > 1
        """Whether each process keeps its part of the optimizer's state only."""
        self._asked: float | None = None
        self._hurried = False

    @property
    def is_main(self) -> bool:
        """Whether this process writes, prints and measures."""
        return self.index == 0

    def share(self, count: int) -> tuple[int, int]:
        """Return the first of this process's things among `count`, and how many it has."""
        start, stop = (count * n // self.count for n in (self.index, self.index + 1))
        return start, stop - start

    def gather(self, found: Iterable[T]) -> list[T]:
        """Return what all processes have found, one process after another. Everything must be picklable."""
        own = list(found)
        if self.count == 1:
            return own
        # Bytes, so that what is here already need not be unpickled.
        told: list[bytes] = gather_object([pickle.dumps(own)])
        return [x for index, part in enumerate(told) for x in (own if index == self.index else pickle.loads(part))]

    def from_main(self, make: Callable[[], T]) -> T:
        """Return on every process what the main one makes, the others waiting; what it raises is raised by all.

        That holds for ValueError, OSError, ImportError, FloatingPointError and Void; others end the main process, and
        so the run.
        """
        if self.count == 1 or (self._hurried and self.is_main):
            return make()
        if self._hurried:
            raise KeyboardInterrupt
        told: list[Any] = [None, None]
        if self.is_main:
            try:
                told[0] = make()
            except (ValueError, OSError, ImportError, FloatingPointError, Void) as error:
                told[1] = error
        value, failure = broadcast_object_list(told)
        if failure is not None:
            raise failure
        made: T = value
        return made

    def on_main(self, do: Callable[[], object]) -> None:
        """Do something on the main process, the others waiting."""
        self.from_main(lambda: (do(), None)[1])

    def add_up(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up every gradient over all processes; one that had no share of the rows counts as zero."""
        if self.count == 1:
            return
        for bucket in _buckets(list(parameters)):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([g.flatten() for g in gradients])
            parts = reduce(flat.to(self.device), "sum").to(flat.device).split([g.numel() for g in gradients])
            for p, part in zip(bucket, parts, strict=True):
                p.grad = part.view_as(p)

    @torch.no_grad()
    def spread(self, parameters: Iterable[torch.nn.Parameter], owner: int) -> None:
        """Give every process the owner's numbers, in place."""
        for bucket in _buckets(list(parameters)) if self.count > 1 else ():
            flat = torch.cat([p.detach().flatten() for p in bucket])
            told = broadcast(flat.to(self.device), from_process=owner).to(flat.device)
            for p, part in zip(bucket, told.split([p.numel() for p in bucket]), strict=True):
                p.copy_(part.view_as(p))

    @torch.no_grad()
    def to_main(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every process's tensors on the main one, on the CPU; on the others their own, as they are.

        Names must differ between processes. One tensor at a time is on its way, so that no more than that is needed
        besides.
        """
        if not self.is_main:
            self._tell_main(tensors)
            return dict(tensors)
        found = {name: tensor.cpu() for name, tensor in tensors.items()}
        kinds: list[dict[str, tuple[torch.Size, torch.dtype]]] = self.gather([{}])
        for sender, parts in enumerate(kinds):
            for name, (shape, dtype) in parts.items():
                told = torch.empty(shape, dtype=dtype, device=self.device)
                torch.distributed.recv(told, src=sender)
                found[name] = told.cpu()
        return found

    def _tell_main(self, tensors: Mapping[str, Tensor]) -> None:
        self.gather([{name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}])
        for tensor in tensors.values():
            # Where processes exchange over GPUs, what lies on the CPU must go there first.
            torch.distributed.send(tensor.detach().to(self.device).contiguous(), dst=0)

    @torch.no_grad()
    def same(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Give every process the main one's numbers, in place."""
        for part in tensors.values() if self.count > 1 else ():
            for tensor in part.values():
                tensor.copy_(broadcast(tensor.to(self.device, copy=True)))

    def check_same(self, value: object, what: str) -> None:
        """Raise ValueError on every process if they do not have the same value."""
        found = self.gather([value])
        if any(other != found[0] for other in found):
            raise ValueError(f"processes differ in {what}: {found}; put the run folder where all of them see it")

    def interrupt(self, *_: Any) -> None:
        """Take note of a signal: all processes stop together at `agree`. Another one later stops this one at once."""
        now = time.monotonic()
        if self._asked is not None and now - self._asked > SAME_SIGNAL:
            self._hurried = True
            raise KeyboardInterrupt
        self._asked = self._asked or now

    def agree(self) -> None:
        """Raise KeyboardInterrupt on every process if any of them was asked to stop."""
        if self.count > 1 and any(self.gather([self._asked is not None])):
            raise KeyboardInterrupt

    def close(self) -> None:
        """Part from the others; nothing can be exchanged any more."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _buckets(parameters: list[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Split parameters, in order, into lists of one kind and of at most `BUCKET` numbers, if not of one alone."""
    bucket: list[torch.nn.Parameter] = []
    numbers = 0
    for p in parameters:
        if bucket and ((p.dtype, p.device) != (bucket[0].dtype, bucket[0].device) or numbers + p.numel() > BUCKET):
            yield bucket
            bucket, numbers = [], 0
        bucket.append(p)
        numbers += p.numel()
    if bucket:
        yield bucket


def launched_processes(*, cpu: bool, shards: bool = False) -> Processes:
    """Return this process among those that were launched with it; alone if it was started by itself.

    Args:
        cpu: whether the model is on the CPU.
        shards: whether the optimizer's state is shared out; where FSDP or DeepSpeed was asked for it is in any case.

    Raises ValueError for ways of launching that cannot work.
    """
    if not is_launched():
        return Processes()
    check_launch()
    cpu = cpu or not torch.accelerator.is_available()
    # Transformers acts on this one, and leaves weights out.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    with without_engines():
        state = PartialState(cpu=cpu, timeout=LONGEST_WAIT)
    return Processes(state, shards=shards or bool(sharded_by()))
