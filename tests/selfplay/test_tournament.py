"""Tournaments: pairs of one deal, games that depend on nothing but their key, and what breaks is nobody's loss."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from sparring.agents import HeuristicAgent, OptimalAgent, PlayerLeft, Prompt, RandomAgent, Reply, ScriptedAgent
from sparring.envs import Case, Ending, Game, Statement, Verdict, make
from sparring.selfplay.match_log import pair_record, replay
from sparring.selfplay.standings import down_players, standings
from sparring.selfplay.tournament import Entrant, Entry, PairKey, Played, plan, tournament, unable

KUHN = Entry(label="KuhnPoker-v0", game=make("KuhnPoker-v0"))


def enter(*agents: Any) -> list[Entrant]:
    return [Entrant(name=agent.name, agent=agent) for agent in agents]


def run(players: Sequence[Entrant], entries: Sequence[Entry], pairs: int, **settings: Any) -> list[Played]:
    seed = settings.pop("seed", 0)
    return list(tournament(players, entries, plan(players, entries, pairs=pairs, seed=seed), **settings))


def timeless(played: Iterable[Played]) -> dict[PairKey, Any]:
    """Everything about games but how long they took, and their place in this plan."""
    return {p.key: ([dataclasses.replace(e, index=0) for e in p.episodes], p.verdicts) for p in played}


def test_a_pair_is_one_deal_with_the_seats_swapped() -> None:
    pairs = run(enter(RandomAgent(), HeuristicAgent()), [KUHN], 30)
    cards = Counter()
    for (first, second), key in ((p.episodes, p.key) for p in pairs):
        assert first.players == (key.one, key.other) == ("heuristic", "random")
        assert second.players == ("random", "heuristic")
        # The deal is all that is hidden in Kuhn poker's state, so seat 0 opens with the same prompt.
        assert first.turns[0].prompt == second.turns[0].prompt
        assert first.turns[0].state == second.turns[0].state
        cards[first.turns[0].state] += 1
    assert len(cards) == 6, "30 pairs of one deal would all be one deal"


def test_the_games_do_not_depend_on_how_many_are_in_flight() -> None:
    players, entries = enter(RandomAgent(), HeuristicAgent(), OptimalAgent()), [KUHN]
    found = [timeless(run(players, entries, 12, in_flight=n)) for n in (1, 7, 256)]
    assert found[0] == found[1] == found[2]
    assert found[0] != timeless(run(players, entries, 12, seed=1))


def test_the_games_do_not_depend_on_who_else_is_entered_nor_on_what_else_is_played() -> None:
    few = timeless(run(enter(RandomAgent(), HeuristicAgent()), [KUHN], 12))
    more = [Entry(label="Nim-v0", game=make("Nim-v0")), KUHN]
    many = timeless(run(enter(OptimalAgent(), HeuristicAgent(), RandomAgent()), more, 12))
    assert {key: many[key] for key in few} == few
    assert len(many) == 6 * len(few)


def test_alike_players_share_deals_and_not_choices() -> None:
    """Three random players once played the same games in all three match-ups: 71 % of intervals of 95 % held the truth.

    Kuhn poker, 30 pairs, 120 tournaments; with choices of each match-up's own it is 94 %.
    """
    players = [Entrant(name=name, agent=RandomAgent(name=name)) for name in "abc"]
    found: dict[tuple[str, str], list[Any]] = {}
    for played in run(players, [KUHN], 20):
        found.setdefault((played.key.one, played.key.other), []).append(played.episodes)
    deals = [[first.turns[0].state for first, _ in pairs] for pairs in found.values()]
    assert deals[0] == deals[1] == deals[2]
    replies = [[[t.reply.text for e in pair for t in e.turns] for pair in pairs] for pairs in found.values()]
    assert replies[0] != replies[1] != replies[2] != replies[0]


def test_what_was_played_is_not_played_again() -> None:
    players = enter(RandomAgent(), HeuristicAgent())
    keys = plan(players, [KUHN], pairs=10)
    rest = list(tournament(players, [KUHN], keys, done=set(keys[:4])))
    assert [p.key for p in rest] == keys[4:]
    whole = timeless(tournament(players, [KUHN], keys))
    assert timeless(rest) == {key: whole[key] for key in keys[4:]}


class Leaves(RandomAgent):
    """Presses Ctrl-C when it is asked for the n-th time."""

    def __init__(self, asked: int, name: str = "leaves") -> None:
        super().__init__(name=name)
        self.asked = asked

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        self.asked -= 1
        if not self.asked:
            raise KeyboardInterrupt
        return super().reply(prompts)


LONG_FIRST = [Entry(label="ConnectFour-v0", game=make("ConnectFour-v0")), KUHN]


def test_pairs_that_are_over_need_not_wait_for_longer_games_before_them() -> None:
    players = enter(*two())
    keys = plan(players, LONG_FIRST, pairs=4)
    in_order = list(tournament(players, LONG_FIRST, keys))
    assert [p.key for p in in_order] == keys
    at_once = list(tournament(players, LONG_FIRST, keys, in_order=False))
    assert [p.key.game for p in at_once[:4]] == ["KuhnPoker-v0"] * 4
    assert sorted(p.key for p in at_once) == sorted(keys)
    assert timeless(at_once) == timeless(in_order)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("asked", [1, 3, 5, 20])
def test_an_interrupt_leaves_what_was_over(in_order: bool, asked: int) -> None:
    """Pairs that waited for an earlier one were lost, and so were those that the interrupted wave had ended."""
    players = enter(RandomAgent(), Leaves(asked))
    keys = plan(players, LONG_FIRST, pairs=6)
    left: list[Played] = []
    got: list[Played] = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(tournament(players, LONG_FIRST, keys, in_order=in_order, left=left))
    whole = timeless(tournament(enter(RandomAgent(), RandomAgent(name="leaves")), LONG_FIRST, keys))
    found = timeless([*got, *left])
    assert found == {key: whole[key] for key in found}
    # Each of the two is asked once a wave, so that a pair of at most so many turns a game was over before.
    over = {key for key, (both, _) in whole.items() if max(len(e.turns) for e in both) < asked}
    assert over <= found.keys()


def test_what_a_caller_leaves_with_is_not_lost() -> None:
    """The interrupt may come to the caller, between a pair and its line in the log."""
    players = enter(RandomAgent(), HeuristicAgent())
    keys = plan(players, [KUHN], pairs=6)
    for taken in range(1, 6):
        left: list[Played] = []
        games = tournament(players, [KUHN], keys, in_flight=4, in_order=False, left=left)
        got = [next(games) for _ in range(taken)]
        games.close()
        assert got[-1].key in {played.key for played in left}
        assert not {played.key for played in left} & {played.key for played in got[:-1]}


def test_each_player_gets_each_seat_as_often_as_each_other_and_a_cut_plan_is_balanced() -> None:
    players = enter(RandomAgent(), HeuristicAgent(), OptimalAgent())
    seats = Counter(
        (e.game, name, s) for p in run(players, [KUHN], 5) for e in p.episodes for s, name in enumerate(e.players)
    )
    assert set(seats.values()) == {10}
    entries = [KUHN, Entry(label="Nim-v0", game=make("Nim-v0"))]
    keys = plan(players, entries, pairs=7)
    for cut in range(len(keys) + 1):
        counts = Counter((k.game, k.one, k.other) for k in keys[:cut])
        assert len(counts) < 6 or max(counts.values()) - min(counts.values()) <= 1


def test_a_baseline_is_met_by_everybody_and_nobody_else_is() -> None:
    keys = plan(enter(RandomAgent(), HeuristicAgent(), OptimalAgent()), [KUHN], pairs=1, baseline="optimal")
    assert {(k.one, k.other) for k in keys} == {("heuristic", "optimal"), ("optimal", "random")}


def test_plans_that_cannot_be_are_refused_and_what_is_broken_is_left_out() -> None:
    players = enter(RandomAgent(), HeuristicAgent())
    with pytest.raises(ValueError, match="two players are called 'random'"):
        plan([*players, *enter(RandomAgent())], [KUHN], pairs=1)
    with pytest.raises(ValueError, match="two games are called 'KuhnPoker-v0'"):
        plan(players, [KUHN, KUHN], pairs=1)
    with pytest.raises(ValueError, match="'me' has not entered; players are random, heuristic"):
        plan(players, [KUHN], pairs=1, baseline="me")
    with pytest.raises(ValueError, match="pairs must be 1 or more, not 0"):
        plan(players, [KUHN], pairs=0)
    broken = [*players, Entrant(name="gone", agent=None, broken="no such folder")]
    assert len(plan(broken, [KUHN, Entry(label="x", game=None, broken="no library")], pairs=3)) == 3


def test_who_cannot_play_a_game_meets_nobody_in_it() -> None:
    players = [*enter(RandomAgent(), OptimalAgent(), HeuristicAgent()), Entrant(name="gone", agent=None, broken="no")]
    entries = [KUHN, Entry(label="Debate-v0", game=make("Debate-v0")), Entry(label="lost", game=None, broken="no")]
    cannot = unable(players, entries)
    assert cannot.keys() == {("optimal", "Debate-v0"), ("heuristic", "Debate-v0")}
    assert all("Debate" in why for why in cannot.values())
    keys = plan(players, entries, pairs=1, without=cannot)
    assert Counter(key.game for key in keys) == {"KuhnPoker-v0": 3}
    everything = plan(players, entries, pairs=1, without=cannot, with_broken=True)
    assert Counter(key.game for key in everything) == {"KuhnPoker-v0": 6, "Debate-v0": 1, "lost": 6}


def test_a_game_that_breaks_is_not_one_that_a_player_cannot_play() -> None:
    class Falls(type(KUHN.game)):  # type: ignore[misc]
        def play(self, state: Any, move: str) -> Any:
            raise RuntimeError("the table fell over")

    assert unable(enter(OptimalAgent()), [Entry(label="falls", game=Falls())]) == {}


class Faulty:
    """Does something that no player may do whenever it holds seat 1."""

    def __init__(self, fail: Any) -> None:
        self.name, self.fail = "faulty", fail

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        if any(prompt.seat == 1 for prompt in prompts):
            return self.fail(prompts)
        return [Reply(text=f"[{prompt.legal[0]}]") for prompt in prompts]


def explode(prompts: Sequence[Prompt]) -> list[Reply]:
    raise RuntimeError("out of memory\nsecond line")


FAILURES = {
    "it raises": (explode, "faulty: RuntimeError: out of memory"),
    "too few replies": (lambda prompts: [], "faulty: ValueError: 0 replies to 1 prompts"),
    "no replies": (lambda prompts: None, "faulty: TypeError: "),
    "bare texts": (
        lambda prompts: ["[bet]" for _ in prompts],
        "faulty: TypeError: a reply must be a Reply with a text",
    ),
    "a text that is none": (lambda prompts: [Reply(text=b"[bet]") for _ in prompts], "faulty: TypeError: a reply must"),
    "a fault": (lambda prompts: [Reply(text="", fault="no route") for _ in prompts], "faulty: no route"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_player_that_fails_makes_its_games_void_and_nobody_loses(failure: str) -> None:
    fail, why = FAILURES[failure]
    played = run(enter(Faulty(fail), RandomAgent()), [KUHN], 8)
    for first, second in (p.episodes for p in played):
        # "faulty" comes first in the alphabet: seat 0 in the first game of a pair, where it plays as it should.
        assert first.ending is Ending.PLAYED
        assert (second.ending, second.rewards, second.offender) == (Ending.VOID, (0.0, 0.0), None)
        assert second.why.startswith(why)
    table = standings([pair_record(p) for p in played], {"KuhnPoker-v0": (-2.0, 2.0)})
    assert table["players"]["faulty"]["void"] == 8
    assert table["players"]["faulty"]["lost_illegal"] == 0
    assert table["players"]["faulty"]["games"] == 8
    assert sum(table["void"].values()) == 8
    assert next(iter(table["void"])).startswith(why)


class Lines:
    """Answers as it is told, by the number of the prompt: "." with a move, "u" unreached, "f" with another fault."""

    def __init__(self, told: str, *, name: str = "lines") -> None:
        self.name, self.told, self.asked = name, told, 0

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [self._next(prompt) for prompt in prompts]

    def _next(self, prompt: Prompt) -> Reply:
        kind = self.told[min(self.asked, len(self.told) - 1)]
        self.asked += 1
        if kind == ".":
            return Reply(text=f"[{prompt.legal[0]}]")
        return Reply(text="", fault="no route", unreached=kind == "u")


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("u", 3),
        ("uu.u", 6),
        # What is wrong with one prompt neither adds to those that found nobody nor breaks their row.
        ("fffffufufu", 10),
    ],
)
def test_who_is_down_is_asked_no_more_and_what_is_left_is_void(told: str, asked: int) -> None:
    played = run(enter(agent := Lines(told), RandomAgent()), [KUHN], 20, in_flight=1, down_after=3)
    assert agent.asked == asked
    whys = [e.why for p in played for e in p.episodes if e.ending is Ending.VOID]
    assert "lines: down, and not asked any more after 3 prompts in a row without an answer: no route" in whys
    records = [pair_record(p) for p in played]
    assert down_players(records) == {"lines": whys[-1].removeprefix("lines: ")}
    table = standings(records, {"KuhnPoker-v0": (-2.0, 2.0)})
    assert table["players"]["lines"]["void"] == len(whys) >= 30
    assert table["players"]["lines"]["lost_illegal"] == 0


def test_nobody_is_asked_in_games_of_who_is_down() -> None:
    """Not the other one either, who may be on a server that is paid for."""
    other = Lines(".", name="other")
    run(enter(Lines("u"), other), [KUHN], 20, in_flight=1, down_after=3)
    # Of the first three games the second is begun by the other.
    assert other.asked == 1


def test_a_person_who_leaves_ends_the_tournament() -> None:
    """`PlayerLeft` is an exception like another, so a person's Ctrl-C once only asked for the next move."""

    def leave(prompt: Prompt) -> str:
        raise PlayerLeft("me left the game")

    with pytest.raises(PlayerLeft):
        run(enter(ScriptedAgent(leave, name="me"), RandomAgent()), [KUHN], 2)


