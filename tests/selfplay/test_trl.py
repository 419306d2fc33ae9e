"""TRL as it is: its stock trainers see exactly the tokens that were sampled, and leave all else alone."""

from __future__ import annotations

import copy
import json
import math
import random
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sparring.agents import LanguageModelAgent, Message, Prompt, Reply, tiny_agent, uniform
from sparring.envs import Ending, Game, make
from sparring.selfplay import Episode, RoleBaseline, play, warm_start
from sparring.selfplay.assembly import make_learner, make_update
from sparring.selfplay.branch import branch
from sparring.selfplay.pairs import Labelled, Pair, Weighted
from sparring.selfplay.processes import Processes
from sparring.selfplay.settings import Settings
from sparring.selfplay.trl import (
    conversation_rows,
    export,
    label_rows,
    make_rollout_func,
    outcome_reward,
    preference_rows,
    rollout_dataset,
    trl_update,
)

KUHN = make("KuhnPoker-v0")
SETTINGS = {"lr": 1e-2, "batch_size": 4, "max_steps": 2}


@dataclass(frozen=True)
class Words:
    """What was said so far in `Babel`."""

    said: tuple[str, ...] = ()


class Babel(Game[Words]):
    """Each seat says something, twice; the sum of all characters modulo 3 says who won. Replies are free text."""

    rules = "Say something."

    def deal(self, rng: np.random.Generator) -> Words:
        return Words()

    def seat(self, state: Words) -> int | None:
        return len(state.said) % 2 if len(state.said) < 4 else None

    def observation(self, state: Words, seat: int) -> str:
        return "\n".join(state.said)

    def legal(self, state: Words) -> None:
        return None

    def play(self, state: Words, move: str) -> Words:
        return Words((*state.said, move))

    def rewards(self, state: Words) -> tuple[float, float]:
        if len(state.said) < 4:
            return 0.0, 0.0
        won = float(sum(map(ord, "".join(state.said))) % 3 - 1)
        return won, -won


class Shouter:
    """An opponent that is no language model."""

    name = "shouter"

    def reply(self, prompts: list[Prompt]) -> list[Reply]:
        return [Reply(text="OPPONENT") for _ in prompts]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which anybody looks up a host or connects, in whatever thread, though it swallow the error."""
    attempts: list[Any] = []

    def refuse(*args: Any, **_: Any) -> None:
        attempts.append(args)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not attempts


@pytest.fixture
def tiny() -> LanguageModelAgent:
    return tiny_agent(KUHN, corpus_games=20, hidden=16, max_new_tokens=3, stop=())


def sampled(agent: LanguageModelAgent) -> list[Reply]:
    """Replies of the agent against an opponent whose moves stand in some of its prompts."""
    return [turn.reply for e in branch(KUHN, (agent, agent), stems=6, width=2, seed=2) for turn in e.turns]


def some_pairs(agent: LanguageModelAgent) -> list[Pair]:
    replies = sampled(agent)
    first = {reply.prompt_ids: reply for reply in reversed(replies)}
    return [Pair(chosen=first[r.prompt_ids], rejected=r) for r in replies if r != first[r.prompt_ids]]


def items_for(kind: str, agent: LanguageModelAgent) -> list[Any]:
    if kind == "dpo":
        return some_pairs(agent)
    if kind == "kto":
        return [Labelled(reply, i % 2 == 0, 1.0) for i, reply in enumerate(sampled(agent))]
    return [Weighted(reply, 1.0) for reply in sampled(agent)]


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def watch(monkeypatch: pytest.MonkeyPatch, trainer: str) -> list[dict[str, torch.Tensor]]:
    """Record every batch that a trainer steps on."""
    import trl

    batches: list[dict[str, torch.Tensor]] = []
    step = getattr(trl, trainer).training_step

    def training_step(self: Any, model: Any, inputs: dict[str, torch.Tensor], *rest: Any) -> Any:
        batches.append({name: tensor.clone() for name, tensor in inputs.items()})
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(getattr(trl, trainer), "training_step", training_step)
    return batches


def trained(batches: list[dict[str, torch.Tensor]], prefix: str = "") -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return (what was read, what was trained) of each row."""
    found = []
    for batch in batches:
        is_trained = batch["labels"] != -100 if "labels" in batch else batch[f"{prefix}completion_mask"].bool()
        is_token = batch[f"{prefix}attention_mask"].bool()
        for ids, is_row, is_said in zip(batch[f"{prefix}input_ids"], is_token, is_trained, strict=True):
            found.append((tuple(ids[is_row & ~is_said].tolist()), tuple(ids[is_said].tolist())))
    return found


