"""Games of TextArena by name: `make("textarena/KuhnPoker-v0")`, played in its own words.

A state is a seed and what was said; the environment is rebuilt from that, kept, and copied before it is stepped. Its
global seeding is fenced off, private reasoning never reaches it, its invalid moves are illegal replies here and its
exceptions void the game. Left out: its wrappers and retries, games that need a network, a key or more than two players.
"""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np

from .bridged import Bridged, Recent, fenced, newest, plain, shortened
from .game import Refused, Void, near
from .prompt import mix
from .textarena_moves import candidates_of

MOST_SAID = 1000
"""Characters of a reply that are passed on."""
_ROOM = {"prompt": 8000, "past": 10_000, "board": 4000}
"""Most characters of each part of an observation."""
_TRIES = 60
"""After which one example will do."""
_NOTHING = "I have nothing to add."


@dataclass(frozen=True, slots=True)
class TextState:
    """All that happened."""

    seed: int
    """Of everything random in the game, hidden from both seats."""
    said: tuple[str, ...] = ()
    """What the seats said, as it was passed on."""


@dataclass(frozen=True, slots=True)
class TextPosition:
    """What is derived from a state."""

    env: Any
    """The environment, never stepped again: a copy is."""
    frozen: bytes | None
    """The environment pickled, which is copied several times faster; None where it does not pickle."""
    heard: tuple[tuple[tuple[int, str, str], ...], tuple[tuple[int, str, str], ...]]
    """What each seat was told: who spoke (-1: the game), the words, and of what kind they are."""


class TextArenaGame(Bridged[TextState, TextPosition]):
    """A two-player game of TextArena. Moves are free text, in which its own square brackets stand."""

    family = "textarena"
    kept = 512
    keeps_brackets = True
    zero_sum = False

    def __init__(self, name: str, *, reward_range: tuple[float, float] = (-1.0, 1.0), examples: int = 4) -> None:
        """Find a game.

        Args:
            name: its id in the library, without "-raw" or "-train": `"KuhnPoker-v0"`.
            reward_range: the lowest and the highest reward of a seat; the library does not say.
            examples: replies that `speeches` looks for in each position, for random players and warm starts. 0 looks
                for none, which saves some milliseconds a turn where only models play.

        Raises ValueError for an unknown id, naming the near one, and for a game that cannot be made here, saying why.
        """
        super().__init__()
        if examples < 0:
            raise ValueError(f"examples must be 0 or more, not {examples}")
        self.examples = examples
        self._examples: Recent[TextState, tuple[str, ...]] = Recent(self.kept)
        if name not in (ids := _ids()):
            raise ValueError(f"TextArena has no game {name!r}.{near(name, ids)}")
        self.title = name
        self.reward_range = reward_range
        self.rules = (
            f"You are playing {name} of TextArena with another player. Lines that begin with [GAME] are the game's own "
            "words; all others are what a player said. Answer as the game asks: a move stands in square brackets. All "
            f"that you say outside <think> and </think> is passed on, so say at most {MOST_SAID} characters."
        )
        self.max_prompt = _ROOM["prompt"] + _ROOM["past"] + len(self.rules) + 500
        try:
            self._rebuilt(TextState(0))
        except (Exception, SystemExit) as error:
            raise ValueError(f"TextArena's {name} cannot be played here: {why_not(error)}") from error

    @classmethod
    def candidates(cls) -> dict[str, str]:
        return dict.fromkeys(_ids(), "")

    def deal(self, rng: np.random.Generator) -> TextState:
        return TextState(int(rng.integers(1 << 31)))

    def seat(self, state: TextState) -> int | None:
        table = self._position(state).env.state
        return None if table.done else int(table.current_player_id)

    def observation(self, state: TextState, seat: int) -> str:
        position = self._position(state)
        heard = position.heard[seat]
        boards = _newest_boards([kind for _, _, kind in heard])
        prompts = [words for _, words, kind in heard if kind == "PROMPT"]
        past = [
            _line(position.env, speaker, shortened(words, _ROOM["board"]))
            for i, (speaker, words, kind) in enumerate(heard)
            if i in boards or kind not in ("PROMPT", "GAME_BOARD")
        ]
        parts = [f"You are player {seat}.", shortened("\n".join(prompts), _ROOM["prompt"])]
        parts += [newest(past, _ROOM["past"], "\n")] if past else []
        return "\n".join(parts)

    def legal(self, state: TextState) -> None:
        return None

    def request(self, state: TextState) -> str:
        return "Your reply, which the other player reads:"

    def play(self, state: TextState, move: str) -> TextState:
        position = self._position(state)
        if position.env.state.done:
            raise ValueError("the game is over")
        if len(move) > MOST_SAID:
            raise Refused(f"Your reply was longer than {MOST_SAID} characters.")
        move = _harmless(position.env, move)
        after = TextState(state.seed, (*state.said, move))
        if after not in self._positions:
            try:
                self._positions.keep(after, _stepped(position, after))
            except Refused:
                raise
            except Exception as error:
                raise Void(f"TextArena's {self.title} raised {type(error).__name__}: {_first_line(error)}") from error
        return after

    def rewards(self, state: TextState) -> tuple[float, float]:
        table = self._position(state).env.state
        paid = (table.rewards or {}) if table.done else {}
        return float(paid.get(0, 0.0)), float(paid.get(1, 0.0))

    def speeches(self, state: TextState) -> tuple[str, ...]:
        """Return a few replies that the game takes: what it offers in brackets, and what its family is known to take.

        They are tried out on copies, in an order drawn by what the seat is shown.
        """
        if not self.examples:
            return ()
        found = self._examples.find(state)
        return self._examples.keep(state, self._found(state)) if found is None else found

    def _found(self, state: TextState) -> tuple[str, ...]:
        seat = self.seat(state)
        if seat is None:
            return ()
        shown = self.observation(state, seat)
        env = self._position(state).env
        sayings = [saying for saying in candidates_of(self.title, shown) if _harmless(env, saying) == saying]
        key = crc32(shown.encode())
        taken: list[str] = []
        for number, i in enumerate(sorted(range(len(sayings)), key=lambda i: mix(key, i))):
            if len(taken) >= (self.examples if number < _TRIES else 1):
                break
            taken += [sayings[i]] if self._takes(state, sayings[i]) else []
        return tuple(taken) or (_NOTHING,)

    def _takes(self, state: TextState, saying: str) -> bool:
        try:
            self.play(state, saying)
        except (Refused, Void):
            return False
        return True

    def _rebuilt(self, state: TextState) -> TextPosition:
        with fenced(state.seed, 0):
            env = _unwrapped(self.title)
            env.reset(num_players=2, seed=state.seed)
        position = _told(env, ((), ()))
        for turns in range(1, len(state.said) + 1):
            position = _stepped(position, TextState(state.seed, state.said[:turns]))
        return position


