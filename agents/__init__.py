"""Players: anything that answers prompts."""

from .agent import Agent, Message, Policy, Prompt, Reply, ask, mix, uniform, uniforms

__all__ = ["Agent", "Message", "Policy", "Prompt", "Reply", "ask", "mix", "uniform", "uniforms"]
