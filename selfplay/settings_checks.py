"""What settings may be, before anything is built: names, ranges, and what must be so for one to have an effect.

Chosen: tables, and a refusal for whatever they do not allow, with the remedy. Left out: settings that have no effect
only because a run is short, such as checkpoints further apart than it has updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from sparring.agents import AGENTS, is_endpoint
from sparring.agents.judges import PLAYERS, JudgeName, check_odds, judge_names
from sparring.envs import near

from .forks import BY
from .policy_gradient import ESTIMATORS
from .pool import DRAWS, KINDS, WEIGHTINGS
from .rules import ADVANTAGES, GROUPED, RULES
from .settings import Settings, read_numbers

TRL_RULES = ("trl-dpo", "trl-kto", "trl-sft")
"""Updates by TRL's own trainers."""
UPDATES = (*RULES, *TRL_RULES)
PG = ("ppo", "reinforce", "grpo", "rloo")
CLIPPED = ("ppo", "grpo", "rloo")
PAIRS = ("dpo", "ipo", "hinge")
PREFERENCES = (*PAIRS, "sppo", "rebel", "kto", "spin")
NAMED: dict[str, Sequence[str]] = {
    "update": UPDATES,
    "advantage": ADVANTAGES,
    "critic": ("shared", "detached", "separate"),
    "groups": BY,
    "kl_estimator": ESTIMATORS,
    "pool_draw": tuple(DRAWS),
    "pool_weighting": tuple(WEIGHTINGS),
    "guard": ("default", "warn", "none"),
    "tracker": ("none", "wandb", "tensorboard", "trackio"),
    "mixed_precision": ("no", "bf16"),
    # Not float16: its gradients would need scaling.
    "dtype": ("float32", "bfloat16"),
}
"""Settings that take one of a few names."""


class Range(NamedTuple):
    """The finite numbers between two bounds.

    >>> str(Range(0, 1, is_low_in=False))
    'above 0 and 1 at most'
    """

    low: float
    high: float = math.inf
    is_low_in: bool = True
    """Whether `low` itself belongs to them."""
    is_high_in: bool = True

    def holds(self, value: float) -> bool:
        """Return whether a number is one of them; NaN and infinity never are."""
        low = value >= self.low if self.is_low_in else value > self.low
        high = value <= self.high if self.is_high_in else value < self.high
        return math.isfinite(value) and low and high

    def __str__(self) -> str:
        """Say it in words."""
        low = f"{self.low} or more" if self.is_low_in else f"above {self.low}"
        if self.high == math.inf:
            return low
        return f"{low} and {f'{self.high} at most' if self.is_high_in else f'below {self.high}'}"


FROM_0, FROM_1, FROM_2 = Range(0), Range(1), Range(2)
ABOVE_0, ABOVE_1 = Range(0, is_low_in=False), Range(1, is_low_in=False)
DISCOUNT = Range(0, 1, is_low_in=False)
DECAY = Range(0, 1, is_high_in=False)
RANGES: dict[str, Range] = {
    **dict.fromkeys(("games", "batch_games", "epochs", "minibatches", "in_flight", "batch_tokens"), FROM_1),
    **dict.fromkeys(("measure_every", "save_every", "snapshot_every", "keep", "pool_size"), FROM_1),
    **dict.fromkeys(("layers", "heads", "rollouts", "max_new_tokens", "importance_cap"), FROM_1),
    # One reply a state has none to be compared with; NashConv is sampled from halves; positions turn pairs of numbers.
    **dict.fromkeys(("width", "samples", "hidden"), FROM_2),
    **dict.fromkeys(("lora", "warm_steps", "transcripts", "anchor_every", "retries", "threads", "rate_pairs"), FROM_0),
    **dict.fromkeys(("entropy", "entropy_end", "kl", "kl_end", "nll", "threshold", "weight_power", "shrink"), FROM_0),
    **dict.fromkeys(("lr", "lr_end", "critic_lr", "warm_lr", "max_grad_norm", "temperature", "lora_alpha"), ABOVE_0),
    **dict.fromkeys(("clip", "clip_high", "value_clip", "value_weight", "init_scale"), ABOVE_0),
    **dict.fromkeys(("kl_stop", "kl_target", "kl_horizon", "judge_timeout"), ABOVE_0),
    **dict.fromkeys(("beta", "beta_end", "eta", "eta_end"), ABOVE_0),
    "dual_clip": ABOVE_1,
    **dict.fromkeys(("gamma", "turn_decay"), DISCOUNT),
    "lam": Range(0, 1),
    **dict.fromkeys(("momentum", "adam_beta2", "ema_decay", "baseline_decay"), DECAY),
    # Numpy's global seed, which TRL sets, ends at twice this; updates are added to it.
    "seed": Range(0, 2**31 - 1),
}
"""Where each number may lie; one that may be left out may also be None."""

