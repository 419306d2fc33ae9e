"""Judges around judges: what is averaged, remembered, tried again and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sparring.agents import CachedJudge, CountedJudge, PatientJudge, PlayerLeft, SwappedJudge, report_of
from sparring.agents.judge_counts import Counts
from sparring.envs import Case, Judge, ReportingJudge, Statement, Verdict


def case_of(word: str, other: str = "no") -> Case:
    return Case(question="?", answers=(word, other), statements=(Statement(0, word), Statement(1, other)))


class Fair:
    """Decides by a function of the case and keeps what it is asked."""

    name = "fair"

    def __init__(self, decide: Callable[[Case], Verdict]) -> None:
        self.decide = decide
        self.asked: list[list[Case]] = []

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        self.asked.append(list(cases))
        return [self.decide(case) for case in cases]


# Swapped


def test_a_judge_that_likes_the_first_is_found_out() -> None:
    """It gives 0.7 to whoever is listed first: position bias 0.2, and the mean is even."""
    judge = SwappedJudge(Fair(lambda case: Verdict(p=0.7)))
    assert [v.p for v in judge.judge([case_of("x"), case_of("y")])] == pytest.approx([0.5, 0.5])
    assert judge.report() == pytest.approx({"position_bias": 0.2, "side_bias": 0.0, "agreement": 0.0})
    assert judge.report() == {}
    assert judge.counts.mean("position_bias") == pytest.approx(0.2)


def test_a_judge_that_likes_seat_0_for_what_it_says_has_a_side_bias() -> None:
    judge = SwappedJudge(Fair(lambda case: Verdict(p=0.9 if case.answers[0] == "x" else 0.1)))
    (verdict,) = judge.judge([case_of("x")])
    assert verdict.p == pytest.approx(0.9)
    assert judge.report() == pytest.approx({"position_bias": 0.0, "side_bias": 0.4, "agreement": 1.0})


def test_biases_by_hand() -> None:
    """Straight 0.8 and 0.6, crossed 0.4 and 0.5 for who is then first: seat 0 has 0.6 and 0.5 there."""
    told = {("x", "no"): 0.8, ("no", "x"): 0.4, ("y", "no"): 0.6, ("no", "y"): 0.5}
    judge = SwappedJudge(Fair(lambda case: Verdict(p=told[case.answers])))
    assert [v.p for v in judge.judge([case_of("x"), case_of("y")])] == pytest.approx([0.7, 0.55])
    assert judge.report() == pytest.approx(
        {"position_bias": (0.1 + 0.05) / 2, "side_bias": (0.2 + 0.05) / 2, "agreement": 0.5}
    )


def test_half_an_answer_is_none_and_half_an_abstention_is_no_abstention() -> None:
    def decide(case: Case) -> Verdict:
        if case.answers == ("no", "x"):
            return Verdict(void="lost")
        return Verdict(abstained=True) if "both" in case.answers or case.answers[0] == "one" else Verdict(p=0.2)

    found = SwappedJudge(Fair(decide)).judge([case_of("x"), case_of("both"), case_of("one")])
    assert found == [Verdict(void="lost"), Verdict(abstained=True), Verdict(p=0.65)]


def test_both_questions_are_one_call() -> None:
    inner = Fair(lambda case: Verdict())
    SwappedJudge(inner).judge([case_of("x"), case_of("y")])
    assert [len(cases) for cases in inner.asked] == [4]


# Cached


def test_the_same_case_is_asked_once() -> None:
    inner = Fair(lambda case: Verdict(p=0.3))
    judge = CachedJudge(inner)
    assert judge.judge([case_of("x"), case_of("x"), case_of("y")]) == [Verdict(p=0.3)] * 3
    assert judge.judge([case_of("y"), case_of("z")]) == [Verdict(p=0.3)] * 2
    assert [[c.answers[0] for c in cases] for cases in inner.asked] == [["x", "y"], ["z"]]
    assert judge.hits == 2


def test_what_failed_is_not_remembered() -> None:
    verdicts = iter([Verdict(void="lost"), Verdict(p=0.9)])
    judge = CachedJudge(Fair(lambda case: next(verdicts)))
    assert judge.judge([case_of("x")])[0].void == "lost"
    assert judge.judge([case_of("x")])[0].p == 0.9
    assert judge.judge([case_of("x")])[0].p == 0.9


def test_the_memory_is_bounded_and_what_is_used_stays() -> None:
    inner = Fair(lambda case: Verdict(p=0.3))
    judge = CachedJudge(inner, size=2)
    for word in "xyxzx":
        judge.judge([case_of(word)])
    assert [cases[0].answers[0] for cases in inner.asked] == ["x", "y", "z"]
    judge.judge([case_of("y")])
    assert len(inner.asked) == 4
    # More at once than it can keep: each still gets its own verdict.
    named = CachedJudge(Fair(lambda case: Verdict(p=float(case.answers[0]))), size=2)
    assert [v.p for v in named.judge([case_of(f"0.{n}") for n in range(1, 8)])] == [n / 10 for n in range(1, 8)]
    with pytest.raises(ValueError, match="1 or more"):
        CachedJudge(inner, size=0)


def test_another_judge_has_another_memory() -> None:
    inner = Fair(lambda case: Verdict(p=0.3))
    judge = CachedJudge(inner)
    judge.judge([case_of("x")])
    judge.name = "another"
    judge.judge([case_of("x")])
    assert len(inner.asked) == 2


# Patient


class Flaky:
    """Fails as often as it is told to, in the way it is told."""

    name = "flaky"

    def __init__(self, *failures: Any) -> None:
        self.failures = list(failures)
        self.sizes: list[int] = []

    def judge(self, cases: Sequence[Case]) -> Any:
        self.sizes.append(len(cases))
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        return [Verdict(p=0.8)] * len(cases) if failure is None else failure


@pytest.mark.parametrize(
    "failure", [OSError("no route"), TimeoutError("late"), KeyError("x"), [], [Verdict()] * 3, [None, 0.5], None]
)
def test_a_failure_is_tried_again(failure: Any) -> None:
    slept: list[float] = []
    judge = PatientJudge(Flaky(failure), sleep=slept.append)
    assert judge.judge([case_of("x"), case_of("y")]) == [Verdict(p=0.8)] * 2
    assert len(slept) == judge.retries == (failure is not None)


def test_what_fails_for_good_is_void_with_its_reason() -> None:
    slept: list[float] = []
    judge = PatientJudge(Flaky(*[OSError("no route")] * 9), tries=4, delay=2.0, sleep=slept.append)
    (verdict,) = judge.judge([case_of("x")])
    assert verdict.void == "flaky failed: OSError: no route"
    # 2, 4 and 8 seconds, each between half and one and a half times as long.
    assert [0.5 <= wait / usual < 1.5 for wait, usual in zip(slept, (2, 4, 8), strict=True)] == [True] * 3


def test_waiting_grows_varies_and_is_bounded() -> None:
    def waits(seed: int, **settings: Any) -> list[float]:
        slept: list[float] = []
        judge = PatientJudge(Flaky(*[OSError()] * 20), tries=9, sleep=slept.append, seed=seed, **settings)
        judge.judge([case_of("x")])
        return slept

    first = waits(0, longest=1e9)
    assert len(first) == 8
    assert all(0.5 * 2**n <= wait < 1.5 * 2**n for n, wait in enumerate(first))
    assert waits(0, longest=1e9) == first != waits(1, longest=1e9)
    assert max(waits(0, longest=5.0)) == 5.0


def test_only_what_is_open_is_asked_again_and_alone_at_last() -> None:
    poison = case_of("poison")
    calls: list[int] = []

    class Fussy:
        name = "fussy"

        def judge(self, cases: Sequence[Case]) -> list[Verdict]:
            calls.append(len(cases))
            if poison in cases:
                raise ValueError("too long")
            return [Verdict(p=0.8)] * len(cases)

    judge = PatientJudge(Fussy(), tries=3, sleep=lambda s: None)
    found = judge.judge([case_of("x"), poison, case_of("y")])
    assert [bool(v.void) for v in found] == [False, True, False]
    assert calls == [3, 3, 1, 1, 1]


def test_a_void_verdict_is_tried_again_by_itself() -> None:
    inner = Flaky([Verdict(p=0.1), Verdict(void="mumbled")])
    judge = PatientJudge(inner, sleep=lambda s: None)
    assert judge.judge([case_of("x"), case_of("y")]) == [Verdict(p=0.1), Verdict(p=0.8)]
    assert inner.sizes == [2, 1]


def test_who_takes_too_long_gave_no_verdict() -> None:
    release = threading.Event()

    class Slow:
        name = "slow"

        def judge(self, cases: Sequence[Case]) -> list[Verdict]:
            release.wait()
            return [Verdict()] * len(cases)

    judge = PatientJudge(Slow(), tries=2, timeout=0.01, sleep=lambda s: None)
    (verdict,) = judge.judge([case_of("x")])
    release.set()
    assert verdict.void == "slow failed: TimeoutError: no verdict within 0.01 s"
    assert PatientJudge(Flaky(OSError("x")), timeout=60.0, sleep=lambda s: None).judge([case_of("x")])[0].p == 0.8


def test_many_cases_that_hang_take_no_longer_than_one() -> None:
    """Asked one by one at last, each had the whole time to itself: 1024 cases at 30 s were 8 hours of waiting."""
    now = [0.0]
    calls: list[int] = []

    class Slow:
        name = "slow"

        def judge(self, cases: Sequence[Case]) -> list[Verdict]:
            calls.append(len(cases))
            # Together they take longer than there is; alone 4 of 10 s each, which leaves time for three of them.
            now[0] += 4.0 * len(cases)
            if len(cases) > 1:
                raise TimeoutError("late")
            return [Verdict(p=0.8)]

    judge = PatientJudge(Slow(), timeout=10.0, sleep=lambda s: None, clock=lambda: now[0])
    found = judge.judge([case_of(str(n)) for n in range(50)])
    assert calls == [50, 50, 50, 1, 1, 1]
    assert [v.p for v in found[:3]] == [0.8] * 3
    assert {v.void for v in found[3:]} == {"slow failed: TimeoutError: no verdict within 10 s"}


def test_a_void_verdict_may_be_final_and_a_failure_never_is() -> None:
    slept: list[float] = []
    inner = Flaky(OSError("no route"), [Verdict(p=0.1), Verdict(void="mumbled")])
    judge = PatientJudge(inner, is_void_final=True, sleep=slept.append)
    assert judge.judge([case_of("x"), case_of("y")]) == [Verdict(p=0.1), Verdict(void="mumbled")]
    assert (inner.sizes, len(slept)) == ([2, 2], 1)


@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("leaving", [KeyboardInterrupt, PlayerLeft])
def test_ctrl_c_is_not_a_failure(leaving: type[BaseException], timeout: float | None) -> None:
    """With a timeout it ended the judge's own thread, and who had left was asked three times more."""
    asked: list[int] = []

    class Interrupted:
        name = "interrupted"

        def judge(self, cases: Sequence[Case]) -> list[Verdict]:
            asked.append(len(cases))
            raise leaving

    with pytest.raises(leaving):
        PatientJudge(Interrupted(), timeout=timeout).judge([case_of("x")])
    assert asked == [1]


