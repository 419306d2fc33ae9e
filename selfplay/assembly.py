"""From settings to the parts of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from sparring.agents import Agent, LanguageModelAgent, Picky, make_agent, settings_of, tiny_agent
from sparring.agents.precision import compute_in
from sparring.envs import Game, make, read_options

from .advantage import RoleBaseline, samples
from .critic import Critic
from .episode import Episode
from .forks import forks
from .guard import Guard
from .guard_rules import DEFAULTS, changed_rules, only_warning
from .judged import with_judge
from .learner import Learner, Objective, Report
from .pairs import Labelled, Pair, Weighted, labelled, pairs, winners
from .pool import OpponentPool
from .processes import Processes
from .rules import Rule, make_objective, make_rule
from .run_ratings import RunRatings
from .settings import Settings, anchor_every, read_numbers
from .settings_checks import BY_UPDATE, PG
from .snapshots import AdapterSnapshots, CopySnapshots
from .training import Anneal

SMALL = 10_000_000
"""Parameters below which several threads only get into each other's way."""


def make_game(settings: Settings) -> Game[Any]:
    """Return the game with its settings."""
    options = read_options(settings.options)
    if settings.skin is not None:
        options["skin"] = settings.skin
    game = make(settings.game, show_legal=settings.show_legal, **options)
    return game if settings.judge is None else with_judge(game, settings.judge, **_judging(settings))


def make_eval_game(settings: Settings, game: Game[Any]) -> Game[Any]:
    """Return the game that is measured: `game` itself, or a copy whose judge is that of evaluation."""
    return game if settings.eval_judge is None else with_judge(game, settings.eval_judge, **_judging(settings))


def _judging(settings: Settings) -> dict[str, Any]:
    """Return how models that judge are loaded; neither temperature nor length of a reply is theirs."""
    return loading(settings) | {"temperature": 1.0, "max_new_tokens": None, "timeout": settings.judge_timeout}


def loading(settings: Settings) -> dict[str, Any]:
    """Return how models are loaded, the one that learns and the opponents alike."""
    return {
        "device": settings.device,
        "dtype": settings.dtype,
        "attn_implementation": settings.attn_implementation,
        "trust_remote_code": settings.trust_remote_code,
        "chat_template_kwargs": None if settings.thinking is None else {"enable_thinking": settings.thinking},
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "batch_tokens": settings.batch_tokens,
    }


def make_player(settings: Settings, game: Game[Any]) -> LanguageModelAgent:
    """Return the model that learns, not warm-started and without adapters; sets torch's threads by its size."""
    player = _make_tiny(settings, game) if settings.model == "tiny" else make_agent(settings.model, **loading(settings))
    if not isinstance(player, LanguageModelAgent):
        raise ValueError(f"{settings.model!r} is no language model; --model takes tiny, a directory or a hub name")
    if settings.threads or player.model.num_parameters() < SMALL:
        torch.set_num_threads(settings.threads or 1)
    if settings.lora:
        from sparring.agents.adapters import check_targets

        check_targets(player.model, _targets(settings))
    return player


def _targets(settings: Settings) -> str | list[str]:
    """Return the layers that adapters go on, as PEFT takes them."""
    targets = settings.lora_targets
    # A word by itself would be a pattern for the whole path of a layer.
    return targets if targets == "all-linear" or not re.fullmatch(r"[\w.,]+", targets) else targets.split(",")


def _make_tiny(settings: Settings, game: Game[Any]) -> LanguageModelAgent:
    tiny = tiny_agent(
        game,
        seed=settings.seed,
        hidden=settings.hidden,
        layers=settings.layers,
        heads=settings.heads,
        init_scale=settings.init_scale,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        batch_tokens=settings.batch_tokens,
    )
    tiny.model.to(settings.device or "cpu")
    return tiny


def adapt(settings: Settings, player: LanguageModelAgent) -> None:
    """Put LoRA adapters on the model and let it compute in lower precision, where that is asked for."""
    if settings.lora:
        from sparring.agents.adapters import add_lora

        alpha = settings.lora_alpha or 2 * settings.lora
        add_lora(player, r=settings.lora, alpha=alpha, targets=_targets(settings), seed=settings.seed)
    if settings.mixed_precision == "bf16":
        compute_in(player.model, torch.bfloat16)