BY_UPDATE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("clip", "clip_high", "dual_clip"), CLIPPED),
    **dict.fromkeys(("entropy", "entropy_end", "kl", "kl_end", "kl_estimator", "kl_horizon", "kl_target"), PG),
    **dict.fromkeys(("kl_stop", "standardize", "importance_cap"), PG),
    "advantage": ("ppo", "reinforce"),
    "baseline_decay": ("ppo", "reinforce", "kto", "trl-kto"),
    "groups": (*GROUPED, "trl-dpo"),
    "scale": ("grpo",),
    "soft": PAIRS,
    "threshold": (*PAIRS, "trl-dpo"),
    **dict.fromkeys(("beta", "beta_end"), (*PAIRS, "rebel", "kto", "spin", "trl-dpo", "trl-kto")),
    "nll": (*PAIRS, "sppo", "kto", "spin"),
    **dict.fromkeys(("weight_power", "shrink"), ("rebel",)),
    **dict.fromkeys(("eta", "eta_end"), ("sppo",)),
    "turn_decay": ("rft", "trl-sft"),
    # Those of TRL build an optimizer of TRL's, with its own numbers.
    **dict.fromkeys(("momentum", "adam_beta2", "ema_decay", "max_grad_norm", "shard_optimizer"), RULES),
}
"""Settings that only some updates have."""


class Need(NamedTuple):
    """What must be so for a setting to have an effect."""

    met: Callable[[Settings], bool]
    refusal: str
    """What is said after the setting's name where it is not so."""


def _without(remedy: str, met: Callable[[Settings], bool]) -> Need:
    return Need(met, f"does nothing without {remedy}: set that, or leave it out")


def _given(name: str, value: str) -> Need:
    return _without(f"--{name} {value}", lambda s: getattr(s, name) == value)


def pool_share(settings: Settings, kind: str) -> float:
    """Return the weight of a kind of opponents in the pool."""
    return read_numbers(settings.pool_mix, "pool_mix").get(kind) or 0.0


def _loads(settings: Settings) -> bool:
    opponents = (settings.opponent, *settings.pool_fixed, *settings.rate_anchors)
    known = ("self", "pool", *AGENTS)
    judges = [name.rest for name in _judges(settings) if name.kind in PLAYERS]
    return settings.model != "tiny" or any(o not in known and not is_endpoint(o) for o in (*opponents, *judges))


def _judges(settings: Settings) -> list[JudgeName]:
    named = filter(None, (settings.judge, settings.eval_judge))
    return [name for spec in named for name in judge_names(spec)]


