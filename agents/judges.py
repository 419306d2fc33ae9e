"""Judges: a rule, a trained network, any player, a majority. `make_judge` makes them by name.

Chosen: whoever plays can judge, since a case is a game of one move. Left out: judges that ask back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sparring.envs import Case, Judge, Verdict, ask, mix, near, read_move
from sparring.envs.judging import decide
from sparring.envs.quote_judge import QuoteJudge

from .agent import Agent, Policy, Prompt
from .endpoint import TIME_LIMIT
from .endpoint_name import is_endpoint
from .hearing import LETTERS, UNSURE, Heard, Hearing, digest
from .judge_counts import Counts, reported
from .judge_wrappers import CachedJudge, CountedJudge, PatientJudge, SwappedJudge
from .players import HumanAgent

LEAST_MASS = 1e-3
"""Probability that both answers must have together, or their odds say nothing: it was going to say something else."""


class AgentJudge:
    """Any player as a judge, asked for [a] or [b].

    By "odds", the verdict is the probability of the one letter among both, which a `Policy` can say exactly; by
    "words", what it answers is read by the parser, [unsure] is an abstention, and what cannot be read is asked again
    with other noise. Who gives no answer gives no verdict.
    """

    def __init__(self, agent: Agent, *, by: str = "auto", tries: int = 3, name: str = "") -> None:
        """Let `agent` judge.

        Args:
            agent: who is asked.
            by: "odds", "words", or "auto": odds where the agent can say them.
            tries: how often an unreadable answer is asked for in all.
            name: how tables call this judge; the agent's name if empty.

        Raises ValueError for odds of an agent that has none, and for numbers out of range.
        """
        if by not in ("auto", "odds", "words"):
            raise ValueError(f"unknown by {by!r}.{near(by, ('auto', 'odds', 'words'))}")
        if by == "odds" and not isinstance(agent, Policy):
            raise ValueError(f"{agent.name} cannot say how probable its moves are; let it judge by='words'")
        if tries < 1:
            raise ValueError(f"tries must be 1 or more, not {tries}")
        self.agent = agent
        self.is_by_odds = by == "odds" or (by == "auto" and isinstance(agent, Policy))
        self.tries = tries
        self.name = name or agent.name
        self.counts = Counts()
        self._game = Hearing(may_abstain=not self.is_by_odds)

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case. Raises what the agent raises; see `PatientJudge`."""
        return self._by_odds(cases) if self.is_by_odds else self._by_words(cases)

    def report(self) -> Mapping[str, float]:
        """Return `mass`, the probability that it named a letter at all, and `unread`, the share asked for again."""
        return self.counts.take()

    def _by_odds(self, cases: Sequence[Case]) -> list[Verdict]:
        assert isinstance(self.agent, Policy)
        rows = self.agent.move_probabilities([self._prompt(case, 0) for case in cases])
        return [self._weighed(float(first), float(second)) for first, second in rows]

    def _weighed(self, first: float, second: float) -> Verdict:
        mass = first + second
        if not (math.isfinite(mass) and mass >= LEAST_MASS):
            return Verdict(void=f"{self.name} gives both answers together a probability of {mass:.1e}: it says neither")
        self.counts.add(mass=mass)
        return Verdict(p=min(max(first / mass, 0.0), 1.0))

    def _by_words(self, cases: Sequence[Case]) -> list[Verdict]:
        found: list[Verdict] = [Verdict(void=f"{self.name} gave no answer")] * len(cases)
        faults = set[int]()
        open_cases = list(range(len(cases)))
        for attempt in range(self.tries):
            replies = self.agent.reply([self._prompt(cases[i], attempt) for i in open_cases])
            for i, reply in zip(open_cases, replies, strict=True):
                found[i] = Verdict(void=reply.fault) if reply.fault else self._read(reply.text)
                # Whoever has no answer at all, a server for instance, has tried by itself.
                faults.update([i] if reply.fault else [])
            open_cases = [i for i in open_cases if found[i].void and i not in faults]
            if not open_cases:
                break
        return found

    def _read(self, text: str) -> Verdict:
        reading = read_move(text, self._game.moves)
        self.counts.add(unread=float(reading.move is None))
        if reading.move is None:
            return Verdict(void=f"{self.name} gave no verdict: {reading.detail}")
        if reading.move == UNSURE:
            return Verdict(abstained=True)
        return Verdict(p=1.0 if reading.move == LETTERS[0] else 0.0)

    def _prompt(self, case: Case, attempt: int) -> Prompt:
        text = self._game.prompt(Heard(case), 0)
        # By what the case says, so that a verdict does not depend on what was judged before it.
        noise = mix(int(digest(case)[:16], 16), attempt)
        return ask(self._game, text, 0, self._game.moves, noise=noise)


