"""The loop of self-evolution and its parts: funnels, the archive, the probe, the gate, the guard, and the methods."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sparring.agents import LanguageModelAgent, Message, Prompt, Reply, ScriptedAgent, tiny_agent
from sparring.envs import make, programs
from sparring.envs.contest import Contest
from sparring.envs.critic import CriticState
from sparring.envs.letters import Copy
from sparring.envs.proposer_rewards import RULES
from sparring.envs.tasks import Task, make_family
from sparring.selfplay import Learner, Rule, make_rule
from sparring.selfplay import evolve as loop
from sparring.selfplay.advantage import RoleBaseline
from sparring.selfplay.answering import Answer, Desk, majority, pass_at, voting_gain
from sparring.selfplay.archive import Archive, kept_of
from sparring.selfplay.assessment import CRITIQUE, assess, calibration, discernment, judged, question, revise, verdicts
from sparring.selfplay.autonomy import MODULES, autonomy
from sparring.selfplay.ensemble import Ensemble
from sparring.selfplay.evolve import Experience, GenerationReport, Round, Snapshot, draw_method, evolve, step
from sparring.selfplay.evolve_guard import LOOP_RULES, Candidate, judge, loop_guard, shorten, signs, went_back
from sparring.selfplay.funnel import Filter, Funnel, at_most, each, refine, unique
from sparring.selfplay.gate import Gate
from sparring.selfplay.guard import Guard
from sparring.selfplay.guard_rules import METRICS
from sparring.selfplay.imitation import Imitation
from sparring.selfplay.keeps import KEEPS
from sparring.selfplay.pairs import Weighted
from sparring.selfplay.play_method import SelfPlay
from sparring.selfplay.prover_critic import EVERY, between, critic_games, shown
from sparring.selfplay.self_improving import SelfImproving
from sparring.selfplay.self_instruct import Proposal, SelfInstruct, rouge_l, tokens
from sparring.selfplay.self_training import PRESETS, SelfTraining, imitation_steps, seed_data, voted_pairs
from sparring.selfplay.skills import (
    HIDDEN,
    PROBE,
    TRAIN,
    Curriculum,
    Scores,
    Skill,
    probe,
    read_skill,
    weights_of,
    wilson,
)

ADD, COPY = Skill("arithmetic", 0), Skill("copy", 0)
TASK = make_family("arithmetic").draw(np.random.default_rng(0), 0)


@pytest.fixture(scope="module")
def curriculum() -> Curriculum:
    return Curriculum([ADD, COPY], seed=1)


@pytest.fixture(scope="module")
def desk(curriculum: Curriculum) -> Desk:
    return Desk(curriculum.families.values())


def tiny(desk: Desk) -> LanguageModelAgent:
    game = Contest(task=tuple(desk.families.values()), level=0, single=True, skin="brief")
    return tiny_agent(game, hidden=16, layers=1, corpus_games=20, max_new_tokens=6)


def oracle(desk: Desk, curriculum: Curriculum, wrong: float = 0.0) -> ScriptedAgent:
    """Answers right, but for a share of prompts that its noise decides."""
    keys: dict[str, str] = {}
    for skill in curriculum.skills:
        for stream in (PROBE, HIDDEN, TRAIN):
            for number in range(6):
                for task in curriculum.draw(skill, 200, stream=stream, number=number):
                    keys[desk.prompt(task)] = str(desk.families[task.family].solve(task))
    return ScriptedAgent(lambda p: "x" if (p.noise % 1000) / 1000 < wrong else keys[p.text])


def answer(text: str, score: float = 0.0, logprob: float = -1.0, task: Any = TASK) -> Answer:
    return Answer(
        task=task, reply=Reply(text=text, prompt_ids=(1,), ids=(2,), logprobs=(logprob,)), text=text, score=score
    )


# The funnel.


def test_a_funnel_adds_up_and_says_why() -> None:
    funnel = Funnel()
    filters = [
        each("it is odd", lambda n: n % 2 == 0),
        unique("it was there", lambda n: n),
        at_most("enough of its tens", 2, lambda n: n // 10),
    ]
    assert refine([1, 2, 2, 4, 6, 8, 12, 13], filters, funnel) == [2, 4, 12]
    assert funnel.as_dict() == {
        "came": 8,
        "dropped: it is odd": 2,
        "dropped: it was there": 1,
        "dropped: enough of its tens": 2,
        "kept": 3,
    }
    other = Funnel(came=2, dropped={"it is odd": 1})
    funnel.add(other)
    assert (funnel.came, funnel.dropped["it is odd"], funnel.kept) == (10, 3, 4)
    before = [unique("it was there", lambda n: n, seen=[4]), at_most("enough", 2, lambda n: n // 10, seen=[0, 1])]
    for _ in range(2):
        assert refine([4, 6, 8, 12, 13], before) == [6, 12]


def test_a_filter_that_makes_something_up_is_refused() -> None:
    with pytest.raises(ValueError, match="drops -1 of 1; a filter drops what it was given"):
        refine([1], [Filter("grows", lambda items: [*items, 2])])


# The archive.


def test_an_archive_can_be_audited_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "archive.jsonl"
    archive = Archive(path)
    sample = kept_of(
        Reply(text="7", prompt_ids=(1, 2), ids=(3,)), "3 + 4", method="m", generation=2, task=TASK, why="right"
    )
    archive.add([sample])
    assert Archive(path).samples == [sample]
    assert (sample.method, sample.generation, sample.why, sample.parent) == ("m", 2, "right", "arithmetic-0 by family")
    before = path.read_bytes()
    archive.add([sample, sample])
    assert len(Archive(path)) == len(archive) == 3
    archive.roll_back(1)
    assert Archive(path).samples == archive.samples == [sample, *[replace(sample, accepted=False)] * 2]
    assert path.read_bytes().startswith(before)
    path.write_text('{"prompt": 1}\n')
    with pytest.raises(ValueError, match="line 1 is no sample of an archive"):
        Archive(path)


def test_an_empty_archive_has_nothing_to_train_on() -> None:
    with pytest.raises(ValueError, match="there is nothing to train on"):
        Archive().draw(3, np.random.default_rng(0))
    assert list(imitation_steps(Archive(), 0, 5, 5)) == []


# Skills and the probe.


def test_tasks_are_the_same_for_all_and_never_shared_between_streams(curriculum: Curriculum) -> None:
    again = Curriculum([ADD, COPY], seed=1)
    assert curriculum.draw(COPY, 20, stream=PROBE, number=3) == again.draw(COPY, 20, stream=PROBE, number=3)
    assert curriculum.draw(COPY, 20, stream=PROBE, number=3) != curriculum.draw(COPY, 20, stream=PROBE, number=4)
    assert curriculum.draw(COPY, 20, stream=PROBE) != curriculum.draw(COPY, 20, stream=HIDDEN)
    assert curriculum.draw(COPY, 20, stream=TRAIN) != Curriculum([ADD, COPY], seed=2).draw(COPY, 20, stream=TRAIN)


def test_training_tasks_follow_the_weights(curriculum: Curriculum) -> None:
    """400 tasks, a quarter of them copies: 100, within five standard deviations of 8.7."""
    tasks = curriculum.mixed({ADD: 3.0, COPY: 1.0}, 400, number=1)
    assert abs(sum(task.family == "copy" for task in tasks) - 100) < 44
    assert curriculum.mixed({ADD: 3.0, COPY: 1.0}, 400, number=1) == tasks
    assert {task.family for task in curriculum.mixed({ADD: 1.0, COPY: 0.0}, 50, number=1)} == {"arithmetic"}


def test_a_probe_scores_every_skill(desk: Desk, curriculum: Curriculum) -> None:
    perfect = probe(oracle(desk, curriculum), desk, curriculum, tasks=30, number=1)
    assert perfect.mean == perfect.worst == 1.0
    half = probe(oracle(desk, curriculum, 0.5), desk, curriculum, tasks=100, number=1, samples=4)
    # 400 answers a skill: half of them right, within five standard errors of 0.025.
    assert all(abs(half.accuracy(skill) - 0.5) < 0.125 for skill in curriculum.skills)
    assert half.pass_at(1) == pytest.approx(half.mean)
    assert half.pass_at(4) == pytest.approx(1 - 0.5**4, abs=0.08)
    low, high = half.interval(ADD)
    assert low < half.accuracy(ADD) < high
    assert [row["skill"] for row in perfect.table()] == ["arithmetic-0", "copy-0"]


def test_pass_at_k_by_hand() -> None:
    assert pass_at(2, 1, 4) == pytest.approx(1 - math.comb(3, 2) / math.comb(4, 2))
    assert (pass_at(1, 3, 4), pass_at(4, 1, 4), pass_at(3, 0, 4)) == (0.75, 1.0, 0.0)
    with pytest.raises(ValueError, match="pass@5 needs 5 samples"):
        pass_at(5, 1, 4)


def test_the_next_objective_follows_from_the_scores() -> None:
    """p (1 - p) is 0.25 at one half and 0 at the ends; what has dropped by 0.4 gets 0.4 more."""
    a, b, c, d = (Skill("arithmetic", n) for n in range(4))
    scores = Scores({a: ((0.0,),), b: ((1.0,), (0.0,)), c: ((1.0,),), d: ((1.0, 0.0),)})
    weights = weights_of(scores, {c: 1.0, d: 0.9}, floor=0.01)
    raw = {a: 0.01, b: 0.26, c: 0.01, d: 0.01 + 0.25 + 0.4}
    assert weights == pytest.approx({s: w / sum(raw.values()) for s, w in raw.items()})
    assert wilson(0.5, 10**9)[0] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("arithmetic", "write a family and a level"),
        ("arithmetic-99", "level of arithmetic"),
        ("arithmtic-1", "Did you mean"),
    ],
)
def test_a_word_that_is_no_skill_is_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_skill(word)


# The gate.


def scores(**right: float) -> Scores:
    return Scores({Skill(name, 0): ((value,),) for name, value in right.items()})


def test_the_gate_lets_in_what_is_better_and_forgets_nothing() -> None:
    gate = Gate(margin=0.1)
    assert gate.judge(scores(a=0.5, b=0.5), scores(a=0.7, b=0.45)).accepted
    forgot = gate.judge(scores(a=0.5, b=0.5), scores(a=0.9, b=0.3))
    assert forgot == (False, "b-0 drops by 0.200, more than 0.1")
    same = gate.judge(scores(a=0.5, b=0.5), scores(a=0.5, b=0.5))
    assert not same.accepted
    assert "gains +0.000" in same.why
    with pytest.raises(ValueError, match="different skills"):
        gate.judge(scores(a=0.5), scores(b=0.5))


def test_a_drop_of_the_margin_itself_is_let_in() -> None:
    """0.8 - 0.7 is 0.10000000000000009."""
    gate = Gate(margin=0.1)
    assert gate.judge(scores(a=0.8, b=0.5), scores(a=0.7, b=0.9)).accepted
    assert not gate.judge(scores(a=0.8, b=0.5), scores(a=0.699, b=0.9)).accepted


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_is_not_finite_is_never_let_in(name: str) -> None:
    good, odd = {"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.9} | {name: math.nan}
    assert not Gate(gain=-1.0).judge(scores(**good), scores(**odd)).accepted
    assert not Gate(gain=-1.0).judge(scores(**odd), scores(**good)).accepted


# The loop.


class Teacher:
    """Imitates right answers, or wrong ones on the turns that are named."""

    name = "teacher"
    modules: ClassVar[dict[str, str]] = {}

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.bad = bad
        self.seen: list[Round] = []

    def gather(self, round: Round) -> Experience:
        self.seen.append(round)
        tasks = round.curriculum.mixed(round.weights, 64, number=round.generation)
        wrong = "zzz" if round.generation in self.bad else None
        items = [Weighted(round.desk.demonstrate(round.agent, task, wrong), 1.0) for task in tasks]
        return Experience([step(Imitation(), items)] * 30, metrics={"told": 1.0})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def run(desk: Desk, curriculum: Curriculum, method: Any, **settings: Any) -> list[GenerationReport]:
    agent = tiny(desk)
    learner = Learner(agent, lr=2e-2, betas=(0.9, 0.99))
    settings = {"probe_tasks": 40, "hidden_tasks": 20, **settings}
    return list(evolve(agent, learner, method, curriculum, **settings))


def are_equal(one: Snapshot, other: Snapshot) -> bool:
    """Whether weights, optimizer and counters are the same to the bit."""
    names = [{part: list(named) for part, named in each.tensors.items()} for each in (one, other)]
    return (
        one.state == other.state
        and names[0] == names[1]
        and all(t.equal(other.tensors[part][n]) for part, named in one.tensors.items() for n, t in named.items())
    )


def test_a_seeded_bad_update_is_rolled_back_to_the_bit(desk: Desk, curriculum: Curriculum) -> None:
    """The second generation is taught nonsense: the gate says so, and the policy is what it was."""
    learner = Learner(tiny(desk), lr=2e-2, betas=(0.9, 0.99))
    given: dict[str, Any] = {"generations": 3, "gate": Gate(margin=0.05), "probe_tasks": 40, "hidden_tasks": 20}
    found, held = [], []
    for report in evolve(learner.agent, learner, Teacher(bad=[2]), curriculum, **given):
        found.append(report)
        held.append(Snapshot(learner))
    assert [report.generation for report in found] == [0, 1, 2, 3]
    assert found[1].admission.accepted, found[1].admission.why
    assert not found[2].admission.accepted
    assert [are_equal(*held[n : n + 2]) for n in range(3)] == [False, True, not found[3].admission.accepted]
    assert found[2].hidden == found[1].hidden
    assert found[2].after.mean < found[2].before.mean
    # Without the gate it stays.
    loose = run(desk, curriculum, Teacher(bad=[2]), generations=2)
    assert loose[2].hidden.mean < loose[1].hidden.mean


def test_the_evaluation_writes_the_next_objective(desk: Desk, curriculum: Curriculum) -> None:
    """The first objective too: what the policy can do before the first generation is known."""
    teacher = Teacher()
    found = run(desk, curriculum, teacher, generations=2)
    first = {s: found[0].after.accuracy(s) for s in curriculum.skills}
    assert found[0].progress.best == first
    assert teacher.seen[0].weights == found[0].weights == weights_of(found[0].after, {}, bonus=1.0)
    best = {s: max(first[s], found[1].before.accuracy(s), found[1].after.accuracy(s)) for s in curriculum.skills}
    assert teacher.seen[1].weights == found[1].weights == weights_of(found[1].after, best, bonus=1.0)
    fixed = Teacher()
    run(desk, curriculum, fixed, generations=2, is_adaptive=False)
    assert fixed.seen[0].weights == fixed.seen[1].weights == {ADD: 0.5, COPY: 0.5}


def test_what_a_candidate_forgot_weighs_more_though_it_was_rolled_back(desk: Desk, curriculum: Curriculum) -> None:
    """By the scores of the policy, which are as before, the next objective would be the one that made it forget."""
    teacher = Teacher(bad=[2])
    found = run(desk, curriculum, teacher, generations=3, gate=Gate(margin=0.05))
    rolled = found[2]
    assert not rolled.admission.accepted
    forgot = max(curriculum.skills, key=lambda s: rolled.before.accuracy(s) - rolled.after.accuracy(s))
    assert rolled.before.accuracy(forgot) - rolled.after.accuracy(forgot) > 0.2
    wanted = weights_of(rolled.before, rolled.progress.best, latest=rolled.after)
    assert teacher.seen[2].weights == rolled.weights == wanted
    assert rolled.weights[forgot] > weights_of(rolled.before, rolled.progress.best, bonus=1.0)[forgot]
    assert all(rolled.progress.best[s] >= rolled.before.accuracy(s) for s in curriculum.skills)


def test_a_snapshot_can_be_gone_back_to_twice(desk: Desk, curriculum: Curriculum) -> None:
    agent = tiny(desk)
    learner = Learner(agent, lr=1e-2)
    kept = Snapshot(learner)
    before = {name: p.detach().clone() for name, p in agent.model.named_parameters()}
    items = [Weighted(desk.demonstrate(agent, TASK), 1.0)]
    for _ in range(2):
        learner.update(items, Imitation())
        assert any((p != before[name]).any() for name, p in agent.model.named_parameters())
        kept.restore()
        assert all((p == before[name]).all() for name, p in agent.model.named_parameters())
        assert learner.updates == 0


# The guard in the loop.


class Harmed(Teacher):
    """A teacher whose generations of some numbers end in harm."""

    def __init__(self, harm: Any, at: Sequence[int]) -> None:
        super().__init__()
        self.harm, self.at = harm, at

    def gather(self, round: Round) -> Experience:
        found = super().gather(round)
        if round.generation in self.at:
            found.steps = [*found.steps, self.harm]
        return found

    @property
    def learner(self) -> Learner:
        return self.seen[0].learner


@torch.no_grad()
def moved(learner: Learner) -> dict[str, float]:
    """All weights at random: what is left babbles."""
    generator = torch.Generator().manual_seed(1)
    for p in learner.agent.model.parameters():
        p.add_(torch.randn(p.shape, generator=generator) * 3 * p.std())
    learner.agent.flush()
    return {}


@torch.no_grad()
def overflow(learner: Learner) -> dict[str, float]:
    """Weights stay finite, and what the model computes from them does not."""
    learner.agent.model.model.norm.weight.fill_(3e38)
    learner.agent.flush()
    return {}


MARK = 1.25


@torch.no_grad()
def mark(learner: Learner) -> dict[str, float]:
    """Changes next to nothing, but can be told from what was before."""
    learner.agent.model.model.norm.weight[0] = MARK
    learner.agent.flush()
    return {}


def no_step(learner: Learner) -> dict[str, float]:
    """What an update reports whose gradient is not finite: it changes nothing."""
    return {"grad_norm": math.nan, "loss": 1.0}


def ctrl_c(learner: Learner) -> dict[str, float]:
    moved(learner)
    raise KeyboardInterrupt


@pytest.mark.parametrize(("harm", "error"), [(ctrl_c, KeyboardInterrupt), (overflow, FloatingPointError)])
def test_what_nobody_has_judged_is_taken_back(harm: Any, error: Any, desk: Desk, curriculum: Curriculum) -> None:
    """Whoever saved the model after Ctrl-C saved half a candidate."""
    learner = Learner(tiny(desk), lr=2e-2, betas=(0.9, 0.99))
    given: dict[str, Any] = {"generations": 3, "probe_tasks": 4, "hidden_tasks": 4}
    loop = evolve(learner.agent, learner, Harmed(harm, [2]), curriculum, **given)
    assert [next(loop).generation for _ in range(2)] == [0, 1]
    good = Snapshot(learner)
    with pytest.raises(error):
        next(loop)
    assert are_equal(Snapshot(learner), good)


class Once(Teacher):
    """Teaches in the first generation only."""

    def gather(self, round: Round) -> Experience:
        found = super().gather(round)
        return found if round.generation == 1 else Experience([])


def test_the_guard_forgets_what_the_gate_turned_away(desk: Desk, curriculum: Curriculum) -> None:
    """The strength of a candidate that was not let in was the best to be compared with, so that the policy itself, as
    good as before, was rolled back."""
    guard = loop_guard()
    assert guard is not None
    found = run(desk, curriculum, Once(), generations=2, guard=guard, gate=Gate(gain=0.95))
    assert found[1].after.mean > found[1].before.mean + 0.3
    assert found[2].after == found[2].before
    assert all(report.admission.why.endswith("not more than 0.95") for report in found[1:])
    assert guard.rollbacks == 0


@pytest.mark.parametrize(
    ("harm", "seen", "gate"),
    [
        (moved, "by the rule strength_drop", None),
        (overflow, "logits is nan, by the rule finite", None),
        (no_step, "grad_norm is nan, by the rule finite", Gate(margin=1.0, gain=-1.0)),
    ],
)
def test_a_broken_candidate_is_rolled_back_and_steps_get_smaller(
    harm: Any, seen: str, gate: Gate | None, desk: Desk, curriculum: Curriculum
) -> None:
    """The second generation breaks. Without a gate nobody else would see; one that lets all in has no say in it."""
    method, guard = Harmed(harm, [2]), loop_guard()
    found = run(desk, curriculum, method, generations=4, guard=guard, gate=gate, hidden_tasks=100)
    assert [report.generation for report in found] == [0, 1, 2, 3, 4]
    broken = found[2]
    assert not broken.admission.accepted
    assert broken.admission.why.startswith("generation 2: ")
    assert seen in broken.admission.why
    assert broken.admission.why.endswith("back to the last good state, with the step at 0.5 of what was set")
    assert broken.hidden == found[1].hidden
    # What is broken has forgotten nothing: the next objective is that of the policy.
    assert broken.weights == weights_of(broken.before, broken.progress.best)
    # What cannot be asked has no probe of its own.
    assert (broken.after == broken.before) == (harm is overflow)
    assert (method.learner.lr, method.learner.factor) == (1e-2, 0.5)
    assert guard is not None
    assert guard.rollbacks == 1
    # It goes on, and learns.
    assert found[3].admission.accepted
    assert found[4].admission.accepted
    assert found[4].hidden.mean > found[1].hidden.mean


@pytest.fixture
def broken_in_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the numbers of marked policies break in the hidden test alone."""

    def asked(agent: Any, *args: Any, stream: int = PROBE, **settings: Any) -> Scores:
        if stream == HIDDEN and agent.model.model.norm.weight[0] == MARK:
            raise FloatingPointError("the model's logits are not finite")
        return probe(agent, *args, stream=stream, **settings)

    monkeypatch.setattr(loop, "probe", asked)


