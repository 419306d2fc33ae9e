"""Checkpoints: they come back equal, damage is named and skipped, and neither a kill nor a full disk costs the last."""

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from sparring.selfplay import checkpoint, manifest
from sparring.selfplay.checkpoint import (
    Checkpoint,
    CheckpointError,
    cut_log,
    load_checkpoint,
    log_size,
    save_checkpoint,
)


def save(root: Path, step: int, keep: int = 2) -> Path:
    """A checkpoint all of whose content tells its step."""
    return save_checkpoint(
        root,
        step,
        tensors={"policy": {"w": torch.full((50,), float(step)), "b": torch.full((3,), step)}, "none": {}},
        state={"step": step},
        folders={"pool": lambda path: fill(path, step)},
        keep=keep,
    )


def fill(path: Path, step: int) -> None:
    (path / "deep").mkdir()
    (path / "deep" / "payoffs.json").write_text(str(step))


def load(root: Path) -> tuple[Checkpoint | None, list[str]]:
    skipped: list[str] = []
    found = load_checkpoint(root, on_skip=lambda path, why: skipped.append(f"{path.name}: {why}"))
    return found, skipped


def is_of_its_step(found: Checkpoint) -> bool:
    policy = found.tensors("policy")
    return (
        found.state == {"step": found.step}
        and policy["w"].eq(found.step).all().item()
        and policy["b"].tolist() == [found.step] * 3
        and found.tensors("none") == {}
        and (found.folder("pool") / "deep" / "payoffs.json").read_text() == str(found.step)
    )


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_what_is_saved_is_loaded_and_the_last_two_stay(tmp_path: Path) -> None:
    paths = [save(tmp_path, step) for step in (1, 2, 30)]
    found, skipped = load(tmp_path)
    assert (found is not None and found.path, skipped) == (paths[2], [])
    assert found is not None
    assert is_of_its_step(found)
    assert names(tmp_path) == ["step-00000002", "step-00000030"]


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere") == (None, [])
    assert load(tmp_path) == (None, [])


def test_ten_million_updates_are_still_in_order(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000):
        save(tmp_path, step)
    found, _ = load(tmp_path)
    assert found is not None
    assert found.step == 100_000_000


def test_plain_data_comes_back_exactly(tmp_path: Path) -> None:
    state = {
        "floats": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.inf, -math.inf],
        "ints": [2**53 + 1, -(2**127), 0, True],
        "text": "\ud800 lone, \n, \u2028, é",
        "nested": {"none": None, "": [[], {}]},
    }
    save_checkpoint(tmp_path, 1, tensors={}, state={**state, "nan": math.nan, "tuple": (1, (2, 3))})
    found, _ = load(tmp_path)
    assert found is not None
    assert math.isnan(found.state.pop("nan"))
    assert found.state.pop("tuple") == [1, [2, 3]]
    # By repr, for which 0.0 and -0.0, 1 and True differ.
    assert repr(found.state) == repr(state)


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ({"a": {3: "x"}}, r"state\['a'\] has the key 3.*list of pairs"),
        ({"a": [{1, 2}]}, r"state\['a'\]\[0\] is a set"),
        ({"a": torch.zeros(1)}, "tensors belong in `tensors`"),
    ],
)
def test_what_would_not_come_back_is_refused(tmp_path: Path, state: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        save_checkpoint(tmp_path, 1, tensors={}, state=state)
    assert names(tmp_path) == []


def test_tensors_of_every_kind_come_back(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    given: dict[str, Tensor] = {
        "transposed": base.t(),
        "strided": base[:, ::2],
        "row": base[1],
        "flat": base.view(-1),
        "base": base,
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 2),
        "another_empty": torch.zeros(0, 2),
        "half": torch.tensor([1.1, math.nan, -0.0]).bfloat16(),
        "long": torch.tensor([2**62 + 1]),
        "bool": torch.tensor([True, False]),
        "trained": torch.nn.Parameter(torch.ones(2)),
    }
    save_checkpoint(tmp_path, 1, tensors={"all": given}, state={})
    found, _ = load(tmp_path)
    assert found is not None
    back = found.tensors("all")
    assert list(back) == list(given)
    for name, tensor in given.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name].nan_to_num(7.0), tensor.detach().nan_to_num(7.0))
        assert back[name].data_ptr() % 64 == 0  # torch's own memory, not the file's
    assert len({tensor.data_ptr() for tensor in back.values() if tensor.numel()}) == 10


