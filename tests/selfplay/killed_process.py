"""What a process goes through that trains: killed at chosen moments and resumed, on a full disk. Prints JSON.

    python tests/selfplay/killed_process.py FOLDER [SMALL_DISK]

One process, because importing torch takes longer than all of this; each trial runs `scripts/train.py` in a fork of it.
A moment is a count of events (a batch of replies, a step of the optimizer, a line of a log, each sync and rename of a
save), so that it is the same on a busy machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sparring.agents import LanguageModelAgent
from sparring.selfplay import recorder
from sparring.selfplay.checkpoint import load_checkpoint
from sparring.selfplay.learner import Learner
from sparring.selfplay.runs import RunFolder

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
SMALL = ["--hidden", "16", "--layers", "1", "--heads", "2", "--warm_steps", "40", "--warm_lr", "0.02"]
RICH = [
    *(*SMALL, "--games", "520", "--batch_games", "40", "--measure_every", "3", "--save_every", "2", "--seed", "5"),
    *("--advantage", "critic", "--critic", "separate", "--minibatches", "2", "--epochs", "2", "--lora", "4"),
    *("--opponent", "pool", "--pool_mix", "self=0.4", "snapshots=0.4", "fixed=0.2", "--pool_fixed", "random"),
    *("--snapshot_every", "3", "--pool_size", "3", "--anchor_every", "6", "--lr", "0.05", "--lr_end", "0.01"),
    *("--entropy", "0.05", "--kl", "0.2", "--guard_rules", "entropy_floor=0.7", "kl_ceiling=0.5"),
]
"""As much state as fits in one short run; the guard's bounds are so narrow that it rolls back."""
EVENTS = (
    (os, "fsync"),
    (os, "replace"),
    (Learner, "_step"),
    (LanguageModelAgent, "reply"),
    (RunFolder, "_append"),
    (RunFolder, "save_model"),
)


def train(arguments: list[str], errors: Path) -> int:
    """Run the script in this process; returns its exit code."""
    spec = importlib.util.spec_from_file_location("train_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sys.argv = ["train.py", *arguments]
    said = io.StringIO()
    with open(errors, "w") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(said):
        code: int = module.main()
    return code


def announce(tell: Callable[[str], None]) -> None:
    """Let `tell` know of every event before it happens."""

    def wrapped(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def announced(*arguments: Any, **more: Any) -> Any:
            tell(name)
            return function(*arguments, **more)

        return announced

    for owner, name in EVENTS:
        setattr(owner, name, wrapped(getattr(owner, name), name))


def fork(work: Callable[[], int]) -> int:
    """Run `work` in a fork; returns its exit code, or less 0 the signal that killed it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os._exit(work())
    except BaseException:  # noqa: BLE001 (a fork must not go on as its parent would)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(99)


def whole(folder: Path) -> list[str]:
    """Train without interruption; returns the name of every event, in order."""
    names: list[str] = []

    def work() -> int:
        announce(names.append)
        code = train([*RICH, "--out", str(folder)], folder.with_suffix(".errors"))
        folder.with_suffix(".events").write_text(json.dumps(names))
        return code

    assert fork(work) == 0, folder.with_suffix(".errors").read_text()
    found: list[str] = json.loads(folder.with_suffix(".events").read_text())
    return found


def killed(folder: Path, arguments: list[str], event: int | None) -> int:
    """Train until just before an event of this number, counted from 0; None: to the end. Returns the status."""
    passed = [0]

    def count(_: str) -> None:
        if passed[0] == event:
            os.kill(os.getpid(), signal.SIGKILL)
        passed[0] += 1

    def work() -> int:
        announce(count)
        return train(arguments, folder.with_suffix(".errors"))

    return fork(work)


def last_step(folder: Path) -> tuple[int | None, list[str]]:
    """Return the step of the last checkpoint, and the names of those that are not whole."""
    skipped: list[str] = []
    found = load_checkpoint(folder / "checkpoints", on_skip=lambda path, why: skipped.append(f"{path.name}: {why}"))
    return found.step if found else None, skipped


def interrupted(folder: Path, moments: list[int]) -> dict[str, Any]:
    """Kill a run at each of these moments, resuming it in between, and let it end."""
    statuses, steps = [], []
    arguments = [*RICH, "--out", str(folder)]
    for moment in (*moments, None):
        statuses.append(killed(folder, arguments, moment))
        steps.append(last_step(folder))
        arguments = ["--resume", str(folder)]
    said = folder.with_suffix(".errors").read_text()
    return {"moments": moments, "statuses": statuses, "steps": steps, "said": said}


def choose(events: list[str]) -> dict[str, list[int]]:
    """Return when to kill: in the warm start, before the first checkpoint and within a save; and at random."""
    renames = [number for number, name in enumerate(events) if name == "replace"]
    syncs = [number for number in range(renames[1], renames[2]) if events[number] == "fsync"]
    rng = random.Random(0)
    # What comes before the warm start: the settings are written, which a resumed run does not do.
    first = events.index("_step")
    return {
        "placed": [first + 10, renames[0] - first, syncs[len(syncs) // 2] - first],
        # A resumed run has less to do, but the three together never have more than the whole.
        "random": [rng.randrange(len(events) // 3) for _ in range(3)],
    }


def no_room(folder: Path, *more: str, limit: int | None = None, event: str = "replace", at: int = 3) -> dict[str, Any]:
    """Train until the disk refuses, or a limit on every file that holds from the third save on, or another event."""
    passed = [0]

    def count(name: str) -> None:
        passed[0] += name == event
        if limit is not None and passed[0] == at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def work() -> int:
        announce(count)
        flags = ["--games", "100000", "--batch_games", "40", "--save_every", "1", "--keep", "1000", *more]
        return train([*SMALL, *flags, "--out", str(folder)], REPORTS / f"{folder.name}.errors")

    code = fork(work)
    step, skipped = last_step(folder)
    return {
        "code": code,
        "said": (REPORTS / f"{folder.name}.errors").read_text(),
        "step": step,
        "skipped": skipped,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Drawing takes as long as training, and pictures are compared with nothing.
    for drawing in ("plot_curves", "plot_all"):
        setattr(recorder, drawing, lambda *_, **__: None)
    REPORTS = Path(sys.argv[1])
    results: dict[str, Any] = {}
    for trial, moments in choose(whole(REPORTS / "whole")).items():
        results[trial] = interrupted(REPORTS / trial, moments)
    results["limited"] = no_room(REPORTS / "limited", limit=30_000)
    results["model"] = no_room(REPORTS / "model", "--games", "80", limit=10_000, event="save_model", at=1)
    results["log"] = no_room(REPORTS / "log", "--measure_every", "1", "--transcripts", "40", limit=400_000)
    if len(sys.argv) > 2:
        results["full"] = no_room(Path(sys.argv[2]) / "full")
    print(json.dumps(results))