@pytest.mark.usefixtures("broken_in_hidden")
def test_numbers_that_first_break_in_the_hidden_test_are_rolled_back_too(desk: Desk, curriculum: Curriculum) -> None:
    """They ended the run, after the candidate had been let in."""
    method, guard = Harmed(mark, [2]), loop_guard()
    found = run(desk, curriculum, method, generations=3, guard=guard)
    assert [report.admission.accepted for report in found] == [True, True, False, True]
    assert "logits is nan, by the rule finite: back to the last good state" in found[2].admission.why
    assert found[2].hidden == found[1].hidden
    assert found[2].weights == weights_of(found[2].before, found[2].progress.best)
    assert guard is not None
    assert (guard.rollbacks, method.learner.lr) == (1, 1e-2)
    with pytest.raises(FloatingPointError, match=r"generation 2: the model's logits.*; with a guard \(--guard "):
        run(desk, curriculum, Harmed(mark, [2]), generations=3)


@pytest.mark.usefixtures("broken_in_hidden")
def test_what_the_gate_turns_away_takes_no_hidden_test(desk: Desk, curriculum: Curriculum) -> None:
    found = run(desk, curriculum, Harmed(mark, [2]), generations=2, gate=Gate(margin=1.0, gain=0.9))
    assert found[2].admission.why.endswith("not more than 0.9")
    assert found[2].hidden == found[1].hidden


