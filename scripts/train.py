"""Self-play training: a language model plays both seats of a game, learns from winning and losing, and is measured.

    python scripts/train.py                                    # a tiny model learns Kuhn poker, on any machine
    python scripts/train.py --config scripts/recipes/tictactoe.yaml
    python scripts/train.py --game path/to/file.py:MyGame --games 20000
    python scripts/train.py --model Qwen/Qwen3-0.6B --thinking false --games 4096 --batch_games 128 --lr 1e-6

Settings come from the defaults below, then from `--config FILE.yaml`, then from flags.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from transformers.utils.logging import disable_progress_bar
from trl import TrlParser

from sparring.agents import Agent, LanguageModelAgent, make_agent, tiny_agent
from sparring.envs import Game, make, near, read_options
from sparring.selfplay import Anneal, Learner, RoleBaseline, self_play, warm_start
from sparring.selfplay.losses import UNCLIPPED
from sparring.selfplay.measures import make_measure
from sparring.selfplay.recorder import Recorder
from sparring.selfplay.runs import RunFolder, free_folder

SMALL = 10_000_000
"""Parameters below which several threads only get into each other's way."""
WARM_SEED = 1 << 32
"""Added to the seed for warm-start games, so that they are not the games that are trained on."""


def setting(default: Any, help: str) -> Any:
    """Return a field with its help text."""
    return field(default=default, metadata={"help": help})


@dataclass
class Settings:
    """All there is to set. The defaults are the Kuhn poker recipe."""

    game: str = setting("KuhnPoker-v0", "a registered game, or path/to/file.py:Class")
    skin: str | None = setting(None, "wording of the game, for instance obfuscated")
    options: list[str] = field(
        default_factory=list, metadata={"help": "settings of the game, for instance dice=2 faces=4"}
    )
    show_legal: bool = setting(True, "list the legal moves in prompts")
    model: str = setting("tiny", "tiny (made from nothing), a model directory, or a hub name")
    opponent: str = setting("self", "self, random, optimal, or a model: who sits opposite")
    seed: int = setting(0, "of the tiny model, the games and the replies")
    games: int = setting(800_000, "games to play in all")
    batch_games: int = setting(1024, "games an update")
    update: str = setting("ppo", "ppo or reinforce")
    clip: float = setting(0.2, "PPO's clip")
    epochs: int = setting(1, "passes over the games of an update")
    lr: float = setting(2e-3, "learning rate at the start")
    lr_end: float | None = setting(None, "learning rate at the end; a fortieth of lr if not given")
    entropy: float = setting(0.0, "weight of the entropy bonus at the start")
    entropy_end: float = setting(0.0, "weight of the entropy bonus at the end")
    kl: float = setting(1.0, "weight of the KL to the lagged copy at the start")
    kl_end: float | None = setting(None, "weight of the KL at the end; 0.07 of kl if not given")
    anchor_every: int = setting(0, "updates after which the lagged copy catches up; 0: it stays the first policy")
    baseline_decay: float = setting(0.999, "of the role-conditioned baseline, a game")
    max_grad_norm: float = setting(1.0, "longest gradient")
    momentum: float = setting(0.0, "first beta of AdamW; in self-play momentum feeds cycles")
    warm_steps: int = setting(200, "steps of imitating random legal play before self-play; tiny model only")
    warm_lr: float = setting(3e-3, "learning rate of the warm start")
    hidden: int = setting(64, "width of the tiny model")
    layers: int = setting(2, "depth of the tiny model")
    heads: int = setting(4, "attention heads of the tiny model")
    temperature: float = setting(1.0, "of sampling")
    max_new_tokens: int | None = setting(None, "most tokens of a reply; the model's own setting if not given")
    retries: int = setting(0, "illegal replies that may be taken back in a turn; 0 forfeits at once")
    in_flight: int = setting(1024, "games played at once; it does not change the games")
    batch_tokens: int = setting(32_768, "most prompt tokens in one forward pass; it does not change the update")
    device: str | None = setting(None, "cpu, cuda, ...; a GPU for a loaded model if there is one")
    dtype: str = setting("float32", "of a loaded model; at small learning rates bfloat16 rounds updates away")
    attn_implementation: str | None = setting(None, "of a loaded model, for instance sdpa or flash_attention_2")
    trust_remote_code: bool = setting(False, "run code that comes with a loaded model")
    thinking: bool | None = setting(None, "whether the chat template of a loaded model asks it to think first")
    threads: int = setting(0, "of torch; 0: one for models below 10 million parameters, else torch's own choice")
    measure: str = setting("auto", "auto, exact, sampled (for models that reason before they move) or match")
    samples: int = setting(100, "replies a prompt, where NashConv is sampled")
    measure_every: int = setting(20, "updates between measures of strength")
    save_every: int = setting(100, "updates between saves of the model; it is saved at the end in any case")
    transcripts: int = setting(4, "games kept in transcripts.jsonl at every measure")
    out: str | None = setting(None, "run folder; a new one below runs/ if not given")
    overwrite: bool = setting(False, "replace a run that is in --out already")


