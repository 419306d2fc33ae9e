"""All that a run remembers, in one place: for checkpoints on disk and for the guard's way back.

Chosen: parts say what they are as tensors and as plain data. What a rollback takes back is the learner and its
baseline, and snapshots that were made since; not the guard or the count of games: new games are played.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .advantage import RoleBaseline
from .checkpoint import Checkpoint, save_checkpoint
from .guard import Guard, LastGood
from .learner import Learner
from .pool import OpponentPool
from .start import Start
from .states import rng_state, set_rng_state

Snapshot = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]
"""Tensors by part and name, and plain data by part."""
Tensors = dict[str, Mapping[str, Tensor]]
"""By part and name."""
GOOD = ("good", "candidate")


class RunState:
    """Copies, saves and puts back a run's learner, baseline, pool and guard."""

    def __init__(
        self,
        learner: Learner,
        baseline: RoleBaseline,
        *,
        pool: OpponentPool | None = None,
        guard: Guard | None = None,
        start: Start | None = None,
    ) -> None:
        """Look after these parts. With a guard, the present state is the first good one."""
        self.learner, self.baseline, self.pool, self.guard = learner, baseline, pool, guard
        self.start = start
        self.kept = LastGood(self.copy()) if guard else None

    def copy(self) -> Snapshot:
        """Return a copy of the learner and its baseline as they are now."""
        found = self.learner.tensors().items()
        # Not on the device: two of them take as much room there as the run itself.
        tensors = {part: {n: t.detach().to("cpu", copy=True) for n, t in ts.items()} for part, ts in found}
        snapshots = 0 if self.pool is None else self.pool.made
        return tensors, {**copy.deepcopy(self._plain()), "snapshots": snapshots}

    def _plain(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "baseline": self.baseline.state_dict()}

    def put_back(self, snapshot: Snapshot) -> None:
        """Make the learner and its baseline what they were; the snapshot can be put back again."""
        tensors, plain = snapshot
        self.learner.load(tensors, copy.deepcopy(plain["learner"]))
        self.baseline.load_state_dict(plain["baseline"])

    def go_back(self) -> None:
        """Go back to the last good state; the pool forgets the snapshots that were made since, good or bad."""
        assert self.kept is not None
        good = self.kept.back()
        self.put_back(good)
        if self.pool is not None:
            self.pool.forget(good[1]["snapshots"])

    def roll_back(self) -> None:
        """Go back to the last good state, and take a smaller step from now on."""
        assert self.guard is not None
        self.go_back()
        self.guard.rolled_back()
        self.learner.factor = self.guard.step_factor

    def vouch(self) -> None:
        """Take note that the last updates were good."""
        assert self.kept is not None
        self.kept.vouch(self.copy())

    def tensors(self) -> Tensors:
        """Return all tensors of a checkpoint by part and name; all processes of a run must call it."""
        found: Tensors = dict(self.learner.tensors())
        if self.start is not None and self.start.tensors():
            found["start"] = self.start.tensors()
        if self.kept is not None:
            for name, (kept, _) in zip(GOOD, (self.kept.good, self.kept.candidate), strict=True):
                found |= {f"{name}-{part}": named for part, named in kept.items()}
        return {
            part: self.learner.whole(named) if part.endswith("optimizer") else named for part, named in found.items()
        }

    def save(self, root: str | Path, step: int, *, tensors: Tensors, more: Mapping[str, Any], keep: int) -> Path:
        """Write a checkpoint.

        `tensors` are those of `tensors()`, `more` is plain data of the caller's. Raises CheckpointError if it cannot be
        written.
        """
        state: dict[str, Any] = {**self._plain(), "random": rng_state(), "more": dict(more)}
        folders = {}
        if self.pool is not None:
            state["pool"] = self.pool.state_dict()
            folders["pool"] = self.pool.save
        if self.guard is not None:
            assert self.kept is not None
            state["guard"] = self.guard.state_dict()
            state |= {name: plain for name, (_, plain) in zip(GOOD, (self.kept.good, self.kept.candidate), strict=True)}
        return save_checkpoint(root, step, tensors=tensors, state=state, folders=folders, keep=keep)

    def load(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Become what a checkpoint holds; returns the caller's own data. Raises ValueError where it does not fit."""
        state = checkpoint.state
        parts = list(self.learner.tensors())
        self.put_back(({part: checkpoint.tensors(part) for part in parts}, state))
        if self.start is not None and self.start.tensors():
            self.start.load_tensors(checkpoint.tensors("start"))
        if self.pool is not None:
            self.pool.load_state_dict(state["pool"])
            self.pool.load(checkpoint.folder("pool"))
        if self.guard is not None:
            self.guard.load_state_dict(state["guard"])
            good, candidate = (
                ({part: checkpoint.tensors(f"{name}-{part}") for part in parts}, state[name]) for name in GOOD
            )
            self.kept = LastGood(good, candidate)
        set_rng_state(state["random"])
        more: dict[str, Any] = state["more"]
        return more
