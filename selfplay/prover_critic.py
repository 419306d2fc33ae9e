"""Prover and critic in the loop of self-evolution: what a policy plays with itself over the run's own skills.

Chosen: a game for each skill, so that the objective's weights say which are played; the prover is asked word for word
as answers are, but for its role, and writes free text, for what it learns there is meant to help it answer. Left out:
demonstrations of what is true, which would be a labelled critic, not one that plays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from sparring.agents import LanguageModelAgent, Message, Reply
from sparring.envs.critic import Critic, CriticState
from sparring.envs.tasks import Task, read_answer, write_answer

from .evolve import Step, step
from .imitation import Imitation
from .pairs import Weighted
from .skills import Curriculum, Skill

EVERY = 2
"""After so many steps of imitating answers comes one of imitating how the game is played."""


def critic_games(
    curriculum: Curriculum,
    *,
    helpful: float = 0.5,
    pays: str = "prover_verifier",
    listed: bool = False,
    skin: str = "answer",
) -> dict[Skill, Critic]:
    """Return the game of prover and critic for each skill, for `SelfPlay`.

    Args:
        curriculum: the skills.
        helpful: share of deals in which the prover is to be helpful; else it is to be sneaky.
        pays: a rule of `critic_rewards`.
        listed: whether the prover chooses among solutions instead of writing one, for skills with few answers.
        skin: of the game; "answer" asks a prover as `Desk` asks.

    Raises ValueError, with what to do, for a skill whose answers cannot be listed, and for settings that cannot be.
    """
    found = {}
    for skill in curriculum.skills:
        family = curriculum.families[skill.family]
        if listed and family.answers(family.draw(np.random.default_rng(0), skill.level)) is None:
            raise ValueError(
                f"answers of {skill} are too many to list; leave out --listed, and the prover writes its solution"
            )
        game = Critic(task=family, level=skill.level, helpful=helpful, pays=pays, listed=listed, skin=skin)
        # Baselines are kept by name, and what is usual in one skill says nothing of another.
        game.name = f"{game.name} {skill}"
        found[skill] = game
    return found


def shown(agent: LanguageModelAgent, games: Mapping[Skill, Critic], tasks: Sequence[Task], *, seed: int) -> list[Reply]:
    """Return how labelled tasks might be played: what a model that was made from nothing learns the game's words from.

    A helpful prover shows the answer of the label, a sneaky one another answer of its kind, and the critic says
    anything at random: what is true it is not taught.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 37]))
    found = []
    for task in tasks:
        game = games[Skill(task.family, task.level)]
        dealt = CriticState(task, bool(rng.random() < game.helpful))
        solution = _solution(game, dealt, rng)
        judged = game.play(dealt, solution)
        found.append(_said(agent, game, dealt, solution))
        found.append(_said(agent, game, judged, _any(game.verdicts(task), rng)))
    return found


def _solution(game: Critic, state: CriticState, rng: np.random.Generator) -> str:
    family, task = game.families[state.task.family], state.task
    right = family.solve(task)
    if state.helpful and right is not None:
        return write_answer(right, brackets=game.keeps_brackets)
    others = game.legal(state) or game.speeches(state)
    return _any([text for text in others if family.flaw(task, read_answer(text))] or others, rng)


def _any(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def _said(agent: LanguageModelAgent, game: Critic, state: CriticState, move: str) -> Reply:
    """Return a move as the agent would have said it."""
    seat = game.seat(state)
    assert seat is not None
    prompt_ids = agent.encode((Message("user", game.prompt(state, seat)),))
    if game.legal(state) is None:
        return Reply(text=move, prompt_ids=prompt_ids, ids=agent.encode_speech(move))
    return Reply(text=f"[{move}]", prompt_ids=prompt_ids, ids=agent.encode_move(move))


def between(steps: Iterator[Step], replies: Sequence[Reply], *, seed: int, batch: int) -> Iterator[Step]:
    """Yield steps of imitation, and after every `EVERY` of them one of imitating some of the replies."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 41]))
    is_due = cycle([False] * (EVERY - 1) + [True])
    for take in steps:
        yield take
        if next(is_due):
            some: list[Any] = [Weighted(replies[i], 1.0) for i in rng.integers(len(replies), size=batch).tolist()]
            yield step(Imitation(), some)