class MajorityJudge:
    """The votes of several judges: `p` is the share that finds for seat 0.

    Who abstains, is exactly undecided or fails has no vote; with no vote at all the majority abstains, and it is void
    where every judge failed.
    """

    def __init__(self, judges: Sequence[Judge], *, name: str = "majority") -> None:
        """Let `judges` vote. Raises ValueError if there are none."""
        if not judges:
            raise ValueError("a majority needs a judge or more")
        self.judges = tuple(judges)
        self.name = name
        self.counts = Counts()

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case."""
        rows = [decide(judge, cases) for judge in self.judges]
        return [self._count(votes) for votes in zip(*rows, strict=True)]

    def report(self) -> Mapping[str, float]:
        """Return `unanimous`, the share of cases in which all votes agreed, and what the voters report."""
        return {**reported(self.judges), **self.counts.take()}

    def _count(self, verdicts: tuple[Verdict, ...]) -> Verdict:
        if all(verdict.void for verdict in verdicts):
            return Verdict(void=verdicts[0].void)
        votes = [v.p > 0.5 for v in verdicts if not (v.void or v.abstained) and v.p != 0.5]
        if not votes:
            return Verdict(abstained=True)
        self.counts.add(unanimous=float(len(set(votes)) == 1))
        return Verdict(p=sum(votes) / len(votes))


def _rule(_: str, settings: dict[str, Any]) -> Judge:
    return QuoteJudge()


def _human(_: str, settings: dict[str, Any]) -> Judge:
    return AgentJudge(HumanAgent(name="judge"), by="words", tries=1, name="human")


def _model(path: str, settings: dict[str, Any]) -> Judge:
    from .model_judge import ModelJudge

    return CachedJudge(ModelJudge.load(Path(path).expanduser()))


def _by(how: str, kind: str) -> Callable[[str, dict[str, Any]], Judge]:
    def make(spec: str, settings: dict[str, Any]) -> Judge:
        from .loading import make_agent, settings_of

        rest = _without(settings, "timeout")
        if is_endpoint(spec):
            # A server minds the time of each request, and tries again by itself: a slow one must not void a batch.
            agent = make_agent(spec, **settings_of(spec, _minded(settings.get("timeout")) | rest))
            return _patient(AgentJudge(agent, by=how, name=f"{kind}:{spec}"), rest, tries=1)
        judge = AgentJudge(make_agent(spec, **settings_of(spec, rest)), by=how, name=f"{kind}:{spec}")
        # A model asked once more says the same, for its noise is the case's own.
        return _patient(judge, settings, is_void_final=True)

    return make


def _minded(timeout: float | None) -> dict[str, float]:
    """Return the settings of a server that may take so long for a request, and for a prompt no less than by default."""
    return {} if timeout is None else {"timeout": timeout, "time_limit": max(timeout, TIME_LIMIT)}


def _swapped(spec: str, settings: dict[str, Any]) -> Judge:
    return SwappedJudge(_make(spec, settings))


def _majority(specs: str, settings: dict[str, Any]) -> Judge:
    return MajorityJudge([_make(spec, settings) for spec in specs.split("+")], name=f"majority:{specs}")


JUDGES: dict[str, Callable[[str, dict[str, Any]], Judge]] = {
    "rule": _rule,
    "human": _human,
    "model": _model,
    "lm": _by("odds", "lm"),
    "words": _by("words", "words"),
    "swapped": _swapped,
    "majority": _majority,
}
"""How to make a judge, by the word before the colon; it is given what stands after it."""
ALONE = ("rule", "human")
PLAYERS = ("lm", "words")
"""Judges that are players of `make_agent`."""


class JudgeName(NamedTuple):
    """The name of a judge that no other judge stands inside."""

    kind: str
    """The word before the colon; empty for a judge of one's own."""
    rest: str
    """What stands after the colon; the whole name of a judge of one's own."""

    @property
    def is_person(self) -> bool:
        """Whether a person at the terminal is asked."""
        return self.kind == "human" or (self.kind in PLAYERS and self.rest == "human")


