"""Two-player language games: rules, prompts, moves, rewards, and their Gymnasium and PettingZoo views."""

from .aec_view import aec_env
from .check import ContractError, check_game
from .game import Ending, Game, near
from .gym_view import TextGameEnv
from .match import Match
from .prompt import Message, Opponent, Prompt, Reply, ask, mix, uniform, uniforms
from .reading import Problem, Reading, public_text, read_move
from .registry import GameSpec, list_games, make, read_options, register

__all__ = [
    "ContractError",
    "Ending",
    "Game",
    "GameSpec",
    "Match",
    "Message",
    "Opponent",
    "Problem",
    "Prompt",
    "Reading",
    "Reply",
    "TextGameEnv",
    "aec_env",
    "ask",
    "check_game",
    "list_games",
    "make",
    "mix",
    "near",
    "public_text",
    "read_move",
    "read_options",
    "register",
    "uniform",
    "uniforms",
]

register("KuhnPoker-v0", "sparring.envs.kuhn:KuhnPoker")
register("LeducPoker-v0", "sparring.envs.leduc:LeducPoker")
register("TicTacToe-v0", "sparring.envs.tictactoe:TicTacToe")
register("Nim-v0", "sparring.envs.nim:Nim")
register("ConnectFour-v0", "sparring.envs.connect_four:ConnectFour")
register("LiarsDice-v0", "sparring.envs.liars_dice:LiarsDice")
register("Goofspiel-v0", "sparring.envs.goofspiel:Goofspiel")
