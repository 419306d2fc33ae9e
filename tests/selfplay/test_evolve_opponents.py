"""Opponents in the loop: a pool that grows by what is let in, forgets what is not, and comes back with a run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sparring.agents import LanguageModelAgent, RandomAgent, tiny_agent
from sparring.envs import Ending, Void, make
from sparring.envs.contest import Contest
from sparring.selfplay import Learner, make_rule, play_method
from sparring.selfplay.advantage import RoleBaseline
from sparring.selfplay.autonomy import autonomy
from sparring.selfplay.episode import Episode
from sparring.selfplay.evolve import GenerationReport, evolve
from sparring.selfplay.evolve_run import EvolveRun, EvolveSettings
from sparring.selfplay.gate import Gate
from sparring.selfplay.play import play
from sparring.selfplay.play_method import SelfPlay
from sparring.selfplay.pool import OpponentPool
from sparring.selfplay.skills import Curriculum, read_skill
from sparring.selfplay.snapshots import CopySnapshots

GAME = make("KuhnPoker-v0")
CURRICULUM = Curriculum([read_skill("copy-0")])
EVEN = {"self": 0.5, "snapshots": 0.5}
SHORT = EvolveSettings(
    method=["self-play"],
    skills=["copy-0"],
    generations=3,
    gate_margin=None,
    guard="none",
    seed_tasks=8,
    seed_steps=30,
    probe_tasks=4,
    hidden_tasks=4,
    hidden_samples=1,
    batch=16,
    updates=2,
    games=32,
    hidden=16,
    layers=1,
    opponent="pool",
    pool_mix=["self=0.2", "snapshots=0.6", "fixed=0.2"],
    pool_fixed=["random"],
    pool_size=2,
)


NO_POOL: dict[str, Any] = {"pool_mix": None, "pool_fixed": None, "pool_size": None}
"""As it is by default."""


def player() -> LanguageModelAgent:
    copies = Contest(task="copy", level=0, single=True, skin="brief")
    return tiny_agent([GAME, copies], hidden=16, layers=1, corpus_games=10)


def playing(agent: LanguageModelAgent, opponent: Any, *, games: int = 32) -> SelfPlay:
    baseline = RoleBaseline()
    rule = partial(make_rule, "ppo", game=GAME, baseline=baseline)
    return SelfPlay(game=GAME, rule=rule, games=games, updates=2, baseline=baseline, opponent=opponent)


def pool_of(agent: LanguageModelAgent, **settings: Any) -> OpponentPool:
    return OpponentPool(agent, CopySnapshots(agent), **{"weights": EVEN, **settings})


def turns(agent: LanguageModelAgent, method: SelfPlay, gates: list[Gate | None]) -> list[GenerationReport]:
    """Generations of one run, each with a gate of its own."""
    found: list[GenerationReport] = []
    learner = Learner(agent)
    for number, gate in enumerate(gates, start=1):
        progress = found[-1].progress if found else None
        given: dict[str, Any] = {"generations": number, "gate": gate, "progress": progress}
        found += list(evolve(agent, learner, method, CURRICULUM, probe_tasks=2, hidden_tasks=2, **given))
    return found


def test_a_self_enters_the_pool_once_it_is_let_in_and_what_is_not_leaves_it_as_it_was() -> None:
    agent = player()
    pool = pool_of(agent, fixed=[RandomAgent()], weights=EVEN | {"fixed": 0.5})
    method = playing(agent, pool)
    shut = Gate(gain=9.0)
    assert turns(agent, method, [shut])[1].metrics["games/random"] > 0
    assert (pool.names, pool.payoffs.table(), method.state_dict()["played"]) == ((), [], 64)
    turns(agent, method, [None])
    assert pool.names == ("generation-1",)
    before = pool.state_dict()
    assert pool.payoffs.record(agent.name, "random").games > 0
    # The first generation is played again by a gate that is shut, this time with somebody to meet.
    (_, rolled) = turns(agent, method, [shut])
    assert rolled.metrics["games/generation-1"] > 0
    assert pool.state_dict() == before


def test_results_say_who_is_met_next_and_the_report_says_who_was() -> None:
    """A seat that wins every game against one self and none against the other meets the other only, by f_hard."""
    agent = player()
    pool = pool_of(agent, weights={"snapshots": 1.0})
    method = playing(agent, pool, games=8)
    *_, last = turns(agent, method, [None, None, None])
    met = {name: n for name, n in last.metrics.items() if name.startswith("games/")}
    assert met.keys() <= {"games/generation-1", "games/generation-2"}
    assert sum(met.values()) == 16 == last.funnel["kept"]
    recorded = {name: pool.payoffs.record(agent.name, name).games for name in pool.names}
    assert recorded["generation-3"] == 0
    for name in ("generation-1", "generation-2"):
        assert (f"score/{name}" in last.metrics) is (f"games/{name}" in last.metrics)
        assert 0 <= last.metrics.get(f"score/{name}", 0.5) <= 1
    for _ in range(500):
        pool.payoffs.add(agent.name, "generation-1", 1.0)
        pool.payoffs.add(agent.name, "generation-2", 0.0)
        pool.payoffs.add(agent.name, "generation-3", 1.0)
    (report,) = evolve(
        agent, Learner(agent), method, CURRICULUM, generations=4, probe_tasks=2, hidden_tasks=2, progress=last.progress
    )
    # The odds of each other are a hundredth of a hundredth until it loses to them.
    assert report.metrics["games/generation-2"] >= 14


def test_a_fixed_opponent_sits_in_either_seat_and_only_the_policys_moves_are_learned() -> None:
    agent = player()
    learned: list[Any] = []
    method = playing(agent, RandomAgent())

    def rule(learner: Learner) -> Any:
        made = make_rule("ppo", learner, game=GAME)
        learn = made.learn
        return replace(made, learn=lambda episodes: (learned.extend(episodes), learn(episodes))[1])

    method.rule = rule
    (_, report) = turns(agent, method, [None])
    assert report.metrics["games/random"] == len(learned) == 64
    assert [episode.seated for episode in learned[:4]] == [(0, 1), (1, 0)] * 2
    own = sum(turn.player == 0 for episode in learned for turn in episode.turns)
    assert report.metrics["update/turns"] * 2 == own
    assert report.metrics["forfeits"] <= sum(e.offender is not None for e in learned) / 64
    margins = [e.rewards[e.seated.index(0)] for e in learned]
    assert report.metrics["score/random"] == pytest.approx(sum((m > 0) + 0.5 * (m == 0) for m in margins) / 64)


def test_opponents_drawn_by_results_are_an_element_of_autonomy() -> None:
    agent = player()
    level, modules = autonomy([playing(agent, pool_of(agent))], is_adaptive=False)
    assert level == "low, with medium elements (objective)"
    assert modules["objective"] == "set by the model: its results against its earlier selves say whom it meets"
    assert autonomy([playing(agent, RandomAgent())], is_adaptive=True)[0] == "low, with medium elements (objective)"


def run(settings: EvolveSettings, stop_after: int | None = None) -> EvolveRun:
    whole = EvolveRun(settings, say=lambda text: None)
    for _ in whole.prepare():
        pass
    for report in whole.evolve():
        if report.generation == stop_after:
            return whole
    whole.close(finished=True)
    return whole


def pool_in(whole: EvolveRun) -> OpponentPool:
    method: Any = whole.methods["self-play"][0]
    assert method.pool is not None
    found: OpponentPool = method.pool
    return found


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_run_with_a_pool_that_is_taken_up_again_ends_the_same(stop_after: int, tmp_path: Path) -> None:
    settings = replace(SHORT, generations=4)
    whole = run(replace(settings, out=str(tmp_path / "whole")))
    run(replace(settings, out=str(tmp_path / "parts")), stop_after=stop_after)
    parts = run(EvolveSettings(resume=str(tmp_path / "parts")))
    assert pool_in(whole).names == ("generation-3", "generation-4")
    assert any(name.startswith("games/generation-") for name in whole.reports[-1]["metrics"])
    texts = [(tmp_path / name / "generations.jsonl").read_text() for name in ("whole", "parts")]
    assert texts[0] == texts[1]
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert pool_in(parts).state_dict() == pool_in(whole).state_dict()
    for name, each in (("whole", whole), ("parts", parts)):
        pool_in(each).save(tmp_path / f"pool-{name}")
    for file in sorted((tmp_path / "pool-whole").iterdir()):
        assert file.read_bytes() == (tmp_path / "pool-parts" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (NO_POOL | {"opponent": "randm"}, "'randm'"),
        ({"opponent": "human"}, "opponent 'human' cannot train by the thousand"),
        (NO_POOL | {"opponent": "random", "games": 33}, "so one seat would be played more often .*: set --games 34"),
        ({"opponent": "self"}, "pool_mix does nothing without --opponent pool: set that, or leave it out"),
        ({"pool_mix": ["self=1", "fixd=1"]}, "not of 'fixd'. Did you mean 'fixed'"),
        ({"pool_mix": ["self=0"]}, "pool_mix must have a weight above 0"),
        ({"pool_fixed": []}, "name them, for instance --pool_fixed random"),
        ({"pool_mix": ["self=1", "snapshots=1"]}, "pool_fixed does nothing without a weight of fixed in --pool_mix"),
        ({"pool_draw": "pfps"}, "unknown pool_draw 'pfps'. Did you mean 'pfsp'"),
        ({"pool_weighting": "sqared"}, "unknown pool_weighting 'sqared'. Did you mean 'squared'"),
        ({"pool_draw": "uniform", "pool_weighting": "even"}, "pool_weighting does nothing without --pool_draw pfsp"),
        ({"pool_size": 0}, "pool_size must be 1 or more, not 0"),
        ({"method": ["critic"]}, "opponent is of the method self-play: add that, or leave it out"),
        ({"pool_fixed": ["optimal"], "game": "Negotiation-v0"}, "optimal cannot play Negotiation-v0"),
    ],
)
def test_opponents_that_cannot_be_are_refused_before_there_is_a_folder(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    default = EvolveSettings()
    changes = {name: getattr(default, name) if value is None else value for name, value in given.items()}
    with pytest.raises(ValueError, match=message):
        EvolveRun(replace(SHORT, **changes, out=str(tmp_path / "run")), say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_a_generation_of_void_games_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It seemed to have learned from nothing, was let in, and so to the end."""

    def down(*given: Any, **settings: Any) -> list[Episode]:
        return [replace(e, ending=Ending.VOID, why="the server is down") for e in play(*given, **settings)]

    monkeypatch.setattr(play_method, "play", down)
    agent = player()
    method = playing(agent, RandomAgent())
    loop = evolve(agent, Learner(agent), method, CURRICULUM, generations=1, probe_tasks=2, hidden_tasks=2)
    next(loop)
    with pytest.raises(Void, match="all 32 games of an update are void, the first because the server is down"):
        next(loop)


def test_an_interrupt_leaves_opponents_and_rewards_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = player()
    pool = pool_of(agent, fixed=[RandomAgent()], weights=EVEN | {"fixed": 0.5})
    method = playing(agent, pool)
    turns(agent, method, [None])
    before = method.state_dict()
    made = make_rule("ppo", Learner(agent), game=GAME)
    learned: list[int] = []

    def learn(episodes: Any) -> Any:
        learned.append(len(episodes))
        if len(learned) > 1:
            raise KeyboardInterrupt
        return made.learn(episodes)

    method._rule = replace(made, learn=learn)
    with pytest.raises(KeyboardInterrupt):
        turns(agent, method, [None])
    after = method.state_dict()
    assert after.pop("played") > before.pop("played")
    assert after == before


@pytest.mark.parametrize(("draw", "sets"), [("pfsp", True), ("worst", True), ("uniform", False), ("latest", False)])
def test_results_set_the_objective_only_where_opponents_are_drawn_by_them(draw: str, sets: bool) -> None:
    agent = player()
    assert ("objective" in playing(agent, pool_of(agent, draw=draw)).modules) is sets
