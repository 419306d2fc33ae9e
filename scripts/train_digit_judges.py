"""Train the judges of SparseDebate-v0 again: one for each number of revealed pixels, from nothing, in numpy.

    python scripts/train_digit_judges.py                        # writes envs/data/digit_judges.npz, the same again
    python scripts/train_digit_judges.py --seed 1 --out mine.npz

Weights are rounded to whole numbers, so that a verdict is the same on every machine; training itself is in floating
point and may differ in the last bits on another one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sparring.envs.digits import JUDGES, save_judges, train_digit_judge

PIXELS = (2, 4, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    default = Path(__file__).resolve().parent.parent / "envs" / "data" / JUDGES
    parser.add_argument("--seed", type=int, default=0, help="of the images, the weights and the batches")
    parser.add_argument("--out", type=Path, default=default, help="the .npz file to write")
    options = parser.parse_args()
    judges = {pixels: train_digit_judge(pixels=pixels, seed=options.seed) for pixels in PIXELS}
    save_judges(options.out, judges)
    print(f"{options.out}: judges of {', '.join(map(str, judges))} pixels")


if __name__ == "__main__":
    main()
