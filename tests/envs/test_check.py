"""`check_game` passes every registered game in every skin, and each broken toy for the right reason."""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sparring.envs import ContractError, Game, check_game, list_games, make


@dataclass(frozen=True)
class HighState:
    cards: tuple[int, int]
    moves: tuple[str, ...] = ()


class High(Game):
    """Two cards, each seat says low or high; whoever is right about its own card wins. Honest in every way."""

    rules = "Say whether your card is low or high."

    def deal(self, rng):
        return HighState(tuple(int(c) for c in rng.integers(4, size=2)))

    def deals(self):
        for a in range(4):
            for b in range(4):
                yield HighState((a, b)), 1 / 16

    def seat(self, state):
        return len(state.moves) if len(state.moves) < 2 else None

    def observation(self, state, seat):
        return f"Your card: {state.cards[seat]}. Said: {' '.join(state.moves)}"

    def legal(self, state):
        return ("low", "high") if len(state.moves) < 2 else ()

    def play(self, state, move):
        if move not in self.legal(state):
            raise ValueError(f"{move!r} is not legal")
        return replace(state, moves=(*state.moves, move))

    def rewards(self, state):
        if len(state.moves) < 2:
            return 0.0, 0.0
        right = [(card > 1) == (move == "high") for card, move in zip(state.cards, state.moves, strict=True)]
        lead = float(right[0] - right[1])
        return lead, -lead


class Talk(High):
    """The same, but what is said is free text."""

    rules = ("Speak first.", "Speak second.")

    def legal(self, state):
        return None

    def play(self, state, move):
        if len(state.moves) == 2:
            raise ValueError("over")
        return replace(state, moves=(*state.moves, move))


class PaysAlong(High):
    """The same, half a point a move paid on the way."""

    zero_sum = False

    def earned(self, state):
        return 0.5 * (len(state.moves) > 0), 0.5 * (len(state.moves) > 1)

    def rewards(self, state):
        return (0.5, 0.5) if self.seat(state) is None else (0.0, 0.0)


class DrawsGlobally(High):
    def deal(self, rng):
        random.random()
        return super().deal(rng)


class DealsGlobally(High):
    """The seed decides nothing; the remedy is to stop asking `random`."""

    def deal(self, rng):
        return HighState((random.randrange(4), random.randrange(4)))


class SeedsNumpy(High):
    def play(self, state, move):
        np.random.seed(0)  # noqa: NPY002
        return super().play(state, move)


class ShufflesItsDeck(High):
    """The deck is shuffled in place, so the second game with a seed is another."""

    def __init__(self):
        self.deck = [0, 1, 2, 3]

    def deal(self, rng):
        rng.shuffle(self.deck)
        return HighState((self.deck[0], self.deck[1]))


class DealsTheEnd(High):
    def deal(self, rng):
        return replace(super().deal(rng), moves=("low", "low"))


class BooleanSeat(High):
    def seat(self, state):
        return bool(state.moves) if len(state.moves) < 2 else None


class UnhashableState(High):
    def deal(self, rng):
        return HighState(list(super().deal(rng).cards))


class IdentityState(High):
    class State:
        def __init__(self, cards):
            self.cards = cards
            self.moves = ()

    def deal(self, rng):
        return self.State((1, 2))


class DoesNotPickle(High):
    def __init__(self):
        self.judge = lambda card: card > 1


class NoMoves(High):
    def legal(self, state):
        return ()


class ListsMoves(High):
    def legal(self, state):
        return ["low", "high"]


class CapitalMoves(High):
    def legal(self, state):
        return ("Low", "High")


class ForgetfulMoves(High):
    """The moves come out in another order each time."""

    def __init__(self):
        self.asked = 0

    def legal(self, state):
        self.asked += 1
        moves = super().legal(state)
        return moves[::-1] if self.asked % 3 == 0 else moves


class TellingMoves(High):
    """Which moves are listed gives away the other seat's card."""

    def legal(self, state):
        return super().legal(state) if sum(state.cards) != 3 else super().legal(state)[:1]


class TellingPrompt(High):
    """The prompt says more than the observation."""

    def prompt(self, state, seat):
        return super().prompt(state, seat) + f" ({sum(state.cards)})"


class AcceptsAnything(High):
    def play(self, state, move):
        return replace(state, moves=(*state.moves, move))


class RaisesKeyError(High):
    def play(self, state, move):
        return {m: super(RaisesKeyError, self).play(state, m) for m in self.legal(state)}[move]


