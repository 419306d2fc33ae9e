"""The settings of a training run: one flat record, and how it is read. `settings_checks` says what may be set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from sparring.envs import near


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
    judge: str | None = setting(
        None,
        "who decides a judged game in training: rule, lm:MODEL, swapped:lm:MODEL; the game's own if not given",
    )
    eval_judge: str | None = setting(None, "who decides it when the policy is measured; as in training if not given")
    judge_timeout: float | None = setting(
        None, "seconds a judge may take for a call, and one on a server for each request, before it is asked again"
    )
    model: str = setting("tiny", "tiny (made from nothing), a model directory, or a hub name")
    opponent: str = setting("self", "self, pool, random, optimal, a model, or openai:MODEL@URL: who sits opposite")
    pool_mix: list[str] = field(
        default_factory=lambda: ["self=0.5", "snapshots=0.5"],
        metadata={"help": "weights of self, snapshots and fixed in the pool"},
    )
    pool_draw: str = setting("pfsp", "how snapshots are drawn: latest, uniform, pfsp or worst")
    pool_weighting: str = setting("squared", "of pfsp: squared (hard ones first) or even (even matches first)")
    pool_fixed: list[str] = field(
        default_factory=list, metadata={"help": "fixed agents in the pool: random, optimal, models, openai:MODEL@URL"}
    )
    pool_size: int = setting(16, "most snapshots in the pool")
    snapshot_every: int = setting(25, "updates between snapshots")
    seed: int = setting(0, "of the tiny model, the games and the replies")
    games: int = setting(800_000, "games to play in all")
    batch_games: int = setting(1024, "games an update")
    update: str = setting(
        "ppo", "ppo, reinforce, grpo, rloo, dpo, ipo, hinge, sppo, rebel, kto, rft, spin, trl-dpo, ..."
    )
    advantage: str = setting("rae", "of ppo and reinforce: rae (baseline of the role), critic, or none")
    clip: float = setting(0.2, "PPO's clip, below 1 and above; it matters from the second step of an update on")
    clip_high: float | None = setting(None, "PPO's clip above 1, if it differs")
    dual_clip: float | None = setting(None, "most that a ratio counts where advantages are negative")
    epochs: int = setting(1, "passes over the games of an update")
    minibatches: int = setting(1, "steps a pass")
    kl_stop: float | None = setting(
        None, "nats a token from the sampler beyond which an update of several steps takes no more of them"
    )
    standardize: bool = setting(False, "shift and scale advantages to mean 0 and deviation 1 over an update")
    importance_cap: float | None = setting(None, "most weight to correct a sampler that differs; none: no correction")
    critic: str = setting("shared", "with --advantage critic: shared trunk, detached (shared, not moved), or separate")
    critic_lr: float | None = setting(None, "learning rate of the critic at the start; that of the policy if not given")
    value_weight: float = setting(0.5, "weight of the critic's loss")
    value_clip: float | None = setting(None, "how far, in rewards, a value may move in an update of several steps")
    gamma: float = setting(1.0, "discount a turn, with a critic")
    lam: float = setting(0.95, "lambda of GAE over turns, with a critic")
    groups: str = setting(
        "prompt", "replies that are compared: to one prompt across games, in one hidden state too, or branch"
    )
    width: int = setting(4, "with --groups branch: replies from one state")
    rollouts: int = setting(1, "with --groups branch: games played out after each of them")
    scale: bool = setting(True, "of grpo: divide by the group's standard deviation")
    soft: bool = setting(True, "of dpo, ipo and hinge: targets are win rates; false: the better mean wins for certain")
    threshold: float = setting(0.0, "least difference of mean outcomes that makes a pair")
    beta: float = setting(1.0, "of dpo, ipo, hinge, rebel, kto and spin, at the start: pull to the reference, a nat")
    beta_end: float | None = setting(None, "beta at the end; as at the start if not given")
    eta: float = setting(1.0, "of sppo, at the start: nats a win")
    eta_end: float | None = setting(None, "eta at the end; as at the start if not given")
    weight_power: float = setting(1.0, "of rebel: power of the comparisons that two replies count for")
    shrink: float = setting(0.0, "of rebel: comparisons without a difference that are added to each two replies")
    nll: float = setting(0.0, "of preferences: weight of imitating what won")
    turn_decay: float | None = setting(None, "of rft: later turns of a winner weigh 1/turn_decay more each")
    lr: float = setting(2e-3, "learning rate at the start")
    lr_end: float | None = setting(None, "learning rate at the end; a fortieth of lr if not given")
    entropy: float = setting(0.0, "weight of the entropy bonus at the start")
    entropy_end: float = setting(0.0, "weight of the entropy bonus at the end")
    kl: float = setting(1.0, "weight of the KL to the lagged copy at the start")
    kl_end: float | None = setting(None, "weight of the KL at the end; 0.07 of kl if not given")
    kl_estimator: str = setting("exact", "exact (whole vocabulary), k2, k3 (sampled tokens), k1 (off advantages)")
    kl_target: float | None = setting(None, "nats a token that the weight of the KL, at first kl, is steered to")
    kl_horizon: int = setting(10_000, "of kl_target: turns over which the weight changes by a fifth at most")
    anchor_every: int | None = setting(
        None,
        "updates after which the lagged copy catches up; 0: it stays the first policy; not given: 1 for spin, else 0",
    )
    baseline_decay: float = setting(0.999, "of the role-conditioned baseline (rae, kto), a game")
    max_grad_norm: float = setting(1.0, "longest gradient; longer ones are shortened")
    momentum: float = setting(0.0, "first beta of AdamW; in self-play momentum feeds cycles")
    adam_beta2: float = setting(0.99, "second beta of AdamW; a smaller one lets one odd batch do less")
    ema_decay: float = setting(0.0, "of the average of weights that is measured and saved, an update; 0: the last ones")
    warm_steps: int = setting(200, "steps of imitating random legal play before self-play; tiny model only")
    warm_lr: float = setting(3e-3, "learning rate of the warm start")
    lora: int = setting(0, "rank of LoRA adapters on a frozen base; 0 trains all weights")
    lora_alpha: float | None = setting(None, "scale of LoRA; twice the rank if not given")
    lora_targets: str = setting("all-linear", "layers that get adapters: all-linear, names with commas, or a pattern")
    hidden: int = setting(64, "width of the tiny model")
    layers: int = setting(2, "depth of the tiny model")
    heads: int = setting(4, "attention heads of the tiny model")
    init_scale: float = setting(1.0, "of the tiny model: what the first weights of its layers are multiplied by")
    temperature: float = setting(1.0, "of sampling")
    max_new_tokens: int | None = setting(None, "most tokens of a reply; the model's own setting if not given")
    retries: int = setting(0, "illegal replies that may be taken back in a turn; 0 forfeits at once")
    in_flight: int = setting(1024, "games played at once; it does not change the games")
    batch_tokens: int = setting(32_768, "most tokens of prompts, or of replies, in a pass; the update is the same")
    device: str | None = setting(None, "cpu, cuda, ...; a GPU for a loaded model if there is one")
    dtype: str = setting("float32", "of a loaded model; at small learning rates bfloat16 rounds updates away")
    attn_implementation: str | None = setting(None, "of a loaded model, for instance sdpa or flash_attention_2")
    trust_remote_code: bool = setting(False, "run code that comes with a loaded model")
    thinking: bool | None = setting(None, "whether the chat template of a loaded model asks it to think first")
    mixed_precision: str = setting("no", "no or bf16: compute in bfloat16, keep weights as they are")
    gradient_checkpointing: bool = setting(False, "recompute activations to save memory")
    shard_optimizer: bool = setting(
        False, "of several processes each keeps its part of the optimizer's state (ZeRO 1); one process keeps it all"
    )
    threads: int = setting(0, "of torch; 0: one for models below 10 million parameters, else torch's own choice")
    measure: str = setting(
        "auto", "auto, exact, sampled (for models that reason before they move), figure (the game's own) or match"
    )
    samples: int = setting(100, "with --measure sampled: replies a prompt")
    measure_every: int = setting(20, "updates between measures of strength")
    rate_pairs: int = setting(
        0, "pairs of games against each rating anchor and each snapshot at every measure, for a rating; 0: none"
    )
    rate_anchors: list[str] = field(
        default_factory=lambda: ["random"],
        metadata={"help": "fixed players that ratings are tied to; the first one's is 0"},
    )
    save_every: int = setting(100, "updates between checkpoints; the model is saved at the end in any case")
    keep: int = setting(2, "checkpoints that stay")
    guard: str = setting("default", "default: rolls back or stops what goes wrong; warn: only warns; none")
    guard_rules: list[str] = field(
        default_factory=list,
        metadata={"help": "bounds and actions of the guard: entropy_floor=0.1 kl_ceiling=stop illegal_rise=0.3:warn"},
    )
    tracker: str = setting("none", "wandb, tensorboard, trackio or none")
    project: str = setting("sparring", "name of the project at the tracker")
    transcripts: int = setting(4, "games kept in transcripts.jsonl at every measure")
    out: str | None = setting(None, "run folder; a new one below runs/ if not given")
    resume: str | None = setting(None, "run folder to go on with, exactly where its last checkpoint was")
    overwrite: bool = setting(False, "replace a run that is in --out already")


ANCHORS = {"spin": 1}
"""`anchor_every` where it is not given; 0 for all others. SPIN's reference is the policy of the iteration before."""


