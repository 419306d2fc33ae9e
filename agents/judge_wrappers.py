"""Judges around judges: asked twice with the sides exchanged, remembered, tried again, counted.

Chosen: each does one thing and passes on what the one inside reports. Left out: a cache on disk.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from sparring.envs import Case, Judge, Verdict, uniform
from sparring.envs.judging import decide

from .hearing import digest, mirrored
from .judge_counts import Counts, report_of


class SwappedJudge:
    """Asks twice, the second time with the sides exchanged, and takes the mean.

    `report` holds, over the cases with two verdicts: `position_bias`, by how much more than a half whoever is listed
    first is believed (0 without bias); `side_bias`, by how much more than a half seat 0 is believed once that is
    averaged out (0 on cases in which the right side is balanced); and `agreement`, how often both verdicts name the
    same seat, or neither.
    """

    def __init__(self, judge: Judge) -> None:
        """Ask `judge`."""
        self.inner = judge
        self.name = f"swapped:{judge.name}"
        self.counts = Counts()

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case; void if one of the two is."""
        verdicts = self.inner.judge([*cases, *map(mirrored, cases)])
        return [self._both(*pair) for pair in zip(verdicts[: len(cases)], verdicts[len(cases) :], strict=True)]

    def _both(self, straight: Verdict, crossed: Verdict) -> Verdict:
        if straight.void or crossed.void:
            return Verdict(void=straight.void or crossed.void)
        first, second = straight.p, 1 - crossed.p
        self.counts.add(
            position_bias=(first - second) / 2,
            side_bias=(first + second) / 2 - 0.5,
            agreement=float(_named(first) == _named(second)),
        )
        return Verdict(p=(first + second) / 2, abstained=straight.abstained and crossed.abstained)

    def report(self) -> Mapping[str, float]:
        """Return the biases, and what the judge inside reports."""
        return {**report_of(self.inner), **self.counts.take()}


def _named(p: float) -> int:
    return (p > 0.5) - (p < 0.5)


