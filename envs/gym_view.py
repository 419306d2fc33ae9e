"""The Gymnasium view: both seats in turn, or one seat against an opponent who plays itself.

A thin shell around `Match`. Left out: shaped rewards, histories (a prompt says all that its seat may know).
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
from gymnasium.error import ResetNeeded

from .game import Game
from .match import Match
from .prompt import Opponent, ask, mix
from .reading import Reading
from .views import CUT, UNREAD, build, draw, prompt_space, reply_space, shown

Result = tuple[str, float, bool, bool, dict[str, Any]]


class TextGameEnv(gymnasium.Env[str, str]):
    """A two-player language game as a Gymnasium environment. Observations and actions are text.

    **Both seats** (no `opponent`): `step` takes the reply of the seat to move. The observation is the prompt of the
    seat to move next; the reward is that of the seat that just moved. It is 0 until the game ends, when
    `info["rewards"]` has both. **One seat** (`opponent` given): the opponent answers its own prompts inside `reset` and
    `step`; observations and rewards are all the learner's. Should the game end before the learner's first turn, the
    first `step` reports it and its action is not read.

    Any object is accepted as an action and judged by `read_move`. `terminated` is true when the game was played out
    or forfeited, `truncated` at the turn limit and where it is void. Stepping a finished game raises RuntimeError and
    changes nothing.

    `info` has `seat` (whose observation this is), `mover` (whose action was read and whose reward this is, -1 after
    reset), `legal_actions` (None where the move is free text, empty at the end), `ending`, `offender` (-1: nobody),
    `illegal` (illegal replies of each seat), `turns`, `rewards`, and how the action was read: `move`, `problem`,
    `detail`. `action_space.sample(info["legal_actions"])` draws a legal action.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        game: str | Game[Any],
        *,
        opponent: Opponent | None = None,
        seat: int | None = None,
        retries: int = 0,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """Make the environment.

        Args:
            game: a game, or the name of one; `settings` are then its settings, for instance `skin="obfuscated"`.
            opponent: plays the other seat; None: `step` takes the replies of both seats in turn.
            seat: the learner's seat when there is an opponent; None draws it at every reset.
            retries: illegal replies that a seat may take back in one turn; 0 forfeits at once.
            render_mode: "ansi" or None.
        """
        if seat not in (None, 0, 1):
            raise ValueError(f"seat must be 0, 1 or None, not {seat!r}")
        if seat is not None and opponent is None:
            raise ValueError("seat= says which seat the learner holds against opponent=; give both or neither")
        if opponent is not None and not isinstance(opponent, Opponent):
            raise TypeError(f"opponent must have reply(prompts), like the agents of sparring.agents; got {opponent!r}")
        self.game = build(game, settings, retries)
        self.opponent = opponent
        self.retries = retries
        self.render_mode = render_mode
        self.observation_space = prompt_space(self.game)
        self.action_space = reply_space()
        self._fixed_seat = seat
        self._match: Match[Any] | None = None
        self._learner: int | None = None
        self._key = 0
        self._asked = 0
        self._owes_ending = False

    @property
    def match(self) -> Match[Any]:
        """The game in progress. Raises ResetNeeded before the first reset."""
        if self._match is None:
            raise ResetNeeded("call reset() before anything else")
        return self._match

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Deal a new game. The same seed gives the same deal in every view."""
        super().reset(seed=seed)
        match = self._match = Match(self.game, self.np_random, retries=self.retries)
        # Drawn in both modes, so that an opponent never shifts later deals; raw, as `integers` takes 1.4 microseconds.
        self._key = self.np_random.bit_generator.random_raw() >> 1
        if self.opponent is not None:
            self._asked = 0
            self._learner = self._draw_seat()
            self._let_opponent_play(match, self.opponent)
        self._owes_ending = match.ending is not None
        observation, *_, info = self._result(match, UNREAD, -1)
        return observation, info

    def step(self, action: object) -> Result:
        """Judge the reply of the seat to move. Raises RuntimeError, changing nothing, when the game is over."""
        match = self._match or self.match
        if self._owes_ending:
            self._owes_ending = False
            return self._result(match, UNREAD, self._learner or 0)
        mover = match.seat
        reading = match.step(action)
        assert mover is not None
        if self.opponent is not None:
            self._let_opponent_play(match, self.opponent)
        return self._result(match, reading, mover)

    def render(self) -> str | None:
        """Return the state as both seats see it in "ansi" mode."""
        return draw(self.match) if self.render_mode == "ansi" else None

    def _draw_seat(self) -> int:
        return mix(self._key, 0) & 1 if self._fixed_seat is None else self._fixed_seat

    def _let_opponent_play(self, match: Match[Any], opponent: Opponent) -> None:
        while match.seat is not None and match.seat != self._learner:
            self._asked += 1
            noise = mix(self._key, self._asked)
            speeches = self.game.speeches(match.state) if match.legal is None else ()
            slot = (0, match.seat)
            prompt = ask(self.game, match.prompt, match.seat, match.legal, slot=slot, noise=noise, speeches=speeches)
            (reply,) = opponent.reply([prompt])
            if reply.fault:
                match.void(reply.fault)
            else:
                match.step(reply.text)

    def _result(self, match: Match[Any], reading: Reading, mover: int) -> Result:
        seat = match.seat
        if seat is not None:  # An opponent has played by now, so this is the learner's seat if there is one.
            return match.prompt, 0.0, False, False, _info(match, reading, mover, seat)
        seat = max(mover, 0) if self._learner is None else self._learner
        info = _info(match, reading, mover, seat)
        truncated = match.ending in CUT
        return shown(match, seat), match.rewards[mover], not truncated, truncated, info


def _info(match: Match[Any], reading: Reading, mover: int, seat: int) -> dict[str, Any]:
    # Written out rather than put together from `report` and `report_reading`, which takes twice the time a step.
    move, problem, detail = reading
    return {
        "seat": seat,
        "mover": mover,
        "legal_actions": match.legal if match.ending is None else (),
        "rewards": match.rewards,
        "ending": match.ending,
        "offender": -1 if match.offender is None else match.offender,
        "illegal": match.illegal,
        "turns": match.turns,
        "move": move,
        "problem": problem,
        "detail": detail,
    }
