"""Digits on a grid of 10 by 10, drawn by strokes, and judges that tell them from a few lit pixels.

Chosen: whole numbers for the weights of a judge, so that its verdict is the same on every machine. Left out: pictures
that somebody owns; these are made from a generator.

Shapes: P = 100 pixels, row by row; N images; K revealed pixels; H hidden units; C = 10 digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .mlp import Floats, Ints, Mlp, fit, new_mlp

SIZE = 10
PIXELS = SIZE * SIZE
HIDDEN = 48
SCALE = 256
"""What weights are multiplied by before they are rounded."""
JUDGES = "digit_judges.npz"
NAMES = tuple(f"{'abcdefghij'[x]}{y}" for y in range(SIZE) for x in range(SIZE))
"""A letter for the column, from the left, and a digit for the row, from the top."""

# Strokes from point to point, in units of the digit's box: x to the right, y down.
_L, _M, _R, _T, _C, _B = 0.0, 0.5, 1.0, 0.0, 0.5, 1.0
STROKES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((_M, _T), (_R, 0.25), (_R, 0.75), (_M, _B), (_L, 0.75), (_L, 0.25), (_M, _T)),
    ((0.2, 0.25), (_M, _T), (_M, _B)),
    ((_L, 0.2), (_M, _T), (_R, 0.25), (_L, _B), (_R, _B)),
    ((_L, _T), (_R, _T), (0.4, 0.42), (_R, 0.7), (_M, _B), (_L, 0.85)),
    ((0.75, _B), (0.75, _T), (_L, 0.65), (_R, 0.65)),
    ((_R, _T), (_L, _T), (_L, 0.45), (0.75, 0.4), (_R, 0.7), (_M, _B), (_L, 0.9)),
    ((0.8, _T), (0.1, 0.5), (_L, 0.75), (_M, _B), (_R, 0.75), (_M, 0.5), (0.1, 0.65)),
    ((_L, _T), (_R, _T), (0.35, _B)),
    ((_M, _C), (0.1, 0.25), (_M, _T), (0.9, 0.25), (_M, _C), (_L, 0.75), (_M, _B), (_R, 0.75), (_M, _C)),
    ((_R, 0.35), (_M, 0.5), (_L, 0.25), (_M, _T), (_R, 0.25), (0.9, 0.5), (0.3, _B)),
)
STEPS = 12
"""Points of a stroke."""


def draw(rng: np.random.Generator, label: int) -> NDArray[np.bool_]:
    """Return the lit pixels of a digit, [P]: its strokes turned, stretched, moved, bent and drawn by a round pen."""
    points = np.array(STROKES[label])
    along = np.concatenate([np.linspace(a, b, STEPS) for a, b in pairwise(points)])
    xy = (along - 0.5) * rng.uniform((3.4, 5.6), (5.6, 7.6))
    slant, turn = rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.2)
    xy = xy @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    xy[:, 0] -= slant * xy[:, 1]
    xy += 4.5 + rng.uniform(-1.0, 1.0, 2) + 0.35 * np.sin(rng.uniform(0, 7, 2) + xy[:, ::-1])
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).reshape(-1, 1, 2)
    nearest_P = np.sqrt(((grid - xy) ** 2).sum(-1)).min(1)
    return np.asarray(nearest_P < rng.uniform(0.55, 0.85))


class DigitJudge(NamedTuple):
    """An `Mlp` in whole numbers: which of two digits do these pixels look like?"""

    first_PH: Ints
    first_H: Ints
    second_HC: Ints
    second_C: Ints

    @classmethod
    def of(cls, mlp: Mlp) -> DigitJudge:
        """Return the judge that a trained network becomes when its weights are rounded."""
        powers = (1, 1, 1, 2)
        parts = zip(mlp, powers, strict=True)
        return cls(*(np.rint(part * SCALE**power).astype(np.int64) for part, power in parts))

    def scores(self, lit: Ints) -> Ints:
        """Return a score for each digit, of revealed pixels given by number: [..., K] in, [..., C] out."""
        hidden = np.maximum(self.first_PH[lit].sum(-2) + self.first_H, 0)
        return np.asarray(hidden @ self.second_HC + self.second_C)


def drawn(rng: np.random.Generator, label: int, lit: int) -> tuple[int, ...]:
    """Return so many lit pixels of a digit, by number, in order: it is drawn until it has enough, and then thinned."""
    while True:
        (all_lit,) = np.nonzero(draw(rng, label))
        if len(all_lit) >= lit:
            return tuple(int(pixel) for pixel in np.sort(rng.choice(all_lit, lit, replace=False)))


def train_digit_judge(
    *, pixels: int, seed: int, hidden: int = HIDDEN, images: int = 6000, steps: int = 4000, size: int = 128
) -> DigitJudge:
    """Return a judge trained to name digits of which so many lit pixels are left, drawn at random each time.

    Args:
        pixels: lit pixels that are left.
        seed: of the images, the weights and the batches.
        hidden: units of the network.
        images: digits that it is trained on.
        steps: of Adam.
        size: images a step.
    """
    rng = np.random.default_rng([seed, pixels])
    labels_N = np.arange(images) % 10
    images_NP = np.stack([draw(rng, int(label)) for label in labels_N])
    has_enough_N = images_NP.sum(1) >= pixels
    images_NP, labels_N = images_NP[has_enough_N], labels_N[has_enough_N]

    def batches() -> Iterator[tuple[Floats, Ints]]:
        while True:
            rows_B = rng.integers(len(labels_N), size=size)
            yield sparse(rng, images_NP[rows_B], pixels), labels_N[rows_B]

    return DigitJudge.of(fit(new_mlp(rng, PIXELS, hidden, 10), batches(), steps=steps))


def sparse(rng: np.random.Generator, images_NP: NDArray[np.bool_], pixels: int) -> Floats:
    """Return the images with so many of their lit pixels left, drawn at random; 1 where one is. [N, P] in and out."""
    keys_NP = np.where(images_NP, rng.random(images_NP.shape), -1.0)
    kept_NK = np.argpartition(keys_NP, -pixels, axis=1)[:, -pixels:]
    found_NP = np.zeros(images_NP.shape)
    np.put_along_axis(found_NP, kept_NK, 1.0, axis=1)
    return found_NP


def save_judges(path: Path, judges: Mapping[int, DigitJudge]) -> None:
    """Write judges, by the pixels that they are shown, to an .npz file."""
    parts: dict[str, Any] = {
        f"{name}_{k}": part.astype(np.int32) for k, judge in judges.items() for name, part in _named(judge)
    }
    np.savez_compressed(path, **parts)


def _named(judge: DigitJudge) -> Iterator[tuple[str, Ints]]:
    yield from zip(judge._fields, judge, strict=True)


@lru_cache(maxsize=1)
def own_judges() -> dict[int, DigitJudge]:
    """Return the judges that come with the package, by the pixels that they are shown.

    `scripts/train_digit_judges.py` makes them.
    """
    with as_file(files(__package__) / "data" / JUDGES) as path, np.load(path, allow_pickle=False) as found:
        shown = sorted({int(name.rpartition("_")[2]) for name in found.files})
        return {k: DigitJudge(*(found[f"{name}_{k}"].astype(np.int64) for name in DigitJudge._fields)) for k in shown}