def test_without_a_guard_a_broken_candidate_stays_or_ends_the_run(desk: Desk, curriculum: Curriculum) -> None:
    found = run(desk, curriculum, Harmed(moved, [2]), generations=2)
    assert found[2].admission.accepted
    assert found[2].hidden.mean < found[1].hidden.mean - 0.3
    with pytest.raises(FloatingPointError, match=r"generation 2: the model's logits.*; with a guard \(--guard "):
        run(desk, curriculum, Harmed(overflow, [2]), generations=3)
    with pytest.raises(FloatingPointError, match="with the guard's rule finite as it is by default a run goes back"):
        run(desk, curriculum, Harmed(overflow, [2]), generations=3, guard=loop_guard("warn", ["finite=warn"]))


def test_steps_that_are_far_too_large_end_with_the_reason(desk: Desk, curriculum: Curriculum) -> None:
    """Halving 1e15 helps nothing: all rollbacks are spent, and the policy is the one that it began with."""
    agent = tiny(desk)
    learner, method = Learner(agent, lr=1e15), Teacher()
    before = {name: p.detach().clone() for name, p in agent.model.named_parameters()}
    reports = evolve(
        agent, learner, method, curriculum, generations=9, probe_tasks=4, hidden_tasks=4, guard=loop_guard()
    )
    found = list(reports)
    assert len(found) == 1 + 5 + 1
    assert not any(report.admission.accepted for report in found[1:])
    assert [report.stopped for report in found[:-1]] == [""] * 6
    assert found[-1].stopped == found[-1].admission.why
    assert found[-1].stopped.endswith("stopping, for all 5 rollbacks are spent")
    assert all((p == before[name]).all() for name, p in agent.model.named_parameters())


def test_a_stop_is_the_last_report_and_leaves_the_good_policy(desk: Desk, curriculum: Curriculum) -> None:
    method = Harmed(moved, [2])
    found = run(desk, curriculum, method, generations=4, guard=loop_guard(words=["strength_drop=stop"]))
    assert [report.generation for report in found] == [0, 1, 2]
    assert found[2].stopped.endswith("by the rule strength_drop: stopping")
    assert not found[2].admission.accepted
    assert found[2].hidden == found[1].hidden
    assert method.learner.lr == 2e-2


def test_a_warning_is_said_and_changes_nothing(desk: Desk, curriculum: Curriculum) -> None:
    plain = run(desk, curriculum, Harmed(moved, [2]), generations=3)
    warned = run(desk, curriculum, Harmed(moved, [2]), generations=3, guard=loop_guard("warn"))
    assert [(r.hidden, r.after, r.weights) for r in warned] == [(r.hidden, r.after, r.weights) for r in plain]
    assert all(report.admission.accepted for report in warned)
    assert "by the rule strength_drop" in warned[2].warning
    assert warned[2].warning.endswith("going on")
    assert warned[1].warning == ""


def test_what_was_rolled_back_is_nothing_to_compare_with(desk: Desk, curriculum: Curriculum) -> None:
    """The best strength is that of candidates which the guard let in, in whatever generation."""
    guard = Guard(LOOP_RULES.values(), turn="generation")
    guard.begin({"strength": 0.2})
    for generation, strength in enumerate((0.5, 0.6, 0.7), start=1):
        assert not guard.check(generation, {"strength": strength}).message
        guard.trust()
    assert guard.check(4, {"strength": 0.1, "grad_norm": 5.0}).action == "rollback"
    guard.rolled_back()
    assert "0.7" in guard.check(5, {"strength": 0.35}).message
    assert not guard.check(6, {"strength": 0.45}).message


def test_a_snapshot_leaves_the_steps_as_small_as_a_guard_made_them(desk: Desk) -> None:
    """Methods that train from the first policy went back to its learning rate too."""
    learner = Learner(tiny(desk), lr=1e-2)
    start = Snapshot(learner)
    shorten(learner, 0.5)
    shorten(learner, 0.25)
    start.restore()
    assert (learner.lr, learner.factor) == (2.5e-3, 0.25)


def test_the_guard_is_told_of_the_updates_and_of_the_probe(desk: Desk, curriculum: Curriculum) -> None:
    """Of ten answers two cannot be read and three are no letters; the mean length is by hand."""
    skill = Skill("copy", 0)
    texts = iter(["a b", "", "<think>", "12", "7", "!", "d c", "a", "b", "c"])

    class Says(ScriptedAgent):
        def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
            return [Reply(text=next(texts), ids=(1,) * n) for n, _ in enumerate(prompts)]

    found = probe(Says(lambda p: ""), desk, Curriculum([skill]), tasks=10, number=0)
    assert (found.illegal_rate, found.reply_tokens) == (0.5, 4.5)
    told = signs({"update/grad_norm": 2.0, "update/loss": 3.0, "updates": 4.0, "reply_tokens": 99.0}, found)
    assert told == {
        "grad_norm": 2.0,
        "loss": 3.0,
        "illegal_rate": 0.5,
        "reply_tokens": 4.5,
        "strength": found.mean,
    }
    assert told.keys() <= METRICS.keys()
    assert math.isnan(signs({}, None)["logits"])


def test_the_guard_is_told_of_proposals_and_of_how_far_wrong_answers_are_apart() -> None:
    """Of four answers half are right: 2.5 distinct ones are 1.5 beyond the first for one half."""
    told = signs({"valid": 0.9, "distinct_answers": 2.5, "train_accuracy": 0.5}, scores(a=0.5))
    assert (told["valid"], told["wrong_spread"]) == (0.9, 3.0)
    assert "wrong_spread" not in signs({"distinct_answers": 1.0, "train_accuracy": 1.0}, scores(a=0.5))
    assert told.keys() <= METRICS.keys()


@pytest.mark.parametrize(
    ("found", "rules"),
    [
        # Half as many are valid; and where most answers are right, fewer distinct ones are none the worse for it.
        ({"valid": 0.45, "distinct_answers": 1.5, "train_accuracy": 0.8}, []),
        ({"valid": 0.44, "distinct_answers": 1.5, "train_accuracy": 0.8}, ["valid_low"]),
        ({"valid": 0.9, "distinct_answers": 1.5, "train_accuracy": 0.2}, ["spread_low"]),
        ({"distinct_answers": 1.0, "train_accuracy": 0.2}, ["spread_low"]),
    ],
)
def test_fewer_valid_proposals_and_one_answer_to_all_are_warned_of(found: dict[str, float], rules: list[str]) -> None:
    """In the first generation a fifth was right, and 2.4 of 3.4 distinct answers beyond the first: 3 a wrong one."""
    guard = loop_guard()
    assert guard is not None
    guard.begin({"strength": 0.2})
    first = signs({"valid": 0.9, "distinct_answers": 3.4, "train_accuracy": 0.2}, scores(a=0.2))
    assert guard.check(1, first).action == "go on"
    verdict = guard.check(2, signs(found, scores(a=0.2)))
    assert [name for name in LOOP_RULES if f"by the rule {name}" in verdict.message] == rules
    assert verdict.action == ("warn" if rules else "go on")


def test_few_wrong_answers_say_nothing_of_how_they_are_spread() -> None:
    assert "wrong_spread" in signs({"distinct_answers": 1.0, "train_accuracy": 0.94}, scores(a=0.2))
    assert "wrong_spread" not in signs({"distinct_answers": 1.0, "train_accuracy": 0.96}, scores(a=0.2))