State = tuple[str, ...]


class Fragile(Game[State]):
    """Deals "a" or "b", then each seat says "x" or "y"; breaks where its `where` says, if the deal is "b"."""

    rules = "Say x or y."
    figure = "same"

    def __init__(self, where: str = "") -> None:
        self.where = where

    def breaks(self, where: str, state: State) -> None:
        if where == self.where and state[0] == "b":
            raise ZeroDivisionError(f"in {where}")

    def deal(self, rng: np.random.Generator) -> State:
        state = ("ab"[rng.integers(2)],)
        self.breaks("deal", state)
        return state

    def seat(self, state: State) -> int | None:
        return len(state) - 1 if len(state) < 3 else None

    def observation(self, state: State, seat: int) -> str:
        self.breaks("first prompt", state)
        if len(state) == 2:
            self.breaks("second prompt", state)
        return f"Turn {len(state)}."

    def legal(self, state: State) -> tuple[str, ...]:
        if len(state) == 2:
            self.breaks("legal", state)
        return ("x", "y")

    def play(self, state: State, move: str) -> State:
        if len(state) == 2:
            self.breaks("play", state)
        return (*state, move)

    def rewards(self, state: State) -> tuple[float, float]:
        if len(state) == 3:
            self.breaks("rewards", state)
        won = float(len(state) == 3) * (1 if state[-1] == "x" else -1)
        return won, -won

    def earned(self, state: State) -> tuple[float, float]:
        if len(state) == 2:
            self.breaks("earned", state)
        return 0.0, 0.0

    def figures(self, state: State) -> dict[str, float]:
        self.breaks("figures", state)
        return {"same": 1.0}


