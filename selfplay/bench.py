"""A benchmark from words to a report: who enters, what is played, what is found. scripts/benchmark.py is its shell.

Chosen: what is misspelt ends it before anything is played; what cannot be loaded is said in the table, and the others
play. Everything in the report comes from the log, so a report can be made again, or from several logs at once.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparring.agents import AGENTS, Agent, LanguageModelAgent, make_agent
from sparring.envs import Game, list_games, make, read_options

from .findings import exact, regrets, skin_costs
from .match_log import replay
from .standings import Record, plain_label, standings
from .tournament import Entrant, Entry, said

PACKAGES = ("sparring", "torch", "transformers", "numpy")
SHOWN = 3
"""Games of each match-up whose transcripts a report holds."""


def enter(spec: str, settings: Mapping[str, Any] | None = None) -> Entrant:
    """Return the player of a word: a name that `make_agent` takes, or `NAME=SPEC`.

    A model that cannot be loaded is an entrant that is broken. Raises ValueError for a name that is misspelt.
    """
    name, equals, rest = spec.partition("=")
    if not equals or "/" in name or ":" in name:
        name, rest = spec, spec
    try:
        agent = make_agent(rest, **({} if rest in AGENTS else settings or {}))
    except Exception as error:
        if isinstance(error, ValueError) and is_word(rest):
            raise
        return Entrant(name=name, agent=None, broken=said(error))
    return Entrant(name=name, agent=agent)


def is_word(spec: str) -> bool:
    """Whether a player's name is neither a path, nor a hub's, nor an endpoint's, so that it can only be misspelt."""
    return not ({"/", ":", "\\"} & set(spec) or Path(spec).exists())


def enter_game(spec: str, *, skin: str | None = None, show_legal: bool | None = None) -> Entry:
    """Return the game of a word: an id, with settings behind a question mark, as in `LiarsDice-v0?dice=2&faces=4`.

    A game whose library is missing is an entry that is broken. Raises ValueError for an unknown id or setting.
    """
    id, _, options = spec.partition("?")
    settings = read_options(word for word in options.split("&") if word)
    label = spec if skin in (None, "plain") else f"{spec}[{skin}]"
    try:
        game = make(id, show_legal=show_legal, **settings, **({} if skin is None else {"skin": skin}))
    except ImportError as error:
        return Entry(label=label, game=None, broken=said(error))
    return Entry(label=label, game=game)


def enter_games(specs: Iterable[str], skins: Sequence[str] = (), *, show_legal: bool | None = None) -> list[Entry]:
    """Return the games of some words in each skin that they have; a skin that none has raises ValueError."""
    found: list[Entry] = []
    known: set[str] = {"plain"}
    for spec in specs:
        plain = enter_game(spec, show_legal=show_legal)
        own = plain.game.skins if plain.game is not None else ("plain",)
        known |= set(own)
        found += [
            plain if skin == "plain" else enter_game(spec, skin=skin, show_legal=show_legal)
            for skin in skins or ("plain",)
            if skin in own
        ]
    if unknown := set(skins) - known:
        raise ValueError(f"no game here has the skin {min(unknown)!r}; there are {', '.join(sorted(known))}")
    return found


def header(entrants: Iterable[Entrant], entries: Iterable[Entry]) -> dict[str, Any]:
    """Return what a log says of its players and games, so that two logs can be told to be of the same."""
    return {
        "games": {e.label: about_game(e.game) for e in entries if e.game is not None},
        "players": {e.name: fingerprint(e.agent) for e in entrants if e.agent is not None},
        "versions": versions(),
    }


def about_game(game: Game[Any]) -> dict[str, Any]:
    """Return what makes two games the same: rules, range of rewards, and whether moves are listed."""
    rules = game.rules if isinstance(game.rules, str) else "\n".join(game.rules)
    return {
        "id": game.name,
        "rules": hashlib.sha256(rules.encode()).hexdigest()[:16],
        "reward_range": list(game.reward_range),
        "show_legal": game.show_legal,
    }


def fingerprint(agent: Agent) -> dict[str, Any]:
    """Return what makes two players the same: of a language model a hash of its weights and how it samples."""
    kind = {"kind": type(agent).__name__}
    if not isinstance(agent, LanguageModelAgent):
        # An endpoint says what it asks, and can vouch for no more.
        return {**kind, **{key: value for key, value in vars(agent).items() if key in ("model", "url")}}
    return {
        **kind,
        "weights": weights_hash(agent.model),
        "temperature": agent.temperature,
        "max_new_tokens": agent.max_new_tokens,
    }


def weights_hash(model: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of all weights, names included."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of what plays."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def report(
    entrants: Sequence[Entrant],
    entries: Sequence[Entry],
    records: Sequence[Record],
    headers: Sequence[Mapping[str, Any]],
    *,
    anchor: str | None = "random",
    level: float = 0.95,
    is_exact: bool = True,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything that a benchmark found, as plain data."""
    games = {entry.label: entry.game for entry in entries if entry.game is not None}
    ranges = {label: tuple(about["reward_range"]) for h in headers for label, about in h.get("games", {}).items()}
    table = standings(records, ranges, anchor=anchor, level=level, players=[e.name for e in entrants])
    skins = {label: plain_label(label) for label in games if label.endswith("]")}
    return {
        "games": {entry.label: {"broken": entry.broken} for entry in entries},
        "agents": {e.name: {"broken": e.broken, **_merged(headers, "players").get(e.name, {})} for e in entrants},
        "versions": versions(),
        "standings": table,
        "exact": exact(entrants, games) if is_exact else {},
        "regret": regrets(records, games, level),
        "skins": skin_costs(records, skins, ranges, table["staked"], level),
        "transcripts": transcripts(records, games),
        **(more or {}),
    }


def _merged(headers: Iterable[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    return {name: about for header in headers for name, about in header.get(kind, {}).items()}


def transcripts(records: Iterable[Record], games: Mapping[str, Game[Any]]) -> list[dict[str, Any]]:
    """Return the first games of each match-up with what each seat was shown, by playing them again."""
    found: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], int] = {}
    for record in records:
        matchup = tuple(record["pair"][1:4])
        if matchup[0] not in games or seen.get(matchup, 0) >= SHOWN:
            continue
        seen[matchup] = seen.get(matchup, 0) + 1
        for which, game in enumerate(record["games"]):
            turns = replay(record, which, games[matchup[0]])
            shown = [{"seat": seat, "prompt": prompt, "reply": reply} for seat, prompt, reply in turns]
            about = {key: game[key] for key in ("players", "rewards", "ending", "offender", "why")}
            found.append(
                {"game": matchup[0], "seed": record["pair"][0], "pair": record["pair"][4], **about, "turns": shown}
            )
    return found


def known_names() -> str:
    """Return what can be entered, for help texts."""
    return f"players: {', '.join(sorted(AGENTS))}, a folder, a hub name; games: {', '.join(list_games())}"
