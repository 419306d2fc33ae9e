"""A training run: its parts put together, watched, guarded, saved, and taken up again where it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from sparring.agents import EndpointAgent, folder_name
from sparring.envs import judge_of

from .advantage import RoleBaseline
from .assembly import (
    adapt,
    check_opponents,
    make_anchors,
    make_eval_game,
    make_game,
    make_guard,
    make_learner,
    make_opponent,
    make_player,
    make_ratings,
    make_schedules,
    make_update,
)
from .checkpoint import Checkpoint, load_checkpoint
from .guard_rules import Action
from .judged import is_judged, judged_apart
from .launch import launch_note, launched_precision
from .measures import make_measure
from .pool import OpponentPool
from .processes import launched_processes
from .recorder import Recorder
from .rules import Rule
from .run_state import RunState, Tensors
from .runs import RunFolder, free_folder
from .settings import Settings, check_file
from .settings_checks import check, check_together
from .snapshots import AdapterSnapshots
from .start import Start, largest_weight
from .trackers import Tracker, check_tracker
from .training import Generation, self_play, warm_start

WARM_SEED = 1 << 32
"""Added to the seed for warm-start games, so that they are not the games that are trained on."""
MEASURED = ("kl_start", "strength")
"""What of that which the guard watches may come with measures only."""
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
        if note := launch_note(self.processes.count):
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
        self.pool = self.opponent if isinstance(self.opponent, OpponentPool) else None
        anchors = make_anchors(settings)
        check_opponents(self.game, self.opponent, anchors)
        self.guard = make_guard(settings)
        eval_game = make_eval_game(settings, self.game)
        self.measure = make_measure(eval_game, settings.measure, samples=settings.samples, seed=settings.seed)
        if is_judged(self.game):
            self.measure = judged_apart(self.measure, eval_game)
        config = {key: value for key, value in asdict(settings).items() if key not in NOT_KEPT}
        # The games of another library have a slash in their names, which would make folders of it.
        game = self.game.name.replace("/", "-")
        name = f"{game}-{folder_name(settings.opponent)}-seed{settings.seed}"
        self.folder = folder or self._make_folder(settings.out or free_folder("runs", name), config)
        kind = settings.tracker if self.processes.is_main else "none"
        tracker = Tracker(kind, project=settings.project, name=name, folder=self.folder.path, config=config)
        about = {"game": settings.game, "opponent": settings.opponent, "seed": settings.seed}
        if is_judged(self.game):
            about |= {"judge": judge_of(self.game).name, "eval_judge": judge_of(eval_game).name}
        self.recorder = Recorder(
            self.player,
            self.measure,
            self.folder,
            tracker,
            about=about,
            transcripts=settings.transcripts,
            payoffs=self.pool.payoffs if self.pool else None,
            ratings=make_ratings(settings, self.game, anchors, self.pool, self.folder.path),
        )
        self.checkpoint = self._find_checkpoint() if self.resumed else None
        self.state: RunState | None = None
        self.latest: Generation | None = None
        """The last generation there was, measured or not."""
        self.stopped = ""
        """Why the guard stopped the run."""
        self.stopped_by = ""
        """The name of the guard's rule that did."""
        self._stale = False
        """Whether the policy was put back since it was measured."""
        self._said_unseen = False

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
            # Every process learns all of it: shared out, sums would differ in their last bits, and so would the start.
            yield from warm_start(self.game, self.player, steps=s.warm_steps, lr=s.warm_lr, seed=s.seed + WARM_SEED)

    def learn(self) -> Iterator[tuple[Generation | None, dict[str, float] | None]]:
        """Play and learn to the end; yields each generation and, where it was measured, its measures.

        The first is (None, measures) of the policy as it started, or None of a resumed run at its last measure.
        Raises FloatingPointError where the policy's numbers are no longer finite and no guard goes back.
        """
        s = self.settings
        adapt(s, self.player)
        if self.pool is not None and s.lora:
            # The pool was made before there were adapters, which the warm start does without.
            self.pool.snapshots = AdapterSnapshots(self.player)
        learner, baseline = make_learner(s, self.player, self.processes), RoleBaseline(s.baseline_decay)
        rule = make_update(s, learner, baseline, self.game, self.folder.path)
        start = Start(learner) if self.guard else None
        self.state = state = RunState(learner, baseline, pool=self.pool, guard=self.guard, start=start)
        done, before = self._restore(state)
        # A shared out optimizer differs by design; a resumed one was read from the same file by all.
        self.processes.same({p: ts for p, ts in learner.tensors().items() if p != "optimizer" or not learner.shards})
        if self.checkpoint is None:
            first = self._watch(None)
            if self.guard is not None and "strength" in first:
                self.guard.begin({"strength": first["strength"]})
            yield None, first
            self._save(0, 0.0)
        for generation in self._generations(rule, done, before):
            self.latest = generation
            measured = self._conclude(generation)
            yield generation, measured
            if self.stopped:
                return
            if generation.update % s.save_every == 0:
                self._save(generation.update, generation.seconds)

    def _generations(self, rule: Rule, done: int, seconds: float) -> Iterator[Generation]:
        """Play and learn after `done` generations; what breaks is played again once the guard has gone back."""
        s = self.settings
        while not self.stopped:
            generations = self_play(
                self.game,
                self.player,
                rule,
                games=s.games,
                batch_games=s.batch_games,
                opponent=self.opponent,
                snapshot_every=s.snapshot_every if self.pool else 0,
                seed=s.seed,
                schedules=make_schedules(s),
                in_flight=s.in_flight,
                retries=s.retries,
                done=done,
                seconds=seconds,
                # Checkpoints are written after multiples of this number of updates, and nowhere else.
                flush_every=s.save_every,
            )
            try:
                for generation in generations:
                    done, seconds = generation.update, generation.seconds
                    yield generation
                return
            except FloatingPointError as error:
                self._broken(done + 1, {}, error)

    def _conclude(self, generation: Generation) -> dict[str, float] | None:
        """Let the guard judge a generation, do as it says, and measure the policy where that is due.

        What is broken cannot be measured, so the guard looks at the rest before; strength it judges once it is known.
        """
        metrics = self._signs(generation)
        if self.guard is not None and self.guard.foresees(metrics):
            self._obey(generation.update, metrics)
            return self._measure(generation, metrics)
        try:
            measured = self._measure(generation, metrics)
        except FloatingPointError as error:
            self._broken(generation.update, metrics, error)
            return self._measure(generation, metrics)
        self._obey(generation.update, metrics | {k: v for k, v in (measured or {}).items() if k == "strength"})
        return measured

    def _signs(self, generation: Generation) -> dict[str, float]:
        """Return what the guard judges before the policy is measured; nothing without a guard."""
        if self.guard is None:
            return {}
        assert self.state is not None
        assert self.state.start is not None
        metrics = generation.metrics | {"largest_weight": largest_weight(self.state.learner)}
        start = self.state.start
        if start.anchored and "kl" in metrics:
            metrics["kl_start"] = metrics["kl"]
        elif self._is_due(generation) and (kl := start.kl(generation.episodes)) is not None:
            metrics["kl_start"] = kl
        return metrics

    def _is_due(self, generation: Generation) -> bool:
        s = self.settings
        return generation.update % s.measure_every == 0 or generation.games >= s.games

    def _measure(self, generation: Generation, signs: Mapping[str, float]) -> dict[str, float] | None:
        """Measure the policy where that is due, with the KL to the start among what the guard was told."""
        if not self._is_due(generation):
            return None
        return self._watch(generation, {k: signs[k] for k in ("kl_start",) if k in signs} | self._rollbacks())

    def _rollbacks(self) -> dict[str, float]:
        return {} if self.guard is None else {"rollbacks": float(self.guard.rollbacks)}

    def _watch(self, generation: Generation | None, more: dict[str, float] | None = None) -> dict[str, float]:
        with self._averaged():
            measured = self.processes.from_main(lambda: self.recorder.watch(generation, more))
        self._stale = False
        return measured

    def _averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the policy is the one that is measured and saved."""
        return nullcontext() if self.state is None else self.state.learner.averaged()

    def _obey(self, update: int, metrics: Mapping[str, float]) -> Action:
        """Let the guard judge an update, and do as it says, which is returned."""
        if self.guard is None:
            return Action.GO_ON
        assert self.state is not None
        verdict = self.guard.check(update, metrics)
        if verdict.message:
            self.say(verdict.message)
            self.recorder.note(verdict.message)
        if verdict.action is Action.ROLLBACK:
            self.state.roll_back()
            self._stale = True
        elif verdict.action is Action.STOP:
            self.state.go_back()
            self._stale = True
            assert verdict.rule is not None
            self.stopped, self.stopped_by = verdict.message, verdict.rule.name
        elif self.guard.is_good:
            self.state.vouch()
        self._say_unseen(metrics)
        return verdict.action

    def _broken(self, update: int, metrics: Mapping[str, float], error: FloatingPointError) -> None:
        """Let the guard judge a policy whose numbers broke play or a measure.

        Raises FloatingPointError, with what to do, where that changes nothing.
        """
        if self._obey(update, {**metrics, "logits": math.nan}) in (Action.ROLLBACK, Action.STOP):
            return
        how = "--guard default" if self.guard is None else "the guard's rule finite as it is by default"
        raise FloatingPointError(
            f"update {update}: {error}; with {how} a run goes back to where it was good"
        ) from error

    def _say_unseen(self, metrics: Mapping[str, float]) -> None:
        """Say once, after the first update that learned something, which rules of the guard have nothing to judge."""
        assert self.guard is not None
        if self._said_unseen or not metrics.get("turns"):
            return
        self._said_unseen = True
        unseen = [name for name in self.guard.unseen if name not in MEASURED]
        if unseen:
            idle = ", ".join(rule.name for rule in self.guard.rules if rule.metric in unseen)
            self.say(f"the guard: this run does not report {', '.join(unseen)}, so these rules do nothing: {idle}")

    def _save(self, update: int, seconds: float) -> None:
        state = self.state
        assert state is not None
        tensors = state.tensors()
        self.processes.on_main(lambda: self._write(state, update, tensors, seconds))

    def _write(self, state: RunState, update: int, tensors: Tensors, seconds: float) -> None:
        more = {"recorder": self.recorder.state_dict(), "logs": self.folder.log_sizes(), "seconds": seconds}
        more["stale"] = self._stale
        state.save(self.folder.checkpoints, update, tensors=tensors, more=more, keep=self.settings.keep)

    def _restore(self, state: RunState) -> tuple[int, float]:
        """Go back to the checkpoint of a resumed run; returns updates and seconds of play so far."""
        if self.checkpoint is None:
            self.processes.on_main(lambda: self.folder.cut_logs(dict.fromkeys(self.folder.log_sizes(), 0)))
            return 0, 0.0
        more = state.load(self.checkpoint)
        self.processes.on_main(lambda: self.folder.cut_logs(more["logs"]))
        self.recorder.load_state_dict(more["recorder"])
        self._stale = more["stale"]
        return self.checkpoint.step, more["seconds"]

    def close(self, *, finished: bool, broken: str = "", void: str = "") -> dict[str, Any]:
        """Measure what has not been, save the model, draw and summarise; returns the summary.

        `broken` says why there is no model to measure or to save, where learning ended by a FloatingPointError; `void`
        why its games came to nothing, where it ended by `Void`, so that it cannot be measured either.
        """
        with self._averaged():
            return self.processes.from_main(lambda: self._close(finished, broken, void))

    def _close(self, finished: bool, broken: str, void: str) -> dict[str, Any]:
        if not (broken or void):
            self._measure_last()
        more: dict[str, Any] = {"update": self.settings.update}
        if self.guard is not None:
            more["rollbacks"] = self.guard.rollbacks
        if self.stopped:
            more["stopped"] = self.stopped
        if broken:
            more["broken"] = broken
        if void:
            more["void"] = void
        if usage := {agent.name: asdict(agent.usage) for agent in self._on_servers()}:
            more["usage"] = usage
        done = finished and not (self.stopped or broken or void)
        return self.recorder.close(finished=done, more=more, save=not broken)

    def _on_servers(self) -> list[EndpointAgent]:
        """Return the opponents that cost money; what they used is of this process alone, and since it was started."""
        opponents = self.pool.fixed if self.pool else (self.opponent,)
        return [agent for agent in opponents if isinstance(agent, EndpointAgent)]

    def _measure_last(self) -> None:
        """Measure the model that is saved, if the last measure was of another."""
        last = self.recorder.history[-1]["update"] if self.recorder.history else -1
        if not self.recorder.history:
            self.recorder.watch(None)
        elif self.latest is not None and self.latest.update != last:
            self.recorder.watch(self.latest, self._rollbacks())
        elif self._stale:
            self.recorder.watch_again(self._rollbacks())


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
    check_file(folder.path / "config.yaml", strings=False)
    return folder, Settings(**config)
