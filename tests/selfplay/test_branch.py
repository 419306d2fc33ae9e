"""Branched play: what branches share, where they part, the same whatever is in flight, outcomes as computed."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import count, groupby
from math import sqrt

import numpy as np
import pytest

from sparring.agents import Agent, LanguageModelAgent, Prompt, RandomAgent, Reply, ScriptedAgent, tiny_agent
from sparring.envs import Ending, Match, make
from sparring.envs.kuhn import KuhnPoker, KuhnState
from sparring.selfplay import Episode, play
from sparring.selfplay.branch import branch


@pytest.fixture(scope="module")
def tiny() -> LanguageModelAgent:
    return tiny_agent(make("KuhnPoker-v0"), hidden=16, corpus_games=20)


class Counting(RandomAgent):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        self.calls.append(len(prompts))
        return super().reply(prompts)


def by_stem(episodes: list[Episode]) -> dict[int, list[Episode]]:
    return {stem: list(group) for stem, group in groupby(episodes, lambda e: e.fork[0])}


@pytest.mark.parametrize("name", ["KuhnPoker-v0", "TicTacToe-v0", "LeducPoker-v0"])
def test_branches_share_the_deal_and_every_turn_before_the_fork(name: str) -> None:
    game, agent = make(name), RandomAgent()
    stems = list(play(game, (agent, agent), games=25, seed=3))
    branches = by_stem(list(branch(game, (agent, agent), stems=25, width=3, rollouts=2, seed=3)))
    assert list(branches) == [stem.index for stem in stems]
    for stem in stems:
        assert len(branches[stem.index]) == 6
        assert len({episode.fork for episode in branches[stem.index]}) == 1
        for episode in branches[stem.index]:
            at = episode.fork[1]
            assert episode.turns[:at] == stem.turns[:at]
            assert episode.turns[at].prompt == stem.turns[at].prompt
            match = Match(game, np.random.Generator(np.random.Philox(key=[3, stem.index])))
            for turn in episode.turns:
                assert match.prompt == turn.prompt
                match.step(turn.reply.text)
            assert (match.ending, match.rewards) == (episode.ending, episode.rewards)


def test_rollouts_share_the_candidate_and_part_after_it() -> None:
    game, agent = make("TicTacToe-v0"), RandomAgent()
    episodes = list(branch(game, (agent, agent), stems=20, width=3, rollouts=4, first=5))
    assert [e.index for e in episodes] == list(range(5 * 12, 25 * 12))
    same_after = different_candidates = 0
    for stem, group in by_stem(episodes).items():
        candidates = [group[i : i + 4] for i in range(0, 12, 4)]
        assert [e.index // 12 for e in group] == [stem] * 12
        for rollouts in candidates:
            at = rollouts[0].fork[1]
            assert len({e.turns[at] for e in rollouts}) == 1
            same_after += len({e.turns for e in rollouts}) == 1
        different_candidates += len({rollouts[0].turns[at].move for rollouts in candidates}) > 1
    # Only where one square is left, or the reply ends the game, can nothing part.
    assert same_after < 30
    assert different_candidates > 10


def test_every_turn_of_a_stem_is_as_likely_to_be_its_fork() -> None:
    """Nine turns, 900 stems: 100 forks a turn are expected, sd 9.4. Five sd on any side: false alarm below 1e-5."""
    draw = dict(zip("012345678", "142357698", strict=True))

    def answer(prompt: Prompt) -> str:
        return f"[{draw[str(9 - len(prompt.legal or ()))]}]"

    game, agent = make("TicTacToe-v0"), ScriptedAgent(answer)
    episodes = list(branch(game, (agent, agent), stems=900, width=1))
    assert {len(e.turns) for e in episodes} == {9}
    forks = Counter(e.fork[1] for e in episodes)
    assert sorted(forks) == list(range(9))
    assert all(abs(n - 100) < 47 for n in forks.values())


@pytest.mark.parametrize("in_flight", [1, 7, 1000])
def test_a_seed_gives_the_same_branches_whatever_is_in_flight(tiny: LanguageModelAgent, in_flight: int) -> None:
    def played(agent: Agent, name: str, in_flight: int) -> list[tuple[object, ...]]:
        agents = agent, agent
        episodes = branch(make(name), agents, stems=12, width=3, rollouts=2, seed=5, in_flight=in_flight, retries=1)
        return [(e.fork, e.record()) for e in episodes]

    for agent, name in ((tiny, "KuhnPoker-v0"), (RandomAgent(), "LeducPoker-v0")):
        assert played(agent, name, in_flight) == played(agent, name, 33)


def test_branches_can_be_played_in_parts_and_seeds_differ() -> None:
    game, agents = make("LeducPoker-v0"), (RandomAgent(), RandomAgent())

    def played(stems: int, first: int, seed: int) -> list[dict[str, object]]:
        return [e.record() for e in branch(game, agents, stems=stems, width=2, first=first, seed=seed, swap=True)]

    whole = played(15, 0, 1)
    assert [e for first in (0, 5, 10) for e in played(5, first, 1)] == whole
    assert played(15, 0, 2) != whole


def test_the_candidates_of_all_stems_are_asked_in_one_call() -> None:
    game, agent = make("KuhnPoker-v0"), Counting()
    waves = max(len(e.turns) for e in play(game, (RandomAgent(), RandomAgent()), games=40))
    list(branch(game, (agent, agent), stems=40, width=6, rollouts=3))
    assert agent.calls[waves] == 40 * 6
    assert all(calls <= 40 * 6 * 3 for calls in agent.calls)


def test_no_more_games_are_asked_for_at_once_than_may_be_in_flight() -> None:
    agent = Counting()
    list(branch(make("KuhnPoker-v0"), (agent, agent), stems=10, width=6, rollouts=3, in_flight=8))
    assert max(agent.calls) == 8


def test_only_the_learner_forks_and_it_meets_the_opponent_of_its_stem() -> None:
    asked: list[int] = []

    def opponent(index: int) -> RandomAgent:
        asked.append(index)
        return RandomAgent(name=f"opponent {index}")

    learner = RandomAgent(name="learner")
    episodes = list(branch(make("LeducPoker-v0"), (learner, opponent), stems=20, width=2, rollouts=2, swap=True))
    assert asked == list(range(20))
    assert {e.seated for e in episodes} == {(0, 1), (1, 0)}
    for episode in episodes:
        stem, at = episode.fork
        seat = stem % 2
        assert episode.players[seat] == "learner"
        assert episode.players[1 - seat] == f"opponent {stem}"
        assert (episode.turns[at].player, episode.turns[at].seat) == (0, seat)


def test_a_stem_without_a_turn_of_the_learner_yields_nothing() -> None:
    silent = ScriptedAgent(lambda _: "what?")
    episodes = list(branch(make("KuhnPoker-v0"), (RandomAgent(), silent), stems=10, width=2, swap=True))
    # In odd games the opponent moves first and forfeits.
    assert sorted({e.fork[0] for e in episodes}) == [0, 2, 4, 6, 8]


def test_an_illegal_candidate_forfeits_in_each_of_its_rollouts() -> None:
    agent = ScriptedAgent(lambda _: "what?")
    episodes = list(branch(make("KuhnPoker-v0"), (agent, agent), stems=2, width=1, rollouts=3))
    assert [(e.ending, e.offender, e.fork[1]) for e in episodes] == [(Ending.ILLEGAL, 0, 0)] * 6


def test_replies_that_were_taken_back_are_replayed() -> None:
    stubborn = ScriptedAgent(lambda prompt: "[check]" if "Tries left" in prompt.text else "what?")
    calm = ScriptedAgent(lambda _: "[check]")
    episodes = list(branch(make("KuhnPoker-v0"), (stubborn, calm), stems=20, width=1, retries=1))
    assert {e.fork[1] for e in episodes} == {0, 1}
    assert all([turn.move for turn in e.turns] == [None, "check", "check"] for e in episodes)
    assert all("Tries left" in e.turns[1].prompt for e in episodes)


def test_mean_outcomes_are_the_exact_values_of_random_play() -> None:
    """Each return less its exact expectation, given the dealt state and the reply, is of mean 0 and known variance.

    The sum over 3000 branches in its sd is a standard normal: beyond 4.5 once in 150,000 seeds. So are the replies."""
    game, agent = make("KuhnPoker-v0"), RandomAgent()

    @cache
    def moments(state: KuhnState, seat: int) -> tuple[float, float]:
        """Return the mean and the mean square of a seat's reward when all moves are equally likely."""
        if game.seat(state) is None:
            reward = game.rewards(state)[seat]
            return reward, reward**2
        after = [moments(game.play(state, move), seat) for move in game.legal(state)]
        return sum(m for m, _ in after) / len(after), sum(s for _, s in after) / len(after)

    gap, variance, bets = 0.0, 0.0, 0
    episodes = list(branch(game, (agent, agent), stems=1500, width=2, seed=8))
    for episode in episodes:
        stem, at = episode.fork
        state = game.deal(np.random.Generator(np.random.Philox(key=[8, stem])))
        for turn in episode.turns[: at + 1]:
            state = game.play(state, turn.move)
        seat = episode.turns[at].seat
        mean, square = moments(state, seat)
        gap += episode.rewards[seat] - mean
        variance += square - mean**2
        bets += episode.turns[at].move in ("bet", "call")
    assert len(episodes) == 3000
    assert abs(gap) < 4.5 * sqrt(variance)
    # Half of the replies at the fork, each drawn anew: sd sqrt(3000) / 2.
    assert abs(bets - 1500) < 4.5 * sqrt(3000) / 2


@pytest.mark.parametrize("counts", [{"width": 0}, {"width": 2, "rollouts": 0}])
def test_counts_below_one_are_refused(counts: dict[str, int]) -> None:
    agent = RandomAgent()
    with pytest.raises(ValueError, match="width and rollouts must be 1 or more"):
        next(branch(make("KuhnPoker-v0"), (agent, agent), stems=1, **counts))


def test_a_game_whose_transitions_are_not_pure_is_found_out() -> None:
    times = count()

    class Drifting(KuhnPoker):
        def observation(self, state: KuhnState, seat: int) -> str:
            return f"{super().observation(state, seat)} {next(times)}"

    agent = RandomAgent()
    with pytest.raises(RuntimeError, match="all chance must be in deal"):
        list(branch(Drifting(), (agent, agent), stems=3, width=2))
