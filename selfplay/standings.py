"""What a tournament says: tables from the records of its log, and nothing that is not in them.

Everything is a plain dict of numbers, so that the same findings go to the terminal, to JSON, to Markdown and to a page.
Losses by illegal replies are told apart from losses on the board, and void games count for nobody.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .labels import plain_label
from .match_log import is_void
from .metagame import alpha_rank, cyclic_share, nash_average
from .metagame_noise import metagame_noise
from .ratings import Rating, Ratings, Result, rate, t_quantile
from .tournament import DOWN, PairKey
from .void_reasons import void_reasons

Record = Mapping[str, Any]
Table = dict[str, Any]


def standings(
    records: Iterable[Record],
    ranges: Mapping[str, tuple[float, float]],
    *,
    anchor: str | None = None,
    level: float = 0.95,
    players: Sequence[str] = (),
) -> Table:
    """Return all tables of some recorded pairs.

    Games that paid anything but the ends and the middle of their range are games of stakes: they are rated by how much
    was won, not by how often.

    Args:
        records: pairs as `match_log` keeps them.
        ranges: lowest and highest reward of each game.
        anchor: whose rating is 0; one who has not played is not taken, and the mean is 0 then.
        level: of intervals.
        players: names that are in the tables although they may have played nothing that counts.
    """
    records = list(records)
    staked = staked_games(records, ranges)
    results = [result for record in records for result in results_of(record, ranges, staked)]
    names = list(dict.fromkeys([*players, *(name for r in records for name in PairKey(*r["pair"])[2:4])]))
    games = list(dict.fromkeys(r["pair"][1] for r in records))
    met = {name for result in results for name in (result.first, result.second)}
    anchored = anchor if anchor in met else None
    return {
        "level": level,
        "anchor": anchored,
        "pairs": len(records),
        "players": {name: _player(records, name) for name in names},
        "players_by_game": {game: _players(records, game) for game in games},
        "staked": sorted(staked),
        "ratings": ratings_table(results, anchored, level, staked),
        "by_game": {
            game: ratings_table([r for r in results if r.game == game], anchored, level, staked) for game in games
        },
        "rewards": {game: rewards_table(records, game, level, ranges.get(game)) for game in games},
        "meetings": meetings(records),
        "matrix": win_rates(results, names),
        "metagame": _metagame(results, [name for name in names if name in met]),
        "void": void_reasons(game["why"] for r in records for game in r["games"] if game["ending"] == "void"),
    }


def counted_games(records: Iterable[Record], game: str | None = None) -> list[Record]:
    """Return the games that are not void: all of them, or those of one game."""
    return [
        played
        for record in records
        if game is None or record["pair"][1] == game
        for played in record["games"]
        if played["ending"] != "void"
    ]


def results_of(record: Record, ranges: Mapping[str, tuple[float, float]], staked: Collection[str] = ()) -> list[Result]:
    """Return the games of a pair that count, scored by what was won where the game is `staked`."""
    key = PairKey(*record["pair"])
    span = ranges[key.game][1] - ranges[key.game][0] if key.game in staked else None
    # One deal in two wordings is one experiment: who does not mind the words plays the same game twice.
    pair = key._replace(game=plain_label(key.game))
    return [
        Result(
            first=game["players"][0], second=game["players"][1], score=share_of(game, span), game=key.game, pair=pair
        )
        for game in counted_games([record])
    ]


def share_of(game: Record, span: float | None) -> float:
    """Return what seat 0 won: 1/2 + (its reward less the other's) / (2 span), or `score_of` without a span."""
    if span is None:
        return score_of(game)
    first, second = game["rewards"]
    return float(min(max(0.5 + (first - second) / (2 * span), 0.0), 1.0))


def staked_games(records: Iterable[Record], ranges: Mapping[str, tuple[float, float]]) -> set[str]:
    """Return the games that paid anything but the ends and the middle of their range."""
    records = list(records)
    return {game for game, limits in ranges.items() if _is_staked(records, game, limits)}


def _is_staked(records: Iterable[Record], game: str, limits: tuple[float, float]) -> bool:
    low, high = limits
    plain = (low, (low + high) / 2, high)
    paid = {reward for played in counted_games(records, game) for reward in played["rewards"]}
    return any(all(not math.isclose(reward, end, abs_tol=1e-9) for end in plain) for reward in paid)


def score_of(game: Record) -> float:
    """Return how seat 0 did: 1 if it got more than the other seat, 0.5 if as much, 0 if less."""
    first, second = game["rewards"]
    return 0.5 if math.isclose(first, second, abs_tol=1e-9) else float(first > second)


def ratings_table(
    results: Sequence[Result], anchor: str | None, level: float, staked: Collection[str] = ()
) -> Table | None:
    """Return ratings as plain data, or why there are none."""
    met = {name for result in results for name in (result.first, result.second)}
    if not results:
        return None
    try:
        found: Ratings = rate(results, anchor=anchor if anchor in met else None, level=level, staked=staked)
    except ValueError as error:
        return {"none": str(error)}
    return {
        "anchor": found.anchor,
        "pairs": found.pairs,
        "players": {name: _plain(rating) for name, rating in found.players.items()},
        "seat": {game: _plain(rating) for game, rating in found.seat.items()},
        "draw": found.draw,
    }


def _plain(rating: Rating) -> Table:
    """Return a rating with None where there is no bound, for JSON knows no infinity."""
    low, high = (end if math.isfinite(end) else None for end in (rating.low, rating.high))
    return {"elo": rating.elo, "low": low, "high": high, "games": rating.games}


def meetings(records: Iterable[Record]) -> list[Table]:
    """Return how every two players met in every game, as the first of them did.

    `seats` has won, drawn and lost by the seat that it held, `pairs` how often it scored 0, 1/2, 1, 3/2 and 2 in the
    two games of a pair; a pair with a void game has no score.
    """
    found: dict[tuple[str, str, str], Table] = {}
    for record in records:
        _, game, one, other, _ = PairKey(*record["pair"])
        empty = {"game": game, "one": one, "other": other, "seats": [[0, 0, 0], [0, 0, 0]], "pairs": [0] * 5}
        table = found.setdefault((game, one, other), empty)
        scores = []
        for played in counted_games([record]):
            seat = list(played["players"]).index(one)
            score = score_of(played) if seat == 0 else 1 - score_of(played)
            table["seats"][seat][{1.0: 0, 0.5: 1, 0.0: 2}[score]] += 1
            scores.append(score)
        if len(scores) == 2:
            table["pairs"][round(2 * sum(scores))] += 1
    return list(found.values())


def rewards_table(
    records: Iterable[Record], game: str, level: float, limits: tuple[float, float] | None = None
) -> dict[str, Table]:
    """Return each player's mean reward a game in one game, with a t interval over pairs, see `mean_interval`.

    A pair with a void game does not count: what is left of it is one seat's.
    """
    pairs: dict[str, list[float]] = {}
    for record in records:
        if is_void(record):
            continue
        got: dict[str, list[float]] = {}
        for played in counted_games([record], game):
            for name, reward in zip(played["players"], played["rewards"], strict=True):
                got.setdefault(name, []).append(reward)
        for name, rewards in got.items():
            pairs.setdefault(name, []).append(statistics.fmean(rewards))
    return {name: mean_interval(values, level, limits) for name, values in pairs.items()}


def mean_interval(values: Sequence[float], level: float, limits: tuple[float, float] | None = None) -> Table:
    """Return a mean with its t interval; None for ends that a single value does not give.

    Values that are all alike have no spread to go by. How many others there may be is bounded as Clopper and Pearson
    (1934) bound a share of which nothing was seen, and `limits`, the least and the greatest that there can be, how far
    those pull the mean; without limits there are no ends. No end lies outside the limits.
    """
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return {"mean": mean, "low": None, "high": None}
    half = t_quantile(level, count - 1) * statistics.stdev(values) / math.sqrt(count)
    is_alike = math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-9)
    if limits is None:
        return {"mean": mean, "low": None if is_alike else mean - half, "high": None if is_alike else mean + half}
    least, greatest = min(limits[0], mean), max(limits[1], mean)
    if is_alike:
        unseen = 1 - ((1 - level) / 2) ** (1 / count)
        return {"mean": mean, "low": mean - unseen * (mean - least), "high": mean + unseen * (greatest - mean)}
    return {"mean": mean, "low": max(mean - half, least), "high": min(mean + half, greatest)}


