"""A benchmark from words to a report: who enters, what is played, what is found. scripts/benchmark.py is its shell.

Chosen: what is misspelt ends it before anything is played; what cannot be loaded is said in the table, and the others
play. Everything in the report comes from the log, so a report can be made again, or from several logs at once.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sparring.agents import (
    AGENTS,
    Agent,
    AgentJudge,
    CachedJudge,
    CountedJudge,
    EndpointAgent,
    LanguageModelAgent,
    MajorityJudge,
    ModelJudge,
    PatientJudge,
    SwappedJudge,
    make_agent,
    make_judge,
    settings_of,
)
from sparring.envs import Game, Judge, judge_of, list_games, make, near, read_options
from sparring.envs.registry import default_settings

from .bench_notes import BRIEF, anchor_note, judge_notes, optimal_note, version_notes, versions_of
from .findings import exact, regrets, skin_costs
from .judged import is_judged, with_judge
from .labels import PLAIN, game_label, plain_label, split_label
from .match_log import check_same, is_void
from .run_curves import curves, model_folder
from .spending import requests, spending
from .standings import Record, down_players, standings, timing
from .tournament import Entrant, Entry, PairKey, said
from .transcripts import transcripts
from .versions import versions


def enter(spec: str, settings: Mapping[str, Any] | None = None) -> Entrant:
    """Return the player of a word: a name that `make_agent` takes, the folder of a run, or `NAME=` either.

    A model that cannot be loaded is an entrant that is broken. Raises ValueError for a name that is misspelt.
    """
    name, rest = split_name(spec)
    try:
        agent = make_agent(model_folder(rest), **settings_of(rest, settings or {}))
    except Exception as error:
        if isinstance(error, ValueError) and is_word(rest):
            raise
        return Entrant(name=name, agent=None, broken=said(error), spec=rest)
    return Entrant(name=name, agent=agent, spec=rest)


def split_name(spec: str) -> tuple[str, str]:
    """Return how tables call the player of a word, and what it is.

    >>> split_name("mine=runs/a"), split_name("openai:m@http://localhost:8000/v1")[0]
    (('mine', 'runs/a'), 'openai:m@http://localhost:8000/v1')
    """
    name, equals, rest = spec.partition("=")
    return (spec, spec) if not equals or "/" in name or ":" in name else (name, rest)


def is_word(spec: str) -> bool:
    """Whether a player's name is neither a path, nor a hub's, nor an endpoint's, so that it can only be misspelt."""
    return not ({"/", ":", "\\"} & set(spec) or Path(spec).exists())


def enter_game(spec: str, *, skin: str | None = None, show_legal: bool | None = None) -> Entry:
    """Return the game of a word: an id, with settings behind a question mark, as in `LiarsDice-v0?dice=2&faces=4`.

    The setting `judge` is whatever `make_judge` takes. A game that cannot be made, whose library is missing for
    instance, is an entry that is broken. Raises ValueError for an unknown id or setting.
    """
    id, settings = read_spec(spec)
    if skin is not None and "skin" in settings:
        raise ValueError(f"{spec!r} has its skin in its settings; give the skin there, or with --skins, not both")
    if "show_legal" in settings:
        raise ValueError(f"{spec!r}: whether legal moves are listed is one for all games; give --hide-legal")
    worn = settings.pop("skin", skin)
    judge = settings.get("judge")
    own = {name: value for name, value in settings.items() if name != "judge"}
    label = partial(game_label, id, settings, skin=worn)
    try:
        game = make(id, show_legal=show_legal, **own, **({} if worn is None else {"skin": worn}))
        # One that cannot say what it is cannot be written down.
        about_game(game)
    except Exception as error:
        # What can only be misspelt is refused; what breaks inside a game, somebody's own or a library's, is said.
        if isinstance(error, ValueError | TypeError) and is_own(id):
            raise
        return Entry(label=label(defaults={}), game=None, broken=said(error))
    game = game if judge is None else with_judge(game, str(judge))
    return Entry(label=label(defaults=default_settings(id)), game=game)


