"""Self-evolution: a model teaches itself by Self-Training, -Instruct, -Improving or -Play, or as its own critic.

    python scripts/evolve.py                                                  # Self-Training on sums, from a weak start
    python scripts/evolve.py --method self-instruct --skills arithmetic-2
    python scripts/evolve.py --method self-improving=0.5 self-training=0.5 --skills arithmetic-0 arithmetic-2 copy-1
    python scripts/evolve.py --method critic --helpful 0.6 --skills copy-0 sort-0 --gate_margin none
    python scripts/evolve.py --config scripts/recipes/evolve/self_training.yaml
    python scripts/evolve.py --resume runs/evolve-self-training-seed0

Settings come from the defaults, then from `--config FILE.yaml`, then from flags.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from sparring.envs import Void
from sparring.selfplay.evolve import GenerationReport
from sparring.selfplay.evolve_run import EvolveRun, EvolveSettings
from sparring.selfplay.flags import read_flags

SMALL = 10_000_000
"""Parameters below which several threads only get into each other's way."""


def read_settings(arguments: list[str]) -> EvolveSettings:
    """Read flags and the config file; a misspelt name ends the program with the near one."""
    return read_flags(EvolveSettings, arguments, about=__doc__.splitlines()[0])


def run(settings: EvolveSettings, console: Console) -> dict[str, Any]:
    """Run it all; whatever ends the run once a generation is written down, a loadable model is left."""
    whole = EvolveRun(settings, say=lambda text: console.print(text, markup=False))
    if whole.agent.model.num_parameters() < SMALL:
        torch.set_num_threads(1)
    finished = False
    try:
        with console.status("imitating labelled tasks"):
            for loss in whole.prepare():
                del loss
        for report in whole.evolve():
            console.print(line(report), markup=False)
        finished = True
    except KeyboardInterrupt:
        if not whole.reports:
            raise
        console.print("interrupted; saving what has been learned")
    except (ValueError, FloatingPointError, Void):
        if len(whole.reports) < 2:
            raise
        whole.close(finished=False)
        console.print(f"what had been learned is in {whole.path}", markup=False)
        raise
    summary = whole.close(finished=finished)
    console.print(f"all of it is in {whole.path}", markup=False)
    if whole.stopped:
        console.print(
            f"the guard stopped the run: {whole.stopped}\nThe model that is saved is the last good one, and --resume "
            "would not go on. Start a new run with a smaller --lr, or another bound or action of the rule that is "
            "named, as in --guard_rules NAME=warn",
            markup=False,
        )
    return summary


def line(report: GenerationReport) -> str:
    """Return a generation in one line."""
    funnel = ", ".join(f"{name} {count}" for name, count in report.funnel.items())
    hidden = f"hidden test {report.hidden.mean:.3f} (worst skill {report.hidden.worst:.3f})"
    if not report.generation:
        return f"start: {hidden}"
    said = "accepted" if report.admission.accepted else "rolled back"
    warned = f"; warning: {report.warning}" if report.warning else ""
    met = {n.removeprefix("games/"): count for n, count in report.metrics.items() if n.startswith("games/")}
    against = f"; games against {', '.join(f'{n} {met[n]:.0f}' for n in met)}" if met.keys() - {"self"} else ""
    return f"{report.generation} {report.method}: {hidden}; {said}: {report.admission.why}{warned}; {funnel}{against}"


def show(summary: dict[str, Any], console: Console) -> None:
    table = Table(title="result", show_header=False)
    for key, value in summary.items():
        if not isinstance(value, dict):
            table.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
    console.print(table)


def main() -> int:
    """Return the exit code: 0 done, 2 refused or a broken model, 3 stopped by the guard, 130 interrupted."""
    console = Console()
    disable_progress_bar()
    try:
        summary = run(read_settings(sys.argv[1:]), console)
    except (ValueError, OSError, ImportError, FloatingPointError, Void) as error:
        print(f"evolve.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    show(summary, console)
    if "stopped" in summary:
        return 3
    return 0 if summary["finished"] else 130


if __name__ == "__main__":
    sys.exit(main())
