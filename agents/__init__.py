"""Players: anything that answers prompts. torch is imported only when a language model is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .agent import Agent, Message, Policy, Prompt, Reply, ask, mix, uniform, uniforms
from .loading import make_agent
from .optimal import OptimalAgent
from .players import HumanAgent, PlayerLeft, RandomAgent, ScriptedAgent

if TYPE_CHECKING:
    from .language_model import LanguageModelAgent
    from .tiny import tiny_agent

__all__ = [
    "Agent",
    "HumanAgent",
    "LanguageModelAgent",
    "Message",
    "OptimalAgent",
    "PlayerLeft",
    "Policy",
    "Prompt",
    "RandomAgent",
    "Reply",
    "ScriptedAgent",
    "ask",
    "make_agent",
    "mix",
    "tiny_agent",
    "uniform",
    "uniforms",
]

_LAZY = {"LanguageModelAgent": ".language_model", "tiny_agent": ".tiny"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