def test_tied_weights_are_written_once_and_come_back_tied(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(1000, 8), torch.nn.Linear(8, 1000, bias=False))
    model[1].weight = model[0].weight
    path = save_checkpoint(tmp_path, 1, tensors={"policy": model.state_dict()}, state={})
    assert (path / "policy.safetensors").stat().st_size < 1.1 * 1000 * 8 * 4
    found, _ = load(tmp_path)
    assert found is not None
    back = found.tensors("policy")
    assert back["0.weight"] is back["1.weight"]
    assert torch.equal(back["1.weight"], model[1].weight)


def test_a_part_that_is_not_there_is_named_with_the_near_one(tmp_path: Path) -> None:
    save(tmp_path, 1)
    found, _ = load(tmp_path)
    assert found is not None
    with pytest.raises(ValueError, match=r"no tensors 'polciy'\. Did you mean 'policy'"):
        found.tensors("polciy")
    with pytest.raises(ValueError, match=r"no folder 'pools'\. Did you mean 'pool'"):
        found.folder("pools")


def truncate(path: Path) -> None:
    file = path / "policy.safetensors"
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    data = bytearray((path / "policy.safetensors").read_bytes())
    data[-5] ^= 1
    (path / "policy.safetensors").write_bytes(data)


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        entries = json.loads((path / "manifest.json").read_text())
        change(entries)
        (path / "manifest.json").write_text(json.dumps(entries))

    return apply


def link(path: Path) -> None:
    (path / "state.json").rename(path.parent / "elsewhere.json")
    (path / "state.json").symlink_to(path.parent / "elsewhere.json")


