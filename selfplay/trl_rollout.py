"""Our games under TRL's own `GRPOTrainer`: a `rollout_func`, its reward function and its dataset.

Chosen: a group is one state of a game and several replies to it, each played out, so that what TRL compares within a
group answers one prompt. Left out: whole games as rows, whose turns would share one advantage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from sparring.agents import Agent, LanguageModelAgent
from sparring.envs import Game

from .branch import branch
from .episode import Episode, counted

MAX_ATTEMPTS = 100
"""Batches of stems that are played before a learner without a turn is given up."""

Rollout = Callable[[Sequence[Any], Any], dict[str, list[Any]]]
"""What TRL's `GRPOTrainer` takes as `rollout_func`."""


def make_rollout_func(
    game: Game[Any],
    opponent: Agent | Callable[[int], Agent] | None = None,
    *,
    seed: int = 0,
    rollouts: int = 1,
    max_new_tokens: int | None = None,
    stop: str | Sequence[str] | None = None,
    chat_template_kwargs: dict[str, Any] | None = None,
    retries: int = 0,
    swap: bool = True,
) -> Rollout:
    """Return a `rollout_func` with which TRL's own `GRPOTrainer` learns a game.

    It goes with `rollout_dataset`, which holds empty tasks, and `outcome_reward`, which pays what the games paid.

    A group of `num_generations` rows is one state of a game and that many replies to it, each played out; so the
    advantages that TRL takes within a group compare replies to one prompt. Only the learner's reply at that state is
    in a row: what it and the opponent say elsewhere is never trained on. The trainer's `temperature` is played with.

    Args:
        game: what is played.
        opponent: who sits opposite: an agent, a function from a stem's number to one, or None for the policy itself.
        seed: of every deal, fork and reply; each process of a run plays games of its own.
        rollouts: games that follow a reply; its reward is their mean.
        max_new_tokens: most tokens of a reply; None takes the model's generation config, or else 256.
        stop: strings that end a reply; None takes the model's generation config, or else none.
        chat_template_kwargs: passed to the chat template.
        retries: illegal replies that a seat may take back in a turn.
        swap: whether the learner changes seats with an opponent in every game of odd number.
    """
    player = {"max_new_tokens": max_new_tokens, "stop": stop, "chat_template_kwargs": chat_template_kwargs}
    games = {"rollouts": rollouts, "seed": seed, "retries": retries, "swap": swap and opponent is not None}
    return _Rollout(game, opponent, player=player, games=games)


class _Rollout:
    """Rows for `GRPOTrainer`: each group one fork."""

    def __init__(
        self,
        game: Game[Any],
        opponent: Agent | Callable[[int], Agent] | None,
        *,
        player: dict[str, Any],
        games: dict[str, Any],
    ) -> None:
        self.game = game
        self.opponent = opponent
        self.player = player
        self.games = games
        self._agent: LanguageModelAgent | None = None
        self._next_stem = 0

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list[Any]]:
        """Return one row a prompt; `prompts` holds each task once a generation, as TRL repeats it."""
        agent = self._wrap(trainer)
        is_training = agent.model.training
        width = trainer.num_generations if is_training else trainer.num_generations_eval
        if len(prompts) % width:
            raise ValueError(f"{len(prompts)} rows a process are not whole groups of {width}; change the batch size")
        try:
            episodes = self._forks(agent, len(prompts) // width, width)
        finally:
            # Sampling switches to evaluation, by which TRL would take its own next step for one.
            agent.model.train(is_training)
        return _grpo_rows(episodes, self.games["rollouts"])

    def _wrap(self, trainer: Any) -> LanguageModelAgent:
        """Return the trainer's model as a player."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        if self._agent is None or self._agent.model is not model:
            is_training = model.training
            tokenizer = trainer.processing_class
            self._agent = LanguageModelAgent(model, tokenizer, temperature=trainer.temperature, **self.player)
            model.train(is_training)
            # Processes, and a run that is resumed, play stems of their own.
            self._next_stem = (trainer.accelerator.process_index << 48) + (trainer.state.global_step << 24)
        return self._agent

    def _forks(self, agent: LanguageModelAgent, groups: int, width: int) -> list[Episode]:
        """Return the branches of `groups` stems; those without a turn of the learner or an outcome are replaced."""
        found: list[Episode] = []
        rollouts = self.games["rollouts"]
        size = width * rollouts
        for _ in range(MAX_ATTEMPTS):
            stems = groups - len(found) // size
            seats = (agent, agent if self.opponent is None else self.opponent)
            played = list(branch(self.game, seats, stems=stems, width=width, first=self._next_stem, **self.games))
            self._next_stem += stems
            for start in range(0, len(played), size):
                stem = played[start : start + size]
                # TRL takes whole groups, so a reply of which nothing came takes the others with it.
                if all(counted(stem[at : at + rollouts]) for at in range(0, size, rollouts)):
                    found += stem
            if len(found) == groups * size:
                return found
        raise RuntimeError(
            f"in {MAX_ATTEMPTS} batches of {self.game.name} the learner had no turn, or games were void; check its "
            "opponent and its judge"
        )


def _grpo_rows(episodes: Sequence[Episode], rollouts: int) -> dict[str, list[Any]]:
    """Return one row a candidate reply, whose `rollouts` games stand together."""
    rows: dict[str, list[Any]] = {"prompt_ids": [], "completion_ids": [], "logprobs": [], "reward": []}
    for start in range(0, len(episodes), rollouts):
        games = counted(episodes[start : start + rollouts])
        forked = [episode.turns[episode.fork[1]] for episode in games if episode.fork]
        reply = forked[0].reply
        rows["prompt_ids"].append(list(reply.prompt_ids))
        rows["completion_ids"].append(list(reply.ids))
        rows["logprobs"].append(list(reply.logprobs))
        rows["reward"].append(fmean(e.rewards[turn.seat] for e, turn in zip(games, forked, strict=True)))
    return rows


def outcome_reward(
    prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], reward: Sequence[float], **_: Any
) -> list[float]:
    """Return what each row's game paid the learner: the `reward_funcs` that goes with `make_rollout_func`."""
    return list(reward)


def rollout_dataset(rows: int) -> Any:
    """Return a dataset of `rows` empty tasks: `GRPOTrainer` asks for one, and `make_rollout_func` needs none of it."""
    from datasets import Dataset

    return Dataset.from_dict({"prompt": ["a game"] * rows})
