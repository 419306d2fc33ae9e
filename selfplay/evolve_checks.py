"""What the settings of self-evolution may be, before anything is built: ranges, and what contradicts what.

Chosen: what would only fail late, do nothing, or be overridden without a word. Left out: what the methods refuse when
they are made, such as names that do not exist.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sparring.envs import near

from .evolve_assembly import weights_of_methods
from .evolve_opponents import check_opposite
from .self_training import PRESETS
from .settings_checks import ABOVE_0, DECAY, FROM_0, FROM_1, FROM_2, PG, Range

if TYPE_CHECKING:
    from .evolve_run import EvolveSettings

SHARE = Range(0, 1)
HEADS = 4
"""Of the tiny model."""
RANGES: dict[str, Range] = {
    **dict.fromkeys(("generations", "probe_tasks", "probe_samples", "hidden_tasks", "hidden_samples"), FROM_1),
    **dict.fromkeys(("prompts", "samples", "cap", "steps", "batch", "updates", "games", "pool_size"), FROM_1),
    **dict.fromkeys(("layers", "max_new_tokens", "batch_tokens", "patience"), FROM_1),
    # One member of an ensemble has none to agree with; positions turn pairs of numbers.
    **dict.fromkeys(("members", "hidden"), FROM_2),
    **dict.fromkeys(("seed_tasks", "seed_steps", "gate_margin", "bonus", "lora", "kl"), FROM_0),
    **dict.fromkeys(("threshold", "novelty", "band_low", "band_high"), SHARE),
    **dict.fromkeys(("lr", "seed_lr"), ABOVE_0),
    "momentum": DECAY,
    "seed": Range(0, 2**31 - 1),
}
"""Where each number may lie; one that may be left out may also be None."""


def check(settings: EvolveSettings) -> None:
    """Raise ValueError for numbers that cannot be and settings that contradict each other, with the remedy."""
    s = settings
    for name, allowed in RANGES.items():
        value: Any = getattr(s, name)
        if value is not None and not allowed.holds(value):
            finite = " and finite" if value == math.inf else ""
            raise ValueError(f"{name} must be {allowed}{finite}, not {value}")
    if s.model == "tiny" and (s.hidden < HEADS or s.hidden // HEADS % 2):
        raise ValueError(
            f"hidden {s.hidden} among {HEADS} heads is {s.hidden // HEADS} each, which must be even and above 0: set "
            f"--hidden {8 * HEADS}, for instance"
        )
    if s.lora and s.model == "tiny":
        raise ValueError("lora is for a loaded model, and the tiny one is trained as a whole: leave it out")
    if s.patience is not None and s.gate_margin is None and s.guard == "none":
        raise ValueError("patience counts rollbacks, and there is neither gate nor guard: leave it out")
    used = _used(s)
    trains = "self-training" in used
    if s.learn == "prefer" and not trains:
        raise ValueError("learn='prefer' is of the method self-training: add that, or leave it out")
    if not s.accumulates and s.learn != "imitate":
        raise ValueError(f"accumulates is of what is imitated, and learn is {s.learn!r}: leave it out")
    if s.preset is not None:
        _check_preset(s, s.preset, trains=trains)
    check_opposite(s, plays="self-play" in used)
    if s.kl and not _has_gradients(s):
        raise ValueError(
            f"kl is of policy gradients, and no method here takes them: add --learn reinforce, a --rule of "
            f"{', '.join(PG)}, or the method self-improving; or leave kl out"
        )


def _used(settings: EvolveSettings) -> set[str]:
    """Return the methods that have a weight."""
    return {name for name, weight in weights_of_methods(settings).items() if weight}


def _has_gradients(settings: EvolveSettings) -> bool:
    """Whether any method learns by policy gradients, which a KL can hold."""
    used = _used(settings)
    learn = settings.learn if settings.preset is None else PRESETS[settings.preset].get("learn", settings.learn)
    return (
        "self-improving" in used
        or ("self-training" in used and learn == "reinforce")
        or ("self-instruct" in used and settings.learn == "reinforce")
        or (not used.isdisjoint(("self-play", "critic")) and settings.rule in PG)
    )


def _check_preset(settings: EvolveSettings, preset: str, *, trains: bool) -> None:
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}.{near(preset, PRESETS)}")
    if not trains:
        raise ValueError(f"preset {preset} is of the method self-training: add that, or leave it out")
    default, known = type(settings)(), {f.name for f in fields(settings)}
    for name, value in PRESETS[preset].items():
        given = getattr(settings, name) if name in known else value
        if given not in (value, getattr(default, name, value)):
            raise ValueError(f"preset {preset} sets {name} to {value!r}, not to {given!r}: leave one of them out")
