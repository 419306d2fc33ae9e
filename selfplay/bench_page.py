"""A benchmark's report as one page that asks for nothing: tables, drawings, and games to step through.

Chosen: the one script is allowed by its hash and everything else is forbidden to run, so that what a model wrote is
text even if the escaping failed; games travel as ASCII JSON in a data block. Left out: frameworks, fonts, links out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .bench_text import signed
from .page_html import Html, esc, section, seen
from .page_sections import SECTIONS, about, who

Report = Mapping[str, Any]

MOST = 4_000_000
"""Characters of games that a page holds; texts that come twice are counted once."""


def page(report: Report) -> str:
    """Return the report as HTML, in ASCII."""
    style, script = _asset("page.css"), _asset("page.js")
    parts = [part for part in (*(make(report) for make in SECTIONS), _replayer(), who(report)) if part]
    titles = re.findall(r'<section id="([a-z]+)"><h2>(.*?)</h2>', "".join(parts))
    links = "".join(f'<li><a href="#{id}">{title}</a></li>' for id, title in titles)
    title = esc("Benchmark: " + (", ".join(report["agents"]) or "no players"))
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<header><h1>{title}</h1>{about(report)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n<main>\n{chr(10).join(parts)}\n</main>\n'
        f'<script type="application/json" id="data">{island(report)}</script>\n<script>{script}</script>\n'
        "</body>\n</html>\n"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _asset(name: str) -> str:
    """Return a file that lies beside this one; ASCII, since it is hashed as it will stand in the page."""
    return Path(__file__).with_name(name).read_text(encoding="ascii")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _replayer() -> Html:
    """Return the frame that the script fills."""
    controls = (
        '<div class="controls" id="controls" hidden>'
        '<label>match-up <select id="meeting"></select></label> <label>game <select id="game"></select></label>'
        '<div class="steps"><button type="button" id="back">Previous</button> '
        '<button type="button" id="next">Next</button> '
        '<span id="step" role="status" aria-live="polite"></span></div></div>'
    )
    body = '<div id="turn"></div>'
    note = "<noscript><p>Games are stepped through by a script; without it, read them in report.json.</p></noscript>"
    left = '<p id="left" class="small"></p>'
    return section("games", "Games, turn by turn", note, controls, body, left)


def island(report: Report) -> str:
    """Return the games as JSON that can stand in a script element: ASCII, and nothing that could close it."""
    data = games_data(report["transcripts"])
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def games_data(transcripts: Sequence[Report], most: int = MOST) -> dict[str, Any]:
    """Return games by match-up with all that the script shows, as text; texts are kept once, and pointed to."""
    texts: dict[str, int] = {}
    meetings: dict[str, list[dict[str, Any]]] = {}
    size = left = 0
    # The first game of every match-up before the second of any, so that what there is no room for is shared out.
    for game in _taking_turns(transcripts):
        said = [seen(turn[key]) for turn in game["turns"] for key in ("prompt", "reply")]
        more = sum(len(text) for text in set(said) if text not in texts)
        if size + more > most:
            left += 1
            continue
        size += more
        for text in said:
            texts.setdefault(text, len(texts))
        label = f"{game['game']}: {' and '.join(sorted(game['players']))}"
        meetings.setdefault(seen(label), []).append(_game(game, texts))
    return {"texts": list(texts), "meetings": [{"label": k, "games": v} for k, v in meetings.items()], "left": left}


def _taking_turns(transcripts: Iterable[Report]) -> list[Report]:
    seen_so_far: dict[tuple[Any, ...], int] = {}
    ranked = []
    for game in transcripts:
        meeting = (game["game"], *sorted(game["players"]))
        rank = seen_so_far[meeting] = seen_so_far.get(meeting, -1) + 1
        ranked.append((rank, game))
    return [game for _, game in sorted(ranked, key=lambda item: item[0])]


def _game(game: Report, texts: Mapping[str, int]) -> dict[str, Any]:
    players = game["players"]
    return {
        "label": seen(f"seed {game['seed']}, pair {game['pair']}: {players[0]} in seat 0, {players[1]} in seat 1"),
        "end": seen(ended(game)),
        "turns": [
            {
                "who": seen(f"Seat {turn['seat']}, {players[turn['seat']]}"),
                "prompt": texts[seen(turn["prompt"])],
                "reply": texts[seen(turn["reply"])],
                "problem": (turn.get("problem") or "").replace("_", " "),
            }
            for turn in game["turns"]
        ],
    }


def ended(game: Report) -> str:
    """Return how a game ended, in a sentence."""
    players = game["players"]
    if game["ending"] == "void":
        return f"Void, and counted for nobody: {game['why'] or 'no reason was given'}"
    first, second = (signed(reward, 3) for reward in game["rewards"])
    rewards = f"{players[0]} gets {first}, {players[1]} gets {second}."
    if game["offender"] is not None:
        return f"Ended by an illegal reply of {players[game['offender']]}. {rewards}"
    return f"{'Stopped at the limit of turns' if game['ending'] == 'truncated' else 'Played to its end'}. {rewards}"