def read_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Return the id and the settings of a game's word."""
    id, _, options = spec.partition("?")
    return id, read_options(word for word in options.split("&") if word)


def judged_by(entries: Iterable[Entry], spec: str, **settings: Any) -> list[Entry]:
    """Return games of which those that ask a judge have the one called `spec`; `settings` are of language models.

    Raises ValueError if none asks one, or one has its judge already, and as `make_judge` does.
    """
    entries = list(entries)
    asking = [entry.label for entry in entries if entry.game is not None and is_judged(entry.game)]
    if not asking:
        raise ValueError(f"no game here asks a judge: leave judge {spec!r} out")
    if own := [label for label in asking if re.search("[?&]judge=", label)]:
        raise ValueError(f"{own[0]!r} has its judge in its settings; give it there, or with --judge, not both")
    # One judge for all: it may be a large model.
    judge = make_judge(spec, **settings)
    found = [replace(entry, game=copy.copy(entry.game)) for entry in entries]
    for entry in found:
        if entry.game is not None and entry.label in asking:
            entry.game.judge = judge
    return found


def is_own(id: str) -> bool:
    """Whether a game's id is meant to be one of the package's: neither a bridge's nor of a file or a module."""
    return not {"/", ":"} & set(id)


def enter_games(specs: Iterable[str], skins: Sequence[str] = (), *, show_legal: bool | None = None) -> list[Entry]:
    """Return the games of some words in each of some skins; a game that lacks a skin is broken in it.

    Raises ValueError, naming the near one, for a skin that no game here has, and for two words of one game.
    """
    plain = {spec: enter_game(spec, show_legal=show_legal) for spec in dict.fromkeys(specs)}
    words: dict[str, str] = {}
    for spec, entry in plain.items():
        if (known := words.setdefault(entry.label, spec)) != spec:
            raise ValueError(f"{known!r} and {spec!r} are one game, {entry.label}; name it once")
        if skins and "skin" in read_spec(spec)[1]:
            raise ValueError(f"{spec!r} has its skin in its settings; give the skin there, or with --skins, not both")
    there = {PLAIN, *(skin for entry in plain.values() if entry.game is not None for skin in entry.game.skins)}
    if unknown := set(skins) - there:
        raise ValueError(f"no game here has the skin {min(unknown)!r}.{near(min(unknown), there)}")
    return [
        _in_skin(entry, skin, show_legal)
        for entry in plain.values()
        for skin in dict.fromkeys(skins if skins and entry.game is not None else (PLAIN,))
    ]


def _in_skin(plain: Entry, skin: str, show_legal: bool | None) -> Entry:
    spec, game = plain.label, plain.game
    if skin == PLAIN or game is None:
        return plain
    if skin not in game.skins:
        return Entry(label=f"{spec}[{skin}]", game=None, broken=f"it has no such skin, only {', '.join(game.skins)}")
    return enter_game(spec, skin=skin, show_legal=show_legal)


def header(
    entrants: Iterable[Entrant],
    entries: Iterable[Entry],
    *,
    retries: int = 0,
    unable: Mapping[tuple[str, str], str] | None = None,
) -> dict[str, Any]:
    """Return what a log says of its players and games, so that two logs can be told to be of the same.

    `unable` says why some players cannot play some games, see `tournament.unable`.
    """
    entrants, entries = list(entrants), list(entries)
    cannot: dict[str, dict[str, str]] = {}
    for (name, label), why in (unable or {}).items():
        cannot.setdefault(name, {})[label] = why
    return {
        "games": {e.label: {**about_game(e.game), "retries": retries} for e in entries if e.game is not None},
        "players": {e.name: fingerprint(e.agent) for e in entrants if e.agent is not None},
        "broken": {
            "games": {e.label: e.broken for e in entries if e.game is None},
            "players": {e.name: e.broken for e in entrants if e.agent is None},
        },
        **({"unable": cannot} if cannot else {}),
        "versions": versions(e.game for e in entries if e.game is not None),
    }


