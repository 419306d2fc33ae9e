"""The same seed is the same game: beside other games, other users of the global generators, other hash seeds."""

import hashlib
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from sparring.envs import Match, Reply, TextGameEnv, list_games, make
from sparring.envs.check_cases import moves_of


def one_game(id, skin, seed):
    """Return the whole transcript of one game of random replies, some of them illegal."""
    rng = np.random.default_rng([seed, 1])
    match = Match(make(id, skin=skin), np.random.default_rng(seed), retries=1)
    lines = []
    while match.ending is None:
        reply = "nonsense" if rng.random() < 0.1 else f"[{rng.choice(moves_of(match.game, match.state))}]"
        lines += [match.prompt, reply, repr(match.step(reply))]
    return "\n".join([*lines, repr(match.state), repr(match.rewards)])


def digests():
    """Return a hash of each of many games."""
    return [
        hashlib.sha256(one_game(id, skin, seed).encode()).hexdigest()
        for id in list_games()
        for skin in make(id).skins
        for seed in range(5)
    ]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_hash_seeds_change_nothing(hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == digests()


def test_other_seeds_are_other_games():
    """Otherwise equal digests would mean nothing. Small games may well repeat: a deal of Kuhn poker is one of six."""
    assert len(set(digests())) > 0.8 * len(digests())


class Uniform:
    """Plays by the noise of its prompts."""

    def reply(self, prompts):
        moves = [p.legal or p.speeches or ("words",) for p in prompts]
        return [Reply(text=f"[{m[p.noise % len(m)]}]") for m, p in zip(moves, prompts, strict=True)]


def disturb():
    """Draw from and seed every global generator, and play another game meanwhile."""
    random.seed(random.random())
    np.random.seed(int(np.random.randint(1000)))  # noqa: NPY002
    other = TextGameEnv("LeducPoker-v0", opponent=Uniform())
    _, info = other.reset(seed=random.randrange(100))
    other.step(f"[{random.choice(info['legal_actions'])}]" if info["legal_actions"] else "")


def transcript(env, seed, between):
    """Three games in a row, only the first of them seeded."""
    rng = np.random.default_rng(seed)
    lines = []
    for start in (seed, None, None):
        observation, info = env.reset(seed=start)
        lines.append((observation, info))
        done = False
        while not done:
            between()
            match = env.match
            action = f"[{rng.choice(moves_of(match.game, match.state))}]" if match.ending is None else "x"
            *result, info = env.step(action)
            lines.append((result, info))
            done = result[2] or result[3]
    return lines


@pytest.mark.parametrize("id", list_games())
@pytest.mark.parametrize("opponent", [None, Uniform()])
def test_interleaving_changes_nothing(id, opponent):
    quiet = transcript(TextGameEnv(id, opponent=opponent), 5, lambda: None)
    assert transcript(TextGameEnv(id, opponent=opponent), 5, disturb) == quiet


@pytest.mark.parametrize("id", list_games())
def test_games_leave_the_global_generators_alone(id):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    transcript(TextGameEnv(id, opponent=Uniform()), 2, lambda: None)
    assert random.random() == random.Random(1).random()
    assert np.random.random() == np.random.RandomState(1).random()  # noqa: NPY002


@pytest.mark.parametrize("id", list_games())
def test_a_used_environment_deals_as_a_fresh_one(id):
    """The same seed six times on one environment, games in between: one transcript."""
    env = TextGameEnv(id)
    first = transcript(env, 1, lambda: None)
    assert all(transcript(env, 1, lambda: None) == first for _ in range(5))
    assert transcript(TextGameEnv(make(id)), 1, lambda: None) == first


def test_an_opponent_does_not_shift_later_deals():
    alone, paired = TextGameEnv("LeducPoker-v0"), TextGameEnv("LeducPoker-v0", opponent=Uniform())
    for start in (3, None, None, None):
        alone.reset(seed=start)
        paired.reset(seed=start)
        assert alone.match.state.cards == paired.match.state.cards


if __name__ == "__main__":  # by itself: what test_hash_seeds_change_nothing compares
    print(*digests())
