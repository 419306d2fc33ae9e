"""Games that count for nobody, and judges asked for many games at once."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sparring.agents import PlayerLeft, Prompt, RandomAgent, Reply, tiny_agent
from sparring.envs import Case, Ending, Game, Statement, Verdict, Void, make
from sparring.envs.gym_view import TextGameEnv
from sparring.selfplay import Learner, counted, make_rule, play, self_play
from sparring.selfplay.measures import make_measure

State = tuple[str, ...]


class Judge:
    """Finds for who said "yes", has no opinion where both say the same, and fails where seat 0 said nothing."""

    name = "test"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        self.calls.append(len(cases))
        return [self._decide([s.text for s in case.statements]) for case in cases]

    def _decide(self, said: list[str]) -> Verdict:
        if said[0] == "hm":
            return Verdict(void="it heard nothing")
        return Verdict(p=0.5 + 0.5 * ((said[0] == "yes") - (said[1] == "yes")))


class YesNo(Game[State]):
    rules = "Say yes."
    figure = "agree"
    words: tuple[str, ...] = ("yes", "no", "hm")

    def __init__(self, judge: Any = None) -> None:
        self.judge = judge or Judge()

    def deal(self, rng: np.random.Generator) -> State:
        return ()

    def seat(self, state: State) -> int | None:
        return len(state) if len(state) < 2 else None

    def observation(self, state: State, seat: int) -> str:
        return f"You are {seat}."

    def legal(self, state: State) -> None:
        return None

    def speeches(self, state: State) -> State:
        return self.words

    def play(self, state: State, move: str) -> State:
        if len(state) > 1:
            raise ValueError("over")
        return (*state, move)

    def case(self, state: State) -> Case | None:
        if len(state) != 2:
            return None
        return Case(question="?", answers=("0", "1"), statements=tuple(map(Statement, (0, 1), state)))

    def settle(self, state: State, verdict: Verdict) -> State:
        return (*state, str(verdict.p))

    def rewards(self, state: State) -> tuple[float, float]:
        won = 2 * float(state[2]) - 1 if len(state) == 3 else 0.0
        return won, -won

    def figures(self, state: State) -> dict[str, float]:
        return {"agree": float(state[0] == state[1])}


def test_cases_of_many_games_are_judged_in_one_call() -> None:
    judge = Judge()
    random = RandomAgent()
    episodes = list(play(YesNo(judge), (random, random), games=64, seed=3, in_flight=32))
    # Every game has two turns, so each wave of 32 games comes to its cases together.
    assert judge.calls == [32, 32]
    assert next(list(e.figures) for e in episodes if e.ending is Ending.PLAYED) == ["agree"]


def test_the_games_do_not_depend_on_how_many_are_judged_at_once() -> None:
    random = RandomAgent()
    by_one, by_many = (list(play(YesNo(), (random, random), games=40, seed=5, in_flight=n)) for n in (1, 64))
    assert by_one == by_many
    assert {e.ending for e in by_one} == {Ending.PLAYED, Ending.VOID}


def test_void_games_are_told_apart_and_count_for_nothing() -> None:
    random = RandomAgent()
    episodes = list(play(YesNo(), (random, random), games=60, seed=1))
    void = [e for e in episodes if e.ending is Ending.VOID]
    assert void
    assert all(e.why == "it heard nothing" and e.rewards == (0.0, 0.0) and not e.figures for e in void)
    assert len(counted(episodes)) == len(episodes) - len(void)
    assert void[0].record()["why"] == "it heard nothing"


def test_self_play_learns_from_free_text_and_leaves_void_games_out() -> None:
    game = YesNo()
    agent = tiny_agent(game, hidden=16, layers=1, corpus_games=4)
    assert {"yes", "no"} <= {agent.tokenizer.decode([i]) for i in range(len(agent.tokenizer))}
    (generation,) = self_play(game, agent, Learner(agent, lr=1e-3), games=16, batch_games=16)
    played = counted(generation.episodes)
    assert generation.metrics["turns"] == sum(len(e.turns) for e in played)
    if len(played) < 16:
        assert generation.metrics["voids"] == 1 - len(played) / 16
    agree = [e.figures["agree"] for e in played if e.figures]
    assert generation.metrics.get("game/agree", 0.0) == (statistics.fmean(agree) if agree else 0.0)


class Deaf(Judge):
    def _decide(self, said: list[str]) -> Verdict:
        return Verdict(void="the judge is away")


def test_a_generation_in_which_every_game_is_void_ends_the_run_in_words() -> None:
    game = YesNo(Deaf())
    # A seat that forfeits is judged by nobody, so let nothing be illegal: the random player sits on both sides.
    agent = tiny_agent(game, hidden=16, layers=1, corpus_games=4)
    agent.reply = RandomAgent().reply  # type: ignore[method-assign]
    with pytest.raises(Void, match="all 8 games of update 1 are void, the first because the judge is away"):
        next(self_play(game, agent, Learner(agent), games=8, batch_games=8))


def test_the_game_names_its_own_measure() -> None:
    measure = make_measure(YesNo(), games=60)
    assert measure.figure == "agree"
    found = measure.take(RandomAgent())
    # Both say the same of three words in a third of the games, void ones left out: 40 or so games, deviation 0.075.
    assert abs(found["agree"] - 1 / 3) < 0.25
    assert found["strength"] == found["agree"]
    with pytest.raises(Void, match="all 60 games of a measure are void"):
        make_measure(YesNo(Deaf()), games=60).take(RandomAgent())


class Moody(Judge):
    """Sees nothing in every fifth case."""

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        before = sum(self.calls)
        verdicts = super().judge(cases)
        return [Verdict(void="a fit") if (before + n) % 5 == 4 else v for n, v in enumerate(verdicts)]


class YesOrNo(YesNo):
    words = ("yes", "no")


@pytest.mark.parametrize(("width", "rollouts"), [(2, 1), (3, 2)])
def test_a_void_game_costs_a_branch_its_sample_and_no_more(width: int, rollouts: int) -> None:
    """One void game in a generation broke the whole run: what was left of its fork was no multiple of the rollouts."""
    game = YesOrNo(Moody())
    agent = tiny_agent(game, hidden=16, layers=1, corpus_games=4)
    rule = make_rule("rloo", Learner(agent, lr=1e-3), groups="branch", width=width, rollouts=rollouts)
    generations = list(self_play(game, agent, rule, games=120, batch_games=60))
    for generation in generations:
        played = counted(generation.episodes)
        assert len(played) < len(generation.episodes)
        games = Counter((e.fork, e.index // rollouts) for e in played)
        samples = Counter(fork for (fork, _), n in games.items() if n == rollouts)
        kept = rollouts * sum(n for n in samples.values() if n > 1)
        assert 0 < kept < len(played)
        assert generation.metrics["turns"] == kept
        assert generation.metrics["games_left_out"] == len(played) - kept


class Gone:
    name = "gone"

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [Reply(text="", fault="no route to host") for _ in prompts]


def test_a_player_that_cannot_be_reached_loses_nothing() -> None:
    episodes = list(play(make("KuhnPoker-v0"), (RandomAgent(), Gone()), games=6, swap=True))
    assert {(e.ending, e.why, e.rewards) for e in episodes} == {(Ending.VOID, "gone: no route to host", (0.0, 0.0))}
    assert all(turn.player == 0 for e in episodes for turn in e.turns)


# Judges that break, instead of saying that they have no verdict.


class Broken(Judge):
    """As its parent, but breaks in one of three ways where seat 0 said "hm"."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def judge(self, cases: Sequence[Case]) -> Any:
        hears = [case.statements[0].text != "hm" for case in cases]
        if all(hears):
            return super().judge(cases)
        if self.how == "raises":
            raise RuntimeError("out of order")
        if self.how == "counts":
            return super().judge(cases)[:-1]
        return [Verdict(p=float("nan")) for _ in cases]


