"""What a pool of sixteen LoRA snapshots costs to play against, compared with a single one.

    python benchmarks/pool.py            # writes benchmarks/results/pool.{json,md}
    python benchmarks/pool.py --quick    # one repetition of fewer games, and writes nothing

The policy plays both ways in one process, by turns: the same games, seats changed, and one update of PPO from them,
some generations in a row. Before the first one everything is forgotten, as it is after a checkpoint; over the others
what the frozen opponents said is remembered, as it is in training. Seconds are CPU-seconds of one thread, so that what
else the machine does counts little.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import copy
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sparring.agents import LanguageModelAgent, tiny_agent
from sparring.agents.adapters import add_lora
from sparring.envs import Game, make
from sparring.selfplay import Learner, make_rule, play, warm_start
from sparring.selfplay.pool import OpponentPool
from sparring.selfplay.rules import Rule
from sparring.selfplay.snapshots import AdapterSnapshots

RESULTS = Path(__file__).resolve().parent / "results"
SNAPSHOTS = 16
LR = 1e-6
"""Of the updates: they cost what any would, and leave the policy as it was for the next repetition."""
STRENGTH = 0.002
"""Standard deviation of what each snapshot adds to the adapter: they differ, and still play."""


class Setting(NamedTuple):
    """One row of the table."""

    game: str
    warm: int
    """Steps of imitating legal play, so that games go on."""
    games: int
    max_new_tokens: int
    """1: a move is one token. More: nothing stops a reply before that many."""
    generations: int
    """After a checkpoint. Up to the next one there are a hundred by default, of which the first has most to read; more
    than a few are played where prompts come back."""


SETTINGS = (
    Setting("ConnectFour-v0", 25, 256, 1, 3),
    Setting("ConnectFour-v0", 25, 128, 16, 3),
    Setting("TicTacToe-v0", 40, 512, 1, 10),
    Setting("LeducPoker-v0", 40, 512, 1, 30),
)


class Run(NamedTuple):
    """One repetition of one arm: some generations in a row, the first with nothing remembered."""

    first: float
    """Seconds of playing the first generation."""
    seconds: float
    """Of playing, all of them."""
    update: float
    """Seconds of learning from the games."""
    turns: int
    tokens: int
    """What the model read: prompts that several games share are read once a player."""


def warm_agent(game: Game[Any], steps: int) -> LanguageModelAgent:
    agent = tiny_agent(game, corpus_games=50, hidden=128, layers=4, name="learner")
    for _ in warm_start(game, agent, steps=steps, batch_games=24):
        pass
    return agent


def pools(agent: LanguageModelAgent) -> dict[str, OpponentPool]:
    """Return the two arms: a pool of one snapshot, and one of sixteen."""
    add_lora(agent)
    noise = torch.Generator().manual_seed(0)
    made = {
        str(n): OpponentPool(agent, AdapterSnapshots(agent), weights={"snapshots": 1}, draw="uniform", size=n)
        for n in (1, SNAPSHOTS)
    }
    for number in range(SNAPSHOTS):
        for name, parameter in agent.model.named_parameters():
            if ".lora_B." in name:
                parameter.data += torch.randn(parameter.shape, generator=noise) * STRENGTH
        made[str(SNAPSHOTS)].grow(f"snapshot-{number}")
    made["1"].grow("single")
    return made


def measure(
    game: Game[Any], agent: LanguageModelAgent, pool: OpponentPool, rule: Rule, setting: Setting, repetition: int
) -> Run:
    """Play and learn; every repetition has games of its own, the same for both arms."""
    tokens = 0

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        nonlocal tokens
        tokens += int(given["attention_mask"][:, -given["input_ids"].shape[1] :].sum())

    agent.flush()
    played, learned, turns = [], 0.0, 0
    hook = agent.model.get_base_model().register_forward_pre_hook(count, with_kwargs=True)
    games = setting.games
    for generation in range(setting.generations):
        agent.forget_games()
        first = (repetition * setting.generations + generation) * games
        started = time.thread_time()
        episodes = list(play(game, (agent, pool.draw), games=games, first=first, in_flight=games, swap=True))
        played.append(time.thread_time() - started)
        turns += sum(len(episode.turns) for episode in episodes)
        read = tokens
        started = time.thread_time()
        rule.learn(episodes)
        learned += time.thread_time() - started
        # Those of an update are the same ones for both arms.
        tokens = read
    hook.remove()
    return Run(played[0], sum(played), learned, turns, tokens)


def compare(setting: Setting, repetitions: int, warmed: dict[str, LanguageModelAgent]) -> dict[str, Any]:
    game = make(setting.game)
    if setting.game not in warmed:
        warmed[setting.game] = warm_agent(game, setting.warm)
    base = warmed[setting.game]
    longer = {} if setting.max_new_tokens == 1 else {"max_new_tokens": setting.max_new_tokens, "stop": ()}
    agent = LanguageModelAgent(copy.deepcopy(base.model), base.tokenizer, name="learner", **longer)
    arms = pools(agent)
    rule = make_rule("ppo", Learner(agent, lr=LR))
    runs: dict[str, list[Run]] = {arm: [] for arm in arms}
    for repetition in range(repetitions):
        # The order changes, so that a machine that slows down favours neither.
        for arm in sorted(arms, reverse=repetition % 2 == 1):
            runs[arm].append(measure(game, agent, arms[arm], rule, setting, repetition))
    one, many = runs["1"], runs[str(SNAPSHOTS)]
    pairs = list(zip(one, many, strict=True))
    ratios = [b.seconds / a.seconds for a, b in pairs]
    firsts = [b.first / a.first for a, b in pairs]
    whole = [(b.seconds + b.update) / (a.seconds + a.update) for a, b in pairs]
    return {
        **setting._asdict(),
        "repetitions": repetitions,
        "first_ratio": statistics.median(firsts),
        "first_ratios": [round(ratio, 3) for ratio in firsts],
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "generation_ratio": statistics.median(whole),
        "generation_ratios": [round(ratio, 3) for ratio in whole],
        "tokens_ratio": sum(run.tokens for run in many) / sum(run.tokens for run in one),
        "turns": [sum(run.turns for run in arm) / repetitions for arm in (one, many)],
        "seconds": [statistics.median(run.seconds for run in arm) for arm in (one, many)],
        "update_seconds": [statistics.median(run.update for run in arm) for arm in (one, many)],
    }


def report(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# A pool of sixteen against a single opponent",
        "",
        "Made by `python benchmarks/pool.py`: a tiny model (width 128, 4 layers, LoRA of rank 16 on every linear",
        "layer) after a short warm start plays its own frozen adapters, one of them or sixteen, all games in flight",
        "together, several generations in a row. A generation is the games and one update of PPO from them, as",
        "in training against a pool. CPU-seconds of one thread, medians; both arms by turns in one process.",
        "In the first generation nothing is remembered, as after a checkpoint (every hundredth update by default); a",
        "prompt that comes up in several games is read once a player, so where the prompts of a small game repeat,",
        "sixteen players read more tokens than one does. What they said to a prompt is then remembered, where replies",
        "are one token. The last column is the ratio of playing time a token.",
        "",
        "| game | tokens a reply | games | generations | first: playing, ratio | range | "
        "playing, 1 | 16 | ratio | range | generation, 1 | 16 | ratio | range | tokens read | ratio a token |",
        "|---" * 16 + "|",
    ]
    for r in rows:
        one, many = r["seconds"]
        whole = [play + update for play, update in zip(r["seconds"], r["update_seconds"], strict=True)]
        lines.append(
            f"| {r['game']} | {r['max_new_tokens']} | {r['games']} | {r['generations']} | "
            f"{r['first_ratio']:.2f} | {_range(r['first_ratios'])} | "
            f"{one:.2f} s | {many:.2f} s | {r['ratio']:.2f} | {_range(r['ratios'])} | {whole[0]:.2f} s | "
            f"{whole[1]:.2f} s | **{r['generation_ratio']:.2f}** | {_range(r['generation_ratios'])} | "
            f"x {r['tokens_ratio']:.2f} | {r['ratio'] / r['tokens_ratio']:.2f} |"
        )
    return "\n".join([*lines, ""])


def _range(ratios: list[float]) -> str:
    return f"{min(ratios):.2f}-{max(ratios):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one repetition of fewer games; writes nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warmed: dict[str, LanguageModelAgent] = {}
    rows = []
    for setting in SETTINGS:
        if options.quick:
            setting = setting._replace(games=setting.games // 4, warm=min(setting.warm, 15), generations=2)
        rows.append(compare(setting, 2 if options.quick else options.repetitions, warmed))
        print(json.dumps(rows[-1]), flush=True)
    if not options.quick:
        (RESULTS / "pool.json").write_text(json.dumps(rows, indent=1) + "\n")
        (RESULTS / "pool.md").write_text(report(rows))
    print(report(rows))


if __name__ == "__main__":
    main()