def about_game(game: Game[Any]) -> dict[str, Any]:
    """Return what makes two games the same: rules, range of rewards, whether moves are listed, and who judges."""
    rules = game.rules if isinstance(game.rules, str) else "\n".join(game.rules)
    return {
        "id": game.name,
        "rules": hashlib.sha256(rules.encode()).hexdigest()[:16],
        "reward_range": list(game.reward_range),
        "show_legal": game.show_legal,
        **({"judge": judge_fingerprint(judge_of(game))} if is_judged(game) else {}),
    }


def judge_fingerprint(judge: Judge) -> dict[str, Any]:
    """Return what makes two judges the same: the name, and a hash of the weights where there are some."""
    found: dict[str, Any] = {"name": judge.name}
    if isinstance(judge, CountedJudge | CachedJudge | PatientJudge | SwappedJudge):
        return {**judge_fingerprint(judge.inner), **found}
    if isinstance(judge, MajorityJudge):
        return {**found, "judges": [judge_fingerprint(voter) for voter in judge.judges]}
    if isinstance(judge, AgentJudge):
        return {**found, "by": "odds" if judge.is_by_odds else "words", "agent": fingerprint(judge.agent)}
    if isinstance(judge, ModelJudge):
        return {**found, "weights": hashlib.sha256(b"".join(w.tobytes() for w in judge.mlp)).hexdigest()[:16]}
    return found


def fingerprint(agent: Agent) -> dict[str, Any]:
    """Return what makes two players the same: of a language model a hash of its weights and how it samples."""
    kind = {"kind": type(agent).__name__}
    if isinstance(agent, EndpointAgent):
        # It says what it asks, and can vouch for no more.
        asks = {"temperature": agent.temperature, "max_tokens": agent.max_tokens}
        return {**kind, "model": agent.model, "url": agent.url, **asks}
    if not isinstance(agent, LanguageModelAgent):
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
        # A tensor without dimensions cannot be seen as bytes.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def report(
    entrants: Sequence[Entrant],
    entries: Sequence[Entry],
    records: Sequence[Record],
    headers: Sequence[Mapping[str, Any]],
    *,
    anchor: str | None = "random",
    level: float = 0.95,
    is_exact: bool = True,
    is_brief: bool = False,
    suite: Mapping[str, str] | None = None,
    prices: Mapping[str, tuple[float, float]] | None = None,
    notes: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything that a benchmark found, as plain data.

    `is_brief` leaves out what may take long; `prices` are of a million tokens of prompts and of replies, by player.
    """
    games = {entry.label: entry.game for entry in entries if entry.game is not None}
    ranges = {label: tuple(about["reward_range"]) for h in headers for label, about in h.get("games", {}).items()}
    table = standings(records, ranges, anchor=anchor, level=level, players=[e.name for e in entrants])
    abouts = _merged(headers, "games")
    labels = [entry.label for entry in entries if "judge" in abouts.get(entry.label, {})]
    judges = {label: {"judge": abouts[label]["judge"]} for label in labels}
    played_with = versions_of(headers, records)
    down = down_players(records)
    agents = {e.name: _about_player(e, _merged(headers, "players"), down) for e in entrants}
    exactly = exact(entrants, games) if is_exact and not is_brief else {}
    listed = {label: game for label, game in games.items() if "none" not in exactly.get(label, {})}
    said_of = [*notes, BRIEF] if is_brief else [*notes, *optimal_note(agents, listed)]
    skins = {label: plain for label in games if (plain := plain_label(label)) != label}
    lost: dict[PairKey, str] = {}
    regret = {} if is_brief else regrets(records, games, level, lost)
    shown = [] if is_brief else transcripts(records, games, lost, tried=regret.keys())
    return {
        "games": {e.label: {"broken": e.broken, **judges.get(e.label, {})} for e in entries},
        "agents": agents,
        "versions": {name: ", ".join(found) for name, found in played_with.items()},
        "notes": [*said_of, *version_notes(played_with), *anchor_note(anchor, table), *judge_notes(judges)],
        "seeds": sorted({record["pair"][0] for record in records}),
        "retries": sorted({record["retries"] for record in records}),
        "standings": table,
        "exact": exactly,
        "regret": regret,
        "skins": skin_costs(records, skins, ranges, table["staked"], level),
        "curves": curves(entrants),
        "transcripts": shown,
        "unreplayed": _unreplayed(lost),
        "unable": _unable(headers, records),
        "timing": timing(records),
        "spending": spending(table["players"], agents, prices or {}),
        **({"requests": asked} if (asked := requests(entrants)) else {}),
        **({} if suite is None else {"suite": suite}),
        **(more or {}),
    }


def _about_player(entrant: Entrant, known: Mapping[str, Any], down: Mapping[str, str]) -> dict[str, Any]:
    name = entrant.name
    gone = {"down": down[name]} if name in down else {}
    return {"broken": entrant.broken, **gone, **known.get(name, {})}


def _unable(headers: Iterable[Mapping[str, Any]], records: Iterable[Record]) -> dict[str, dict[str, str]]:
    """Return which games players could not play, and why, by name; what they have played since, they can."""
    played = {(name, record["pair"][1]) for record in records for name in record["pair"][2:4] if not is_void(record)}
    found: dict[str, dict[str, str]] = {}
    for name, whys in (item for header in headers for item in header.get("unable", {}).items()):
        for label, why in whys.items():
            if (name, label) not in played:
                found.setdefault(name, {})[label] = why
    return found


def _merged(headers: Iterable[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    return {name: about for header in headers for name, about in header.get(kind, {}).items()}


def _unreplayed(lost: Mapping[PairKey, str]) -> dict[str, Any]:
    """Return of how many pairs of each game a game did not replay, and why the first did not."""
    found: dict[str, Any] = {}
    for key, why in lost.items():
        found.setdefault(key.game, {"pairs": 0, "why": why})["pairs"] += 1
    return found


def recorded_games(headers: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Return the games that some logs are of, as far as they can be made here, and those that could not be played."""
    games = _merged(headers, "games")
    broken = {label: why for label, why in _broken(headers, "games").items() if label not in games}
    found = [_recorded_game(label, about) for label, about in games.items()]
    return found + [Entry(label=label, game=None, broken=why) for label, why in broken.items()]


