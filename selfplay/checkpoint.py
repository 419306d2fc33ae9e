"""Checkpoints: what a run needs to go on as if it had never stopped, whole or not there at all.

Chosen: a folder a checkpoint, in it plain files (safetensors, JSON) and a manifest with the size and SHA-256 of each;
written beside, synced, renamed. Left out: pickle, which runs what it reads, and writing in the background.

    root/step-00000120/{policy.safetensors, state.json, pool/..., manifest.json}

Numbers in `state` come back exactly, whole numbers of any size too; inf and nan are written as Python's json does, as
Infinity and NaN, which strict readers of JSON refuse. Tuples come back as lists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparring.envs import near

from .manifest import fault, seal, sync

_STATE, _ASIDE, _HIDDEN = "state.json", ".replaced", ".sparring-"
_CHECKPOINT = re.compile(rf"step-(\d{{8,}})({re.escape(_ASIDE)})?")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class CheckpointError(OSError):
    """A checkpoint could not be written; the last whole one stands."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint; its tensors are read when asked for."""

    path: Path
    step: int
    state: dict[str, Any]
    """The plain data that was saved."""

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors saved under `name`, on the CPU, in their order; what was one tensor is one again."""
        path = self.path / f"{name}.safetensors"
        if not path.is_file():
            known = [file.stem for file in self.path.glob("*.safetensors")]
            raise ValueError(f"{self.path} has no tensors {name!r}.{near(name, known)}")
        with safe_open(path, framework="pt") as file:
            # Cloned: memory mapped from a file is not aligned as torch's own, and sums over it may round differently.
            found = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (it is no dict)
            sources = json.loads(file.metadata()["sources"])
        return {key: found[source] for key, source in sources.items()}

    def folder(self, name: str) -> Path:
        """Return the folder that was written under `name`."""
        path = self.path / name
        if not _NAME.fullmatch(name) or not path.is_dir():
            known = [item.name for item in self.path.iterdir() if item.is_dir()]
            raise ValueError(f"{self.path} has no folder {name!r}.{near(name, known)}")
        return path


def save_checkpoint(
    root: str | Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    folders: Mapping[str, Callable[[Path], None]] = MappingProxyType({}),
    keep: int = 2,
) -> Path:
    """Write `root/step-...` and then remove older ones; returns its path. One process at a time may save.

    Killed at any moment, it leaves the earlier checkpoints or the new one, whole. A checkpoint of the same step is
    replaced. Space is needed for `keep` checkpoints and one more.

    Args:
        root: folder of a run's checkpoints, made if need be.
        step: updates so far.
        tensors: a file each. Tied tensors come back tied; views that overlap in part come back equal, each its own.
        state: plain data: dicts with keys that are str, lists, tuples, str, numbers, bool, None.
        folders: writers of sub-folders; each is given a new, empty folder to write into.
        keep: checkpoints to keep, this one included. Files missing or cut short make one not count, and go.

    Raises CheckpointError if it cannot be written, a full disk above all; the earlier ones stand. Raises ValueError for
    what would not come back, and if a whole checkpoint of a later step is there.
    """
    root, place = Path(root), Path(root) / f"step-{step:08d}"
    _check(step, tensors, state, folders, keep)
    _check_plain(dict(state), "state")
    text = json.dumps(dict(state))
    _refuse_later(root, step)
    with _all_or_nothing(root, step, wanted=len(text) + _bytes(tensors)) as new:
        for name, named in tensors.items():
            _save_tensors(new / f"{name}.safetensors", named)
        (new / _STATE).write_text(text, encoding="ascii")
        for name, write in folders.items():
            (new / name).mkdir()
            write(new / name)
        seal(new, step, sorted(folders))
        _put_in_place(new, place)
    _prune(root, step, keep)
    return place


def load_checkpoint(root: str | Path, *, on_skip: Callable[[Path, str], None]) -> Checkpoint | None:
    """Return the newest whole checkpoint, None if there is none. Every file is read and compared with the manifest.

    `on_skip` is told of each newer one that is not whole, and why. Raises ValueError for a format it does not know.
    """
    for path in reversed(_checkpoints(Path(root))):
        why = fault(path, _step(path))
        if why is None:
            return Checkpoint(path, _step(path), json.loads((path / _STATE).read_text(encoding="ascii")))
        on_skip(path, why)
    return None


def log_size(path: str | Path) -> int:
    """Return the bytes of an append-only log, 0 if there is none, once they are on the disk; for `cut_log`."""
    if not Path(path).exists():
        return 0
    sync(Path(path))
    return Path(path).stat().st_size


def cut_log(path: str | Path, size: int) -> None:
    """Cut an append-only log of lines back to the `size` that `log_size` had returned.

    Raises ValueError if it is shorter than that, or if no line ends there: then it is not the log that it was.
    """
    path = Path(path)
    there = path.stat().st_size if path.exists() else 0
    if there < size:
        raise ValueError(f"{path} holds {there} bytes, at the checkpoint it held {size}: put back what it has lost")
    if there == size:
        return
    with open(path, "r+b") as file:
        file.seek(max(size - 1, 0))
        if size and file.read(1) != b"\n":
            raise ValueError(f"no line of {path} ends at byte {size}, as one did at the checkpoint: it was altered")
        # One call of the operating system: done or not done, and done again it changes nothing.
        file.truncate(size)
        os.fsync(file.fileno())


def _check(
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    folders: Mapping[str, Callable[[Path], None]],
    keep: int,
) -> None:
    if step < 0 or keep < 1:
        raise ValueError(f"step must be 0 or more and keep 1 or more, not {step} and {keep}")
    for name in (*tensors, *folders):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a part of a checkpoint: use letters, digits, _ and -")


def _check_plain(value: Any, where: str) -> None:
    """Refuse what JSON would turn into something else, or cannot hold."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}, which JSON would make a str: use a list of pairs")
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_plain(item, f"{where}[{number}]")
    elif not (value is None or isinstance(value, str | int | float)):
        raise ValueError(f"{where} is a {type(value).__name__}, not plain data; tensors belong in `tensors`")


