"""Several processes train as one does: the same games, the same updates, one run folder; and they stop together."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import load_file
from torch.testing import assert_close

from sparring.agents import Reply
from sparring.selfplay import Sample
from sparring.selfplay.checkpoint import load_checkpoint
from sparring.selfplay.groups import merge, share
from sparring.selfplay.processes import Processes
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings
from sparring.selfplay.settings_checks import check_together
from sparring.selfplay.shards import share_out

HERE = Path(__file__).resolve().parent

SMALL = {"hidden": 16, "warm_steps": 2, "batch_games": 24, "measure_every": 2, "save_every": 1, "seed": 3}
JOBS: dict[str, dict[str, Any]] = {
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
"""Settings of runs. Three updates, and two."""


FSDP = {
    "compute_environment": "LOCAL_MACHINE",
    "distributed_type": "FSDP",
    "num_processes": 2,
    "num_machines": 1,
    "machine_rank": 0,
    "mixed_precision": "no",
    "use_cpu": False,
    "fsdp_config": {"fsdp_version": 1, "fsdp_sharding_strategy": "FULL_SHARD", "fsdp_offload_params": False},
}
"""As `accelerate config` writes it."""


def launched_by(config: dict[str, Any], path: Path) -> dict[str, str]:
    """Return what `accelerate launch --config_file` sets, but for what says which process is which."""
    path.write_text(yaml.safe_dump(config))
    arguments = launch_command_parser().parse_args(["--config_file", str(path), "train.py"])
    arguments, *_ = _validate_launch_command(arguments)
    found = prepare_multi_gpu_env(arguments)
    return {name: value for name, value in found.items() if name.startswith(("ACCELERATE_", "FSDP_"))}


def launch(jobs: Path, count: int = 2) -> list[tuple[int, str, str]]:
    """Run jobs in processes as torchrun starts them, without the seconds that it takes itself.

    Returns each one's exit code, output and errors.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "COLUMNS": "200"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "training_process.py"), str(jobs)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        said = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


class Together(NamedTuple):
    """What two processes did."""

    out: Path
    said: list[str]
    """By each of them, on standard output."""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    out = tmp_path_factory.mktemp("together")
    jobs: list[dict[str, Any]] = [{"settings": {**job, "out": str(out / name)}} for name, job in JOBS.items()]
    jobs.append({"settings": {**JOBS["critic"], "out": str(out / "left")}, "generations": 2})
    jobs.append({"settings": {"resume": str(out / "left")}})
    fsdp = launched_by(FSDP, out / "fsdp.yaml")
    sharded = {**JOBS["critic"], "out": str(out / "sharded")}
    jobs.append({"settings": sharded, "generations": 2, "environment": fsdp})
    jobs.append({"settings": {"resume": str(out / "sharded")}, "environment": fsdp})
    jobs.append({"settings": {**SMALL, "out": str(out / "branch")}, "refused": str(out / "refused")})
    jobs.append({"settings": {**SMALL, "update": "trl-dpo"}, "refused": str(out / "trl")})
    flags = ["--games", "10000000", "--batch_games", "32", "--warm_steps", "1", "--hidden", "16"]
    jobs.append({"flags": [*flags, "--out", str(out / "stopped")]})
    (out / "jobs.json").write_text(json.dumps(jobs))
    done = launch(out / "jobs.json")
    assert [code for code, *_ in done] == [130, 130], done
    return Together(out, [said for _, said, _ in done])


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
    found = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in line.items() if "second" not in key} for line in found]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_play_and_learn_what_one_does(name: str, alone: Path, together: Together) -> None:
    games = [(out / name / "transcripts.jsonl").read_text() for out in (alone, together.out)]
    assert games[0] == games[1]
    for one, two in zip(metrics(alone / name), metrics(together.out / name), strict=True):
        # Not so near: where pads stand does depend on their number; and tiny figures are rounding itself.
        assert two | {"padding": 0} == pytest.approx(one | {"padding": 0}, rel=1e-3, abs=1e-5)
    assert_close(weights(together.out / name), weights(alone / name), rtol=0, atol=2e-5)


def test_a_run_of_two_processes_is_resumed_by_two_to_the_bit(together: Together) -> None:
    """Two processes sum in the same order every time."""
    assert_close(weights(together.out / "left"), weights(together.out / "critic"), rtol=0, atol=0)
    assert metrics(together.out / "left") == metrics(together.out / "critic")


def test_an_optimizer_that_is_shared_out_learns_the_same_to_the_bit(together: Together) -> None:
    """With what accelerate sets by a configuration of FSDP, left after two of three updates and resumed."""
    whole, sharded = together.out / "critic", together.out / "sharded"
    assert_close(weights(sharded), weights(whole), rtol=0, atol=0)
    assert metrics(sharded) == metrics(whole)
    kept = [int(Path(f"{sharded}-kept-{index}").read_text()) for index in (0, 1)]
    everything = int(Path(f"{whole}-kept-0").read_text())
    assert sum(kept) == everything
    assert max(kept) < 0.6 * everything
    # A checkpoint is put together on the main process alone.
    gathered = [int(Path(f"{sharded}-gathered-{index}").read_text()) for index in (0, 1)]
    assert gathered == [everything, kept[1]]
    # Any number of processes may go on from it: the checkpoint is whole.
    last = [load_checkpoint(run / "checkpoints", on_skip=print) for run in (sharded, whole)]
    assert last[0] is not None
    assert last[1] is not None
    assert_close(last[0].tensors("optimizer"), last[1].tensors("optimizer"), rtol=0, atol=0)
    assert_close(last[0].tensors("good-optimizer"), last[1].tensors("good-optimizer"), rtol=0, atol=0)


def test_things_are_shared_out_by_size() -> None:
    assert share_out([1, 5, 3, 1, 2], 2) == [0, 0, 1, 1, 1]
    assert share_out([4], 3) == [0]


def test_what_the_main_process_refuses_all_refuse(together: Together) -> None:
    refusals = [(together.out / f"refused-{index}").read_text() for index in (0, 1)]
    assert refusals[0] == refusals[1]
    assert "FileExistsError" in refusals[0]
    assert "holds a run already" in refusals[0]
    for index in (0, 1):
        assert "take dpo" in (together.out / f"trl-{index}").read_text()


def test_one_process_told_to_stop_stops_all_and_the_model_is_saved(together: Together) -> None:
    """The exit codes were 130; here is what else Ctrl-C leaves behind."""
    stopped = together.out / "stopped"
    assert json.loads((stopped / "summary.json").read_text())["finished"] is False
    assert (stopped / "model" / "model.safetensors").is_file()
    assert "interrupted" in together.said[0]
    assert "interrupted" not in together.said[1]  # only the main process prints


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


def test_one_gpu_for_all_is_refused() -> None:
    with pytest.raises(ValueError, match="leave the number out"):
        check_together(Settings(device="cuda:0"), 2)
