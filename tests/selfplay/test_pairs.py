"""What preference and imitation losses learn from, against numbers worked by hand."""

from collections.abc import Callable, Sequence
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents import LanguageModelAgent, Message, Prompt, RandomAgent, Reply, ScriptedAgent, tiny_agent, uniform
from sparring.envs import Ending, Problem, make
from sparring.selfplay import Episode, Sample, Turn, play
from sparring.selfplay.branch import branch
from sparring.selfplay.forks import Fork, Outcome, forks
from sparring.selfplay.pairs import (
    Labelled,
    Pair,
    Rated,
    Weighted,
    as_said_by,
    demonstrations,
    gaps,
    labelled,
    own_replies,
    pairs,
    rated,
    spin_pairs,
    winners,
)


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(make("KuhnPoker-v0"), hidden=16, corpus_games=20)


class Spelling(RandomAgent):
    """Plays at random, and one time in four what is no move, with bytes for tokens."""

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        texts = [
            "[raise]" if uniform(prompt.noise, 1) < 0.25 else reply.text
            for prompt, reply in zip(prompts, super().reply(prompts), strict=True)
        ]
        return [
            Reply(text=text, prompt_ids=tuple(prompt.text.encode()), ids=tuple(text.encode()))
            for prompt, text in zip(prompts, texts, strict=True)
        ]


def said(token: int, prompt: int = 1) -> Reply:
    return Reply(text=f"[{token}]", prompt_ids=(prompt,), ids=(token,), logprobs=(-1.0,))


def fork_of(*returns: tuple[float, ...]) -> Fork:
    return Fork("g", 0, tuple(Outcome(said(token), r) for token, r in enumerate(returns)))


def turn(token: int, seat: int, *, legal: bool = True) -> Turn:
    return Turn(
        seat=seat,
        player=0,
        prompt="?",
        reply=said(token, prompt=seat),
        move=str(token) if legal else None,
        problem=None if legal else Problem.ILLEGAL_MOVE,
    )


def game(
    *turns: Turn,
    rewards: tuple[float, float],
    fork: tuple[int, int] | None = None,
    name: str = "g",
    seated: tuple[int, int] = (0, 0),
) -> Episode:
    return Episode(
        game=name,
        index=0,
        turns=turns,
        rewards=rewards,
        ending=Ending.PLAYED,
        offender=None,
        players=("a", "a"),
        seated=seated,
        fork=fork,
    )


def test_a_winners_and_a_losers_turn_of_one_game_are_no_pair() -> None:
    """They answer different prompts. A preference loss over them compares moves that were never alternatives, and only
    teaches which prompts come before a win."""
    agent = Spelling()
    (episode,) = play(make("KuhnPoker-v0"), (agent, agent), games=1, retries=9)
    first, second = (next(t for t in episode.turns if t.seat == seat) for seat in (0, 1))
    with pytest.raises(ValueError, match=r"branch the game at one state .*identical prompts.*KTO"):
        Pair(chosen=first.reply, rejected=second.reply)


