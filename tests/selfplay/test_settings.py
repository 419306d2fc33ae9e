"""Settings: what would do nothing or only fail later is refused with the remedy, and what is written reads back."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from trl import TrlParser

from sparring.selfplay.assembly import make_guard, make_schedules
from sparring.selfplay.guard_rules import DEFAULTS
from sparring.selfplay.run import NOT_KEPT
from sparring.selfplay.settings import (
    AT_LEAST_ONE,
    BY_UPDATE,
    LOADED_ONLY,
    NAMED,
    NEEDS,
    TINY_ONLY,
    UPDATES,
    Settings,
    check,
    check_file,
    read_numbers,
)

RECIPES = sorted((Path(__file__).resolve().parents[2] / "scripts" / "recipes").glob("*.yaml"))
NAMES = [field.name for field in fields(Settings)]
KINDS = Settings.__annotations__


def other(name: str) -> Any:
    """Another value than the default, one that is allowed."""
    value = getattr(Settings(), name)
    if name in NAMED:
        return next(known for known in NAMED[name] if known != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value, "random"] if name == "pool_fixed" else ["self=1"]
    if isinstance(value, int | float):
        return value + 1
    kind = KINDS[name].removesuffix(" | None")
    return {"int": 3, "float": 0.5, "bool": True, "str": "other"}[kind]


def met(name: str, **more: Any) -> dict[str, Any]:
    """Settings under which `name` has an effect, as far as the tables say."""
    found: dict[str, Any] = {}
    if name in BY_UPDATE:
        found["update"] = BY_UPDATE[name][0]
    if name in NEEDS:
        key, wanted = NEEDS[name]
        found |= met(key) | {key: wanted}
    return found | more


def test_the_defaults_pass() -> None:
    check(Settings())


def test_the_tables_speak_of_settings_only() -> None:
    tables = (*BY_UPDATE, *NEEDS, *TINY_ONLY, *LOADED_ONLY, *AT_LEAST_ONE, *NAMED, *(key for key, _ in NEEDS.values()))
    assert set(tables) <= set(NAMES)
    assert {update for updates in BY_UPDATE.values() for update in updates} == set(UPDATES)


@pytest.mark.parametrize("name", BY_UPDATE)
@pytest.mark.parametrize("update", UPDATES)
def test_what_an_update_lacks_is_refused_with_it_and_allowed_with_the_others(name: str, update: str) -> None:
    given = met(name, update=update, **{name: other(name)})
    if update == "spin":
        given["opponent"] = "optimal"
    if name == "kl_end":
        given["kl"] = 1.0
    if update in BY_UPDATE[name]:
        check(Settings(**given))
        return
    with pytest.raises(ValueError, match=f"^{name} is of the updates .*{BY_UPDATE[name][0]}.*; {update} has none"):
        check(Settings(**given))


@pytest.mark.parametrize("name", NEEDS)
def test_what_does_nothing_without_another_setting_is_refused_without_it(name: str) -> None:
    key, wanted = NEEDS[name]
    given = met(name, **{name: other(name)})
    check(Settings(**given))
    default = getattr(Settings(), key)
    without = given | {key: default if default != wanted else other(key)}
    with pytest.raises(ValueError, match=rf"^{name} does nothing without --{key} {wanted}: set that, or leave"):
        check(Settings(**without))


@pytest.mark.parametrize("name", ["lora_alpha", "lora_targets"])
def test_numbers_of_adapters_need_adapters(name: str) -> None:
    check(Settings(lora=4, **{name: other(name)}))
    with pytest.raises(ValueError, match=f"{name} does nothing without --lora: set a rank, for instance --lora 16"):
        check(Settings(**{name: other(name)}))


@pytest.mark.parametrize("name", TINY_ONLY)
def test_what_makes_the_tiny_model_is_refused_of_a_loaded_one(name: str) -> None:
    check(Settings(**{name: other(name)}))
    with pytest.raises(ValueError, match=f"{name} is for the tiny model; 'some/model' brings its own"):
        check(Settings(model="some/model", **{name: other(name)}))


@pytest.mark.parametrize("name", LOADED_ONLY)
def test_what_loads_models_is_refused_where_none_is_loaded(name: str) -> None:
    for loads in ({"model": "some/model"}, {"opponent": "some/model"}, {"opponent": "pool", "pool_fixed": ["a/b"]}):
        check(Settings(**loads, **{name: other(name)}))
    for opponent in ("self", "random", "optimal", "pool"):
        with pytest.raises(ValueError, match=f"{name} is for loaded models"):
            check(Settings(opponent=opponent, **{name: other(name)}))


@pytest.mark.parametrize("name", NAMED)
def test_a_misspelt_name_is_refused_with_the_near_one(name: str) -> None:
    known = max(NAMED[name], key=len)
    with pytest.raises(ValueError, match=f"^unknown {name} '{known}x'") as caught:
        check(Settings(**met(name, **{name: f"{known}x"})))
    # Names of two letters have no near ones; then all are listed.
    assert f"Did you mean '{known}'?" in str(caught.value) or known in str(caught.value).split("Known: ")[1]


@pytest.mark.parametrize("name", AT_LEAST_ONE)
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_of_things_are_at_least_one(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be 1 or more, not {value}$"):
        check(Settings(**{name: value}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0, not nan"),
        ({"seed": -1}, "must be 0 or more"),
        ({"lora": -4}, "must be 0 or more"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"kl": 0.0, "kl_end": 0.1}, "set both to 0, or both above"),
        ({"opponent": "human"}, "play against the model with scripts/play.py"),
        ({"opponent": "pool", "pool_fixed": ["human"]}, "play against the model with scripts/play.py"),
        ({"update": "spin"}, "set --opponent to an agent, for instance optimal"),
        ({"update": "spin", "opponent": "pool"}, "set --opponent to an agent"),
    ],
)
def test_numbers_out_of_range_and_what_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(Settings(**given))


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
    halfway = make_schedules(Settings(update="dpo", beta=1.0, beta_end=0.01))["beta"](0.5)
    assert halfway == pytest.approx(0.1)