@pytest.mark.parametrize("turned_away_by", ["gate", "guard"])
def test_what_a_policy_proposed_is_remembered_though_it_stays(turned_away_by: str) -> None:
    """A run that is only rolled back would never be warned: each generation seemed the first."""
    guard = loop_guard()
    assert guard is not None
    guard.begin({"strength": 0.9})

    def turn(generation: int, valid: float, gate: Gate | None, after: float) -> Any:
        candidate = Candidate(Experience((), metrics={"valid": valid}), scores(a=after))
        return judge(candidate, scores(a=0.9), generation, guard, gate, lambda: scores(a=0.9))

    if turned_away_by == "gate":
        admission, _ = turn(1, 0.8, Gate(gain=9.0), 0.9)
    else:
        admission, verdict = turn(1, 0.8, None, 0.1)
        assert verdict.action == "rollback"
        went_back(guard, Candidate(Experience((), metrics={"valid": 0.8})))
    assert not admission.accepted
    _, verdict = turn(2, 0.3, None, 0.9)
    assert "by the rule valid_low" in verdict.message


def test_a_rollback_is_refused_where_it_mends_nothing() -> None:
    with pytest.raises(ValueError, match="valid_low is of the policy before the updates, so that a stop mends nothing"):
        loop_guard(words=["valid_low=stop"])


def test_the_rules_of_the_loop_change_by_the_same_words_as_those_of_training() -> None:
    assert {"entropy_low", "entropy_floor", "kl_ceiling", "skew_rise"}.isdisjoint(LOOP_RULES)
    assert all(rule.patience == 1 for rule in LOOP_RULES.values())
    changed = loop_guard(words=["strength_drop=-0.2:stop", "length_low=none"])
    assert changed is not None
    assert [(r.below, str(r.action)) for r in changed.rules if r.name == "strength_drop"] == [(-0.2, "stop")]
    assert "length_low" not in {rule.name for rule in changed.rules}
    warns = loop_guard("warn")
    assert warns is not None
    assert {str(rule.action) for rule in warns.rules if rule.name != "finite"} == {"warn"}
    assert loop_guard("none") is None


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("defualt", [], "unknown guard 'defualt'. Did you mean 'default'"),
        ("default", ["strenght_drop=-0.2"], "called 'strenght_drop'. Did you mean 'strength_drop'"),
        ("default", ["strength_drop=stopp"], "guard_rules takes name=number"),
        ("none", ["strength_drop=-0.2"], "guard_rules does nothing without a guard"),
        ("default", ["strength_drop=0.2"], "so it is 0 or less: write -0.2, not 0.2"),
    ],
)
def test_what_no_guard_can_be_is_refused(kind: str, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loop_guard(kind, words)


def test_methods_are_drawn_by_their_weights() -> None:
    one, two = Teacher(), Teacher()
    drawn = [draw_method({"one": (one, 3.0), "two": (two, 1.0)}, key * 2**50) for key in range(4000)]
    # 3,000 expected; five standard deviations are 137.
    assert abs(sum(method is one for method in drawn) - 3000) < 137
    assert all(draw_method({"one": (one, 0.0), "two": (two, 1.0)}, k) is two for k in range(50))
    with pytest.raises(ValueError, match="one of them above 0"):
        draw_method({"one": (one, 0.0)}, 1)


def test_how_autonomous_a_run_is_is_not_exaggerated() -> None:
    level, modules = autonomy([Teacher()], is_adaptive=False)
    assert level == "low"
    assert set(modules.values()) == {"fixed by the user"}
    level, modules = autonomy([SelfTraining(keep="majority")], is_adaptive=True)
    assert level == "low, with medium elements (feedback, objective)"
    assert (modules["solutions"], modules["update"]) == (
        "set by the model: it answers the prompts",
        "fixed by the user",
    )
    assert tuple(modules) == MODULES


def test_that_a_policy_answers_or_plays_is_no_autonomy(curriculum: Curriculum) -> None:
    """Answers counted as an element, so that every method had one; and "none" was said to judge them."""
    seeds = curriculum.draw(ADD, 1, stream=TRAIN)
    play = SelfPlay(game=make("KuhnPoker-v0"), rule=unlearning)
    for method, elements in [
        (SelfTraining(keep="none"), ""),
        (SelfTraining(keep="verifier"), ""),
        (SelfImproving(), ""),
        (play, ""),
        (SelfImproving(assess="reward"), "feedback"),
        (SelfInstruct(seeds=seeds), "tasks"),
    ]:
        level, modules = autonomy([method], is_adaptive=False)
        assert level == (f"low, with medium elements ({elements})" if elements else "low")
        assert modules["solutions"].startswith("set by the model: it ")


def test_all_of_several_methods_say_what_the_model_sets() -> None:
    """The last one's words stood for all."""
    level, modules = autonomy([SelfTraining(keep="majority"), SelfImproving(assess="reward")], is_adaptive=False)
    assert level == "low, with medium elements (feedback)"
    assert modules["feedback"] == (
        "set by the model: its own answers judge them (majority) (self-training); it judges its own answers "
        "(self-improving)"
    )


# Self-Training.


def test_majority_and_voting_gain_by_hand() -> None:
    group = [answer("7", 1.0), answer("7", 1.0), answer("8"), answer("")]
    assert majority(group) == ("7", 0.5)
    assert majority([answer("")]) == ("", 0.0)
    # One task voted right from two of four, one voted wrong from one of four.
    gain, _, (voted, single) = voting_gain([group, [answer("1", 1.0), answer("2"), answer("2"), answer("3")]])
    assert (voted, single, gain) == (0.5, 0.375, 0.125)


def kept_by(
    keep: str, groups: list[list[Answer]], threshold: float = 0.5, funnel: Funnel | None = None, **settings: Any
) -> list[str]:
    method = SelfTraining(**{"keep": keep, "threshold": threshold, "cap": 9, **settings})
    filters = method._filters(KEEPS[name](groups, threshold) for name in method.keeps)
    return [a.text for a in refine((a for g in groups for a in g), filters, funnel)]


def test_each_filter_keeps_what_it_says() -> None:
    group = [answer("7", 1.0, -0.1), answer("88", 0.0, -3.0), answer("88", 0.0, -2.0), answer("", 0.0, 0.0)]
    assert kept_by("verifier", [group]) == ["7"]
    assert kept_by("majority", [group]) == ["88"]
    assert kept_by("majority", [group], 0.6) == []
    assert kept_by("confidence", [group], 0.5) == ["7"]
    assert kept_by("length", [group], 0.9) == ["88"]
    assert kept_by("none", [group]) == ["7", "88"]


def test_lengths_are_held_against_the_usual_one_not_the_longest() -> None:
    """Against the longest, one answer that did not end had 1497 of 1500 right ones dropped."""
    group = [answer(text) for text in ("12", "34", "56", "7", "89101112", "")]
    assert kept_by("length", [group], 1.0) == ["12", "34", "56"]
    assert kept_by("length", [group], 0.5) == ["12", "34", "56", "7"]
    assert kept_by("length", [group], 0.25) == ["12", "34", "56", "7", "89101112"]


def test_lengths_are_held_against_what_nine_of_ten_do_not_exceed() -> None:
    """Half of the answers end too early, and one does not end: the usual length is that of the four between."""
    group = [answer(text) for text in ("1", "2", "3", "4", "5", "678", "679", "680", "681", "6" * 30, "")]
    assert kept_by("longest", [group], 0.9) == ["678", "679", "680", "681"]
    assert kept_by("length", [group], 0.9) == ["1", "2", "3", "4", "5"]
    assert KEEPS["longest"]([group], 0.9).figure(group[0]) == "1 of 3"
    # Each kind has a length of its own.
    other = answer("7777777", task=replace(TASK, level=1))
    assert kept_by("longest", [group, [other]], 0.9) == ["678", "679", "680", "681", "7777777"]


def test_an_answer_must_pass_all_filters_that_are_named() -> None:
    """Each looks at all answers, so that their order says only who is named as the reason."""
    group = [answer("77", 1.0)] * 3 + [answer("8", 1.0)] * 2 + [answer("99"), answer("")]
    for keep, counts in (("length+verifier", (2, 1)), ("verifier+length", (1, 2))):
        funnel = Funnel()
        assert kept_by(keep, [group], 0.9, funnel) == ["77"]
        assert tuple(funnel.dropped.values()) == (1, *counts, 2, 0)
    assert len({KEEPS[name]([group], 0.5).reason for name in KEEPS}) == len(KEEPS)
    assert kept_by("majority+length", [group], 0.6) == []
    assert SelfTraining(keep="length+majority+ensemble").modules["feedback"].endswith("(majority+ensemble)")
    assert "feedback" not in SelfTraining(keep="none").modules


def kept_of_some(
    desk: Desk, curriculum: Curriculum, said: Sequence[Any], **settings: Any
) -> tuple[list[int], Archive, list[Round]]:
    """Ask each player the same tasks, a generation each, and return how many answers it adds, and the archive."""
    archive, added, rounds = Archive(), [], []
    for agent in said:
        here = a_round(curriculum, desk, agent, copy=1)
        rounds.append(replace(here, archive=archive))
        before = len(archive)
        # A method of its own each time, as after a resume: what was kept is in the archive alone.
        SelfTraining(**{"prompts": 16, "samples": 1, "checks_voting": False, **settings}).gather(rounds[-1])
        added.append(len(archive) - before)
    return added, archive, rounds


def test_what_was_kept_is_not_kept_again_in_later_generations(desk: Desk, curriculum: Curriculum) -> None:
    """Easy prompts filled the archive of a skill with few tasks, for each was kept in every generation."""
    right = oracle(desk, curriculum)
    added, archive, rounds = kept_of_some(desk, curriculum, [right, right])
    assert added[0] > 4
    assert added[1] == 0
    assert {kept.why for kept in archive.samples} == {"verifier 1"}
    # Neither labelled data nor another method's samples count.
    archive.samples[:] = [replace(kept, method="seed") for kept in archive.samples]
    assert SelfTraining(prompts=16, samples=1).gather(rounds[1]).funnel.kept == added[0]
    # Only what is imitated again counts; and so does what was rolled back, since it stays.
    assert kept_of_some(desk, curriculum, [right, right], accumulates=False)[0] == [added[0]] * 2
    archive.samples[:] = [replace(kept, method="self-training", accepted=False) for kept in archive.samples]
    assert SelfTraining(prompts=16, samples=1).gather(rounds[1]).funnel.kept == 0


@pytest.mark.parametrize("keep", ["none", "majority"])
def test_a_later_answer_gets_in_unless_the_verifier_kept_the_first(
    keep: str, desk: Desk, curriculum: Curriculum
) -> None:
    """With a cap of one an answer by vote that was wrong would for ever have kept the right one out."""
    wrong, right = ScriptedAgent(lambda p: "zz"), oracle(desk, curriculum)
    added, archive, _ = kept_of_some(desk, curriculum, [wrong, right, right, wrong], keep=keep)
    assert added[0] == added[1] > 4
    assert added[2:] == [0, 0]
    assert len({(kept.prompt, kept.text) for kept in archive.samples}) == len(archive)


class Lenient(Copy):
    """Every answer is right."""

    def verify(self, task: Task, answer: str) -> float:
        return 1.0


@pytest.mark.parametrize("cap", [1, 2])
def test_a_cap_counts_over_generations_where_answers_are_verified(cap: int, curriculum: Curriculum) -> None:
    """The policy says something else in each generation, and all of it is right."""
    says = [ScriptedAgent(lambda p, text=text: text) for text in ("aa", "bb", "cc")]
    added, archive, _ = kept_of_some(Desk([Lenient()]), curriculum, says, cap=cap)
    assert [n > 0 for n in added] == [True, cap == 2, False]
    assert set(Counter(kept.prompt for kept in archive.samples).values()) == {cap}


def test_pairs_by_votes_by_hand() -> None:
    """Five votes against one of eight: weight 4/8. Where all agree there is no pair."""
    group = [answer("7")] * 5 + [answer("8")] * 2 + [answer("9")]
    (pair,) = voted_pairs([group, [answer("1")] * 8], 0.5)
    assert (pair.chosen.text, pair.rejected.text, pair.weight) == ("7", "9", 0.5)
    assert list(voted_pairs([group], 0.7)) == []


def test_seed_data_can_be_learned_from_and_rounds_add_to_them(desk: Desk, curriculum: Curriculum) -> None:
    agent = tiny(desk)
    archive = Archive()
    archive.add(seed_data(curriculum.mixed({ADD: 1.0, COPY: 1.0}, 40, number=9), desk, agent))
    learner = Learner(agent, lr=1e-2, betas=(0.9, 0.99))
    losses = [take(learner)["loss"] for take in imitation_steps(archive, 0, 20, 32)]
    assert losses[-1] < losses[0] / 3
    method = SelfTraining(prompts=24, samples=4, steps=2, batch=8, keep="none")
    (_, report) = evolve(
        agent, learner, method, curriculum, generations=1, archive=archive, probe_tasks=8, hidden_tasks=8
    )
    assert report.funnel["kept"] == len(archive) - 40
    assert report.funnel["came"] == 24 * 4 == sum(n for name, n in report.funnel.items() if name != "came")
    assert {kept.method for kept in archive.samples} == {"seed", "self-training"}
    assert report.metrics["updates"] == 2


def test_majority_refuses_where_voting_cannot_help(desk: Desk, curriculum: Curriculum) -> None:
    """A policy that always says the same is as right by vote as alone."""
    agent = tiny(desk)
    learner = Learner(agent)
    agent.temperature = 0.0
    method = SelfTraining(prompts=16, samples=4, keep="length+majority")
    with pytest.raises(ValueError, match=r"voting cannot help here: maj@4 is 0\.\d+ and pass@1 0\.\d+, a gain of"):
        list(evolve(agent, learner, method, curriculum, generations=1, probe_tasks=4, hidden_tasks=4))


def test_majority_goes_on_where_all_is_right_at_last(desk: Desk, curriculum: Curriculum) -> None:
    """It measured in every generation whether voting helps, so that a run that had succeeded died of it."""
    weak, strong = (
        a_round(curriculum, desk, oracle(desk, curriculum, wrong), arithmetic=1, copy=1) for wrong in (0.3, 0.0)
    )
    method, resumed, fresh = (SelfTraining(prompts=16, samples=8, keep="majority") for _ in range(3))
    method.gather(weak)
    resumed.load_state_dict(method.state_dict())
    for begun in (method, resumed):
        assert begun.gather(replace(strong, archive=Archive())).funnel.kept > 0
    with pytest.raises(ValueError, match=r"voting cannot help here: maj@8 is 1\.000"):
        fresh.gather(strong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learn": "prefer"}, "take keep='majority', not 'verifier'"),
        ({"learn": "prefer", "keep": "majority+length"}, r"take keep='majority', not 'majority\+length'"),
        ({"learn": "reinforce", "keep": "verifier+length"}, r"'verifier' or 'majority', not 'verifier\+length'"),
        ({"keep": "length+ensembel"}, "unknown keep 'ensembel'. Did you mean 'ensemble'"),
        ({"keep": "length+none"}, "name each filter once, and none alone"),
        ({"keep": "length+length"}, "name each filter once"),
        ({"learn": "reinforce", "restart": True}, "leave restart out"),
    ],
)
def test_ways_to_learn_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelfTraining(**settings)