def win_rates(results: Iterable[Result], names: Sequence[str]) -> list[list[float | None]]:
    """Return each player's score against each other, over all games and both seats; None where they did not meet."""
    scores: dict[tuple[str, str], list[float]] = {}
    for result in results:
        scores.setdefault((result.first, result.second), []).append(result.score)
        scores.setdefault((result.second, result.first), []).append(1 - result.score)
    return [
        [0.5 if a == b else statistics.fmean(scores[a, b]) if (a, b) in scores else None for b in names] for a in names
    ]


def _metagame(results: Sequence[Result], names: Sequence[str]) -> Table | None:
    """Return alpha-rank, Nash averaging and the cyclic share of those who played; None where not all met all."""
    whole = [[p for p in row if p is not None] for row in win_rates(results, names)]
    if len(names) < 2 or any(len(row) < len(names) for row in whole):
        return None
    weights, scores = nash_average(whole)
    return {
        "alpha_rank": dict(zip(names, alpha_rank(whole).tolist(), strict=True)),
        "nash_weight": dict(zip(names, weights.tolist(), strict=True)),
        "nash_score": dict(zip(names, scores.tolist(), strict=True)),
        "cyclic_share": cyclic_share(whole),
        **metagame_noise(whole, _pair_scores(results, names)),
    }


