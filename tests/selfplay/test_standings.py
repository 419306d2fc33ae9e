"""The tables of a tournament, against records of which everything can be counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sparring.selfplay.bench_text import cycles_said
from sparring.selfplay.labels import plain_label
from sparring.selfplay.standings import mean_interval, results_of, standings, timing, win_rates

RANGES = {"chess": (-1.0, 1.0), "poker": (-2.0, 2.0), "chess[odd]": (-1.0, 1.0)}


def turn(
    seat: int, problem: str | None = None, tokens: int | None = None, seconds: float = 0.5, **more: Any
) -> dict[str, Any]:
    about = {"problem": problem, "tokens": tokens, "seconds": seconds}
    return {"seat": seat, "prompt": "", "reply": "[go]", **about, **more}


def game(
    players: Sequence[str],
    first: float,
    ending: str = "played",
    offender: int | None = None,
    why: str = "",
    **more: Any,
) -> dict[str, Any]:
    turns = more.get("turns", [turn(0), turn(1)])
    rewards = [first, -first]
    return {"players": players, "rewards": rewards, "ending": ending, "offender": offender, "why": why, "turns": turns}


def pair(one: str, other: str, first: Any, second: Any, label: str = "chess", number: int = 0) -> dict[str, Any]:
    """Two games; each is what seat 0 got, or more of the record."""
    games = [
        game(players, **(told if isinstance(told, dict) else {"first": told}))
        for players, told in (([one, other], first), ([other, one], second))
    ]
    return {"pair": [0, label, one, other, number], "retries": 0, "games": games}


def test_losses_by_illegal_replies_are_told_apart_and_void_games_count_for_nobody() -> None:
    illegal = {"first": -1.0, "ending": "illegal", "offender": 0, "turns": [turn(0, problem="no_move", tokens=4)]}
    records = [
        pair("a", "b", 1.0, illegal),
        pair("a", "b", {"first": 0.0, "ending": "truncated"}, -1.0, number=1),
        pair("a", "b", {"first": 0.0, "ending": "void", "why": "down"}, 1.0, number=2),
    ]
    table = standings(records, RANGES, players=["c"])
    a, b, c = (table["players"][name] for name in "abc")
    keys = ("won", "drawn", "lost_on_board", "lost_illegal", "truncated", "void", "games")
    assert [a[key] for key in keys] == [3, 1, 1, 0, 1, 1, 5]
    assert [b[key] for key in keys] == [1, 1, 2, 1, 1, 1, 5]
    assert [c[key] for key in keys] == [0] * 7
    assert (b["illegal_replies"], b["moves"], b["tokens_a_reply"]) == (1, 6, 4)
    assert (a["illegal_replies"], a["moves"], a["tokens_a_reply"]) == (0, 5, None)
    assert table["void"] == {"down": 1}
    assert table["matrix"][0] == [0.5, None, None], "c, the first, met nobody"
    names = list(table["players"])
    assert table["matrix"][names.index("a")][names.index("b")] == 3.5 / 5
    assert table["metagame"]["alpha_rank"].keys() == {"a", "b"}, "who has not played is not in the way of the others"


def test_tokens_are_summed_and_replies_that_were_not_counted_are_told() -> None:
    turns = [
        turn(0, tokens=4, prompt_tokens=10, cut_off=True),
        turn(0, tokens=0, prompt_tokens=20, cut_off=False),
        # Of a log of before, and of a server that counts nothing.
        turn(0, tokens=5),
        turn(0, prompt_tokens=None, cut_off=False),
        turn(1),
    ]
    a = standings([pair("a", "b", {"first": 1.0, "turns": turns}, -1.0)], RANGES)["players"]["a"]
    assert (a["prompt_tokens"], a["reply_tokens"], a["cut_off"]) == (30, 9, 1)
    assert (a["moves"], a["uncounted"], a["tokens_a_reply"]) == (5, 3, 3)


def test_meetings_are_told_by_seat() -> None:
    (met,) = standings([pair("a", "b", 1.0, 1.0), pair("a", "b", 0.0, -1.0, number=1)], RANGES)["meetings"]
    # a in seat 0: won, drew; in seat 1: lost, won.
    assert met == {"game": "chess", "one": "a", "other": "b", "seats": [[1, 1, 0], [1, 0, 1]], "pairs": [0, 0, 1, 1, 0]}


def test_pairs_are_counted_by_what_they_scored() -> None:
    """For a: 0, 1/2, 1 as win and loss, 1 as two draws, 3/2, 2, and one that a void game spoils."""
    told = [(-1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, -1.0)]
    records = [pair("a", "b", first, second, number=n) for n, (first, second) in enumerate(told)]
    records.append(pair("a", "b", 1.0, {"first": 0.0, "ending": "void"}, number=6))
    (met,) = standings(records, RANGES)["meetings"]
    assert met["pairs"] == [1, 1, 2, 1, 1]


def test_how_games_went_is_told_of_each_game_too() -> None:
    illegal = {"first": -1.0, "ending": "illegal", "offender": 0, "turns": [turn(0, problem="no_move")]}
    void = {"first": 0.0, "ending": "void", "why": "down"}
    records = [pair("a", "b", illegal, 1.0), pair("a", "b", 1.0, void, "poker"), pair("b", "c", 1.0, -1.0, "poker")]
    table = standings(records, RANGES)
    found = table["players_by_game"]
    assert {game: list(players) for game, players in found.items()} == {"chess": ["a", "b"], "poker": ["a", "b", "c"]}
    keys = ("won", "lost_on_board", "lost_illegal", "void", "games", "illegal_replies", "moves")
    assert [found["chess"]["a"][key] for key in keys] == [0, 1, 1, 0, 2, 1, 2]
    assert [found["poker"]["a"][key] for key in keys] == [1, 0, 0, 1, 1, 0, 2]
    for name in "ab":
        assert all(sum(found[g][name][key] for g in found) == table["players"][name][key] for key in keys)


def test_games_of_stakes_are_rated_by_what_was_won() -> None:
    """b wins two hands of three and loses more chips: it was above a once."""
    records = [pair("a", "b", reward, -reward, "poker", n) for n, reward in enumerate([2.0, -0.5, -0.5] * 10)]
    table = standings(records, RANGES)
    assert table["staked"] == ["poker"]
    assert list(table["ratings"]["players"]) == ["a", "b"]
    # (2 - 0.5 - 0.5) / 3 a game, and 1/2 + 2r / (2 * 4) as a share.
    assert table["rewards"]["poker"]["a"]["mean"] == pytest.approx(1 / 3)
    assert table["matrix"][0][1] == pytest.approx(0.5 + (1 / 3) / 4)
    assert standings([pair("a", "b", 1.0, -1.0)], RANGES)["staked"] == []


def test_one_deal_in_two_wordings_is_one_experiment() -> None:
    went = [(1.0, 0.0), (0.0, 0.0), (-1.0, 1.0), (1.0, 1.0), (-1.0, -1.0)] * 4
    records = [pair("a", "b", *two, label, n) for n, two in enumerate(went) for label in ("chess", "chess[odd]")]
    table = standings(records, RANGES)
    assert table["pairs"] == 40
    assert table["ratings"]["pairs"] == 20
    single = standings([r for r in records if r["pair"][1] == "chess"], RANGES)["ratings"]["players"]["a"]
    both = table["ratings"]["players"]["a"]
    assert both["high"] - both["low"] == pytest.approx(single["high"] - single["low"], rel=0.1)


def test_rewards_are_of_pairs_of_which_no_game_is_void() -> None:
    """What the first seat is worth stood in the mean of whoever held it in the game that was left."""
    broken = pair("a", "b", 1.0, 0.0, number=1)
    broken["games"][1] |= {"ending": "void", "why": "down", "rewards": [0.0, 0.0]}
    records = [pair("a", "b", 1.0, 0.0, number=0), broken]
    assert standings(records, RANGES)["rewards"] == standings(records[:1], RANGES)["rewards"]


def test_a_list_among_the_settings_is_no_skin() -> None:
    """Both games of Nim were `Nim-v0?heaps=` once, and their pairs of one number one experiment."""
    assert plain_label("Nim-v0?heaps=[3, 4][obfuscated]") == "Nim-v0?heaps=[3, 4]"
    assert plain_label("Nim-v0?skin=obfuscated&heaps=[3, 4]") == "Nim-v0?heaps=[3, 4]", "as logs of before have it"
    heaps = ("Nim-v0?heaps=[3, 4]", "Nim-v0?heaps=[3, 5]", "Nim-v0?heaps=[3]")
    ranges = dict.fromkeys(heaps, (-1.0, 1.0))
    pairs = {result.pair for label in heaps for result in results_of(pair("a", "b", 1.0, 1.0, label), ranges, [])}
    assert len(pairs) == 3


def test_who_did_not_meet_is_said() -> None:
    table = standings([pair("a", "b", 1.0, -1.0), pair("c", "d", 1.0, 0.0)], RANGES)
    assert "have met neither each other nor a third player" in table["ratings"]["none"]
    assert table["metagame"] is None
    assert standings([], RANGES, players=["a"])["ratings"] is None


def test_a_rating_that_nothing_bounds_has_none_for_that_end() -> None:
    table = standings([pair("a", "b", 1.0, -1.0, number=n) for n in range(10)], RANGES, anchor="b")
    a = table["ratings"]["players"]["a"]
    assert a["low"] > 100
    assert a["high"] is None


def test_an_anchor_who_has_not_played_is_not_taken() -> None:
    assert standings([pair("a", "b", 1.0, 0.0)], RANGES, anchor="random")["anchor"] is None
    assert standings([pair("a", "b", 1.0, 0.0)], RANGES, anchor="a")["anchor"] == "a"


def test_an_interval_of_a_mean() -> None:
    # Student's t: 2 +- 4.302653 * 1 / sqrt(3).
    found = mean_interval([1.0, 2.0, 3.0], 0.95)
    assert (found["mean"], found["high"]) == (2.0, pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6))
    assert mean_interval([1.0], 0.95) == {"mean": 1.0, "low": None, "high": None}


def test_a_mean_of_values_that_are_all_alike_is_not_certain() -> None:
    """Clopper and Pearson: of n trials without one, the share is 1 - 0.025^(1 / n) at most."""
    found = mean_interval([-2.0] * 2, 0.95, (-2.0, 2.0))
    assert (found["low"], found["high"]) == (-2.0, pytest.approx(-2 + 4 * (1 - 0.025**0.5)))
    assert mean_interval([1.0] * 9, 0.95) == {"mean": 1.0, "low": None, "high": None}
    table = standings([pair("a", "b", 1.0, -1.0, number=n) for n in range(2)], RANGES)["rewards"]["chess"]
    assert (table["a"]["high"], table["b"]["low"]) == (1.0, -1.0)
    assert table["a"]["low"] < 0 < table["b"]["high"]


def test_no_end_of_a_mean_lies_outside_what_can_be_had() -> None:
    found = mean_interval([2.0, 2.0, 1.0], 0.95, (-2.0, 2.0))
    assert (found["high"], mean_interval([2.0, 2.0, 1.0], 0.95)["high"] > 2.0) == (2.0, True)


def metagame_of(scores: Sequence[tuple[str, str, Sequence[float]]]) -> dict[str, Any]:
    records = [pair(a, b, one, -one, number=n) for a, b, ones in scores for n, one in enumerate(ones)]
    return standings(records, RANGES)["metagame"]


@pytest.mark.parametrize("seed", range(4))
def test_cycles_of_alike_players_are_told_from_noise_no_more_than_they_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = metagame_of([(a, b, rng.choice([-1.0, 1.0], size=100)) for a, b in ("ab", "bc", "ac")])
    assert found["cyclic_p"] > 0.05
    assert found["cyclic_noise"] > 0.1
    assert found["alpha_rank_first"] < 0.95
    assert "can't be told from noise" in cycles_said(found, 0.95)


def test_a_cycle_of_many_pairs_is_no_noise_and_one_of_a_single_pair_may_be() -> None:
    won, lost = [1.0] * 80 + [-1.0] * 20, [-1.0] * 80 + [1.0] * 20
    found = metagame_of([("a", "b", won), ("b", "c", won), ("a", "c", lost)])
    assert found["cyclic_share"] == pytest.approx(1.0)
    assert found["cyclic_p"] < 0.01
    assert found["cyclic_noise"] < 0.1
    assert "these are more than that" in cycles_said(found, 0.95)
    assert metagame_of([("a", "b", won[:1]), ("b", "c", won[:1]), ("a", "c", lost[:1])])["cyclic_p"] > 0.05


def test_who_is_clearly_first_stays_so() -> None:
    won = [1.0] * 80 + [-1.0] * 20
    found = metagame_of([("a", "b", won), ("b", "c", won), ("a", "c", won)])
    assert (found["alpha_rank_first"], found["nash_first"]) == (1.0, 1.0)
    assert "by alpha-rank and" not in cycles_said(found, 0.95)


def test_win_rates_are_over_both_seats() -> None:
    results = results_of(pair("a", "b", 1.0, 0.0), RANGES, [])
    assert win_rates(results, ["a", "b", "c"]) == [[0.5, 0.75, None], [0.25, 0.5, None], [None, None, 0.5]]


def test_time_stands_apart_from_what_two_runs_share() -> None:
    record = pair("a", "b", 1.0, 1.0)
    record["games"][0]["turns"][1]["seconds"] = 2.5
    assert timing([record]) == {"a": 0.5, "b": 1.5}
    assert "seconds" not in str(standings([record], RANGES))
