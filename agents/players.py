"""The players that need no model: random, scripted, and a person at the terminal.

Chosen: the random player draws from the prompt's own noise, so it too gives the same games in any batch.
Left out: a person's mistakes as forfeits; an unreadable line is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparring.envs import Prompt, Reply, read_move, uniform

SPEECH = "I have nothing to add."
"""What the random player says where the move is free text and the game gives no example."""


class PlayerLeft(KeyboardInterrupt):
    """A person ended the game, by Ctrl-C or the end of input; what is done about errors leaves it alone."""


def pick(prompt: Prompt, row: ArrayLike) -> str:
    """Draw a legal move with the given probabilities, which sum to one, by the prompt's noise.

    Raises ValueError if the move is free text.
    """
    if not prompt.legal:
        raise ValueError(f"there is no legal move to pick from at:\n{prompt.text}")
    total = np.cumsum(row)
    i = int(np.searchsorted(total, uniform(prompt.noise), side="right"))
    if i >= len(prompt.legal):
        # Rounding may leave the sum just below one; the last move that has any probability takes the rest.
        i = int(np.flatnonzero(np.asarray(row)).max(initial=0))
    return prompt.legal[i]


class RandomAgent:
    """Plays each legal move with equal probability; where the move is free text, one of the prompt's speeches."""

    def __init__(self, *, name: str = "random") -> None:
        self.name = name

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, drawn by the prompt's noise."""
        return [Reply(text=_random_text(prompt)) for prompt in prompts]

    def move_probabilities(self, prompts: Sequence[Prompt]) -> list[NDArray[np.float64]]:
        """Return uniform probabilities; no entry where the move is free text."""
        return [np.full(n, 1.0 / max(n, 1)) for n in (len(prompt.legal or ()) for prompt in prompts)]


def _random_text(prompt: Prompt) -> str:
    if not prompt.legal:
        said = prompt.speeches or (SPEECH,)
        return said[int(uniform(prompt.noise) * len(said))]
    return f"[{prompt.legal[int(uniform(prompt.noise) * len(prompt.legal))]}]"


class ScriptedAgent:
    """Says what it was told to: a list of replies, one after another, or a function of the prompt.

    >>> from sparring.envs import ask, make
    >>> game = make("KuhnPoker-v0")
    >>> prompt = ask(game, "Your move:", 0, ("check", "bet"))
    >>> [reply.text for reply in ScriptedAgent(["[bet]", "[fold]"]).reply([prompt, prompt])]
    ['[bet]', '[fold]']
    """

    def __init__(self, replies: Sequence[str] | Callable[[Prompt], str], *, name: str = "scripted") -> None:
        if isinstance(replies, str):
            raise TypeError(f"replies must be a list of texts or a function; for one text give [{replies!r}]")
        self.name = name
        self._replies = replies
        self._said = 0

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return the next reply for each prompt. Raises IndexError when the list is used up."""
        return [Reply(text=self._next(prompt)) for prompt in prompts]

    def _next(self, prompt: Prompt) -> str:
        if callable(self._replies):
            return self._replies(prompt)
        if self._said >= len(self._replies):
            raise IndexError(f"{self.name} has said all its {len(self._replies)} replies; give it more, or a function")
        self._said += 1
        return self._replies[self._said - 1]


class HumanAgent:
    """Asks a person, by default at the terminal. Brackets around a move may be left out.

    What the person has read already is not shown again: the rules after the first time, the game after a reply that was
    refused. What was wrong with such a reply is.
    """

    def __init__(
        self,
        *,
        name: str = "human",
        input: Callable[[str], str] = input,
        output: Callable[[str], None] = print,
    ) -> None:
        """Set up where to ask.

        Args:
            name: how tables call this player.
            input: shows a short text and returns a line; raises EOFError at the end of input.
            output: shows a text.
        """
        self.name = name
        self._input = input
        self._output = output
        self._rules = ""
        self._shown = ""

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Show each prompt and return what is typed. Raises PlayerLeft on Ctrl-C and at the end of input."""
        return [Reply(text=self._ask(prompt)) for prompt in prompts]

    def _ask(self, prompt: Prompt) -> str:
        self._output(self._news(prompt))
        while True:
            text = self._line()
            if prompt.legal is not None and "[" not in text:
                text = f"[{text.strip()}]"
            reading = read_move(text, prompt.legal)
            if reading.problem is None:
                return text
            self._output(reading.detail)

    def _news(self, prompt: Prompt) -> str:
        """Return what of a prompt the person has not read."""
        text, before = prompt.text, self._shown
        if before and len(text) > len(before) and text.endswith(before):
            return text[: -len(before)].strip()
        self._shown = text
        rules = prompt.game.rules if isinstance(prompt.game.rules, str) else prompt.game.rules[prompt.seat]
        if rules == self._rules and text.startswith(rules):
            return "\n" + text[len(rules) :].lstrip("\n")
        self._rules = rules
        return text

    def _line(self) -> str:
        try:
            return self._input(f"{self.name}> ")
        except (EOFError, KeyboardInterrupt):
            raise PlayerLeft(f"{self.name} left the game") from None
