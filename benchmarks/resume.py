"""A training run killed with SIGKILL at 20 random moments and resumed each time, against one that never stopped.

    python benchmarks/resume.py              # writes benchmarks/results/resume.{json,md}; one process at a time

Both are `python scripts/train.py` with the flags below. Compared exactly: every weight and optimizer state
(safetensors), every measure but those of time, every game kept in the transcripts, and the summary.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sparring.selfplay.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
FLAGS = [
    *("--games", "38400", "--batch_games", "128", "--hidden", "32", "--warm_steps", "100", "--seed", "0"),
    *("--advantage", "critic", "--minibatches", "2", "--entropy", "0.02", "--anchor_every", "50", "--lr", "4e-3"),
    *("--opponent", "pool", "--snapshot_every", "20", "--pool_size", "4", "--guard_rules", "entropy_floor=0.56"),
    *("--measure_every", "10", "--save_every", "5"),
]
"""A critic, minibatches, schedules, a reference that catches up, a pool with payoffs, and a guard that rolls back."""
UPDATES = 300
CLOCK = ("seconds", "cpu_seconds", "games_per_second")
LOGS = ("metrics.jsonl", "transcripts.jsonl", "summary.json")


def start(*flags: str) -> subprocess.Popen[str]:
    """Start the script and wait until it has read its settings."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    command = [sys.executable, "-u", str(ROOT / "scripts" / "train.py"), *flags]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "measured" in line:
            return process
    raise RuntimeError("".join(said))


def to_the_end(process: subprocess.Popen[str]) -> None:
    """Let a process end, and see that all went well."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(said)


def killed(folder: Path, flags: list[str], target: int, wait: float) -> dict[str, Any] | None:
    """Kill a run some seconds after the checkpoint of an update is there; returns where that left it.

    A target below 0 is there from the start, so that the run dies in its warm start. None if it had ended before.
    """
    process = start(*flags)
    while process.poll() is None and newest(folder) < target:
        time.sleep(0.01)
    try:
        said, _ = process.communicate(timeout=wait)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    else:
        if process.returncode:
            raise RuntimeError(said)
        return None
    skipped: list[str] = []
    found = load_checkpoint(folder / "checkpoints", on_skip=lambda path, why: skipped.append(f"{path.name}: {why}"))
    step = found.step if found else None
    return {"target": target, "seconds": round(wait, 2), "checkpoint": step, "skipped": skipped}


def newest(folder: Path) -> int:
    """Return the update of the newest checkpoint by name, -1 if there is none."""
    return max((int(path.name[5:13]) for path in folder.glob("checkpoints/step-*")), default=-1)


def ends(folder: Path) -> dict[str, Any]:
    """Return all that a run leaves behind but for times and pictures."""
    found: dict[str, Any] = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*.safetensors")}
    for name in LOGS:
        text = (folder / name).read_text(encoding="utf-8")
        records = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]
        found[name] = [{key: value for key, value in record.items() if key not in CLOCK} for record in records]
    return found


def trial(folder: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """Train twice, once without and once with interruptions; returns what came of it."""
    process = start(*FLAGS, "--out", str(folder / "whole"))
    began = time.perf_counter()
    to_the_end(process)
    seconds = time.perf_counter() - began
    rng, moments = random.Random(seed), []
    flags = [*FLAGS, "--out", str(folder / "killed")]
    # By progress, not by the clock: on a busy machine times come out otherwise. Below 0 is the warm start.
    for target in sorted(int(rng.uniform(-0.1, 1) * UPDATES) for _ in range(kills)):
        moment = killed(folder / "killed", flags, max(target, -1), rng.uniform(0, 2))
        if moment is None:
            break
        moments.append(moment)
        print(f"{len(moments)}: {moment}", flush=True)
        flags = ["--resume", str(folder / "killed")]
    else:
        to_the_end(start(*flags))
    whole, resumed = ends(folder / "whole"), ends(folder / "killed")
    different = sorted(name for name in whole.keys() | resumed.keys() if whole.get(name) != resumed.get(name))
    (summary,) = whole["summary.json"]
    return {
        "flags": FLAGS,
        "seed": seed,
        "kills": moments,
        "compared": {name: len(content) for name, content in sorted(whole.items())},
        "different": different,
        "rollbacks": summary["rollbacks"],
        "nashconv": [summary["nashconv_start"], summary["nashconv"]],
        "seconds": round(seconds, 1),
    }


def report(found: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    kills, files = found["kills"], [name for name in found["compared"] if name.endswith(".safetensors")]
    verdict = f"different: {', '.join(found['different'])}" if found["different"] else "nothing differs"
    rows = [
        f"| {number} | {'the start' if kill['target'] < 0 else kill['target']} | {kill['seconds']:.2f} | "
        f"{'none' if kill['checkpoint'] is None else kill['checkpoint']} | {len(kill['skipped'])} |"
        for number, kill in enumerate(kills, 1)
    ]
    lines = [
        "# Resume to the bit",
        "",
        f"Made by `python benchmarks/resume.py --seed {found['seed']}`: one run of `scripts/train.py`, killed with",
        f"SIGKILL at {len(kills)} random moments and resumed after each, against the same run left alone.",
        "",
        f"- **{verdict}**, of {len(files)} safetensors files, {found['compared']['metrics.jsonl']} records of measures",
        f"  and {found['compared']['transcripts.jsonl']} games; times are not compared",
        f"- the run: `{' '.join(found['flags'])}`",
        f"- in it the guard rolled back {found['rollbacks']} times; NashConv {found['nashconv'][0]:.3f} to "
        f"{found['nashconv'][1]:.3f}; {found['seconds']:.0f} s uninterrupted",
        "",
        "| kill | after the checkpoint of update | seconds more | last whole checkpoint then | skipped as damaged |",
        "|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = trial(Path(folder), kills=options.kills, seed=options.seed)
    (RESULTS / "resume.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "resume.md").write_text(report(found))
    print(report(found))
    return 1 if found["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
