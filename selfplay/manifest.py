"""The manifest of a folder: what must be in it, with sizes and SHA-256, so that anything else is noticed.

Chosen: the manifest is written last and lists every other file; a folder is whole if it holds just these. Left out:
signatures. Damage is found, a forger who writes a fitting manifest is not.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

FORMAT = 2
"""Of the folder's layout and of what a run keeps in it; raised when one can no longer read what the other wrote."""
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Endings of files that loaders unpickle; no checkpoint holds one."""
MANIFEST = "manifest.json"


class Broken(ValueError):
    """Why a folder is not whole."""


def seal(folder: Path, step: int, folders: list[str]) -> None:
    """Put everything in a folder on the disk, then the manifest. Raises ValueError for links and pickled data."""
    files = {name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for name, path in _files(folder).items()}
    for name in files:
        if name.lower().endswith(PICKLES):
            raise ValueError(f"{name} looks like pickled data, which no checkpoint holds: write safetensors or JSON")
        sync(folder / name)
    for directory in [path for path in folder.rglob("*") if path.is_dir()]:
        sync(directory)
    manifest = {"format": FORMAT, "step": step, "folders": folders, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="ascii")
    sync(folder / MANIFEST)
    sync(folder)


def fault(path: Path, step: int, *, deep: bool = True) -> str | None:
    """Return why a sealed folder is not whole, None if it is. Not `deep`: without reading what the files hold.

    Raises ValueError for a format that this program does not know.
    """
    try:
        _compare(path, step, _read_manifest(path), deep=deep)
    except Broken as broken:
        return str(broken)
    except OSError as error:
        return f"{Path(error.filename or path).name} cannot be read: {error.strerror}"
    return None


def _read_manifest(path: Path) -> dict[str, Any]:
    if not (path / MANIFEST).is_file():
        raise Broken(f"it has no {MANIFEST}")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="ascii"))
    except ValueError as error:
        raise Broken(f"its {MANIFEST} is damaged: {error}") from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise Broken(f"its {MANIFEST} is damaged: it names no format")
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {manifest['format']!r} and this program reads {FORMAT}: use the version that wrote "
            f"it, or move it away to go on from an earlier checkpoint"
        )
    if not _is_well_formed(manifest):
        raise Broken(f"its {MANIFEST} is damaged: entries are missing or strange")
    return manifest


def _is_well_formed(manifest: dict[str, Any]) -> bool:
    files, folders = manifest.get("files"), manifest.get("folders")
    return (
        manifest.keys() == {"format", "step", "folders", "files"}
        and isinstance(files, dict)
        and all(isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"} for entry in files.values())
        and isinstance(folders, list)
        and all(isinstance(name, str) for name in folders)
    )


def _compare(path: Path, step: int, manifest: dict[str, Any], *, deep: bool) -> None:
    if manifest["step"] != step:
        raise Broken(f"its {MANIFEST} is of step {manifest['step']}")
    listed, there = manifest["files"], _files(path)
    there.pop(MANIFEST)
    for name in sorted(listed.keys() | there.keys()):
        if name not in there:
            raise Broken(f"{name} is missing")
        if name not in listed or name.lower().endswith(PICKLES):
            raise Broken(f"{name} does not belong in it")
        size = there[name].stat().st_size
        if size != listed[name]["bytes"]:
            raise Broken(f"{name} has {size} bytes, not {listed[name]['bytes']}")
        if deep and _digest(there[name]) != listed[name]["sha256"]:
            raise Broken(f"{name} is altered: its SHA-256 is not what {MANIFEST} says")
    for name in manifest["folders"]:
        if not (path / name).is_dir():
            raise Broken(f"the folder {name} is missing")


def _files(folder: Path) -> dict[str, Path]:
    """Return all files below a folder by relative name; anything that is neither file nor folder is refused."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    for name, path in found.items():
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise Broken(f"{name} is neither a file nor a folder")
    return {name: path for name, path in found.items() if path.is_file()}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
