"""Two-player language games: rules, prompts, moves, rewards, and their Gymnasium and PettingZoo views."""

from .aec_view import aec_env
from .check import check_game
from .check_cases import ContractError
from .game import Ending, Game, Refused, Void, near
from .gym_view import TextGameEnv
from .judging import Case, Judge, ReportingJudge, Statement, Verdict
from .match import Match, judge_of
from .prompt import Message, Opponent, Prompt, Reply, ask, mix, uniform, uniforms
from .reading import Problem, Reading, public_text, read_move
from .registry import GameSpec, list_games, make, read_options, register, register_family

__all__ = [
    "Case",
    "ContractError",
    "Ending",
    "Game",
    "GameSpec",
    "Judge",
    "Match",
    "Message",
    "Opponent",
    "Problem",
    "Prompt",
    "Reading",
    "Refused",
    "Reply",
    "ReportingJudge",
    "Statement",
    "TextGameEnv",
    "Verdict",
    "Void",
    "aec_env",
    "ask",
    "check_game",
    "judge_of",
    "list_games",
    "make",
    "mix",
    "near",
    "public_text",
    "read_move",
    "read_options",
    "register",
    "register_family",
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
register("Negotiation-v0", "sparring.envs.negotiation:Negotiation")
register("Mastermind-v0", "sparring.envs.mastermind:Mastermind")
register("Wordle-v0", "sparring.envs.wordle:Wordle")
register("Trading-v0", "sparring.envs.trading:Trading")
register("Contest-v0", "sparring.envs.contest:Contest")
register("SingleTask-v0", "sparring.envs.contest:Contest", single=True)
register("Critic-v0", "sparring.envs.critic:Critic")
register("Proposer-v0", "sparring.envs.proposer:Proposer")
register_family(
    "reasoning_gym",
    "sparring.envs.from_reasoning_gym:ReasoningGymContest",
    package="reasoning_gym",
    extra="reasoning_gym",
)
register("Taboo-v0", "sparring.envs.taboo:Taboo")
register("DontSayIt-v0", "sparring.envs.dont_say_it:DontSayIt")
register("WordChain-v0", "sparring.envs.word_chain:WordChain")
register("TwoTruths-v0", "sparring.envs.two_truths:TwoTruths")
register("TwentyQuestions-v0", "sparring.envs.twenty_questions:TwentyQuestions")
register("Debate-v0", "sparring.envs.debate:Debate")
register("SparseDebate-v0", "sparring.envs.sparse_debate:SparseDebate")

register_family("open_spiel", "sparring.envs.from_open_spiel:OpenSpielGame", package="pyspiel", extra="open_spiel")
register_family("textarena", "sparring.envs.from_textarena:TextArenaGame", package="textarena", extra="textarena")
register_family("pettingzoo", "sparring.envs.from_pettingzoo:PettingZooGame", package="pettingzoo", extra="pettingzoo")