def judge_names(spec: str) -> list[JudgeName]:
    """Return the names of the judges that a name is made of.

    >>> [name.rest for name in judge_names("swapped:majority:rule+words:org/superhuman+my.py:human")]
    ['', 'org/superhuman', 'my.py:human']
    """
    kind, _, rest = spec.partition(":")
    if kind == "swapped":
        return judge_names(rest)
    if kind == "majority":
        return [name for part in rest.split("+") for name in judge_names(part)]
    return [JudgeName(kind, rest) if kind in JUDGES else JudgeName("", spec)]


def check_odds(spec: str) -> None:
    """Raise ValueError for a judge by the odds of a model on a server, which says none."""
    for kind, rest in judge_names(spec):
        if kind == "lm" and is_endpoint(rest):
            raise ValueError(f"judge {kind}:{rest}: a server does not say its odds; take words:{rest}")


def make_judge(spec: str, *, timeout: float | None = None, **settings: Any) -> CountedJudge:
    """Return the judge called `spec`, counting its verdicts.

    | spec | is |
    |---|---|
    | `rule` | `QuoteJudge`: verified quotes decide |
    | `model:FILE.npz` | `ModelJudge`, trained by `scripts/train_judge.py` |
    | `lm:MODEL` | a language model, a directory or a hub name, by the odds of its two answers |
    | `words:PLAYER` | any player of `make_agent`, by what it answers |
    | `human` | a person at the terminal |
    | `swapped:SPEC` | SPEC asked twice, with the sides exchanged |
    | `majority:SPEC+SPEC+...` | the votes of several; no name in it may hold a + |
    | `FILE.py:NAME`, `MODULE:NAME` | your own: a judge, or a function that makes one |

    Args:
        spec: see above.
        timeout: seconds that models and judges of your own may take for a call, a batch of cases, and servers for each
            request, before they are asked again and then left without a verdict; None: no limit, but a server's own.
        settings: of language models, see `LanguageModelAgent.from_pretrained`.

    Raises ValueError, naming what is near, if there is no such judge.
    """
    check_odds(spec)
    return CountedJudge(_make(spec, settings | {"timeout": timeout}))


def _make(spec: str, settings: dict[str, Any]) -> Judge:
    kind, colon, rest = spec.partition(":")
    if kind in JUDGES:
        if bool(rest) == (kind in ALONE) or (colon and not rest):
            said = "stands by itself" if kind in ALONE else f"needs what follows it, as in {kind}:..."
            raise ValueError(f"judge {spec!r}: {kind!r} {said}")
        return JUDGES[kind](rest, settings)
    if kind.endswith(".py") or (colon and "." in kind):
        return _own(spec, settings)
    raise ValueError(f"unknown judge {spec!r}.{near(kind, JUDGES)}")


def _own(spec: str, settings: Mapping[str, Any]) -> Judge:
    """Return a user's judge: an instance, or what a function of no arguments returns."""
    from sparring.envs.registry import load_module

    module_name, _, attribute = spec.rpartition(":")
    module = load_module(module_name)
    if not hasattr(module, attribute):
        raise ValueError(f"{module_name} has no {attribute!r}.{near(attribute, vars(module))}")
    found: Any = getattr(module, attribute)
    is_maker = isinstance(found, type) or (callable(found) and not isinstance(found, Judge))
    judge = found() if is_maker else found
    if not isinstance(judge, Judge):
        raise ValueError(f"{spec} is no judge: it needs a name and judge(cases); see sparring.envs.Judge")
    return _patient(judge, settings)


def _patient(judge: Judge, settings: Mapping[str, Any], **more: Any) -> Judge:
    """Return a judge whose failures are tried again, and whose verdicts are remembered."""
    return CachedJudge(PatientJudge(judge, timeout=settings.get("timeout"), **more))


def _without(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != name}