def make_learner(settings: Settings, player: LanguageModelAgent, processes: Processes | None = None) -> Learner:
    """Return the learner of the chosen update, with its critic."""
    critic = None
    if settings.advantage == "critic":
        separate, detach = settings.critic == "separate", settings.critic == "detached"
        critic = Critic(player, separate=separate, detach=detach, batch_tokens=settings.batch_tokens)
    return Learner(
        player,
        _objective(settings),
        lr=settings.lr,
        epochs=settings.epochs,
        minibatches=settings.minibatches,
        kl_stop=settings.kl_stop,
        anchor_every=anchor_every(settings),
        critic=critic,
        critic_lr=settings.critic_lr,
        max_grad_norm=settings.max_grad_norm,
        betas=(settings.momentum, settings.adam_beta2),
        ema_decay=settings.ema_decay,
        batch_tokens=settings.batch_tokens,
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=settings.seed,
        processes=processes,
    )


def _objective(settings: Settings) -> Objective:
    update = settings.update.removeprefix("trl-").replace("sft", "rft")
    if update in PG:
        clip_high = settings.clip if settings.clip_high is None else settings.clip_high
        return make_objective(
            update,
            clip_low=settings.clip,
            clip_high=clip_high,
            dual_clip=float("inf") if settings.dual_clip is None else settings.dual_clip,
            entropy=settings.entropy,
            kl=settings.kl,
            kl_estimator=settings.kl_estimator,
            kl_target=settings.kl_target,
            kl_horizon=settings.kl_horizon,
            value_weight=settings.value_weight,
            value_clip=settings.value_clip,
            standardize=settings.standardize,
            importance_cap=settings.importance_cap,
        )
    named = ("beta", "eta", "nll", "weight_power", "shrink")
    return make_objective(update, **{n: getattr(settings, n) for n in named if update in BY_UPDATE[n]})


def make_schedules(settings: Settings) -> dict[str, Anneal]:
    """Return the numbers that change over the run."""
    found = {"lr": Anneal(settings.lr, settings.lr / 40 if settings.lr_end is None else settings.lr_end)}
    if settings.update in PG:
        found["entropy"] = Anneal(settings.entropy, settings.entropy_end)
        if settings.kl_target is None:
            found["kl"] = Anneal(settings.kl, settings.kl * 0.07 if settings.kl_end is None else settings.kl_end)
    if settings.update in BY_UPDATE["beta"]:
        found["beta"] = Anneal(settings.beta, settings.beta if settings.beta_end is None else settings.beta_end)
    if settings.update in BY_UPDATE["eta"]:
        found["eta"] = Anneal(settings.eta, settings.eta if settings.eta_end is None else settings.eta_end)
    return found


def make_update(settings: Settings, learner: Learner, baseline: RoleBaseline, game: Game[Any], out: Path) -> Rule:
    """Return the update rule."""
    if settings.update.startswith("trl-"):
        return _trl_rule(settings, learner, baseline, out)
    return make_rule(
        settings.update,
        learner,
        game=game,
        baseline=baseline,
        advantage=settings.advantage,
        gamma=settings.gamma,
        lam=settings.lam,
        groups=settings.groups,
        width=settings.width,
        rollouts=settings.rollouts,
        scale=settings.scale,
        soft=settings.soft,
        threshold=settings.threshold,
        turn_decay=settings.turn_decay,
    )