@pytest.mark.parametrize("settings", [{"tries": 0}, {"delay": -1.0}, {"timeout": 0.0}, {"longest": -1.0}])
def test_numbers_out_of_range(settings: Any) -> None:
    with pytest.raises(ValueError, match="out of range"):
        PatientJudge(Flaky(), **settings)


# Counted


def test_abstentions_and_failures_are_counted_by_report() -> None:
    verdicts = [Verdict(abstained=True), Verdict(p=1.0), Verdict(void="x"), Verdict(p=0.0)]
    told = iter(verdicts)
    judge = CountedJudge(Fair(lambda case: next(told)))
    assert judge.judge([case_of(w) for w in "wxyz"]) == verdicts
    assert judge.report() == {"abstained": 0.25, "void": 0.25}
    assert judge.report() == {}
    assert judge.counts.count("void") == 4


def test_a_judge_that_breaks_is_counted_as_void() -> None:
    """It was made void further out, where nothing counts: the metrics said that the judge had not been asked."""
    judge = CountedJudge(SwappedJudge(Flaky(*[OSError("no route")] * 3)))
    found = judge.judge([case_of("x"), case_of("y")])
    assert [v.void for v in found] == ["swapped:flaky failed: OSError: no route"] * 2
    assert judge.report() == {"abstained": 0.0, "void": 1.0}


def test_what_is_inside_reports_through_all_that_is_around() -> None:
    swapped = SwappedJudge(Fair(lambda case: Verdict(p=0.6)))
    judge = CountedJudge(CachedJudge(PatientJudge(swapped)))
    judge.judge([case_of("x")])
    assert report_of(judge).keys() == {"position_bias", "side_bias", "agreement", "abstained", "void"}
    assert isinstance(judge, ReportingJudge)
    assert isinstance(judge, Judge)
    assert report_of(swapped.inner) == {}
    assert report_of(None) == {}


def test_counts_of_nothing() -> None:
    counts = Counts()
    assert (counts.mean("x"), counts.count("x"), counts.take()) == (0.0, 0, {})


def test_equal_cases_are_equal_whoever_made_them() -> None:
    inner = Fair(lambda case: Verdict(p=0.3))
    judge = CachedJudge(inner)
    judge.judge([case_of("x"), replace(case_of("x")), replace(case_of("x"), evidence="more")])
    assert len(inner.asked[0]) == 2