TINY = Need(lambda s: s.model == "tiny", "is for the tiny model; one that is loaded brings its own: leave it out")
LOADED = Need(_loads, "is for loaded models, and none is loaded: leave it out")
CRITIC = _given("advantage", "critic")
BRANCH = _given("groups", "branch")
POOL = _given("opponent", "pool")
SNAPSHOTS = _without("a weight of snapshots in --pool_mix", lambda s: pool_share(s, "snapshots") > 0)
FIXED = _without(
    "a weight of fixed in --pool_mix, for instance self=0.5 snapshots=0.4 fixed=0.1",
    lambda s: pool_share(s, "fixed") > 0,
)
KL = _without("--kl above 0", lambda s: s.kl > 0)
STEPS = _without("several steps an update, of --epochs or --minibatches", lambda s: s.epochs * s.minibatches > 1)
LORA = _without("--lora, for instance --lora 16", lambda s: s.lora > 0)
NEEDS: dict[str, tuple[Need, ...]] = {
    **dict.fromkeys(("critic", "critic_lr", "value_weight", "gamma", "lam"), (CRITIC,)),
    "value_clip": (CRITIC, STEPS),
    "kl_stop": (STEPS,),
    **dict.fromkeys(("kl_estimator", "kl_target"), (KL,)),
    "kl_horizon": (_without("--kl_target", lambda s: s.kl_target is not None),),
    "kl_end": (
        # Both 0 says the same twice.
        Need(lambda s: s.kl > 0 or s.kl_end == 0, "is above 0 but kl is 0: set both to 0, or both above"),
        Need(lambda s: s.kl_target is None, "does nothing beside --kl_target, which steers kl: leave one of them out"),
    ),
    "anchor_every": (
        Need(
            lambda s: s.anchor_every == 0 or s.update in (*PG, *PREFERENCES),
            f"is of updates with a reference ({', '.join((*PG, *PREFERENCES))}): leave it out",
        ),
        Need(lambda s: s.anchor_every == 0 or s.update not in PG or s.kl > 0, KL.refusal),
    ),
    "baseline_decay": (_given("advantage", "rae"),),
    **dict.fromkeys(("width", "rollouts"), (BRANCH,)),
    "pool_mix": (POOL,),
    "pool_fixed": (POOL, FIXED),
    **dict.fromkeys(("pool_draw", "pool_size", "snapshot_every"), (POOL, SNAPSHOTS)),
    "pool_weighting": (POOL, SNAPSHOTS, _given("pool_draw", "pfsp")),
    **dict.fromkeys(("hidden", "layers", "heads", "init_scale", "warm_steps"), (TINY,)),
    "warm_lr": (TINY, _without("--warm_steps above 0", lambda s: s.warm_steps > 0)),
    **dict.fromkeys(("dtype", "attn_implementation", "trust_remote_code", "thinking"), (LOADED,)),
    **dict.fromkeys(("lora_alpha", "lora_targets"), (LORA,)),
    "samples": (_given("measure", "sampled"),),
    "judge_timeout": (
        _without(
            "a --judge or --eval_judge that is a model, on a server or not, or your own",
            lambda s: any(name.kind in ("", *PLAYERS) for name in _judges(s)),
        ),
    ),
    "rate_anchors": (_without("--rate_pairs above 0", lambda s: s.rate_pairs > 0),),
    "guard_rules": (_without("a guard", lambda s: s.guard != "none"),),
    "project": (_without("a --tracker", lambda s: s.tracker != "none"),),
    "overwrite": (_without("--out, the folder to replace", lambda s: s.out is not None),),
}
"""All that must be so for a setting that is not at its default."""


def check(settings: Settings) -> None:
    """Raise ValueError for what would only fail later, or do nothing, with the remedy."""
    _check_values(settings)
    check_pool(settings)
    _check_players(settings)
    for name, updates in BY_UPDATE.items():
        if settings.update not in updates and _is_set(settings, name):
            raise ValueError(f"{name} is of the updates {', '.join(updates)}; {settings.update} has none: leave it out")
    for name, needs in NEEDS.items():
        for need in needs if _is_set(settings, name) else ():
            if not need.met(settings):
                raise ValueError(f"{name} {need.refusal}")


def check_together(settings: Settings, processes: int) -> None:
    """Raise ValueError for what several processes cannot do."""
    if processes > 1 and settings.update in TRL_RULES:
        ours = settings.update.removeprefix("trl-").replace("sft", "rft")
        raise ValueError(f"{settings.update} runs a trainer of TRL's own, in one process: take {ours}")
    if processes > 1 and ":" in (settings.device or ""):
        raise ValueError(f"device {settings.device} is one for all {processes} processes; leave the number out")


def _is_set(settings: Settings, name: str) -> bool:
    """Whether a setting differs from its default."""
    return bool(getattr(settings, name) != getattr(Settings(), name))