def _stepped(position: TextPosition, after: TextState) -> TextPosition:
    """Return the position of the next state. Raises Refused where the game finds what was said invalid."""
    env = pickle.loads(position.frozen) if position.frozen else copy.deepcopy(position.env)
    seat = env.state.current_player_id
    with fenced(after.seed, len(after.said)):
        env.step(after.said[-1])
    table = env.state
    if table.game_info[seat].get("invalid_move") or getattr(table, "error_count", 0):
        raise Refused(_reason(table, seat))
    return _told(env, position.heard)


def _reason(table: Any, seat: int) -> str:
    """Return why the game finds a reply invalid, in its own words."""
    told = [words for _, words, kind in table.observations[seat] if kind.name == "GAME_ADMIN"]
    words = told[-1] if told else str(table.game_info[seat].get("reason", ""))
    words = words.partition("Reason:")[2] or words
    return " ".join(plain(words.partition("Please resubmit")[0]).split()) or "That is not a valid reply."


def _told(env: Any, heard: Any) -> TextPosition:
    """Return the position whose seats have also heard what the environment has just told them."""
    table = env.state
    news = {seat: list(table.observations[seat]) for seat in (0, 1)}
    if not table.done:
        # Some games tell the seat to move more than stands in their lists, but only when they are asked.
        seat, told = env.get_observation()
        news[seat] = told
    first, second = (
        (*heard[seat], *((speaker, plain(words), kind.name) for speaker, words, kind in news[seat])) for seat in (0, 1)
    )
    table.observations, table.logs = {0: [], 1: []}, []
    return TextPosition(env, _frozen(env), (first, second))


def _frozen(env: Any) -> bytes | None:
    try:
        return pickle.dumps(env)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _newest_boards(kinds: list[str]) -> list[int]:
    """Return where the last board stands, and one that came with it; earlier ones are out of date."""
    last = [i for i, kind in enumerate(kinds) if kind == "GAME_BOARD"][-2:]
    return last if len(last) < 2 or last[0] + 1 == last[1] else last[1:]


def _line(env: Any, speaker: int, words: str) -> str:
    if speaker == -1:
        return f"[GAME] {words}"
    return f"[{_role(env, speaker)}] said: {_harmless(env, ' '.join(words.split()))}"


def _role(env: Any, seat: int) -> str:
    return str(env.state.role_mapping.get(seat, f"Player {seat}"))


def _harmless(env: Any, said: str) -> str:
    """Return what was said with round brackets around every name that the game itself puts into square ones."""
    if "[" not in said:
        return said
    return _tags(tuple(map(str, env.state.role_mapping.values()))).sub(r"(\1)", said)


@lru_cache(maxsize=64)
def _tags(roles: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted({"GAME", "Player 0", "Player 1", *roles}))
    return re.compile(rf"\[\s*({names})\s*\]", re.IGNORECASE)


def _unwrapped(name: str) -> Any:
    """Return a new environment without the wrappers that join, drop and broadcast what is said."""
    import textarena

    env = textarena.make(name)
    while isinstance(env, textarena.Wrapper):
        env = env.env
    return env


def _ids() -> list[str]:
    from textarena.envs.registration import ENV_REGISTRY

    return [name for name in ENV_REGISTRY if "-raw" not in name and "-train" not in name]


def why_not(error: BaseException) -> str:
    """Return in plain words why a game of TextArena cannot be made."""
    if isinstance(error, SyntaxError):
        return f"its source does not compile on this Python ({error.msg}); most such games need Python 3.12"
    if isinstance(error, FileNotFoundError):
        return "its data files are not in the package"
    text = _first_line(error)
    if isinstance(error, LookupError) and "nltk" in str(error).lower():
        return "it needs word lists of nltk that are not installed: nltk.download('words') and the like"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _first_line(error: BaseException) -> str:
    lines = [line.strip(" *") for line in str(error).splitlines()]
    return next((plain(line)[:150] for line in lines if line), "")
