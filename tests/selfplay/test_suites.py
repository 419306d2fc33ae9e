"""Standing suites: what their hash covers, so that two reports of one hash are of the same games and opponents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import scipy

from sparring.agents import Prompt, RandomAgent, Reply
from sparring.envs.kuhn import KuhnPoker
from sparring.selfplay.suites import Suite, find_suite, manifest_hash

SMALL = Suite(
    name="small",
    games=("KuhnPoker-v0",),
    skins=("plain",),
    opponents=("random", "heuristic"),
    pairs=3,
    seed=77,
    retries=0,
    show_legal=True,
    anchor="random",
)


def test_the_standing_suite_is_frozen() -> None:
    """Who changes a wording, a rule or an opponent of it changes what its name means: make a new version instead."""
    suite = find_suite("sparring-suite-v1")
    assert manifest_hash(replace(suite, opponents=("random", "heuristic"))) == "2c4e7714768f6bc7"


@pytest.mark.skipif(scipy.__version__ != "1.17.1", reason="another solver may find another equilibrium")
def test_the_optimal_player_of_the_standing_suite_is_frozen() -> None:
    """Which of a game's equilibria the optimal player plays is the choice of scipy's linear programs."""
    assert manifest_hash(find_suite("sparring-suite-v1")) == "b1b54e91bfa740ad"


def test_a_misspelt_suite_is_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'sparring-suite-v1'"):
        find_suite("sparring-suite-v2")


@pytest.mark.parametrize(
    "change",
    [{"show_legal": False}, {"pairs": 4}, {"seed": 78}, {"skins": ("plain", "obfuscated")}, {"opponents": ("random",)}],
)
def test_the_hash_is_of_what_the_suite_says(change: dict[str, Any]) -> None:
    assert manifest_hash(SMALL) == manifest_hash(replace(SMALL))
    assert manifest_hash(replace(SMALL, **change)) != manifest_hash(SMALL)


def worded(_: KuhnPoker, state: Any, seat: int, observation: Any = KuhnPoker.observation) -> str:
    return observation(_, state, seat).replace("card", "Card")


def paid(_: KuhnPoker, state: Any, rewards: Any = KuhnPoker.rewards) -> tuple[float, float]:
    """Within the same range."""
    first, second = rewards(_, state)
    return first / 2, second / 2


def played(_: RandomAgent, prompts: Sequence[Prompt], reply: Any = RandomAgent.reply) -> list[Reply]:
    return reply(_, [replace(prompt, noise=prompt.noise + 1) for prompt in prompts])


@pytest.mark.parametrize(
    ("owner", "name", "changed"),
    [(KuhnPoker, "observation", worded), (KuhnPoker, "rewards", paid), (RandomAgent, "reply", played)],
    ids=["a wording", "what is paid", "an opponent"],
)
def test_a_change_that_no_rule_names_is_a_change_of_the_hash(
    owner: type, name: str, changed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash was of names and rules only, and stayed when positions were worded or paid otherwise."""
    before = manifest_hash(SMALL)
    monkeypatch.setattr(owner, name, changed)
    assert manifest_hash(SMALL) != before
