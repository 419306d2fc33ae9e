"""A run that is killed and taken up again ends as the one that never stopped: same weights, measures and games."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings

PROCESS = Path(__file__).with_name("killed_process.py")
MOUNTED = 'mount -t tmpfs -o size=2m none "$2/disk" && exec "$0" "$1" "$2" "$2/disk"'
"""In a mount namespace of its own, so that the small disk is gone with the process."""
CLOCK = ("seconds", "cpu_seconds", "games_per_second")
"""What of a run's records depends on the machine."""


def ends(folder: Path) -> dict[str, Any]:
    """All that a run leaves behind but for times and pictures: files by name, records with their numbers."""
    found: dict[str, Any] = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*.safetensors")}
    if (folder / "payoffs.json").exists():
        found["payoffs.json"] = (folder / "payoffs.json").read_text(encoding="utf-8")
    for name in ("metrics.jsonl", "transcripts.jsonl", "summary.json"):
        text = (folder / name).read_text(encoding="utf-8")
        records = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]
        found[name] = [{key: value for key, value in record.items() if key not in CLOCK} for record in records]
    return found


def assert_equal(folder: Path, whole: Path) -> None:
    left, right = ends(folder), ends(whole)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What came of the trials in `killed_process.py`; "full" only where a plain user may mount a small disk."""
    root = tmp_path_factory.mktemp("runs")
    (root / "disk").mkdir()
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    can_mount = shutil.which("unshare") is not None and not _status([*apart, "mount", "-t", "tmpfs", "none", root])
    command = [*apart, "sh", "-c", MOUNTED] if can_mount else []
    ran = subprocess.run([*command, sys.executable, PROCESS, root], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return root, json.loads(ran.stdout)


def _status(command: list[Any]) -> int:
    return subprocess.run(command, capture_output=True).returncode


def test_the_run_that_is_killed_has_all_kinds_of_state(trials: tuple[Path, dict[str, Any]]) -> None:
    """Otherwise equal ends would say little: snapshots that came and went, rollbacks, games that differ."""
    root, _ = trials
    summary = json.loads((root / "whole" / "summary.json").read_text())
    assert summary["rollbacks"] >= 1
    (last,) = sorted((root / "whole" / "checkpoints").iterdir())[-1:]
    assert len(list((last / "pool").iterdir())) == 3
    # Snapshots of a run with LoRA are adapters, not models.
    sizes = [(last / "pool" / name.name).stat().st_size for name in (last / "pool").iterdir()]
    assert max(sizes) < (root / "whole" / "model" / "model.safetensors").stat().st_size / 3
    assert {file.stem for file in last.glob("*.safetensors")} >= {"critic", "reference", "good-model", "optimizer"}
    lines = (root / "whole" / "transcripts.jsonl").read_text().splitlines()
    players = {name for line in lines for name in json.loads(line)["players"]}
    assert len(players) > 2
    assert any(row["won"] and row["lost"] for row in json.loads((root / "whole" / "payoffs.json").read_text()))


@pytest.mark.parametrize("name", ["placed", "random"])
def test_killed_at_three_moments_and_resumed_it_ends_the_same(name: str, trials: tuple[Path, dict[str, Any]]) -> None:
    """Placed: in the warm start, before the first checkpoint, within a save. Random: anywhere (seed 0)."""
    root, found = trials
    assert found[name]["statuses"] == [-9, -9, -9, 0], found[name]["said"]
    steps = [step for step, _ in found[name]["steps"]]
    assert steps[-1] == 12
    if name == "placed":
        assert steps[:3] == [None, None, 2]
    # Never is there half a checkpoint under a checkpoint's name.
    assert all(skipped == [] for _, skipped in found[name]["steps"])
    assert_equal(root / name, root / "whole")


@pytest.mark.parametrize("name", ["limited", "full", "log", "model"])
def test_where_there_is_no_room_a_run_ends_with_a_message_and_its_checkpoints(
    name: str, trials: tuple[Path, dict[str, Any]]
) -> None:
    """A limit on every file, a disk of 2 MiB, a log that may not grow, and a limit that the last model meets."""
    _, results = trials
    if name not in results:
        pytest.skip("this system lets a plain user mount no disk")
    found = results[name]
    assert found["code"] == 2
    assert "Traceback" not in found["said"]
    assert ("No space left on device" if name == "full" else "File too large") in found["said"]
    assert "make room or raise the limit, then resume" in found["said"].lower()
    assert found["step"] >= 1
    assert found["skipped"] == []
    if name == "limited":
        assert f"The last whole checkpoint stands: step-{found['step']:08d}." in found["said"]
    if name == "model":
        # safetensors raises an error of its own kind, which is no OSError.
        assert found["said"].startswith("train.py: ")
        assert "model cannot be written" in found["said"]


SMALL = {"hidden": 16, "layers": 1, "heads": 2, "warm_steps": 30, "warm_lr": 0.02, "games": 320, "batch_games": 40}
OFTEN = {"measure_every": 3, "save_every": 3, "transcripts": 2}
GROWING = {"snapshot_every": 1, "pool_size": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "copies": {"opponent": "pool", "snapshot_every": 2, "pool_size": 2, "pool_draw": "worst", "epochs": 2},
    "dpo": {"update": "dpo", "groups": "branch", "beta": 1.0, "beta_end": 0.1, "anchor_every": 2},
    "steered": {
        "kl_target": 0.01,
        "lr": 0.02,
        "advantage": "critic",
        "value_clip": 0.5,
        "critic_lr": 0.01,
        "epochs": 2,
    },
    "unanchored": {
        "kl": 0.0,
        "ema_decay": 0.7,
        "guard_rules": ["entropy_floor=1e9", "finite=stop"],
        "opponent": "pool",
        **GROWING,
    },
    "rebel": {"update": "rebel", "groups": "state", "beta": 1.0, "shrink": 1.0, "minibatches": 2, "ema_decay": 0.7},
    "kto": {"update": "kto", "beta": 0.3, "momentum": 0.9, "ema_decay": 0.7, "guard": "none"},
    "match": {"measure": "match", "update": "reinforce", "retries": 1, "max_new_tokens": 3},
}


def train(settings: Settings, updates: int | None = None) -> list[str]:
    """Run to the end, or drop it after some updates as a crash would; returns what was said."""
    said: list[str] = []
    run = Run(settings, say=said.append)
    for _ in run.prepare():
        pass
    left = run.learn()
    for generation, _ in left if updates is None else islice(left, updates + 1):
        assert generation is None or generation.update > 0
    if updates is None:
        run.close(finished=True)
    return said


def small(out: Path, **more: Any) -> Settings:
    return Settings(out=str(out), **{**SMALL, **OFTEN, **more})


@pytest.mark.parametrize("name", VARIANTS)
def test_other_kinds_of_runs_end_the_same(name: str, tmp_path: Path) -> None:
    """Dropped after update 5 of 8, of which the last checkpoint is that of update 3."""
    train(small(tmp_path / "whole", **VARIANTS[name]))
    train(small(tmp_path / "cut", **VARIANTS[name]), updates=5)
    said = train(Settings(resume=str(tmp_path / "cut")))
    assert said[0] == f"{tmp_path / 'cut'}: going on after update 3"
    # All else is the guard's.
    assert all(line.startswith("update ") for line in said[1:])
    assert_equal(tmp_path / "cut", tmp_path / "whole")


def test_a_run_may_be_resumed_again_and_again(tmp_path: Path) -> None:
    """After every update but the last; each resumption finds the checkpoint of the update before."""
    train(small(tmp_path / "whole", save_every=1))
    train(small(tmp_path / "cut", save_every=1), updates=2)
    for update in range(1, 7):
        said = train(Settings(resume=str(tmp_path / "cut")), updates=1)
        assert said == [f"{tmp_path / 'cut'}: going on after update {update}"]
    train(Settings(resume=str(tmp_path / "cut")))
    assert_equal(tmp_path / "cut", tmp_path / "whole")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run dropped after update 5, with the checkpoints of updates 2 and 4; copy it before going on."""
    folder = tmp_path_factory.mktemp("cut") / "run"
    train(small(folder, save_every=2), updates=5)
    return folder