class Mutates(High):
    """The state is changed and handed back."""

    @dataclass
    class State:
        cards: tuple[int, int]
        moves: tuple[str, ...] = ()

        def __hash__(self):
            return hash(self.cards)

    def deal(self, rng):
        return self.State(super().deal(rng).cards)

    def play(self, state, move):
        if move not in self.legal(state):
            raise ValueError(move)
        state.moves += (move,)
        return state


class RollsInPlay(High):
    def __init__(self):
        self.count = 0

    def play(self, state, move):
        self.count += 1
        return replace(super().play(state, move), cards=(self.count, 0))


class OneViewOnly(High):
    def observation(self, state, seat):
        return super().observation(state, {0: 0, 1: 1}[seat] if self.seat(state) == seat else {}[seat])


class Chatty(High):
    max_prompt = 100

    def observation(self, state, seat):
        return super().observation(state, seat) * 4


class RawControls(High):
    def observation(self, state, seat):
        return super().observation(state, seat) + "\x1b[0m"


class ForgetfulObserver(High):
    def __init__(self):
        self.asked = 0

    def observation(self, state, seat):
        self.asked += 1
        return super().observation(state, seat) + f" ({self.asked})"


class PaysEarly(High):
    def rewards(self, state):
        return (1.0, -1.0)


class PaysTooMuch(High):
    def rewards(self, state):
        first, second = super().rewards(state)
        return 3 * first, 3 * second


class PaysNan(High):
    def rewards(self, state):
        return (float("nan"), 0.0) if self.seat(state) is None else (0.0, 0.0)


class PaysBoth(High):
    def rewards(self, state):
        return (1.0, 1.0) if self.seat(state) is None else (0.0, 0.0)


class PaysAList(High):
    def rewards(self, state):
        return list(super().rewards(state))


class PaysAtTheDeal(High):
    """Half a point for the ante that has yet to be won."""

    def earned(self, state):
        return 0.5, -0.5


class PaysInfinity(High):
    """An average over the moves of a seat that has none."""

    def earned(self, state):
        return (float("inf"), 0.0) if len(state.moves) == 1 else (0.0, 0.0)


class PaysOneSeat(High):
    def earned(self, state):
        return float(len(state.moves))


class PaysNobodyAtTheEnd(High):
    """It says what the seat to move has earned, and at the end there is none."""

    def earned(self, state):
        return {0: (0.0, 0.0), 1: (0.5, 0.0)}[self.seat(state)]


class CheapForfeit(High):
    def forfeit(self, state, seat):
        return 0.0, 0.0


class Endless(High):
    max_turns = 20

    def seat(self, state):
        return len(state.moves) % 2

    def legal(self, state):
        return ("low", "high")

    def rewards(self, state):
        return 0.0, 0.0


class OffByOne(Endless):
    """It ends one move after its own limit."""

    def seat(self, state):
        return len(state.moves) % 2 if len(state.moves) <= self.max_turns else None


class Reopens(High):
    """A finished game takes further moves."""

    def play(self, state, move):
        if move not in ("low", "high"):
            raise ValueError(move)
        return replace(state, moves=(*state.moves, move))

    def legal(self, state):
        return ("low", "high")


class HalfTheDeals(High):
    def deals(self):
        return list(super().deals())[:8]


class OtherDeals(High):
    def deals(self):
        yield HighState((0, 0)), 1.0


class NoRules(High):
    rules = ("Only the first seat is told.",)


class BackwardsRange(High):
    reward_range = (1.0, -1.0)