def test_published_methods_are_settings(desk: Desk, curriculum: Curriculum) -> None:
    """What each keeps of a policy that is right three times in four, what it learns by, and from which policy on."""
    agent: Any = oracle(desk, curriculum, 0.25)
    say = agent.reply
    agent.reply = lambda prompts: [replace(reply, prompt_ids=(1,), ids=(2,)) for reply in say(prompts)]
    found = {}
    for preset, settings in PRESETS.items():
        method = SelfTraining(**{**settings, "prompts": 8, "steps": 3, "batch": 4, "checks_voting": False})
        here = a_round(curriculum, desk, agent, arithmetic=1)
        gathered, learned = method.gather(here), Learned()
        for take in gathered.steps:
            take(learned)  # type: ignore[arg-type]
        kept = {sample.why.split()[0] for sample in here.archive.samples}
        found[preset] = (gathered.funnel.came, gathered.restart, kept, learned.by)
    assert found == {
        "star": (8 * 1, True, {"verifier"}, ["Imitation"] * 3),
        "rest-em": (8 * 8, True, {"verifier"}, ["Imitation"] * 3),
        "ttrl": (8 * 16, False, {"majority"}, ["PolicyGradient"]),
        "scpo": (8 * 8, False, {"majority"}, ["Preference"]),
    }


class Learned:
    """Takes down what it is given to learn from, in place of a learner."""

    def __init__(self) -> None:
        self.by: list[str] = []

    def update(self, items: Sequence[Any], objective: Any) -> dict[str, float]:
        assert items
        self.by.append(type(objective).__name__)
        return {}


# Self-Improving and self-assessment.


def test_calibration_by_hand() -> None:
    """Four pairs of right and wrong: three ordered rightly, one tied, so 3.5 of 4."""
    found = calibration([0.9, 0.4, 0.4, 0.2], [True, True, False, False])
    assert found.auroc == pytest.approx(3.5 / 4)
    assert calibration([0.95] * 20, [True] * 19 + [False]).ece == pytest.approx(0.0, abs=1e-9)
    assert calibration([0.95] * 20, [False] * 20).ece == pytest.approx(0.95)
    with pytest.raises(ValueError, match="at least one"):
        calibration([], [])


def test_only_answers_to_one_task_are_told_apart() -> None:
    """Two kinds of tasks by hand: of four pairs in one three are in order, of three in the other one and a half."""
    right, assessed = [True, True, False, False, True, False, False, False], [0.9, 0.3, 0.5, 0.2, 0.5, 0.2, 0.9, 0.5]
    found = discernment(assessed * 4, right * 4, 4)
    assert found.auroc == pytest.approx((3 / 4 + 1.5 / 3) / 2)
    assert found.error == pytest.approx(np.std([0.75, 0.5] * 4, ddof=1) / math.sqrt(8))
    assert discernment(assessed * 3, right * 3, 4).error == math.inf
    # Yes to all answers of an easy task, no to those of a hard one: good over all answers, worth nothing as a reward.
    by_task, right = [0.9] * 4 + [0.1] * 4, [True, True, True, False, True, False, False, False]
    assert calibration(by_task, right).auroc == pytest.approx(0.75)
    assert discernment(by_task * 20, right * 20, 4).auroc == 0.5
    assert not discernment(by_task * 20, right * 20, 4).is_informative
    # Nothing is known where all answers to each task did alike.
    assert not discernment(([0.9] * 4 + [0.1] * 4) * 20, ([True] * 4 + [False] * 4) * 20, 4).is_informative
    assert discernment([0.9, 0.1, 0.8, 0.3] * 4, [True, False] * 8, 2).is_informative


def test_a_policy_learns_to_tell_its_answers_apart_and_may_then_pay_itself(desk: Desk, curriculum: Curriculum) -> None:
    agent = tiny(desk)
    wrong, right = answer("zz"), answer("7", 1.0)
    assert question(desk, right).legal == ("yes", "no")
    learner = Learner(agent, lr=1e-2, betas=(0.9, 0.99))
    for _ in range(60):
        learner.imitate(verdicts(agent, desk, [wrong, right]))
    high, low = assess(agent, desk, [right, wrong])
    assert high > 0.9 > 0.1 > low


def test_ones_own_word_is_no_reward_where_it_says_nothing(desk: Desk, curriculum: Curriculum) -> None:
    with pytest.raises(ValueError, match="cannot tell its right answers from its wrong ones"):
        run(desk, curriculum, SelfImproving(prompts=8, samples=4, updates=1, assess="reward"), generations=1)


def test_ones_own_word_that_says_nothing_any_more_is_not_paid(desk: Desk, curriculum: Curriculum) -> None:
    """It was refused in whatever generation, which ended runs that had long begun."""
    keys = {desk.prompt(t): t.key for t in curriculum.draw(ADD, 16, stream=TRAIN, number=1 << 8)}
    agent: Any = ScriptedAgent(lambda p: keys[p.text] if p.noise % 2 else "x")
    agent.move_probabilities = lambda prompts: [(0.1, 0.9) if '"x"' in p.text else (0.9, 0.1) for p in prompts]
    method, resumed, fresh = (SelfImproving(prompts=16, samples=4, updates=1, assess="reward") for _ in range(3))
    here = a_round(curriculum, desk, agent, arithmetic=1)
    paid = method.gather(here)
    assert len(list(paid.steps)) == 1
    assert "unpaid" not in paid.metrics
    resumed.load_state_dict(method.state_dict())
    agent.move_probabilities = lambda prompts: [(0.5, 0.5)] * len(prompts)
    for begun in (method, resumed):
        unpaid = begun.gather(here)
        assert list(unpaid.steps) == []
        assert (unpaid.metrics["unpaid"], unpaid.metrics["assessment_within"]) == (1, 0.5)
    with pytest.raises(ValueError, match="cannot tell its right answers from its wrong ones"):
        list(fresh.gather(here).steps)


