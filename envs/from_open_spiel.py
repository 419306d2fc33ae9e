"""Games of OpenSpiel by name: `make("open_spiel/leduc_poker")`, `make("open_spiel/breakthrough(rows=6,columns=6)")`.

A state is the history of actions and what chance will bring. Where what it brings cannot depend on the moves, all of
it is dealt at the start and listed, so exact evaluation works; elsewhere a key in the state decides, hidden from both
seats. Left out: more than two players, and rules in words, which the library does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bridged import Bridged, listed, newest, plain, shortened, unique_names
from .game import near
from .prompt import uniform
from .reading import MAX_MOVE
from .spiel_chance import Luck, list_luck

MEANINGS = {
    "kuhn_poker": (
        "Three cards, 0 < 1 < 2; each player antes 1 chip and holds one card. Pass or bet 1 chip; after a bet, bet "
        "calls it and pass folds; the higher card wins at a showdown. In 0pb the digit is your card and the letters "
        "are the moves so far, p for pass and b for bet."
    ),
    "leduc_poker": (
        "Six cards, two of each rank: 0 and 1 the lowest, 4 and 5 the highest. Each player antes 1 chip and holds one "
        "card. A raise is 2 chips in round 1 and 4 chips in round 2, before which a public card is shown; at most two "
        "raises a round. A pair with the public card wins, else the higher rank. Among the moves of a round 1 is call "
        "and 2 is raise."
    ),
    "liars_dice": (
        "Each player rolls hidden dice. Bid a number and a face, as 2-3 for two threes among all dice, each bid higher "
        "than the last, or say liar: then the dice decide. The highest face counts as any."
    ),
    "tic_tac_toe": "Player 0 is x. x(1,2) puts an x in row 1, column 2, both counted from 0; three in a line win.",
}
"""What a few games mean by what they show."""
_ROOM = {"past": 2500, "knows": 4000, "sees": 3500, "legal": 3500}
"""Most characters of each part of a prompt."""
Past = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class SpielState:
    """What happened, and what chance will bring."""

    history: tuple[int, ...] = ()
    """Every action so far, those of chance too."""
    drawn: tuple[int, ...] = ()
    """What chance will bring, where all of it is dealt at the start."""
    key: int = 0
    """64-bit key of the chance to come, where it is not."""


class SpielPosition:
    """What is derived from a state: the library's own state, which is never changed, and what each seat did."""

    __slots__ = ("_moves", "past", "spiel")

    def __init__(self, spiel: Any, past: Past) -> None:
        self.spiel = spiel
        self.past = past
        self._moves: dict[str, int] | None = None

    @property
    def moves(self) -> dict[str, int]:
        """Actions by canonical move; empty where no seat is to move."""
        if self._moves is None:
            spiel = self.spiel
            seated = not (spiel.is_terminal() or spiel.is_chance_node())
            actions = spiel.legal_actions() if seated else []
            self._moves = unique_names(map(self.named, actions), actions, MAX_MOVE)
        return self._moves

    def named(self, action: int) -> str:
        """Return what the library calls an action."""
        name = str(self.spiel.action_to_string(self.spiel.current_player(), action))
        return name[4:].lstrip() if name[:4] in ("[P0]", "[P1]") else name