class CachedJudge:
    """Remembers verdicts by the content of the case and the judge's name; the least lately used go first.

    A case without a verdict is not remembered. Equal cases of one call are asked once.
    """

    def __init__(self, judge: Judge, *, size: int = 1 << 16) -> None:
        """Remember at most `size` verdicts of `judge`."""
        if size < 1:
            raise ValueError(f"size must be 1 or more, not {size}")
        self.inner = judge
        self.name = judge.name
        self.size = size
        self.hits = 0
        """Cases that the judge was spared."""
        self._known: OrderedDict[tuple[str, str], Verdict] = OrderedDict()

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case."""
        keys = [(self.name, digest(case)) for case in cases]
        new = {key: case for key, case in zip(keys, cases, strict=True) if key not in self._known}
        self.hits += len(cases) - len(new)
        asked = self.inner.judge(list(new.values())) if new else []
        found = dict(zip(new, asked, strict=True))
        verdicts = [found[key] if key in found else self._recall(key) for key in keys]
        for key, verdict in found.items():
            if not verdict.void:
                self._known[key] = verdict
        while len(self._known) > self.size:
            self._known.popitem(last=False)
        return verdicts

    def _recall(self, key: tuple[str, str]) -> Verdict:
        self._known.move_to_end(key)
        return self._known[key]

    def report(self) -> Mapping[str, float]:
        """Return what the judge inside reports."""
        return report_of(self.inner)


class PatientJudge:
    """Asks again after a failure, each time twice as long later; what stays without a verdict is void, never lost.

    A failure is an exception, no answer within `timeout`, a wrong number of verdicts, or a void one. The last time the
    open cases are asked one by one, so that one of them cannot spoil the others; they share one `timeout`, so that many
    of them cannot take many times as long. Ctrl-C is not held up.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        tries: int = 4,
        delay: float = 1.0,
        longest: float = 60.0,
        timeout: float | None = None,
        is_void_final: bool = False,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 0,
    ) -> None:
        """Be patient with `judge`.

        Args:
            judge: who is asked.
            tries: how often in all.
            delay: seconds before the second time; they double from there, and each is between half and one and a half
                times as long by chance, so that many who failed together do not come back together.
            longest: most seconds to wait.
            timeout: seconds that one call may take; a thread that takes longer is left to itself. None: no limit.
            is_void_final: whether a void verdict is taken as it is, of a judge that has itself tried what could help.
            sleep: waits that many seconds; None: `time.sleep`.
            clock: seconds, for what is left of `timeout`.
            seed: of the chance in waiting.
        """
        if tries < 1 or delay < 0 or longest < 0 or (timeout is not None and timeout <= 0):
            raise ValueError(f"tries {tries}, delay {delay}, longest {longest} or timeout {timeout} is out of range")
        self.inner = judge
        self.name = judge.name
        self.tries, self.delay, self.longest, self.timeout = tries, delay, longest, timeout
        self.is_void_final = is_void_final
        self.sleep = sleep or time.sleep
        self.clock = clock
        self.seed = seed
        self.retries = 0
        """Times that it was asked again."""

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case."""
        found = [Verdict(void=f"{self.name} was not asked")] * len(cases)
        waiting = list(range(len(cases)))
        for attempt in range(self.tries):
            if not waiting:
                break
            if attempt:
                self._wait(attempt)
            alone = attempt == self.tries - 1 and attempt > 0
            end = None if self.timeout is None else self.clock() + self.timeout
            failed = []
            for group in [[i] for i in waiting] if alone else [waiting]:
                verdicts, is_answer = self._ask([cases[i] for i in group], end)
                for i, verdict in zip(group, verdicts, strict=True):
                    found[i] = verdict
                    failed += [i] if verdict.void and not (is_answer and self.is_void_final) else []
            waiting = failed
        return found

    def _wait(self, attempt: int) -> None:
        self.retries += 1
        chance = 0.5 + uniform(self.seed, self.retries)
        self.sleep(min(self.longest, self.delay * 2 ** (attempt - 1) * chance))

    def _ask(self, cases: list[Case], end: float | None) -> tuple[Sequence[Verdict], bool]:
        """Return verdicts, void ones where there is no answer by `end`, and whether the judge gave them itself."""
        try:
            verdicts = self._in_time(cases, end)
        except Exception as error:  # noqa: BLE001
            return [Verdict(void=f"{self.name} failed: {type(error).__name__}: {error}"[:300])] * len(cases), False
        if len(verdicts) != len(cases) or not all(isinstance(verdict, Verdict) for verdict in verdicts):
            return [Verdict(void=f"{self.name} did not give one verdict a case")] * len(cases), False
        return verdicts, True

    def _in_time(self, cases: list[Case], end: float | None) -> Sequence[Verdict]:
        if end is None:
            return self.inner.judge(cases)
        if (left := end - self.clock()) > 0 and (verdicts := within(left, lambda: self.inner.judge(cases))) is not None:
            return verdicts
        raise TimeoutError(f"no verdict within {self.timeout:g} s")

    def report(self) -> Mapping[str, float]:
        """Return what the judge inside reports."""
        return report_of(self.inner)


def within(seconds: float, call: Callable[[], Sequence[Verdict]]) -> Sequence[Verdict] | None:
    """Return what a call returns, None after so many seconds. Raises what it raises."""
    returned: list[Sequence[Verdict]] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001
            # A person who leaves, too: it would end this thread alone, and seem to be silence.
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    return returned[0] if returned else None


class CountedJudge:
    """Counts verdicts: `abstained` and `void`, the shares of cases without an answer and without a verdict."""

    def __init__(self, judge: Judge) -> None:
        """Count the verdicts of `judge`."""
        self.inner = judge
        self.name = judge.name
        self.counts = Counts()

    def judge(self, cases: Sequence[Case]) -> Sequence[Verdict]:
        """Return one verdict a case; one that the judge inside breaks on is void, and counts as that."""
        verdicts = decide(self.inner, cases)
        for verdict in verdicts:
            self.counts.add(abstained=float(verdict.abstained), void=float(bool(verdict.void)))
        return verdicts

    def report(self) -> Mapping[str, float]:
        """Return the shares, and what the judge inside reports."""
        return {**report_of(self.inner), **self.counts.take()}
