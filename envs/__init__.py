"""Two-player language games: rules, prompts, moves, rewards, and their Gymnasium and PettingZoo views."""

from .game import Ending, Game
from .match import Match
from .reading import Problem, Reading, public_text, read_move
from .registry import GameSpec, list_games, make, register

__all__ = [
    "Ending",
    "Game",
    "GameSpec",
    "Match",
    "Problem",
    "Reading",
    "list_games",
    "make",
    "public_text",
    "read_move",
    "register",
]

register("KuhnPoker-v0", "sparring.envs.kuhn:KuhnPoker")
register("LeducPoker-v0", "sparring.envs.leduc:LeducPoker")
register("TicTacToe-v0", "sparring.envs.tictactoe:TicTacToe")
register("Nim-v0", "sparring.envs.nim:Nim")
register("ConnectFour-v0", "sparring.envs.connect_four:ConnectFour")
register("LiarsDice-v0", "sparring.envs.liars_dice:LiarsDice")
register("Goofspiel-v0", "sparring.envs.goofspiel:Goofspiel")