def _check_values(settings: Settings) -> None:
    for name, known in NAMED.items():
        if getattr(settings, name) not in known:
            raise ValueError(f"unknown {name} {getattr(settings, name)!r}.{near(str(getattr(settings, name)), known)}")
    for name, allowed in RANGES.items():
        value: Any = getattr(settings, name)
        if value is not None and not allowed.holds(value):
            finite = " and finite" if value == math.inf else ""
            raise ValueError(f"{name} must be {allowed}{finite}, not {value}")


def check_pool(settings: Settings) -> None:
    """Raise ValueError for weights of a pool that cannot be, with the remedy; looks at `pool_mix` and `pool_fixed`."""
    weights = read_numbers(settings.pool_mix, "pool_mix")
    for kind, weight in weights.items():
        if kind not in KINDS:
            raise ValueError(f"pool_mix has weights of {', '.join(KINDS)}, not of {kind!r}.{near(kind, KINDS)}")
        if weight is not None and not FROM_0.holds(weight):
            raise ValueError(f"pool_mix: {kind} must be {FROM_0} and finite, not {weight}")
    if not any(weights.values()):
        raise ValueError("pool_mix must have a weight above 0, for instance self=0.5 snapshots=0.5")
    if weights.get("fixed") and not settings.pool_fixed:
        raise ValueError(
            "pool_mix gives fixed a weight, but there are none: name them, for instance --pool_fixed random"
        )


def _check_players(settings: Settings) -> None:
    if settings.rate_pairs and not settings.rate_anchors:
        raise ValueError("ratings need a fixed player to be tied to; name one, for instance --rate_anchors random")
    if "human" in (settings.opponent, *settings.pool_fixed, *settings.rate_anchors):
        raise ValueError("opponent 'human' cannot train by the thousand; play against the model with scripts/play.py")
    for name in ("judge", "eval_judge"):
        spec = getattr(settings, name) or ""
        check_odds(spec)
        if any(judge.is_person for judge in judge_names(spec)):
            raise ValueError(f"{name} 'human' cannot judge by the thousand; judge single games with scripts/play.py")
    if is_endpoint(settings.model):
        raise ValueError("the model is on a server, where nothing can be learned from here; it can be an --opponent")
    if settings.update == "spin" and settings.opponent in ("self", "pool"):
        raise ValueError("spin imitates the opponent's moves: set --opponent to an agent, for instance optimal")
    if settings.model == "tiny" and (settings.hidden < settings.heads or settings.hidden // settings.heads % 2):
        raise ValueError(
            f"hidden {settings.hidden} among {settings.heads} heads is {settings.hidden // settings.heads} each, which "
            f"must be even and above 0: set --hidden {8 * settings.heads}, for instance"
        )
    if settings.device:
        _check_device(settings.device)
    if settings.update in TRL_RULES and settings.temperature != 1:
        raise ValueError(f"TRL computes at temperature 1, so {settings.update} cannot train what plays at another")
    branch_games = settings.width * settings.rollouts
    branches = settings.groups == "branch" and settings.update in (*GROUPED, "trl-dpo")
    if branches and settings.batch_games < branch_games:
        raise ValueError(
            f"a generation of {settings.batch_games} games holds no branch of {branch_games}; raise batch_games or "
            "lower width"
        )
    if settings.opponent != "self" and settings.batch_games % 2 and not branches:
        raise ValueError(
            f"batch_games {settings.batch_games} is odd, so one seat would be played more often against an opponent: "
            f"set --batch_games {settings.batch_games + 1}"
        )


def _check_device(name: str) -> None:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is none of torch's: set cpu, cuda, cuda:1, ...") from error
    found = torch.accelerator.current_accelerator()
    if device.type == "cuda" and found is None:
        raise ValueError(f"device {name!r} is not there: torch sees no GPU")
    if device.type != "cpu" and device.type != (found and found.type):
        there = "cpu" if found is None else f"cpu and {found.type}"
        raise ValueError(f"device {name!r} is not there: torch sees {there}")
    if device.type != "cpu" and (device.index or 0) >= torch.accelerator.device_count():
        raise ValueError(f"device {name!r} is not there: torch sees {torch.accelerator.device_count()}")
