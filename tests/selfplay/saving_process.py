"""What a process goes through that saves checkpoints: killed at any moment, limited, on a full disk. Prints JSON.

    python tests/selfplay/saving_process.py FOLDER [SMALL_DISK]

One process, because importing torch takes longer than all of this; each trial runs in a fork of it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sparring.selfplay.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from sparring.selfplay.manifest import fault


def save(root: Path, step: int, *, size: int = 20_000, files: int = 1) -> None:
    """Save a checkpoint all of whose content tells its step."""

    def write(path: Path) -> None:
        for number in range(files):
            (path / str(number)).write_text(f"{step} " * 20_000)

    tensors = {"policy": {"w": torch.full((size,), float(step))}, "more": {"b": torch.full((3,), step)}}
    save_checkpoint(root, step, tensors=tensors, state={"step": step}, folders={"pool": write})


def check(root: Path) -> int:
    """Return the step of the last checkpoint. All that bear the name must be whole, and it all of its step."""
    skipped: list[str] = []
    found = load_checkpoint(root, on_skip=lambda path, why: skipped.append(f"{path.name}: {why}"))
    assert not skipped, skipped
    faults = [fault(path, int(path.name[5:13])) for path in root.glob("step-*")]
    assert not any(faults), faults
    assert found is not None
    assert found.state == {"step": found.step}
    assert found.tensors("policy")["w"].eq(found.step).all()
    assert found.tensors("more")["b"].eq(found.step).all()
    assert (found.folder("pool") / "0").read_text() == f"{found.step} " * 20_000
    return found.step


def start(work: Callable[[], Any]) -> int:
    """Run `work` in a fork; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def finish(child: int) -> int:
    """Wait for a fork and return its status: 0, or the signal that killed it."""
    return os.waitpid(child, 0)[1]


def killed_at_random(root: Path) -> dict[str, Any]:
    """SIGKILL at 10 random moments of a tight loop of saves."""

    def loop(step: int) -> None:
        while True:
            step += 1
            save(root, step)

    save(root, 1)
    rng, steps = random.Random(0), [1]
    for _ in range(10):
        child = start(lambda: loop(steps[-1]))
        time.sleep(rng.uniform(0.02, 0.15))
        os.kill(child, signal.SIGKILL)
        assert finish(child) == signal.SIGKILL
        steps.append(check(root))
    return {"steps": steps}


def killed_at_every_call(root: Path, *, ahead: int) -> dict[str, Any]:
    """SIGKILL before the first, second, ... call that changes the disk's folders, in a save `ahead` of the last one."""

    def dying(call: int, step: int) -> None:
        left = [call]

        def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*arguments: Any, **more: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **more)

            return wrapped

        for name in ("fsync", "replace", "mkdir", "rmdir", "unlink"):
            setattr(os, name, mortal(getattr(os, name)))
        save(root, step)

    save(root, 1)
    save(root, 2)
    steps, status = [2], signal.SIGKILL.value
    while status == signal.SIGKILL:
        last, call = steps[-1], len(steps)
        status = finish(start(lambda last=last, call=call: dying(call, last + ahead)))  # type: ignore[misc]
        steps.append(check(root))
    return {"steps": steps, "status": status, "names": names(root)}


def too_large(root: Path, *, limit: int | None) -> dict[str, Any]:
    """Save what does not fit: first in the tensors, then in what a folder's writer writes; then what does fit."""
    report = root.with_suffix(".json")

    def work() -> None:
        save(root, 1)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        messages = []
        for size, files in ((1_000_000, 1), (20_000, 100)):
            try:
                save(root, 2, size=size, files=files)
            except CheckpointError as error:
                messages.append(str(error))
            messages.append(str(names(root)))
        if limit is None:
            save(root, 3)
        REPORTS.joinpath(report.name).write_text(json.dumps({"said": messages, "step": check(root)}))

    assert finish(start(work)) == 0
    found: dict[str, Any] = json.loads(REPORTS.joinpath(report.name).read_text())
    return found


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


if __name__ == "__main__":
    torch.set_num_threads(1)
    REPORTS = Path(sys.argv[1])
    results = {
        "random": killed_at_random(REPORTS / "random"),
        "next": killed_at_every_call(REPORTS / "next", ahead=1),
        "same": killed_at_every_call(REPORTS / "same", ahead=0),
        "limited": too_large(REPORTS / "limited", limit=100_000),
    }
    if len(sys.argv) > 2:
        results["full"] = too_large(Path(sys.argv[2]) / "full", limit=None)
    print(json.dumps(results))
