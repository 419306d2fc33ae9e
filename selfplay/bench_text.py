"""A benchmark's report in words: Markdown, which the terminal shows as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .spending import requests_said, spending_rows

Report = Mapping[str, Any]

STOPPED = (
    "The test below stopped play for how the games went, which these intervals don't allow for: they may hold the "
    "truth less often than they say. The test's verdict doesn't rest on them."
)
TINY = 1e-9
"""Below this a figure is rounding, and is shown as 0."""


def markdown(report: Report) -> str:
    """Return the whole report as Markdown."""
    parts = [
        "# Benchmark",
        _about(report),
        _ratings(report),
        *_by_game(report),
        _players(report),
        _spending(report),
        _meetings(report),
        _metagame(report),
        _exact(report),
        _intervals("Minimax regret a move, in rewards", report["regret"]),
        _intervals("Score lost in another wording, a game, 0 to 1", report["skins"]),
        _sprt(report),
        _probe(report),
        _broken(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(report: Report) -> str:
    table = report["standings"]
    lines = [
        f"{counted(table['pairs'], 'pair')} of games: one deal, both seats. "
        f"Intervals are of {percent(table['level'])}, by pair.",
        ", ".join(f"{name} {number}" for name, number in report["versions"].items()) + ".",
    ]
    if suite := report.get("suite"):
        lines.append(f"Suite {suite['name']}, manifest {suite['hash']}.")
    if table["staked"]:
        games = ", ".join(table["staked"])
        lines.append(f"In games of stakes ({games}) ratings are of what was won, not of how often; see the rewards.")
    return "\n".join([*lines, *report.get("notes", [])])


def counted(number: int, what: str) -> str:
    """Return a count in words.

    >>> counted(1, "pair"), counted(2000, "pair")
    ('1 pair', '2,000 pairs')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def percent(level: float) -> str:
    """Return the level of an interval with all its digits.

    >>> percent(0.95), percent(0.996)
    ('95%', '99.6%')
    """
    return f"{100 * level:.10g}%"


def _ratings(report: Report) -> str:
    return _rating_table("Ratings, all games", report["standings"]["ratings"], report)


def _by_game(report: Report) -> list[str]:
    tables = report["standings"]["by_game"]
    return [_rating_table(f"Ratings, {game}", table, report, game) for game, table in tables.items()]


def _rating_table(title: str, table: Report | None, report: Report, game: str | None = None) -> str:
    if not table:
        return ""
    if "none" in table:
        return f"## {title}\n\nNone: {table['none']}."
    rewards = report["standings"]["rewards"].get(game, {}) if game else {}
    heads = ["player", "Elo", "interval", "games"] + ["reward a game"] * bool(rewards)
    rows = [
        [
            name,
            elo_said(r),
            span(r),
            r["games"],
        ]
        + ([with_span(rewards[name])] if name in rewards else [])
        for name, r in table["players"].items()
    ]
    anchor = f"{table['anchor']} is at 0" if table["anchor"] else "the mean is at 0"
    seats = "; ".join(f"{label} {elo_said(r)} ({span(r)})" for label, r in table["seat"].items())
    stopped = f" {STOPPED}" if report.get("sprt") else ""
    return f"## {title}\n\n{rows_of(heads, rows)}\n\nElo, {anchor}. Sitting in seat 0 is worth: {seats}.{stopped}"


def elo_said(rating: Report) -> str:
    """Return a rating; of one that games do not bound on both sides no more than they say."""
    is_bounded = rating["low"] is not None and rating["high"] is not None
    return f"{rating['elo']:+.0f}" if is_bounded else one_sided(rating)


def one_sided(rating: Report) -> str:
    """Return a rating that games bound on one side, or on none."""
    if rating["low"] is not None:
        return f"above {rating['low']:+.0f}"
    return f"below {rating['high']:+.0f}" if rating["high"] is not None else "unknown"


def span(rating: Report) -> str:
    """Return an interval in Elo."""
    low, high = rating["low"], rating["high"]
    return f"{'no bound' if low is None else f'{low:+.0f}'} to {'no bound' if high is None else f'{high:+.0f}'}"


def with_span(mean: Report, digits: int = 3) -> str:
    """Return a mean with its interval."""
    if mean["low"] is None:
        return signed(mean["mean"], digits)
    middle, low, high = (signed(mean[key], digits) for key in ("mean", "low", "high"))
    return f"{middle} ({low} to {high})"


def rows_of(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(in_a_cell, line))} |" for line in lines)


