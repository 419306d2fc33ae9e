"""Settings: what would do nothing or only fail later is refused with the remedy, and what is written reads back."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from trl import TrlParser

from sparring.selfplay.assembly import make_guard, make_learner, make_player, make_schedules
from sparring.selfplay.guard_rules import DEFAULTS
from sparring.selfplay.policy_gradient import PolicyGradient
from sparring.selfplay.run import NOT_KEPT
from sparring.selfplay.settings import Settings, anchor_every, check_file, read_numbers
from sparring.selfplay.settings_checks import BY_UPDATE, NAMED, NEEDS, RANGES, UPDATES, check, check_together

RECIPES = sorted((Path(__file__).resolve().parents[2] / "scripts" / "recipes").glob("*.yaml"))
NAMES = [field.name for field in fields(Settings)]
KINDS = Settings.__annotations__
NUMBERS = [name for name in NAMES if KINDS[name].removesuffix(" | None") in ("int", "float")]

ALLOWED: dict[str, str] = {
    "[1, inf)": "games batch_games epochs minibatches in_flight batch_tokens measure_every save_every snapshot_every "
    "keep pool_size layers heads rollouts max_new_tokens importance_cap",
    "[2, inf)": "width samples hidden",
    "[0, inf)": "lora warm_steps transcripts anchor_every retries threads entropy entropy_end kl kl_end nll threshold "
    "rate_pairs weight_power shrink",
    "(0, inf)": "lr lr_end critic_lr warm_lr max_grad_norm temperature lora_alpha clip clip_high value_clip "
    "value_weight kl_stop kl_target kl_horizon judge_timeout beta beta_end eta eta_end init_scale",
    "(1, inf)": "dual_clip",
    "(0, 1]": "gamma turn_decay",
    "[0, 1]": "lam",
    "[0, 1)": "momentum adam_beta2 ema_decay baseline_decay",
    "[0, 2147483647]": "seed",
}
"""Where each number may lie, from the equations it is in: written here once more, apart from the table under test."""
LOADING = {"model": "some/model"}
CRITIC = {"advantage": "critic"}
POOL = {"opponent": "pool"}
STEPS = {"minibatches": 2}
EFFECT: dict[str, tuple[dict[str, Any], ...]] = {
    **dict.fromkeys(("critic", "critic_lr", "value_weight", "gamma", "lam"), (CRITIC,)),
    "value_clip": (CRITIC | STEPS, CRITIC | {"epochs": 2}),
    "kl_stop": (STEPS, {"epochs": 2}),
    "kl_estimator": ({},),
    "kl_target": ({},),
    "kl_horizon": ({"kl_target": 0.1},),
    "kl_end": ({},),
    "anchor_every": ({}, {"update": "sppo"}, {"update": "spin", "opponent": "optimal"}),
    "baseline_decay": ({}, {"update": "kto"}, {"update": "trl-kto"}),
    **dict.fromkeys(("width", "rollouts"), ({"update": "dpo", "groups": "branch"},)),
    **dict.fromkeys(("pool_mix", "pool_draw", "pool_size", "snapshot_every", "pool_weighting"), (POOL,)),
    "pool_fixed": (POOL | {"pool_mix": ["self=0.5", "fixed=0.5"]},),
    **dict.fromkeys(("hidden", "layers", "heads", "init_scale", "warm_steps", "warm_lr"), ({},)),
    **dict.fromkeys(
        ("dtype", "attn_implementation", "trust_remote_code", "thinking"),
        (LOADING, {"opponent": "a/b"}, POOL | {"pool_fixed": ["a/b"], "pool_mix": ["fixed=1"]}),
    ),
    **dict.fromkeys(("lora_alpha", "lora_targets"), ({"lora": 4},)),
    "samples": ({"measure": "sampled"},),
    "judge_timeout": ({"judge": "lm:a/b"}, {"judge": "rule", "eval_judge": "swapped:own.py:Mine"}),
    "rate_anchors": ({"rate_pairs": 4},),
    "guard_rules": ({}, {"guard": "warn"}),
    "project": ({"tracker": "wandb"},),
    "overwrite": ({"out": "runs/again"},),
}
"""Settings beside which one has an effect."""
NO_SNAPSHOTS = POOL | {"pool_mix": ["self=1", "snapshots=0"]}
NO_EFFECT: list[tuple[str, dict[str, Any], str]] = [
    *((name, {}, "--advantage critic") for name in ("critic", "critic_lr", "value_weight", "gamma", "lam")),
    ("lam", {"advantage": "none"}, "--advantage critic"),
    ("value_clip", STEPS, "--advantage critic"),
    ("value_clip", CRITIC, "of --epochs or --minibatches"),
    ("kl_stop", {}, "of --epochs or --minibatches"),
    ("kl_estimator", {"kl": 0.0}, "--kl above 0"),
    ("kl_target", {"kl": 0.0}, "--kl above 0"),
    ("kl_horizon", {}, "--kl_target"),
    ("kl_end", {"kl": 0.0}, "set both to 0, or both above"),
    ("kl_end", {"kl_target": 0.1}, "leave one of them out"),
    ("anchor_every", {"kl": 0.0}, "--kl above 0"),
    *(("anchor_every", {"update": update}, "with a reference") for update in ("rft", "trl-dpo", "trl-kto", "trl-sft")),
    *(("baseline_decay", {"advantage": advantage}, "--advantage rae") for advantage in ("critic", "none")),
    *((name, {"update": "dpo"}, "--groups branch") for name in ("width", "rollouts")),
    *((name, {"update": "trl-dpo", "groups": "state"}, "--groups branch") for name in ("width", "rollouts")),
    *((name, {}, "--opponent pool") for name in ("pool_mix", "pool_draw", "pool_size", "snapshot_every")),
    *((name, {"opponent": "random"}, "--opponent pool") for name in ("pool_fixed", "pool_weighting")),
    *((name, NO_SNAPSHOTS, "a weight of snapshots") for name in ("pool_draw", "pool_size", "snapshot_every")),
    # Its own condition held by default, and only that one was looked at.
    ("pool_weighting", {}, "--opponent pool"),
    ("pool_weighting", NO_SNAPSHOTS, "a weight of snapshots"),
    ("pool_weighting", POOL | {"pool_draw": "uniform"}, "--pool_draw pfsp"),
    ("pool_fixed", POOL, "a weight of fixed"),
    *(
        (name, LOADING, "is for the tiny model")
        for name in ("hidden", "layers", "heads", "init_scale", "warm_steps", "warm_lr")
    ),
    ("warm_lr", {"warm_steps": 0}, "--warm_steps above 0"),
    *(
        (name, {"opponent": opponent}, "is for loaded models")
        for name in ("dtype", "attn_implementation", "trust_remote_code", "thinking")
        for opponent in ("self", "random", "optimal", "pool")
    ),
    *((name, {}, "--lora, for instance --lora 16") for name in ("lora_alpha", "lora_targets")),
    ("samples", {}, "--measure sampled"),
    ("samples", {"measure": "exact"}, "--measure sampled"),
    *(("judge_timeout", given, "--judge or --eval_judge") for given in ({}, {"judge": "majority:rule+model:x.npz"})),
    ("rate_anchors", {}, "--rate_pairs above 0"),
    ("guard_rules", {"guard": "none"}, "a guard"),
    ("project", {}, "a --tracker"),
    ("overwrite", {}, "--out"),
]
"""Settings beside which one has none, and what is said of it."""


def other(name: str) -> Any:
    """Another value than the default, one that is allowed."""
    value = getattr(Settings(), name)
    if name in NAMED:
        return next(known for known in NAMED[name] if known != value)
    if isinstance(value, bool) or name == "thinking":
        return not value
    if isinstance(value, list):
        given = {"pool_fixed": ["random"], "rate_anchors": ["optimal"], "guard_rules": ["entropy_floor=0.05"]}
        return given.get(name, ["self=1", "snapshots=1"])
    if name in NUMBERS:
        return {
            "gamma": 0.9,
            "lam": 0.9,
            "momentum": 0.9,
            "adam_beta2": 0.9,
            "ema_decay": 0.9,
            "baseline_decay": 0.9,
            "dual_clip": 3.0,
            "hidden": 72,
        }.get(name, next_to(value))
    return "other"


def next_to(value: float | None) -> float:
    """Another number; 1 is in every range but those that `other` names."""
    return 1 if value is None else value + 1


def beside(name: str, **more: Any) -> dict[str, Any]:
    """Settings beside which `name` has an effect."""
    found: dict[str, Any] = {"update": BY_UPDATE[name][0]} if name in BY_UPDATE else {}
    return found | (EFFECT[name][0] if name in EFFECT else {}) | more


def test_the_defaults_pass() -> None:
    check(Settings())


def test_the_tables_speak_of_settings_only() -> None:
    assert {*BY_UPDATE, *NEEDS, *RANGES, *NAMED} <= set(NAMES)
    assert {update for updates in BY_UPDATE.values() for update in updates} == set(UPDATES)


@pytest.mark.parametrize("name", BY_UPDATE)
@pytest.mark.parametrize("update", UPDATES)
def test_what_an_update_lacks_is_refused_with_it_and_allowed_with_the_others(name: str, update: str) -> None:
    given = beside(name, **{name: other(name)}) | {"update": update}
    if update == "spin":
        given["opponent"] = "optimal"
    if update in BY_UPDATE[name]:
        check(Settings(**given))
        return
    with pytest.raises(ValueError, match=f"^{name} is of the updates .*{BY_UPDATE[name][0]}.*; {update} has none"):
        check(Settings(**given))


@pytest.mark.parametrize(("name", "given"), [(name, given) for name in EFFECT for given in EFFECT[name]])
def test_a_setting_is_allowed_beside_those_that_give_it_an_effect(name: str, given: dict[str, Any]) -> None:
    check(Settings(**{**given, name: other(name)}))


@pytest.mark.parametrize(("name", "given", "said"), NO_EFFECT)
def test_a_setting_that_would_do_nothing_is_refused(name: str, given: dict[str, Any], said: str) -> None:
    check(Settings(**given))
    with pytest.raises(ValueError, match=f"^{name} .*{said}"):
        check(Settings(**{**given, name: other(name)}))


def test_every_need_of_every_setting_was_seen_to_refuse() -> None:
    assert set(EFFECT) == set(NEEDS)
    refusals = set()
    for name, given, _ in NO_EFFECT:
        with pytest.raises(ValueError, match=f"^{name} ") as caught:
            check(Settings(**{**given, name: other(name)}))
        refusals.add(str(caught.value))
    assert refusals == {f"{name} {need.refusal}" for name, needs in NEEDS.items() for need in needs}


@pytest.mark.parametrize(
    "given",
    [
        {"kl": 0.0, "kl_end": 0.0},
        {"kl": 0.0, "anchor_every": 0},
        {"update": "rft", "anchor_every": 0},
        {"kl": 1.0, "kl_end": 0.0},
        {"shard_optimizer": True},
    ],
)
def test_what_says_what_is_so_anyway_is_allowed(given: dict[str, Any]) -> None:
    check(Settings(**given))


def cases(*, inside: bool) -> list[tuple[str, float]]:
    """Return a number on each side of each bound of each setting, and the bounds themselves."""
    found = []
    for interval, names in ALLOWED.items():
        low, high = (float(bound) for bound in interval.strip("[]()").split(", "))
        open_low, open_high = interval[0] == "(", interval[-1] == ")"
        for name in names.split():
            step = 1 if KINDS[name].startswith("int") else 1e-6
            within = [low + step] if open_low else [low, low + step]
            without = [low, low - 1] if open_low else [low - step, low - 1]
            if high < math.inf:
                within += [high - step] if open_high else [high]
                without += [high] if open_high else [high + step]
            found += [(name, value) for value in (within if inside else [*without, math.nan, math.inf, -math.inf])]
    return [(name, int(v) if KINDS[name].startswith("int") and math.isfinite(v) else v) for name, v in found]


def test_every_number_has_a_range() -> None:
    assert sorted(" ".join(ALLOWED.values()).split()) == sorted(RANGES) == sorted(NUMBERS)


@pytest.mark.parametrize(("name", "value"), cases(inside=True))
def test_numbers_within_their_range_are_allowed(name: str, value: float) -> None:
    given = beside(name, **{name: value})
    # Each head takes an even number.
    shapes = {"hidden": {"hidden": value + value % 2, "heads": 1}, "heads": {"hidden": 2 * value}}
    given |= shapes.get(name, {})
    check(Settings(**given))


@pytest.mark.parametrize(("name", "value"), cases(inside=False))
def test_numbers_out_of_their_range_are_refused(name: str, value: float) -> None:
    """A negative weight of a KL or of the entropy, or a limit on gradients below 0, once turned learning round."""
    with pytest.raises(ValueError, match=rf"^{name} must be (above )?[012].*, not {value}$"):
        check(Settings(**beside(name, **{name: value})))


def test_a_range_is_told_in_words() -> None:
    said = {}
    for name, value in (("lam", 1.5), ("momentum", 1.0), ("gamma", 0.0), ("max_grad_norm", math.inf), ("width", 1)):
        with pytest.raises(ValueError, match=name) as caught:
            check(Settings(**beside(name, **{name: value})))
        said[name] = str(caught.value).removeprefix(f"{name} must be ")
    assert said == {
        "lam": "0 or more and 1 at most, not 1.5",
        "momentum": "0 or more and below 1, not 1.0",
        "gamma": "above 0 and 1 at most, not 0.0",
        "max_grad_norm": "above 0 and finite, not inf",
        "width": "2 or more, not 1",
    }


@pytest.mark.parametrize("name", NAMED)
def test_a_misspelt_name_is_refused_with_the_near_one(name: str) -> None:
    known = max(NAMED[name], key=len)
    with pytest.raises(ValueError, match=f"^unknown {name} '{known}x'") as caught:
        check(Settings(**beside(name, **{name: f"{known}x"})))
    # Names of two letters have no near ones; then all are listed.
    assert f"Did you mean '{known}'?" in str(caught.value) or known in str(caught.value).split("Known: ")[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"opponent": "human"}, "play against the model with scripts/play.py"),
        ({"opponent": "pool", "pool_fixed": ["human"], "pool_mix": ["fixed=1"]}, "with scripts/play.py"),
        ({"update": "spin"}, "set --opponent to an agent, for instance optimal"),
        ({"update": "spin", "opponent": "pool"}, "set --opponent to an agent"),
        ({"device": "gpu"}, "device 'gpu' is none of torch's: set cpu, cuda"),
        ({"device": "meta"}, "device 'meta' is not there: torch sees cpu"),
        ({"device": "cpu", "update": "trl-sft", "temperature": 0.7}, "TRL computes at temperature 1"),
        ({"update": "dpo", "groups": "branch", "batch_games": 3}, "holds no branch of 4; raise batch_games"),
        ({"opponent": "random", "batch_games": 65}, "65 is odd, .* set --batch_games 66"),
        ({"hidden": 16, "heads": 3}, "hidden 16 among 3 heads is 5 each, .* set --hidden 24"),
        ({"hidden": 2, "heads": 4}, "hidden 2 among 4 heads is 0 each"),
        ({"opponent": "pool", "pool_mix": ["self=nan"]}, "pool_mix: self must be 0 or more and finite, not nan"),
        ({"opponent": "pool", "pool_mix": ["self=1", "fixed=-1"]}, "pool_mix: fixed must be 0 or more"),
        ({"opponent": "pool", "pool_mix": ["slef=1"]}, "not of 'slef'.* Did you mean 'self'?"),
        ({"opponent": "pool", "pool_mix": ["self=0"]}, "must have a weight above 0"),
        ({"opponent": "pool", "pool_mix": ["self"]}, "pool_mix takes name=number, not 'self'"),
        ({"opponent": "pool", "pool_mix": ["self=1", "fixed=1"]}, "name them, for instance --pool_fixed random"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(Settings(**given))


def test_the_remedy_of_several_processes_is_an_update_that_there_is() -> None:
    for update in UPDATES[-3:]:
        with pytest.raises(ValueError, match="in one process: take ") as caught:
            check_together(Settings(update=update), 2)
        assert str(caught.value).rsplit("take ")[1] in UPDATES


@pytest.mark.parametrize("update", UPDATES)
def test_only_spins_reference_is_the_policy_of_the_iteration_before_unless_another_is_asked_for(update: str) -> None:
    assert anchor_every(Settings(update=update)) == (1 if update == "spin" else 0)
    assert anchor_every(Settings(update=update, anchor_every=0)) == 0
    assert anchor_every(Settings(update=update, anchor_every=7)) == 7


def test_the_learner_is_given_what_the_settings_say() -> None:
    from sparring.selfplay.assembly import make_game

    tiny: dict[str, Any] = {"hidden": 16, "layers": 1, "heads": 2}
    spin = Settings(update="spin", opponent="optimal", **tiny)
    player = make_player(spin, make_game(spin))
    assert make_learner(spin, player).anchor_every == 1
    steady = make_learner(replace(spin, anchor_every=0), player)
    assert steady.anchor_every == 0
    assert steady.average is None
    first, large = (make_player(replace(spin, init_scale=k), make_game(spin)).model for k in (1.0, 3.0))
    assert torch.equal(3 * first.model.layers[0].mlp.up_proj.weight, large.model.layers[0].mlp.up_proj.weight)
    damped = make_learner(Settings(momentum=0.5, adam_beta2=0.75, ema_decay=0.9, **tiny), player)
    assert damped.average is not None
    assert damped.average.decay == 0.9
    assert {group["betas"] for group in damped.optimizer.param_groups} == {(0.5, 0.75)}
    steered = make_learner(Settings(kl_target=0.5, kl_horizon=123, **tiny), player).objective
    assert isinstance(steered, PolicyGradient)
    assert steered.steered is not None
    assert (steered.steered.target, steered.steered.horizon) == (0.5, 123)


def test_pairs_of_name_and_number_are_read() -> None:
    assert read_numbers(["self=0.5", "fixed=1e-1", "kl=none"], "x") == {"self": 0.5, "fixed": 0.1, "kl": None}
    for word in ("self", "self=", "self=much", "=none=", "0.5"):
        with pytest.raises(ValueError, match=f"pool_mix takes name=number, not '{word}'"):
            read_numbers([word], "pool_mix")


def test_bounds_of_the_guard_are_those_that_were_set() -> None:
    guard = make_guard(Settings(guard_rules=["entropy_floor=0.05", "kl_ceiling=none"]))
    assert guard is not None
    assert len(guard.rules) == len(DEFAULTS) - 1
    assert [r.below for r in guard.rules if r.metric == "entropy" and r.action == "rollback"] == [0.05, None]
    warns = make_guard(Settings(guard="warn"))
    assert warns is not None
    assert {str(r.action) for r in warns.rules if r.metric != "any"} == {"warn"}
    assert make_guard(Settings(guard="none")) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["entropy_flor=0.1"], "Did you mean 'entropy_floor'"),
        (["entropy_floor"], "guard_rules takes name=number"),
        (["entropy_floor=low"], "guard_rules takes name=number"),
        (["finite=1"], "set it to None to drop it"),
    ],
)
def test_bounds_that_cannot_be_are_refused_before_anything_is_trained(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_guard(Settings(guard_rules=words))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_can_be_run(recipe: Path) -> None:
    check_file(recipe)
    check(read(recipe))
    assert recipe.read_text(encoding="utf-8").startswith("# ")


def read(path: Path) -> Settings:
    """Read a file as the script does."""
    settings: Settings
    (settings,) = TrlParser([Settings]).parse_args_and_config(["--config", str(path)])
    return settings


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    """Every setting away from its default; what of it goes together is no matter here."""
    settings = replace(Settings(), **{name: other(name) for name in NAMES if name not in NOT_KEPT})
    path = tmp_path / "config.yaml"
    kept = {key: value for key, value in asdict(settings).items() if key not in NOT_KEPT}
    for wanted, config in ((settings, kept), (Settings(), {k: asdict(Settings())[k] for k in kept})):
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        check_file(path)
        assert read(path) == wanted
        assert Settings(**yaml.safe_load(path.read_text(encoding="utf-8"))) == wanted


def test_numbers_change_only_where_an_update_has_them() -> None:
    assert set(make_schedules(Settings())) == {"lr", "entropy", "kl"}
    assert set(make_schedules(Settings(kl_target=0.1))) == {"lr", "entropy"}
    assert set(make_schedules(Settings(update="dpo"))) == {"lr", "beta"}
    assert set(make_schedules(Settings(update="rft"))) == {"lr"}
    # Trained by TRL, each generation with the beta of the moment.
    assert make_schedules(Settings(update="trl-kto", beta=1.0, beta_end=0.01))["beta"](0.5) == pytest.approx(0.1)
    halfway = make_schedules(Settings(update="dpo", beta=1.0, beta_end=0.01))["beta"](0.5)
    assert halfway == pytest.approx(0.1)
