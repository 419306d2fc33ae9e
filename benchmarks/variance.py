"""How much less a policy gradient varies with role-conditioned baselines (RAE), where the two seats earn unequally.

    python benchmarks/variance.py        # some two minutes; writes benchmarks/results/variance.{json,md}

The game is Kuhn poker with a constant moved from seat 1 to seat 0. The variance is the trace of the covariance, over
games, of a game's gradient: the sum over its turns of advantage times grad log p(reply). The gradient is taken by the
logits, each prompt's being its own, or by all weights of the model, which prompts share. Either is computed from the
inner products of the few distinct replies' gradients, so nothing is projected or left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sparring.agents import LanguageModelAgent, Reply, tiny_agent
from sparring.agents.prefix import Ids, reply_logits
from sparring.envs.kuhn import KuhnPoker, KuhnState
from sparring.selfplay import Episode, RoleBaseline, Sample, play, samples, warm_start

RESULTS = Path(__file__).resolve().parent / "results"
SHIFTS = (0.0, 0.5, 1.0, 2.0)
DECAYS = (0.999, 0.95)
"""Of the baseline: our default, and SPIRAL's."""
BLOCKS = 20
"""Of the jackknife."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


class ShiftedKuhn(KuhnPoker):
    """Kuhn poker in which seat 0 gets `shift` chips more, and seat 1 as many less. The best play stays the same."""

    def __init__(self, *, skin: str = "plain", shift: float = 1.0) -> None:
        super().__init__(skin=skin)
        self.shift = shift
        low, high = KuhnPoker.reward_range
        self.reward_range = (low - abs(shift), high + abs(shift))

    def rewards(self, state: KuhnState) -> tuple[float, float]:
        first, second = super().rewards(state)
        return (first, second) if self.seat(state) is not None else (first + self.shift, second - self.shift)


class Ratio(NamedTuple):
    """A ratio of two variances measured on the same games, and its standard error."""

    ratio: float
    error: float


def warm(game: KuhnPoker, agent: LanguageModelAgent, **settings: Any) -> LanguageModelAgent:
    """Teach a tiny model the moves, but not which are good; settings are those of `warm_start`."""
    for _ in warm_start(game, agent, **settings):
        pass
    return agent


def variance_ratio(
    agent: LanguageModelAgent, episodes: Sequence[Episode], *, by: str = "logits", decay: float = 0.999
) -> Ratio:
    """Return the gradient's variance with role-conditioned baselines, over that without a baseline, on the same games.

    The baseline runs along as it does in training; no game is left out while it settles. `by` is one of `GRADIENTS`.
    """
    replies = list({key(turn.reply): turn.reply for episode in episodes for turn in episode.turns}.values())
    gram = GRADIENTS[by](agent, replies)
    baseline = RoleBaseline(decay)
    rae = weights(([*samples([episode], baseline)] for episode in episodes), replies)
    none = weights(([*samples([episode], None)] for episode in episodes), replies)
    # Leave one block out at a time: a ratio of two sums has no simple error, and the pairing is kept.
    blocks = np.array_split(np.arange(len(episodes)), BLOCKS)
    left = [np.delete(np.arange(len(episodes)), block) for block in blocks]
    parts = np.array([total_variance(rae[kept], gram) / total_variance(none[kept], gram) for kept in left])
    error = np.sqrt((BLOCKS - 1) * parts.var())
    return Ratio(total_variance(rae, gram) / total_variance(none, gram), float(error))


def key(reply: Reply) -> tuple[Ids, Ids]:
    """Return what a reply's gradient depends on."""
    return reply.prompt_ids, reply.ids