def test_a_pair_of_replies_without_tokens_is_refused() -> None:
    """Their prompt ids are equal because they have none, which says nothing of their prompts."""
    with pytest.raises(ValueError, match="no token ids"):
        Pair(chosen=Reply(text="[bet]"), rejected=Reply(text="[check]"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"target": 1.5}, "from 0 to 1"), ({"weight": 0.0}, "above 0"), ({"weight": float("inf")}, "finite")],
)
def test_targets_and_weights_that_mean_nothing_are_refused(bad: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pair(chosen=said(1), rejected=said(2), **bad)


def test_the_reply_with_the_higher_mean_is_chosen() -> None:
    """Means 0, 1 and -1, of 2, 1 and 3 returns; weights 2/3, 6/5 and 3/4."""
    fork = fork_of((1.0, -1.0), (1.0,), (-1.0, -1.0, -1.0))
    found = {(p.chosen.ids[0], p.rejected.ids[0]): (p.target, p.weight) for p in pairs([fork])}
    assert found == {(1, 0): (1.0, 2 / 3), (0, 2): (1.0, 6 / 5), (1, 2): (1.0, 3 / 4)}


def test_differences_up_to_the_threshold_and_ties_make_no_hard_pair() -> None:
    fork = fork_of((1.0,), (0.0,), (0.0,))
    assert len(list(pairs([fork]))) == 2
    assert list(pairs([fork], threshold=1.0)) == []
    # The mean of three times 0.1 is not 0.1 in floats.
    assert list(pairs([fork_of((0.1, 0.1, 0.1), (0.1,))])) == []


def test_soft_targets_are_smoothed_shares_of_comparisons() -> None:
    """Chosen 1, 1, 0, rejected 0, -1: five wins and a tie of six, 11/12. Two times 6/5 comparisons and one a side:
    (11/12 * 12/5 + 1) / (12/5 + 2) = 3.2 / 4.4."""
    (pair,) = pairs([fork_of((0.0, -1.0), (1.0, 1.0, 0.0))], soft=True)
    assert (pair.chosen.ids, pair.rejected.ids) == ((1,), (0,))
    assert pair.weight == pytest.approx(6 / 5)
    assert pair.target == pytest.approx(3.2 / 4.4)
    (raw,) = pairs([fork_of((0.0, -1.0), (1.0, 1.0, 0.0))], soft=True, smoothing=0.0)
    assert raw.target == pytest.approx(11 / 12)


def test_one_game_each_says_two_thirds_and_a_tie_one_half() -> None:
    (won,), (tied,) = (list(pairs([fork], soft=True)) for fork in (fork_of((1.0,), (0.0,)), fork_of((1.0,), (1.0,))))
    assert won.target == pytest.approx(2 / 3)
    assert tied.target == 0.5
    # Rounding is no win.
    (close,) = pairs([fork_of((0.1 + 0.2,), (0.3,))], soft=True)
    assert close.target == 0.5
    assert list(pairs([fork_of((1.0,), (1.0,))], soft=True, threshold=0.5)) == []


@pytest.mark.parametrize("bad", [{"threshold": -1.0}, {"smoothing": -1.0}])
def test_negative_settings_of_pairs_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        list(pairs([], **bad))


def test_an_illegal_reply_is_a_reply_that_loses() -> None:
    """A forfeit costs 2, the most there is to lose: it is rejected where it is told from others, and never chosen."""
    agent = Spelling()
    episodes = list(branch(make("KuhnPoker-v0"), (agent, agent), stems=20, width=6, seed=1))
    found = list(pairs(forks(episodes, by="branch")))
    assert sum(pair.rejected.text == "[raise]" for pair in found) > 10
    assert all(pair.chosen.text != "[raise]" for pair in found)


def test_win_rates_are_against_all_other_samples() -> None:
    """Returns 1 and 0 of the first reply, 0 of the second, -1 of the third. The first: 1 beats three; 0 loses to 1,
    ties with 0, beats -1, which is 1.5 of 3. So 4.5 of 6; the second as its 0, 1.5 of 3; the third none."""
    found = list(rated([fork_of((1.0, 0.0), (0.0,), (-1.0,))]))
    assert found == [Rated(said(0), 0.75, 2.0), Rated(said(1), 0.5, 1.0), Rated(said(2), 0.0, 1.0)]


RETURNS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=1, max_size=6).map(tuple)
FORKS = st.lists(RETURNS, min_size=2, max_size=5).map(lambda returns: fork_of(*returns))


@given(FORKS)
def test_win_rates_mean_one_half_and_pairs_miss_none(fork: Fork) -> None:
    ratings = list(rated([fork]))
    assert sum(r.weight for r in ratings) == len(fork.returns)
    assert isclose(sum(r.weight * r.win_rate for r in ratings), len(fork.returns) / 2)
    soft, hard = list(pairs([fork], soft=True)), list(pairs([fork]))
    replies = len(fork.outcomes)
    assert len(soft) == replies * (replies - 1) // 2 >= len(hard)
    assert all(0 < pair.target < 1 for pair in soft)
    mean = {outcome.reply: outcome.mean for outcome in fork.outcomes}
    assert all(mean[pair.chosen] > mean[pair.rejected] for pair in hard)
    counts = {outcome.reply: len(outcome.returns) for outcome in fork.outcomes}
    for pair in soft:
        assert isclose(1 / pair.weight, 1 / counts[pair.chosen] + 1 / counts[pair.rejected])


def test_gaps_are_differences_of_means_in_the_order_of_the_replies() -> None:
    """Two games of 1 and -1, three of 1: weighed as a difference of means of so many is, 2 * 3 / 5."""
    (gap,) = gaps([fork_of((1.0, -1.0), (1.0, 1.0, 1.0))])
    assert (gap.first, gap.second, gap.gap, gap.weight) == (said(0), said(1), -1.0, 1.2)
    again = Fork("g", 0, (Outcome(said(1), (2.0,)), Outcome(said(0), (0.5,))))
    assert list(gaps([again])) == [(said(0), said(1), -1.5, 0.5)]


