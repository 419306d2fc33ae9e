"""Benchmark agents: ratings with honest intervals, exact where they can be, offline.

    python scripts/benchmark.py --agents random heuristic optimal --games KuhnPoker-v0 TicTacToe-v0 --pairs 200
    python scripts/benchmark.py --agents random mine=runs/a --games "LiarsDice-v0?dice=2" --skins plain obfuscated
    python scripts/benchmark.py --agents old=runs/a new=runs/b --games TicTacToe-v0 --sprt 0 50 --pairs 2000
    python scripts/benchmark.py --suite sparring-suite-v1 --agents runs/a
    python scripts/benchmark.py --report runs/bench/log.jsonl other/log.jsonl --out both

A killed benchmark goes on where it was when it is called again with the same --out, and gives the same table. Ctrl-C
shows the table of what was played.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, TableElement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from sparring.agents import is_endpoint
from sparring.envs import near
from sparring.selfplay.bench import (
    enter,
    enter_games,
    header,
    judged_by,
    known_names,
    recorded_games,
    recorded_players,
    report,
    split_name,
)
from sparring.selfplay.bench_page import page
from sparring.selfplay.bench_text import illegal_said, markdown, not_played, not_working, with_span
from sparring.selfplay.match_log import MatchLog, merge, who_played
from sparring.selfplay.probe import ProbeLog, kept_probes, probe
from sparring.selfplay.runs import strict, write_whole
from sparring.selfplay.sequential import (
    about_terms,
    about_test,
    check_wordings,
    common_test,
    judged,
    read_tests,
    sprt_again,
)
from sparring.selfplay.spending import served_names
from sparring.selfplay.sprt import Sprt
from sparring.selfplay.standings import Record
from sparring.selfplay.suites import find_suite, hash_or_lack
from sparring.selfplay.tournament import Entrant, Entry, PairKey, Played, plan, tournament, unable

GAMES = ("KuhnPoker-v0",)
"""What is played where nothing is named."""
OUT = Path("runs/benchmark")
DEFAULTS = {"pairs": 100, "seed": 0, "retries": 0, "probe": 0}
IN_FLIGHT, IN_FLIGHT_OF_TEST = 256, 32
"""A test that is decided drops the games in flight, so that it should have few."""
TIME_LIMIT = 600.0
"""Seconds for one prompt to a player on a server, all tries and waits included."""
FIXED = ("games", "skins", "hide_legal", "pairs", "seed", "retries", "baseline", "anchor", "judge")
"""What a suite sets."""
ENDPOINT = ("concurrency", "timeout", "endpoint_retries", "down_after")
"""What says how to ask a player on a server."""
PLAYED = ("pairs", "seed", "retries", "baseline", "judge", "probe", *ENDPOINT)
"""What says how to play, and nothing of games that were."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=known_names(), allow_abbrev=False)
    add = parser.add_argument
    add(
        "--agents",
        nargs="+",
        default=[],
        help="players: names, run or model folders, hub names, openai:MODEL@URL; NAME=ANY_OF_THESE",
    )
    add("--games", nargs="+", default=[], help="ids; settings behind a question mark: LiarsDice-v0?dice=2")
    add("--skins", nargs="+", default=[], help="wordings in which each game is played, for instance plain obfuscated")
    add("--hide-legal", action="store_true", help="leave the legal moves out of the prompts")
    add(
        "--judge",
        metavar="SPEC",
        help="who judges games that ask a judge, as of scripts/train.py; their own if not given",
    )
    add("--pairs", type=int, default=None, help="pairs of games of every two players in every game; 100 if not given")
    add("--seed", type=int, help="of the deals and of the players' choices; 0 if not given")
    add("--baseline", help="everybody plays this player only, in place of a round robin")
    add("--anchor", help="whose rating is 0; random if not given, and the mean where that does not play")
    add("--level", type=float, default=0.95, help="of the intervals")
    add("--retries", type=int, help="illegal replies that may be taken back in a turn; none if not given")
    add("--in-flight", type=int, help="games played at once, which does not change them; 256, or 32 with --sprt")
    add("--suite", help="a standing suite, which sets games, skins, seed, pairs and opponents")
    add("--sprt", nargs=2, type=float, metavar=("LOW", "HIGH"), help="of two agents, is the second better? in Elo")
    add(
        "--probe",
        type=int,
        metavar="GAMES",
        help="train a fresh exploiter against each player, so many games",
    )
    add("--no-exact", action="store_true", help="leave exact exploitability out")
    add("--report", nargs="+", type=Path, default=[], metavar="LOG", help="play nothing; report what these logs hold")
    add("--out", type=Path, help="folder of the log and the reports; runs/benchmark, or that of the log to --report")
    add("--device", help="cpu, cuda, ...; of language models")
    add("--dtype", default="auto", help="of language models")
    add("--max-new-tokens", type=int, help="most tokens of a reply of language models")
    add("--temperature", type=float, default=1.0, help="of language models")
    add("--concurrency", type=int, help="most requests in flight to a player on a server; 16 if not given")
    add("--timeout", type=float, help="seconds for one request to a player on a server; 120 if not given")
    add("--endpoint-retries", type=int, help="most times that a request is sent again after what may pass; 5")
    add("--down-after", type=int, help="prompts in a row without an answer, after which such a player is down; 5")
    add(
        "--prices",
        nargs="+",
        default=[],
        metavar="[NAME=]IN,OUT",
        help="of a million tokens of prompts and of replies, of one player on a server or of all",
    )
    return parser.parse_args(argv)


