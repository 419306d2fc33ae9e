"""Games that a judge decides, void games, speech that the rules refuse: what `Match` makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import pytest

import sparring.envs  # noqa: F401
from sparring.envs import (
    Case,
    ContractError,
    Ending,
    Game,
    Match,
    Problem,
    Refused,
    Reply,
    Statement,
    TextGameEnv,
    Verdict,
    Void,
    aec_env,
    check_game,
)


class Firm:
    """A judge that always says the same and counts how often it is asked."""

    name = "firm"

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.calls: list[int] = []

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        self.calls.append(len(cases))
        return [self.verdict] * len(cases)


@dataclass(frozen=True)
class Dispute:
    said: tuple[str, ...] = ()
    p: float | None = None


class Quarrel(Game[Dispute]):
    """Each seat speaks once; a judge decides. Who says "help" breaks the game, who shouts is refused."""

    rules = "Speak."
    figure = "right"

    def __init__(self, *, judge: Any = None) -> None:
        self.judge = judge

    def deal(self, rng: np.random.Generator) -> Dispute:
        return Dispute()

    def seat(self, state: Dispute) -> int | None:
        return len(state.said) if len(state.said) < 2 else None

    def observation(self, state: Dispute, seat: int) -> str:
        return f"You are {seat}. Said: {', '.join(state.said) or 'nothing'}."

    def legal(self, state: Dispute) -> None:
        return None

    def speeches(self, state: Dispute) -> tuple[str, ...]:
        return ("I am right.", "You are wrong.")

    def play(self, state: Dispute, move: str) -> Dispute:
        if self.seat(state) is None:
            raise ValueError("it is over")
        if move == "help":
            raise Void("the house burns")
        if move.isupper():
            raise Refused(f"do not shout {move}")
        return Dispute((*state.said, move))

    def case(self, state: Dispute) -> Case | None:
        if self.seat(state) is not None or state.p is not None:
            return None
        return Case(question="Who?", answers=("0", "1"), statements=tuple(map(Statement, (0, 1), state.said)))

    def settle(self, state: Dispute, verdict: Verdict) -> Dispute:
        return replace(state, p=verdict.p)

    def rewards(self, state: Dispute) -> tuple[float, float]:
        won = 0.0 if state.p is None else 2 * state.p - 1
        return won, -won

    def figures(self, state: Dispute) -> dict[str, float]:
        return {"right": state.p or 0.0}


def played(game: Game[Any], *replies: object, **settings: Any) -> Match[Any]:
    match = Match(game, np.random.default_rng(0), **settings)
    for reply in replies:
        match.step(reply)
    return match


def test_a_judge_is_asked_at_once_and_its_verdict_pays() -> None:
    match = played(Quarrel(judge=Firm(Verdict(p=0.75))), "Yes.", "No.")
    assert (match.ending, match.rewards, match.case) == (Ending.PLAYED, (0.5, -0.5), None)


def test_a_deferred_case_waits() -> None:
    match = played(Quarrel(), "Yes.", "No.", deferred=True)
    assert match.seat is None
    assert match.ending is None
    assert match.case is not None
    assert match.case.statements == (Statement(0, "Yes."), Statement(1, "No."))
    with pytest.raises(RuntimeError, match="over"):
        match.step("More.")
    match.settle(Verdict(p=0.0))
    assert (match.ending, match.rewards) == (Ending.PLAYED, (-1.0, 1.0))
    with pytest.raises(RuntimeError, match="no case"):
        match.settle(Verdict(p=0.0))


def test_without_a_judge_a_case_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="Quarrel has no judge; make it with judge="):
        played(Quarrel(), "Yes.", "No.")


def test_a_judge_that_fails_makes_the_game_void_and_not_lost() -> None:
    match = played(Quarrel(judge=Firm(Verdict(void="the judge is asleep"))), "Yes.", "No.")
    assert (match.ending, match.why, match.rewards) == (Ending.VOID, "the judge is asleep", (0.0, 0.0))
    assert match.offender is None


def test_void_in_play_is_nobodys_fault() -> None:
    match = played(Quarrel(), "Yes.", "help")
    assert (match.ending, match.why, match.rewards, match.offender) == (
        Ending.VOID,
        "the house burns",
        (0.0, 0.0),
        None,
    )


def test_refused_speech_is_an_illegal_reply_that_may_be_taken_back() -> None:
    match = played(Quarrel(judge=Firm(Verdict(p=1.0))), "Yes.", retries=1)
    reading = match.step("NO \u2603 [REFEREE]")
    assert (reading.move, reading.problem) == (None, Problem.ILLEGAL_MOVE)
    # What comes back of a player's own words is plain ASCII, and brackets were round before the game saw them.
    assert match.prompt.startswith("do not shout NO \\u2603 (REFEREE)")
    assert match.illegal == (0, 1)
    match.step("No.")
    assert match.ending is Ending.PLAYED


def test_refused_speech_forfeits_without_retries() -> None:
    match = played(Quarrel(), "YES")
    assert (match.ending, match.offender, match.rewards) == (Ending.ILLEGAL, 0, (-1.0, 1.0))


def test_views_settle_and_truncate_what_is_void() -> None:
    env = TextGameEnv(Quarrel(judge=Firm(Verdict(p=1.0))))
    env.reset(seed=0)
    env.step("Yes.")
    text, reward, terminated, truncated, info = env.step("No.")
    assert (reward, terminated, truncated, info["rewards"]) == (-1.0, True, False, (1.0, -1.0))
    env.reset(seed=0)
    text, reward, terminated, truncated, info = env.step("help")
    assert (reward, terminated, truncated, info["ending"]) == (0.0, False, True, Ending.VOID)
    assert "void" in text
    aec = aec_env(Quarrel(judge=Firm(Verdict(void="asleep"))))
    aec.reset(seed=0)
    aec.step("Yes.")
    aec.step("No.")
    assert aec.truncations == {"seat_0": True, "seat_1": True}
    assert aec.rewards == {"seat_0": 0.0, "seat_1": 0.0}


def test_check_game_accepts_it_with_and_without_a_judge() -> None:
    check_game(Quarrel(), games=5)


class Undecided(Quarrel):
    def settle(self, state: Dispute, verdict: Verdict) -> Dispute:
        return state


class Shaken(Quarrel):
    def settle(self, state: Dispute, verdict: Verdict) -> Dispute:
        raise KeyError(verdict.p)


class Greedy(Quarrel):
    def rewards(self, state: Dispute) -> tuple[float, float]:
        return (1.0, -1.0) if len(state.said) == 2 else (0.0, 0.0)


class Vague(Quarrel):
    def figures(self, state: Dispute) -> dict[str, float]:
        return {"right": float("nan")}


class Misnamed(Quarrel):
    figure = "wrong"


class Loud(Quarrel):
    def speeches(self, state: Dispute) -> tuple[str, ...]:
        return ("two  spaces",)


@pytest.mark.parametrize(
    ("game", "law"),
    [
        (Undecided, "leaves the case open"),
        (Shaken, r"settle\(\) raised KeyError"),
        (Greedy, "an unfinished game has rewards"),
        (Vague, r"figures\(\) returned"),
        (Misnamed, "gives no 'wrong'"),
        (Loud, "not read as it stands"),
    ],
)
def test_check_game_finds_what_is_broken(game: type[Quarrel], law: str) -> None:
    with pytest.raises(ContractError, match=law):
        check_game(game(), games=5)


def test_brackets_stay_only_where_a_game_asks() -> None:
    game = Quarrel()
    match = played(game, "I [say] so.")
    assert match.state.said == ("I (say) so.",)
    game.keeps_brackets = True
    assert played(game, "I [say] so.").state.said == ("I [say] so.",)


def test_an_unknown_family_names_the_near_one() -> None:
    from sparring.envs import list_games, make, register_family

    register_family("elsewhere", "nowhere:Nothing", package="a_package_that_is_not_there", extra="elsewhere")
    with pytest.raises(ImportError, match=r"need a_package_that_is_not_there; install it: pip install 'sparring\["):
        make("elsewhere/chess")
    with pytest.raises(ImportError, match="elsewhere"):
        list_games("elsewhere")
    with pytest.raises(ValueError, match="Did you mean 'elsewhere'"):
        list_games("elsewher")


def test_registered_ids_still_come_first() -> None:
    assert "sparring/KuhnPoker-v0" in gymnasium.registry
    assert pettingzoo.make("aec", "sparring/KuhnPoker-v0") is not None


class Gone:
    """A player that cannot be reached."""

    def reply(self, prompts: Sequence[Any]) -> list[Reply]:
        return [Reply(text="", fault="no route to host") for _ in prompts]


def test_an_opponent_that_cannot_be_reached_makes_the_game_void() -> None:
    env = TextGameEnv("KuhnPoker-v0", opponent=Gone(), seat=0)
    _, info = env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("[check]")
    assert (reward, terminated, truncated, info["ending"]) == (0.0, False, True, Ending.VOID)
    assert env.match.why == "no route to host"
    with pytest.raises(RuntimeError, match="over"):
        env.match.void("again")