def test_labels_follow_the_sign_of_the_advantage() -> None:
    samples = [Sample(said(1), 0.5), Sample(said(2), 0.0), Sample(said(3), -0.1)]
    assert list(labelled(samples)) == [Labelled(said(1), True, 1.0), Labelled(said(3), False, 1.0)]


def test_balanced_labels_weigh_as_asked_and_as_much_in_all() -> None:
    """One good, three bad, balance 4/3: the good one weighs 4/7 of 4, the bad ones 3/7 of 4 together."""
    samples = [Sample(said(1), 2.0), *(Sample(said(n), -1.0) for n in (2, 3, 4))]
    weights = [item.weight for item in labelled(samples, balance=4 / 3)]
    assert weights == pytest.approx([16 / 7, 4 / 7, 4 / 7, 4 / 7])
    # Of one kind alone there is nothing to balance.
    assert [item.weight for item in labelled(samples[1:], balance=1.0)] == [1.0] * 3
    with pytest.raises(ValueError, match="balance must be above 0"):
        list(labelled(samples, balance=0.0))


def test_winners_are_imitated_in_their_legal_turns() -> None:
    episodes = [
        game(turn(1, 0), turn(2, 1), turn(3, 0, legal=False), turn(4, 0), rewards=(1.0, -1.0)),
        game(turn(5, 0), turn(6, 1), rewards=(0.0, 0.0)),
        game(turn(7, 0), turn(8, 1), rewards=(-1.0, 1.0)),
    ]
    found = list(winners(episodes))
    assert [(item.reply.ids[0], item.weight) for item in found] == [(1, 1.0), (4, 1.0), (8, 1.0)]
    assert isinstance(found[0], Weighted)
    # A game of other rewards says what it takes to win.
    assert [item.reply.ids[0] for item in winners(episodes, threshold=-0.5)] == [1, 4, 5, 6, 8]
    assert list(winners(episodes, player=1)) == []


def test_spags_turn_weights_by_hand() -> None:
    """Decay 1/2, three turns: 2, 4 and 8 of 14."""
    (episode,) = [game(turn(1, 0), turn(2, 1), turn(3, 0), turn(4, 0), rewards=(1.0, -1.0))]
    assert [item.weight for item in winners([episode], decay=0.5)] == pytest.approx([2 / 14, 4 / 14, 8 / 14])
    assert [item.weight for item in winners([episode], decay=1.0)] == pytest.approx([1 / 3] * 3)
    for decay in (0.0, 1.1):
        with pytest.raises(ValueError, match="decay must lie in"):
            list(winners([episode], decay=decay))


def test_long_games_have_turn_weights_too() -> None:
    """0.8 to the power of -4000 is beyond a float."""
    episode = game(*(turn(1, 0) for _ in range(4000)), rewards=(1.0, -1.0))
    weights = [item.weight for item in winners([episode], decay=0.8)]
    assert sum(weights) == pytest.approx(1.0)
    assert weights[-1] == pytest.approx(0.2)


def test_balanced_roles_weigh_the_same() -> None:
    """Seat 0 won three of four games of g, so 4 / (2 * 3), seat 1 one, so 4 / 2; another game is counted by itself."""
    first, second = game(turn(1, 0), rewards=(1.0, -1.0)), game(turn(2, 1), rewards=(-1.0, 1.0))
    other = game(turn(3, 0), rewards=(1.0, -1.0), name="h")
    found = list(winners([first, second, first, other, first], balance_roles=True))
    assert [item.weight for item in found] == pytest.approx([2 / 3, 2.0, 2 / 3, 0.5, 2 / 3])
    seats = {seat: sum(i.weight for i in found if i.reply.ids == (seat + 1,)) for seat in (0, 1)}
    assert seats[0] == pytest.approx(seats[1])


def test_an_opponents_wins_count_for_no_role() -> None:
    won, lost = game(turn(1, 0), rewards=(1.0, -1.0), seated=(0, 1)), game(rewards=(-1.0, 1.0), seated=(0, 1))
    assert [item.weight for item in winners([won, lost], balance_roles=True)] == [0.5]


def test_of_branched_winners_only_what_follows_the_fork_is_imitated() -> None:
    episode = game(turn(1, 0), turn(2, 0), turn(3, 0), rewards=(1.0, -1.0), fork=(0, 1))
    assert [item.reply.ids[0] for item in winners([episode])] == [2, 3]


