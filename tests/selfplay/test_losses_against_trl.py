"""Our preference losses against those that TRL's own trainers compute, on a batch that they collate.

TRL's trainers return means where ours return sums, so ours are divided by the size of the batch. Our log-probabilities
come from a plain forward pass over the same token ids, summed over the reply.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparring.agents import tiny_agent
from sparring.envs import make
from sparring.selfplay.preference_losses import dpo_loss, hinge_loss, ipo_loss, kto_loss, sppo_loss

# TRL and transformers speak of each other's deprecated names.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

BETA = 0.5
PROMPTS = ["You hold K. You may check or bet.", "You hold J. Your move?", "Legal moves: [check] [bet].", "Q"]
# Replies of unlike lengths, since TRL's IPO divides by them.
GOOD = ["[bet]", "I check: [check]", "[bet] because I hold the K", "[check]"]
BAD = ["no card beats mine, [check]", "[bet]", "[call]", "[fold] and wait for the next one"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with its tokenizer, as anybody would have it on a disk."""
    agent = tiny_agent(make("KuhnPoker-v0"), corpus_games=20, hidden=16, layers=1)
    path = tmp_path_factory.mktemp("model")
    agent.model.save_pretrained(path)
    agent.tokenizer.save_pretrained(path)
    return path


def load(folder: Path, seed: int) -> Any:
    """Return the model of `folder`, every weight a little off."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    noise = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=noise)
    return model


def trainer(kind: str, folder: Path, rows: dict[str, list[Any]], *, seeds: tuple[int, int], **settings: Any) -> Any:
    """Return TRL's trainer for a policy and a reference, and the one batch that it makes of all rows."""
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer

    arguments = getattr(trl, f"{kind}Config")(
        output_dir=str(folder),
        beta=BETA,
        per_device_train_batch_size=4,
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        **settings,
    )
    made = getattr(trl, f"{kind}Trainer")(
        model=load(folder, seeds[0]),
        ref_model=load(folder, seeds[1]),
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    return made, next(iter(made.get_train_dataloader()))


def messages(role: str, texts: list[str]) -> list[list[dict[str, str]]]:
    return [[{"role": role, "content": text}] for text in texts]


def pair_trainer(folder: Path, loss: str) -> Any:
    rows = {
        "prompt": messages("user", PROMPTS),
        "chosen": messages("assistant", GOOD),
        "rejected": messages("assistant", BAD),
    }
    return trainer("DPO", folder, rows, seeds=(1, 2), loss_type=[loss])


def reply_logps(model: Any, batch: dict[str, Tensor], prefix: str = "") -> Tensor:
    """Return the log-probability of each row's reply, in nats: the sum over the tokens that the mask marks, [B]."""
    ids, is_reply = batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"]
    logits = model(input_ids=ids, attention_mask=batch[f"{prefix}attention_mask"]).logits
    logps = torch.log_softmax(logits[:, :-1], -1).gather(2, ids[:, 1:, None])[..., 0]
    return (logps * is_reply[:, 1:]).sum(1)


def logratios(trl_trainer: Any, batch: dict[str, Tensor], prefix: str = "") -> Tensor:
    with torch.no_grad():
        reference = reply_logps(trl_trainer.ref_model, batch, prefix)
    return reply_logps(trl_trainer.model, batch, prefix) - reference


def assert_same(trl_trainer: Any, batch: dict[str, Tensor], ours: Callable[[], Tensor]) -> None:
    """Loss and gradient agree to 1e-5, the gradient in units of its largest entry; neither is near zero."""
    parameters = list(trl_trainer.model.parameters())
    loss_of = {"theirs": lambda: trl_trainer._compute_loss(trl_trainer.model, batch, False), "ours": ours}
    loss, slope = {}, {}
    for whose, compute in loss_of.items():
        loss[whose] = compute()
        slope[whose] = torch.cat([g.flatten() for g in torch.autograd.grad(loss[whose], parameters)])
    largest = slope["theirs"].abs().max()
    assert largest > 1e-3
    assert loss["theirs"].item() > 1e-3
    torch.testing.assert_close(loss["ours"], loss["theirs"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope["ours"] / largest, slope["theirs"] / largest, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "pair_loss"), [("sigmoid", dpo_loss), ("hinge", hinge_loss)])
def test_dpo_and_hinge_are_those_of_trl(folder: Path, name: str, pair_loss: Callable[..., Any]) -> None:
    theirs, batch = pair_trainer(folder, name)

    def ours() -> Tensor:
        chosen, rejected = reply_logps(theirs.model, batch).chunk(2)
        with torch.no_grad():
            reference_chosen, reference_rejected = reply_logps(theirs.ref_model, batch).chunk(2)
        return pair_loss(chosen - rejected, reference_chosen - reference_rejected, beta=BETA)[0] / 4

    assert_same(theirs, batch, ours)


def test_ipo_is_that_of_trl_once_log_ratios_are_divided_by_length(folder: Path) -> None:
    """TRL divides each reply's log-ratio by its number of tokens; eq. 17 of the paper, and our loss, do not."""
    theirs, batch = pair_trainer(folder, "ipo")
    length = batch["completion_mask"].sum(1)

    def ours() -> Tensor:
        chosen, rejected = (logratios(theirs, batch) / length).chunk(2)
        return ipo_loss(chosen - rejected, torch.zeros(4), beta=BETA)[0] / 4

    assert_same(theirs, batch, ours)
    chosen, rejected = logratios(theirs, batch).chunk(2)
    undivided = ipo_loss(chosen - rejected, torch.zeros(4), beta=BETA)[0] / 4
    assert abs(undivided.item() - ours().item()) > 1e-2


def test_sppo_with_certain_wins_is_the_hard_one_of_trl(folder: Path) -> None:
    """Their beta is 1 / eta; chosen replies have the win rate 1, rejected ones 0."""
    theirs, batch = pair_trainer(folder, "sppo_hard")
    wins = torch.tensor([1.0] * 4 + [0.0] * 4)
    assert_same(theirs, batch, lambda: sppo_loss(logratios(theirs, batch), wins, eta=1 / BETA)[0] / 4)


@pytest.mark.parametrize(("seeds", "is_positive"), [((2, 1), True), ((1, 2), False)])
def test_kto_is_that_of_trl(folder: Path, seeds: tuple[int, int], is_positive: bool) -> None:
    """TRL measures the KL on replies to other prompts of the batch; our loss is given the same number.

    Policy and reference change places once, so that the estimate is below 0 and both must count it as 0.
    """
    rows = {
        "prompt": messages("user", PROMPTS),
        "completion": messages("assistant", [GOOD[0], BAD[1], GOOD[2], BAD[3]]),
        "label": [True, False, True, True],
    }
    weights = {"desirable_weight": 0.6, "undesirable_weight": 1.5}
    theirs, batch = trainer("KTO", folder, rows, seeds=seeds, **weights)
    kl = logratios(theirs, batch, "KL_").mean()
    assert (kl > 0.05) if is_positive else (kl < -0.05)
    assert_same(
        theirs,
        batch,
        lambda: kto_loss(logratios(theirs, batch), batch["label"], kl, beta=BETA, **weights)[0] / 4,
    )
