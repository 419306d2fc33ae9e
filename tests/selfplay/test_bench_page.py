"""The page of a benchmark: whole, asking for nothing, and harmless whatever a model wrote."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sparring.agents import HeuristicAgent, OptimalAgent, RandomAgent, ScriptedAgent
from sparring.envs import make
from sparring.selfplay.bench import header, report
from sparring.selfplay.bench_page import ended, games_data, island, page
from sparring.selfplay.match_log import pair_record
from sparring.selfplay.page_charts import Axis, interval, spaced_ticks
from sparring.selfplay.page_html import seen
from sparring.selfplay.tournament import Entrant, Entry, plan, tournament

BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
EVIL = (
    "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    "<!-- --><![CDATA[ ]]> &lt;b&gt; \" ' ` ${1} \u2028\u2029 \ud800 \udfff \u202egnp.exe\u2066 \x00\x07\x1b[31m \ufeff"
)
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Reads a page as a browser would, and keeps what it is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text: list[str] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "something is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append((self.tags[-1][1], data))
        elif self.open[-1:] == ["style"]:
            self.styles.append(data)
        else:
            self.text.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """The games in its data block."""
        (text,) = (text for attributes, text in self.scripts if attributes.get("id") == "data")
        return json.loads(text)

    def ids(self) -> set[str | None]:
        return {attributes.get("id") for _, attributes in self.tags}


def make_report(agents: list[Any], labels: list[str], pairs: int = 6, **more: Any) -> dict[str, Any]:
    players = [Entrant(name=agent.name, agent=agent) for agent in agents]
    entries = [Entry(label=label, game=make(label)) for label in labels]
    records = [pair_record(p) for p in tournament(players, entries, plan(players, entries, pairs=pairs))]
    found = report(players, entries, json.loads(json.dumps(records)), [header(players, entries)], more=more)
    return json.loads(json.dumps(found))


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return make_report([RandomAgent(), HeuristicAgent(), OptimalAgent()], ["KuhnPoker-v0", "TicTacToe-v0"])


@pytest.fixture(scope="module")
def evil() -> dict[str, Any]:
    """A report in which everything that may come from outside is hostile."""
    found = make_report([ScriptedAgent(lambda p: f"{EVIL}[bet]", name=EVIL), RandomAgent()], ["KuhnPoker-v0"])
    found["agents"][EVIL] |= {"broken": EVIL, "model": EVIL}
    found["games"][EVIL] = {"broken": EVIL}
    found["standings"]["void"] = {EVIL: 3}
    found["standings"]["players_by_game"] |= {EVIL: found["standings"]["players"]}
    rating = {"rating": [[0, 1.0], [10, 2.0]], "rating_low": [[10, 0.5]], "rating_high": [[0, 3.0]]}
    found["curves"] = {EVIL: {"strength": [[0, 0.1], [10, 0.5]], f"game/{EVIL}": [[0, 1.0]], **rating}}
    found["exact"][EVIL] = {"none": EVIL}
    found["exact"]["KuhnPoker-v0"][EVIL] = {"none": EVIL}
    found["probe"] = [{"game": EVIL, "player": EVIL, "games": 1, "none": EVIL}]
    found["suite"] = {"name": EVIL, "hash": EVIL}
    found["versions"][EVIL] = EVIL
    found["skins"] = {EVIL: {EVIL: {"mean": 0.1, "low": None, "high": None}}}
    found["sprt"] = {
        "a": EVIL,
        "b": EVIL,
        "llr": 1.0,
        "pairs": 3,
        "decision": None,
        "bounds": [0, 5],
        "limits": [-3, 3],
    }
    found["transcripts"][0]["turns"][0]["problem"] = "no_move"
    void = {"ending": "void", "why": EVIL, "offender": None}
    found["transcripts"].append({**found["transcripts"][0], **void})
    return found


def test_nothing_that_a_model_wrote_is_more_than_text(evil: dict[str, Any], plain: dict[str, Any]) -> None:
    text = page(evil)
    text.encode("ascii")
    found, harmless = Page(text), Page(page(plain))
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in harmless.tags} | {
        "figure",
        "figcaption",
        "polyline",
        "g",
    }
    assert not {"img", "iframe", "object", "link", "base", "form"} & {tag for tag, _ in found.tags}
    assert [name for _, a in found.tags for name in a if name.startswith("on") or name == "style"] == []
    assert len(found.scripts) == len(harmless.scripts) == 2
    assert found.scripts[1] == harmless.scripts[1], "the one script that runs is ours, whatever is in the report"
    shown = "".join(found.text)
    assert "<img src=x onerror=alert(1)>" in shown
    for hidden in ("\u202e", "\u2066", "\ud800", "\u2028", "\x1b", "\x00"):
        assert hidden not in shown
        assert f"\u2039U+{ord(hidden):04X}\u203a" in shown


def test_the_data_block_is_json_that_cannot_be_left(evil: dict[str, Any]) -> None:
    text = island(evil)
    assert text.isascii()
    assert not set("<>&") & set(text)
    data = json.loads(text)
    assert data == Page(page(evil)).data
    assert seen(f"{EVIL}[bet]") in data["texts"]
    assert all(c.isprintable() or c == "\n" for t in data["texts"] for c in t)
    (meeting,) = data["meetings"]
    assert meeting["games"][0]["turns"][0]["problem"] == "no move"
    assert any(game["end"].startswith("Void, and counted for nobody: </script>") for game in meeting["games"])


def test_the_policy_lets_our_script_and_style_run_and_nothing_else(plain: dict[str, Any]) -> None:
    found = Page(page(plain))
    (policy,) = (a["content"] for t, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    (style,) = found.styles

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "script-src": digest(found.scripts[1][1]),
        "style-src": digest(style),
    }


def test_the_page_asks_for_nothing(plain: dict[str, Any]) -> None:
    text = page(plain)
    found = Page(text)
    assert [a for _, a in found.tags if {"src", "srcset", "action", "data", "poster", "xlink:href"} & a.keys()] == []
    links = {a["href"] for _, a in found.tags if "href" in a}
    assert links
    assert {link.removeprefix("#") for link in links} <= found.ids()
    assert re.findall(r"url\(|@import|https?:|fetch|XMLHttp|innerHTML|eval\(", text) == []


def test_every_section_says_what_the_report_holds(plain: dict[str, Any]) -> None:
    found = Page(page(plain))
    assert {"ratings", "matrix", "conduct", "rewards", "exact", "regret", "games", "players"} <= found.ids()
    assert not {"sprt", "probe", "broken", "curves", "skins"} & found.ids()
    words = " ".join(" ".join(found.text).split())
    standings = plain["standings"]
    for name, rating in standings["ratings"]["players"].items():
        assert f"{rating['elo']:+.0f}" in words or rating["elo"] == 0, name
    random = list(standings["players"]).index("random")
    for p in (p for j, p in enumerate(standings["matrix"][random]) if j != random):
        assert f" {100 * p:.1f} " in words
    assert "0.917" in words, "what the random player can lose in Kuhn poker"
    assert f"{standings['pairs']} " in words
    assert plain["versions"]["torch"] in words


def test_how_games_went_is_told_of_each_game(plain: dict[str, Any]) -> None:
    text = page(plain).split('<section id="conduct">')[1].split("</section>")[0]
    for game, players in plain["standings"]["players_by_game"].items():
        part = text.split(f"<h3>{game}</h3>")[1].split("</table>")[0]
        for name, player in players.items():
            row = part.split(f'<th scope="row" class="t">{name}</th>')[1].split("</tr>")[0]
            cells = re.findall(r'<td class="n">([^<]*)</td>', row)
            assert cells[:4] == [str(player[key]) for key in ("games", "won", "drawn", "lost_on_board")]
    assert text.count("seconds a move") == 1


def test_a_rating_without_a_bound_is_an_arrow_and_says_so(plain: dict[str, Any]) -> None:
    found = copy.deepcopy(plain)
    table = found["standings"]["by_game"]["TicTacToe-v0"]["players"]
    table["optimal"] = {"elo": 800.0, "low": 512.0, "high": None, "games": 9}
    table["random"] = {"elo": -800.0, "low": None, "high": -498.0, "games": 9}
    table["heuristic"] = {"elo": 0.0, "low": None, "high": None, "games": 9}
    text = page(found)
    rows = {name: text.split(f'<th scope="row" class="t">{name}</th>')[1:] for name in table}
    for name, said, arrows in (("optimal", "above +512", 1), ("random", "below -498", 1), ("heuristic", "unknown", 2)):
        (row,) = (row.split("</tr>")[0] for row in rows[name] if said in row.split("</tr>")[0])
        assert (row.count('class="arrow"'), row.count("<circle")) == (arrows, 0)
    assert page(plain).count('class="arrow"') == 0 or plain["standings"]["by_game"]["TicTacToe-v0"]


def test_an_interval_is_drawn_where_its_numbers_are() -> None:
    axis = Axis(-100.0, 100.0)
    assert [axis.at(v) for v in (-100, 0, 100, 1e9)] == [10.0, 110.0, 210.0, 210.0]
    drawn = interval(axis, 0.0, -50.0, 50.0, "x")
    assert 'd="M60.0 11H160.0"' in drawn
    assert 'cx="110.0"' in drawn


@pytest.mark.parametrize("values", [[0.0], [-3e-12, 5e-12], [1e9, -1e9], [12.0, None], [], [-2631.0, 0.5]])
def test_an_axis_has_few_round_ticks(values: list[float]) -> None:
    axis = Axis.over(values)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert 0.0 in ticks


def test_the_numbers_of_an_axis_do_not_run_into_each_other() -> None:
    for low, high in ((-2277.0, 371.0), (-0.002, 0.01), (0.0, 1.0), (-40_000.0, 40_000.0)):
        axis = Axis.over([low, high])
        ticks = spaced_ticks(axis)
        ends = [(axis.at(t) - 3 * len(f"{t:g}"), axis.at(t) + 3 * len(f"{t:g}")) for t in ticks]
        assert all(right < left for (_, right), (left, _) in itertools.pairwise(ends))
        assert len(ticks) > 1


def test_the_rating_of_a_run_is_drawn_with_its_band(plain: dict[str, Any]) -> None:
    """The first measure has no lower bound, so that the band reaches to the bottom of the drawing there."""
    rated = {
        "rating": [[0, -50.0], [100, 100.0]],
        "rating_low": [[100, 50.0]],
        "rating_high": [[0, 20.0], [100, 150.0]],
    }
    unbounded = {"rating": [[0, 10.0], [100, 30.0]]}
    text = page({**plain, "curves": {"a": unbounded, "mine": rated}})
    (figure,) = re.findall(r"<figure>.*?</figure>", text)
    (band,) = re.findall(r'<path d="M([^"]*)z" class="band b1"/>', figure)
    line = re.findall(r'<polyline points="([^"]*)"', figure)[1]
    (left, bottom), (right, low), (_, high), (_, start) = ((float(n) for n in p.split()) for p in band.split("L"))
    (x0, y0), (x1, y1) = ((float(n) for n in p.split(",")) for p in line.split())
    assert (x0, x1) == (left, right)
    assert low - y1 == pytest.approx(y1 - high, abs=0.2), "50 and 150 lie as far from 100"
    assert start < y0 < bottom == 176.0
    assert "mine: -50 at first, 100 (+50 to +150) at last" in figure
    assert "a: 10 at first, 30 at last" in figure
    assert "rating_low" not in text


def test_the_least_report_is_a_page_too() -> None:
    """Nothing was played, or all of it was void."""
    found = make_report([RandomAgent(), HeuristicAgent()], ["KuhnPoker-v0"], pairs=1)
    empty = report([], [], [], [])
    assert Page(page(json.loads(json.dumps(empty)))).data == {"texts": [], "meetings": [], "left": 0}
    for game in found["transcripts"]:
        game |= {"ending": "void", "turns": [], "rewards": [0, 0], "why": ""}
    found["standings"] = {**report([], [], [], [])["standings"], "void": {"why": 2}}
    assert "no reason was given" in page(found)
    assert "Interrupted" in page({**found, "interrupted": True})


def test_games_that_do_not_fit_are_counted_and_the_first_of_each_match_up_come_first(plain: dict[str, Any]) -> None:
    whole = games_data(plain["transcripts"])
    count = sum(len(m["games"]) for m in whole["meetings"])
    assert (count, whole["left"]) == (len(plain["transcripts"]), 0)
    assert len(set(whole["texts"])) == len(whole["texts"])
    some = games_data(plain["transcripts"], most=8_000)
    assert some["left"] == count - sum(len(m["games"]) for m in some["meetings"]) > 0
    assert {m["label"] for m in some["meetings"]} >= {"KuhnPoker-v0: heuristic and random"}
    assert len(some["meetings"]) == 6
    assert sum(map(len, some["texts"])) <= 8_000
    assert games_data(plain["transcripts"], most=0)["meetings"] == []


def test_a_replayed_game_is_the_one_that_was_played(plain: dict[str, Any]) -> None:
    data = games_data(plain["transcripts"])
    texts = data["texts"]
    games = {(m["label"], g["label"]): g for m in data["meetings"] for g in m["games"]}
    for told in plain["transcripts"]:
        a, b = told["players"]
        meeting = f"{told['game']}: {min(a, b)} and {max(a, b)}"
        game = games[meeting, f"seed 0, pair {told['pair']}: {a} in seat 0, {b} in seat 1"]
        shown = [(texts[turn["prompt"]], texts[turn["reply"]]) for turn in game["turns"]]
        assert shown == [(turn["prompt"], turn["reply"]) for turn in told["turns"]]
        assert game["end"] == ended(told)


def test_how_games_ended_is_said() -> None:
    game = {"players": ["a", "b"], "rewards": [-2.0, 2.0], "ending": "illegal", "offender": 0, "why": ""}
    assert ended(game) == "Ended by an illegal reply of a. a gets -2.000, b gets +2.000."
    assert ended({**game, "ending": "truncated", "offender": None}).startswith("Stopped at the limit of turns.")
    assert ended({**game, "ending": "void", "why": "x"}) == "Void, and counted for nobody: x"


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no browser is installed; apt-get install chromium-headless-shell, or chromium")
    return found


def opened(browser: str, path: Path, *more: str) -> str:
    """What the page has become in a browser that may look up no name."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", *more]
    options += [f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=3000"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", path.as_uri()], capture_output=True, timeout=120, check=True, encoding="utf-8"
    )
    return done.stdout


