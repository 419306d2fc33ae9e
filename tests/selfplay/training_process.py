"""One of several processes that train together: does the jobs of a JSON file one after another, for test_processes.py.

A job is the settings of a run. With "generations" it is left after so many, as if killed; with "refused" what it says
when it is refused is written to that file and the process's number; "environment" is what a launcher would set. How
many numbers its optimizer keeps, and how many it has for a checkpoint, is written beside the run. A job of "flags" is a
run of scripts/train.py whose second process gets a Ctrl-C once there is a checkpoint.
"""

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sparring.selfplay import recorder
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings

INDEX = int(os.environ["RANK"])
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"


def train(
    settings: dict[str, Any],
    generations: int | None = None,
    refused: str | None = None,
    environment: dict[str, str] | None = None,
) -> None:
    os.environ.update(environment or {})
    try:
        run = Run(Settings(**settings))
    except (ValueError, OSError) as error:
        if refused is None:
            raise
        Path(f"{refused}-{INDEX}").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return
    for _ in run.prepare():
        pass
    for generation, _ in run.learn():
        if generation is not None and generation.update == generations:
            break
    else:
        run.close(finished=True)
    assert run.state is not None
    kept = run.state.learner.tensors()["optimizer"]
    for name, tensors in (("kept", kept), ("gathered", run.state.tensors()["optimizer"])):
        numbers = sum(tensor.numel() for key, tensor in tensors.items() if key.endswith(".exp_avg"))
        Path(f"{run.folder.path}-{name}-{INDEX}").write_text(str(numbers))
    for name in environment or {}:
        del os.environ[name]
    weights = [p.detach().double().sum().item() for p in run.player.model.parameters()]
    run.processes.check_same(weights, "their weights")


def interrupt(checkpoints: Path) -> None:
    # The first checkpoint is written when the start was measured: games are then being played.
    while not list(checkpoints.glob("step-*")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def script(flags: list[str]) -> int:
    """Return the exit code."""
    spec = importlib.util.spec_from_file_location("train_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses and TrlParser look for a class's module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if INDEX == 1:
        threading.Thread(target=interrupt, args=[Path(flags[-1]) / "checkpoints"], daemon=True).start()
    sys.argv = [str(SCRIPT), *flags]
    code: int = module.main()
    return code


if __name__ == "__main__":
    # Drawing takes as long as training, and pictures are compared with nothing.
    for drawing in ("plot_curves", "plot_all"):
        setattr(recorder, drawing, lambda *_, **__: None)
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if "flags" in job:
            sys.exit(script(job["flags"]))
        train(**job)
