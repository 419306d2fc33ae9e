"""Play a game in the terminal: a human against an agent, or two agents.

    python scripts/play.py --game KuhnPoker-v0 --seats human random
    python scripts/play.py --game TicTacToe-v0 --seats optimal random --games 10 --seed 3
    python scripts/play.py --seats human openai:Qwen/Qwen3-8B@http://localhost:8000/v1
    python scripts/play.py --game path/to/bluff.py:Bluff --seats random random

While a human plays, only that human's prompts are shown; every move comes out when the game is over.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from sparring.agents import Agent, EndpointAgent, PlayerLeft, make_agent
from sparring.envs import Ending, Game, judge_of, list_games, make, read_options
from sparring.selfplay import Episode, Turn, play
from sparring.selfplay.judged import with_judge

ENDINGS = {
    Ending.PLAYED: "played out",
    Ending.ILLEGAL: "forfeited by an illegal reply of player {offender}",
    Ending.TRUNCATED: "stopped at the turn limit",
    Ending.VOID: "void: {why}",
}
SEATS_HELP = (
    "who plays: human, random, optimal, the folder of a saved model or of a training run, or a model on a server, as "
    "openai:MODEL@http://localhost:8000/v1"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Play the games that the command line asks for. Return 2 for what can't be played, 130 after Ctrl-C."""
    options = parse(argv)
    # Moves stand in square brackets, which rich would take for markup.
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    try:
        game = judged(build_game(options))
        seats = (make_agent(options.seats[0]), make_agent(options.seats[1]))
        run(console, game, seats, options)
    except PlayerLeft as left:
        console.print(f"\n{left}, which stays unfinished.")
    except KeyboardInterrupt:
        console.print("\nStopped: the game stays unfinished.")
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"play.py: {error}", file=sys.stderr)
        return 2
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Play a game in the terminal: a human against an agent, or two agents.",
        epilog=f"Games: {', '.join(list_games())}.",
    )
    add = parser.add_argument
    add("--game", default="KuhnPoker-v0", help="a registered game, or path/to/file.py:Class")
    add("--seats", nargs=2, default=["human", "random"], metavar=("SEAT_0", "SEAT_1"), help=SEATS_HELP)
    add("--seed", type=int, default=0, help="of the deals and of the agents' choices")
    add("--games", type=positive, default=1, help="how many games")
    add("--retries", type=int, default=2, help="illegal replies that a seat may take back in a turn")
    add("--options", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the game, for instance dice=2")
    add("--skin", help="another wording of the same game, for instance obfuscated")
    add("--judge", help="who decides a judged game: human, rule, model:FILE, lm:MODEL, swapped:lm:MODEL, ...")
    add("--judge-timeout", type=seconds, help="seconds for a call of a judge, or a request to its server")
    add("--hide-legal", action="store_true", help="leave the legal moves out of the prompts")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, not {text}")
    return number


def build_game(options: argparse.Namespace) -> Game[Any]:
    if options.judge is None and options.judge_timeout is not None:
        raise ValueError("--judge-timeout does nothing without --judge: set that, or leave it out")
    settings = read_options(options.options)
    if options.skin is not None:
        settings["skin"] = options.skin
    game = make(options.game, show_legal=False if options.hide_legal else None, **settings)
    return game if options.judge is None else with_judge(game, options.judge, timeout=options.judge_timeout)


def judged(game: Game[Any]) -> Game[Any]:
    """Return the game. Raises ValueError, before anybody has played in vain, if it needs a judge and has none."""
    if type(game).case is not Game.case:
        judge_of(game)
    return game


def run(console: Console, game: Game[Any], seats: tuple[Agent, Agent], options: argparse.Namespace) -> None:
    watched = "human" not in options.seats
    if options.judge is not None and game.judge is not None:
        console.print(f"judge: {game.judge.name}")
    rules = [game.rules] if isinstance(game.rules, str) else list(game.rules)
    console.rule(f"{game.name}: {options.seats[0]} against {options.seats[1]}")
    if watched:
        console.print("\n\n".join(rules))
    totals = [0.0, 0.0]
    for episode in play(game, seats, games=options.games, seed=options.seed, in_flight=1, retries=options.retries):
        show(console, episode, rules, watched=watched)
        for seat in (0, 1):
            if options.seats[episode.seated[seat]] == "human" and (text := outcome(game, episode, seat)):
                console.print(f"\nHow it ended for player {seat}:\n{text}")
        totals = [total + reward for total, reward in zip(totals, episode.rewards, strict=True)]
    if options.games > 1:
        console.rule(f"{options.games} games")
        for seat in (0, 1):
            console.print(f"player {seat} ({options.seats[seat]}): {totals[seat] / options.games:+g} a game")
    for agent in seats:
        if isinstance(agent, EndpointAgent):
            console.print(f"{agent.name}: {agent.usage}")


def show(console: Console, episode: Episode, rules: Sequence[str], *, watched: bool) -> None:
    """Print a finished game: what each seat saw, where nobody was there to see it, and what it did."""
    console.rule(f"game {episode.index + 1}")
    for turn in episode.turns:
        if watched:
            console.print(seen(turn, rules), style="dim")
        console.print(f"player {turn.seat} ({episode.players[turn.seat]}): {did(turn)}")
    ending = ENDINGS[episode.ending].format(offender=episode.offender, why=episode.why)
    if episode.figures:
        console.print(", ".join(f"{name} {value:.3g}" for name, value in episode.figures.items()))
    console.print(f"The game was {ending}. Player 0: {episode.rewards[0]:+g}, player 1: {episode.rewards[1]:+g}.")


def outcome(game: Game[Any], episode: Episode, seat: int) -> str:
    """Return what a seat may know of how a game ended: the other's cards, the word that was sought.

    Empty where it was not played out, or a judge had the last word.
    """
    last = episode.turns[-1]
    if episode.ending is not Ending.PLAYED or last.move is None:
        return ""
    state = game.play(last.state, last.move)
    return game.observation(state, seat) if game.case(state) is None else ""


def seen(turn: Turn, rules: Sequence[str]) -> str:
    """Return the prompt of a turn without the rules, which were printed once."""
    text = turn.prompt
    for rule in rules:
        text = text.replace(rule, "")
    return "\n" + text.strip()


def did(turn: Turn) -> str:
    if turn.move is None:
        return f"{turn.reply.text[:60]!a} ({turn.problem and turn.problem.value})"
    return turn.move if turn.spoken else f"[{turn.move}]"


if __name__ == "__main__":
    sys.exit(main())
