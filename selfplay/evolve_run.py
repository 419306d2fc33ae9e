"""A run of self-evolution: its settings, its parts put together, its folder, and how it is taken up again.

Chosen: the model, the game of one seat and the learner are those of scripts/train.py; a generation is a checkpoint.
Left out: several processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from sparring.agents import Reply
from sparring.envs import make
from sparring.envs.tasks import Task

from .answering import Desk
from .archive import Archive
from .autonomy import autonomy
from .checkpoint import cut_log, load_checkpoint, log_size, save_checkpoint
from .evolve import GenerationReport, Progress, Snapshot, Step, evolve
from .evolve_assembly import (
    METHODS,
    SEEDS,
    make_critics,
    make_learner,
    make_methods,
    make_player,
    weights_of_methods,
)
from .evolve_checks import check
from .evolve_guard import loop_guard
from .gate import Gate
from .play_method import SelfPlay, random_play
from .prover_critic import between, shown
from .runs import free_folder, save_model, strict, write_whole
from .self_instruct import SelfInstruct
from .self_training import SelfTraining, imitation_steps, seed_data
from .settings import check_file, setting
from .skills import Curriculum, read_skill

SHOWN = 256
"""Games of random play that a tiny model learns a game's words from."""
WARM_SEED = 1 << 32
"""Added to the seed for them, so that they are not the games that are trained on."""


@dataclass
class EvolveSettings:
    """All there is to set. The defaults are Self-Training on sums of two digits."""

    method: list[str] = field(
        default_factory=lambda: ["self-training"],
        metadata={"help": f"one of {', '.join(METHODS)}, or several with weights: self-play=0.5 self-improving=0.5"},
    )
    skills: list[str] = field(
        default_factory=lambda: ["arithmetic-2"],
        metadata={"help": "what counts: families with levels, as arithmetic-2"},
    )
    model: str = setting("tiny", "tiny (made from nothing), a model directory, or a hub name")
    seed: int = setting(0, "of everything")
    generations: int = setting(5, "turns of the loop")
    patience: int | None = setting(None, "generations rolled back in a row after which the run ends; none: never")
    seed_tasks: int = setting(400, "labelled tasks that the policy begins with")
    seed_steps: int = setting(200, "steps of imitating them before the first generation")
    seed_lr: float | None = setting(None, "learning rate of that; none: --lr")
    probe_tasks: int = setting(64, "fresh tasks a skill at each evaluation")
    probe_samples: int = setting(1, "answers to each; more make the gate surer at less cost than more tasks")
    hidden_tasks: int = setting(200, "tasks a skill that only reports look at")
    hidden_samples: int = setting(4, "answers to each, for pass@k")
    gate_margin: float | None = setting(0.1, "how far a skill may drop; none: no gate")
    guard: str = setting("default", "default: rolls back or stops what goes wrong; warn: only warns; none")
    guard_rules: list[str] = field(
        default_factory=list,
        metadata={"help": "bounds and actions of the guard: strength_drop=-0.2 illegal_rise=stop length_low=none"},
    )
    adaptive: bool = setting(True, "whether the evaluation writes the next task distribution")
    bonus: float = setting(1.0, "how much a skill that dropped is trained more")
    prompts: int = setting(256, "tasks a generation (self-training), an update (self-improving), or proposals")
    samples: int = setting(8, "answers a task")
    preset: str | None = setting(None, "of self-training: star, rest-em, ttrl or scpo")
    keep: str = setting(
        "verifier",
        "of self-training: verifier, majority, ensemble, confidence, length, longest (near the length that nine of ten "
        "do not exceed), several joined by + as in length+ensemble, or none",
    )
    threshold: float = setting(0.5, "of each of these filters")
    members: int = setting(3, "of an ensemble: generations whose policies vote")
    cap: int = setting(1, "of self-training: most answers kept a prompt")
    accumulates: bool = setting(True, "of self-training: imitate all that was ever kept; else this generation's only")
    learn: str = setting("imitate", "of self-training: imitate, reinforce or prefer; of self-instruct: not prefer")
    restart: bool = setting(False, "of self-training: train from the first policy in every generation")
    steps: int = setting(100, "of self-training and self-instruct: steps of imitation a generation")
    batch: int = setting(64, "of imitation: samples a step")
    updates: int = setting(4, "of self-improving, self-play and critic: updates a generation")
    assess: str = setting("none", "of self-improving: none, log (measures only), train or reward")
    revise: str = setting("none", "of self-improving: none, log (measures only) or train: second tries")
    critique: bool = setting(False, "of self-improving: it says in words what is good or wrong before a second try")
    novelty: float = setting(0.7, "of self-instruct: most ROUGE-L to any task of the pool")
    band_low: float = setting(0.25, "of self-instruct: least share of right answers")
    band_high: float = setting(0.75, "of self-instruct: greatest share of right answers")
    reward: str = setting("learnability", "of self-instruct's proposers: learnability, azr, r_zero, spice, ...")
    game: str = setting("KuhnPoker-v0", "of self-play")
    opponent: str = setting("self", "of self-play: self, pool, random, optimal, a model, or openai:MODEL@URL")
    pool_mix: list[str] = field(
        default_factory=lambda: ["self=0.5", "snapshots=0.5"],
        metadata={"help": "weights of self, snapshots (earlier selves that were let in) and fixed in the pool"},
    )
    pool_draw: str = setting("pfsp", "how snapshots are drawn: latest, uniform, pfsp or worst")
    pool_weighting: str = setting("squared", "of pfsp: squared (hard ones first) or even (even matches first)")
    pool_fixed: list[str] = field(
        default_factory=list, metadata={"help": "fixed agents in the pool: random, optimal, models, openai:MODEL@URL"}
    )
    pool_size: int = setting(16, "most snapshots in the pool")
    games: int = setting(256, "of self-play and critic: games an update")
    rule: str = setting("ppo", "of self-play and critic: an update rule")
    helpful: float = setting(0.5, "of critic: share of games whose prover is to be helpful; else it is to be sneaky")
    pays: str = setting("prover_verifier", "of critic: prover_verifier, spc or truth")
    listed: bool = setting(False, "of critic: the prover chooses among all answers of its skill; else it writes one")
    lr: float = setting(2e-3, "learning rate")
    momentum: float = setting(0.9, "first beta of AdamW")
    kl: float = setting(0.0, "of policy gradients: weight of the KL to the policy after the labelled tasks")
    hidden: int = setting(64, "width of the tiny model")
    layers: int = setting(2, "depth of the tiny model")
    max_new_tokens: int = setting(16, "most tokens of an answer or a proposal")
    device: str | None = setting(None, "of a loaded model: cpu, cuda, ...")
    dtype: str = setting("float32", "of a loaded model")
    thinking: bool | None = setting(None, "of a loaded chat model: whether its template asks it to think first")
    lora: int = setting(0, "rank of LoRA adapters on a frozen base; 0 trains all weights")
    batch_tokens: int = setting(1 << 15, "most tokens of prompts, or of replies, in one forward pass")
    gradient_checkpointing: bool = setting(False, "recompute activations: less memory, more time")
    out: str | None = setting(None, "run folder; a new one below runs/ if not given")
    resume: str | None = setting(None, "run folder to go on with")