BROKEN = [
    (DrawsGlobally, "global random generator; use the rng"),
    (DealsGlobally, "global random generator; use the rng"),
    (SeedsNumpy, "global random generator"),
    (ShufflesItsDeck, "the same seed deals two games; let deal"),
    (DealsTheEnd, "over before the first move"),
    (BooleanSeat, "seat.. returned False; return 0, 1, or None"),
    (UnhashableState, "not hashable .*; make it a frozen dataclass"),
    (IdentityState, "the same seed deals two games; .*compare equal"),
    (DoesNotPickle, "the game itself does not pickle"),
    (NoMoves, r"legal\(\) returned \(\) in an unfinished game"),
    (ListsMoves, r"legal\(\) returned \['low', 'high'\]"),
    (CapitalMoves, "'Low' is not canonical; write it in lower case"),
    (ForgetfulMoves, "different legal moves|other legal moves"),
    (TellingMoves, "same observation came with another prompt or other legal moves"),
    (TellingPrompt, "same observation came with another prompt"),
    (AcceptsAnything, "play.. accepted an illegal move, 'no such move'; raise ValueError"),
    (RaisesKeyError, "raised KeyError for an illegal move; raise ValueError"),
    (Mutates, r"play\('low'\) changed the state it was given; return a new state"),
    (RollsInPlay, r"play\('low'\) gives two results; put all chance into deal"),
    (OneViewOnly, "observation.. of seat 1 raised KeyError"),
    (Chatty, "characters; keep to max_prompt = 100"),
    (RawControls, r"control character, '\\x1b'"),
    (ForgetfulObserver, "equal states are observed in two ways"),
    (PaysEarly, "an unfinished game has rewards"),
    (PaysTooMuch, "keep to reward_range"),
    (PaysNan, "keep to reward_range"),
    (PaysBoth, r"\(1.0, 1.0\), not zero-sum; set zero_sum = False"),
    (PaysAList, "return a tuple of two floats"),
    (PaysAtTheDeal, r"a deal has earned \(0.5, -0.5\) already; let earned"),
    (PaysInfinity, r"earned\(\) returned \(inf, 0.0\); return two finite numbers"),
    (PaysOneSeat, r"earned\(\) returned 0.0; return a tuple of two floats"),
    (PaysNobodyAtTheEnd, r"earned\(\) raised KeyError\(None\); say of any state"),
    (CheapForfeit, "a forfeit pays seat 0 0, more than the worst loss"),
    (Endless, "it went on after max_turns = 20 moves"),
    (OffByOne, "it went on after max_turns = 20 moves"),
    (Reopens, "accepted a move in a finished game, 'low'"),
    (HalfTheDeals, "probabilities of deals.. sum to 0.5"),
    (OtherDeals, r"deal\(\) gave .*, which deals\(\) does not list"),
    (NoRules, "rules are not text"),
    (BackwardsRange, "reward_range is"),
]


@pytest.mark.parametrize(("game", "message"), BROKEN, ids=[game.__name__ for game, _ in BROKEN])
def test_a_broken_game_is_told_which_law_it_breaks_and_the_remedy(game, message):
    with pytest.raises(ContractError, match=message) as caught:
        check_game(game())
    assert str(caught.value).startswith(f"{game.__name__}: ")


class Wide(High):
    """A thousand ways to say low or high, as a game of words or codes has; counts how often a move is played."""

    show_legal = False
    words = tuple(f"{word} {i}" for word in ("low", "high") for i in range(500))
    played = 0

    def legal(self, state):
        return self.words if len(state.moves) < 2 else ()

    def play(self, state, move):
        Wide.played += 1
        if move not in self.legal(state):
            raise ValueError(f"{move!r} is not legal")
        return replace(state, moves=(*state.moves, move.split()[0]))


def test_of_very_many_moves_a_sample_is_played():
    Wide.played = 0
    check_game(Wide(), games=5)
    # Two states a game: each samples every 25th move twice, tries one that is illegal, and plays one on.
    assert 5 * 2 * 2 * 30 < Wide.played < 5 * 2 * 2 * 50


@pytest.mark.parametrize("game", [High, Talk, PaysAlong])
def test_an_honest_game_passes(game):
    check_game(game())


@pytest.mark.parametrize(("id", "skin"), [(id, skin) for id in list_games() for skin in make(id).skins], ids="-".join)
@pytest.mark.parametrize("show_legal", [True, False])
def test_every_registered_game_keeps_the_contract(id, skin, show_legal):
    check_game(make(id, skin=skin, show_legal=show_legal), games=20)


@pytest.mark.parametrize(
    ("id", "settings"),
    [
        ("LiarsDice-v0", {"dice": 3, "faces": 4}),
        ("Goofspiel-v0", {"cards": 5, "points_order": "random", "hidden_bids": True}),
        ("Goofspiel-v0", {"cards": 3, "returns": "total_points"}),
        ("Goofspiel-v0", {"cards": 13, "points_order": "random", "returns": "point_difference"}),
        ("Nim-v0", {"heaps": (3, 4, 5), "misere": False}),
    ],
)
def test_other_settings_keep_it_too(id, settings):
    check_game(make(id, **settings), games=10)


def test_a_name_is_enough_and_the_seed_is_a_seed():
    check_game("KuhnPoker-v0", games=3, seed=7)


def test_the_checker_leaves_the_global_generators_alone():
    random.seed(5)
    expected = random.Random(5).random()
    check_game("KuhnPoker-v0", games=2)
    assert random.random() == expected
