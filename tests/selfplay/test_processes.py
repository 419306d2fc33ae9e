"""Several processes train as one does: the same games, the same updates, one run folder; and they stop together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from sparring.agents import Reply
from sparring.selfplay import Sample
from sparring.selfplay.groups import merge, share
from sparring.selfplay.processes import Processes, launched_precision, launched_processes
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings, check_together

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

SMALL = {"hidden": 16, "warm_steps": 3, "batch_games": 24, "measure_every": 2, "save_every": 2, "seed": 3}
JOBS: dict[str, dict[str, Any]] = {
    "rae": {**SMALL, "games": 24 * 4},
    # Each part of the loop that reads the model or draws at random: critic, shuffled minibatches, pool.
    "critic": {
        **SMALL,
        "games": 24 * 3,
        "opponent": "pool",
        "snapshot_every": 1,
        "advantage": "critic",
        "epochs": 2,
        "minibatches": 3,
    },
    "branch": {**SMALL, "games": 24 * 2, "update": "dpo", "groups": "branch", "width": 2, "rollouts": 2},
}
"""Settings of runs. Four updates, three and two."""


def launch(command: list[str], count: int = 2) -> list[subprocess.Popen[str]]:
    """Start processes as torchrun does, without the seconds that it takes itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [word.replace("RANK", str(rank)) for word in command],
            cwd=ROOT,
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for processes; returns each one's exit code, output and errors."""
    try:
        said = [process.communicate(timeout=180) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs by two processes."""
    out = tmp_path_factory.mktemp("together")
    settings = {name: {**job, "out": str(out / name)} for name, job in JOBS.items()}
    settings["left"] = {**JOBS["rae"], "out": str(out / "left")}
    jobs: list[dict[str, Any]] = [{"settings": settings[name]} for name in JOBS]
    jobs.append({"settings": settings["left"], "generations": 3})
    jobs.append({"settings": {"resume": str(out / "left")}})
    jobs.append({"settings": settings["rae"], "refused": str(out / "refused")})
    jobs.append({"settings": {**SMALL, "update": "trl-dpo"}, "refused": str(out / "trl")})
    (out / "jobs.json").write_text(json.dumps(jobs))
    done = ended(launch([sys.executable, str(HERE / "training_process.py"), str(out / "jobs.json"), "RANK"]))
    assert [code for code, *_ in done] == [0, 0], done
    return out


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same runs by one process."""
    out = tmp_path_factory.mktemp("alone")
    for name, job in JOBS.items():
        run = Run(Settings(**job, out=str(out / name)), say=lambda _: None)
        for _ in (*run.prepare(), *run.learn()):
            pass
        run.close(finished=True)
    return out


def metrics(run: Path) -> list[dict[str, float]]:
    untimed = ({k: v for k, v in json.loads(line).items() if "second" not in k} for line in open(run / "metrics.jsonl"))
    return list(untimed)


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_play_and_learn_what_one_does(name: str, alone: Path, together: Path) -> None:
    games = [(out / name / "transcripts.jsonl").read_text() for out in (alone, together)]
    assert games[0] == games[1]
    for one, two in zip(metrics(alone / name), metrics(together / name), strict=True):
        # Tiny ones are of rounding itself.
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)
    one, two = (load_file(out / name / "model" / "model.safetensors") for out in (alone, together))
    assert_close(two, one, rtol=0, atol=2e-5)


def test_a_run_of_two_processes_is_resumed_by_two_to_the_bit(together: Path) -> None:
    """Two processes sum in the same order every time."""
    left, whole = (load_file(together / name / "model" / "model.safetensors") for name in ("left", "rae"))
    assert_close(left, whole, rtol=0, atol=0)
    assert metrics(together / "left") == metrics(together / "rae")


def test_what_the_main_process_refuses_all_refuse(together: Path) -> None:
    refusals = [(together / f"refused-{index}").read_text() for index in (0, 1)]
    assert refusals[0] == refusals[1]
    assert "FileExistsError" in refusals[0]
    assert "holds a run already" in refusals[0]
    for index in (0, 1):
        assert "take dpo" in (together / f"trl-{index}").read_text()


def test_one_process_told_to_stop_stops_all_and_the_model_is_saved(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--games", "10000000", "--batch_games", "32", "--warm_steps", "1", "--hidden", "16", "--out", str(out)]
    running = launch([sys.executable, "scripts/train.py", *flags])
    try:
        # The first checkpoint is written after the start was measured: games are being played.
        while not list(out.glob("checkpoints/step-*")) and all(process.poll() is None for process in running):
            time.sleep(0.1)
        running[1].send_signal(signal.SIGINT)
    finally:
        done = ended(running)
    assert [code for code, *_ in done] == [130, 130], done
    assert json.loads((out / "summary.json").read_text())["finished"] is False
    assert (out / "model" / "model.safetensors").is_file()
    assert "interrupted" in done[0][1]
    assert done[1][1] == ""  # only the main process prints


def test_shares_are_contiguous_and_leave_nothing_out() -> None:
    shares = []
    for index in range(3):
        member = Processes()
        member.index, member.count = index, 3
        shares.append(member.share(10))
    assert shares == [(0, 3), (3, 3), (6, 4)]


def test_rows_are_shared_evenly_with_equal_prompts_together() -> None:
    replies = [
        Reply(text="", prompt_ids=(p,) * (5 + p % 3), ids=(token,), logprobs=(0.0,))
        for p in range(30)
        for token in (7, 8)
    ]
    rows = merge([Sample(reply, 1.0) for reply in replies])
    parts = [share(rows, index, 4) for index in range(4)]
    assert sorted(id(row) for part in parts for row in part) == sorted(map(id, rows))
    prompts = [{row.reply.prompt_ids for row in part} for part in parts]
    assert sum(map(len, prompts)) == 30
    assert min(map(len, prompts)) >= 6


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"])
def test_launchers_that_cut_the_model_are_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ValueError, match="not supported: the model must be whole in every process"):
        launched_processes(cpu=True)


def test_compilation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    with pytest.raises(ValueError, match="set dynamo_backend no"):
        launched_processes(cpu=True)


def test_the_launchers_precision_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers' TrainingArguments leave the first variable behind; that alone must not change a later run."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert launched_precision() == "no"
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    assert launched_precision() == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="take bf16"):
        launched_precision()


def test_one_gpu_for_all_is_refused() -> None:
    with pytest.raises(ValueError, match="leave the number out"):
        check_together(Settings(device="cuda:0"), 2)