class EvolveRun:
    """One run. `prepare`, then `evolve`, both generators, and `close` in any case."""

    def __init__(self, settings: EvolveSettings, *, say: Callable[[str], None] = print) -> None:
        """Check the settings, make the parts, and the folder if nothing is wrong with them.

        Raises ValueError for what cannot work, with the remedy or the near name.
        """
        self.say = say
        self.resumed = settings.resume is not None
        self.path, self.settings = _place(settings)
        s = self.settings
        check(s)
        self.curriculum = Curriculum([read_skill(word) for word in s.skills], seed=s.seed)
        self.desk = Desk(self.curriculum.families.values())
        self.agent = make_player(s, self.curriculum)
        self.methods = make_methods(s, self.curriculum, self.agent)
        self.learner = make_learner(s, self.agent)
        self.guard = loop_guard(s.guard, s.guard_rules)
        self.reports: list[dict[str, Any]] = []
        self.progress: Progress | None = None
        self.start: Snapshot | None = None
        self.stopped = ""
        """Why the guard stopped the run."""
        used = {name: method for name, (method, weight) in self.methods.items() if weight}
        # A game that is played by itself is of no skill.
        is_adaptive = s.adaptive and list(used) != ["self-play"]
        self.level, self.modules = autonomy(used.values(), is_adaptive=is_adaptive)
        say(f"autonomy: {self.level}")
        for module, who in self.modules.items():
            say(f"  {module}: {who}")
        if self.resumed:
            self._restore()
        else:
            _make_folder(self.path, s)
        self.archive = Archive(self._log)

    @property
    def _log(self) -> Path:
        """Where the archive lies."""
        return self.path / "archive.jsonl"

    def _restore(self) -> None:
        found = load_checkpoint(
            self.path / "checkpoints", on_skip=lambda path, why: self.say(f"{path} is skipped: {why}")
        )
        if found is None:
            cut_log(self._log, 0)
            self.say("there is no whole checkpoint; starting anew")
            return
        state = found.state
        if "archive_bytes" not in state:
            raise ValueError(f"{found.path} is of another version, which wrote less into it: begin a new run")
        parts = list(self.learner.tensors())
        self.start = Snapshot(self.learner)
        self.start.tensors = {part: found.tensors(f"start-{part}") for part in parts}
        self.start.state = state["start"]
        self.learner.load({part: found.tensors(part) for part in parts}, state["learner"])
        self.progress = Progress.from_dict(state["progress"])
        try:
            # Before it is read: killed as it was written, its last line is half of one.
            cut_log(self._log, state["archive_bytes"])
        except ValueError as error:
            raise ValueError(f"{error}; or remove {found.path}, to go on from the checkpoint before") from error
        self.reports, self.stopped = state["reports"], state["stopped"]
        if self.guard is not None:
            self.guard.load_state_dict(state["guard"])
        for name, (method, _) in self.methods.items():
            method.load_state_dict(state["methods"][name])
            if isinstance(method, SelfTraining):
                method.load_tensors(found.tensors(f"method-{name}"))
            if isinstance(method, SelfPlay) and method.pool is not None:
                method.pool.load(found.folder(f"pool-{name}"))
        self.say(f"going on after generation {self.progress.generation}")

    def prepare(self) -> Iterator[float]:
        """Let the policy imitate the labelled tasks; yields each step's loss.

        Raises FloatingPointError, having changed no weight, if a gradient is not finite.
        """
        if self.progress is not None:
            return
        s = self.settings
        tasks = self.curriculum.mixed(dict.fromkeys(self.curriculum.skills, 1.0), s.seed_tasks, number=SEEDS)
        self.archive.add(seed_data(tasks, self.desk, self.agent))
        self.learner.lr = s.lr if s.seed_lr is None else s.seed_lr
        for take in self._seed_steps(tasks):
            report = take(self.learner)
            if not math.isfinite(report["grad_norm"]):
                raise FloatingPointError(
                    f"the gradient of labelled tasks is {report['grad_norm']}: lower the learning rate (--seed_lr), or "
                    "compute in float32 (--dtype float32)"
                )
            yield report["loss"]
        self.learner.lr = s.lr
        if self.learner.reference is not None:
            # It was made with the learner, of a policy that had imitated nothing.
            self.learner.reference.catch_up()

    def _seed_steps(self, tasks: Sequence[Task]) -> Iterator[Step]:
        """Return the steps of imitating labelled tasks, and of whatever else the methods are asked for."""
        s = self.settings
        steps = imitation_steps(self.archive, s.seed, s.seed_steps, s.batch)
        for method, _ in self.methods.values():
            if isinstance(method, SelfInstruct):
                self.archive.add(method.demonstrations(self.agent, self.curriculum.families, seed=s.seed))
                steps = method.imitation(self.archive, s.seed, s.seed_steps)
        if s.model == "tiny" and (replies := self._words(tasks)):
            steps = between(steps, replies, seed=s.seed, batch=s.batch)
        return steps

    def _words(self, tasks: Sequence[Task]) -> list[Reply]:
        """Return what a model that was made from nothing learns the words of games from.

        Not kept: moves and verdicts are random, and later generations must not imitate them again.
        """
        s = self.settings
        replies: list[Reply] = []
        if "critic" in self.methods:
            replies += shown(self.agent, make_critics(s, self.curriculum), tasks, seed=s.seed)
        if "self-play" in self.methods:
            replies += random_play(self.agent, make(s.game), games=SHOWN, seed=s.seed + WARM_SEED)
        return replies

    def evolve(self) -> Iterator[GenerationReport]:
        """Run the loop; yields each generation once it is written down. What was stopped or ended does not go on."""
        if self.stopped or self.ended:
            return
        self.start, seen = self.start or Snapshot(self.learner), len(self.archive)
        try:
            for report in self._turns():
                if not report.admission.accepted:
                    self.archive.roll_back(seen)
                seen = len(self.archive)
                self.reports.append(report.as_dict())
                self.stopped = report.stopped
                self._save(report)
                yield report
                if self.ended:
                    self.say(f"the run ends here: {self.ended}")
                    return
        except BaseException:
            # Ctrl-C, say: what was kept in a generation that nobody has judged.
            self.archive.roll_back(seen)
            raise

    def _turns(self) -> Iterator[GenerationReport]:
        s = self.settings
        return evolve(
            self.agent,
            self.learner,
            self.methods,
            self.curriculum,
            generations=s.generations,
            gate=None if s.gate_margin is None else Gate(margin=s.gate_margin),
            guard=self.guard,
            archive=self.archive,
            probe_tasks=s.probe_tasks,
            samples=s.probe_samples,
            hidden_tasks=s.hidden_tasks,
            hidden_samples=s.hidden_samples,
            bonus=s.bonus,
            is_adaptive=s.adaptive,
            seed=s.seed,
            progress=self.progress,
            start=self.start,
        )

    @property
    def ended(self) -> str:
        """Why a run that nobody stopped ends before its last generation; empty if it does not."""
        s, last = self.settings, self.reports[1:][-(self.settings.patience or 0) :]
        if s.patience is None or self.stopped or len(self.reports) > s.generations or len(last) < s.patience:
            return ""
        return "" if any(r["accepted"] for r in last) else f"{s.patience} generations in a row were rolled back"

    def _save(self, report: GenerationReport) -> None:
        assert self.start is not None
        tensors = dict(self.learner.tensors()) | {f"start-{part}": named for part, named in self.start.tensors.items()}
        for name, (method, _) in self.methods.items():
            if isinstance(method, SelfTraining):
                tensors[f"method-{name}"] = method.tensors()
        state = {
            "learner": self.learner.state_dict(),
            "start": self.start.state,
            "progress": report.progress.as_dict(),
            "archive_bytes": log_size(self._log),
            "reports": strict(self.reports),
            "stopped": self.stopped,
            "guard": {} if self.guard is None else self.guard.state_dict(),
            "methods": {name: method.state_dict() for name, (method, _) in self.methods.items()},
        }
        folders = {
            f"pool-{name}": method.pool.save
            for name, (method, _) in self.methods.items()
            if isinstance(method, SelfPlay) and method.pool is not None
        }
        where = self.path / "checkpoints"
        save_checkpoint(where, report.generation, tensors=tensors, state=state, folders=folders, keep=2)
        lines = [json.dumps(strict(found)) for found in self.reports]
        write_whole(self.path / "generations.jsonl", "\n".join(lines) + "\n")

    def close(self, *, finished: bool) -> dict[str, Any]:
        """Save the model and return the summary, which is written too."""
        save_model(self.path, self.agent)
        first, last = self.reports[0], self.reports[-1]
        summary = {
            "finished": finished and not self.stopped,
            "methods": list(self.methods),
            "autonomy": self.level,
            "modules": self.modules,
            "generations": last["generation"],
            "accepted": sum(r["accepted"] for r in self.reports[1:]),
            **{f"{name}_start": first["hidden"][name] for name in ("mean", "worst")},
            **{name: last["hidden"][name] for name in last["hidden"] if name != "table"},
            "archive": len(self.archive),
        }
        if self.guard is not None:
            summary["rollbacks"] = self.guard.rollbacks
        if self.stopped:
            summary["stopped"] = self.stopped
        if self.ended:
            summary["ended"] = self.ended
        write_whole(self.path / "summary.json", json.dumps(strict(summary), indent=2) + "\n")
        return summary


def _place(settings: EvolveSettings) -> tuple[Path, EvolveSettings]:
    """Return where the run's folder is, or is to be, and its settings: new ones, or those that it was begun with."""
    if settings.resume is not None:
        path = Path(settings.resume)
        given = [
            f.name for f in fields(EvolveSettings) if getattr(settings, f.name) != getattr(EvolveSettings(), f.name)
        ]
        if given != ["resume"]:
            raise ValueError(
                f"a run goes on with its own settings; leave out {', '.join(n for n in given if n != 'resume')}"
            )
        if not (path / "config.yaml").is_file():
            raise ValueError(f"{path} holds no run to go on with (no config.yaml)")
        check_file(path / "config.yaml", of=EvolveSettings, strings=False)
        return path, EvolveSettings(**yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8")))
    name = f"evolve-{'-'.join(weights_of_methods(settings))}-seed{settings.seed}"
    path = Path(settings.out or free_folder("runs", name))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} is not empty; choose another --out, or --resume it")
    return path, settings


def _make_folder(path: Path, settings: EvolveSettings) -> None:
    path.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in asdict(settings).items() if k not in ("out", "resume")}
    write_whole(path / "config.yaml", yaml.safe_dump(kept, sort_keys=False))
