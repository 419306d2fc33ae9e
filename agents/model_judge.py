"""A small trained judge: a network that scores each side by what it quoted and said, and trusts the better one.

Chosen: a dozen numbers a side that can be read, so that a laptop trains it in seconds, and a verdict that cannot depend
on who is listed first, since both sides are scored by one network. Left out: words as features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparring.envs import Case, Verdict
from sparring.envs.mlp import Floats, Mlp, fit, load_mlp, new_mlp, save_mlp, softmax
from sparring.envs.quote_judge import support, words_of
from sparring.envs.quotes import quotes_in

FEATURES = (
    "own verified quotes",
    "own quotes that were not found",
    "support by own quotes",
    "support by the other side's quotes",
    "support by the passage",
    "the answer's words in own speech",
    "the question's words in own speech",
    "speeches",
    "length of own speech",
    "length of the answer",
)


class ModelJudge:
    """Judges by a trained `Mlp` of `FEATURES`: `p` is the softmax of both sides' scores."""

    def __init__(self, mlp: Mlp, *, name: str = "model") -> None:
        """Judge by `mlp`. Raises ValueError if it takes other features or gives more than one score."""
        if mlp.first_FH.shape[0] != len(FEATURES) or mlp.second_C.shape != (1,):
            raise ValueError(
                f"a judge's network has {len(FEATURES)} features and one output, not "
                f"{mlp.first_FH.shape[0]} and {mlp.second_C.shape[0]}: train it with scripts/train_judge.py"
            )
        self.mlp = mlp
        self.name = name

    @classmethod
    def load(cls, path: Path) -> ModelJudge:
        """Return the judge of an .npz file. Raises ValueError if there is none."""
        if not path.is_file():
            raise ValueError(f"no such file: {path}; train a judge with scripts/train_judge.py")
        return cls(load_mlp(path), name=f"model:{path}")

    def save(self, path: Path) -> None:
        """Write the weights to an .npz file."""
        save_mlp(path, self.mlp)

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case."""
        if not cases:
            return []
        p_B2 = softmax(self.mlp(np.stack([features(case) for case in cases]))[..., 0])
        return [Verdict(p=float(p)) for p in p_B2[:, 0]]


def train_model_judge(
    cases: Sequence[Case], right: Sequence[int], *, hidden: int = 16, steps: int = 1500, lr: float = 0.01, seed: int = 0
) -> ModelJudge:
    """Return a judge trained on cases of which it is known which seat was right.

    Args:
        cases: what was said.
        right: for each case the seat whose answer is right.
        hidden: units of the network.
        steps: of Adam, on 64 cases each.
        lr: learning rate at the start.
        seed: of the weights and the batches.
    """
    if not cases or len(cases) != len(right):
        raise ValueError(f"{len(cases)} cases and {len(right)} right seats; give one a case, and a case or more")
    rng = np.random.default_rng(seed)
    x_N2F, y_N = np.stack([features(case) for case in cases]), np.asarray(right)
    rows = (rng.integers(len(cases), size=64) for _ in range(steps))
    mlp = new_mlp(rng, len(FEATURES), hidden, 1)
    return ModelJudge(fit(mlp, ((x_N2F[row], y_N[row]) for row in rows), steps=steps, lr=lr))


def features(case: Case) -> Floats:
    """Return what is known of both sides, [2, F]; exchanging the sides exchanges the rows."""
    return np.array([_side(case, seat) for seat in (0, 1)])


def _side(case: Case, seat: int) -> list[float]:
    said = [[s.text for s in case.statements if s.seat == which] for which in (seat, 1 - seat)]
    own, other = (" ".join(texts) for texts in said)
    quotes = quotes_in(own)
    words, answer, question = words_of(own), words_of(case.answers[seat]), words_of(case.question)
    found = [float(quote.is_found) for quote in quotes]
    return [
        sum(found) / 4,
        (len(found) - sum(found)) / 4,
        support(case, seat, _sentences(own)),
        support(case, seat, _sentences(other)),
        support(case, seat, re.split(r"[.!?;]", case.evidence)),
        len(answer & words) / max(len(answer), 1),
        len(question & words) / max(len(question), 1),
        len(said[0]) / 4,
        min(len(own) / 2000, 2.0),
        len(answer) / 8,
    ]


def _sentences(text: str) -> list[str]:
    return [part for quote in quotes_in(text) if quote.is_found for part in re.split(r"[.!?;]", quote.text)]
