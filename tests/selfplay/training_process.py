"""One of several processes that train together: does the jobs of a JSON file one after another, for test_processes.py.

A job is the settings of a run; with "generations" it is left after so many, as if killed, and with "refused" what it
says when it is refused is written to that file and the process's number.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings


def do(settings: dict[str, Any], generations: int | None = None, refused: str | None = None) -> None:
    try:
        run = Run(Settings(**settings))
    except (ValueError, OSError) as error:
        assert refused is not None, error
        index = sys.argv[2]
        Path(f"{refused}-{index}").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return
    for _ in run.prepare():
        pass
    for generation, _ in run.learn():
        if generation is not None and generation.update == generations:
            return
    run.close(finished=True)
    weights = [p.detach().double().sum().item() for p in run.player.model.parameters()]
    run.processes.check_same(weights, "their weights")


if __name__ == "__main__":
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        do(**job)