def become(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (truncate, "policy.safetensors has "),
    "altered": (flip_a_bit, "policy.safetensors is altered"),
    "digit": (lambda p: (p / "state.json").write_text('{"step": 3}'), "state.json is altered"),
    "half": (lambda p: (p / "policy.safetensors").unlink(), "policy.safetensors is missing"),
    "folder": (lambda p: shutil.rmtree(p / "pool"), "pool/deep/payoffs.json is missing"),
    "deep": (lambda p: (p / "pool/deep/payoffs.json").write_text("3"), "payoffs.json is altered"),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "it has no manifest.json"),
    "empty manifest": (lambda p: (p / "manifest.json").write_text(""), "its manifest.json is damaged"),
    "bytes": (lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe"), "its manifest.json is damaged"),
    "list": (lambda p: (p / "manifest.json").write_text("[]"), "names no format"),
    "strange": (edit(lambda m: m.update(files=["policy.safetensors"])), "missing or strange"),
    "stranger": (edit(lambda m: m.update(folders=[None])), "missing or strange"),
    "entry lost": (edit(lambda m: m["files"].pop("state.json")), "state.json does not belong in it"),
    "moved": (edit(lambda m: m.update(step=7)), "is of step 7"),
    "pickle": (lambda p: (p / "evil.pkl").write_bytes(b"cos\nsystem\n"), "evil.pkl does not belong in it"),
    "extra": (lambda p: (p / "pool" / "notes.txt").write_text("hm"), "notes.txt does not belong in it"),
    "link": (link, "state.json is neither a file nor a folder"),
    "directory": (lambda p: ((p / "state.json").unlink(), (p / "state.json").mkdir()), "state.json is missing"),
    "file": (become, "it has no manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_skipped_for_the_one_before(damage: str, tmp_path: Path) -> None:
    harm, why = DAMAGE[damage]
    for step in (1, 2):
        last = save(tmp_path, step)
    harm(last)
    found, skipped = load(tmp_path)
    assert found is not None
    assert is_of_its_step(found)
    assert found.step == 1
    (line,) = skipped
    assert line.startswith("step-00000002: ")
    assert why in line
    # The run goes on from 1, comes to 2 again and keeps what is whole.
    save(tmp_path, 2)
    assert [path for path in names(tmp_path) if path.startswith("step")] == ["step-00000001", "step-00000002"]
    found, skipped = load(tmp_path)
    assert (found is not None and found.step, skipped) == (2, [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_checkpoint_is_skipped(tmp_path: Path) -> None:
    for step in (1, 2):
        last = save(tmp_path, step)
    (last / "state.json").chmod(0)
    found, skipped = load(tmp_path)
    assert found is not None
    assert found.step == 1
    assert "state.json cannot be read" in skipped[0]


def test_an_error_in_reading_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        last = save(tmp_path, step)
    digest = manifest._digest

    def failing(path: Path) -> str:
        if path == last / "state.json":
            raise OSError(5, "Input/output error", str(path))
        return digest(path)

    monkeypatch.setattr(manifest, "_digest", failing)
    found, skipped = load(tmp_path)
    assert found is not None
    assert found.step == 1
    assert skipped == ["step-00000002: state.json cannot be read: Input/output error"]


def test_all_damaged_is_none_and_each_is_named(tmp_path: Path) -> None:
    for step in (1, 2):
        truncate(save(tmp_path, step))
        shutil.copytree(tmp_path / f"step-{step:08d}", tmp_path / f"kept-{step}")
    shutil.rmtree(tmp_path / "step-00000002")
    for step in (1, 2):
        shutil.copytree(tmp_path / f"kept-{step}", tmp_path / f"step-{step:08d}", dirs_exist_ok=True)
    found, skipped = load(tmp_path)
    assert found is None
    assert [line[:13] for line in skipped] == ["step-00000002", "step-00000001"]


def test_a_format_of_another_version_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    for step in (1, 2):
        last = save(tmp_path, step)
    edit(lambda entries: entries.update(format=99))(last)
    with pytest.raises(ValueError, match="has format 99 and this program reads 2: use the version that wrote it"):
        load(tmp_path)
    with pytest.raises(ValueError, match="has format 99"):
        save(tmp_path, 3)


def test_no_module_of_checkpoints_can_unpickle() -> None:
    for name in ("checkpoint", "manifest", "states"):
        source = Path(checkpoint.__file__).with_name(f"{name}.py").read_text()
        for word in ("import pickle", "torch.load", "torch.save", "joblib", "marshal", "shelve", "weights_only"):
            assert word not in source


def test_a_writer_of_pickles_or_links_is_refused(tmp_path: Path) -> None:
    writers: dict[str, Callable[[Path], Any]] = {
        "looks like pickled data": lambda path: torch.save({}, path / "optimizer.PT"),
        "neither a file nor a folder": lambda path: (path / "link").symlink_to("/"),
    }
    for remedy, write in writers.items():
        with pytest.raises(ValueError, match=remedy):
            save_checkpoint(tmp_path, 1, tensors={}, state={}, folders={"pool": write})
        assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("step", "keep", "name"), [(-1, 2, "a"), (1, 0, "a"), (1, 2, "../a"), (1, 2, "a.b"), (1, 2, "")]
)
def test_arguments_without_sense_are_refused(step: int, keep: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be 0 or more|cannot name a part"):
        save_checkpoint(tmp_path, step, tensors={name: {}}, state={}, keep=keep)


def test_a_later_whole_checkpoint_is_not_overruled_and_a_later_broken_one_goes(tmp_path: Path) -> None:
    save(tmp_path, 1)
    later = save(tmp_path, 9)
    with pytest.raises(ValueError, match="step-00000009 is later than step 5: resume from it"):
        save(tmp_path, 5)
    flip_a_bit(later)
    save(tmp_path, 5, keep=1)
    assert names(tmp_path) == ["step-00000005"]


def test_broken_ones_do_not_count_among_those_to_keep(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    truncate(tmp_path / "step-00000002")
    save(tmp_path, 3)
    assert names(tmp_path) == ["step-00000001", "step-00000003"]


def test_what_a_killed_save_left_behind_is_swept_up_and_strangers_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".sparring-new").mkdir()
    (tmp_path / ".sparring-new" / "policy.safetensors").write_bytes(b"half")
    (tmp_path / "step-12").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert load(tmp_path) == (None, [])
    save(tmp_path, 1)
    assert names(tmp_path) == ["notes.txt", "step-00000001", "step-12"]


def test_a_failure_of_the_caller_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    save(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, tensors={}, state={}, folders={"pool": interrupted})
    assert names(tmp_path) == ["step-00000001"]


def test_everything_is_on_the_disk_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced: each file, each folder below, the manifest after them, then the whole; renamed; then the parent."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        events.append(os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(str(tmp_path)))
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        events.append(f"{source.name} -> {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    save(tmp_path, 1)
    new = "/.sparring-new"
    parts = ("none.safetensors", "policy.safetensors", "pool/deep/payoffs.json", "state.json", "pool", "pool/deep")
    assert sorted(events[:6]) == sorted(f"{new}/{part}" for part in parts)
    assert events[6:] == [f"{new}/manifest.json", new, ".sparring-new -> step-00000001", ""]


def failing_save_file(error: Exception) -> Callable[..., None]:
    def fail(tensors: dict[str, Tensor], path: Path, **_: Any) -> None:
        path.write_bytes(b"half of it")
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_by_injection(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    truncate(tmp_path / "step-00000002")
    monkeypatch.setattr(checkpoint, "save_file", failing_save_file(error))
    with pytest.raises(CheckpointError) as caught:
        save(tmp_path, 3)
    message = str(caught.value)
    assert "step 3 could not be saved in" in message
    assert "No space left on device" in message or "Disk quota exceeded" in message
    # 50 floats, 3 longs, {"step": 3}; what is free is the machine's.
    assert "wanted 235 bytes or more" in message
    assert "are free there" in message
    assert "The last whole checkpoint stands: step-00000001." in message
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


PROCESS = Path(__file__).with_name("saving_process.py")
MOUNTED = 'mount -t tmpfs -o size=2m none "$2/disk" && exec "$0" "$1" "$2" "$2/disk"'
"""In a mount namespace of its own, so that the small disk is gone with the process."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of the trials in `saving_process.py`; "full" only where a plain user may mount a small disk."""
    root = tmp_path_factory.mktemp("saving")
    (root / "disk").mkdir()
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    can_mount = shutil.which("unshare") is not None and not _status([*apart, "mount", "-t", "tmpfs", "none", root])
    command = [*apart, "sh", "-c", MOUNTED] if can_mount else []
    ran = subprocess.run([*command, sys.executable, PROCESS, root], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def _status(command: list[Any]) -> int:
    return subprocess.run(command, capture_output=True).returncode


def test_killed_at_ten_random_moments_there_is_always_a_whole_checkpoint(results: dict[str, Any]) -> None:
    """Nothing is even skipped: no half checkpoint ever stands under a checkpoint's name."""
    steps = results["random"]["steps"]
    assert len(steps) == 11
    assert steps == sorted(steps)
    # False alarm only if a machine is too busy to save once in ten tries of 0.02 s to 0.15 s.
    assert steps[-1] > 1


@pytest.mark.parametrize(("mode", "ahead"), [("next", 1), ("same", 0)])
def test_killed_before_any_call_there_is_always_a_whole_checkpoint(
    mode: str, ahead: int, results: dict[str, Any]
) -> None:
    """Before each single sync, rename, making and removal, of a save of the next step and of the same step again."""
    found = results[mode]
    assert found["status"] == 0  # the last one lived to the end
    assert len(found["steps"]) > 15
    assert all(after in (before, before + ahead) for before, after in itertools.pairwise(found["steps"]))
    assert len(found["names"]) == 2


def test_a_file_that_may_not_grow_ends_in_a_clear_message(results: dict[str, Any]) -> None:
    """The operating system refuses: no file may have more than 100,000 bytes. What is smaller is saved after that."""
    message, left, after = results["limited"]["said"]
    assert "File too large" in message
    assert "wanted 4,000,035 bytes or more" in message
    assert "stands: step-00000001. Make room or raise the limit" in message
    assert left == "['step-00000001']"
    assert after == "['step-00000001', 'step-00000002']"
    assert results["limited"]["step"] == 2


def test_a_really_full_disk_ends_in_a_clear_message_and_the_run_can_go_on(results: dict[str, Any]) -> None:
    """A disk of 2 MiB. First the tensors do not fit, then what a folder's writer writes; then there is room again."""
    if "full" not in results:
        pytest.skip("this system lets a plain user mount no disk")
    tensors, left, writer, still = results["full"]["said"]
    for message in (tensors, writer):
        assert "No space left on device" in message
        assert "The last whole checkpoint stands: step-00000001." in message
        free = int(message.split(" are free there")[0].rsplit(" ", 1)[1].replace(",", ""))
        assert 1_800_000 < free < 2 << 20
    assert "wanted 4,000,035 bytes or more" in tensors
    assert left == still == "['step-00000001']"
    assert results["full"]["step"] == 3


def test_a_log_is_cut_back_to_what_it_was(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert log_size(log) == 0
    cut_log(log, 0)
    assert not log.exists()
    log.write_text('{"update": 1}\n{"update": 2}\n')
    size = log_size(log)
    with log.open("a") as file:
        file.write('{"update": 3}\n{"upd')
    for _ in range(2):
        cut_log(log, size)
        assert log.read_text() == '{"update": 1}\n{"update": 2}\n'
    cut_log(log, 0)
    assert log.read_text() == ""


def test_a_log_that_is_not_what_it_was_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"update": 1}\n{"update": 2}\n')
    with pytest.raises(ValueError, match=r"no line of .* ends at byte 10"):
        cut_log(log, 10)
    with pytest.raises(ValueError, match="holds 28 bytes, at the checkpoint it held 100"):
        cut_log(log, 100)
    with pytest.raises(ValueError, match="holds 0 bytes"):
        cut_log(tmp_path / "gone.jsonl", 1)
    assert log.read_text() == '{"update": 1}\n{"update": 2}\n'