class OpenSpielGame(Bridged[SpielState, SpielPosition]):
    """A two-player game of OpenSpiel; simultaneous moves are made in turn, player 0's unseen by player 1."""

    family = "open_spiel"

    def __init__(self, name: str, *, rules: str = "", nodes: int = 60_000) -> None:
        """Load a game.

        Args:
            name: its name in the library, with parameters if wanted: `"breakthrough(rows=6,columns=6)"`.
            rules: what both seats are told; empty: the game's name, its parameters, what it pays, and for a few games
                what they mean by what they show.
            nodes: most histories that are looked through to find out whether chance depends on the moves. With more,
                larger games can be evaluated exactly, and take longer to make.

        Raises ValueError for what is no two-player game of the library, naming the near name.
        """
        super().__init__()
        self.title = name
        self._nodes = nodes
        self._load()
        self.rules = rules or _rules(name, self._spiel)
        self.reward_range = (float(self._spiel.min_utility()), float(self._spiel.max_utility()))
        self.zero_sum = _is(self._spiel, "utility", "ZERO_SUM")
        self.max_turns = max(1, self._spiel.max_game_length())
        self.max_prompt = sum(_ROOM.values()) + len(self.rules) + 500

    def _load(self) -> None:
        self._spiel = load(self.title)
        about = self._spiel.get_type()
        self._open = _is(self._spiel, "information", "PERFECT_INFORMATION")
        self._knows = about.provides_information_state_string and not self._open
        self._sees = about.provides_observation_string
        self._pays = _is(self._spiel, "reward_model", "REWARDS")
        self._seeded = _is(self._spiel, "chance_mode", "SAMPLED_STOCHASTIC")
        self._luck: Luck | None = None if self._seeded else list_luck(self._spiel, nodes=self._nodes)

    def __getstate__(self) -> dict[str, Any]:
        # Games of the library pickle, but not those that are converted to turns.
        return {key: value for key, value in self.__dict__.items() if key not in ("_spiel", "_luck")}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._load()

    @classmethod
    def candidates(cls) -> dict[str, str]:
        # Games of ours that went over there are none of the library's own.
        names = {about.short_name: _why_not(about) for about in _types(python=True)}
        return {name: why for name, why in names.items() if not name.startswith("sparring_")}

    def deal(self, rng: np.random.Generator) -> SpielState:
        if self._luck is None:
            return self._dealt(SpielState(key=int(rng.integers(1 << 63))))
        return self._dealt(SpielState(drawn=self._luck.pick(rng.random())))

    def deals(self) -> Iterator[tuple[SpielState, float]]:
        if self._luck is None:
            raise NotImplementedError(
                f"{self.name}: what chance brings depends on the moves, or is too much to list; make the game with "
                "more nodes= or with smaller parameters, or play sampled matches"
            )
        for drawn, probability in self._luck.listed:
            yield self._dealt(SpielState(drawn=drawn)), probability

    def seat(self, state: SpielState) -> int | None:
        spiel = self._position(state).spiel
        return None if spiel.is_terminal() else int(spiel.current_player())

    def observation(self, state: SpielState, seat: int) -> str:
        position = self._position(state)
        lines = [f"You are player {seat}."]
        if past := position.past[seat]:
            lines.append(self._recalled(past))
        sees = _clean(position.spiel.observation_string(seat)) if self._sees else ""
        if self._knows:
            knows = _clean(position.spiel.information_state_string(seat))
            lines.append(_headed("All you know", knows, _ROOM["knows"]))
            # A picture helps; a line that says less than the line above does not.
            sees = sees if "\n" in sees and sees not in knows else ""
        if sees:
            lines.append(_headed("What you see", sees, _ROOM["sees"]))
        return "\n".join(lines)

    def _recalled(self, past: tuple[str, ...]) -> str:
        if self._open:
            return f"Moves so far: {newest(past, _ROOM['past'], ', ')}"
        if self._knows:
            return f"Your moves so far: {newest(past, _ROOM['past'], ', ')}"
        return f"Your earlier turns:\n{newest(past, _ROOM['past'], chr(10))}"

    def legal(self, state: SpielState) -> tuple[str, ...]:
        return tuple(self._position(state).moves)

    def request(self, state: SpielState) -> str:
        position = self._position(state)
        numbered = [
            f"[{move}] is {shortened(plain(position.named(action)), 120)}"
            for move, action in position.moves.items()
            if move == f"move {action}"
        ]
        room = _ROOM["legal"] // 2
        meanings = f"{newest(numbered, room, chr(10))}\n" if numbered else ""
        return meanings + listed(tuple(position.moves), self.show_legal, room if numbered else 2 * room)

    def play(self, state: SpielState, move: str) -> SpielState:
        position = self._position(state)
        action = position.moves.get(move)
        if action is None:
            raise ValueError(f"{move!r} is not legal now; legal: {tuple(position.moves)}")
        after = SpielState((*state.history, action), state.drawn, state.key)
        return self._settled(after, self._moved(position, action))

    def rewards(self, state: SpielState) -> tuple[float, float]:
        spiel = self._position(state).spiel
        return _pair(spiel.returns()) if spiel.is_terminal() else (0.0, 0.0)

    def earned(self, state: SpielState) -> tuple[float, float]:
        return _pair(self._position(state).spiel.returns()) if self._pays else (0.0, 0.0)

    def _dealt(self, state: SpielState) -> SpielState:
        return self._settled(state, self._first(state))

    def _first(self, state: SpielState) -> SpielPosition:
        spiel = self._spiel
        if self._seeded:
            # Such a game draws from a generator of its own, which only its parameters can seed.
            spiel = load(self.title, rng_seed=state.key & 0x7FFFFFFF)
        return SpielPosition(spiel.new_initial_state(), ((), ()))

    def _settled(self, state: SpielState, position: SpielPosition) -> SpielState:
        """Let chance act until a seat is to move or the game is over; keep the position, return its state."""
        history, drawn = state.history, state.drawn
        while position.spiel.is_chance_node():
            action = drawn[0] if drawn else _draw(position.spiel, uniform(state.key, len(history)))
            position = self._moved(position, action)
            history, drawn = (*history, action), drawn[1:]
        after = SpielState(history, drawn, state.key)
        self._positions.keep(after, position)
        return after

    def _rebuilt(self, state: SpielState) -> SpielPosition:
        position = self._first(state)
        for action in state.history:
            position = self._moved(position, action)
        return position

    def _moved(self, position: SpielPosition, action: int) -> SpielPosition:
        """Return the position after an action of a seat or of chance."""
        spiel = position.spiel.clone()
        spiel.apply_action(action)
        return SpielPosition(spiel, self._remembered(position, action))

    def _remembered(self, position: SpielPosition, action: int) -> Past:
        """Return what the seats remember after an action: all of it in an open game, else what they did themselves."""
        first, second = position.past
        if position.spiel.is_chance_node():
            if not self._open:
                return position.past
            entry = f"(chance: {plain(position.named(action))})"
            return (*first, entry), (*second, entry)
        seat = position.spiel.current_player()
        entry = next(move for move, number in position.moves.items() if number == action)
        if self._open:
            entry = f"{seat}:{entry}"
            return (*first, entry), (*second, entry)
        if not self._knows:
            entry = f"{_clean(position.spiel.observation_string(seat))}\nYou played {entry}."
        return ((*first, entry), second) if seat == 0 else (first, (*second, entry))


def load(title: str, **settings: Any) -> Any:
    """Return a game of the library, to be played in turns. Raises ValueError where it is none for two players."""
    import pyspiel

    name, parenthesis, parameters = title.partition("(")
    abouts = {about.short_name: about for about in _types()}
    if name not in abouts:
        abouts = {about.short_name: about for about in _types(python=True)}
    if name not in abouts:
        two = [known for known, about in abouts.items() if not _why_not(about)]
        raise ValueError(f"open_spiel has no game {name!r}.{near(name, two)}")
    if why := _why_not(abouts[name]):
        raise ValueError(f"open_spiel's {name} is no two-player game here: {why}")
    if not parenthesis and abouts[name].parameter_specification.get("players", 2) != 2:
        settings["players"] = 2
    given = [parameters.removesuffix(")"), *(f"{key}={value}" for key, value in settings.items())]
    try:
        spiel = pyspiel.load_game(f"{name}({','.join(filter(None, given))})")
    except pyspiel.SpielError as error:
        raise ValueError(f"open_spiel cannot make {title!r}: {error}") from error
    if spiel.num_players() != 2:
        raise ValueError(f"{title!r} is for {spiel.num_players()} players; give it parameters that make it for two")
    return pyspiel.convert_to_turn_based(spiel) if _is(spiel, "dynamics", "SIMULTANEOUS") else spiel


def _types(*, python: bool = False) -> list[Any]:
    import pyspiel

    if python:
        import open_spiel.python.games  # noqa: F401  (It registers the games that are written in Python.)
    return list(pyspiel.registered_games())


def _why_not(about: Any) -> str:
    """Return why a type of game cannot come over, empty if it may."""
    if not about.min_num_players <= 2 <= about.max_num_players:
        return f"it is for {about.min_num_players} to {about.max_num_players} players"
    if str(about.dynamics).endswith("MEAN_FIELD"):
        return "it is a mean-field game"
    if not about.default_loadable:
        return "it needs parameters that have no default"
    if not (about.provides_information_state_string or about.provides_observation_string):
        return "it shows nothing in text"
    return ""


def _is(spiel: Any, field: str, value: str) -> bool:
    return str(getattr(spiel.get_type(), field)).rpartition(".")[2] == value


def _rules(title: str, spiel: Any) -> str:
    name = title.partition("(")[0]
    parameters = spiel.get_parameters()
    parameters = parameters.get("game", parameters)
    given = ", ".join(f"{key} = {value}" for key, value in parameters.items() if key not in ("name", "players"))
    low, high = spiel.min_utility(), spiel.max_utility()
    pays = ", and what one player wins the other loses" if _is(spiel, "utility", "ZERO_SUM") else ""
    return "\n".join(
        [
            f"You are playing {_long_name(name)}, the game {name} of the library OpenSpiel, by its rules.",
            *([MEANINGS[name]] if name in MEANINGS else []),
            *([f"Parameters: {shortened(plain(given), 600)}."] if given else []),
            f"Your reward at the end is from {low:g} to {high:g}{pays}. The players are 0 and 1.",
        ]
    )


def _long_name(name: str) -> str:
    return next(str(about.long_name) for about in _types() if about.short_name == name)


def _draw(spiel: Any, number: float) -> int:
    """Return the outcome of chance that `number`, uniform from 0 to 1, stands for."""
    outcomes = spiel.chance_outcomes()
    for action, probability in outcomes:
        number -= probability
        if number < 0:
            return int(action)
    return int(outcomes[-1][0])


def _clean(text: str) -> str:
    return plain(text).strip("\n")


def _headed(title: str, text: str, room: int) -> str:
    return f"{title}:{chr(10) if chr(10) in text else ' '}{shortened(text, room)}"


def _pair(returns: Any) -> tuple[float, float]:
    first, second = returns
    return float(first), float(second)