@pytest.mark.parametrize(
    "where", ["deal", "first prompt", "second prompt", "legal", "play", "rewards", "earned", "figures"]
)
def test_a_game_that_breaks_makes_the_games_void_in_which_it_does(where: str) -> None:
    whole, broken = Entry(label="whole", game=Fragile()), Entry(label="Fragile", game=Fragile(where))
    deals = {p.key.number: p.episodes[0].turns[0].state[0] for p in run(enter(*two()), [whole], 16)}
    played = run(enter(*two()), [broken, KUHN], 16)
    found = {p.key.number: p for p in played if p.key.game == "Fragile"}
    assert len(played) == 32
    assert set(deals.values()) == {"a", "b"}
    for number, deal in deals.items():
        for which, episode in enumerate(found[number].episodes):
            assert episode.ending is (Ending.VOID if deal == "b" else Ending.PLAYED)
            assert episode.rewards == (0.0, 0.0) or deal == "a"
            assert (f"ZeroDivisionError: in {where}" in episode.why) is (deal == "b")
            if where not in ("deal", "first prompt"):
                assert len(replay(pair_record(found[number]), which, broken.game)) == len(episode.turns)
    assert all(e.ending is Ending.PLAYED for p in played if p.key.game != "Fragile" for e in p.episodes)


