"""A network of one hidden layer in plain numpy: forward, Adam, and weights in an .npz file.

Chosen: little enough that a game can hold one without torch. Left out: everything that larger networks need.

Shapes: B examples, K options an example, F features, H hidden units, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Mlp(NamedTuple):
    """Weights of F features, H rectified units and C outputs."""

    first_FH: Floats
    first_H: Floats
    second_HC: Floats
    second_C: Floats

    def __call__(self, features: Floats) -> Floats:
        """Return the outputs: [..., F] in, [..., C] out."""
        hidden = np.maximum(features @ self.first_FH + self.first_H, 0.0)
        return np.asarray(hidden @ self.second_HC + self.second_C)


def new_mlp(rng: np.random.Generator, features: int, hidden: int, outputs: int) -> Mlp:
    """Return random weights (He et al. 2015) and no biases."""
    first = rng.normal(0.0, np.sqrt(2.0 / features), (features, hidden))
    second = rng.normal(0.0, np.sqrt(2.0 / hidden), (hidden, outputs))
    return Mlp(first, np.zeros(hidden), second, np.zeros(outputs))


def fit(mlp: Mlp, batches: Iterable[tuple[Floats, Ints]], *, steps: int, lr: float = 3e-3) -> Mlp:
    """Return the weights after a step of Adam (Kingma and Ba 2015) on the cross-entropy of each batch.

    A batch is features and the right class of each example, [B]. Features are [B, F], and the classes then the C
    outputs; or [B, K, F], and the classes are the K options, each scored by itself, with C = 1.

    Args:
        mlp: where to start; it is not changed.
        batches: as many as `steps`, or more.
        steps: of Adam.
        lr: learning rate at the start; it falls to zero linearly.
    """
    weights = [np.array(part) for part in mlp]
    means, squares = ([np.zeros_like(part) for part in mlp] for _ in range(2))
    for step, (features, labels_B) in enumerate(batches):
        if step == steps:
            break
        for part, gradient, mean, square in zip(
            weights, _gradients(Mlp(*weights), features, labels_B), means, squares, strict=True
        ):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            scale = np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
            part -= lr * (1 - step / steps) * mean / (1 - 0.9 ** (step + 1)) / scale
    return Mlp(*weights)


def _gradients(mlp: Mlp, features: Floats, labels_B: Ints) -> Mlp:
    """Return the gradient of the mean cross-entropy by each part."""
    count = len(labels_B)
    hidden = np.maximum(features @ mlp.first_FH + mlp.first_H, 0.0)
    output = hidden @ mlp.second_HC + mlp.second_C
    error = softmax(output.reshape(count, -1))
    error[np.arange(count), labels_B] -= 1.0
    error_NC = (error / count).reshape(-1, output.shape[-1])
    hidden_NH, features_NF = hidden.reshape(-1, hidden.shape[-1]), features.reshape(-1, features.shape[-1])
    back_NH = (error_NC @ mlp.second_HC.T) * (hidden_NH > 0)
    return Mlp(features_NF.T @ back_NH, back_NH.sum(0), hidden_NH.T @ error_NC, error_NC.sum(0))


def softmax(logits: Floats) -> Floats:
    """Return probabilities over the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def save_mlp(path: Path, mlp: Mlp) -> None:
    """Write the weights to an .npz file."""
    np.savez_compressed(path, **mlp._asdict())


def load_mlp(path: Path) -> Mlp:
    """Return the weights of an .npz file; nothing is unpickled. Raises ValueError for a file that holds none."""
    try:
        with np.load(path, allow_pickle=False) as found:
            mlp = Mlp(*(np.asarray(found[name], dtype=np.float64) for name in Mlp._fields))
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} holds no weights of an Mlp: {error}") from error
    if mlp.first_FH.ndim != 2 or mlp.second_HC.shape[:1] != mlp.first_H.shape:
        raise ValueError(f"{path} holds weights that do not fit together")
    return mlp
