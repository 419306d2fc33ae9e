"""The opponent pool: who is drawn, what is counted, and that a saved pool goes on as it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring.agents import Agent, LanguageModelAgent, RandomAgent, ScriptedAgent, tiny_agent
from sparring.agents.adapters import add_lora
from sparring.envs import Ending, make
from sparring.selfplay import Episode, play
from sparring.selfplay.pool import OpponentPool, Snapshots
from sparring.selfplay.snapshots import AdapterSnapshots, CopySnapshots

# Of PEFT, on transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.")
GAME = make("KuhnPoker-v0")
THOUSAND = range(0, 2000, 2)


class Named:
    """Snapshots that are names only."""

    def freeze(self, name: str) -> Agent:
        return RandomAgent(name=name)

    def drop(self, name: str) -> None: ...

    def save(self, name: str, path: Path) -> None:
        path.write_text(name)

    def load(self, name: str, path: Path) -> Agent:
        return RandomAgent(name=path.read_text())


def pool_of(*names: str, weights: dict[str, float] | None = None, **settings: Any) -> OpponentPool:
    pool = OpponentPool(RandomAgent(name="me"), Named(), weights=weights or {"snapshots": 1.0}, **settings)
    for name in names:
        pool.grow(name)
    return pool


def game(opponent: str, score: float, *, seat: int = 1) -> Episode:
    """One game of the learner, who scores so much, against an opponent in `seat`."""
    margin = 2.0 * score - 1.0
    rewards = (margin, -margin) if seat == 1 else (-margin, margin)
    return Episode(
        game="any",
        index=0,
        turns=(),
        rewards=rewards,
        ending=Ending.PLAYED,
        offender=None,
        players=("me", opponent) if seat == 1 else (opponent, "me"),
        seated=(0, 1) if seat == 1 else (1, 0),
    )


def drawn(pool: OpponentPool, games: Sequence[int] = THOUSAND) -> Counter[str]:
    return Counter(pool.draw(index).name for index in games)


def is_near(count: int, p: float, of: int = 1000) -> bool:
    """Within five standard deviations: a right sampler fails once in two million numbers."""
    return abs(count - of * p) <= 5 * np.sqrt(of * p * (1 - p))


# Drawing.


def test_both_games_of_a_pair_meet_the_same_opponent_in_both_seats() -> None:
    pool = pool_of("a", "b", "c", draw="uniform")
    learner = pool.learner
    episodes = list(play(GAME, (learner, pool.draw), games=60, swap=True))
    pairs = list(zip(episodes[::2], episodes[1::2], strict=True))
    assert all(set(first.players) == set(second.players) for first, second in pairs)
    assert all((first.players[0], second.players[1]) == ("me", "me") for first, second in pairs)
    assert len({episode.players[1] for episode in episodes[::2]}) == 3


def test_draws_depend_on_seed_game_and_pool_alone() -> None:
    one, same, other = (pool_of("a", "b", "c", draw="uniform", seed=seed) for seed in (1, 1, 2))
    forwards = [one.draw(index).name for index in range(100)]
    assert [same.draw(index).name for index in reversed(range(100))] == forwards[::-1]
    assert [other.draw(index).name for index in range(100)] != forwards


def test_kinds_are_drawn_by_their_weights() -> None:
    weights = {"self": 0.5, "snapshots": 0.4, "fixed": 0.1}
    pool = pool_of("a", "b", weights=weights, fixed=[ScriptedAgent([], name="f"), ScriptedAgent([], name="g")])
    found = drawn(pool)
    assert is_near(found["me"], 0.5)
    assert is_near(found["a"] + found["b"], 0.4)
    assert is_near(found["f"] + found["g"], 0.1)
    assert found["f"]
    assert found["g"]
    assert pool.draw(0) in (pool.learner, *pool.fixed) or pool.draw(0).name in pool.names


def test_the_weight_of_an_empty_kind_goes_to_the_others() -> None:
    found = drawn(pool_of(weights={"self": 0.2, "snapshots": 0.5, "fixed": 0.6}, fixed=[RandomAgent(name="f")]))
    assert is_near(found["f"], 0.75)
    assert is_near(found["me"], 0.25)
    assert drawn(pool_of(weights={"snapshots": 1.0})) == {"me": 1000}
    assert drawn(pool_of("a", weights={"snapshots": 1.0, "self": 0.0})) == {"a": 1000}


@pytest.mark.parametrize(
    ("draw", "weighting", "expected"),
    [
        ("latest", "squared", [0, 0, 0, 1]),
        ("uniform", "squared", [0.25, 0.25, 0.25, 0.25]),
        # Win rates 1, 3/4, 1/4 and, without games, 1/2: (1 - p)^2 = 0, 1/16, 9/16, 4/16; p (1 - p) = 0, 3, 3, 4 of 16.
        ("pfsp", "squared", [0, 1 / 14, 9 / 14, 4 / 14]),
        ("pfsp", "even", [0, 3 / 10, 3 / 10, 4 / 10]),
        ("worst", "even", [0, 0, 1, 0]),
    ],
)
def test_snapshots_are_drawn_by_win_rates(draw: str, weighting: str, expected: list[float]) -> None:
    pool = pool_of("won", "ahead", "behind", "new", draw=draw, weighting=weighting, decay=1.0)
    for name, scores in {"won": [1.0] * 4, "ahead": [1.0, 1.0, 1.0, 0.0], "behind": [0.0, 0.5, 0.0, 0.5]}.items():
        pool.record(game(name, score) for score in scores)
    np.testing.assert_allclose(pool.odds(), expected, atol=1e-12)
    found = drawn(pool)
    assert all(is_near(found[name], p) for name, p in zip(pool.names, expected, strict=True))


def test_where_all_weights_are_zero_the_draw_is_uniform() -> None:
    pool = pool_of("a", "b", draw="pfsp", weighting="even")
    pool.record([game("a", 1.0), game("b", 0.0)])
    np.testing.assert_allclose(pool.odds(), [0.5, 0.5])


# Payoffs.


def test_scores_are_the_learners_whichever_seat_it_has() -> None:
    pool = pool_of("a", "b", decay=1.0, fixed=[RandomAgent(name="f")])
    pool.record([game("a", 1.0, seat=0), game("a", 0.0, seat=1), game("a", 1.0, seat=1), game("b", 0.5)])
    pool.record([game("f", 0.0, seat=0)])
    assert (pool.win_rate("a"), pool.win_rate("b"), pool.win_rate("f")) == (2 / 3, 0.5, 0.0)
    rows = {row["opponent"]: row for row in pool.payoffs.table()}
    won = {"player": "me", "opponent": "a", "games": 3, "won": 2, "drawn": 0, "lost": 1, "win_rate": 2 / 3}
    assert rows["a"] == won
    assert (rows["b"]["drawn"], rows["f"]["lost"]) == (1, 1)


def test_games_that_are_really_played_are_counted() -> None:
    """A random player against one that forfeits every game, and against itself."""
    pool = pool_of(
        weights={"self": 0.5, "fixed": 0.5}, fixed=[ScriptedAgent(lambda _: "nothing", name="mute")], decay=1
    )
    episodes = list(play(GAME, (pool.learner, pool.draw), games=100, swap=True))
    pool.record(episodes)
    met = sum("mute" in episode.players for episode in episodes)
    assert 20 < met < 80
    (row,) = pool.payoffs.table()
    assert (row["player"], row["opponent"]) == ("me", "mute")
    assert (row["games"], row["won"], row["drawn"], row["lost"], row["win_rate"]) == (met, met, 0, 0, 1.0)


def test_earlier_games_of_the_learner_fade() -> None:
    pool = pool_of("a", decay=0.5)
    pool.record([game("a", 0.0), game("a", 1.0), game("a", 1.0)])
    # Weights 1/4, 1/2 and 1.
    record = pool.payoffs.record("me", "a")
    assert record.weight == 1.75
    assert pool.win_rate("a") == pytest.approx(1.5 / 1.75)
    assert (record.won, record.drawn, record.lost, record.games) == (2, 0, 1, 3)


def test_a_snapshot_inherits_the_learners_row_and_keeps_it() -> None:
    pool = pool_of("a")
    pool.record([game("a", 1.0)])
    pool.grow("b")
    pool.record([game("a", 0.0)])
    assert pool.payoffs.win_rate("b", "a") == 1.0
    assert pool.win_rate("a") < 1.0
    assert pool.win_rate("b") == 0.5


# Growing.


def test_a_full_pool_drops_the_oldest() -> None:
    pool = pool_of(*"abcde", size=3, keep="newest")
    assert pool.names == ("c", "d", "e")


def test_a_full_pool_keeps_a_spread_whose_gaps_grow_with_age() -> None:
    names = [f"g{number}" for number in range(200)]
    pool = pool_of(*names, size=8, keep="spread")
    born = [int(name[1:]) for name in pool.names]
    assert len(born) == 8
    assert born[0] == 0
    assert born[-2:] == [198, 199]
    gaps = np.diff(born)
    assert all(older >= newer for older, newer in pairwise(gaps)), born
    assert gaps[0] > 8 * gaps[-1]
    assert pool_of(*"abc", size=2).names == ("b", "c")
    assert pool_of(*"abc", size=1).names == ("c",)


def test_what_is_dropped_is_forgotten() -> None:
    pool = pool_of("a", "b", size=2, keep="newest")
    pool.record([game("a", 1.0), game("b", 0.0)])
    pool.grow("c")
    assert {(row["player"], row["opponent"]) for row in pool.payoffs.table()} == {("me", "b"), ("c", "b")}
    with pytest.raises(ValueError, match="'a' is not in the pool: record games before it grows"):
        pool.record([game("a", 1.0)])


def test_snapshots_that_were_made_since_are_forgotten_and_their_payoffs() -> None:
    dropped: list[str] = []
    pool = pool_of("a", "b", size=3)
    pool.snapshots.drop = dropped.append  # type: ignore[method-assign]
    pool.record([game("a", 1.0), game("b", 0.0)])
    made = pool.made
    for name in ("c", "d"):
        pool.grow(name)
        pool.record([game(name, 0.5)])
    # The third place was c's; to make room for d the pool had dropped one of the older ones.
    old = {name for name in pool.names if name in "ab"}
    pool.forget(made)
    assert set(pool.names) == old
    assert {"c", "d"} <= set(dropped)
    assert {name for row in pool.payoffs.table() for name in (row["player"], row["opponent"])} == {"me", *old}
    pool.forget(made)
    pool.grow("e")
    assert "e" in drawn(pool)


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores 1 if it is won, 0.5 if drawn and 0 if lost, not 0.7"):
        pool_of().payoffs.add("me", "a", 0.7)


# Saving.


def test_a_saved_pool_draws_and_counts_as_before(tmp_path: Path) -> None:
    pool = pool_of(*"abcdefg", size=5)
    pool.record(game(name, score) for name in pool.names for score in (1.0, 0.5, 0.0, float(name < "e")))
    state = json.loads(json.dumps(pool.state_dict()))
    pool.save(tmp_path)
    again = pool_of("z", size=5)
    again.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"call load\(folder\)"):
        again.draw(0)
    again.load(tmp_path)
    assert again.names == pool.names
    assert again.payoffs.table() == pool.payoffs.table()
    assert drawn(again) == drawn(pool)
    for one in (pool, again):
        one.grow("h")
    assert again.names == pool.names
    with pytest.raises(ValueError, match="call load_state_dict first"):
        pool_of().load(tmp_path)


@torch.no_grad()
def learn(agent: LanguageModelAgent, scale: float = 0.1) -> None:
    for number, parameter in enumerate(agent.model.parameters()):
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.add_(noise * scale)


def replies(episodes: Sequence[Episode]) -> list[tuple[str, float]]:
    return [(turn.reply.text, sum(turn.reply.logprobs)) for episode in episodes for turn in episode.turns]


@pytest.mark.parametrize("kind", [AdapterSnapshots, CopySnapshots])
def test_snapshots_with_weights_are_saved_and_play_on(
    kind: type[AdapterSnapshots | CopySnapshots], tmp_path: Path
) -> None:
    def pool() -> OpponentPool:
        agent = tiny_agent(GAME, corpus_games=20, hidden=16, name="me")
        if kind is AdapterSnapshots:
            add_lora(agent, r=2)
        snapshots: Snapshots = kind(agent)
        return OpponentPool(agent, snapshots, weights={"snapshots": 1.0}, draw="uniform", size=2)

    first = pool()
    assert isinstance(first.learner, LanguageModelAgent)
    for name in ("a", "b", "c"):
        first.grow(name)
        learn(first.learner)
    played = list(play(GAME, (first.learner, first.draw), games=40, swap=True))
    first.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"b.safetensors", "c.safetensors"}
    second = pool()
    second.load_state_dict(first.state_dict())
    second.load(tmp_path)
    learner = second.learner
    assert isinstance(learner, LanguageModelAgent)
    for _ in range(3):
        learn(learner)
    again = list(play(GAME, (learner, second.draw), games=40, swap=True))
    assert {name for episode in again for name in episode.players} == {"me", "b", "c"}
    for one, other in zip(replies(again), replies(played), strict=True):
        assert one == (other[0], pytest.approx(other[1], abs=1e-5))


def test_pools_of_adapters_and_of_copies_play_the_same_games() -> None:
    """Kuhn poker, the same weights and seed: which way the policy was frozen is not to be seen in any game."""
    agent = tiny_agent(GAME, corpus_games=20, hidden=16, name="me")
    add_lora(agent, r=2)
    pools = [
        OpponentPool(agent, snapshots, weights={"self": 0.3, "snapshots": 0.7}, draw="uniform")
        for snapshots in (AdapterSnapshots(agent), CopySnapshots(agent))
    ]
    for name in ("a", "b", "c"):
        for pool in pools:
            pool.grow(name)
        learn(agent, 0.3)
    adapters, copies = (list(play(GAME, (agent, pool.draw), games=120, swap=True)) for pool in pools)
    assert {name for episode in adapters for name in episode.players} == {"me", "a", "b", "c"}
    for one, other in zip(adapters, copies, strict=True):
        assert (one.players, one.rewards, one.seated) == (other.players, other.rewards, other.seated)
    for mine, theirs in zip(replies(adapters), replies(copies), strict=True):
        assert mine == (theirs[0], pytest.approx(theirs[1], abs=1e-5))


def test_flush_reaches_opponents_with_weights_of_their_own() -> None:
    agent = tiny_agent(GAME, corpus_games=20, hidden=16, name="me")
    pool = OpponentPool(agent, CopySnapshots(agent), weights={"snapshots": 1.0}, fixed=[RandomAgent()])
    pool.grow("a")
    copied = pool.draw(0)
    assert isinstance(copied, LanguageModelAgent)
    list(play(GAME, (agent, pool.draw), games=20, swap=True))
    assert copied._decoder._slots
    pool.flush()
    assert not copied._decoder._slots


# Mistakes.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draw": "pfps"}, "unknown 'pfps'. Did you mean 'pfsp'"),
        ({"weighting": "squard"}, "Did you mean 'squared'"),
        ({"keep": "new"}, "unknown 'new'"),
        ({"weights": {"snapshot": 1.0}}, "Did you mean 'snapshots'"),
        ({"weights": {"self": 1.0, "fixed": -1.0}}, "not negative"),
        ({"weights": {"self": 0.0}}, "nor all 0"),
        ({"size": 0}, "size must be 1 or more"),
        ({"decay": 0.0}, "decay must lie"),
        ({"fixed": [RandomAgent(name="me")]}, "'me' names two players"),
    ],
)
def test_bad_settings_name_the_remedy(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool_of(**settings)


def test_names_are_taken_once() -> None:
    pool = pool_of("a", fixed=[RandomAgent(name="f")])
    for name in ("a", "f", "me"):
        with pytest.raises(ValueError, match="names two players"):
            pool.grow(name)
    with pytest.raises(ValueError, match="call add_lora first"):
        AdapterSnapshots(tiny_agent(GAME, corpus_games=20, hidden=16))