def _refuse_later(root: Path, step: int) -> None:
    """A whole checkpoint of a later step would be loaded instead of the new one, and is not ours to remove."""
    for path in _checkpoints(root):
        is_later = _step(path) > step
        if fault(path, _step(path), deep=is_later) is None and is_later:
            raise ValueError(f"{path} is later than step {step}: resume from it, or save into another folder")


@contextmanager
def _all_or_nothing(root: Path, step: int, *, wanted: int) -> Iterator[Path]:
    """Lend a new hidden folder, which is gone if anything goes wrong."""
    new = root / f"{_HIDDEN}new"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for stale in root.glob(f"{_HIDDEN}*"):
            _remove(stale)
        new.mkdir()
        yield new
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise CheckpointError(_failure(root, step, wanted, error)) from error
    finally:
        # In its place already if all went well.
        shutil.rmtree(new, ignore_errors=True)


def _failure(root: Path, step: int, wanted: int, error: Exception) -> str:
    # safetensors has no errno to give, only words.
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    free = f"{shutil.disk_usage(root).free:,} are free there" if root.is_dir() else "there is no such folder"
    standing = next((path.name for path in reversed(_checkpoints(root)) if fault(path, _step(path)) is None), None)
    stands = f"The last whole checkpoint stands: {standing}." if standing else "There is no earlier checkpoint."
    return (
        f"step {step} could not be saved in {root}: {reason}. It wanted {wanted:,} bytes or more, {free}. {stands} "
        f"Make room or raise the limit, then resume."
    )


def _bytes(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(
        tensor.numel() * tensor.element_size()
        for named in tensors.values()
        for tensor in {_place(tensor): tensor for tensor in named.values()}.values()
    )


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Return what is the same for two tensors that are one."""
    if not tensor.numel():
        return (id(tensor),)
    start = tensor.untyped_storage().data_ptr()
    return tensor.device, start, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write each tensor once; the file's own metadata says, in order, which name has which tensor."""
    first: dict[tuple[Any, ...], str] = {}
    sources = {name: first.setdefault(_place(tensor), name) for name, tensor in tensors.items()}
    packed = {name: tensors[name].detach().cpu().contiguous() for name in sources.values()}
    taken: set[int] = set()
    for name, tensor in packed.items():
        memory = tensor.untyped_storage()
        # safetensors wants each tensor to have memory of its own, all of it.
        if memory.nbytes() != tensor.numel() * tensor.element_size() or memory.data_ptr() in taken:
            packed[name] = tensor.clone()
        taken.add(memory.data_ptr())
    save_file(packed, path, metadata={"sources": json.dumps(sources)})


def _put_in_place(new: Path, place: Path) -> None:
    aside = place.with_name(place.name + _ASIDE)
    if place.exists() and aside.exists():
        _discard(place)
    elif place.exists():
        # Loading knows this name: between the two renames this one is the newest.
        os.replace(place, aside)
    os.replace(new, place)
    sync(place.parent)


def _prune(root: Path, step: int, keep: int) -> None:
    """Remove what is older than the last `keep`; and what is later, which `_refuse_later` found broken."""
    found = _checkpoints(root)
    ours = [path for path in found if _step(path) <= step and not path.name.endswith(_ASIDE)]
    # Their sizes only: to read them all again would double the price of saving.
    kept = [path for path in ours if fault(path, _step(path), deep=False) is None][-keep:]
    for path in found:
        if path not in kept:
            _discard(path)


def _discard(path: Path) -> None:
    """Remove a checkpoint; killed half-way, it does not leave half of one under its name."""
    hidden = path.with_name(f"{_HIDDEN}{path.name}")
    os.replace(path, hidden)
    _remove(hidden)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _checkpoints(root: Path) -> list[Path]:
    """Return the folders that are named as checkpoints, the oldest first."""
    found = [path for path in root.iterdir() if _CHECKPOINT.fullmatch(path.name)] if root.is_dir() else []
    return sorted(found, key=lambda path: (_step(path), not path.name.endswith(_ASIDE)))


def _step(path: Path) -> int:
    match = _CHECKPOINT.fullmatch(path.name)
    assert match is not None
    return int(match[1])