def _pair_scores(results: Iterable[Result], names: Sequence[str]) -> dict[tuple[int, int], list[float]]:
    """Return what the first of every two players scored in each of their pairs, by their places."""
    place = {name: n for n, name in enumerate(names)}
    scores: dict[tuple[int, int], dict[Any, list[float]]] = {}
    for result in results:
        i, j = place[result.first], place[result.second]
        score = result.score if i < j else 1 - result.score
        scores.setdefault((min(i, j), max(i, j)), {}).setdefault(result.pair, []).append(score)
    return {two: [statistics.fmean(games) for games in pairs.values()] for two, pairs in scores.items()}


def _players(records: Iterable[Record], game: str) -> dict[str, Table]:
    """Return how the games of one game went, for each who played it."""
    played = [record for record in records if record["pair"][1] == game]
    names = dict.fromkeys(name for record in played for name in PairKey(*record["pair"])[2:4])
    return {name: _player(played, name) for name in names}


def _player(records: Iterable[Record], name: str) -> Table:
    """Return how the games of a player went and what it said."""
    counts = dict.fromkeys(("won", "drawn", "lost_on_board", "lost_illegal", "truncated", "void"), 0)
    turns: list[Record] = []
    for game in (game for record in records for game in record["games"] if name in game["players"]):
        seat = list(game["players"]).index(name)
        turns += [turn for turn in game["turns"] if turn["seat"] == seat]
        counts[_how(game, seat)] += 1
        counts["truncated"] += game["ending"] == "truncated"
    tokens = [turn["tokens"] for turn in turns if turn["tokens"] is not None]
    # Logs of before say nothing of prompts, nor of what was cut off.
    asked = [count for turn in turns if (count := turn.get("prompt_tokens")) is not None]
    return {
        **counts,
        "games": sum(counts[key] for key in ("won", "drawn", "lost_on_board", "lost_illegal")),
        "moves": len(turns),
        "illegal_replies": sum(turn["problem"] is not None for turn in turns),
        "cut_off": sum(turn.get("cut_off", False) for turn in turns),
        "prompt_tokens": sum(asked),
        "reply_tokens": sum(tokens),
        "uncounted": len(turns) - min(len(asked), len(tokens)),
        "tokens_a_reply": statistics.fmean(tokens) if tokens else None,
        "characters_a_reply": statistics.fmean(len(turn["reply"]) for turn in turns) if turns else None,
    }


def timing(records: Iterable[Record]) -> dict[str, float]:
    """Return each player's seconds a move: the one table that two runs of the same games do not share."""
    took: dict[str, list[float]] = {}
    for game in (game for record in records for game in record["games"]):
        for turn in game["turns"]:
            took.setdefault(game["players"][turn["seat"]], []).append(turn["seconds"])
    return {name: statistics.fmean(seconds) for name, seconds in took.items()}


def _how(game: Record, seat: int) -> str:
    """Return how a game ended for a seat."""
    if game["ending"] == "void":
        return "void"
    score = score_of(game) if seat == 0 else 1 - score_of(game)
    if score == 0.0:
        return "lost_illegal" if game["offender"] == seat else "lost_on_board"
    return "won" if score == 1.0 else "drawn"


def down_players(records: Iterable[Record]) -> dict[str, str]:
    """Return the players who were asked no more, because nobody was reached, and why."""
    found: dict[str, str] = {}
    for game in (game for record in records for game in record["games"] if game["ending"] == "void"):
        for name in game["players"]:
            if game["why"].startswith(f"{name}: {DOWN}"):
                found.setdefault(name, game["why"].removeprefix(f"{name}: "))
    return found