def _trl_rule(settings: Settings, learner: Learner, baseline: RoleBaseline, out: Path) -> Rule:
    """Return the rule by which one of TRL's own trainers updates the policy after each generation."""
    kind = settings.update.removeprefix("trl-")
    makers: dict[str, Callable[[Sequence[Episode]], Iterable[Any]]] = {
        "dpo": lambda episodes: pairs(forks(episodes, by=settings.groups), threshold=settings.threshold),
        "kto": lambda episodes: labelled(samples(episodes, baseline), by_size=True),
        "sft": lambda episodes: winners(episodes, decay=settings.turn_decay),
    }

    def learn(episodes: Sequence[Episode]) -> Report:
        from .trl import trl_update

        items = list(makers[kind](episodes))
        learner.updates += 1
        if not items:
            return {"turns": 0}
        batch_size = max(2, len(items) // settings.minibatches)
        rows = min(batch_size, max(2, settings.batch_tokens // max(map(_tokens, items))))
        found = trl_update(
            kind,
            learner.agent,
            items,
            lr=learner.lr,
            batch_size=rows,
            gradient_accumulation_steps=math.ceil(batch_size / rows),
            output_dir=out / "trl",
            beta=vars(learner.objective).get("beta", settings.beta),
            epochs=settings.epochs,
            seed=settings.seed + learner.updates,
            gradient_checkpointing=settings.gradient_checkpointing,
        )
        return {"turns": len(items), **found}

    branched = kind == "dpo" and settings.groups == "branch"
    width, rollouts = (settings.width, settings.rollouts) if branched else (0, 1)
    return Rule(learner=learner, learn=learn, width=width, rollouts=rollouts)


def _tokens(item: Pair | Labelled | Weighted) -> int:
    """Return how many tokens a row of TRL's is; a pair is two."""
    replies = (item.chosen, item.rejected) if isinstance(item, Pair) else (item.reply,)
    return sum(len(reply.prompt_ids) + len(reply.ids) for reply in replies)


def make_opponent(
    settings: Settings, player: LanguageModelAgent, fixed: Callable[[str], Agent] | None = None
) -> Agent | OpponentPool | None:
    """Return who sits opposite; None is the policy itself. `fixed` makes a fixed player, if not as `settings` say."""
    make_fixed = fixed or (lambda name: _make_fixed(name, settings))
    if settings.opponent == "self":
        return None
    if settings.opponent != "pool":
        return make_fixed(settings.opponent)
    return OpponentPool(
        player,
        AdapterSnapshots(player) if player.adapters else CopySnapshots(player),
        weights={name: weight or 0.0 for name, weight in read_numbers(settings.pool_mix, "pool_mix").items()},
        fixed=[make_fixed(name) for name in settings.pool_fixed],
        draw=settings.pool_draw,
        weighting=settings.pool_weighting,
        size=settings.pool_size,
        seed=settings.seed,
    )


def make_anchors(settings: Settings) -> list[Agent]:
    """Return the fixed players that ratings are tied to, if any. Raises ValueError where two have one name."""
    anchors = [_make_fixed(name, settings) for name in settings.rate_anchors if settings.rate_pairs]
    names = [anchor.name for anchor in anchors]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"rate_anchors has {min(twice)} twice: name each player once")
    return anchors


def check_opponents(game: Game[Any], opponent: Agent | OpponentPool | None, anchors: Sequence[Agent]) -> None:
    """Raise ValueError if somebody who is to be played against cannot play the game."""
    opposite = opponent.fixed if isinstance(opponent, OpponentPool) else ()
    if isinstance(opponent, Agent):
        opposite = (opponent,)
    for agent in (*opposite, *anchors):
        name = agent.name
        if isinstance(agent, Picky) and (why := agent.refusal(game)):
            raise ValueError(f"{name} cannot play {game.name}: {why}; name another player")


def make_ratings(
    settings: Settings, game: Game[Any], anchors: Sequence[Agent], pool: OpponentPool | None, folder: Path
) -> RunRatings | None:
    """Return what rates the policy at its measures; None where no pairs are to be played for that."""
    if not settings.rate_pairs:
        return None
    return RunRatings(
        game,
        folder / "ratings.jsonl",
        anchors,
        pairs=settings.rate_pairs,
        seed=settings.seed,
        retries=settings.retries,
        snapshots=pool.frozen if pool else tuple,
    )


def _make_fixed(name: str, settings: Settings) -> Agent:
    return make_agent(name, **settings_of(name, loading(settings)))


def make_guard(settings: Settings) -> Guard | None:
    """Return the guard; one that only warns still goes back from what is not finite, and does what its words say.

    Raises ValueError for words that cannot be meant.
    """
    if settings.guard == "none":
        return None
    rules = only_warning(DEFAULTS) if settings.guard == "warn" else DEFAULTS
    return Guard(changed_rules(settings.guard_rules, rules))