def in_a_cell(text: object) -> str:
    """Return text that stays in its cell and does nothing: reasons may quote what a server or a model wrote.

    >>> in_a_cell("a|b\\x1b[31m<i>\\u202e")
    'a\\\\|b [31m&lt;i> '
    """
    shown = "".join(c if c.isprintable() else " " for c in str(text))
    return shown.replace("|", "\\|").replace("<", "&lt;")


def one_line(text: object) -> str:
    """Return text that stays in its line and does nothing, outside a table."""
    return in_a_cell(text).replace("\\|", "|")


def _players(report: Report) -> str:
    players = report["standings"]["players"]
    games = [
        f"## How games went, {one_line(game)}\n\n{_results(played)}" for game, played in games_to_tell(report).items()
    ]
    replies = f"## Replies\n\n{_replies(players, report['timing'])}"
    return "\n\n".join(["## How games went", _results(players), *games, replies])


TOLD = ("lost_illegal", "illegal_replies", "truncated", "void")
"""What is worth a table of its own: one game may lose by the words what another loses on the board."""


def games_to_tell(report: Report) -> Report:
    """Return how games went by game, of several games, where something went otherwise than on the board."""
    found = report["standings"]["players_by_game"]
    told = {game: players for game, players in found.items() if any(p[key] for p in players.values() for key in TOLD)}
    return told if len(found) > 1 else {}


def _results(players: Report) -> str:
    """Return how games ended; apart from replies, so that both tables fit a terminal of 80 columns."""
    keys = ("games", "won", "drawn", "lost_on_board", "lost_illegal", "truncated", "void")
    heads = ("player", "games", "won", "drawn", "lost on the board", "lost by an illegal reply", "truncated", "void")
    return rows_of(heads, [[name, *(player[key] for key in keys)] for name, player in players.items()])


def _replies(players: Report, timing: Report) -> str:
    keys = ("moves", "illegal_replies")
    means = ("tokens_a_reply", "characters_a_reply")
    heads = ("player", "moves", "illegal replies", "tokens a reply", "characters a reply", "seconds a move")
    rows = [
        [name, *(player[key] for key in keys), *(number(player[key]) for key in means), number(timing.get(name))]
        for name, player in players.items()
    ]
    return rows_of(heads, rows)


def _spending(report: Report) -> str:
    rows = spending_rows(report)
    heads = ("player", "replies", "cut off", "prompt tokens", "reply tokens", "cost")
    lines = "\n".join(f"- {one_line(line)}" for line in requests_said(report))
    return "\n\n".join(part for part in ("## Tokens", rows_of(heads, rows), lines) if part) if rows or lines else ""


def number(value: float | None) -> str:
    """Return a number of any size with three digits, or a dash; what is only rounding is 0."""
    if value is None:
        return "-"
    return "0" if abs(value) < TINY else f"{value:.3g}"


def signed(value: float, digits: int) -> str:
    """Return a number with its sign; 0 has none.

    >>> signed(0.25, 3), signed(-1e-17, 3)
    ('+0.250', '0.000')
    """
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def _meetings(report: Report) -> str:
    found = report["standings"]["meetings"]
    if not found:
        return ""
    heads = ("game", "A", "B", "A in seat 0: won / drawn / lost", "A in seat 1: won / drawn / lost")
    rows = [[m["game"], m["one"], m["other"], *(counts(seat) for seat in m["seats"])] for m in found]
    pairs = [[m["game"], m["one"], m["other"], counts(m["pairs"])] for m in found]
    scores = "pairs of games in which A scored 0 / ½ / 1 / 1½ / 2"
    return f"## Meetings\n\n{rows_of(heads, rows)}\n\n{rows_of(('game', 'A', 'B', scores), pairs)}"


def counts(numbers: Iterable[int]) -> str:
    """Return some counts that belong together."""
    return " / ".join(map(str, numbers))


def _metagame(report: Report) -> str:
    found = report["standings"]["metagame"]
    if found is None or len(found["alpha_rank"]) < 3:
        return ""
    rows = [
        [name, *(f"{found[key][name]:.3f}" for key in ("alpha_rank", "nash_weight", "nash_score"))]
        for name in sorted(found["nash_score"], key=lambda n: -found["nash_score"][n])
    ]
    heads = ("player", "alpha-rank", "Nash averaging: weight", "score against it")
    said = cycles_said(found, report["standings"]["level"])
    return f"## Who beats whom\n\n{rows_of(heads, rows)}\n\n{said}"