def settle(options: argparse.Namespace) -> None:
    """Let a suite set what it fixes, fill in what was not given, and refuse what cannot be."""
    if options.out is None:
        options.out = folder_of(options.report) if options.report else OUT
    if options.report:
        refuse(options, PLAYED, "--report plays nothing; leave it out")
        if not options.games:
            refuse(options, ("skins", "hide_legal"), "the logs say how their games were worded; leave it out")
    if options.suite is not None:
        suite = find_suite(options.suite)
        refuse(options, ("sprt",), f"{suite.name} is played whole, and a test stops early; leave one of them out")
        refuse(options, FIXED, f"{suite.name} sets that itself; leave it out, or play without --suite")
        options.games, options.skins = list(suite.games), list(suite.skins)
        options.pairs, options.seed, options.retries = suite.pairs, suite.seed, suite.retries
        options.hide_legal, options.anchor = not suite.show_legal, suite.anchor
        if not options.report:
            options.agents = [*suite.opponents, *(a for a in options.agents if a not in suite.opponents)]
    if not served_here(options) and not options.report:
        refuse(options, (*ENDPOINT, "prices"), "no player here is on a server, openai:MODEL@URL; leave it out")
    for name, value in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.in_flight is None:
        options.in_flight = IN_FLIGHT if options.sprt is None else IN_FLIGHT_OF_TEST
    check_numbers(options)
    if options.sprt is not None and len(options.agents) != 2 and not options.report:
        raise ValueError("--sprt asks whether the second of two agents is better; give --agents A B")
    if len(options.agents) < 2 and not options.report:
        raise ValueError("give at least two players: --agents random optimal")


def folder_of(logs: Sequence[Path]) -> Path:
    """Return the folder of some logs. Raises ValueError if they lie in several."""
    folders = sorted({path.parent for path in logs})
    if len(folders) > 1:
        raise ValueError(f"--report: {', '.join(map(str, folders))} are several folders; give --out for the report")
    return folders[0]


def refuse(options: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Refuse flags that were given and could not do what they say."""
    values = {name: getattr(options, name) for name in names}
    # 0 was given, though it equals False.
    given = [name for name, value in values.items() if value is not None and value is not False and value != []]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{flags}: {why}")


def check_entered(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse an anchor or a baseline that nobody is called; one that is missing from a suite is what that lacks."""
    if options.suite is not None:
        return
    for kind in ("anchor", "baseline"):
        name = getattr(options, kind)
        if name is not None and name not in names:
            raise ValueError(f"--{kind}: {name!r} has not entered.{near(name, names)}")


def check_numbers(options: argparse.Namespace) -> None:
    """Refuse numbers that could only fail later, when games have been played."""
    least = {"pairs": 1, "seed": 0, "retries": 0, "in_flight": 1, "probe": 0, "max_new_tokens": 1, "temperature": 0}
    least |= {"concurrency": 1, "endpoint_retries": 0, "down_after": 1}
    for name, low in least.items():
        value = getattr(options, name)
        # Written so that NaN is refused.
        if value is not None and not low <= value < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} must be {low} or more, not {value}")
    if options.seed >= 1 << 32:
        raise ValueError(f"--seed must be below 2^32, not {options.seed}")
    if options.timeout is not None and not 0 < options.timeout < math.inf:
        raise ValueError(f"--timeout must be above 0, not {options.timeout:g}")
    if not 0 < options.level < 1:
        raise ValueError(f"--level must lie between 0 and 1, as 0.95 does, not {options.level}")
    if options.sprt is not None and not all(map(math.isfinite, options.sprt)):
        raise ValueError("--sprt takes two numbers in Elo, the lower first")


