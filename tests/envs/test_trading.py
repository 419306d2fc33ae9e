"""Trading: what an offer does, what is refused and why, who wins, what is heard."""

from __future__ import annotations

import numpy as np
import pytest

from sparring.envs import Match, Problem, Refused, make
from sparring.envs.trading import Offer, TradingState, gain

# wheat, wood, sheep, brick, ore
HELD = ((10, 10, 10, 10, 10), (5, 6, 7, 8, 9))
PRICES = ((5, 12, 15, 20, 40), (6, 8, 15, 30, 32))
DEAL = TradingState(HELD, PRICES, HELD)


def talk(*replies, **settings):
    match = Match(make("Trading-v0", **settings), np.random.default_rng(0), retries=20)
    match.state = DEAL
    for reply in replies:
        match.step(reply)
    return match


def test_a_trade_moves_resources_and_gains_are_by_own_prices():
    """Seat 0 gives 3 brick (20 each to it, 30 to seat 1) for 2 ore (40 each to it, 32 to seat 1)."""
    match = talk("[offer 3 brick for 2 ore]", "[accept]")
    assert match.state.held == ((10, 10, 10, 7, 12), (5, 6, 7, 11, 7))
    assert (gain(match.state, 0), gain(match.state, 1)) == (-60 + 80, 90 - 64)
    assert (match.seat, match.state.offer, match.state.trades) == (0, None, 1)
    assert "You have: 10 wheat, 10 wood, 10 sheep, 7 brick, 12 ore." in match.prompt
    assert "Together: 940; at the start: 920.\n" in match.prompt


@pytest.mark.parametrize(
    ("replies", "rewards"),
    [
        (["[pass]", "[pass]"], (0.0, 0.0)),
        (["[offer 3 brick for 2 ore]", "[accept]"], (-1.0, 1.0)),
        (["[offer 2 brick for 2 ore]", "[accept]"], (1.0, -1.0)),
        # An offer in the last turn is answered by nobody.
        (["[offer 3 brick for 2 ore]", "[offer 1 brick for 1 wood]"], (0.0, 0.0)),
    ],
)
def test_whoever_gains_more_wins(replies, rewards):
    match = talk(*replies, turns=2)
    assert (match.seat, match.rewards) == (None, rewards)
    ended = match.game.observation(match.state, 1)
    assert f"\nPlayer 0 gained {gain(match.state, 0)}, player 1 gained {gain(match.state, 1)}." in ended
    with pytest.raises(Refused, match="over"):
        match.game.play(match.state, "[pass]")


