"""What models used: tokens of prompts and of replies, replies that the limit on tokens cut off, and what that costs.

Chosen: counted from the log, so that it holds for the games in the tables, whichever call played them. What was asked
in vain, and asked again, is in no log; the player's own count of this call has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sparring.agents import EndpointAgent
from sparring.agents.endpoint_usage import cost_of

from .tournament import Entrant

KEYS = ("prompt_tokens", "reply_tokens", "cut_off", "uncounted")
SERVED = EndpointAgent.__name__


def served_names(headers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the players of some logs that are on servers."""
    players = (item for header in headers for item in header.get("players", {}).items())
    return list(dict.fromkeys(name for name, about in players if about.get("kind") == SERVED))


def spending(
    players: Mapping[str, Mapping[str, Any]],
    agents: Mapping[str, Mapping[str, Any]],
    prices: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Return what each model used, by name.

    Args:
        players: how games went, as `standings` counts them.
        agents: what is known of each player, as its log says it.
        prices: of a million tokens of prompts and of replies, by name.
    """
    found: dict[str, Any] = {}
    for name, player in players.items():
        is_served = agents.get(name, {}).get("kind") == SERVED
        if player["moves"] and (is_served or player["reply_tokens"]):
            used = {key: player[key] for key in KEYS}
            cost = cost_of((used["prompt_tokens"], used["reply_tokens"]), prices.get(name))
            found[name] = {"replies": player["moves"], **used, "cost": cost}
    return found


def requests(entrants: Iterable[Entrant]) -> dict[str, Any]:
    """Return what players on servers have been asked by this process, by name."""
    served = {e.name: e.agent.usage for e in entrants if isinstance(e.agent, EndpointAgent)}
    return {name: asdict(usage) for name, usage in served.items() if usage.prompts}


def spending_rows(report: Mapping[str, Any]) -> list[list[Any]]:
    """Return the cells of a table: player, replies, cut off, tokens of prompts, of replies, cost."""
    rows = []
    for name, used in report.get("spending", {}).items():
        least = "at least " if used["uncounted"] else ""
        tokens = [f"{least}{used[key]:,}" for key in ("prompt_tokens", "reply_tokens")]
        cost = "-" if used["cost"] is None else f"{least}{used['cost']:.4f}"
        rows.append([name, used["replies"], used["cut_off"], *tokens, cost])
    return rows


def requests_said(report: Mapping[str, Any]) -> list[str]:
    """Return a line on each player that was asked on a server by the call that made the report."""
    lines = []
    for name, used in report.get("requests", {}).items():
        faults = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in used["faults"].items()) or "none"
        sent = f"{used['requests']:,} requests, {used['retries']:,} of them sent again"
        least = "at least " if used["uncounted"] else ""
        spent = f"{least}{used['prompt_tokens']:,} tokens of prompts and {used['completion_tokens']:,} of replies"
        cost = "" if used["cost"] is None else f", {least}{used['cost']:.4f} to pay"
        lines.append(f"{name}, in this call: {sent}; prompts without an answer: {faults}; with these {spent}{cost}.")
    return lines
