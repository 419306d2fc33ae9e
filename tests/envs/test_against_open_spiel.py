"""Our games against open_spiel's, state by state: seat, legal moves, end, rewards, and what a seat can tell apart.

The information set of a seat is its prompt, so prompts must split the states exactly as open_spiel's information
states do; for board games, as its observations do, because our prompts show the position and not its history.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from sparring.envs import Game, make
from sparring.envs.leduc import LeducState

pyspiel = pytest.importorskip("pyspiel", reason="pip install 'sparring[open_spiel]'")

GAMES = 10_000


class Pair:
    """One of our games beside open_spiel's, stepped in lockstep; remembers what each shows for every state seen."""

    def __init__(
        self, game: Game[Any], spec: str, moves: Callable[[Any, int], set[str]], know: Callable[[Any], str]
    ) -> None:
        self.game = game
        self.spiel = pyspiel.load_game(spec)
        if self.spiel.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
            self.spiel = pyspiel.convert_to_turn_based(self.spiel)
        self.moves = moves
        self.know = know
        self.states = 0
        self.told = defaultdict(set)
        self.known = defaultdict(set)

    def check(self, ours: Any, theirs: Any) -> list[tuple[str, int]]:
        """Compare one state; return the legal moves as (our move, their action)."""
        self.states += 1
        seat = self.game.seat(ours)
        assert self.game.rewards(ours) == tuple(theirs.returns())
        if theirs.is_terminal():
            assert seat is None
            assert self.game.legal(ours) == ()
            return []
        assert seat == theirs.current_player()
        legal = self.game.legal(ours)
        assert legal is not None
        actions = theirs.legal_actions()
        named = [self.moves(theirs, action) & set(legal) for action in actions]
        assert [len(names) for names in named] == [1] * len(actions)
        assert len(set(legal)) == len(legal) == len(actions)
        text, info = self.game.prompt(ours, seat), self.know(theirs)
        self.told[seat, info].add(text)
        self.known[seat, text].add(info)
        return [(names.pop(), action) for names, action in zip(named, actions, strict=True)]

    def walk(self, ours: Any, chance: list[int]) -> None:
        """Compare every state below one deal, whose chance outcomes in open_spiel are `chance`."""

        def below(ours: Any, theirs: Any, used: int) -> None:
            while theirs.is_chance_node():
                theirs.apply_action(chance[used])
                used += 1
            for move, action in self.check(ours, theirs):
                below(self.game.play(ours, move), theirs.child(action), used)

        below(ours, self.spiel.new_initial_state(), 0)

    def sample(self, games: int, seed: int, chance_of: Callable[[Any], list[int]]) -> None:
        """Compare every state of random games."""
        rng = np.random.default_rng(seed)
        for _ in range(games):
            ours = self.game.deal(rng)
            chance = iter(chance_of(ours))
            theirs = resolve(self.spiel.new_initial_state(), chance)
            while pairs := self.check(ours, theirs):
                move, action = pairs[int(rng.random() * len(pairs))]
                ours = self.game.play(ours, move)
                theirs.apply_action(action)
                resolve(theirs, chance)

    def refined_partition(self) -> int:
        """Check that no prompt belongs to two information states; return how many prompts there are."""
        assert all(len(infos) == 1 for infos in self.known.values())
        return len(self.known)

    def same_partition(self) -> int:
        """Check that prompts and information states are in one-to-one correspondence; return how many there are."""
        assert all(len(texts) == 1 for texts in self.told.values())
        assert all(len(infos) == 1 for infos in self.known.values())
        assert len(self.told) == len(self.known)
        return len(self.known)


def resolve(theirs: Any, chance: Iterator[int]) -> Any:
    while theirs.is_chance_node():
        theirs.apply_action(next(chance))
    return theirs


def information(theirs: Any) -> str:
    return theirs.information_state_string(theirs.current_player())


def observation(theirs: Any) -> str:
    return theirs.observation_string(theirs.current_player())


def by_rank(theirs: Any) -> str:
    """Leduc's information state with ranks in place of cards: suits decide nothing."""
    return re.sub(r"(Private|Public): (\d)", lambda m: f"{m[1]}: {int(m[2]) // 2}", information(theirs))


def by_number(theirs: Any, action: int) -> set[str]:
    return {str(action + 1)}


def by_name(table: dict[str, set[str]]) -> Callable[[Any, int], set[str]]:
    return lambda theirs, action: table[theirs.action_to_string(theirs.current_player(), action)]


def bid_name(theirs: Any, action: int) -> set[str]:
    return {theirs.action_to_string(theirs.current_player(), action).lower()}


def take_name(theirs: Any, action: int) -> set[str]:
    pile, take = re.findall(r"\d+", theirs.action_to_string(theirs.current_player(), action))
    return {f"{take} from {pile}"}


KUHN_NAMES = by_name({"Pass": {"check", "fold"}, "Bet": {"bet", "call"}})
LEDUC_NAMES = by_name({"Fold": {"fold"}, "Call": {"check", "call"}, "Raise": {"bet", "raise"}})


def liars_dice(dice: int, faces: int) -> Pair:
    game = make("LiarsDice-v0", dice=dice, faces=faces)
    return Pair(game, f"liars_dice(numdice={dice},dice_sides={faces})", bid_name, information)


def rolled(ours: Any) -> list[int]:
    return [face - 1 for hand in ours.dice for face in hand]


