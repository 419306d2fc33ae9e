"""Players: anything that answers prompts. torch is imported only when a language model is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .agent import Agent, Message, Picky, Policy, Prompt, Reply, SharedAgent, ask, mix, uniform, uniforms
from .endpoint import EndpointAgent
from .endpoint_answer import Fault
from .endpoint_name import folder_name, is_endpoint
from .endpoint_usage import Usage
from .heuristic import HeuristicAgent
from .judge_counts import report_of
from .judge_wrappers import CachedJudge, CountedJudge, PatientJudge, SwappedJudge
from .judges import AgentJudge, MajorityJudge, make_judge
from .loading import AGENTS, make_agent, settings_of
from .optimal import OptimalAgent
from .players import HumanAgent, PlayerLeft, RandomAgent, ScriptedAgent

if TYPE_CHECKING:
    from .adapters import BASE, AdapterAgent, Adapters, add_lora, copy_agent
    from .language_model import LanguageModelAgent
    from .model_judge import ModelJudge, train_model_judge
    from .tiny import tiny_agent

__all__ = [
    "AGENTS",
    "BASE",
    "AdapterAgent",
    "Adapters",
    "Agent",
    "AgentJudge",
    "CachedJudge",
    "CountedJudge",
    "EndpointAgent",
    "Fault",
    "HeuristicAgent",
    "HumanAgent",
    "LanguageModelAgent",
    "MajorityJudge",
    "Message",
    "ModelJudge",
    "OptimalAgent",
    "PatientJudge",
    "Picky",
    "PlayerLeft",
    "Policy",
    "Prompt",
    "RandomAgent",
    "Reply",
    "ScriptedAgent",
    "SharedAgent",
    "SwappedJudge",
    "Usage",
    "add_lora",
    "ask",
    "copy_agent",
    "folder_name",
    "is_endpoint",
    "make_agent",
    "make_judge",
    "mix",
    "report_of",
    "settings_of",
    "tiny_agent",
    "train_model_judge",
    "uniform",
    "uniforms",
]

_LAZY = {
    "BASE": ".adapters",
    "AdapterAgent": ".adapters",
    "Adapters": ".adapters",
    "LanguageModelAgent": ".language_model",
    "ModelJudge": ".model_judge",
    "add_lora": ".adapters",
    "copy_agent": ".adapters",
    "tiny_agent": ".tiny",
    "train_model_judge": ".model_judge",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
