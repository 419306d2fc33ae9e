"""Self-play training: a language model plays both seats of a game, learns from winning and losing, and is measured.

    python scripts/train.py                                    # a tiny model learns Kuhn poker, on any machine
    python scripts/train.py --config scripts/recipes/tictactoe.yaml
    python scripts/train.py --game path/to/file.py:MyGame --games 20000
    python scripts/train.py --update dpo --opponent pool --tracker wandb
    python scripts/train.py --resume runs/KuhnPoker-v0-self-seed0
    python scripts/train.py --config scripts/recipes/qwen_lora.yaml

Settings come from the defaults, then from `--config FILE.yaml`, then from flags.
"""

from __future__ import annotations

import gc
import signal
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from sparring.envs import Void
from sparring.selfplay.flags import read_flags
from sparring.selfplay.run import Run
from sparring.selfplay.settings import Settings


def read_settings(arguments: list[str]) -> Settings:
    """Read flags and the config file; a misspelt name ends the program with the near one."""
    return read_flags(Settings, arguments, about=__doc__.splitlines()[0])


def train(settings: Settings, console: Console) -> dict[str, Any]:
    """Run it all; returns the summary. Ctrl-C ends the run early and leaves a loadable model."""
    run = Run(settings, say=lambda text: console.print(text, markup=False))
    console.quiet = not run.processes.is_main
    if run.processes.count > 1:
        # Whichever is told to stop, all stop together.
        signal.signal(signal.SIGINT, run.processes.interrupt)
        signal.signal(signal.SIGTERM, run.processes.interrupt)
    player = run.player
    console.print(
        f"{run.game.name}: {player.name}, {player.model.num_parameters():,} parameters, into {run.folder.path}"
    )
    console.print(run.measure.note, markup=False)
    # The libraries' million objects never become garbage; looking through them took a fifth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    finished, broken, void = False, "", ""
    try:
        with progress_bar(console) as progress:
            prepare(run, progress)
            learn(run, progress)
        finished = True
    except KeyboardInterrupt:
        console.print("interrupted; saving what has been learned")
    except FloatingPointError as error:
        if not run.recorder.history:
            raise
        broken = str(error)
    except Void as why:
        if not run.recorder.history:
            raise
        void = str(why)
    summary = run.close(finished=finished, broken=broken, void=void)
    run.processes.close()
    console.print(last_words(run, summary), markup=False)
    return summary


def last_words(run: Run, summary: dict[str, Any]) -> str:
    """Return where everything is, and how to go on with a run that is not finished."""
    path = run.folder.path
    if "broken" in summary:
        return f"the model is broken and was not saved; how far it got is in {path}"
    there = f"all of it is in {path}; play: python scripts/play.py --seats human {path / 'model'}"
    if run.stopped:
        rule = run.stopped_by or "NAME"
        return (
            f"the guard stopped the run: {run.stopped}\n"
            "The model that is saved is the last good one, and --resume would come to the same stop. Start a new run "
            f"with a smaller --lr, a stronger pull to the start (--kl, --beta), or another bound or action of this "
            f"rule, for instance --guard_rules {rule}=warn\n{there}"
        )
    if not summary["finished"]:
        return f"to go on from the last checkpoint: python scripts/train.py --resume {path}\n{there}"
    return there


def progress_bar(console: Console) -> Progress:
    """Return the bar that both phases show."""
    columns = (BarColumn(bar_width=10), TaskProgressColumn(), TimeRemainingColumn(compact=True))
    about, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    return Progress(about, *columns, note, console=console, refresh_per_second=4)


def prepare(run: Run, progress: Progress) -> None:
    """Show the warm start, where there is one."""
    bar = None
    for loss in run.prepare():
        if bar is None:
            bar = progress.add_task("warm", total=run.settings.warm_steps, note="")
        progress.update(bar, advance=1, note=f"loss {loss:.3f}")


def learn(run: Run, progress: Progress) -> None:
    """Show self-play."""
    bar = progress.add_task("play", total=run.settings.games, note="")
    for generation, measured in run.learn():
        if measured is not None:
            progress.update(bar, note=describe(run.measure.figure, measured))
        if generation is not None:
            progress.update(bar, completed=generation.games)


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
            table.add_row(key, f"{value:.4f}" if isinstance(value, float) else escape(str(value)))
    console.print(table)


def main() -> int:
    """Return the exit code: 0 done, 2 refused, no room or a broken model, 3 stopped by the guard, 130 interrupted."""
    console = Console()
    disable_progress_bar()  # of transformers, which would draw into ours
    # A scheduler's notice ends a run as Ctrl-C does: measured and saved.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = read_settings(sys.argv[1:])
        summary = train(settings, console)
    except (ValueError, OSError, ImportError, SyntaxError, FloatingPointError, Void) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train.py: stopped before all was saved; model/ is the last that was saved whole", file=sys.stderr)
        return 130
    show(summary, console)
    if reason := summary.get("broken") or summary.get("void"):
        print(f"train.py: {reason}", file=sys.stderr)
        return 2
    if "stopped" in summary:
        return 3
    return 0 if summary["finished"] else 130


if __name__ == "__main__":
    sys.exit(main())