def anchor_every(settings: Settings) -> int:
    """Return after how many updates the reference catches up; 0: never."""
    return ANCHORS.get(settings.update, 0) if settings.anchor_every is None else settings.anchor_every


def read_numbers(pairs: Sequence[str], what: str) -> dict[str, float | None]:
    """Return numbers by name from "name=number" words; "none" is None. Raises ValueError for anything else."""
    found: dict[str, float | None] = {}
    for pair in pairs:
        name, equals, number = pair.partition("=")
        try:
            found[name] = None if number == "none" else float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"{what} takes name=number, not {pair!r}")
    return found


def check_file(path: Path, *, of: type[Any] = Settings, strings: bool = True) -> None:
    """Refuse a config file with unknown names or values of the wrong kind; with `strings` numbers may be those.

    The settings are those of the dataclass `of`.
    """
    names = [f.name for f in fields(of)]
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a YAML file of settings")
    # Not the types of `fields`, which a parser of command lines replaces by classes.
    kinds = of.__annotations__
    accepted = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "list[str]": (list,)}
    for key, value in found.items():
        if key not in names:
            raise ValueError(f"{path} has an unknown setting {key!r}.{near(str(key), names)}")
        kind, _, optional = kinds[key].partition(" | ")
        # Strings are read as flags are, so that 1e-3, which YAML takes for one, is a number.
        is_read = isinstance(value, str) and (kind == "str" or (strings and kind != "list[str]"))
        if is_read or (value is None and optional):
            continue
        if isinstance(value, str) and kind == "list[str]":
            raise ValueError(f"{path}: {key} is a list of words: write [{value}], not {value!r}")
        if not isinstance(value, accepted[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise ValueError(f"{path}: {key} must be of kind {kinds[key]}, not {value!r}")
        if isinstance(value, list) and (odd := [x for x in value if not isinstance(x, str)]):
            word = "=".join(map(str, *odd[0].items())) if isinstance(odd[0], dict) and len(odd[0]) == 1 else odd[0]
            raise ValueError(f'{path}: {key} is a list of words, and {odd[0]!r} is none: write "{word}"')
