"""The sections of the benchmark's page, each made from the report alone; one that has nothing to say is empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .bench_text import (
    STOPPED,
    counts,
    cycles_said,
    elo_said,
    illegal_said,
    not_played,
    not_working,
    one_sided,
    percent,
    signed,
    sprt_said,
)
from .page_charts import Axis, Band, axis_head, curves, gauge, interval, point, shares
from .page_html import Column, Html, definitions, esc, para, section, short, spanned, table
from .spending import requests_said, spending_rows

Report = Mapping[str, Any]

PATHS = {
    "won": "won",
    "drawn": "drawn",
    "lost_on_board": "lost on the board",
    "lost_illegal": "lost by an illegal reply",
    "void": "void",
}
"""How games of a player end, as the drawing colours them."""
MEASURES = (
    "rating",
    "strength",
    "nashconv",
    "nashconv_legal",
    "loss_vs_optimal",
    "reward_vs_random",
    "illegal_mass",
    "illegal_rate",
    "forfeits",
    "entropy",
    "kl_start",
    "reply_tokens",
    "turns_a_game",
)
"""Measures of a run whose curves are drawn, in this order, before the figures of its game."""


def about(report: Report) -> Html:
    """Return what was played."""
    found = report["standings"]
    pairs = [
        ("pairs of games", f"{found['pairs']:,}"),
        ("players", len(report["agents"]) or len(found["players"])),
        ("games", len(report["games"])),
        ("seed", ", ".join(map(str, report.get("seeds", [])))),
        ("intervals", f"{percent(found['level'])}, by pair"),
        ("illegal replies taken back", ", ".join(map(str, report.get("retries", [])))),
    ]
    if suite := report.get("suite"):
        pairs += [("suite", suite["name"]), ("manifest", suite["hash"])]
    pairs += list(report["versions"].items())
    note = "Interrupted: this is what was played until then." if report.get("interrupted") else ""
    note = " ".join([*report.get("notes", []), note]).strip()
    return Html(definitions((t, d) for t, d in pairs if d != "") + (para(note, "note") if note else ""))


def who(report: Report) -> Html:
    """Return who played, and what tells each from another of its name."""
    rows = [
        [
            name,
            about.get("kind", "–"),
            "; ".join(f"{k} {v}" for k, v in about.items() if k not in ("kind", "broken", "down")),
        ]
        for name, about in report["agents"].items()
    ]
    columns = [Column("player", "t"), Column("kind", "t"), Column("what it is", "t")]
    return section("players", "Players", table(columns, rows, "Players", is_headed=True) if rows else "")


def ratings(report: Report) -> Html:
    """Return the ratings over all games, and those of each game."""
    found = report["standings"]
    parts = [_rating_table(report, "All games", found["ratings"])]
    parts += [_rating_table(report, game, one, game) for game, one in found["by_game"].items()]
    staked = found["staked"]
    note = f"In games of stakes ({', '.join(staked)}) ratings are of what was won, not of how often." if staked else ""
    notes = [para(text) for text in (note, STOPPED if report.get("sprt") else "") if text]
    return section("ratings", "Ratings", *notes, *parts)


def _rating_table(report: Report, title: str, found: Report | None, game: str | None = None) -> Html:
    if not found:
        return Html("")
    if "none" in found:
        return Html(f"<h3>{esc(title)}</h3>{para('No ratings: ' + found['none'])}")
    rated: Mapping[str, Report] = found["players"]
    axis = Axis.over(end for r in rated.values() for end in _drawn(r))
    anchor = f"{found['anchor']} is at 0" if found["anchor"] else "the mean of all is at 0"
    rewards = report["standings"]["rewards"].get(game, {}) if game in report["standings"]["staked"] else {}
    columns = [Column("player", "t"), Column("Elo"), Column(axis_head(axis, f"Elo; {anchor}"), "g"), Column("interval")]
    columns += [Column("games")] + [Column("reward a game"), Column("interval")] * bool(rewards)
    rows = [
        _rating_row(name, r, axis) + (_mean_cells(rewards.get(name)) if rewards else []) for name, r in rated.items()
    ]
    seats = "; ".join(
        f"{label} {elo_said(r)} ({spanned(r['low'], r['high'], 0)})" for label, r in found["seat"].items()
    )
    note = para(f"Elo, {anchor}; {found['pairs']:,} independent pairs. Sitting in seat 0 is worth: {seats}.", "small")
    return Html(f"<h3>{esc(title)}</h3>{table(columns, rows, f'Ratings: {title}', is_headed=True)}{note}")


def _drawn(rating: Report) -> list[float | None]:
    """Return the numbers of a rating that must be on the axis; of a one-sided one only the end that there is."""
    ends = [rating["low"], rating["high"]]
    return [*ends, rating["elo"]] if None not in ends else ends


def _rating_row(name: str, rating: Report, axis: Axis) -> list[object]:
    low, high = rating["low"], rating["high"]
    said = signed(rating["elo"], 0) if low is not None and high is not None else one_sided(rating)
    words = spanned(low, high, 0) if low is not None or high is not None else "no bound on either side"
    bar = interval(axis, rating["elo"], low, high, f"{name}: {said}, {words}")
    return [name, said, bar, words, rating["games"]]


def _mean_cells(mean: Report | None) -> list[object]:
    return ["–", "–"] if mean is None else [signed(mean["mean"], 3), spanned(mean["low"], mean["high"])]


def matrix(report: Report) -> Html:
    """Return who beats whom: win rates as a heat map, and what they say beyond ratings."""
    found = report["standings"]
    rates = {
        (a, b): p
        for a, row in zip(found["players"], found["matrix"], strict=True)
        for b, p in zip(found["players"], row, strict=True)
        if a != b and p is not None
    }
    if not rates:
        return Html("")
    rated = list((found["ratings"] or {}).get("players") or {})
    met = [name for name in found["players"] if any(name in two for two in rates)]
    order = [*rated, *(name for name in met if name not in rated)]
    said = "The row's score against the column, in percent; draws count half, over all games and both seats."
    beside = f'<div class="beside">{_heat_map(order, rates, said)}{_metagame(found["metagame"], found["level"])}</div>'
    return section("matrix", "Who beats whom", para(said), beside, _meetings(found["meetings"]))


def _heat_map(order: Sequence[str], rates: Mapping[tuple[str, str], float], caption: str) -> Html:
    heads = "".join(f'<th scope="col" class="n">{esc(name)}</th>' for name in order)
    rows = "".join(
        f'<tr><th scope="row" class="t">{esc(a)}</th>{"".join(_heat(a, b, rates.get((a, b))) for b in order)}</tr>'
        for a in order
    )
    return Html(
        f'<div class="frame" role="region" tabindex="0" aria-label="Scores"><table class="heat">'
        f'<caption class="unseen">{esc(caption)}</caption><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _heat(a: str, b: str, p: float | None) -> str:
    if p is None:
        return '<td class="n">–</td>'
    said = f"{a} scores {p:.1%} against {b}"
    return f'<td class="n h{round(10 * p)}" title="{esc(said)}">{100 * p:.1f}</td>'


def _metagame(found: Report | None, level: float) -> Html:
    if found is None:
        return para("Not everybody met everybody, so nothing is said of cycles.", "small")
    if len(found["alpha_rank"]) < 3:
        return Html("")
    order = sorted(found["nash_score"], key=lambda name: (-found["nash_score"][name], name))
    keys = ("alpha_rank", "nash_weight", "nash_score")
    rows = [[name, *(f"{found[key][name]:.3f}" for key in keys)] for name in order]
    heads = ("alpha-rank", "weight in the Nash average", "score against it")
    return Html(
        f"<div>{table([Column('player', 't'), *map(Column, heads)], rows, 'Where there may be cycles')}"
        f"{para(cycles_said(found, level), 'small')}</div>"
    )


def _meetings(found: Sequence[Report]) -> Html:
    if not found:
        return Html("")
    rows = [
        [m["game"], m["one"], m["other"], *(counts(seat) for seat in m["seats"]), counts(m["pairs"])] for m in found
    ]
    columns = [Column(head, "t") for head in ("game", "A", "B")]
    columns += [Column(f"A in seat {seat}: won / drawn / lost") for seat in (0, 1)]
    columns.append(Column("pairs in which A scored 0 / ½ / 1 / 1½ / 2"))
    return table(columns, rows, "Meetings: games, and pairs of games of one deal")


def conduct(report: Report) -> Html:
    """Return how games went, player by player, over all games and in each of several."""
    found = report["standings"]
    timing = report.get("timing", {})
    games = found["players_by_game"] if len(found["players_by_game"]) > 1 else {}
    box = '<svg width="14" height="14" aria-hidden="true"><rect width="14" height="14" class="{}"/></svg>'
    keys = "".join(f"<li>{box.format(key)} {said}</li>" for key, said in PATHS.items())
    note = "Void games broke through nobody's doing and count for nobody. Truncated games are among the others."
    return section(
        "conduct",
        "How games went",
        _conduct_table("How games went", found["players"], timing),
        f'<ul class="keys">{keys}</ul>',
        para(note, "small"),
        *(f"<h3>{esc(game)}</h3>{_conduct_table(game, players)}" for game, players in games.items()),
    )


def _conduct_table(title: str, players: Report, timing: Mapping[str, float] | None = None) -> Html:
    """Return how games went; `timing` is of all games, and stands in the table of all games only."""
    columns = [Column("player", "t"), Column("", "g"), Column("games"), *map(Column, PATHS.values())]
    columns += [Column(h) for h in ("truncated", "illegal replies", "moves", "tokens a reply", "characters a reply")]
    rows = [_conduct_row(name, player) for name, player in players.items()]
    if timing is not None:
        columns.append(Column("seconds a move"))
        rows = [[*row, _took(timing.get(name))] for row, name in zip(rows, players, strict=True)]
    return table(columns, rows, title, is_headed=True)


def _took(seconds: float | None) -> str:
    return "–" if seconds is None else "< 0.001" if seconds < 0.001 else f"{seconds:.3f}"


def _conduct_row(name: str, player: Report) -> list[object]:
    ended = {key: player[key] for key in PATHS}
    said = f"{name}: " + ", ".join(f"{count} {PATHS[key]}" for key, count in ended.items())
    numbers = [player[key] for key in ("truncated", "illegal_replies", "moves")]
    means = (short(player["tokens_a_reply"]), short(player["characters_a_reply"]))
    return [name, shares(ended, said), player["games"], *ended.values(), *numbers, *means]


def tokens(report: Report) -> Html:
    """Return what models used."""
    rows, lines = spending_rows(report), requests_said(report)
    heads = ("replies", "cut off by the limit on tokens", "prompt tokens", "reply tokens", "cost")
    shown = table([Column("player", "t"), *map(Column, heads)], rows, "Tokens", is_headed=True) if rows else ""
    return section("tokens", "Tokens", shown, *(para(line, "small") for line in lines))


def exploitability(report: Report) -> Html:
    """Return exact exploitability, and where there is none."""
    parts = []
    for game, found in report["exact"].items():
        if "none" in found:
            parts.append(para(f"{game}: not exact, because {found['none']}.", "small"))
            continue
        known = {name: value for name, value in found.items() if "nashconv" in value}
        axis = Axis.over(value["nashconv"] for value in known.values())
        rows = [_exact_row(name, value, axis) for name, value in found.items()]
        heads = ("NashConv", "of its legal play")
        columns = [Column("player", "t"), *map(Column, heads), Column("illegal replies")]
        columns.insert(2, Column(axis_head(axis, "NashConv, in rewards"), "g"))
        if any(row[-1] for row in rows):
            columns.append(Column("", "t"))
        rows = [row[: len(columns)] for row in rows]
        if rows:
            parts.append(table(columns, rows, f"NashConv in {game}; 0 cannot be exploited"))
    return section("exact", "Exploitability, exact", *parts)


def _exact_row(name: str, value: Report, axis: Axis) -> list[object]:
    if "nashconv" not in value:
        return [name, "–", "", "–", "–", value.get("none", "")]
    drawn = point(axis, value["nashconv"], f"{name}: {short(value['nashconv'])}")
    return [name, short(value["nashconv"]), drawn, short(value["nashconv_legal"]), f"{value['illegal_mass']:.1%}", ""]


def means(id: str, title: str, note: str, found: Mapping[str, Mapping[str, Report]]) -> Html:
    """Return means with their intervals, a table a game."""
    parts = [_mean_table(game, players) for game, players in found.items() if players]
    return section(id, title, para(note), *parts) if parts else Html("")


def _mean_table(game: str, players: Mapping[str, Report]) -> Html:
    axis = Axis.over(mean[key] for mean in players.values() for key in ("mean", "low", "high"))
    rows = [[name, *_drawn_mean(axis, name, mean)] for name, mean in players.items()]
    columns = [Column("player", "t"), Column("mean"), Column(axis_head(axis, game), "g"), Column("interval")]
    return table(columns, rows, game)


def _drawn_mean(axis: Axis, name: str, mean: Report) -> list[object]:
    middle, ends = _mean_cells(mean)
    return [middle, _mean_bar(axis, name, mean), ends]


def _mean_bar(axis: Axis, name: str, mean: Report) -> Html:
    said = f"{name}: {signed(mean['mean'], 3)}, {spanned(mean['low'], mean['high'])}"
    if mean["low"] is None:
        return point(axis, mean["mean"], said)
    return interval(axis, mean["mean"], mean["low"], mean["high"], said)


def sprt(report: Report) -> Html:
    """Return what a sequential test says."""
    found = report.get("sprt")
    if not found:
        return Html("")
    lower, upper = found["limits"]
    drawn = gauge(
        found["llr"], lower, upper, f"log-likelihood ratio {found['llr']:+.2f} between {lower:+.2f} and {upper:+.2f}"
    )
    return section("sprt", f"Is {found['b']} better than {found['a']}?", para(sprt_said(found)), drawn)


def probe(report: Report) -> Html:
    """Return what fresh exploiters won."""
    found = report.get("probe") or []
    if not found:
        return Html("")
    axis = Axis.over(p["reward"][key] for p in found if "reward" in p for key in ("mean", "low", "high"))
    head = axis_head(axis, "reward a game of the exploiter")
    columns = [Column("player", "t"), Column("game", "t"), Column("games of training"), Column("it wins a game")]
    columns += [Column(head, "g"), Column("interval"), Column("", "t")]
    rows = [[p["player"], p["game"], p["games"], *_probe_cells(axis, p)] for p in found]
    note = "A new small model is trained against each player alone. What it wins is a lower bound on what can be won."
    shown = table(columns, rows, "What an exploiter wins", is_headed=True)
    return section("probe", "A fresh exploiter", para(note), shown)


def _probe_cells(axis: Axis, found: Report) -> list[object]:
    if "none" in found:
        return ["–", "", "–", found["none"]]
    return [*_drawn_mean(axis, found["player"], found["reward"]), illegal_said(found)]


def learning(report: Report) -> Html:
    """Return the learning curves of players that are runs, a drawing a measure."""
    found: Mapping[str, Mapping[str, Any]] = report.get("curves", {})
    known = {measure for run in found.values() for measure in run}
    names = [m for m in MEASURES if m in known] + sorted(m for m in known if m.startswith("game/"))
    drawn = [
        curves(
            f"{measure.replace('_', ' ')}, over games",
            {name: run[measure] for name, run in found.items() if run.get(measure)},
            {name: ends for name, run in found.items() if (ends := _band(run, measure))},
        )
        for measure in names
    ]
    return section("curves", "Learning curves", f'<div class="plots">{"".join(drawn)}</div>' if drawn else "")


def _band(run: Mapping[str, Any], measure: str) -> list[Band]:
    """Return the interval of a measure that has one, over games; None for an end that nothing bounds."""
    ends = [dict(run.get(f"{measure}_{end}", [])) for end in ("low", "high")]
    return [(games, ends[0].get(games), ends[1].get(games)) for games, _ in run.get(measure, [])] if any(ends) else []


def broken(report: Report) -> Html:
    """Return what did not work."""
    rows = [*not_working(report), *not_played(report)]
    columns = [Column("what", "t"), Column("which, or how many", "t"), Column("why", "t")]
    return section(
        "broken", "What did not work", table(columns, rows, "What did not work", is_headed=True) if rows else ""
    )


SECTIONS: tuple[Callable[[Report], Html], ...] = (
    broken,
    sprt,
    ratings,
    matrix,
    conduct,
    tokens,
    lambda r: means(
        "rewards",
        "Rewards",
        "Mean reward a game where more is at stake than winning, over both seats.",
        {game: r["standings"]["rewards"][game] for game in r["standings"]["staked"]},
    ),
    exploitability,
    lambda r: means(
        "regret",
        "Regret",
        "What a move gives away against perfect play, on average, in rewards; 0 is perfect.",
        r["regret"],
    ),
    lambda r: means(
        "skins",
        "The cost of another wording",
        "How much less is scored a game, of 1, on the same deals when only the words of the game are changed.",
        r["skins"],
    ),
    probe,
    learning,
)
"""Of the page, in order."""
