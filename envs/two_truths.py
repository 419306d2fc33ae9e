"""Two truths and a lie: a speaker who holds a secret makes three statements about it, the other names the false one.

Chosen: statements come from a list and are true or false of the secret, so that nothing has to be judged and the game
with numbers is solved exactly. Left out: statements about the world, which test what a model knows and not whether it
can hide (TextArena's Truth and Deception), and free talk between statement and answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .game import Game, near
from .knowledge import table
from .talk import whole

ROUNDS = 3
"""Statements, one of which is false."""
ABOUT = ("number", "object")
RULES = (
    "You are playing Two Truths and a Lie. The speaker holds a secret {what}, drawn at random, and makes three "
    "statements about it, of which exactly one is false. Then the guesser, who does not know the secret, names the "
    "false one. The guesser wins if it is found, the speaker if it is not."
)
ROLES = (" You are the speaker.", " You are the guesser.")


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, n))


NUMBERS: tuple[tuple[str, Callable[[int, int], bool]], ...] = (
    ("it is even", lambda n, most: n % 2 == 0),
    ("it is odd", lambda n, most: n % 2 == 1),
    ("it is above {half}", lambda n, most: n > most // 2),
    ("it is prime", lambda n, most: _is_prime(n)),
    ("it is a multiple of 3", lambda n, most: n % 3 == 0),
    ("it is a power of 2", lambda n, most: n & (n - 1) == 0),
)


@dataclass(frozen=True, slots=True)
class TwoTruthsState:
    """A secret by its number in the list, the statements made, and which of them was named."""

    secret: int
    said: tuple[int, ...] = ()
    """Numbers of statements, in the order in which they were made."""
    named: int | None = None
    """Which of the three was named as false, from 0."""


class TwoTruths(Game[TwoTruthsState]):
    """Two truths and a lie: seat 0 speaks, seat 1 guesses. Won 1, lost -1."""

    roles = ("speaker", "guesser")
    hidden_information = True
    source = "Two truths and a lie, a traditional game; compare Truth and Deception in TextArena, arXiv 2504.11442"

    def __init__(self, *, about: str = "number", numbers: int = 8, things: tuple[str, ...] = ()) -> None:
        """Set up the game.

        Args:
            about: what the secret is: "number", from 1 to `numbers`, or "object", of a table of things.
            numbers: how many numbers there are.
            things: which objects there are, of those in the table; all if empty.
        """
        if about not in ABOUT:
            raise ValueError(f"unknown about {about!r}.{near(str(about), ABOUT)}")
        self.about = about
        if about == "number":
            self.secrets, self.statements, self.true = _numbers(whole("numbers", numbers, 4, 64))
        else:
            self.secrets, self.statements, self.true = _objects(things)
        for secret, true in zip(self.secrets, self.true, strict=True):
            if sum(true) < ROUNDS - 1 or all(true):
                raise ValueError(f"{secret!r} needs two statements that are true of it and one that is false")
        what = f"number from 1 to {numbers}" if about == "number" else f"object, one of: {', '.join(self.secrets)}"
        common = RULES.format(what=what)
        self.rules = (common + ROLES[0], common + ROLES[1])
        self.max_turns = ROUNDS + 1
        self.max_prompt = len(common) + 5 * sum(map(len, self.statements)) + 600

    def deal(self, rng: np.random.Generator) -> TwoTruthsState:
        return TwoTruthsState(int(rng.random() * len(self.secrets)))

    def deals(self) -> Iterator[tuple[TwoTruthsState, float]]:
        for secret in range(len(self.secrets)):
            yield TwoTruthsState(secret), 1 / len(self.secrets)

    def seat(self, state: TwoTruthsState) -> int | None:
        if state.named is not None:
            return None
        return 0 if len(state.said) < ROUNDS else 1

    def observation(self, state: TwoTruthsState, seat: int) -> str:
        lines = [f"The secret {self.about}: {self.secrets[state.secret]}."] if seat == 0 else []
        lines += [f"Statement {i}: {self.statements[s]}." for i, s in enumerate(state.said, 1)] or ["No statement yet."]
        if seat == 0 and state.named is None:
            true = ", ".join(
                text for text, holds in zip(self.statements, self.true[state.secret], strict=True) if holds
            )
            lines.append(f"True of it: {true}.")
        if state.named is not None:
            lines.append(f"Statement {state.named + 1} was named; statement {self._lie(state) + 1} is false.")
        return "\n".join(lines)

    def legal(self, state: TwoTruthsState) -> tuple[str, ...]:
        if state.named is not None:
            return ()
        if len(state.said) == ROUNDS:
            return tuple(str(i) for i in range(1, ROUNDS + 1))
        return tuple(self.statements[s] for s in self._open(state))

    def _open(self, state: TwoTruthsState) -> list[int]:
        """Return the statements that may still be made if in the end exactly one is false."""
        true = self.true[state.secret]
        lied = sum(not true[s] for s in state.said)
        must_lie = not lied and len(state.said) == ROUNDS - 1
        fitting = [s for s in range(len(true)) if not (must_lie if true[s] else lied)]
        return [s for s in fitting if s not in state.said]

    def play(self, state: TwoTruthsState, move: str) -> TwoTruthsState:
        if move not in self.legal(state):
            raise ValueError(f"{move!r} is not legal now; legal: {self.legal(state)}")
        if len(state.said) == ROUNDS:
            return replace(state, named=int(move) - 1)
        return replace(state, said=(*state.said, self.statements.index(move)))

    def _lie(self, state: TwoTruthsState) -> int:
        return next(i for i, s in enumerate(state.said) if not self.true[state.secret][s])

    def rewards(self, state: TwoTruthsState) -> tuple[float, float]:
        if state.named is None:
            return 0.0, 0.0
        return (-1.0, 1.0) if state.named == self._lie(state) else (1.0, -1.0)

    def figures(self, state: TwoTruthsState) -> dict[str, float]:
        """Return whether the lie was found, and at which place it stood, from 1."""
        lie = self._lie(state)
        return {"found": float(state.named == lie), "place_of_lie": lie + 1.0}


Facts = tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[bool, ...], ...]]
"""Secrets, statements, and for each secret which statements are true of it."""


def _numbers(most: int) -> Facts:
    statements = tuple(text.format(half=most // 2) for text, _ in NUMBERS)
    true = tuple(tuple(holds(n, most) for _, holds in NUMBERS) for n in range(1, most + 1))
    return tuple(str(n) for n in range(1, most + 1)), statements, true


def _objects(things: tuple[str, ...]) -> Facts:
    found = table("objects", things)
    statements = tuple(f"it is {attribute}" for attribute in found.attributes)
    return found.things, statements, tuple(tuple(thing in row for row in found.true) for thing in found.things)
