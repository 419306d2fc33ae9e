"""Train a small judge for a debate on games of which it is known who was right: `--judge model:FILE` then takes it.

    python scripts/train_judge.py --out judge.npz
    python scripts/train_judge.py --options rounds=1 questions=mine.jsonl --seats random my_model --out judge.npz

The judge sees what any judge of the game sees; which side was right it is told in training only. It is measured on
other games of the same questions, so for a judge that should know new questions, train and measure with two files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sparring.agents import make_agent, train_model_judge
from sparring.envs import Case, Game, Judge, Verdict, make, read_options
from sparring.envs.debate import Debate
from sparring.selfplay import play


class Listener:
    """Keeps the cases that it is asked for, and decides none."""

    name = "listener"

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return abstentions."""
        self.cases += cases
        return [Verdict(abstained=True)] * len(cases)


def main(argv: Sequence[str] | None = None) -> int:
    """Return 2 for what can't be trained on."""
    options = parse(argv)
    try:
        game = build(options)
        cases, right = collect(game, options)
    except (ValueError, OSError, ImportError) as error:
        print(f"train_judge.py: {error}", file=sys.stderr)
        return 2
    kept = len(cases) - len(cases) // 4
    judge = train_model_judge(cases[:kept], right[:kept], hidden=options.hidden, steps=options.steps, seed=options.seed)
    judge.save(options.out)
    print(f"{options.out}: {accuracy(judge, cases[:kept], right[:kept]):.3f} of {kept} games that it was trained on,")
    print(f"{accuracy(judge, cases[kept:], right[kept:]):.3f} of {len(cases) - kept} other games")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--options", nargs="+", default=[], metavar="NAME=VALUE", help="settings of Debate-v0, for instance rounds=1")
    add("--seats", nargs=2, default=["random", "random"], metavar=("SEAT_0", "SEAT_1"), help="who debates")
    add("--games", type=int, default=4000, help="debates; the last quarter is for measuring")
    add("--steps", type=int, default=2000, help="of training")
    add("--hidden", type=int, default=16, help="units of the network")
    add("--seed", type=int, default=0, help="of the games and of training")
    add("--out", type=Path, required=True, help="the .npz file to write")
    return parser.parse_args(argv)


def build(options: argparse.Namespace) -> Debate:
    """Return the debate, judged by nobody yet."""
    if options.games < 8:
        raise ValueError(f"{options.games} games are too few: 8 or more, of which a quarter is for measuring")
    settings = read_options(options.options)
    if settings.get("protocol") == "ensembled":
        raise ValueError("an ensembled consultancy has two cases a game: train on protocol=double, or on a consultancy")
    game: Game[object] = make("Debate-v0", **settings)
    assert isinstance(game, Debate)
    return game


def collect(game: Debate, options: argparse.Namespace) -> tuple[list[Case], list[int]]:
    """Return the cases of some games, and for each the seat that was right."""
    listener = Listener()
    game.judge = listener
    seats = (make_agent(options.seats[0]), make_agent(options.seats[1]))
    list(play(game, seats, games=options.games, seed=options.seed, swap=True))
    # The right answer is known by the question; two questions may share their words, but then not both answers.
    known = {(q.question, *pair): seat for q in game.questions for seat, pair in enumerate(_pairs(q.right, q.wrong))}
    return listener.cases, [known[case.question, *case.answers] for case in listener.cases]


def _pairs(right: str, wrong: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the answers of both seats if seat 0 is right, and if seat 1 is."""
    return (right, wrong), (wrong, right)


def accuracy(judge: Judge, cases: Sequence[Case], right: Sequence[int]) -> float:
    """Return how often the judge finds for the right seat; an even verdict is half right."""
    ps = [v.p if seat == 0 else 1 - v.p for v, seat in zip(judge.judge(cases), right, strict=True)]
    return sum(float(p > 0.5) + 0.5 * (p == 0.5) for p in ps) / len(ps)


if __name__ == "__main__":
    sys.exit(main())