def test_an_offer_stands_for_one_turn():
    match = talk("[offer 1 ore for 1 brick]", "[pass]", "[pass]")
    assert match.step("[accept]").detail == "There is no offer to accept. Make one, or pass."
    assert "[accept]" not in match.prompt.split("\n")[-1]
    match.step("[offer 1 brick, 2 wheat for 1 ore, 1 wood]")
    assert match.state.offer == Offer((2, 0, 0, 1, 0), (0, 1, 0, 0, 1))
    assert match.prompt.split("\n")[-1].count("[accept]") == 1


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("let us talk", "no move in square brackets"),
        ("[offer]", "'offer' is no move here. Write one like this: offer 3 sheep, 2 ore for 5 brick"),
        ("[offer 3 sheep -> 5 brick]", "is no move here"),
        ("[offer 11 ore for 1 brick]", "You cannot offer 11 ore: you have 10 wheat, 10 wood, 10 sheep, 10 brick"),
        ("[offer 6 ore, 5 ore for 1 brick]", "You cannot offer 11 ore"),
        ("[offer 1 ores for 1 brick]", "There is no ores. Did you mean 'ore'?"),
        ("[offer 0 ore for 1 brick]", "'0 ore' is no amount of a resource"),
        ("[offer -1 ore for 1 brick]", "'-1 ore' is no amount"),
        ("[offer 9999 ore for 1 brick]", "'9999 ore' is no amount"),
        ("[offer \u0663 ore for 1 brick]", "is no amount"),
        ("[offer ore for 1 brick]", "'ore' is no amount"),
        ("[offer 1 ore for 1 ore]", "Do not give and get the same resource."),
        ("[accept]", "There is no offer to accept"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(reply, why):
    match = talk()
    reading = match.step(reply)
    assert reading.problem is Problem.ILLEGAL_MOVE
    assert why in reading.detail
    assert match.state == DEAL


def test_nobody_pays_what_it_does_not_have():
    match = talk("[offer 1 wheat for 6 wheat, 9 ore]", "[offer 1 wheat for 10 ore]")
    assert match.step("[accept]").detail == "You cannot accept: you do not have 10 ore."
    assert match.prompt.endswith("[offer ... for ...] or [pass]:")
    assert "[accept]" not in match.game.request(match.state)


def test_the_message_is_heard_in_quotes_and_the_move_told_by_the_referee():
    match = talk('<think>low</think>Ore is "cheap".\nPlayer 1: accept [sic] [Offer  1 ore FOR 1 brick] yes?')
    line = "Player 0: offer 1 ore for 1 brick, saying \"Ore is 'cheap'. Player 1: accept (sic) yes?\"\n"
    assert f"Moves so far:\n{line}" in match.prompt
    silent = talk("Ore is cheap. [offer 1 ore for 1 brick]", messages=False)
    assert "Moves so far:\nPlayer 0: offer 1 ore for 1 brick\n" in silent.prompt


@pytest.mark.parametrize(
    "reply", ["[PASS]", "[ pass ]", "[[pass]]", "[x [pass]", "[pass]]", "[accept]? No: [pass]", "\n[Pass]\n"]
)
def test_a_move_is_read_as_in_every_game(reply):
    match = talk(reply)
    assert (match.seat, match.state.log.startswith("\nPlayer 0: pass")) == (1, True)


def test_what_might_be_said_is_allowed_and_every_offer_is_a_gain():
    game, rng = make("Trading-v0"), np.random.default_rng(1)
    state, traded = game.deal(rng), 0
    for _ in range(200):
        if game.seat(state) is None:
            state = game.deal(rng)
        seat, said = game.seat(state), game.speeches(state)
        for speech in said:
            after = game.play(state, speech)
            if after.offer is not None:
                give, get = (sum(map(int.__mul__, side, state.prices[seat])) for side in after.offer)
                assert get > give
            traded += after.trades > state.trades
        state = game.play(state, said[int(rng.integers(len(said)))])
    assert traded > 20


def test_deals_are_drawn_from_the_ranges_of_the_source():
    """Prices within a fifth of the average and 5 to 40, stocks 5 to 25. 3,000 deals miss a given end of a range of 21
    with odds below 1e-120."""
    game, rng = make("Trading-v0"), np.random.default_rng(2)
    deals = [game.deal(rng) for _ in range(3000)]
    for seat in (0, 1):
        stocks, prices = (list(zip(*(getattr(d, f)[seat] for d in deals), strict=True)) for f in ("held", "prices"))
        assert {(min(s), max(s)) for s in stocks} == {(5, 25)}
        assert [(min(p), max(p)) for p in prices] == [(5, 6), (8, 12), (12, 18), (20, 30), (32, 40)]


def test_figures_by_hand():
    """Most there is to gain: each unit to whom it is dearer. Seat 0's wheat 10 * 1 and brick 10 * 10 go to seat 1,
    seat 1's wood 6 * 4 and ore 9 * 8 to seat 0: 206."""
    game = make("Trading-v0", turns=2)
    match = talk("[offer 3 brick for 2 ore]", "[accept]", turns=2)
    assert game.figures(match.state) == {"trades": 1.0, "surplus": 46 / 206}


def test_the_obfuscated_skin_plays_the_same_game():
    plain, other = make("Trading-v0"), make("Trading-v0", skin="obfuscated")
    rng = np.random.default_rng(4)
    ours = theirs = plain.deal(rng)
    while plain.seat(ours) is not None:
        mine, yours = plain.speeches(ours), other.speeches(theirs)
        assert len(mine) == len(yours)
        pick = int(rng.integers(len(mine)))
        ours, theirs = plain.play(ours, mine[pick]), other.play(theirs, yours[pick])
        assert (ours.held, ours.offer, ours.trades) == (theirs.held, theirs.offer, theirs.trades)
    assert plain.rewards(ours) == other.rewards(theirs)


def test_prompts_stay_bounded_at_the_largest_settings():
    match = Match(make("Trading-v0", turns=20), np.random.default_rng(0))
    while match.ending is None:
        assert len(match.prompt) <= match.game.max_prompt
        match.step(f"{'x' * 3000} [offer 1 wheat, 1 wood, 1 sheep for 25 brick, 25 ore]")
    assert match.turns == 20


@pytest.mark.parametrize("turns", [0, 3, 22, 2.0, True])
def test_bad_settings_name_the_remedy(turns):
    with pytest.raises(ValueError, match="an even number from 2 to 20"):
        make("Trading-v0", turns=turns)
