"""Steps a CPU-second of random legal play: our games beside TextArena's and OpenSpiel's, in one run.

Every contestant shows the text of each state to the seat to move, names its legal moves, takes a random one and
applies it; ours also reads it out of a reply in brackets. All draw their moves from the same kind of generator in
the same expression. TextArena cannot list legal moves, so a table lookup does it for it, outside its own code.

    python benchmarks/envs.py                          # a minute or two; writes benchmarks/results/envs.{json,md}
    python benchmarks/envs.py --seconds 0.02 --out .   # a quick look
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from operator import truediv
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from sparring.envs import Match, make, read_move

Draw = Callable[[], float]
"""Uniform in [0, 1)."""
Player = Callable[[], int]
"""Plays one game and returns how many moves it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One game, as each contestant calls it."""

    title: str
    id: str
    settings: dict[str, Any] = field(default_factory=dict)
    spiel: str
    observes: bool = False
    """Whether OpenSpiel's text is its observation: for boards, whose information states are bare move lists."""
    arena: str | None = None
    beats_spiel: bool = False
    """Whether at least OpenSpiel's speed is our target."""


BOARD = {"observes": True, "beats_spiel": True}
ROWS = (
    Row(title="Tic-tac-toe", id="TicTacToe-v0", spiel="tic_tac_toe", arena="TicTacToe-v0", **BOARD),
    Row(title="Kuhn poker", id="KuhnPoker-v0", spiel="kuhn_poker", arena="KuhnPoker-v0", beats_spiel=True),
    Row(title="Leduc poker", id="LeducPoker-v0", spiel="leduc_poker", beats_spiel=True),
    Row(title="Connect Four", id="ConnectFour-v0", spiel="connect_four", arena="ConnectFour-v0", **BOARD),
    Row(
        title="Nim 3-4-5",
        id="Nim-v0",
        settings={"heaps": (3, 4, 5), "misere": False},
        spiel="nim(pile_sizes=3;4;5,is_misere=false)",
        observes=True,
        arena="Nim-v0",
    ),
    Row(
        title="Liar's Dice, 5 dice",
        id="LiarsDice-v0",
        settings={"dice": 5},
        spiel="liars_dice(numdice=5)",
        arena="LiarsDice-v0",
    ),
    Row(
        title="Goofspiel, 13 cards",
        id="Goofspiel-v0",
        settings={"cards": 13, "points_order": "random"},
        spiel="goofspiel(num_cards=13)",
        arena="GameOfPureStrategy-v0",
    ),
)


def our_game(row: Row, draw: Draw) -> Player:
    """The bare contract: `deal`, `seat`, `prompt`, `legal`, `read_move`, `play`, `rewards`."""
    game, rng = make(row.id, **row.settings), np.random.default_rng(0)

    def play() -> int:
        state, moves = game.deal(rng), 0
        while (seat := game.seat(state)) is not None:
            game.prompt(state, seat)
            legal = game.legal(state)
            reading = read_move(f"[{legal[int(draw() * len(legal))]}]", legal)
            state = game.play(state, reading.move)
            moves += 1
        game.rewards(state)
        return moves

    return play


def our_match(row: Row, draw: Draw) -> Player:
    """What the play engine steps: a `Match`."""
    game, rng = make(row.id, **row.settings), np.random.default_rng(0)

    def play() -> int:
        match = Match(game, rng)
        while match.seat is not None:
            match.prompt  # noqa: B018
            legal = match.legal
            match.step(f"[{legal[int(draw() * len(legal))]}]")
        return match.turns

    return play


def our_gymnasium(row: Row, draw: Draw) -> Player:
    """The Gymnasium view, without `gym.make`'s wrappers."""
    from sparring.envs.gym_view import TextGameEnv

    env = TextGameEnv(game=row.id, **row.settings)
    env.reset(seed=0)

    def play() -> int:
        _, info = env.reset()
        over, moves = False, 0
        while not over:
            legal = info["legal_actions"]
            _, _, terminated, truncated, info = env.step(f"[{legal[int(draw() * len(legal))]}]")
            over = terminated or truncated
            moves += 1
        return moves

    return play


def open_spiel(row: Row, draw: Draw) -> Player:
    """OpenSpiel's states with their text and the names of their legal moves; nothing is parsed."""
    import pyspiel

    game = pyspiel.load_game(row.spiel)
    if game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)

    def play() -> int:
        state, moves = game.new_initial_state(), 0
        while not state.is_terminal():
            if state.is_chance_node():
                outcomes = state.chance_outcomes()
                state.apply_action(outcomes[int(draw() * len(outcomes))][0])
                continue
            seat = state.current_player()
            state.observation_string(seat) if row.observes else state.information_state_string(seat)
            legal = [(action, state.action_to_string(seat, action)) for action in state.legal_actions()]
            action, _ = legal[int(draw() * len(legal))]
            state.apply_action(action)
            moves += 1
        state.returns()
        return moves

    return play