def cycles_said(found: Report, level: float) -> str:
    """Return how much of the log-odds are cycles, and what of all that cannot be told from noise."""
    share = (
        f"{found['cyclic_share']:.1%} of the log-odds are cycles (A beats B beats C beats A) that no rating explains"
    )
    verdict = "these can't be told from noise" if found["cyclic_p"] > 1 - level else "these are more than that"
    noise = f"noise of so many pairs alone would make {found['cyclic_noise']:.1%} on average, and {verdict}."
    same = [found["alpha_rank_first"], found["nash_first"]]
    first = (
        f"With pairs drawn anew the first by alpha-rank stays so in {same[0]:.0%}, by Nash averaging in {same[1]:.0%}"
    )
    unsure = [name for name, often in zip(("alpha-rank", "Nash averaging"), same, strict=True) if often < level]
    doubt = f": who is first by {' and by '.join(unsure)} can't be told from noise" if unsure else ""
    return f"{share}; {noise} {first}{doubt}."


def _exact(report: Report) -> str:
    lines, none = [], []
    for game, found in report["exact"].items():
        if "none" in found:
            none.append(f"- None in {one_line(game)}: {one_line(found['none'])}")
            continue
        for name, value in found.items():
            cells = [game, name, number(value.get("nashconv")), number(value.get("nashconv_legal"))]
            lines.append([*cells, value.get("none", "")])
    heads = ("game", "player", "NashConv", "of legal play", "")
    parts = ["## Exploitability, exact", rows_of(heads, lines) if lines else "", "\n".join(none)]
    return "\n\n".join(part for part in parts if part) if lines or none else ""


def _intervals(title: str, found: Report) -> str:
    rows = [[game, name, with_span(mean)] for game, players in found.items() for name, mean in players.items()]
    return f"## {title}\n\n{rows_of(('game', 'player', 'mean'), rows)}" if rows else ""


def _sprt(report: Report) -> str:
    found = report.get("sprt")
    return f"## Is {found['b']} better than {found['a']}?\n\n{sprt_said(found)}" if found else ""


def sprt_said(found: Report) -> str:
    """Return what a sequential test found, in plain words."""
    (low, high), (lower, upper) = found["bounds"], found["limits"]
    a, b = found["a"], found["b"]
    said = {
        None: f"Not decided yet: play more pairs to tell whether {b} is better than {a}.",
        "better": f"Yes: the games speak for {b} being better than {a} by {high:g} Elo, and against {low:g}.",
        "not better": f"No: the games speak for {b} being better than {a} by {low:g} Elo at most, not {high:g}.",
    }
    return (
        f"{said[found['decision']]} The log-likelihood ratio is {found['llr']:+.2f} after {found['pairs']} pairs; the "
        f"test ends at {lower:+.2f} or {upper:+.2f}."
    )


def _probe(report: Report) -> str:
    found = report.get("probe", [])
    rows = [[p["game"], p["player"], p["games"], exploit_said(p)] for p in found]
    heads = ("game", "player", "games of training", "what the exploiter wins a game")
    return f"## A fresh exploiter\n\n{rows_of(heads, rows)}" if rows else ""


def exploit_said(found: Report) -> str:
    """Return what an exploiter wins a game, or why that is not known."""
    if "none" in found:
        return str(found["none"])
    illegal = illegal_said(found)
    return f"{with_span(found['reward'])}; {illegal}" if illegal else with_span(found["reward"])


def illegal_said(found: Report) -> str:
    """Return how much of what an exploiter replied was no move, if there was any: it could not win with that."""
    return f"{found['illegal']:.0%} of its replies were illegal" if found.get("illegal") else ""


def _broken(report: Report) -> str:
    rows = [*not_working(report), *not_played(report)]
    return f"## What did not work\n\n{rows_of(('what', '', 'why'), rows)}" if rows else ""


def not_played(report: Report) -> list[list[Any]]:
    """Return the cells of a table: players, and which games they cannot play, and why; games of one reason together."""
    rows = []
    for name, whys in report.get("unable", {}).items():
        for why in dict.fromkeys(whys.values()):
            games = ", ".join(label for label, said in whys.items() if said == why)
            rows.append(["player", name, f"does not play {games}: {why}"])
    return rows


def not_working(report: Report) -> list[list[Any]]:
    """Return the cells of a table: what did not work, which or how many, and why."""
    agents, games = report["agents"].items(), report["games"].items()
    rows = [["player", name, about["broken"]] for name, about in agents if about["broken"]]
    rows += [["player", name, about["down"]] for name, about in agents if "down" in about]
    rows += [["game", name, about["broken"]] for name, about in games if about["broken"]]
    rows += [["void games", count, why] for why, count in report["standings"]["void"].items()]
    for found in report.get("probe", []):
        if "none" in found:
            rows.append(["exploiter", f"of {found['player']} in {found['game']}", found["none"]])
    what = "not replayed, so without regret and transcript"
    for game, about in report.get("unreplayed", {}).items():
        rows.append([what, f"{game}, {about['pairs']} pairs", f"the first: {about['why']}"])
    return rows