@pytest.fixture(params=["plain", "evil"])
def told(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    return request.getfixturevalue(request.param)


def test_a_browser_fills_the_replayer_and_runs_nothing_else(browser: str, told: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(told), encoding="utf-8")
    found = Page(opened(browser, path))
    assert dict(found.tags)["html"].get("data-ready") == "true"
    assert dict(found.tags)["title"] is not None
    data = found.data
    turn = data["meetings"][0]["games"][0]["turns"][0]
    words = "".join(found.text)
    # The browser's text is as the parser reads it back from what it wrote out.
    assert data["texts"][turn["prompt"]] in words
    assert data["texts"][turn["reply"]] in words
    assert "turn 1 of" in words
    assert [text for text in found.text if text == "owned"] == []
    assert not any(tag == "img" for tag, _ in found.tags)
    assert len([tag for tag, _ in found.tags if tag == "option"]) >= len(data["meetings"]) + 2


def test_a_browser_steps_through_a_game_to_its_end(browser: str, plain: dict[str, Any], tmp_path: Path) -> None:
    """The page's own script is pressed by another, for which its policy is lifted."""
    press = "<script>for (let i = 0; i < 99; i++) document.getElementById('next').click();</script></body>"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(plain)).replace("</body>", press)
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    words = "".join(Page(opened(browser, path)).text)
    assert f"the end, after {len(plain['transcripts'][0]['turns'])} turns" in words
    assert ended(plain["transcripts"][0]) in words