def test_self_improving_reinforces_what_did_better_than_the_others(desk: Desk, curriculum: Curriculum) -> None:
    (_, report) = run(desk, curriculum, SelfImproving(prompts=8, samples=4, updates=2, assess="log"), generations=1)
    assert report.funnel["came"] == 2 * 8 * 4
    assert {"train_accuracy", "assessment_auroc", "assessment_within", "assessment_ece"} <= report.metrics.keys()


def weights_after(desk: Desk, curriculum: Curriculum, **settings: Any) -> tuple[GenerationReport, torch.Tensor]:
    agent = tiny(desk)
    learner = Learner(agent, lr=2e-2, betas=(0.9, 0.99))
    shown = [desk.demonstrate(agent, t) for s in curriculum.skills for t in curriculum.draw(s, 32, stream=TRAIN)]
    for _ in range(40):
        learner.imitate(shown)
    learner.lr = 1e-3
    method = SelfImproving(prompts=16, samples=4, updates=3, **settings)
    *_, last = evolve(agent, learner, method, curriculum, generations=2, probe_tasks=8, hidden_tasks=4)
    return last, torch.cat([p.detach().flatten() for p in agent.model.parameters()])


def test_what_is_logged_does_not_change_the_policy(desk: Desk, curriculum: Curriculum) -> None:
    """`log` used to imitate the verifier's verdicts: the gate rolled back nearly every generation that had to learn to
    answer such questions, and a run with it went nowhere."""
    plain, weights = weights_after(desk, curriculum)
    assert plain.metrics["updates"] == 3
    logged, same = weights_after(desk, curriculum, assess="log", revise="log")
    assert torch.equal(weights, same)
    assert logged.metrics.keys() - plain.metrics.keys() == {
        "assessment_auroc",
        "assessment_within",
        "assessment_error",
        "assessment_ece",
        "revision_gain",
        "revision_error",
    }


def test_verdicts_that_are_trained_do(desk: Desk, curriculum: Curriculum) -> None:
    trained, weights = weights_after(desk, curriculum, assess="train")
    assert trained.metrics["updates"] == 2 * 3
    assert not torch.equal(weights_after(desk, curriculum)[1], weights)


# Self-Instruct.


def test_rouge_l_by_hand() -> None:
    assert rouge_l(tokens("the cat sat"), tokens("the dog sat")) == pytest.approx(2 / 3)
    assert rouge_l(tokens("a b c d"), tokens("a c")) == pytest.approx(2 * 2 / 6)
    assert tokens("Work out 3+14") == ["work", "out", "3", "+", "14"]


class Proposer(ScriptedAgent):
    """Proposes from a list and answers every other task right, by its noise."""

    def __init__(self, proposals: list[str]) -> None:
        said = iter(proposals)

        def reply(prompt: Prompt) -> str:
            if "Your task:" in prompt.text:
                return next(said)
            a, b = prompt.text.split("Work out ")[1].split("\n")[0].split(" + ")
            return str(int(a) + int(b)) if prompt.noise % 2 else "0"

        super().__init__(reply)


def instructed(curriculum: Curriculum, desk: Desk, proposals: list[str], **settings: Any) -> tuple[Any, Any, Round]:
    seeds = [make_family("arithmetic").propose(text, 0) for text in ("1 + 1", "2 + 2")]
    method = SelfInstruct(seeds=seeds, proposals=len(proposals), **settings)
    agent: Any = Proposer(proposals)
    here = Round(
        generation=1,
        seed=5,
        agent=agent,
        learner=None,
        desk=desk,
        curriculum=curriculum,
        weights={ADD: 1.0, COPY: 0.0},
        archive=Archive(),  # type: ignore[arg-type]
    )
    return method, method.gather(here), here


def test_what_is_no_task_a_copy_or_a_twin_is_dropped_with_its_reason(curriculum: Curriculum, desk: Desk) -> None:
    """An exact copy of a seed, its mirror image (the same sum), a copy of a proposal, one too long, and rubbish."""
    proposals = ["1 + 1", "3 + 4", "4 + 3", "3 + 4", "33 + 4", "rubbish", "5 + 6"]
    method, found, here = instructed(curriculum, desk, proposals, band=(0.0, 1.0))
    assert found.funnel.as_dict() == {
        "came": 7,
        "dropped: it is no task": 2,
        "dropped: it is like one in the pool": 3,
        "dropped: the solver always or never succeeds": 0,
        "kept": 2,
    }
    assert [task.data for task in method.own] == [("3 + 4",), ("5 + 6",)]
    assert all(kept.why == "right, in the band" for kept in here.archive.samples if kept.role == "solver")
    assert found.metrics["valid"] == pytest.approx(5 / 7)
    assert sum(value for name, value in found.metrics.items() if name.startswith("solved/")) == pytest.approx(1)


def test_copies_pass_where_novelty_is_not_asked_for(curriculum: Curriculum, desk: Desk) -> None:
    proposals = ["1 + 1", "3 + 4", "3 + 4", "rubbish"]
    method, found, _ = instructed(curriculum, desk, proposals, band=(0.0, 1.0), novelty=None)
    assert found.funnel.dropped["it is like one in the pool"] == 0
    assert [task.data for task in method.own] == [("1 + 1",), ("3 + 4",), ("3 + 4",)]


def test_one_right_answer_to_each_accepted_task_is_kept(curriculum: Curriculum, desk: Desk) -> None:
    _, _, here = instructed(curriculum, desk, ["3 + 4", "2 + 6", "rubbish", "1 + 1"], band=(0.0, 1.0))
    assert [(kept.text, kept.role) for kept in here.archive.samples] == [("7", "solver"), ("8", "solver")]


def test_proposals_weigh_what_they_are_paid_above_the_mean(curriculum: Curriculum, desk: Desk) -> None:
    """Paid 1, 0.4, 0.1 and 0.1: 0.4 is the mean, so only the first is imitated."""
    method, _, here = instructed(curriculum, desk, ["rubbish"])
    said = [Proposal(skill=ADD, prompt="Your task:", reply=Reply(text=t, ids=(1,)), text=t, task=None) for t in "abcd"]
    (kept,) = method._paid(here, said, [1.0, 0.4, 0.1, 0.1])
    assert (kept.text, kept.prompt, kept.role, kept.why) == ("a", "Your task:", "proposer", "paid 1.00 as a proposal")
    assert kept.weight == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("solver", "proposer", "roles"), [(True, True, "ssPssPs"), (True, False, "sssss"), (False, True, "PP")]
)
def test_steps_imitate_answers_and_now_and_then_proposals_of_all_that_the_archive_holds(
    solver: bool, proposer: bool, roles: str, desk: Desk, curriculum: Curriculum
) -> None:
    agent = tiny(desk)
    seeds = curriculum.draw(ADD, 4, stream=TRAIN)
    method = SelfInstruct(seeds=seeds, proposing=2, trains_solver=solver, trains_proposer=proposer)
    archive = Archive()
    archive.add([*seed_data(seeds, desk, agent), *method.demonstrations(agent, curriculum.families, seed=0)])

    class Watch:
        def update(self, items: Any, objective: Any) -> Any:
            (role,) = {
                kept.role
                for kept in archive.samples
                for item in items
                if kept.ids == item.reply.ids and kept.prompt_ids == item.reply.prompt_ids
            }
            seen.append(role)

    seen: list[str] = []
    for take in method.imitation(archive, 0, 5):
        take(Watch())  # type: ignore[arg-type]
    assert "".join({"solver": "s", "proposer": "P"}[role] for role in seen) == roles


def test_the_band_drops_what_is_always_or_never_solved(curriculum: Curriculum, desk: Desk) -> None:
    proposals = ["0 + 0", "3 + 5", "2 + 7", "4 + 4", "9 + 5", "8 + 7"]
    method, found, here = instructed(curriculum, desk, proposals, band=(0.3, 0.7))
    tasks = [make_family("arithmetic").propose(text, 0) for text in proposals]
    asked = desk.ask(here.agent, tasks, samples=8, seed=here.seed + 17)
    solved = {task.data[0]: np.mean([a.is_right for a in group]) for task, group in zip(tasks, asked, strict=True)}
    # "0" is right for 0 + 0 whatever the noise says, so its solver never fails.
    assert solved["0 + 0"] == 1
    within = [text for text, share in solved.items() if 0.3 <= share <= 0.7]
    assert [task.data[0] for task in method.own] == within
    assert 0 < len(within) < 5
    assert found.funnel.dropped["the solver always or never succeeds"] == 6 - len(within)


def test_the_proposer_is_paid_nothing_for_what_is_no_task_unless_the_gate_is_gone(
    curriculum: Curriculum, desk: Desk
) -> None:
    gated, _, here = instructed(curriculum, desk, ["rubbish"] * 2)
    loose, _, _ = instructed(curriculum, desk, ["rubbish"] * 2, is_gated=False, reward="adversarial")
    asked = Prompt(messages=(Message("user", "Your task:"),), game=desk.game, seat=0, legal=None, slot=(0, 0), noise=0)
    bad = gated._read(here, ADD, asked, Reply(text="rubbish"))
    assert gated._worth(None, bad) == 0.0
    assert loose._worth(None, bad) == 1.0


@pytest.mark.parametrize(
    ("rule", "paid"),
    [("azr", -0.5), ("r_zero_code", -1.0), *((name, 0.0) for name in RULES if name not in ("azr", "r_zero_code"))],
)
def test_a_copy_is_never_paid_more_than_a_task_that_is_none(
    rule: str, paid: float, curriculum: Curriculum, desk: Desk
) -> None:
    """It was paid 0, which by AZR's rule is more than a trivial or an unsolved task is worth."""
    method, found, _ = instructed(curriculum, desk, ["1 + 1"], reward=rule)
    assert found.metrics["proposer_reward"] == paid
    worths = [
        method.rule(True, [1.0] * k + [0.0] * (8 - k), repetition) for k in range(9) for repetition in (0.0, 0.5, 1.0)
    ]
    assert paid <= min(worths)
    assert paid >= method.rule(False, ())


