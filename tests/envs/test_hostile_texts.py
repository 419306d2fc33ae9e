"""Hostile proposals and answers: what they make the interpreter do, as Python's own audit hooks and tracemalloc see it.

A hook cannot be taken away again, so each family is watched in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sparring.envs import programs

PROGRAMS = [
    "__import__('os').system('touch owned')",
    "open('/etc/passwd').read()",
    "repeat 9 (repeat 9 (repeat 9 (repeat 9 (double))))",
    "repeat 99 (repeat 99 (double))",
    "repeat 99 (repeat 99 (times 99))",
    "repeat 99 (repeat 99 (reverse))",
    "repeat 99 (repeat 99 (when 99 (reverse)))",
    "times 99; times 99; times 99; times 99; times 99; times 99",
    "repeat 9 (" * 50 + "double" + ")" * 50,
    "(" * 100_000,
    "double; " * 100_000 + "reverse",
    "rotate -99999999999999999999",
    "take \u0663",
]
VALUES = [
    "9" * 1_000_000,
    "1 " * 500_000,
    "a" * 1_000_000,
    "\u0661 \u0662 \u0663",
    "1e9 2",
    "9999999 9999999",
    "[1, 2].__class__",
    "__import__('socket').socket()",
    "nothing nothing",
]
EXPRESSIONS = [
    "9" * 1_000_000,
    "9**9**9**9",
    "2 ** 99999999",
    "1" + " * 999999" * 100_000,
    "(" * 100_000 + "1 + 1" + ")" * 100_000,
    "(" * 70 + "1 + 1" + ")" * 70,
    "-" * 150 + "1",
    "1e9 + 1",
    "\u0663 + \u0664",
    "\uff11 + \uff12",
    "__import__('subprocess').run(['touch', 'owned'])",
]
NUMBERS = ["9" * 1_000_000, "9**9**9", "1e999999999", "\u0663", "0x" + "f" * 100_000, "nan", "__import__('os').abort()"]
TEXTS = {
    "deduction": ([f"{p} | 9 9" for p in PROGRAMS] + [f"reverse | {v}" for v in VALUES], VALUES),
    "abduction": ([f"{p} | 9 9" for p in PROGRAMS] + [f"reverse | {v}" for v in VALUES], VALUES),
    "induction": ([f"{p} | 9 9" for p in PROGRAMS] + [f"reverse | {v}" for v in VALUES], PROGRAMS),
    "arithmetic": (EXPRESSIONS, NUMBERS),
    "addition": (EXPRESSIONS, NUMBERS),
}
"""Proposals and answers by family, none of which is a task or right."""
LEVEL = 4
WATCHED = ("open", "socket.", "subprocess.", "os.", "shutil.", "compile", "exec", "import", "ctypes.", "pty.")
"""What events of `sys.addaudithook` may begin with: files, sockets, processes, and code that is made of text."""
WATCH = """
import json, os, sys, tracemalloc
import numpy as np
from sparring.envs import Match, make, programs
from sparring.envs.tasks import Malformed, make_family

name, level, proposals, answers, watched = json.loads(sys.stdin.read())
family = make_family(name)
proposer = make("Proposer-v0", task=name, level=level, attempts=1)
solver = make("SingleTask-v0", task=name, level=level)
seen, steps, worst, most, is_watching = [], 0, 0, 0, False
applied = programs._applied

def counted(step, value):
    global steps
    steps += 1
    return applied(step, value)

def hook(event, args):
    if is_watching and event.startswith(tuple(watched)):
        seen.append(event)

def watch(work, text):
    global is_watching, worst, most, steps
    steps, is_watching = 0, True
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    found = work(text)
    most = max(most, tracemalloc.get_traced_memory()[1] - before)
    worst, is_watching = max(worst, steps), False
    return found

def proposed(text):
    match = Match(proposer, np.random.default_rng(0))
    match.step(text)
    try:
        return match.state.task, family.propose(text, level)
    except Malformed:
        return match.state.task

def answered(text):
    match = Match(solver, np.random.default_rng(0))
    task = match.state.task
    match.step(text)
    return match.rewards[0], family.verify(task, text), family.readable(task, text)

programs._applied = counted
sys.addaudithook(hook)
tracemalloc.start()
# What is imported or worked out once is so before anything is watched.
watch(proposed, "no"), watch(answered, "no")
most = 0
tasks = [watch(proposed, text) is not None for text in proposals]
rewards = [watch(answered, text)[:2] for text in answers]
is_watching = "control" in sys.argv
if is_watching:
    open(os.devnull).close()
    is_watching = False
print(json.dumps([tasks, rewards, seen, worst, most]))
"""


def watched(family: str, *words: str) -> list:
    given = json.dumps([family, LEVEL, *TEXTS[family], WATCHED])
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *words], input=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", TEXTS)
def test_hostile_texts_are_no_tasks_and_wrong_and_touch_nothing(family):
    tasks, rewards, seen, steps, memory = watched(family)
    assert not any(tasks)
    assert all(scores == [0.0, 0.0] for scores in rewards)
    assert seen == []
    # Each text is read twice, in a game and as it is; the game draws a task of its own, whose program runs a little.
    assert (steps > 0) is (family in ("deduction", "abduction", "induction"))
    assert steps <= 4 * programs.MOST_STEPS
    # Texts have up to a million characters, and are copied a few times to be read; not what they would grow to.
    assert memory < 16_000_000


def test_what_is_watched_is_seen():
    assert watched("addition", "control")[2] == ["open"]