def textarena(row: Row, draw: Draw) -> Player:
    """TextArena's environment as shipped, its default wrappers included: they are what makes text."""
    import textarena as arena

    replies = ARENA_REPLIES[row.id]

    def play() -> int:
        # A new environment a game: its wrapper keeps the texts of old games, and grows slow, if one is reset.
        env = arena.make(row.arena)
        env.reset(num_players=2)
        state = env.state
        over, moves = False, 0
        while not over:
            env.get_observation()
            legal = replies(state.game_state, state.current_player_id)
            over, _ = env.step(legal[int(draw() * len(legal))])
            moves += 1
        env.close()
        return moves

    return play


@cache
def numbered(open_ones: tuple[bool, ...]) -> tuple[str, ...]:
    return tuple(f"[{i}]" for i, is_open in enumerate(open_ones) if is_open)


@cache
def nim_replies(heaps: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"[{i} {count}]" for i, held in enumerate(heaps) for count in range(1, held + 1))


@cache
def dice_replies(count: int, face: int, total: int) -> tuple[str, ...]:
    """TextArena lets a bid rise without end; here it stops at the dice there are."""
    bids = [
        f"[Bid: {c}, {f}]"
        for c in range(max(count, 1), total + 1)
        for f in range(max(face, 1), 7)
        if (c, f) != (count, face)
    ]
    return (*bids, "[Call]") if count else tuple(bids)


def card_replies(hand: list[int]) -> list[str]:
    return [ARENA_CARDS[card] for card in hand]


ARENA_CARDS = {n: f"[{face}]" for n, face in enumerate(("A", *range(2, 11), *"JQK"), 1)}
ARENA_REPLIES: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "TicTacToe-v0": lambda s, _: numbered(tuple([not cell for line in s["board"] for cell in line])),
    "KuhnPoker-v0": lambda s, _: [f"[{move}]" for move in s["current_legal_action_tree"]],
    "ConnectFour-v0": lambda s, _: numbered(tuple([cell == "." for cell in s["board"][0]])),
    "Nim-v0": lambda s, _: nim_replies(tuple(s["piles"])),
    "LiarsDice-v0": lambda s, _: dice_replies(
        s["current_bid"]["quantity"], s["current_bid"]["face_value"], sum(s["remaining_dice"].values())
    ),
    "Goofspiel-v0": lambda s, seat: card_replies(s["player_hands"][seat]),
}

CONTESTANTS: dict[str, Callable[[Row, Draw], Player]] = {
    "game": our_game,
    "match": our_match,
    "gymnasium": our_gymnasium,
    "textarena": textarena,
    "open_spiel": open_spiel,
}
HEADS = {
    "game": "`Game`",
    "match": "`Match`",
    "gymnasium": "`TextGameEnv`",
    "textarena": "TextArena",
    "open_spiel": "OpenSpiel",
}

COMPARED = [(o, t) for t in ("textarena", "open_spiel") for o in ("game", "match", "gymnasium")]


def enter(row: Row) -> dict[str, Player]:
    """Build every contestant that has the game and is installed, and let it play a little."""
    players = {}
    for name, build in CONTESTANTS.items():
        if name == "textarena" and row.arena is None:
            continue
        try:
            player = build(row, random.Random(1).random)
        except ImportError as error:
            print(f"  {name} left out: {error}", file=sys.stderr)
            continue
        for _ in range(200):
            player()
        players[name] = player
    return players


def rate(play: Player, seconds: float) -> float:
    """Return moves a CPU-second of this thread, over at least `seconds` of it."""
    moves, start = 0, time.thread_time()
    while True:
        for _ in range(20):
            moves += play()
        spent = time.thread_time() - start
        if spent >= seconds:
            return moves / spent


def measure(row: Row, *, seconds: float, repeats: int) -> dict[str, list[float]]:
    """Return each contestant's rates; turns are short and interleaved, so that a busy spell slows all alike."""
    players = enter(row)
    rates: dict[str, list[float]] = {name: [] for name in players}
    for _ in range(repeats):
        for name, play in players.items():
            rates[name].append(rate(play, seconds))
    return rates