@pytest.mark.parametrize(
    ("rule", "novelty", "rewards"),
    [
        # Of 3 + 4 two answers of eight are right, and three are "1", which is what most say; of 5 + 6 none and three.
        # 4 + 3 is the same sum: a copy, unless copies pass, and then it is solved like its twin.
        ("learnability", 0.7, [0.75, 0.0, 0.0, 0.0]),
        ("r_zero", 0.7, [0.75 - 0.5, 0.0, 0.0, 0.75 - 0.25]),
        ("r_zero_code", 0.7, [0.375 - 0.5, -1.0, -1.0 - 0.25, 0.375 - 0.25]),
        ("r_zero", None, [0.75 - 0.5, 0.75 - 0.5, 0.0, 0.75 - 0.25]),
        # All have a plus, and 5 + 6 and 3 + 4 nothing else in common: a ROUGE-L of 1/3.
        ("r_zero", 0.3, [0.75 - 0.75, 0.0, 0.0, 0.0]),
    ],
)
def test_rewards_of_a_batch_by_hand(
    rule: str, novelty: float | None, rewards: list[float], curriculum: Curriculum, desk: Desk
) -> None:
    said, answers = iter(["3 + 4", "4 + 3", "rubbish", "5 + 6"]), cycle(["7", "7", "1", "1", "1", "2", "3", "4"])
    agent = ScriptedAgent(lambda prompt: next(said if "Your task:" in prompt.text else answers))
    seeds = [make_family("arithmetic").propose("1 - 1", 1)]
    method = SelfInstruct(seeds=seeds, proposals=4, novelty=novelty, reward=rule, trains_solver=False)
    seen: list[float] = []
    method._paid = lambda round, proposals, paid: iter(seen.extend(paid) or ())  # type: ignore[method-assign]
    wild = Curriculum([Skill("arithmetic", 1)])
    method.gather(a_round(wild, desk, agent, arithmetic=1))
    assert seen == pytest.approx(rewards)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "give it at least one seed task"),
        ({"seeds": [TASK], "band": (0.8, 0.2)}, "the lower first"),
        ({"seeds": [TASK], "samples": 4}, "8 or more"),
        ({"seeds": [TASK], "reward": "learnabilty"}, "Did you mean 'learnability'"),
        ({"seeds": [TASK], "learn": "imitat"}, "Did you mean 'imitate'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelfInstruct(**settings)


def test_demonstrations_of_proposing_are_proposals_of_the_seed_tasks(desk: Desk, curriculum: Curriculum) -> None:
    agent = tiny(desk)
    seeds = curriculum.draw(ADD, 12, stream=TRAIN)
    agent.max_new_tokens = 24
    found = SelfInstruct(seeds=seeds).demonstrations(agent, curriculum.families, seed=0)
    assert [f"{kept.method}, {kept.why}" for kept in found] == ["seed, it shows how to propose"] * 12
    for task, kept in zip(seeds, found, strict=True):
        family = curriculum.families[task.family]
        assert family.propose(kept.text, task.level).prompt == task.prompt
        assert kept.prompt.count(" + ") >= 8


HOSTILE = [
    "__import__('os').system('touch owned') | 1 2",
    "open('/etc/passwd').read() | abc",
    "repeat 9 (repeat 9 (repeat 9 (repeat 9 (double)))) | 1 2",
    "repeat 99 (repeat 99 (times 99)) | 9 9",
    "times 99; times 99; times 99; times 99; times 99 | 99",
    "repeat 9 (double) | abcdefgh",
    "(" * 5000 + " | 1",
    "double; " * 5000 + "reverse | 1 2",
    "reverse | " + "9" * 100_000,
    "reverse | " + "1 " * 100_000,
    "rotate -99999999999999999999 | 1 2 3",
]


def test_hostile_programs_end_as_no_tasks_and_touch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, processes, loops in loops, endless input: in the loop each is data that is dropped, in a few steps."""
    wild = Skill("deduction", 4)
    curriculum = Curriculum([wild])
    desk = Desk(curriculum.families.values())
    seeds = curriculum.draw(wild, 8, stream=TRAIN)
    said = iter([*HOSTILE, "repeat 3 (reverse) | 1 2 3"])
    agent: Any = ScriptedAgent(lambda prompt: next(said) if "Your task:" in prompt.text else "3 2 1")
    method = SelfInstruct(seeds=seeds, proposals=len(HOSTILE) + 1, band=(0.0, 1.0))
    steps = 0
    applied = programs._applied

    def counted(step: Any, value: Any) -> Any:
        nonlocal steps
        steps += 1
        return applied(step, value)

    def forbidden(*args: Any, **more: Any) -> Any:
        raise AssertionError(f"a proposal got as far as {args}")

    here: Any = {"generation": 1, "seed": 5, "agent": agent, "learner": None, "desk": desk, "curriculum": curriculum}
    round = Round(**here, weights={wild: 1.0}, archive=Archive())
    monkeypatch.setattr(programs, "_applied", counted)
    for name in ("builtins.open", "builtins.eval", "builtins.exec", "os.system", "socket.socket", "subprocess.Popen"):
        monkeypatch.setattr(name, forbidden)
    found = method.gather(round)
    monkeypatch.undo()
    assert found.funnel.dropped["it is no task"] == len(HOSTILE)
    assert [task.key for task in method.own] == ["3 2 1"]
    # Each hostile one within its bound; the one that is a task is run again to verify its eight answers and to sign it.
    assert 0 < steps <= (len(HOSTILE) + 8 + 25) * programs.MOST_STEPS
    assert {sample.why for sample in round.archive.samples} == {"right, in the band"}


def test_a_policys_earlier_selves_vote(desk: Desk, curriculum: Curriculum) -> None:
    """Where all members are one policy that is sure, an ensemble keeps all; a self that says something else vetoes."""
    agent = tiny(desk)
    learner = Learner(agent, lr=1e-2)
    tasks = curriculum.draw(ADD, 4, stream=TRAIN)
    for _ in range(80):
        learner.imitate([desk.demonstrate(agent, task) for task in tasks])
    ensemble = Ensemble(2)
    ensemble.join(agent)
    before = {name: p.detach().clone() for name, p in agent.model.named_parameters()}
    for _ in range(80):
        learner.imitate([desk.demonstrate(agent, task, "77") for task in tasks])
    ensemble.join(agent)
    # A policy that is still there, for its candidate was not let in, does not vote twice.
    ensemble.join(agent)
    assert len(ensemble.members) == 2
    assert all(p.equal(ensemble.members[0][name]) for name, p in before.items())
    # The earlier self votes last, so that the policy must be given its own weights back.
    ensemble.members.reverse()
    after = {name: p.detach().clone() for name, p in agent.model.named_parameters()}
    votes = ensemble.votes(agent, desk, tasks, seed=1)
    assert [set(said) for said in votes] == [{desk.families["arithmetic"].solve(task), "77"} for task in tasks]
    assert all(p.equal(after[name]) for name, p in agent.model.named_parameters())
    other = Ensemble(2)
    other.load_tensors(ensemble.tensors())
    assert other.votes(agent, desk, tasks, seed=1) == votes


def test_an_ensemble_keeps_what_its_members_say_too(desk: Desk, curriculum: Curriculum) -> None:
    agent = tiny(desk)
    method = SelfTraining(prompts=16, samples=4, steps=1, batch=2, keep="ensemble", threshold=1.0, members=2)
    archive = Archive()
    archive.add(seed_data(curriculum.draw(ADD, 4, stream=TRAIN), desk, agent))
    found = list(evolve(agent, Learner(agent), method, curriculum, generations=2, archive=archive, probe_tasks=2))
    assert len(method.ensemble.members) == 2
    reason = "dropped: its earlier selves say something else"
    assert all(report.funnel[reason] for report in found[1:])  # an untrained policy agrees with nobody
    assert {sample.why for sample in archive.samples} <= {"ensemble 1 of 1", "ensemble 2 of 2", "it is labelled"}


def test_a_critique_in_words_is_seen_by_the_second_try(
    desk: Desk, curriculum: Curriculum, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = tiny(desk)
    answers = [a for g in desk.ask(agent, curriculum.draw(COPY, 3, stream=TRAIN)) for a in g]
    asked: list[list[str]] = []

    def reply(prompts: Sequence[Prompt]) -> list[Reply]:
        asked.append([prompt.messages[0].content for prompt in prompts])
        texts = [f"remark {n}" if len(asked) == 1 else "[Answer: a b]" for n in range(len(prompts))]
        return [Reply(text=text) for text in texts]

    monkeypatch.setattr(agent, "reply", reply)
    again = revise(agent, desk, answers, seed=1, in_words=True)
    critiques, seconds = asked
    for n, (answer, critique, text) in enumerate(zip(answers, critiques, seconds, strict=True)):
        assert answer.task.prompt.splitlines()[0] in critique
        assert critique.endswith(CRITIQUE)
        assert text.startswith(critique)
        assert f"remark {n}" in text.removeprefix(critique)
    assert len(again) == 3
    with pytest.raises(ValueError, match="critique is of second tries"):
        SelfImproving(critique=True)
    method = SelfImproving(prompts=4, samples=2, updates=1, revise="train", critique=True)
    agent = tiny(desk)
    report = list(evolve(agent, Learner(agent), method, curriculum, generations=1, probe_tasks=2))[1]
    assert "revision_gain" in report.metrics


def test_a_second_try_is_measured_and_learned_from(desk: Desk, curriculum: Curriculum) -> None:
    agent = tiny(desk)
    answers = [a for g in desk.ask(agent, curriculum.draw(COPY, 3, stream=TRAIN), samples=2) for a in g]
    assert judged(desk, answers[0], 0.5).endswith("Is it right? [yes]")
    assert judged(desk, answers[0], 0.4).endswith("Is it right? [no]")
    again = revise(agent, desk, answers, seed=1)
    assert [a.task for a in again] == [a.task for a in answers]
    assert [a.text for a in again] == [a.text for a in revise(agent, desk, answers, seed=1)]
    for how in ("log", "train"):
        method = SelfImproving(prompts=8, samples=4, updates=1, revise=how)
        report = list(evolve(agent, Learner(agent), method, curriculum, generations=1, probe_tasks=2))[1]
        assert -1 <= report.metrics["revision_gain"] <= 1
        assert report.metrics["revision_error"] >= 0
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        SelfImproving(revise="trian")


def test_a_gain_of_second_tries_is_what_it_should_be(curriculum: Curriculum, desk: Desk) -> None:
    """A player that is wrong at first and right when asked again gains all there is."""
    keys = {
        desk.prompt(t): t.key for n in range(4) for t in curriculum.draw(ADD, 400, stream=TRAIN, number=(1 << 8) + n)
    }
    agent: Any = ScriptedAgent(lambda p: keys[p.text.split("\n\nAn answer")[0]] if "last answer" in p.text else "999")
    agent.move_probabilities = lambda prompts: [(0.1, 0.9)] * len(prompts)
    method = SelfImproving(prompts=8, samples=2, updates=1, revise="log")
    here: Any = {"generation": 1, "seed": 5, "agent": agent, "learner": None, "desk": desk, "curriculum": curriculum}
    experience = method.gather(Round(**here, weights={ADD: 1.0, COPY: 0.0}, archive=Archive()))
    assert list(experience.steps) == []
    assert (experience.metrics["revision_gain"], experience.metrics["revision_error"]) == (1.0, 0.0)


# Self-Play, and all of them together.


def test_self_play_is_a_method_like_the_others(desk: Desk, curriculum: Curriculum) -> None:
    game = make("KuhnPoker-v0")
    agent = tiny_agent([game, desk.game], hidden=16, layers=1, corpus_games=10)
    learner = Learner(agent)
    methods = {
        "play": (SelfPlay(game=game, rule=lambda learner: make_rule("ppo", learner), games=8, updates=1), 1.0),
        "train": (SelfTraining(prompts=4, samples=2, steps=1, batch=2, keep="none"), 1.0),
        "improve": (SelfImproving(prompts=4, samples=2, updates=1), 1.0),
    }
    found = list(evolve(agent, learner, methods, curriculum, generations=6, probe_tasks=2, hidden_tasks=2, seed=3))
    assert {report.method for report in found[1:]} == {"self-play", "self-training", "self-improving"}
    played = next(report for report in found if report.method == "self-play")
    assert played.funnel == {"came": 8, "dropped: it is void": 0, "kept": 8}


@pytest.mark.parametrize("gate", [None, Gate(gain=9.0)])
def test_rewards_of_what_is_not_let_in_are_no_baseline(gate: Gate | None, desk: Desk, curriculum: Curriculum) -> None:
    """Its deals are not dealt again all the same."""
    game, baseline = make("KuhnPoker-v0"), RoleBaseline()
    agent = tiny_agent([game, desk.game], hidden=16, layers=1, corpus_games=10)
    rule = partial(make_rule, "ppo", game=game, baseline=baseline)
    method = SelfPlay(game=game, rule=rule, games=8, updates=1, baseline=baseline)
    given: dict[str, Any] = {"generations": 1, "probe_tasks": 2, "hidden_tasks": 2, "gate": gate}
    list(evolve(agent, Learner(agent), method, curriculum, **given))
    assert method.state_dict()["played"] == 8
    assert bool(baseline.state_dict()["seats"]) == (gate is None)


# Prover and critic.


def a_round(curriculum: Curriculum, desk: Desk, agent: Any, **weights: float) -> Round:
    objective = {skill: weights.get(skill.family, 0.0) for skill in curriculum.skills}
    here: Any = {"generation": 1, "seed": 5, "agent": agent, "learner": None, "desk": desk, "curriculum": curriculum}
    return Round(**here, weights=objective, archive=Archive())


def unlearning(learner: Learner) -> Rule:
    return Rule(learner=learner, learn=lambda episodes: {"turns": len(episodes)})


def obliging(prompt: Prompt) -> str:
    """Shows what its role asks for, and clears everything."""
    if prompt.legal is not None:
        return "[no error]"
    letters = prompt.text.split("Write again: ")[1].split("\n")[0]
    return letters if "You are helpful" in prompt.text else next(s for s in prompt.speeches if s != letters)


def test_the_figures_of_prover_and_critic_are_means_over_the_games_of_a_generation(desk: Desk) -> None:
    """Of provers that do as they are told and a critic that clears all, a verdict is true where the prover helps."""
    curriculum = Curriculum([COPY])
    method = SelfPlay(game=critic_games(curriculum, helpful=0.25), rule=unlearning, games=400, updates=2, name="critic")
    here = a_round(curriculum, Desk(curriculum.families.values()), ScriptedAgent(obliging), copy=1.0)
    found = method.gather(here)
    learner: Any = None
    assert [take(learner) for take in found.steps] == [{"turns": 400}] * 2
    game = {name.removeprefix("game/"): value for name, value in found.metrics.items()}
    assert (game["right_helpful"], game["right_sneaky"]) == (1, 0)
    assert (game["cleared_helpful"], game["cleared_sneaky"]) == (1, 1)
    # 800 deals, a quarter of them helpful: within five standard deviations of 0.0153.
    assert abs(game["found"] - 0.25) < 0.077
    assert game["fooled"] == pytest.approx(1 - game["found"])
    assert game["forfeits"] == 0
    assert found.funnel.as_dict() == {"came": 800, "dropped: it is void": 0, "kept": 800}


def test_the_objective_says_which_skills_are_played(desk: Desk, curriculum: Curriculum) -> None:
    """Of 400 games a quarter are sums: 100, within five standard deviations of 8.7; none is of what weighs nothing."""
    method = SelfPlay(game=critic_games(curriculum), rule=unlearning, games=400)
    agent = ScriptedAgent(lambda prompt: "x")
    drawn = {game.name: n for game, n in method._drawn(a_round(curriculum, desk, agent, arithmetic=1, copy=3), 0)}
    assert drawn.keys() == {"Critic arithmetic-0", "Critic copy-0"}
    assert sum(drawn.values()) == 400
    assert abs(drawn["Critic arithmetic-0"] - 100) < 44
    ((only, count),) = method._drawn(a_round(curriculum, desk, agent, copy=1), 0)
    assert (only.name, count) == ("Critic copy-0", 400)
    episodes = list(method._play(a_round(curriculum, desk, agent, arithmetic=1, copy=3), 1))
    assert len({episode.index for episode in episodes}) == 400


def test_what_a_tiny_model_learns_the_game_from_tells_it_no_truth(desk: Desk, curriculum: Curriculum) -> None:
    """Helpful provers show the label, sneaky ones something wrong; verdicts on wrong and right ones are alike."""
    games = critic_games(curriculum)
    agent = tiny_agent([desk.game, *games.values()], hidden=16, layers=1, corpus_games=60, max_new_tokens=6)
    # Its words are known: a verdict is one token and the end.
    assert all(len(agent.encode_move(verdict)) == 2 for verdict in ("no error", "wrong"))
    tasks = curriculum.mixed({ADD: 1.0, COPY: 1.0}, 400, number=1)
    replies = shown(agent, games, tasks, seed=3)
    cleared = {True: 0, False: 0}
    count = dict(cleared)
    for task, solution, verdict in zip(tasks, replies[::2], replies[1::2], strict=True):
        asked, judged = (agent.tokenizer.decode(reply.prompt_ids) for reply in (solution, verdict))
        right = desk.families[task.family].verify(task, solution.text) == 1.0
        assert ("You are helpful" in asked) == right
        assert f'The shown solution: "{solution.text}"' in judged
        count[right] += 1
        cleared[right] += verdict.text == "[no error]"
    assert sum(count.values()) == 400
    # Half of each kind: within five standard deviations.
    assert all(abs(cleared[kind] - count[kind] / 2) < 2.5 * math.sqrt(count[kind]) for kind in count)
    assert replies == shown(agent, games, tasks, seed=3)
    steps = list(between(iter([no_step] * 7), replies, seed=0, batch=4))
    assert [take is no_step for take in steps] == [True, True, False] * 3 + [True]
    assert EVERY == 2


def test_a_prover_is_asked_as_answers_are_but_for_its_role(desk: Desk, curriculum: Curriculum) -> None:
    """With a rule, a request and an order of its own, the best of provers answered no better than before."""
    for skill, game in critic_games(curriculum).items():
        (task,) = curriculum.draw(skill, 1, stream=TRAIN)
        for helpful, role in ((True, "helpful: be right."), (False, "sneaky: be wrong without being found out.")):
            asked = game.prompt(CriticState(task, helpful), 0)
            assert asked.replace(f"You are {role}\n", "") == desk.prompt(task)
            assert role in asked


def test_the_critic_changes_the_policy_by_the_runs_rule(desk: Desk, curriculum: Curriculum) -> None:
    games = critic_games(curriculum)
    agent = tiny_agent([desk.game, *games.values()], hidden=16, layers=1, corpus_games=60, max_new_tokens=6)
    learner = Learner(agent, lr=1e-2)
    for _ in range(40):
        learner.imitate(shown(agent, games, curriculum.mixed({ADD: 1.0, COPY: 1.0}, 64, number=1), seed=3))
    before = [p.detach().clone() for p in agent.model.parameters()]
    method = SelfPlay(game=games, rule=lambda learner: make_rule("ppo", learner), games=64, updates=2, name="critic")
    found = list(evolve(agent, learner, method, curriculum, generations=1, probe_tasks=4, hidden_tasks=4))
    assert found[1].method == "critic"
    assert any((p != old).any() for p, old in zip(agent.model.parameters(), before, strict=True))
    wanted = {"found", "right_helpful", "right_sneaky", "cleared_helpful", "cleared_sneaky", "fooled"}
    assert {f"game/{name}" for name in wanted} <= found[1].metrics.keys()
    assert 0 < found[1].metrics["game/found"] < 1
    assert found[1].metrics["updates"] == 2


def test_answers_are_listed_where_they_can_be_and_else_written() -> None:
    written = critic_games(Curriculum([read_skill(word) for word in ("arithmetic-5", "chain-2", "sort-4")]))
    for game in written.values():
        state = game.deal(np.random.default_rng(0))
        assert isinstance(state, CriticState)
        assert game.legal(state) is None
    listed = critic_games(Curriculum([ADD]), listed=True)[ADD]
    assert "7" in (listed.legal(listed.deal(np.random.default_rng(0))) or ())
    with pytest.raises(ValueError, match="answers of arithmetic-5 are too many to list; leave out --listed"):
        critic_games(Curriculum([ADD, Skill("arithmetic", 5)]), listed=True)