def recorded_players(headers: Sequence[Mapping[str, Any]], given: Iterable[Entrant] = ()) -> list[Entrant]:
    """Return the players that some logs are of: those `given`, built-in ones, of others the name; and who did not play.

    Raises LogError if one who is given is not who played under that name.
    """
    here = {entrant.name: entrant for entrant in given}
    check_same([*headers, header(here.values(), [])], "the players given")
    players, broken = _merged(headers, "players"), _broken(headers, "players")
    names = dict.fromkeys([*players, *broken, *here])
    return [here.get(name) or _recorded_player(name, players.get(name), broken.get(name, "")) for name in names]


def _recorded_player(name: str, about: Mapping[str, Any] | None, broken: str) -> Entrant:
    if about is None:
        return Entrant(name=name, agent=None, broken=broken)
    built_in = enter(name).agent if name in AGENTS else None
    return Entrant(name=name, agent=built_in if built_in is not None and fingerprint(built_in) == about else None)


def _broken(headers: Iterable[Mapping[str, Any]], kind: str) -> dict[str, str]:
    return {name: why for header in headers for name, why in header.get("broken", {}).get(kind, {}).items()}


def _recorded_game(label: str, about: Mapping[str, Any]) -> Entry:
    spec, skin = split_label(label)
    try:
        # As the log calls it: logs of before have labels of other forms.
        return replace(enter_game(spec, skin=skin, show_legal=about["show_legal"]), label=label)
    except (ValueError, TypeError) as error:
        return Entry(label=label, game=None, broken=said(error))


def known_names() -> str:
    """Return what can be entered, for help texts."""
    players = ", ".join(sorted(AGENTS))
    return f"players: {players}, a folder, a hub name, openai:MODEL@URL; games: {', '.join(list_games())}"