def two() -> tuple[RandomAgent, RandomAgent]:
    return RandomAgent(name="a"), RandomAgent(name="b")


class Jury:
    """Finds for seat 0, and fails in some way on questions that say so."""

    name = "jury"

    def __init__(self, fail: Any) -> None:
        self.fail = fail
        self.calls: list[int] = []

    def judge(self, cases: Sequence[Case]) -> Sequence[Verdict]:
        self.calls.append(len(cases))
        if any(case.question == "b" for case in cases):
            return self.fail(cases)
        return [Verdict(p=1.0) for _ in cases]


class Judged(Game[State]):
    rules = "Speak."

    def __init__(self, judge: Any, where: str = "") -> None:
        self.judge, self.where = judge, where

    def deal(self, rng: np.random.Generator) -> State:
        return ("ab"[rng.integers(2)],)

    def seat(self, state: State) -> int | None:
        return len(state) - 1 if len(state) < 3 else None

    def observation(self, state: State, seat: int) -> str:
        return f"You are {seat}."

    def legal(self, state: State) -> None:
        return None

    def speeches(self, state: State) -> State:
        if self.where == "speeches" and state == ("b", "yes"):
            raise ZeroDivisionError("in speeches")
        return ("yes",)

    def play(self, state: State, move: str) -> State:
        return (*state, move)

    def case(self, state: State) -> Case | None:
        if len(state) != 3:
            return None
        return Case(question=state[0], answers=("0", "1"), statements=tuple(map(Statement, (0, 1), state[1:])))

    def settle(self, state: State, verdict: Verdict) -> State:
        if self.where == "settle" and state[0] == "b":
            raise ZeroDivisionError("in settle")
        return (*state, str(verdict.p))

    def rewards(self, state: State) -> tuple[float, float]:
        return (1.0, -1.0) if len(state) == 4 else (0.0, 0.0)