def ratios(rates: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return the quartiles of ours over theirs, turn by turn: what depends least on the machine and on its load."""
    return {
        f"{ours}/{theirs}": [round(q, 2) for q in quantiles(map(truediv, rates[ours], rates[theirs]))]
        for ours, theirs in COMPARED
        if ours in rates and theirs in rates
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("sparring", "numpy", "textarena", "open_spiel", "gymnasium"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of rates and ratios."""
    heads = ["game", *(f"{head}, steps/s" for head in HEADS.values())]
    heads += [f"{HEADS[ours]} / {HEADS[theirs]}" for ours, theirs in COMPARED]
    lines = [" | ".join(["", *heads, ""]).strip(), "|---" + "|---:" * (len(heads) - 1) + "|"]
    for title, result in results.items():
        rates, ratio = result["steps_per_cpu_second"], result["ratio_quartiles"]
        cells = [title, *(f"{rates[name]:,.0f}" if name in rates else "–" for name in HEADS)]
        for ours, theirs in COMPARED:
            key = f"{ours}/{theirs}"
            cells.append(f"{ratio[key][1]:.2f}" if key in ratio else "–")
        lines.append(" | ".join(["", *cells, ""]).strip())
    return "\n".join(lines)


TARGETS = {"game/textarena": 3, "match/textarena": 3, "gymnasium/textarena": 3}
TARGETS |= {"game/open_spiel": 1, "match/open_spiel": 1}
"""The least ratio of ours to theirs, layer by layer; OpenSpiel's only where `Row.beats_spiel`."""


def verdicts(results: dict[str, dict[str, Any]]) -> str:
    """Return one line a target and game: met, or by how much it is missed."""
    lines = []
    for key, least in TARGETS.items():
        ours, theirs = key.split("/")
        lines.append(f"- {HEADS[ours]} at least {least} times {HEADS[theirs]}:")
        for row in ROWS:
            quartiles = results[row.title]["ratio_quartiles"].get(key)
            if quartiles and (theirs == "textarena" or row.beats_spiel):
                low, middle, high = quartiles
                verdict = "met" if middle >= least else "MISSED"
                lines.append(f"  - {row.title}: {verdict}, {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
    return "\n".join(lines)


def page(report: dict[str, Any]) -> str:
    about = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return f"""# Steps a second of random legal play

Written by `{report["command"]}` on {report["date"]}; do not edit by hand. {about}.
Medians of {report["repeats"]} interleaved turns of {report["seconds"]} CPU-seconds each, one thread
(`time.thread_time`); a ratio is the median of the turns' own ratios. The ratios, not the rates, carry over to other
machines.

{table(report["games"])}

A step is: show the text to the seat to move, name its legal moves, pick one at random, apply it; deals, resets and
rewards are charged to the steps. Ours also read the move out of a bracketed reply. OpenSpiel parses nothing: it is
given the action number; its text is the observation for boards and Nim (whose information states are bare lists of
moves) and the information state elsewhere. TextArena is run as shipped, with its default wrappers; its Kuhn poker
plays three rounds a game by rules of its own, its Liar's Dice goes on until one side has lost all dice, and its Game
of Pure Strategy carries tied prizes over. The random player's list of legal moves, which TextArena lacks, is a cached
lookup.

## Targets

{verdicts(report["games"])}

`Game` is the rules alone, which is what OpenSpiel's states are; `Match` adds endings, retries and turn limits and is
what the play engine steps. `TextGameEnv` adds Gymnasium's `reset`, `step` and `info`, 0.9 to 1.9 microseconds a step:
most in short games, where the reset and the text of the finished game are spread over few steps.
Small games are fast because a position, a history or a hand is described once and then looked up. Goofspiel with 13
cards hardly ever repeats itself in random play. Its states carry what was told of the finished rounds; even so, when
profiled, a step took 4.0 microseconds (1.2 to make the next state, 1.0 for the observation, 0.6 to read the reply, 0.4
to join 700 characters into a prompt), `Match` 0.3 more and the view 1.1 more: 5.4, where three times TextArena is 4.9.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.04, help="CPU-seconds a turn")
    parser.add_argument("--repeats", type=int, default=41, help="interleaved turns of each; the median counts")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    games = {}
    for row in ROWS:
        rates = measure(row, seconds=args.seconds, repeats=args.repeats)
        games[row.title] = {
            "steps_per_cpu_second": {name: round(median(found)) for name, found in rates.items()},
            "ratio_quartiles": ratios(rates),
        }
        print(row.title, games[row.title], flush=True)
    report = {
        "date": date.today().isoformat(),
        "command": f"python benchmarks/envs.py --seconds {args.seconds} --repeats {args.repeats}",
        "seconds": args.seconds,
        "repeats": args.repeats,
        "versions": versions(),
        "games": games,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "envs.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (args.out / "envs.md").write_text(page(report), encoding="utf-8")
    print(table(games), verdicts(games), sep="\n\n")


if __name__ == "__main__":
    main()