def goofspiel(cards: int, order: str, hidden: bool, returns: str) -> Pair:
    game = make("Goofspiel-v0", cards=cards, points_order=order, hidden_bids=hidden, returns=returns)
    spec = f"goofspiel(num_cards={cards},points_order={order},imp_info={hidden},returns_type={returns})"
    return Pair(game, spec, by_number, information)


def prize_outcomes(order: str) -> Callable[[Any], list[int]]:
    return lambda ours: [prize - 1 for prize in ours.prizes] if order == "random" else []


def test_kuhn_whole_tree():
    pair = Pair(make("KuhnPoker-v0"), "kuhn_poker", KUHN_NAMES, information)
    for ours, _ in pair.game.deals():
        pair.walk(ours, list(ours.cards))
    assert (pair.states, pair.same_partition()) == (54, 12)


def test_leduc_whole_tree():
    pair = Pair(make("LeducPoker-v0"), "leduc_poker", LEDUC_NAMES, by_rank)
    for cards in permutations(range(6), 3):
        pair.walk(LeducState(tuple(card // 2 for card in cards)), list(cards))
    assert pair.same_partition() == 288


@pytest.mark.parametrize(("dice", "faces"), [(1, 3), (1, 4), (2, 2)])
def test_liars_dice_whole_tree(dice, faces):
    pair = liars_dice(dice, faces)
    for ours, _ in pair.game.deals():
        pair.walk(ours, rolled(ours))
    # An information set is a hand and a rising sequence of bids; the highest bid leaves the other seat to move.
    hands = len({ours.dice[0] for ours, _ in pair.game.deals()})
    assert pair.same_partition() == hands * 2 ** (2 * dice * faces)


@pytest.mark.parametrize(("dice", "faces"), [(1, 6), (2, 6)])
def test_liars_dice_random_games(dice, faces):
    pair = liars_dice(dice, faces)
    pair.sample(GAMES, seed=5, chance_of=rolled)
    pair.same_partition()


@pytest.mark.parametrize(("dice", "faces"), [(1, 6), (2, 3), (3, 2)])
def test_liars_dice_deals_have_the_probabilities_of_the_rolls(dice, faces):
    expected = defaultdict(float)
    for rolls in product(range(1, faces + 1), repeat=2 * dice):
        expected[tuple(sorted(rolls[:dice])), tuple(sorted(rolls[dice:]))] += faces ** (-2.0 * dice)
    listed = {ours.dice: chance for ours, chance in liars_dice(dice, faces).game.deals()}
    assert listed == pytest.approx(dict(expected), abs=1e-12)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    ("cards", "order", "returns"),
    [
        (2, "random", "win_loss"),
        (3, "random", "point_difference"),
        (3, "ascending", "total_points"),
        (4, "descending", "win_loss"),
        (4, "ascending", "point_difference"),
        (4, "random", "win_loss"),
    ],
)
def test_goofspiel_whole_tree(cards, order, returns, hidden):
    pair = goofspiel(cards, order, hidden, returns)
    for ours, _ in pair.game.deals():
        pair.walk(ours, prize_outcomes(order)(ours))
    # With open bids open_spiel's information state forgets who bid what for which prize; our prompt tells it, because
    # a seat that forgets its own moves has no exact best response.
    assert (pair.same_partition() if hidden else pair.refined_partition()) > cards


@pytest.mark.parametrize(("games", "hidden"), [(GAMES, True), (GAMES // 2, False)])
def test_goofspiel_random_games_of_thirteen_cards(games, hidden):
    pair = goofspiel(13, "random", hidden, "win_loss")
    pair.sample(games, seed=6, chance_of=prize_outcomes("random"))
    assert (pair.same_partition() if hidden else pair.refined_partition()) > 13


def positions(pair: Pair) -> int:
    """Compare every position of a game without chance, each once; return how many there are."""
    seen = set()

    def below(ours: Any, theirs: Any) -> None:
        if ours in seen:
            return
        seen.add(ours)
        for move, action in pair.check(ours, theirs):
            below(pair.game.play(ours, move), theirs.child(action))

    ((start, chance),) = pair.game.deals()
    assert chance == 1.0
    below(start, pair.spiel.new_initial_state())
    return len(seen)


def test_tic_tac_toe_every_position():
    pair = Pair(make("TicTacToe-v0"), "tic_tac_toe", by_number, observation)
    assert (positions(pair), pair.same_partition()) == (5478, 4520)


@pytest.mark.parametrize("misere", [True, False])
@pytest.mark.parametrize("heaps", [(1, 3, 5), (1, 3, 5, 7), (2, 2)])
def test_nim_every_position(heaps, misere):
    spec = f"nim(pile_sizes={';'.join(map(str, heaps))},is_misere={misere})"
    pair = Pair(make("Nim-v0", heaps=heaps, misere=misere), spec, take_name, observation)
    positions(pair)
    pair.same_partition()


def test_connect_four_random_games():
    pair = Pair(make("ConnectFour-v0"), "connect_four", by_number, observation)
    pair.sample(GAMES, seed=7, chance_of=lambda ours: [])
    pair.same_partition()


def test_default_nim_is_the_misere_game_of_open_spiel():
    assert pyspiel.load_game("nim").get_parameters()["is_misere"] == make("Nim-v0").misere