def refuse(cases: Sequence[Case]) -> Sequence[Verdict]:
    raise OSError("no route to host")


JURIES = {
    "it raises": (Jury(refuse), "", "jury failed: OSError: no route to host"),
    "it says so": (
        Jury(lambda c: [Verdict(void="busy") if x.question == "b" else Verdict(p=1.0) for x in c]),
        "",
        "busy",
    ),
    "too few verdicts": (Jury(lambda c: []), "", "jury failed: ValueError: it did not give one verdict a case: 0 to 1"),
    "the game breaks on it": (
        Jury(lambda c: [Verdict() for _ in c]),
        "settle",
        "Judged broke: ZeroDivisionError: in settle",
    ),
    "speeches": (Jury(lambda c: [Verdict() for _ in c]), "speeches", "Judged broke: ZeroDivisionError: in speeches"),
}


@pytest.mark.parametrize("failure", JURIES)
def test_a_judge_that_fails_makes_the_games_void_that_it_could_not_decide(failure: str) -> None:
    jury, where, why = JURIES[failure]
    played = run(enter(*two()), [Entry(label="Judged", game=Judged(jury, where))], 12)
    endings = Counter((e.turns[0].state[0], e.ending, e.why) for p in played for e in p.episodes)
    assert set(endings) == {("a", Ending.PLAYED, ""), ("b", Ending.VOID, why)}
    for pair in played:
        for which, episode in enumerate(pair.episodes):
            assert len(replay(pair_record(pair), which, Judged(jury))) == len(episode.turns)


def test_a_game_without_a_judge_is_void_with_the_remedy_and_the_others_are_played() -> None:
    played = run(enter(*two()), [Entry(label="Judged", game=Judged(None)), KUHN], 3)
    void = [e for p in played for e in p.episodes if e.ending is Ending.VOID]
    assert len(void) == 6
    assert {e.why for e in void} == {"Judged has no judge; make it with judge=, or set its `judge`"}


def test_the_judge_is_asked_in_batches_still() -> None:
    jury = Jury(lambda cases: [Verdict(p=1.0) for _ in cases])
    run(enter(*two()), [Entry(label="Judged", game=Judged(jury))], 8, in_flight=16)
    assert jury.calls == [16]


def test_replies_say_how_long_they_took_and_are_otherwise_as_they_were() -> None:
    reply = Reply(text="[check]", ids=(1, 2), logprobs=(-0.5, -0.25))

    class Fixed:
        name = "fixed"

        def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
            return [dataclasses.replace(reply, text=f"[{p.legal[0]}]") for p in prompts]

    (played,) = run(enter(Fixed(), RandomAgent()), [KUHN], 1)
    own = [t.reply for e in played.episodes for t in e.turns if t.reply.ids]
    assert own
    assert all(r.seconds > 0 and r.logprobs == reply.logprobs for r in own)
