"""A training run: its parts put together, watched, guarded, saved, and taken up again where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from .advantage import RoleBaseline
from .assembly import (
    adapt,
    make_game,
    make_guard,
    make_learner,
    make_opponent,
    make_player,
    make_schedules,
    make_update,
)
from .checkpoint import Checkpoint, load_checkpoint
from .guard_rules import Action
from .measures import make_measure
from .pool import OpponentPool
from .processes import launch_note, launched_precision, launched_processes
from .recorder import Recorder
from .run_state import RunState, Tensors
from .runs import RunFolder, free_folder
from .settings import Settings, check, check_together
from .snapshots import AdapterSnapshots
from .trackers import Tracker, check_tracker
from .training import Generation, self_play, warm_start

WARM_SEED = 1 << 32
"""Added to the seed for warm-start games, so that they are not the games that are trained on."""
NOT_KEPT = ("out", "overwrite", "resume")
"""Settings that say where a run lies, not what it is."""


class Run:
    """One training run. Use `prepare`, then `learn`, both generators, and `close` in any case."""

    def __init__(self, settings: Settings, *, say: Callable[[str], None] = print) -> None:
        """Check the settings, make the parts that need no training, and the run folder; `say` gets notes for people.

        Raises ValueError for settings that cannot work, FileExistsError if the folder holds something already.
        """
        self.processes = launched_processes(cpu=_is_on_cpu(settings), shards=settings.shard_optimizer)
        """Those that train together; only the main one writes, measures and says anything."""
        self.say = say if self.processes.is_main else _say_nothing
        if note := launch_note():
            self.say(note)
        self.resumed = settings.resume is not None
        folder = None
        if settings.resume is not None:
            folder, settings = _reopen(settings)
        elif settings.mixed_precision == "no":
            settings = replace(settings, mixed_precision=launched_precision())
        check(settings)
        check_together(settings, self.processes.count)
        check_tracker(settings.tracker)
        self.settings = settings
        self.game = make_game(settings)
        self.player = make_player(settings, self.game)
        self.opponent = make_opponent(settings, self.player)
        self.guard = make_guard(settings)
        self.measure = make_measure(self.game, settings.measure, samples=settings.samples, seed=settings.seed)
        config = {key: value for key, value in asdict(settings).items() if key not in NOT_KEPT}
        name = f"{self.game.name}-{Path(settings.opponent).name}-seed{settings.seed}"
        self.folder = folder or self._make_folder(settings.out or free_folder("runs", name), config)
        kind = settings.tracker if self.processes.is_main else "none"
        tracker = Tracker(kind, project=settings.project, name=name, folder=self.folder.path, config=config)
        about = {"game": settings.game, "opponent": settings.opponent, "seed": settings.seed}
        self.recorder = Recorder(
            self.player, self.measure, self.folder, tracker, about=about, transcripts=settings.transcripts
        )
        self.checkpoint = self._find_checkpoint() if self.resumed else None
        self.state: RunState | None = None
        self.latest: Generation | None = None
        """The last generation there was, measured or not."""
        self.stopped = ""
        """Why the guard stopped the run."""

    def _make_folder(self, path: str | Path, config: dict[str, Any]) -> RunFolder:
        made = self.processes.from_main(lambda: RunFolder(path, config, overwrite=self.settings.overwrite).path)
        return RunFolder.reopen(made)[0]

    def _find_checkpoint(self) -> Checkpoint | None:
        skip = lambda path, why: self.say(f"{path} is skipped: {why}")  # noqa: E731
        found = load_checkpoint(self.folder.checkpoints, on_skip=skip)
        where = f"going on after update {found.step}" if found else "there is no whole checkpoint; starting anew"
        self.say(f"{self.folder.path}: {where}")
        self.processes.check_same(found and found.step, "the checkpoint they find")
        return found

    def prepare(self) -> Iterator[float]:
        """Warm-start a tiny model on random legal play; yields each step's loss."""
        s = self.settings
        # A checkpoint of adapters holds no base, so a tiny one is made again, the same to the bit.
        if s.model == "tiny" and s.warm_steps and (self.checkpoint is None or s.lora):
            yield from warm_start(self.game, self.player, steps=s.warm_steps, lr=s.warm_lr, seed=s.seed + WARM_SEED)

    def learn(self) -> Iterator[tuple[Generation | None, dict[str, float] | None]]:
        """Play and learn to the end; yields each generation and, where it was measured, its measures.

        The first is (None, measures) of the policy as it started, or None of a resumed run at its last measure.
        """
        s = self.settings
        adapt(s, self.player)
        pool = self.opponent if isinstance(self.opponent, OpponentPool) else None
        if pool is not None and s.lora:
            # The pool was made before there were adapters, which the warm start does without.
            pool.snapshots = AdapterSnapshots(self.player)
        learner, baseline = make_learner(s, self.player, self.processes), RoleBaseline(s.baseline_decay)
        rule = make_update(s, learner, baseline, self.game, self.folder.path)
        self.state = state = RunState(learner, baseline, pool=pool, guard=self.guard)
        done, before = self._restore(state)
        # A shared out optimizer differs by design; a resumed one was read from the same file by all.
        self.processes.same({p: ts for p, ts in learner.tensors().items() if p != "optimizer" or not learner.shards})
        if self.checkpoint is None:
            start = self._watch(None)
            if self.guard is not None and "strength" in start:
                self.guard.begin({"strength": start["strength"]})
            yield None, start
            self._save(0, 0.0)
        generations = self_play(
            self.game,
            self.player,
            rule,
            games=s.games,
            batch_games=s.batch_games,
            opponent=self.opponent,
            snapshot_every=s.snapshot_every if pool else 0,
            seed=s.seed,
            schedules=make_schedules(s),
            in_flight=s.in_flight,
            retries=s.retries,
            done=done,
            seconds=before,
        )
        for generation in generations:
            self.latest = generation
            measured = self._measure(generation)
            yield generation, measured
            if not self._guarded(generation, measured or {}):
                return
            if generation.update % s.save_every == 0:
                self._save(generation.update, generation.seconds)

    def _measure(self, generation: Generation) -> dict[str, float] | None:
        s = self.settings
        if generation.update % s.measure_every and generation.games < s.games:
            return None
        more = {} if self.guard is None else {"rollbacks": float(self.guard.rollbacks)}
        return self._watch(generation, more)

    def _watch(self, generation: Generation | None, more: dict[str, float] | None = None) -> dict[str, float]:
        return self.processes.from_main(lambda: self.recorder.watch(generation, more))

    def _guarded(self, generation: Generation, measured: dict[str, float]) -> bool:
        """Let the guard judge a generation and do as it says; returns whether the run goes on."""
        if self.guard is None:
            return True
        assert self.state is not None
        metrics = generation.metrics | {key: measured[key] for key in ("strength",) if key in measured}
        if not self.settings.anchor_every and "kl" in metrics:
            metrics["kl_start"] = metrics["kl"]
        verdict = self.guard.check(generation.update, metrics)
        if verdict.message:
            self.say(verdict.message)
            self.recorder.note(verdict.message)
        if verdict.action is Action.ROLLBACK:
            self.state.roll_back()
        elif verdict.action is Action.STOP:
            self.state.go_back()
            self.stopped = verdict.message
            return False
        elif self.guard.is_good:
            self.state.vouch()
        return True

    def _save(self, update: int, seconds: float) -> None:
        state = self.state
        assert state is not None
        tensors = state.tensors()
        self.processes.on_main(lambda: self._write(state, update, tensors, seconds))

    def _write(self, state: RunState, update: int, tensors: Tensors, seconds: float) -> None:
        more = {"recorder": self.recorder.state_dict(), "logs": self.folder.log_sizes(), "seconds": seconds}
        state.save(self.folder.checkpoints, update, tensors=tensors, more=more, keep=self.settings.keep)

    def _restore(self, state: RunState) -> tuple[int, float]:
        """Go back to the checkpoint of a resumed run; returns updates and seconds of play so far."""
        if self.checkpoint is None:
            self.processes.on_main(lambda: self.folder.cut_logs(dict.fromkeys(self.folder.log_sizes(), 0)))
            return 0, 0.0
        more = state.load(self.checkpoint)
        self.processes.on_main(lambda: self.folder.cut_logs(more["logs"]))
        self.recorder.load_state_dict(more["recorder"])
        return self.checkpoint.step, more["seconds"]

    def close(self, *, finished: bool) -> dict[str, Any]:
        """Measure what has not been, save the model, draw and summarise; returns the summary."""
        return self.processes.from_main(lambda: self._close(finished))

    def _close(self, finished: bool) -> dict[str, Any]:
        last = self.recorder.history[-1]["update"] if self.recorder.history else -1
        if not self.recorder.history:
            self.recorder.watch(None)
        elif self.latest is not None and (self.latest.update != last or self.stopped):
            # Measured again, so that the summary speaks of the model that is saved.
            self.recorder.watch(self.latest)
        more: dict[str, Any] = {"update": self.settings.update}
        if self.guard is not None:
            more["rollbacks"] = self.guard.rollbacks
        if self.stopped:
            more["stopped"] = self.stopped
        return self.recorder.close(finished=finished and not self.stopped, more=more)


def _is_on_cpu(settings: Settings) -> bool:
    """Whether the model that learns is on the CPU; nothing else is known of it yet."""
    return (settings.device or ("cpu" if settings.model == "tiny" else "")) == "cpu"


def _say_nothing(text: str) -> None:
    pass


def _reopen(settings: Settings) -> tuple[RunFolder, Settings]:
    """Return the folder and the settings of a run to go on with. Raises ValueError if others are given besides."""
    given = [f.name for f in fields(Settings) if getattr(settings, f.name) != getattr(Settings(), f.name)]
    if given != ["resume"]:
        others = ", ".join(name for name in given if name != "resume")
        raise ValueError(f"--resume takes the run's own settings; leave out {others}")
    assert settings.resume is not None
    folder, config = RunFolder.reopen(settings.resume)
    unknown = config.keys() - {f.name for f in fields(Settings)}
    if unknown:
        raise ValueError(f"{folder.path} is of another version: its config.yaml has {min(unknown)}")
    return folder, Settings(**config)