def test_an_altered_checkpoint_is_named_and_skipped_and_the_run_ends_the_same(cut: Path, tmp_path: Path) -> None:
    train(small(tmp_path / "whole", save_every=2))
    shutil.copytree(cut, tmp_path / "run")
    altered = tmp_path / "run" / "checkpoints" / "step-00000004"
    content = bytearray((altered / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (altered / "model.safetensors").write_bytes(content)
    said = train(Settings(resume=str(tmp_path / "run")))
    assert said[0].startswith(f"{altered} is skipped: ")
    assert "model.safetensors" in said[0]
    assert said[1:] == [f"{tmp_path / 'run'}: going on after update 2"]
    assert_equal(tmp_path / "run", tmp_path / "whole")


def test_without_a_whole_checkpoint_it_starts_anew_and_ends_the_same(cut: Path, tmp_path: Path) -> None:
    train(small(tmp_path / "whole", save_every=2))
    shutil.copytree(cut, tmp_path / "run")
    for state in tmp_path.glob("run/checkpoints/*/state.json"):
        state.unlink()
    said = train(Settings(resume=str(tmp_path / "run")))
    assert [line.split(" is skipped")[0][-4:] for line in said[:-1]] == ["0004", "0002"]
    assert said[-1].endswith("there is no whole checkpoint; starting anew")
    assert_equal(tmp_path / "run", tmp_path / "whole")


def test_a_log_that_was_altered_is_not_gone_on_with(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"update": 0}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl holds 14 bytes, at the checkpoint it held .* put back"):
        train(Settings(resume=str(tmp_path / "run")))


def test_other_settings_besides_are_refused(cut: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in cut.rglob("*")}
    with pytest.raises(ValueError, match="takes the run's own settings; leave out games, lr"):
        Run(Settings(resume=str(cut), games=5, lr=1.0))
    assert {path: path.stat().st_mtime_ns for path in cut.rglob("*")} == before


def test_settings_of_another_version_are_refused(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "run")
    with open(tmp_path / "run" / "config.yaml", "a") as file:
        file.write("phlogiston: 1\n")
    with pytest.raises(ValueError, match=r"is of another version: its config\.yaml has phlogiston"):
        Run(Settings(resume=str(tmp_path / "run")))


def test_an_edited_setting_of_the_wrong_kind_is_named(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("in_flight: ", "in_flight: 1e6 #"))
    with pytest.raises(ValueError, match=r"config\.yaml: in_flight must be of kind int, not '1e6'"):
        Run(Settings(resume=str(tmp_path / "run")))


def test_a_finished_run_is_not_gone_on_with(tmp_path: Path) -> None:
    train(small(tmp_path / "run", games=40))
    with pytest.raises(ValueError, match=f"is finished; to train its model further: --model {tmp_path}/run/model"):
        Run(Settings(resume=str(tmp_path / "run")))


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_a_run_is_refused_and_left_alone(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no run to go on with \(no config.yaml\)"):
        Run(Settings(resume=str(tmp_path / folder)))
    assert os.listdir(tmp_path) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []
