"""The contract of a game as a check that anyone can run: `check_game(MyGame())`.

Every law is a function that looks at one spot of a random game and raises `ContractError` with the law broken and
the remedy. Left out: what is secret in a game. No check can know that; say it in a test that changes the secret
and compares the other seat's prompts.
"""

from __future__ import annotations

import copy
import math
import pickle
import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from .check_cases import Spot, broken, check_figures, moves_of, settled, some
from .game import Game
from .reading import read_move
from .registry import make

MOST_DEALS = 200_000
"""Deals beyond this number are not added up."""
NO_MOVE = "no such move"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def check_game(game: Game[Any] | str, *, games: int = 50, seed: int = 0) -> None:
    """Hold a game to the contract of `Game` over random play. Returns None if it keeps every law.

    Args:
        game: a game, or the name of one.
        games: how many random games to look at; every state of each is checked.
        seed: of the random play.

    Raises ContractError, naming the law broken and the remedy.
    """
    game = make(game) if isinstance(game, str) else game
    _check_settings(game)
    known: dict[tuple[int, str], tuple[str, tuple[str, ...] | None]] = {}
    deals = []
    for number in range(games):
        before = _global_rngs()
        state = game.deal(np.random.default_rng([seed, number]))
        _check_global_rngs(game, before)
        _check_deal(game, state, [seed, number])
        deals.append(state)
        _walk(Spot(game, state, np.random.default_rng([seed, number, 1]), known))
        _check_global_rngs(game, before)
    _check_deals(game, deals)


def _walk(spot: Spot) -> None:
    """Check every state of one random game."""
    game = spot.game
    for _ in range(game.max_turns + 1):
        seat = game.seat(spot.state)
        if seat is None and game.case(spot.state) is not None:
            for law in EVERYWHERE:
                law(spot)
            spot = replace(spot, state=settled(spot))
            continue
        if seat is not None and (type(seat) is not int or seat not in (0, 1)):
            broken(game, f"seat() returned {seat!r}", "return 0, 1, or None when the game is over")
        for law in EVERYWHERE if seat is not None else (*EVERYWHERE, *AT_THE_END):
            law(spot)
        if seat is None:
            return
        for law in DURING:
            law(spot)
        moves = moves_of(game, spot.state)
        spot = replace(spot, state=game.play(spot.state, moves[spot.rng.integers(len(moves))]))
    broken(game, f"it went on after max_turns = {game.max_turns} moves", "end it sooner or raise max_turns")


def _global_rngs() -> tuple[object, ...]:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return random.getstate(), np.asarray(keys).tobytes(), position


def _check_global_rngs(game: Game[Any], before: tuple[object, ...]) -> None:
    if _global_rngs() != before:
        broken(game, "it draws from or seeds a global random generator", "use the rng that deal() is given")


def _check_settings(game: Game[Any]) -> None:
    rules = (game.rules,) * 2 if isinstance(game.rules, str) else game.rules
    if not (isinstance(rules, tuple) and len(rules) == 2 and all(isinstance(r, str) for r in rules)):
        broken(game, "rules are not text", "make `rules` a string, or a pair of strings for two roles")
    low, high = game.reward_range
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        broken(game, f"reward_range is {game.reward_range}", "give two finite numbers, the lowest first")
    if game.max_turns < 1 or game.max_prompt < 1:
        broken(game, "max_turns and max_prompt must be at least 1", "raise them")
    _check_copies(game, game, "the game itself")


def _check_copies(game: Game[Any], thing: Any, what: str) -> tuple[Any, Any]:
    """Return the thing pickled and deep-copied."""
    try:
        return pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing)
    except Exception as error:  # noqa: BLE001
        broken(game, f"{what} does not pickle and copy ({error})", "keep lambdas and open files out of it", error)


def _check_deal(game: Game[Any], state: Any, seed: list[int]) -> None:
    """The same seed deals the same game again, also from a copy of the game."""
    for dealer in (game, copy.deepcopy(game)):
        if dealer.deal(np.random.default_rng(seed)) != state:
            broken(
                game,
                "the same seed deals two games",
                "let deal() use its rng alone, shuffle no list that it keeps, and make states compare equal",
            )
    if (earned := _earned(game, state)) != (0, 0):
        broken(game, f"a deal has earned {earned} already", "let earned() be (0.0, 0.0) before the first move")
    if game.seat(state) is None:
        broken(game, "a deal is over before the first move", "deal states in which somebody is to move")


def _check_state(spot: Spot) -> None:
    """States are values: hashable, and equal to their copies."""
    remedy = "make it a frozen dataclass of numbers, strings and tuples"
    pickled, copied = _check_copies(spot.game, spot.state, "a state")
    try:
        same = hash(spot.state) == hash(pickled) == hash(copied)
    except TypeError as error:
        broken(spot.game, f"a state is not hashable ({error})", remedy, error)
    if not (same and spot.state == pickled == copied):
        broken(spot.game, "a state differs from its own copy", remedy)


def _check_observations(spot: Spot) -> None:
    """Both seats may be shown any state, always in the same words."""
    for seat in (0, 1):
        try:
            text = spot.game.observation(spot.state, seat)
        except Exception as error:  # noqa: BLE001
            broken(
                spot.game,
                f"observation() of seat {seat} raised {error!r}",
                "describe any state to both",
                error,
            )
        _check_text(spot.game, text, f"observation of seat {seat}")
        if text != spot.game.observation(copy.deepcopy(spot.state), seat):
            broken(
                spot.game,
                "equal states are observed in two ways",
                "compute observation() from the state alone",
            )


def _check_text(game: Game[Any], text: object, what: str) -> None:
    if type(text) is not str:
        broken(game, f"the {what} is {type(text).__name__}", "return a str")
    if len(text) > game.max_prompt:
        broken(
            game,
            f"the {what} has {len(text)} characters",
            f"keep to max_prompt = {game.max_prompt}, or raise it",
        )
    control = _CONTROL.search(text)
    if control is not None:
        broken(
            game,
            f"the {what} has a control character, {control[0]!r}",
            "show printable text and newlines only",
        )


def _check_rewards(spot: Spot) -> None:
    """Two finite numbers; nothing before the end."""
    rewards = spot.game.rewards(spot.state)
    _check_pair(spot.game, rewards, "rewards()")
    over = spot.game.seat(spot.state) is None and spot.game.case(spot.state) is None
    if not over and rewards != (0, 0):
        broken(spot.game, f"an unfinished game has rewards {rewards}", "return (0.0, 0.0) before the end")


def _check_earned(spot: Spot) -> None:
    """Two finite numbers in every state, the last one too."""
    _earned(spot.game, spot.state)


def _earned(game: Game[Any], state: Any) -> tuple[float, float]:
    try:
        earned = game.earned(state)
    except Exception as error:  # noqa: BLE001
        broken(game, f"earned() raised {error!r}", "say of any state what each seat has earned so far", error)
    _check_two(game, earned, "earned()")
    if not all(map(math.isfinite, earned)):
        broken(game, f"earned() returned {earned}", "return two finite numbers")
    return earned


def _check_speeches(spot: Spot) -> None:
    """What might be said is read as it stands, and depends on nothing that the seat cannot know."""
    game, state = spot.game, spot.state
    if game.legal(state) is not None:
        return
    for speech in some(spot, game.speeches(state)):
        if type(speech) is not str or read_move(speech, None, brackets=game.keeps_brackets).move != speech:
            broken(game, f"the speech {speech!r} is not read as it stands", "give printable text on one line")


def _check_two(game: Game[Any], pair: Any, what: str) -> None:
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(r, int | float) for r in pair)):
        broken(game, f"{what} returned {pair!r}", "return a tuple of two floats, one a seat")


def _check_pair(game: Game[Any], pair: Any, what: str) -> None:
    _check_two(game, pair, what)
    low, high = game.reward_range
    if not all(low <= reward <= high for reward in pair):
        broken(game, f"{what} returned {pair}", f"keep to reward_range = {game.reward_range}, or widen it")
    if game.zero_sum and not math.isclose(sum(pair), 0.0, abs_tol=1e-9):
        broken(game, f"{what} returned {pair}, not zero-sum", "set zero_sum = False, or make the two sum to zero")


def _check_legal(spot: Spot) -> None:
    """Legal moves can be written, read back and told apart."""
    game, legal = spot.game, spot.game.legal(spot.state)
    if legal is None:
        return
    if not (isinstance(legal, tuple) and legal):
        broken(
            game,
            f"legal() returned {legal!r} in an unfinished game",
            "return a tuple of moves, or None for speech",
        )
    if len(set(legal)) != len(legal):
        broken(game, f"legal moves repeat: {legal}", "list each move once")
    for move in some(spot, legal):
        if type(move) is not str or read_move(f"I play [ {move} ].", legal).move != move:
            broken(
                game,
                f"the legal move {move!r} is not canonical",
                "write it in lower case, without brackets, double spaces or outer spaces, in at most 64 characters",
            )
    if legal != game.legal(copy.deepcopy(spot.state)):
        broken(
            game,
            "equal states have different legal moves",
            "compute legal() from the state alone, in one order",
        )


def _check_prompt(spot: Spot) -> None:
    """The information set of a seat is its observation: it decides the prompt and the legal moves."""
    game, state = spot.game, spot.state
    seat = game.seat(state)
    assert seat is not None
    prompt = game.prompt(state, seat)
    _check_text(game, prompt, "prompt")
    legal = game.legal(state)
    now = (prompt, game.speeches(state) if legal is None else legal)
    if spot.known.setdefault((seat, game.observation(state, seat)), now) != now:
        broken(
            game,
            "the same observation came with another prompt or other legal moves",
            "show in observation() all that they depend on, and let them depend on nothing hidden",
        )


def _check_play(spot: Spot) -> None:
    """A move gives a new state and leaves the old one; what is not legal raises ValueError."""
    game, state, legal = spot.game, spot.state, spot.game.legal(spot.state)
    before = copy.deepcopy(state)
    for move in some(spot, moves_of(game, state)):
        after = game.play(state, move)
        if state != before or hash(state) != hash(before):
            broken(
                game,
                f"play({move!r}) changed the state it was given",
                "return a new state; see dataclasses.replace",
            )
        if after != game.play(before, move):
            broken(game, f"play({move!r}) gives two results", "put all chance into deal()")
    if legal is not None:
        _check_refused(game, state, NO_MOVE, "an illegal move")


def _check_refused(game: Game[Any], state: Any, move: str, what: str) -> None:
    remedy = "raise ValueError there"
    try:
        game.play(state, move)
    except ValueError:
        return
    except Exception as error:  # noqa: BLE001
        broken(game, f"play() raised {type(error).__name__} for {what}", remedy, error)
    broken(game, f"play() accepted {what}, {move!r}", remedy)


def _check_forfeits(spot: Spot) -> None:
    """Giving up is never better than the worst loss."""
    game = spot.game
    for seat in (0, 1):
        rewards = game.forfeit(spot.state, seat)
        _check_pair(game, rewards, f"forfeit() of seat {seat}")
        if rewards[seat] > game.reward_range[0]:
            broken(
                game,
                f"a forfeit pays seat {seat} {rewards[seat]:g}, more than the worst loss",
                f"pay it {game.reward_range[0]:g}, or a losing player learns to forfeit",
            )


def _check_frozen(spot: Spot) -> None:
    """Nothing can be played once a game is over."""
    game, legal = spot.game, spot.game.legal(spot.state)
    for move in legal or (NO_MOVE,):
        _check_refused(game, spot.state, move, "a move in a finished game")


def _check_deals(game: Game[Any], seen: list[Any]) -> None:
    """`deals()`, where there is one, lists every deal and its probabilities sum to 1."""
    try:
        listed = list(islice(game.deals(), MOST_DEALS))
    except NotImplementedError:
        return
    if len(listed) == MOST_DEALS:
        return
    total = math.fsum(chance for _, chance in listed)
    if not math.isclose(total, 1.0, abs_tol=1e-9) or any(chance <= 0 for _, chance in listed):
        broken(
            game,
            f"the probabilities of deals() sum to {total:g}",
            "list every deal once, each above 0, in all 1",
        )
    states = {state for state, _ in listed}
    for state in seen:
        if state not in states:
            broken(
                game,
                f"deal() gave {state!r}, which deals() does not list",
                "let both describe the same deals",
            )


Law = Callable[[Spot], None]
EVERYWHERE: tuple[Law, ...] = (_check_state, _check_observations, _check_rewards, _check_earned)
DURING: tuple[Law, ...] = (_check_legal, _check_speeches, _check_prompt, _check_play, _check_forfeits)
AT_THE_END: tuple[Law, ...] = (_check_frozen, check_figures)