def test_spin_pairs_by_hand() -> None:
    shown, own = [said(1), said(2), said(3, prompt=2)], [said(4), said(2), said(5, prompt=2)]
    found = [(p.chosen.ids[0], p.rejected.ids[0]) for p in spin_pairs(shown, own)]
    # Where both say the same there is no pair.
    assert found == [(1, 4), (3, 5)]
    with pytest.raises(ValueError, match="demonstration 0 and the policy's own reply 0 answer different prompts"):
        list(spin_pairs(shown, reversed(own)))
    with pytest.raises(ValueError, match="shorter"):
        list(spin_pairs(shown, own[:2]))


def test_demonstrations_are_said_as_the_agent_would(tiny: LanguageModelAgent) -> None:
    kuhn, teacher = make("KuhnPoker-v0"), ScriptedAgent(lambda p: f"I take [{p.legal[0].upper()}]", name="teacher")
    episodes = list(play(kuhn, (RandomAgent(), teacher), games=12, swap=True))
    moved = [t for e in episodes for t in e.turns if t.player == 1]
    shown = list(demonstrations(tiny, episodes, player=1))
    assert [reply.text for reply in shown] == [f"[{t.move}]" for t in moved]
    for reply, said_by in zip(shown, moved, strict=True):
        assert reply.ids == tiny.encode_move(said_by.move)
        assert said_by.prompt in tiny.tokenizer.decode(reply.prompt_ids)
        assert reply.logprobs == ()


def test_own_replies_answer_the_demonstrations_prompts_as_the_agent_samples(tiny: LanguageModelAgent) -> None:
    kuhn, teacher = make("KuhnPoker-v0"), RandomAgent(name="teacher")
    episodes = list(play(kuhn, (tiny, teacher), games=30, swap=True))
    shown = list(demonstrations(tiny, episodes, player=1))
    own = own_replies(tiny, kuhn, episodes, player=1)
    assert [reply.prompt_ids for reply in own] == [reply.prompt_ids for reply in shown]
    assert all(len(reply.logprobs) == len(reply.ids) > 0 for reply in own)
    found = list(spin_pairs(shown, own))
    assert 0 < len(found) <= len(shown)
    assert own == own_replies(tiny, kuhn, episodes, player=1)
    assert own != own_replies(tiny, kuhn, episodes, player=1, seed=1)
    # At one prompt in several games it draws anew.
    assert len({reply.ids for reply in own if reply.prompt_ids == own[0].prompt_ids}) > 1
    # A game's replies are its own, whatever it is asked along with.
    half = own_replies(tiny, kuhn, episodes[15:], player=1)
    assert [r.ids for r in half] == [r.ids for r in own[-len(half) :]]
    assert own_replies(tiny, kuhn, [], player=1) == []


def test_illegal_replies_demonstrate_nothing(tiny: LanguageModelAgent) -> None:
    kuhn, bad = make("KuhnPoker-v0"), ScriptedAgent(lambda _: "[raise]")
    episodes = list(play(kuhn, (RandomAgent(), bad), games=4))
    assert list(demonstrations(tiny, episodes, player=1)) == []


@pytest.mark.parametrize("speech", ["I agree.", "<think>hm</think> I  agree.", "As I (and you) said"])
def test_free_text_is_said_as_it_was_read(speech: str) -> None:
    """Written in brackets it would teach the model to put its speeches into brackets."""
    agent = tiny_agent(make("KuhnPoker-v0"), hidden=16, layers=1, corpus_games=2, max_new_tokens=40)
    move = " ".join(speech.split("</think>")[-1].split())
    spoken = Turn(seat=0, player=1, prompt="?", reply=Reply(text=speech), move=move, problem=None, spoken=True)
    said = as_said_by(agent, spoken)
    assert said.text == move
    assert agent.tokenizer.decode(said.ids[:-1]) == move
    assert said.ids[-1] in agent.eos
    assert said.prompt_ids == agent.encode((Message("user", "?"),))


def test_an_illegal_turn_has_nothing_to_say(tiny: LanguageModelAgent) -> None:
    turn = Turn(seat=0, player=1, prompt="?", reply=Reply(text="[x]"), move=None, problem=Problem.ILLEGAL_MOVE)
    with pytest.raises(ValueError, match="was illegal"):
        as_said_by(tiny, turn)


@pytest.mark.parametrize("make_items", [rated, pairs, labelled, winners], ids=lambda f: f.__name__)
def test_nothing_comes_of_nothing(make_items: Callable[[list[object]], list[object]]) -> None:
    assert list(make_items([])) == []