def entrants(options: argparse.Namespace) -> list[Entrant]:
    """Return the players; each takes of the settings those that it has."""
    settings = {"device": options.device, "dtype": options.dtype, "temperature": options.temperature}
    settings |= {"max_new_tokens": options.max_new_tokens, "concurrency": options.concurrency}
    settings |= {"timeout": options.timeout, "retries": options.endpoint_retries}
    if options.timeout is not None:
        # The limit of a prompt with all its tries is never below that of one request.
        settings["time_limit"] = max(TIME_LIMIT, options.timeout)
    given = {name: value for name, value in settings.items() if value is not None or name == "device"}
    # With logs to report, who is on a server is known when they are read.
    prices = {} if options.report else read_prices(options.prices, served_here(options))
    return [enter(word, {**given, "prices": prices.get(split_name(word)[0])}) for word in options.agents]


def served_here(options: argparse.Namespace) -> list[str]:
    """Return the players that are entered and on a server."""
    return [name for name, spec in map(split_name, options.agents) if is_endpoint(spec)]


def read_prices(words: Iterable[str], served: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the prices of players on servers. Raises ValueError for what is none, or of nobody."""
    found: dict[str, tuple[float, float]] = {}
    for word in words:
        name, _, text = word.rpartition("=")
        if not served:
            raise ValueError("--prices: no player here is on a server; leave it out")
        if name and name not in served:
            raise ValueError(f"--prices: {name!r} is no player on a server.{near(name, served)}")
        numbers = [float(number) for number in text.split(",") if is_price(number)]
        if len(numbers) != 2 or text.count(",") != 1:
            raise ValueError(f"--prices takes IN,OUT or NAME=IN,OUT, 0 or more, as in 0.15,0.6, not {word!r}")
        # One player's own price counts, whichever comes first.
        price = (numbers[0], numbers[1])
        found |= {name: price} if name else {name: price for name in served if name not in found}
    return found


def is_price(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Play what is left to play and return the report; Ctrl-C ends playing, not reporting."""
    settle(options)
    if options.report:
        return read_logs(options, console)
    test = None if options.sprt is None else Sprt(*options.sprt)
    entries = enter_games(options.games or GAMES, options.skins, show_legal=not options.hide_legal)
    if options.sprt is not None:
        check_wordings([entry.label for entry in entries])
    if options.judge is not None:
        entries = judged_by(entries, options.judge, device=options.device, dtype=options.dtype)
    players = entrants(options)
    names = [player.name for player in players]
    check_entered(options, names)
    planned = partial(plan, players, entries, pairs=options.pairs, seed=options.seed, baseline=options.baseline)
    # What is told twice is refused before games are solved.
    planned()
    # Whoever has played a game can, and need not be asked, which takes as long as solving it.
    cannot = unable(players, entries, able=who_played(options.out / "log.jsonl"))
    playable = planned(without=cannot)
    about = header(players, entries, retries=options.retries, unable=cannot)
    if options.sprt is not None:
        about["sprt"] = about_terms(names, options.sprt, seed=options.seed, pairs=options.pairs)
    more: dict[str, Any] = {"interrupted": False}
    log = MatchLog(options.out / "log.jsonl", about)
    probes = ProbeLog(options.out / "probe.jsonl", about)
    # What was played before stands, though a player or a game may not be had any more.
    able = set(playable)
    keys = [key for key in planned(without=cannot, with_broken=True) if key in able or key in log.records]
    try:
        play_all(options, console, (players, entries, playable), keys, log, test)
    except KeyboardInterrupt:
        console.print("interrupted; this is what was played")
        more["interrupted"] = True
    finally:
        log.close()
    # In the order of the plan, whatever else the log holds, so that the same games give the same report.
    records: list[Record] = [log.records[key] for key in keys if key in log.records]
    if options.sprt is not None:
        # Not the test that was watched: an interrupt leaves pairs behind the last one that it has seen.
        test = Sprt(*options.sprt)
        records = list(judged(test, names, before_a_gap(keys, log.records)))
        more["sprt"] = about_test(test, names)
    prices = read_prices(options.prices, served_here(options))
    make = partial(report, players, entries, records, log.headers, prices=prices, more=more)
    found = made(make, options, console, log.headers, records)
    if not options.probe or found["interrupted"]:
        return found
    # Exploiters train for long: whatever ends them, what was played is told.
    write(options.out, found)
    there = [player for player in players if "down" not in found["agents"][player.name]]
    return {**found, **probe_all(options, console, there, entries, probes, cannot)}


def probe_all(
    options: argparse.Namespace,
    console: Console,
    players: Sequence[Entrant],
    entries: Sequence[Entry],
    log: ProbeLog,
    without: Collection[tuple[str, str]],
) -> dict[str, Any]:
    """Return what exploiters win; Ctrl-C ends it with those that are done."""
    told = {"games": options.probe, "seed": options.seed, "retries": options.retries, "level": options.level}
    # A label may hold brackets, which are no markup.
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    found: list[dict[str, Any]] = []
    try:
        with bar:
            task = bar.add_task("exploiters", total=None)

            def watch(what: str, done: int, total: int) -> None:
                if bar.tasks[0].description != what:
                    bar.reset(task, description=what, total=total)
                bar.update(task, completed=done)

            for one in probe(players, entries, **told, log=log, without=without, watch=watch):
                found.append(one)
                console.print(exploited(one), markup=False)
    except KeyboardInterrupt:
        console.print("interrupted; exploiters that are done are kept")
        return {"probe": found, "interrupted": True}
    return {"probe": found}


def exploited(found: dict[str, Any]) -> str:
    """Return what a probe found, in a line."""
    where = f"an exploiter of {found['player']} in {found['game']}"
    if "none" in found:
        return f"{where}: {found['none']}"
    illegal = illegal_said(found)
    return f"{where} wins {with_span(found['reward'])} a game" + (f"; {illegal}" if illegal else "")


def write(out: Path, found: dict[str, Any]) -> None:
    """Write a report down as numbers, as text and as a page."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "report.json", json.dumps(strict(found), indent=1) + "\n")
    write_whole(out / "report.md", markdown(found))
    write_whole(out / "report.html", page(found))


def made(
    make: Callable[..., dict[str, Any]],
    options: argparse.Namespace,
    console: Console,
    headers: Sequence[dict[str, Any]],
    records: Sequence[Record],
) -> dict[str, Any]:
    """Return the report; Ctrl-C, which may come in minutes of solving games, leaves out what takes long."""
    try:
        return make(**shared(options, headers, records))
    except KeyboardInterrupt:
        console.print("interrupted; this is what was played, without exact figures, regret and transcripts")
        return {**make(**rating_terms(options), is_brief=True), "interrupted": True}


def read_logs(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the report of some logs; nothing is played."""
    headers, records = merge(options.report)
    told, behind = read_tests(options.report)
    records = {key: record for key, record in records.items() if key not in behind}
    entries = (
        enter_games(options.games, options.skins, show_legal=not options.hide_legal)
        if options.games
        else recorded_games(headers)
    )
    given = entrants(options)
    players = recorded_players(headers, given)
    check_entered(options, [player.name for player in players])
    sorted_records = [records[key] for key in sorted(records, key=lambda key: (key.seed, key.number, key))]
    more: dict[str, Any] = {"interrupted": False}
    if options.sprt is not None:
        names = [player.name for player in given or players]
        more["sprt"], after = sprt_again(Sprt(*options.sprt), names, headers, records)
        # Where no log says that its games were those of a test, they are of this one if there are no others.
        behind = set() if any(told) or len(players) > 2 else after
    elif (found := common_test(told)) is not None:
        more["sprt"] = found
    sorted_records = [record for record in sorted_records if PairKey(*record["pair"]) not in behind]
    kept, notes = kept_probes(options.report, headers, level=options.level)
    if kept:
        more["probe"] = kept
    prices = read_prices(options.prices, served_names(headers))
    make = partial(report, players, entries, sorted_records, headers, prices=prices, more=more)
    found = made(make, options, console, headers, sorted_records)
    return {**found, "notes": [*found["notes"], *notes]}


def why_nothing(found: dict[str, Any]) -> str:
    """Return what is missing where no two players could meet in any game."""
    return ". ".join(f"{which}: {why}" for _, which, why in [*not_working(found), *not_played(found)])


def shared(options: argparse.Namespace, headers: Sequence[dict[str, Any]], records: Sequence[Record]) -> dict[str, Any]:
    """Return what every report is told; the suite's hash, if these games are a suite, and else what they lack."""
    told = {**rating_terms(options), "is_exact": not options.no_exact}
    if options.suite is None:
        return told
    suite = find_suite(options.suite)
    digest, lacks = hash_or_lack(suite, headers, records)
    if lacks:
        return {**told, "notes": [f"Suite {suite.name}, {lacks}; only the whole suite has a hash."]}
    return {**told, "suite": {"name": suite.name, "hash": digest}}


def rating_terms(options: argparse.Namespace) -> dict[str, Any]:
    return {"anchor": options.anchor or "random", "level": options.level}


def play_all(
    options: argparse.Namespace,
    console: Console,
    to_play: tuple[Sequence[Entrant], Sequence[Entry], Sequence[PairKey]],
    keys: Sequence[PairKey],
    log: MatchLog,
    test: Sprt | None,
) -> None:
    """Play the pairs that the log lacks or that were void, and stop early where a sequential test is decided.

    `to_play` are the players, the games and the plan; `keys` has those pairs too that the log has and nobody can play
    any more. Each pair is written down as soon as it is over, whatever stands before it in the plan, and so are those
    that are over when this ends.
    """
    players, entries, playable = to_play
    able = set(playable)
    done = log.done | {key: log.records[key] for key in keys if key not in able}
    left: list[Played] = []
    bar = Progress(
        TextColumn("pairs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
    terms = {"in_flight": options.in_flight, "retries": options.retries}
    if options.down_after is not None:
        terms["down_after"] = options.down_after
    games = tournament(players, entries, playable, done=done, in_order=False, left=left, **terms)
    try:
        with bar:
            task = bar.add_task("pairs", total=len(keys), completed=sum(key in done for key in keys), note="")
            fresh = logged(games, log, options.retries, lambda: bar.advance(task))
            for _ in judged(test, [player.name for player in players], in_turn(keys, done, fresh)):
                bar.update(task, note="" if test is None else f"LLR {test.llr:+.2f}")
    finally:
        games.close()
        for played in left:
            log.add(played, retries=options.retries)


def in_turn(
    keys: Iterable[PairKey], done: Mapping[PairKey, dict[str, Any]], fresh: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the pairs of a plan in its order, those that were played before and those that are played now."""
    found = dict(done)
    for key in keys:
        while key not in found:
            record = next(fresh)
            found[PairKey(*record["pair"])] = record
        yield found[key]


def before_a_gap(keys: Iterable[PairKey], records: Mapping[PairKey, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the pairs of a plan up to the first that is missing: those behind it are there because they were short."""
    return (records[key] for key in takewhile(records.__contains__, keys))


def logged(
    games: Iterable[Played], log: MatchLog, retries: int, told: Callable[[], object]
) -> Iterator[dict[str, Any]]:
    """Write each pair down before it is counted."""
    for played in games:
        log.add(played, retries=retries)
        told()
        yield log.records[played.key]


class FoldedTable(TableElement):
    """A table whose long names are folded, not cut: two runs are often told apart by how their names end."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            for column in part.columns if isinstance(part, Table) else []:
                column.overflow = "fold"
            yield part


class Shown(Markdown):
    elements = Markdown.elements | {"table_open": FoldedTable}


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done, 1 done and something did not work, 2 refused, 130 interrupted."""
    console = Console()
    disable_progress_bar()
    options = parse(argv)
    try:
        found = run(options, console)
        write(options.out, found)
    except (ValueError, OSError, ImportError) as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"benchmark.py: interrupted before there was a report; what was played is in {options.out}", file=sys.stderr
        )
        return 130
    console.print(Shown(markdown(found)))
    console.print(f"the page, the log and the numbers are in {options.out}", markup=False)
    if found["interrupted"]:
        return 130
    if not found["standings"]["pairs"]:
        why = why_nothing(found)
        said = f"nothing could be played. {why}" if why else "there is no pair of games to report"
        print(f"benchmark.py: {said}", file=sys.stderr)
        return 1
    return 1 if not_working(found) else 0


if __name__ == "__main__":
    sys.exit(main())