@pytest.mark.parametrize("how", ["raises", "counts", "nan"])
def test_a_judge_that_breaks_makes_void_what_it_breaks_on_and_nothing_else(how: str) -> None:
    game = YesNo(Broken(how))
    found = list(play(game, (RandomAgent(), RandomAgent()), games=60, seed=4, in_flight=60))
    heard = [e for e in found if e.turns[0].move != "hm"]
    lost = [e for e in found if e.turns[0].move == "hm"]
    assert heard
    assert lost
    assert all(e.ending is Ending.PLAYED for e in heard)
    assert all(e.ending is Ending.VOID and e.rewards == (0.0, 0.0) and "test failed" in e.why for e in lost)
    assert counted(found) == tuple(heard)


@pytest.mark.parametrize("how", ["raises", "counts", "nan"])
def test_a_gymnasium_view_ends_void_where_its_judge_breaks(how: str) -> None:
    env = TextGameEnv(YesNo(Broken(how)))
    env.reset(seed=0)
    env.step("hm")
    _, _, terminated, truncated, info = env.step("no")
    assert truncated
    assert not terminated
    assert info["ending"] == "void"
    assert info["rewards"] == (0.0, 0.0)


def test_ctrl_c_goes_through_a_judge() -> None:
    class Left(Judge):
        def judge(self, cases: Sequence[Case]) -> Any:
            raise PlayerLeft

    with pytest.raises(PlayerLeft):
        list(play(YesNo(Left()), (RandomAgent(), RandomAgent()), games=2))