TRAINERS = {"dpo": "DPOTrainer", "kto": "KTOTrainer", "sft": "SFTTrainer"}


@pytest.mark.parametrize("kind", TRAINERS)
def test_exactly_what_was_sampled_is_trained_on(
    kind: str, tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where TRL would add an end token, or tokenise the text otherwise, as it would these random replies."""
    items = items_for(kind, tiny)
    batches = watch(monkeypatch, TRAINERS[kind])
    before = weights(tiny.model)
    found = trl_update(kind, tiny, items, lr=1e-2, batch_size=4, output_dir=tmp_path)
    replies = [r for item in items for r in ((item.chosen, item.rejected) if kind == "dpo" else (item.reply,))]
    assert Counter(trained(batches)) == Counter((r.prompt_ids, r.ids) for r in replies)
    assert found["trl/steps"] == math.ceil(len(items) / 4) >= 2
    assert not torch.equal(weights(tiny.model), before)
    assert math.isfinite(found["trl/loss"])
    assert not list(tmp_path.iterdir())


def test_kto_estimates_its_kl_on_mismatched_replies(
    tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each reply stands once beside another row's prompt of its own batch; a last row alone takes the one before."""
    items = items_for("kto", tiny)[:9]
    batches = watch(monkeypatch, "KTOTrainer")
    trl_update("kto", tiny, items, lr=1e-2, batch_size=4, output_dir=tmp_path)
    for batch in batches[:2]:
        rows, mismatched = trained([batch]), trained([batch], "KL_")
        assert [prompt for prompt, _ in rows] == [prompt for prompt, _ in mismatched]
        assert [said for _, said in mismatched] == [rows[i - 1][1] for i in range(4)]
    assert trained(batches[2:], "KL_")[0][1] == trained(batches[1:2])[-1][1]


def test_trl_reads_the_log_probabilities_that_were_sampled_with(tiny: LanguageModelAgent, tmp_path: Path) -> None:
    """And the reference is the policy at the start of the call: the first loss of DPO is log 2."""
    pairs = some_pairs(tiny)
    found = trl_update("dpo", tiny, pairs, lr=1e-3, batch_size=len(pairs), max_steps=1, output_dir=tmp_path)
    assert found["trl/loss"] == pytest.approx(math.log(2), abs=1e-5)
    mean = sum(sum(pair.chosen.logprobs) for pair in pairs) / len(pairs)
    assert found["trl/logps/chosen"] == pytest.approx(mean, abs=1e-3)


def test_a_reference_of_ones_own_is_compared_with(tiny: LanguageModelAgent, tmp_path: Path) -> None:
    other = tiny_agent(KUHN, corpus_games=20, hidden=16, seed=1).model
    before = weights(other)
    found = trl_update(
        "dpo", tiny, some_pairs(tiny), reference=other, output_dir=tmp_path, **SETTINGS | {"max_steps": 1}
    )
    assert abs(found["trl/loss"] - math.log(2)) > 1e-3
    assert torch.equal(weights(other), before)
    assert "forward" not in vars(other)


def test_rows_are_drawn_by_weight(tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replies = list(dict.fromkeys(sampled(tiny)))[:4]
    items = [Weighted(reply, weight) for reply, weight in zip(replies, (2.0, 1.0, 1.0, 0.0), strict=True)]
    batches = watch(monkeypatch, "SFTTrainer")
    trl_update("sft", tiny, items, lr=1e-2, batch_size=4, output_dir=tmp_path)
    drawn = Counter(said for _, said in trained(batches))
    assert drawn == {replies[0].ids: 2, replies[1].ids: 1, replies[2].ids: 1}


def test_long_items_are_left_out_whole(
    tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TRL would cut them, and train on replies that nobody gave."""
    items = [*items_for("sft", tiny), Weighted(said(tiny, "bet"), 1.0)]
    lengths = [len(item.reply.prompt_ids + item.reply.ids) for item in items]
    longest = max(lengths)
    batches = watch(monkeypatch, "SFTTrainer")
    found = trl_update("sft", tiny, items, lr=1e-2, batch_size=99, max_length=longest - 1, output_dir=tmp_path)
    kept = [item.reply for item, n in zip(items, lengths, strict=True) if n < longest]
    assert Counter(trained(batches)) == Counter((r.prompt_ids, r.ids) for r in kept)
    assert found["trl/too_long"] == lengths.count(longest) > 0


def test_the_process_is_left_as_it_was(tiny: LanguageModelAgent, tmp_path: Path) -> None:
    """TRL binds a forward to the one model: a copy made afterwards would go on computing with the first's weights."""
    model = tiny.model
    config, generation = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
    torch.manual_seed(5)
    state, python, legacy = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]  # noqa: NPY002
    trl_update("dpo", tiny, some_pairs(tiny), output_dir=tmp_path, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert model.config.to_dict() == config.to_dict()
    assert model.generation_config.to_dict() == generation.to_dict()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        assert twin(torch.tensor([[1, 2, 3]])).logits.abs().max() == 0
        assert model(torch.tensor([[1, 2, 3]])).logits.abs().max() > 0


def test_a_learners_accelerator_keeps_its_settings(tiny: LanguageModelAgent, tmp_path: Path) -> None:
    """accelerate has one state a process: a trainer's accumulation would become everybody's."""
    from accelerate import Accelerator

    accelerator = Accelerator(gradient_accumulation_steps=4, cpu=True)
    trl_update("sft", tiny, items_for("sft", tiny), output_dir=tmp_path, **SETTINGS)
    assert accelerator.gradient_accumulation_steps == 4
    assert accelerator.device.type == "cpu"
    Accelerator(gradient_accumulation_steps=1, cpu=True)


def test_no_engine_is_started_whatever_was_launched(
    tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The model plays between trainings: an engine, which may not even be installed, would take it apart."""
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    found = trl_update("dpo", tiny, some_pairs(tiny), output_dir=tmp_path, **SETTINGS)
    assert found["trl/steps"] > 0


def test_nobody_is_told_of_it(tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user who has not asked to be offline is not reported to a hub either; `_no_network` would see the attempt."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _telemetry

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("CI", raising=False)
    trl_update("sft", tiny, items_for("sft", tiny), output_dir=tmp_path, **SETTINGS)
    _telemetry._TELEMETRY_QUEUE.join()


def test_lora_trains_the_adapter_alone(tiny: LanguageModelAgent, tmp_path: Path) -> None:
    from peft import LoraConfig

    pairs = some_pairs(tiny)
    base = {name: p.detach().clone() for name, p in tiny.model.named_parameters()}
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    trl_update("dpo", tiny, pairs, peft_config=lora, output_dir=tmp_path, **SETTINGS)
    assert tiny.adapters is not None
    plain = {n.replace(".base_layer", ""): p for n, p in tiny.model.get_base_model().named_parameters()}
    assert all(torch.equal(plain[name], p) for name, p in base.items())
    assert any(t.abs().max() > 0 for name, t in tiny.adapters.tensors().items() if "lora_B" in name)
    # Once more: the reference is the adapter as it is now, and is gone afterwards.
    before = {name: t.clone() for name, t in tiny.adapters.tensors().items()}
    again = trl_update("dpo", tiny, pairs, lr=1e-2, batch_size=len(pairs), max_steps=1, output_dir=tmp_path)
    assert again["trl/loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert any(not torch.equal(t, before[name]) for name, t in tiny.adapters.tensors().items())
    assert list(tiny.model.peft_config) == ["default"]
    assert list(play(KUHN, (tiny, tiny), games=1))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("ppo", {}, "unknown kind 'ppo'"),
        ("kto", {}, "kto learns from Labelled items, not Weighted"),
        ("sft", {"items": []}, "nothing to learn from"),
        ("sft", {"max_length": 1}, "none within max_length=1"),
        ("sft", {"warmup": 3}, "SFTConfig has no field 'warmup'. Did you mean"),
        ("sft", {"items": [Weighted(Reply(text="[bet]"), 1.0)]}, "no token ids"),
        ("sft", {"weight": 0.0}, "not all 0"),
    ],
)
def test_what_trl_cannot_do_is_refused(
    kind: str, change: dict[str, Any], message: str, tiny: LanguageModelAgent, tmp_path: Path
) -> None:
    settings = dict(change)
    items = settings.pop("items", [Weighted(r, settings.pop("weight", 1.0)) for r in sampled(tiny)[:1]])
    with pytest.raises(ValueError, match=message):
        trl_update(kind, tiny, items, output_dir=tmp_path, **SETTINGS, **settings)


def test_soft_pairs_are_refused(tiny: LanguageModelAgent, tmp_path: Path) -> None:
    pair = some_pairs(tiny)[0]
    soft = Pair(chosen=pair.chosen, rejected=pair.rejected, target=0.7)
    with pytest.raises(ValueError, match="soft=False"):
        trl_update("dpo", tiny, [soft], output_dir=tmp_path, **SETTINGS)


def said(agent: LanguageModelAgent, move: str) -> Reply:
    prompt_ids = agent.encode((Message("user", "Your move?"),))
    return Reply(text=f"[{move}]", prompt_ids=prompt_ids, ids=agent.encode_move(move))


@pytest.mark.parametrize("stop", [(), ("]",)], ids=["end token", "stop string"])
def test_rows_come_back_as_sampled_through_trls_own_reading(stop: tuple[str, ...], tmp_path: Path) -> None:
    """TRL's stock preparation of our rows, with an end token where one was sampled and none where none was."""
    import trl

    agent = tiny_agent(KUHN, corpus_games=20, hidden=16, max_new_tokens=9, stop=stop)
    bet, check = said(agent, "bet"), said(agent, "check")
    tables = {
        "DPO": preference_rows([Pair(chosen=bet, rejected=check)], agent.tokenizer),
        "KTO": label_rows([Labelled(bet, True, 1.0)], agent.tokenizer),
        "SFT": conversation_rows([Weighted(bet, 1.0)], agent.tokenizer),
    }
    read = {}
    for name, rows in tables.items():
        config = getattr(trl, f"{name}Config")(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
        references = {} if name == "SFT" else {"ref_model": copy.deepcopy(agent.model)}
        trainer = getattr(trl, f"{name}Trainer")(
            model=copy.deepcopy(agent.model),
            args=config,
            train_dataset=rows,
            processing_class=agent.tokenizer,
            **references,
        )
        read[name] = trainer.train_dataset[0]
    assert read["DPO"]["prompt_ids"] == read["KTO"]["prompt_ids"] == list(bet.prompt_ids)
    assert read["DPO"]["chosen_ids"] == read["KTO"]["completion_ids"] == list(bet.ids)
    assert read["DPO"]["rejected_ids"] == list(check.ids)
    assert read["SFT"]["input_ids"] == [*bet.prompt_ids, *bet.ids]
    assert read["SFT"]["labels"] == [-100] * len(bet.prompt_ids) + list(bet.ids)


def test_what_text_cannot_say_is_left_out_and_counted(tiny: LanguageModelAgent) -> None:
    """`[bet]` in one token per character reads the same, and is another reply."""
    bet = said(tiny, "bet")
    spelt = tuple(i for c in "[bet]" for i in tiny.tokenizer(c).input_ids)
    assert spelt != bet.ids
    odd = Reply(text="[bet]", prompt_ids=bet.prompt_ids, ids=spelt)
    with pytest.warns(UserWarning, match="1 of 2 rows left out"):
        rows = conversation_rows([Weighted(bet, 1.0), Weighted(odd, 1.0)], tiny.tokenizer)
    assert len(rows) == 1
    with pytest.raises(ValueError, match="none of 1 rows"):
        conversation_rows([Weighted(odd, 1.0)], tiny.tokenizer)


@pytest.fixture(scope="module")
def games() -> tuple[Episode, ...]:
    agent = tiny_agent(Babel(), corpus_games=5, hidden=16, max_new_tokens=3, stop=())
    return tuple(play(Babel(), (agent, Shouter()), games=24, seed=3, swap=True))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("kind", TRAINERS)
def test_exported_games_are_chats_of_the_learner(
    kind: str, suffix: str, games: tuple[Episode, ...], tmp_path: Path
) -> None:
    path = tmp_path / f"rows{suffix}"
    count = export(games, path, kind)
    rows = read_rows(path)
    assert len(rows) == count > 0
    prompts = {turn.prompt for e in games for turn in e.turns if turn.player == 0}
    assert {row["prompt"][0]["content"] for row in rows} <= prompts
    written = [row[name][0]["content"] for row in rows for name in ("chosen", "rejected", "completion") if name in row]
    assert "OPPONENT" not in written
    assert any("OPPONENT" in row["prompt"][0]["content"] for row in rows) or kind == "dpo"


def read_rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()


def test_exported_labels_and_preferences_are_those_of_the_outcomes(games: tuple[Episode, ...], tmp_path: Path) -> None:
    paid = [(t.prompt, t.reply.text, e.rewards[t.seat]) for e in games for t in e.turns if t.player == 0]
    export(games, tmp_path / "kto.jsonl", "kto")
    labels = [
        (row["prompt"][0]["content"], row["completion"][0]["content"], row["label"])
        for row in read_rows(tmp_path / "kto.jsonl")
    ]
    assert labels == [(prompt, text, reward > 0) for prompt, text, reward in paid if reward]
    export(games, tmp_path / "dpo.jsonl", "dpo")
    for row in read_rows(tmp_path / "dpo.jsonl"):
        good, bad = (
            np.mean([r for p, t, r in paid if (p, t) == (row["prompt"][0]["content"], row[name][0]["content"])])
            for name in ("chosen", "rejected")
        )
        assert good > bad


def test_exports_that_cannot_be_are_refused(games: tuple[Episode, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in .jsonl or .parquet"):
        export(games, tmp_path / "rows.csv", "sft")
    with pytest.raises(ValueError, match="unknown kind 'dop'"):
        export(games, tmp_path / "rows.jsonl", "dop")
    with pytest.raises(ValueError, match="no sft rows in 0 turns"):
        export([], tmp_path / "rows.jsonl", "sft")


def grpo(agent: LanguageModelAgent, path: Path, rollout: Any, reward: Any, **settings: Any) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=str(path),
        max_steps=2,
        num_generations=4,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        report_to="none",
        save_strategy="no",
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        **settings,
    )
    return GRPOTrainer(
        agent.model,
        reward_funcs=reward,
        args=config,
        train_dataset=rollout_dataset(8),
        processing_class=agent.tokenizer,
        rollout_func=rollout,
    )


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")
def test_trls_own_grpo_learns_a_game(tmp_path: Path) -> None:
    agent = tiny_agent(Babel(), corpus_games=5, hidden=16, max_new_tokens=3, stop=())
    before = weights(agent.model)
    rollout = make_rollout_func(Babel(), Shouter(), seed=3, max_new_tokens=3, stop=())
    calls, paid = [], []

    def watched(prompts: Any, trainer: Any) -> Any:
        assert trainer.model.training
        calls.append(rollout(prompts, trainer))
        assert trainer.model.training
        return calls[-1]

    def reward(completion_ids: Any, **rest: Any) -> list[float]:
        paid.append((completion_ids, outcome_reward(completion_ids=completion_ids, **rest)))
        return paid[-1][1]

    grpo(agent, tmp_path, watched, reward).train()
    assert len(calls) == 2
    assert not torch.equal(weights(agent.model), before)
    for rows, (completion_ids, rewards) in zip(calls, paid, strict=True):
        assert completion_ids == rows["completion_ids"]
        assert rewards == rows["reward"]
        groups = [set(map(tuple, rows["prompt_ids"][start : start + 4])) for start in (0, 4)]
        assert [len(group) for group in groups] == [1, 1]
        said = agent.tokenizer.batch_decode(completion_ids)
        assert not any("OPPONENT" in text for text in said)
    assert calls[0]["completion_ids"] != calls[1]["completion_ids"]
    assert len(set(calls[0]["reward"] + calls[1]["reward"])) > 1


def fake_trainer(agent: LanguageModelAgent, width: int) -> Any:
    accelerator = SimpleNamespace(unwrap_model=lambda model: model, process_index=0)
    return SimpleNamespace(
        accelerator=accelerator,
        model=agent.model.train(),
        processing_class=agent.tokenizer,
        temperature=1.0,
        num_generations=width,
        num_generations_eval=1,
        state=SimpleNamespace(global_step=0),
    )


def test_a_row_is_paid_the_mean_of_its_rollouts() -> None:
    agent = tiny_agent(Babel(), corpus_games=5, hidden=16, max_new_tokens=3, stop=())
    rollout = make_rollout_func(Babel(), seed=1, rollouts=3, max_new_tokens=3, stop=())
    rows = rollout(["a game"] * 12, fake_trainer(agent, 4))
    fork = rows["prompt_ids"][0]
    assert {len(rows[name]) for name in ("prompt_ids", "completion_ids", "logprobs", "reward")} == {12}
    assert any(reward not in (-1.0, 0.0, 1.0) for reward in rows["reward"])
    logits = agent.model.eval()(torch.tensor([[*fork, *rows["completion_ids"][0]]])).logits[0, len(fork) - 1 : -1]
    logp = torch.log_softmax(logits, -1).gather(1, torch.tensor(rows["completion_ids"][0])[:, None])[:, 0]
    assert logp.tolist() == pytest.approx(rows["logprobs"][0], abs=1e-4)


class Patchy:
    """Cannot be reached in some games; shouts in the others."""

    name = "patchy"

    def __init__(self, share: float) -> None:
        self.share = share

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        gone = [uniform(prompt.noise) < self.share for prompt in prompts]
        return [Reply(text="", fault="no route") if g else Reply(text="OPPONENT") for g in gone]


def test_one_batch_of_stems_is_enough_where_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.selfplay.trl_rollout.MAX_ATTEMPTS", 1)
    agent = tiny_agent(Babel(), corpus_games=5, hidden=16, max_new_tokens=3, stop=())
    assert (
        len(make_rollout_func(Babel(), max_new_tokens=3, stop=())(["a game"] * 4, fake_trainer(agent, 2))["reward"])
        == 4
    )


@pytest.mark.parametrize("rollouts", [1, 2])
def test_void_games_pay_nobody_and_groups_stay_whole(monkeypatch: pytest.MonkeyPatch, rollouts: int) -> None:
    """A void game is worth 0 to both; counted as a draw it would teach that what led to it is neither good nor bad."""
    agent = tiny_agent(Babel(), corpus_games=5, hidden=16, max_new_tokens=3, stop=())
    played: list[Episode] = []

    def watched(*args: Any, **rest: Any) -> Iterator[Episode]:
        for episode in branch(*args, **rest):
            played.append(episode)
            yield episode

    monkeypatch.setattr("sparring.selfplay.trl_rollout.branch", watched)
    rollout = make_rollout_func(Babel(), Patchy(0.4), seed=1, rollouts=rollouts, max_new_tokens=3, stop=())
    rows = rollout(["a game"] * 12, fake_trainer(agent, 2))
    assert {len(rows[name]) for name in ("prompt_ids", "completion_ids", "logprobs", "reward")} == {12}
    samples = [played[at : at + rollouts] for at in range(0, len(played), rollouts)]
    left = [[e.rewards[e.turns[e.fork[1]].seat] for e in games if e.ending is not Ending.VOID] for games in samples]
    expected = [sum(r) / len(r) for a, b in zip(left[::2], left[1::2], strict=True) if a and b for r in (a, b)]
    assert len(left) > len(expected) == 12
    assert rows["reward"] == pytest.approx(expected)


def test_where_every_game_is_void_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.selfplay.trl_rollout.MAX_ATTEMPTS", 3)
    agent = tiny_agent(Babel(), corpus_games=5, hidden=16, max_new_tokens=3, stop=())
    rollout = make_rollout_func(Babel(), Patchy(1.0), max_new_tokens=3, stop=())
    with pytest.raises(RuntimeError, match="games were void; check its opponent and its judge"):
        rollout(["a game"] * 4, fake_trainer(agent, 2))


def test_half_groups_are_refused(tiny: LanguageModelAgent) -> None:
    rollout = make_rollout_func(KUHN, max_new_tokens=3, stop=())
    with pytest.raises(ValueError, match="6 rows a process are not whole groups of 4"):
        rollout(["a game"] * 6, fake_trainer(tiny, 4))
    with pytest.raises(ValueError, match="not whole groups"):
        rollout(["a game"] * 3, fake_trainer(tiny, 2))


@pytest.mark.parametrize(("update", "each"), [("trl-sft", 1), ("trl-dpo", 2)])
def test_a_generation_is_one_step_of_batches_that_fit(
    tiny: LanguageModelAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, update: str, each: int
) -> None:
    given: dict[str, Any] = {}

    def watched(kind: str, agent: LanguageModelAgent, items: list[Any], **settings: Any) -> dict[str, float]:
        given.update(settings, items=len(items))
        return {}

    monkeypatch.setattr("sparring.selfplay.trl.trl_update", watched)
    # Only legal replies win.
    list(warm_start(KUHN, tiny, steps=30))
    episodes = list(play(KUHN, (tiny, tiny), games=64))
    longest = max(len(t.reply.prompt_ids) + len(t.reply.ids) for e in episodes for t in e.turns)
    settings = Settings(update=update, batch_tokens=5 * each * longest, soft=False)
    learner = make_learner(settings, tiny, Processes())
    make_update(settings, learner, RoleBaseline(), KUHN, tmp_path).learn(episodes)
    rows, parts = given["batch_size"], given["gradient_accumulation_steps"]
    assert 5 <= rows < given["items"]
    assert rows * (parts - 1) < given["items"] <= rows * parts