def read_settings(arguments: list[str]) -> Settings:
    """Read flags and the config file; a misspelt name ends the program with the near one."""
    names = [f.name for f in fields(Settings)]
    # TrlParser takes the file's name as a word of its own only.
    arguments = [
        part for word in arguments for part in (word.split("=", 1) if word.startswith("--config=") else [word])
    ]
    if arguments[-1:] == ["--config"]:
        raise ValueError("--config needs the name of a YAML file")
    if "--config" in arguments:
        check_file(Path(arguments[arguments.index("--config") + 1]), names)
    about = f"{__doc__.splitlines()[0]} --config FILE.yaml reads settings from a file; flags override it."
    parser = TrlParser([Settings], description=about, allow_abbrev=False)
    settings: Settings
    settings, unknown = parser.parse_args_and_config(arguments, return_remaining_strings=True)
    for word in unknown:
        if word.startswith("--"):
            raise ValueError(f"unknown flag {word}.{near(word.lstrip('-').split('=')[0], names)}")
        raise ValueError(f"{word!r} belongs to no flag")
    return settings


def check_file(path: Path, names: list[str]) -> None:
    """Refuse a config file with unknown names or values of the wrong kind."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a YAML file of settings")
    kinds = {f.name: str(f.type) for f in fields(Settings)}
    accepted = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "list[str]": (list,)}
    for key, value in found.items():
        if key not in names:
            raise ValueError(f"{path} has an unknown setting {key!r}.{near(str(key), names)}")
        kind, _, optional = kinds[key].partition(" | ")
        # Strings are read as flags are, so that 1e-3, which YAML takes for one, is a number.
        if isinstance(value, str) or (value is None and optional):
            continue
        if not isinstance(value, accepted[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise ValueError(f"{path}: {key} must be of kind {kinds[key]}, not {value!r}")


def loading(settings: Settings) -> dict[str, Any]:
    """Return how models are loaded, the one that learns and the opponent alike."""
    return {
        "device": settings.device,
        "dtype": settings.dtype,
        "attn_implementation": settings.attn_implementation,
        "trust_remote_code": settings.trust_remote_code,
        "chat_template_kwargs": None if settings.thinking is None else {"enable_thinking": settings.thinking},
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "batch_tokens": settings.batch_tokens,
    }


def make_player(settings: Settings, game: Game[Any]) -> LanguageModelAgent:
    """Return the model that learns, not warm-started."""
    if settings.model != "tiny":
        player = make_agent(settings.model, **loading(settings))
        if isinstance(player, LanguageModelAgent):
            return player
        raise ValueError(f"{settings.model!r} is no language model; --model takes tiny, a directory or a hub name")
    tiny = tiny_agent(
        game,
        seed=settings.seed,
        hidden=settings.hidden,
        layers=settings.layers,
        heads=settings.heads,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        batch_tokens=settings.batch_tokens,
    )
    tiny.model.to(settings.device or "cpu")
    return tiny


def make_learner(settings: Settings, player: LanguageModelAgent) -> Learner:
    """Return the learner of the chosen update."""
    clip_low, clip_high = (settings.clip, settings.clip) if settings.update == "ppo" else UNCLIPPED
    return Learner(
        player,
        lr=settings.lr,
        clip_low=clip_low,
        clip_high=clip_high,
        epochs=settings.epochs,
        kl=settings.kl,
        entropy=settings.entropy,
        anchor_every=settings.anchor_every,
        max_grad_norm=settings.max_grad_norm,
        betas=(settings.momentum, 0.99),
        batch_tokens=settings.batch_tokens,
    )


TINY_ONLY = ("hidden", "layers", "heads", "warm_steps", "warm_lr")
LOADED_ONLY = ("dtype", "attn_implementation", "trust_remote_code", "thinking")


def check(settings: Settings) -> None:
    """Refuse what would only fail later, or silently do nothing."""
    if settings.update not in ("ppo", "reinforce"):
        raise ValueError(f"unknown update {settings.update!r}.{near(settings.update, ['ppo', 'reinforce'])}")
    for name in (
        "games",
        "batch_games",
        "epochs",
        "in_flight",
        "measure_every",
        "save_every",
        "hidden",
        "layers",
        "heads",
    ):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be 1 or more, not {getattr(settings, name)}")
    if not settings.lr > 0:
        raise ValueError(f"lr must be above 0, not {settings.lr}")
    if settings.opponent == "human":
        raise ValueError("opponent 'human' cannot train by the thousand; play against the model with scripts/play.py")
    if (settings.device or "").startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {settings.device!r} is not there: torch sees no GPU")
    if settings.seed < 0:
        raise ValueError(f"seed must be 0 or more, not {settings.seed}")
    if settings.temperature <= 0:
        raise ValueError(f"temperature must be above 0 to learn by sampling, not {settings.temperature}")
    if settings.kl_end and not settings.kl:
        raise ValueError(f"kl is 0 but kl_end is {settings.kl_end}: set both to 0, or both above")
    tiny = settings.model == "tiny"
    for name in LOADED_ONLY if tiny and settings.opponent in ("self", "random", "optimal") else ():
        if getattr(settings, name) != getattr(Settings, name):
            raise ValueError(f"{name} is for loaded models; the tiny model has none")
    for name in () if tiny else TINY_ONLY:
        if getattr(settings, name) != getattr(Settings, name):
            raise ValueError(f"{name} is for the tiny model; {settings.model!r} brings its own")


def train(settings: Settings, console: Console) -> dict[str, Any]:
    """Run it all; returns the summary. Ctrl-C ends the run early and leaves a loadable model."""
    check(settings)
    settings.lr_end = settings.lr / 40 if settings.lr_end is None else settings.lr_end
    settings.kl_end = settings.kl * 0.07 if settings.kl_end is None else settings.kl_end
    game = make_game(settings)
    player = make_player(settings, game)
    small = player.model.num_parameters() < SMALL
    if settings.threads or small:
        torch.set_num_threads(settings.threads or 1)
    opponent = None if settings.opponent == "self" else make_agent(settings.opponent, **loading(settings))
    measure = make_measure(game, settings.measure, samples=settings.samples, seed=settings.seed)
    config = {k: v for k, v in asdict(settings).items() if k not in ("out", "overwrite")}
    name = f"{game.name}-{Path(settings.opponent).name}-seed{settings.seed}"
    folder = RunFolder(settings.out or free_folder("runs", name), config, overwrite=settings.overwrite)
    console.print(f"{game.name}: {player.name}, {player.model.num_parameters():,} parameters, into {folder.path}")
    console.print(measure.note, markup=False)
    about = {"game": settings.game, "opponent": settings.opponent, "seed": settings.seed}
    recorder = Recorder(player, measure, folder, about=about, transcripts=settings.transcripts)
    finished = False
    try:
        with progress_bar(console) as progress:
            prepare(settings, game, player, progress)
            learn(settings, game, recorder, opponent, progress)
        finished = True
    except KeyboardInterrupt:
        console.print("interrupted; saving what has been learned")
        # Measured again, so that the summary speaks of the model that is saved.
        recorder.watch(recorder.latest)
    summary = recorder.close(finished=finished)
    console.print(f"all of it is in {folder.path}; play: python scripts/play.py --seats human {folder.path / 'model'}")
    return summary


def make_game(settings: Settings) -> Game[Any]:
    """Return the game with its settings."""
    options = read_options(settings.options)
    if settings.skin is not None:
        options["skin"] = settings.skin
    return make(settings.game, show_legal=settings.show_legal, **options)


def progress_bar(console: Console) -> Progress:
    """Return the bar that both phases show."""
    columns = (BarColumn(bar_width=10), TaskProgressColumn(), TimeRemainingColumn(compact=True))
    about, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    return Progress(about, *columns, note, console=console, refresh_per_second=4)


def prepare(settings: Settings, game: Game[Any], player: LanguageModelAgent, progress: Progress) -> None:
    """Warm-start a tiny model on random legal play."""
    if settings.model != "tiny" or not settings.warm_steps:
        return
    bar = progress.add_task("warm", total=settings.warm_steps, note="")
    steps = warm_start(game, player, steps=settings.warm_steps, lr=settings.warm_lr, seed=settings.seed + WARM_SEED)
    for loss in steps:
        progress.update(bar, advance=1, note=f"loss {loss:.3f}")


def learn(settings: Settings, game: Game[Any], recorder: Recorder, opponent: Agent | None, progress: Progress) -> None:
    """Self-play, measured and saved every so often."""
    player, measure = recorder.player, recorder.measure.figure
    assert settings.lr_end is not None
    assert settings.kl_end is not None
    note = describe(measure, recorder.watch(None))
    bar = progress.add_task("play", total=settings.games, note=note)
    generations = self_play(
        game,
        player,
        make_learner(settings, player),
        games=settings.games,
        batch_games=settings.batch_games,
        opponent=opponent,
        baseline=RoleBaseline(settings.baseline_decay),
        seed=settings.seed,
        lr=Anneal(settings.lr, settings.lr_end),
        entropy=Anneal(settings.entropy, settings.entropy_end),
        kl=Anneal(settings.kl, settings.kl_end),
        in_flight=settings.in_flight,
        retries=settings.retries,
    )
    for generation in generations:
        recorder.latest = generation
        if generation.update % settings.measure_every == 0 or generation.games == settings.games:
            note = describe(measure, recorder.watch(generation))
        if generation.update % settings.save_every == 0:
            recorder.folder.save_model(player)
        progress.update(bar, completed=generation.games, note=note)


def describe(figure: str, measured: dict[str, float]) -> str:
    """Return the measures that the progress bar shows."""
    shown = {figure: "{:.3f}", "illegal_rate": "illegal {:.1%}", "entropy": "entropy {:.2f}"}
    shown["games_per_second"] = "{:.0f} games/s"
    parts = [text.format(measured[key]) for key, text in shown.items() if key in measured]
    return " ".join([f"{figure} {parts[0]}", *parts[1:]])


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the closing table."""
    table = Table(title="result", show_header=False)
    for key, value in summary.items():
        if value is not None:
            table.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
    console.print(table)


def main() -> int:
    """Return the exit code: 0 done, 2 bad settings, 130 interrupted."""
    console = Console()
    disable_progress_bar()  # of transformers, which would draw into ours
    # A scheduler's notice ends a run as Ctrl-C does: measured and saved.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = read_settings(sys.argv[1:])
        summary = train(settings, console)
    except (ValueError, OSError, ImportError, SyntaxError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train.py: stopped before all was saved; model/ is the last that was saved whole", file=sys.stderr)
        return 130
    show(summary, console)
    return 0 if summary["finished"] else 130


if __name__ == "__main__":
    sys.exit(main())
