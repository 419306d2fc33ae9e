"""Trackers: real runs leave their measures there, on this machine only, and resumed runs go on in place."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sparring.selfplay import recorder
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings
from sparring.selfplay.trackers import COLUMNS, REMEDIES, Tracker, _start

SMALL = {"hidden": 16, "layers": 1, "heads": 2, "warm_steps": 10, "games": 160, "batch_games": 40}
HERE = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open({log!r}, "a") as file:
            print(event, *arguments[-2 if event == "socket.getaddrinfo" else 1:], file=file)

sys.addaudithook(watch)
"""
"""A `sitecustomize` that writes down whom the sockets of a process, and of its children of Python, talk to."""


def lacks(package: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where a package lacks."""
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed: {REMEDIES[package]}"
    )


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes as long as training."""
    for name in ("plot_curves", "plot_all"):
        monkeypatch.setattr(recorder, name, lambda *_, **__: None)


def train(settings: Settings, updates: int | None = None) -> None:
    """Run to the end, or drop it after some updates."""
    run = Run(settings, say=lambda _: None)
    for _ in run.prepare():
        pass
    for _ in run.learn() if updates is None else islice(run.learn(), updates + 1):
        pass
    if updates is None:
        run.close(finished=True)


def small(out: Path, kind: str) -> Settings:
    return Settings(out=str(out), tracker=kind, **{**SMALL, "measure_every": 1, "save_every": 1, "transcripts": 2})


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Listener:
    """A port that whoever wants to get out is sent to, and that counts who came."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def callers(self) -> int:
        found = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.accept()
                found += 1
        return found


def watched(root: Path) -> tuple[dict[str, str], Path, Listener]:
    """Return an environment in which nobody gets out unseen: sockets of Python are written down, proxies are ours."""
    listener, log = Listener(), root / "talked.txt"
    (root / "sitecustomize.py").write_text(HERE.format(log=str(log)))
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "WANDB_BASE_URL")
    ways = dict.fromkeys(names, listener.address) | {"NO_PROXY": "", "no_proxy": "", "PYTHONPATH": str(root)}
    return os.environ | ways | {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}, log, listener


SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
FLAGS = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
OFTEN = ["--measure_every", "1", "--save_every", "1", "--transcripts", "2"]


@pytest.fixture(scope="module")
def wandb_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], int]:
    """A run tracked by wandb, killed and resumed: its folder, whom its sockets talked to, and how many called."""
    root = tmp_path_factory.mktemp("wandb")
    environment, log, listener = watched(root)
    start = [sys.executable, str(SCRIPT), *FLAGS, *OFTEN, "--tracker", "wandb", "--out", str(root / "run")]
    with subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as first:
        while first.poll() is None and not (root / "run" / "checkpoints" / "step-00000001").is_dir():
            time.sleep(0.02)
        first.kill()
    again = [sys.executable, str(SCRIPT), "--resume", str(root / "run")]
    done = subprocess.run(again, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root / "run", log.read_text().splitlines() if log.exists() else [], listener.callers()


def test_wandb_keeps_measures_and_games_below_the_run(wandb_run: tuple[Path, list[str], int]) -> None:
    folder, _, _ = wandb_run
    (tables, *_) = [list(path.rglob("*.table.json")) for path in sorted((folder / "tracker").glob("wandb/offline-*"))][
        -1:
    ]
    rows = [row for path in tables for row in json.loads(path.read_text())["data"]]
    games = [json.loads(line) for line in (folder / "transcripts.jsonl").read_text().splitlines()]
    assert json.loads(tables[0].read_text())["columns"] == COLUMNS
    # Those of the second process; the first one's are in a folder of its own.
    last = [game for game in games if game["update"] == 4]
    assert [row[4:6] for row in rows if row[0] == 4] == [
        [turn["prompt"], turn["reply"]] for game in last for turn in game["turns"]
    ]
    (record,) = sorted(folder.glob("tracker/wandb/offline-*/run-*.wandb"))[-1:]
    content = record.read_bytes()
    assert all(name in content for name in (b"nashconv", b"illegal_rate", b"batch_games"))


def test_a_resumed_run_goes_on_as_the_same_one_at_wandb(wandb_run: tuple[Path, list[str], int]) -> None:
    folder, _, _ = wandb_run
    identity = json.loads((folder / "tracker.json").read_text())["id"]
    started = sorted(path.name for path in folder.glob("tracker/wandb/offline-run-*"))
    assert len(started) == 2
    assert all(name.endswith(f"-{identity}") for name in started)


def test_wandb_offline_lets_nothing_leave_the_machine(wandb_run: tuple[Path, list[str], int]) -> None:
    """Neither a socket of Python nor a request of wandb's own program, which honours proxies and the base URL."""
    _, talked, callers = wandb_run
    assert [line for line in talked if not ("127.0.0.1" in line or "localhost" in line or "/wandb-" in line)] == []
    assert callers == 0


def test_the_watch_sees_who_wants_to_get_out(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    environment, log, listener = watched(tmp_path)
    request = "import urllib.request as r; r.urlopen('http://example.invalid/', timeout=1)"
    subprocess.Popen([sys.executable, "-c", request], env=environment, stderr=subprocess.DEVNULL).wait()
    assert "127.0.0.1" in log.read_text()
    assert listener.callers() == 1


@lacks("tensorboard")
def test_tensorboard_gets_every_measure_and_a_resumed_run_goes_on_there(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(small(tmp_path / "run", "tensorboard"), updates=2)
    train(Settings(resume=str(tmp_path / "run")))
    events = EventAccumulator(str(tmp_path / "run" / "tracker" / "sparring")).Reload()
    wanted = {(record["update"], record["nashconv"]) for record in logged(tmp_path / "run")}
    found = {(event.step, event.value) for event in events.Scalars("nashconv")}
    assert {step for step, _ in found} == {0, 1, 2, 3, 4}
    assert dict(found) == pytest.approx(dict(wanted), abs=1e-6)
    settings = list((tmp_path / "run" / "tracker").rglob("hparams.yml"))
    assert "batch_games: 40" in settings[0].read_text()


@lacks("tensorboard")
@pytest.mark.parametrize("variable", ["ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"])
def test_a_launch_by_deepspeed_or_fsdp_is_tracked(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate once looked for the engine that was launched, which is not installed and would not be used."""
    monkeypatch.setenv(variable, "true")
    tracker = Tracker("tensorboard", project="p", name="n", folder=tmp_path, config={})
    tracker.log({"x": 1.0}, 0)
    tracker.close()
    assert list((tmp_path / "tracker").rglob("events.*"))
    assert os.environ[variable] == "true"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_run_at_wandb_that_is_not_named_is_not_started_anew_unasked(text: str, tmp_path: Path) -> None:
    (tmp_path / "tracker.json").write_text(text)
    with pytest.raises(ValueError, match=r"tracker\.json does not name the run at wandb: put it back, or remove it"):
        _start("wandb", "n", tmp_path)
    (tmp_path / "tracker.json").unlink()
    named = [_start("wandb", "n", tmp_path)["id"] for _ in range(2)]
    assert named[0] == named[1]


@lacks("trackio")
def test_trackio_gets_every_measure_on_this_machine_only(tmp_path: Path) -> None:
    environment, log, listener = watched(tmp_path)
    environment |= {"TRACKIO_DIR": str(tmp_path / "trackio")}
    start = [sys.executable, str(SCRIPT), *FLAGS, *OFTEN, "--tracker", "trackio", "--out", str(tmp_path / "run")]
    done = subprocess.run(start, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (store,) = (tmp_path / "trackio").glob("*.db")
    rows = sqlite3.connect(store).execute("select step, metrics from metrics order by step").fetchall()
    wanted = [(record["update"], record["nashconv"]) for record in logged(tmp_path / "run")]
    assert [(step, json.loads(metrics)["nashconv"]) for step, metrics in rows] == wanted
    assert listener.callers() == 0
    assert all(
        "127.0.0.1" in line or "localhost" in line for line in (log.read_text() if log.exists() else "").splitlines()
    )


@pytest.mark.parametrize("name", ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"])
def test_trackio_is_not_sent_to_another_machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "somebody/else")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    with pytest.raises(ValueError, match=f"trackio would send this run to {name}=somebody/else; unset it"):
        Tracker("trackio", project="p", name="n", folder=tmp_path, config={})


@pytest.mark.parametrize("kind", REMEDIES)
def test_a_missing_package_is_named_with_its_extra(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=f"--tracker {kind} needs its package: pip install ") as caught:
        Run(small(tmp_path / "run", kind))
    extras = tomllib.loads((SCRIPT.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert str(caught.value).endswith("wandb") if kind == "wandb" else f"'sparring[{kind}]'" in str(caught.value)
    assert kind == "wandb" or kind in extras
    assert not (tmp_path / "run").exists()


def test_without_a_tracker_there_is_none(tmp_path: Path) -> None:
    tracker = Tracker("none", project="p", name="n", folder=tmp_path, config={})
    tracker.log({"x": 1.0}, 0)
    tracker.transcripts([], 0)
    tracker.close()
    assert list(tmp_path.iterdir()) == []