def by_logits(agent: LanguageModelAgent, replies: Sequence[Reply]) -> Floats:
    """Return the inner products of each two replies' grad log p by the logits, [R, R]; 0 for different prompts.

    Replies are one token here, so a gradient is that token's indicator less the probabilities of all.
    """
    if any(len(reply.ids) != 1 for reply in replies):
        raise ValueError("a reply has several tokens; give a model whose max_new_tokens is 1, or take by_weights")
    prompts = [reply.prompt_ids for reply in replies]
    ids_R = torch.tensor([reply.ids[0] for reply in replies])
    with torch.no_grad():
        logits_RV = reply_logits(agent.model, prompts, [(n, reply.ids) for n, reply in enumerate(replies)])
        rows_RV = torch.nn.functional.one_hot(ids_R, logits_RV.shape[1]) - agent.logprobs(logits_RV).double().exp()
    is_same_RR = np.array([[one == other for other in prompts] for one in prompts])
    products_RR: Floats = (rows_RV @ rows_RV.T).numpy() * is_same_RR
    return products_RR


def by_weights(agent: LanguageModelAgent, replies: Sequence[Reply]) -> Floats:
    """Return the inner products of each two replies' grad log p by all weights, [R, R]."""
    rows = torch.stack(list(_gradients(agent, replies))).double()
    products_RR: Floats = (rows @ rows.T).numpy()
    return products_RR


def _gradients(agent: LanguageModelAgent, replies: Sequence[Reply]) -> Iterator[torch.Tensor]:
    parameters = list(agent.model.parameters())
    for reply in replies:
        logp_TV = agent.logprobs(reply_logits(agent.model, [reply.prompt_ids], [(0, reply.ids)]))
        logp = logp_TV.gather(1, torch.tensor(reply.ids)[:, None]).sum()
        yield torch.cat([g.flatten() for g in torch.autograd.grad(logp, parameters)])


GRADIENTS = {"logits": by_logits, "weights": by_weights}


def weights(games: Iterable[Sequence[Sample]], replies: Sequence[Reply]) -> Floats:
    """Return how much each reply's gradient counts in each game's, [games, R]."""
    column = {key(reply): n for n, reply in enumerate(replies)}
    rows = []
    for found in games:
        row = np.zeros(len(replies))
        for sample in found:
            row[column[key(sample.reply)]] += sample.advantage
        rows.append(row)
    return np.stack(rows)


def total_variance(weights: Floats, gram: Floats) -> float:
    """Return the trace of the covariance of the games' gradients, unbiased."""
    centred = weights - weights.mean(0)
    return float(((centred @ gram) * centred).sum() / (len(weights) - 1))


def report(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Variance of the policy gradient, with RAE over without a baseline",
        "",
        "Made by `python benchmarks/variance.py`: Kuhn poker in which seat 0 gets `shift` chips more and seat 1 as",
        "many less, played by a tiny model that was warm-started on random legal play. Both variances are of the same",
        "games; the error is one standard error, by a jackknife over 20 blocks of games.",
        "",
        "| shift | decay of the baseline | seed | games | by logits | error | by all weights | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        ratios = " | ".join(f"{number:.3f}" for by in GRADIENTS for number in r[by])
        lines.append(f"| {r['shift']:g} | {r['decay']:g} | {r['seed']} | {r['games']:,} | {ratios} |")
    return "\n".join([*lines, ""])


def main() -> None:
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for shift in SHIFTS:
        for seed in (0, 1, 2):
            game = ShiftedKuhn(shift=shift)
            agent = warm(game, tiny_agent(game, seed=seed), steps=200, seed=seed)
            episodes = list(play(game, (agent, agent), games=20_000, seed=seed))
            for decay in DECAYS:
                found = {by: variance_ratio(agent, episodes, by=by, decay=decay) for by in GRADIENTS}
                about = {"shift": shift, "seed": seed, "decay": decay, "games": len(episodes)}
                rows.append(about | {by: [round(number, 4) for number in ratio] for by, ratio in found.items()})
    rows.sort(key=lambda r: (r["shift"], -r["decay"], r["seed"]))
    (RESULTS / "variance.json").write_text(json.dumps(rows) + "\n")
    (RESULTS / "variance.md").write_text(report(rows))
    print(report(rows))


if __name__ == "__main__":
    main()
