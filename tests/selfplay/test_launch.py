"""What launchers ask for: taken where it works, refused with a remedy where it would be missed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparring.selfplay.launch import check_launch, launch_note, launched_precision, sharded_by
from sparring.selfplay.processes import launched_processes

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_PARALLELISM_CONFIG"])
def test_launchers_that_cut_the_model_are_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv(variable, "true")
    with pytest.raises(ValueError, match="not supported; the model must be whole in every process"):
        launched_processes(cpu=True)


REFUSED = [
    ("FSDP_OFFLOAD_PARAMS", "true", "nothing is moved to the CPU"),
    ("FSDP_ACTIVATION_CHECKPOINTING", "true", "--gradient_checkpointing"),
    ("FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD", "true", "nothing is moved to the CPU"),
    ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", "nvme", "nothing is moved to the CPU"),
    ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "cpu", "nothing is moved to the CPU"),
    ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "set dynamo_backend no"),
]


@pytest.mark.parametrize(("variable", "value", "remedy"), REFUSED)
def test_what_would_be_missed_is_refused(
    variable: str, value: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable}={value} is not supported; .*{remedy}"):
        launched_processes(cpu=True)


@pytest.fixture
def deepspeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a launch by DeepSpeed is configured with, still to be written."""
    path = tmp_path / "ds.json"
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(path))
    return path


ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "offload_optimizer": ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "leave it out"),
    "offload_param": ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}, "leave it out"),
    "cpu_offload": ({"zero_optimization": {"cpu_offload": True}}, "leave it out"),
    "activation_checkpointing": (
        {"activation_checkpointing": {"partition_activations": True}},
        "--gradient_checkpointing",
    ),
    "tensor_parallel": ({"tensor_parallel": {"autotp_size": 2}}, "must be whole in every process"),
    "fp16": ({"fp16": {"enabled": True}}, "take bf16"),
    "bf16": ({"bf16": {"enabled": True}}, "--mixed_precision bf16"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_a_deepspeed_file_asks_for_is_refused(name: str, deepspeed: Path) -> None:
    settings, remedy = ASKED[name]
    deepspeed.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"{name} in .*ds.json is not supported; .*{remedy}"):
        launched_processes(cpu=True)


def test_a_deepspeed_file_that_asks_for_no_more_is_taken(deepspeed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    off = {"device": "none"}
    zero = {"stage": 2, "offload_optimizer": off, "offload_param": {"device": "auto"}, "overlap_comm": True}
    deepspeed.write_text(
        json.dumps({"zero_optimization": zero, "fp16": {"enabled": "auto"}, "bf16": {"enabled": True}})
    )
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    check_launch()


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_deepspeed_file_that_cannot_be_read_is_refused(text: str | None, deepspeed: Path) -> None:
    if text is not None:
        deepspeed.write_text(text)
    with pytest.raises(ValueError, match=r"ACCELERATE_DEEPSPEED_CONFIG_FILE=.*ds.json .*: give "):
        launched_processes(cpu=True)


@pytest.mark.parametrize(
    ("variable", "name"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_what_shards_is_taken_for_a_shared_optimizer(variable: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sharded_by() == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv(variable, "true")
    assert sharded_by() == name
    assert launch_note(2).startswith(f"{name}: the optimizer's state is shared out")


def test_one_process_is_told_that_nothing_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert launch_note(1).startswith("FSDP: one process has nobody to share the optimizer's state with")


def test_the_launchers_precision_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers' TrainingArguments leave the first variable behind; that alone must not change a later run."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert launched_precision() == "no"
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    assert launched_precision() == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="take bf16"):
        launched_precision()


def test_accelerate_launches_the_script(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    flags = [
        "--games",
        "16",
        "--batch_games",
        "16",
        "--warm_steps",
        "1",
        "--hidden",
        "16",
        "--out",
        str(tmp_path / "run"),
    ]
    start = [*launcher, "--mixed_precision", "bf16", str(SCRIPT), *flags]
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["finished"] is True
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["mixed_precision"] == "bf16"
