"""The Gymnasium and PettingZoo views: what the libraries' own checkers say, and what users rely on."""

import copy
import pickle
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pettingzoo
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, seed_test
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

from sparring.envs import Ending, Match, Problem, Reply, TextGameEnv, aec_env, list_games, make
from sparring.envs.check_cases import moves_of
from sparring.envs.text_space import AnyText

KUHN = "KuhnPoker-v0"
LISTED = [id for id in list_games() if make(id).legal(make(id).deal(np.random.default_rng(0))) is not None]


class Keyed:
    """Plays a legal move picked by the prompt's noise, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def reply(self, prompts):
        self.asked += prompts
        moves = [p.legal or p.speeches or ("words",) for p in prompts]
        return [Reply(text=f"[{m[p.noise % len(m)]}]") for m, p in zip(moves, prompts, strict=True)]


class Says:
    """Always says the same."""

    def __init__(self, text):
        self.text = text

    def reply(self, prompts):
        return [Reply(text=self.text) for _ in prompts]


def legal_game(env, seed, pick=0):
    """Play one game of legal moves; return every step's result, the reset's first."""
    results = [env.reset(seed=seed)]
    while True:
        info = results[-1][-1]
        results.append(env.step(f"[{info['legal_actions'][pick % len(info['legal_actions'])]}]"))
        if results[-1][2] or results[-1][3]:
            return results


# Gymnasium


@pytest.mark.parametrize("id", list_games())
@pytest.mark.parametrize("settings", [{}, {"opponent": Keyed()}, {"opponent": Keyed(), "seat": 1, "retries": 1}])
def test_gymnasium_finds_no_fault(id, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"sparring/{id}", **settings).unwrapped)


@pytest.mark.parametrize("id", list_games())
def test_every_game_can_be_made_by_either_id(id):
    for name in (f"sparring/{id}", f"sparring.envs:sparring/{id}"):
        settings = {"skin": make(id).skins[-1]} if len(make(id).skins) > 1 else {}
        observation, info = gymnasium.make(name, **settings).reset(seed=1)
        assert observation == Match(make(id, **settings), np.random.default_rng(1)).prompt
        assert info["legal_actions"] != ()


def test_both_seats_take_turns_and_each_gets_its_own_reward():
    env = TextGameEnv(KUHN)
    observation, info = env.reset(seed=1)
    assert (info["seat"], info["mover"], info["legal_actions"]) == (0, -1, ("check", "bet"))
    assert "You are player 0" in observation
    observation, reward, terminated, truncated, info = env.step("<think>high?</think>[bet]")
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert (info["seat"], info["mover"], info["move"], info["turns"]) == (1, 0, "bet", 1)
    assert observation == env.match.prompt
    observation, reward, terminated, truncated, info = env.step("[fold]")
    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert (info["rewards"], info["ending"], info["offender"]) == ((1.0, -1.0), Ending.PLAYED, -1)
    assert (info["seat"], info["legal_actions"]) == (1, ())
    assert observation.endswith("The game is over. Your reward: -1.")


def test_an_illegal_reply_is_reported_and_forfeits():
    env = TextGameEnv(KUHN)
    env.reset(seed=1)
    _, reward, terminated, truncated, info = env.step("[raise]")
    assert (reward, terminated, truncated) == (-2.0, True, False)
    assert (info["ending"], info["offender"], info["illegal"]) == (Ending.ILLEGAL, 0, (1, 0))
    assert (info["move"], info["problem"]) == (None, Problem.ILLEGAL_MOVE)
    assert info["detail"] == "'raise' is not a legal move now."


def test_retries_keep_the_seat_and_say_what_was_wrong():
    env = TextGameEnv(KUHN, retries=1)
    env.reset(seed=1)
    observation, reward, terminated, _, info = env.step(7)
    assert (reward, terminated, info["seat"], info["mover"], info["illegal"]) == (0.0, False, 0, 0, (1, 0))
    assert observation.startswith("Your reply was not text. Tries left: 1.")


def test_the_turn_limit_truncates():
    game = make(KUHN)
    game.max_turns = 1
    env = TextGameEnv(game)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("[check]")
    assert (reward, terminated, truncated, info["ending"]) == (0.0, False, True, Ending.TRUNCATED)


@pytest.mark.parametrize("seat", [0, 1])
def test_against_an_opponent_one_sees_and_earns_only_one_seat(seat):
    opponent = Keyed()
    env = TextGameEnv(KUHN, opponent=opponent, seat=seat)
    for seed in range(20):
        results = legal_game(env, seed)
        for observation, *_, info in results:
            assert f"You are player {seat}" in observation
            assert info["seat"] == seat
            assert info["mover"] in (seat, -1)
        _, reward, *_, info = results[-1]
        assert reward == info["rewards"][seat] != 0
    assert {prompt.seat for prompt in opponent.asked} == {1 - seat}


def test_seat_none_draws_both_seats_from_the_seed():
    def seats():
        env = TextGameEnv(KUHN, opponent=Keyed())
        return [env.reset(seed=s)[1]["seat"] for s in range(20)] + [env.reset()[1]["seat"] for _ in range(20)]

    drawn = seats()
    assert drawn == seats()
    assert set(drawn[:20]) == set(drawn[20:]) == {0, 1}


@pytest.mark.parametrize("words", ["[raise]", "", None, 7, "x" * 10**6])
def test_the_opponents_illegal_reply_is_its_own_loss(words):
    env = TextGameEnv(KUHN, opponent=Says(words), seat=0)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("[check]")
    assert (reward, terminated, info["offender"], info["illegal"]) == (2.0, True, 1, (0, 1))
    # What it said is its own business.
    assert (info["move"], info["problem"]) == ("check", None)


def test_the_opponent_has_the_same_retries():
    env = TextGameEnv(KUHN, opponent=Says("[raise]"), seat=0, retries=3)
    env.reset(seed=0)
    assert env.step("[check]")[-1]["illegal"] == (0, 4)


def test_a_game_that_the_opponent_ends_inside_reset_is_told_by_the_first_step():
    env = TextGameEnv(KUHN, opponent=Says("nonsense"), seat=1)
    _, info = env.reset(seed=0)
    assert (info["ending"], info["offender"], info["legal_actions"]) == (Ending.ILLEGAL, 0, ())
    _, reward, terminated, truncated, info = env.step("whatever")
    assert (reward, terminated, truncated, info["mover"], info["illegal"]) == (2.0, True, False, 1, (1, 0))
    with pytest.raises(RuntimeError, match="over"):
        env.step("[check]")


def test_the_opponents_noise_is_its_own_at_every_question():
    opponent = Keyed()
    env = TextGameEnv("LeducPoker-v0", opponent=opponent)
    for seed in range(30):
        legal_game(env, seed)
    assert len({prompt.noise for prompt in opponent.asked}) == len(opponent.asked)


@pytest.mark.parametrize("settings", [{}, {"opponent": Keyed(), "seat": 0}])
def test_a_finished_environment_raises_and_stays_as_it_is(settings):
    env = TextGameEnv(KUHN, **settings)
    legal_game(env, 3)
    before = (env.match.state, env.match.rewards, env.match.turns, env.match.ending, env.match.illegal)
    for action in ("[check]", None):
        with pytest.raises(RuntimeError, match="over"):
            env.step(action)
    assert (
        env.match.state,
        env.match.rewards,
        env.match.turns,
        env.match.ending,
        env.match.illegal,
    ) == before


def test_stepping_before_reset_is_refused():
    with pytest.raises(ResetNeeded, match="reset"):
        TextGameEnv(KUHN).step("[check]")
    with pytest.raises(RuntimeError, match="reset"):
        aec_env(KUHN).step("[check]")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seat": 2, "opponent": Keyed()}, "seat must be 0, 1 or None"),
        ({"seat": 0}, "give both or neither"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"opponent": "random"}, r"opponent must have reply\(prompts\)"),
        ({"skn": "plain"}, "Did you mean 'skin'"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TextGameEnv(KUHN, **settings)


def test_settings_go_with_a_name_only():
    with pytest.raises(TypeError, match="skin: settings go with a game's name"):
        TextGameEnv(make(KUHN), skin="plain")


@pytest.mark.parametrize("id", list_games())
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_environments_pickle_and_copy_in_mid_game(id, clone):
    env = TextGameEnv(id, opponent=Keyed(), seat=0)
    env.reset(seed=4)
    env.step(f"[{moves_of(env.match.game, env.match.state)[-1]}]")
    twin = clone(env)
    if env.match.ending is None:
        action = f"[{moves_of(env.match.game, env.match.state)[0]}]"
        assert twin.step(action) == env.step(action)
    assert twin.reset() == env.reset()


@pytest.mark.parametrize("id", LISTED)
def test_vector_environments_agree_with_single_ones(id):
    def build():
        return TextGameEnv(id, opponent=Keyed(), seat=0)

    single = [legal_game(build(), seed) for seed in (7, 8, 9)]
    for kind, settings in (
        (gymnasium.vector.SyncVectorEnv, {}),
        (gymnasium.vector.AsyncVectorEnv, {"shared_memory": False}),
    ):
        envs = kind([build] * 3, **settings)
        observations, infos = envs.reset(seed=7)
        assert observations == tuple(game[0][0] for game in single)
        for step in range(1, min(map(len, single))):
            actions = tuple(f"[{legal[0]}]" for legal in infos["legal_actions"])
            observations, rewards, terminated, _, infos = envs.step(actions)
            expected = [game[step] for game in single]
            assert observations == tuple(e[0] for e in expected)
            assert rewards.tolist() == [e[1] for e in expected]
            assert terminated.tolist() == [e[2] for e in expected]
            assert infos["illegal"].tolist() == [e[4]["illegal"] for e in expected]
        envs.close()


def test_vector_environments_take_endings_of_every_kind_together():
    envs = gymnasium.vector.SyncVectorEnv([lambda: TextGameEnv(KUHN)] * 3)
    envs.reset(seed=0)
    *_, infos = envs.step(("[check]", "nonsense", "[bet]"))
    assert infos["offender"].tolist() == [-1, 0, -1]
    assert infos["ending"].tolist() == [None, Ending.ILLEGAL, None]
    envs.step(("[check]", "ignored: this one resets", "[fold]"))
    *_, infos = envs.step(("[check]",) * 3)
    envs.close()


def test_shared_memory_is_refused_with_the_remedy():
    """Gymnasium 1.4 would return the text of an empty buffer for ever."""
    with pytest.raises(ValueError, match="shared_memory=False"):
        gymnasium.vector.AsyncVectorEnv([lambda: TextGameEnv(KUHN)], shared_memory=True)


def test_rendering_shows_both_seats():
    env = TextGameEnv(KUHN, render_mode="ansi")
    env.reset(seed=1)
    assert "You are player 0" in env.render()
    assert "You are player 1" in env.render()
    assert TextGameEnv(KUHN).render() is None


def test_importing_the_games_imports_nothing_heavy():
    code = "import sys, sparring.envs; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "sparring.envs.gym_view" in loaded
    assert not {"torch", "transformers", "scipy", "matplotlib", "pyspiel", "sparring.agents"} & set(loaded)


# The space


def test_any_text_holds_any_text_up_to_its_length():
    space = AnyText(8)
    assert all(text in space for text in ("", "a" * 8, "\u4f60\u597d", "\ud800\x00\u202e"))
    assert all(thing not in space for thing in ("a" * 9, b"a", None, 3, ["a"]))


def test_any_text_samples_legal_moves_from_a_mask_and_gibberish_without():
    space = AnyText(8000, seed=1)
    assert {space.sample(("low", "high")) for _ in range(40)} == {"[low]", "[high]"}
    assert {space.sample(("low", "high"), [1.0, 0.0]) for _ in range(20)} == {"[low]"}
    assert space.sample(()) == ""
    assert max(len(space.sample()) for _ in range(50)) <= 64
    with pytest.raises(TypeError, match="legal_actions"):
        space.sample((3, None))


def test_any_text_samples_are_seeded():
    first, second = AnyText(99, seed=3), AnyText(99, seed=3)
    assert [first.sample() for _ in range(5)] == [second.sample() for _ in range(5)]
    assert pickle.loads(pickle.dumps(first)) == first != AnyText(98)


# PettingZoo


def pettingzoo_env(id):
    return pettingzoo.make("aec", f"sparring/{id}")


@pytest.mark.filterwarnings("ignore:Observation:UserWarning", "ignore:Action space:UserWarning")
@pytest.mark.parametrize("id", list_games())
def test_pettingzoo_finds_no_fault(id, capsys):
    api_test(pettingzoo_env(id), num_cycles=50)
    seed_test(lambda: pettingzoo_env(id), num_cycles=50)


@pytest.mark.filterwarnings("ignore:Observation:UserWarning", "ignore:Action space:UserWarning")
def test_the_pettingzoo_view_converts_to_parallel(capsys):
    parallel_api_test(turn_based_aec_to_parallel(pettingzoo_env(KUHN)), num_cycles=30)


@pytest.mark.parametrize("id", list_games())
@pytest.mark.parametrize("seed", range(3))
def test_the_views_and_the_match_tell_one_story(id, seed):
    """The same seed and replies: prompts, rewards and endings agree in all three, over two games in a row."""
    single, pair = TextGameEnv(id, retries=1), aec_env(id, retries=1)
    rng = np.random.default_rng(seed)
    for start in (seed, None):
        observation, info = single.reset(seed=start)
        pair.reset(seed=start)
        while info["ending"] is None:
            agent = pair.agent_selection
            assert pair.observe(agent) == {"text": observation}
            assert pair.infos[agent]["legal_actions"] == info["legal_actions"]
            reply = (
                "nonsense" if rng.random() < 0.2 else f"[{rng.choice(moves_of(single.match.game, single.match.state))}]"
            )
            observation, _, terminated, truncated, info = single.step(reply)
            pair.step(reply)
            assert tuple(pair.rewards.values()) == info["rewards"]
            assert set(pair.terminations.values()) == {terminated}
            assert set(pair.truncations.values()) == {truncated}
            assert pair.infos[agent]["problem"] == info["problem"]
            assert {i["illegal"] for i in pair.infos.values()} == {info["illegal"]}


def test_pettingzoo_agents_leave_with_none_and_then_nothing_moves():
    env = aec_env(KUHN)
    env.reset(seed=1)
    totals = {}
    for agent in env.agent_iter():
        _, reward, terminated, truncated, info = env.last()
        if terminated or truncated:
            totals[agent] = reward
            with pytest.raises(ValueError, match="None"):
                env.step("[check]")
        env.step(None if terminated or truncated else f"[{info['legal_actions'][0]}]")
    assert set(totals) == {"seat_0", "seat_1"}
    assert abs(totals["seat_0"]) == 1.0
    assert sum(totals.values()) == 0.0
    with pytest.raises(RuntimeError, match="over"):
        env.step(None)


def test_pettingzoo_tells_a_seat_only_how_its_own_reply_was_read():
    env = aec_env("Goofspiel-v0")
    env.reset(seed=1)
    env.step("[3]")
    assert env.infos["seat_0"]["move"] == "3"
    assert env.infos["seat_1"]["move"] is None
    assert env.infos["seat_0"]["legal_actions"] == ()
    assert env.observe("seat_0")["text"].endswith("It is the other seat's turn.")


def test_pettingzoo_environments_pickle_and_copy():
    env = aec_env(KUHN)
    env.reset(seed=2)
    env.step("[bet]")
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        twin.step("[call]")
        assert abs(twin.rewards["seat_0"]) == 2.0
    assert env.match.ending is None
