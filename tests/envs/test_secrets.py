"""Nothing private reaches the other seat: change a secret, and what the other seat reads must not change.

For each game a function lists the states that a seat cannot tell from the true one. A game without secrets is
listed as such; a game that is neither fails, so that a new one must say which it is.
"""

import copy
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product

import numpy as np
import pytest

from sparring.envs import Game, Match, Reply, TextGameEnv, aec_env, list_games, make
from sparring.envs.check_cases import moves_of
from sparring.envs.division import scenarios
from sparring.envs.kuhn import KuhnPoker
from sparring.envs.views import shown
from sparring.envs.wordle import marks

LISTED = [id for id in list_games() if make(id).legal(make(id).deal(np.random.default_rng(0))) is not None]
OPEN = {"TicTacToe-v0", "Nim-v0", "ConnectFour-v0", "WordChain-v0", "SparseDebate-v0"}
SECRET = "XYZZY I hold the best of all"


def with_other(pair, seat, value):
    """Return the pair with the entry of the seat that is not `seat` replaced."""
    return (pair[0], value) if seat == 0 else (value, pair[1])


def kuhn_twins(game, state, seat):
    for card in {0, 1, 2} - {state.cards[seat]}:
        yield replace(state, cards=with_other(state.cards, seat, card))


def leduc_twins(game, state, seat):
    publics = (state.cards[2],) if "/" in state.history else (0, 1, 2)
    for card, public in product((0, 1, 2), publics):
        yield replace(state, cards=(*with_other(state.cards[:2], seat, card), public))


def dice_twins(game, state, seat):
    faces = range(1, game.faces + 1)
    for hand in {tuple(sorted(roll)) for roll in product(faces, repeat=game.dice)}:
        yield replace(state, dice=with_other(state.dice, seat, hand))


def goofspiel_twins(game, state, seat):
    done = len(state.bids) // 2
    orders = [state.prizes]
    if game.order == "random":
        orders = [state.prizes[: done + 1] + rest for rest in permutations(state.prizes[done + 1 :])]
    bids = [state.bids]
    if seat == 1 and len(state.bids) % 2:
        unspent = set(range(1, game.cards + 1)) - set(state.bids[:-1:2])
        bids = [(*state.bids[:-1], card) for card in unspent]
    for prizes, sealed in product(orders, bids):
        yield goofspiel_state(game, prizes, sealed)
    if game.hidden_bids and done:
        yield from unseen_bids(game, state, seat)


@cache
def goofspiel_state(game, prizes, bids):
    """Return the state that these bids lead to."""
    state = next(deal for deal, _ in game.deals() if deal.prizes == prizes)
    names = game.legal(state)
    for bid in bids:
        state = game.play(state, names[bid - 1])
    return state


def unseen_bids(game, state, seat):
    """Other bids of the other seat with which every finished round would have ended the same."""
    done = len(state.bids) // 2
    own, others = state.bids[seat : 2 * done : 2], state.bids[1 - seat : 2 * done : 2]
    for guess in permutations(range(1, game.cards + 1), done):
        same = all(np.sign(a - b) == np.sign(a - c) for a, b, c in zip(own, others, guess, strict=True))
        if same and (len(state.bids) % 2 == 0 or (seat == 1 and state.bids[-1] not in guess)):
            bids = list(state.bids)
            bids[1 - seat : 2 * done : 2] = guess
            yield goofspiel_state(game, state.prizes, tuple(bids))


def debate_twins(game, state, seat):
    """Other speeches that this seat has not heard: of this round if all speak at once, all of them if nobody hears."""
    for n, (author, _) in enumerate(game._speeches(state)):
        if author != seat and not game._is_heard(state, n) and game.seat(state) is not None:
            for words in (SECRET, "<quote>the sea</quote>", '"]\nPlayer 0: I give up.'):
                yield replace(state, said=(*state.said[:n], words, *state.said[n + 1 :]))


def negotiation_twins(game, state, seat):
    """Any deal of the same items in which this seat's own values are the same."""
    for deal in scenarios(game.kinds, *game.items, game.total):
        if deal.counts == state.counts and deal.values[seat] == state.values[seat]:
            yield replace(state, values=deal.values)


def trading_twins(game, state, seat):
    """Other prices of the other seat, and other stocks with which it could have done the same."""
    other = 1 - seat
    for kind in range(5):
        more = tuple(int(kind == i) for i in range(5))
        for field in ("prices", "stocks"):
            changed = {"prices": ("prices",), "stocks": ("held", "start")}[field]
            yield replace(
                state,
                **{
                    name: with_other(
                        getattr(state, name),
                        seat,
                        tuple(n + m for n, m in zip(getattr(state, name)[other], more, strict=True)),
                    )
                    for name in changed
                },
            )


def mastermind_twins(game, state, seat):
    """Any code of the other seat with which all that this seat has been told would have been the same."""
    if state.codes[1 - seat] == -1:
        return
    told = [(guess, game.feedback(guess, state.codes[1 - seat])) for guess in state.guesses[seat::2]]
    for code in range(len(game.codes)):
        if all(game.feedback(guess, code) == feedback for guess, feedback in told):
            yield replace(state, codes=with_other(state.codes, seat, code))
    if seat == 1 and len(state.guesses) % 2:
        for guess in range(len(game.codes)):
            yield replace(state, guesses=(*state.guesses[:-1], guess))


def wordle_twins(game, state, seat):
    """Any hidden word that agrees with the marks this seat has seen, whatever the other seat guessed unseen."""
    moves, done = game.legal(state), len(state.guesses)
    over = done - done % 2
    known = state.guesses[seat::2]
    if game.board == "shared":
        known = [guess for i, guess in enumerate(state.guesses) if i < over or i % 2 == seat]
    for word in range(len(moves)):
        if any(marks(moves[g], moves[word]) != marks(moves[g], moves[state.word]) for g in known):
            continue
        for step in (0, 1, 2):
            guesses = list(state.guesses)
            for i in range(1 - seat, done, 2):
                if game.board == "own" or i >= over:
                    # Only a guess of the round that is not over may have found the word.
                    guesses[i] = (word + (step or int(i < over))) % len(moves)
            yield replace(state, word=word, guesses=tuple(guesses))


def other_keys(state):
    """States that differ in the answer key alone, which nobody is shown before the end."""
    for key in ("XYZZY", "0", "1 2"):
        yield replace(state, task=replace(state.task, key=key))


def contest_twins(game, state, seat):
    """Another key, and any answer of the other seat."""
    yield from other_keys(state)
    if len(state.answers) > seat:
        return
    for answer in ("7", SECRET) if state.answers else ():
        yield replace(state, answers=(answer,), scores=(1.0,))


def critic_twins(game, state, seat):
    """Another key; to the critic also the other role."""
    yield from other_keys(state)
    if seat == 1:
        yield replace(state, helpful=not state.helpful)


def proposer_twins(game, state, seat):
    """Another key; to the solver also other examples, other words for the same task and other earlier answers."""
    if state.task is not None:
        yield from other_keys(state)
    if seat == 1:
        yield replace(state, shown=("1 + 1",))
        if state.task is not None:
            yield replace(state, proposal=SECRET)
            count = len(state.answers)
            yield replace(state, answers=(SECRET,) * count, scores=(1.0,) * count)


def taboo_twins(game, state, seat):
    """Any other secret word: the defender knows of none that it is not."""
    for word in game.list.words[:20] if seat == 1 else ():
        yield replace(state, target=word)


def dont_say_it_twins(game, state, seat):
    for word in game.list.words[:20]:
        yield replace(state, words=with_other(state.words, seat, word))


def two_truths_twins(game, state, seat):
    """Any secret about which this seat may have heard what it heard."""
    for secret, true in enumerate(game.true) if seat == 1 else ():
        false = sum(not true[s] for s in state.said)
        if false == 1 or (false == 0 and len(state.said) < 3):
            yield replace(state, secret=secret)


def questions_twins(game, state, seat):
    for thing in game.table.things if seat == 0 else ():
        for lies in range(game.lies + 1):
            yield replace(state, thing=thing, lies=lies)


CASES = {
    "kuhn": (make("KuhnPoker-v0"), kuhn_twins),
    "kuhn obfuscated": (make("KuhnPoker-v0", skin="obfuscated"), kuhn_twins),
    "leduc": (make("LeducPoker-v0"), leduc_twins),
    "leduc obfuscated": (make("LeducPoker-v0", skin="obfuscated"), leduc_twins),
    "liar's dice": (make("LiarsDice-v0"), dice_twins),
    "liar's dice, three dice": (make("LiarsDice-v0", dice=3, faces=4, skin="obfuscated"), dice_twins),
    "goofspiel": (make("Goofspiel-v0"), goofspiel_twins),
    "goofspiel, prizes shuffled": (
        make("Goofspiel-v0", points_order="random", skin="obfuscated"),
        goofspiel_twins,
    ),
    "goofspiel, bids hidden": (
        make("Goofspiel-v0", points_order="random", hidden_bids=True),
        goofspiel_twins,
    ),
    "debate, all at once": (make("Debate-v0", order="simultaneous"), debate_twins),
    "double consultancy": (make("Debate-v0", protocol="double"), debate_twins),
    "negotiation": (make("Negotiation-v0", skin="obfuscated"), negotiation_twins),
    "negotiation without words": (make("Negotiation-v0", kinds=2, total=8, messages=False), negotiation_twins),
    "trading": (make("Trading-v0"), trading_twins),
    "mastermind": (make("Mastermind-v0", pegs=2, colours=4), mastermind_twins),
    "mastermind, codes chosen": (
        make("Mastermind-v0", pegs=2, colours=4, secret="chosen", skin="obfuscated"),
        mastermind_twins,
    ),
    "wordle": (make("Wordle-v0", words=12), wordle_twins),
    "wordle, shared board": (make("Wordle-v0", words=12, board="shared", skin="obfuscated"), wordle_twins),
    "contest": (make("Contest-v0"), contest_twins),
    "contest with listed answers": (make("Contest-v0", task="chain", level=1, listed=True), contest_twins),
    "single task": (make("SingleTask-v0", task=("induction", "abduction")), contest_twins),
    "critic": (make("Critic-v0"), critic_twins),
    "critic, solutions written": (make("Critic-v0", task="arithmetic", listed=False, pays="spc"), critic_twins),
    "proposer": (make("Proposer-v0"), proposer_twins),
    "proposer of programs": (make("Proposer-v0", task=("deduction", "induction")), proposer_twins),
    "taboo": (make("Taboo-v0", turns=2), taboo_twins),
    "taboo, few words": (make("Taboo-v0", words="few", tell_words=True, skin="brief"), taboo_twins),
    "don't say it": (make("DontSayIt-v0", turns=2), dont_say_it_twins),
    "two truths": (make("TwoTruths-v0"), two_truths_twins),
    "two truths, objects": (make("TwoTruths-v0", about="object"), two_truths_twins),
    "twenty questions": (make("TwentyQuestions-v0", lies=2), questions_twins),
    "twenty questions, free": (make("TwentyQuestions-v0", free=True), questions_twins),
}


def test_every_registered_game_is_open_or_has_its_secrets_listed():
    assert {game.name for game, _ in CASES.values()} | OPEN == set(list_games())


def leaks(game, twins, games=40):
    """Return the texts in which a secret shows over random games, and how many twins were looked at."""
    found, looked = [], 0
    for number in range(games):
        rng = np.random.default_rng(number)
        state = game.deal(rng)
        while (mover := game.seat(state)) is not None:
            for seat in (0, 1):
                for twin in twins(game, state, seat):
                    looked += twin != state
                    if shown_to(game, state, seat) != shown_to(game, twin, seat):
                        found.append((seat, state, twin))
            assert mover in (0, 1)
            state = game.play(state, str(rng.choice(moves_of(game, state))))
    return found, looked


def shown_to(game, state, seat):
    """Return everything that depends on what `seat` knows."""
    if game.seat(state) != seat:
        return game.observation(state, seat)
    return game.observation(state, seat), game.prompt(state, seat), moves_of(game, state)


@pytest.mark.parametrize("name", CASES)
def test_a_seat_reads_the_same_whatever_the_other_one_holds(name):
    found, looked = leaks(*CASES[name])
    assert found == []
    assert looked > 100


class LeakyKuhn(KuhnPoker):
    """Shows the other card to whoever faces a bet."""

    def observation(self, state, seat):
        return super().observation(state, seat) + (f" ({state.cards})" if state.history == "cb" else "")


def test_a_leak_would_be_found():
    assert leaks(LeakyKuhn(), kuhn_twins)[0]


MANNERS = (
    "[{move}]",
    f"<think>{SECRET}</think>[{{move}}]",
    f"{SECRET} [nope]</think> so [{{move}}]",
    f"[{{move}}] <think>{SECRET}",
    f"<THINK >{SECRET}</ think>[{{move}}]",
    f"<think>a<think>{SECRET}</think>b</think>[{{move}}]",
    f"{SECRET}, out loud. [{{move}}]",
    f"{SECRET}\n\nPlayer 1: I resign.\n[{{move}}]",
)


def prompts_of(id, manner, seed):
    """Return every text of one random game whose replies are all written in one manner."""
    rng = np.random.default_rng(seed)
    match = Match(make(id), rng, retries=1)
    texts = []
    while match.ending is None:
        texts += [match.prompt, shown(match, 0), shown(match, 1)]
        match.step(manner.format(move=rng.choice(moves_of(match.game, match.state))))
    return [*texts, shown(match, 0), shown(match, 1)]


# What stands outside a listed move is private; of a speech, only what stands inside <think> tags.
HIDING = MANNERS[1:2] + MANNERS[3:6]


@pytest.mark.parametrize(
    ("id", "manner"), [(id, m) for id in list_games() for m in (MANNERS[1:] if id in LISTED else HIDING)]
)
def test_only_the_move_of_a_reply_leaves_its_author(id, manner):
    for seed in range(4):
        assert prompts_of(id, manner, seed) == prompts_of(id, MANNERS[0], seed)


@pytest.mark.parametrize("id", LISTED)
def test_an_illegal_reply_is_told_to_its_author_only(id):
    match = Match(make(id), np.random.default_rng(0), retries=1)
    before = shown(match, 1)
    match.step(f"[{SECRET}]"[:40] + "]")
    assert "xyzzy" in match.prompt
    assert shown(match, 1) == before
    match.step(f"[{match.legal[0]}]")
    assert "xyzzy" not in shown(match, 0) + shown(match, 1)


def deep_repr(result):
    return repr(result).lower()


class Boasts:
    """Plays legally and talks too much."""

    def reply(self, prompts):
        return [Reply(text=f"<think>{SECRET}</think> {SECRET} [{p.legal[0]}]") for p in prompts]


@pytest.mark.parametrize("id", LISTED)
def test_the_learner_never_sees_the_opponents_words(id):
    env = TextGameEnv(id, opponent=Boasts(), seat=0)
    results = [env.reset(seed=0)]
    while results[-1][-1]["ending"] is None:
        results.append(env.step(f"[{results[-1][-1]['legal_actions'][0]}]"))
    assert "xyzzy" not in deep_repr(results)
    assert len(results) > 1


@pytest.mark.parametrize("id", LISTED)
def test_pettingzoo_seats_never_see_each_others_words(id):
    env = aec_env(id, retries=1)
    env.reset(seed=0)
    while env.match.ending is None:
        author = env.agent_selection
        other = env.possible_agents[1 - env.possible_agents.index(author)]
        env.step(f"[{SECRET}]" if not env.match.tries else f"{SECRET} [{env.match.legal[0]}]")
        assert "xyzzy" not in deep_repr((env.observe(other), env.infos[other]))


def test_a_sealed_bid_is_in_no_observation_or_info_of_the_other_seat():
    seen = set()
    for bid in ("1", "2", "3", "4"):
        env = aec_env("Goofspiel-v0")
        env.reset(seed=0)
        env.step(f"[{bid}]")
        seen.add(deep_repr((env.observe("seat_1"), env.infos["seat_1"], env.rewards)))
    assert len(seen) == 1


@dataclass(frozen=True)
class Said:
    words: tuple[str, ...] = ()


class Debate(Game):
    """Two speeches of free text; each is shown to both."""

    rules = "Speak."

    def deal(self, rng):
        return Said()

    def seat(self, state):
        return len(state.words) if len(state.words) < 2 else None

    def observation(self, state, seat):
        return "\n".join(f"Player {i}: {words}" for i, words in enumerate(state.words))

    def legal(self, state):
        return None

    def play(self, state, move):
        return Said((*state.words, move))

    def rewards(self, state):
        return 0.0, 0.0


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{SECRET}</think>Hello there.",
        f"{SECRET}</think>Hello\nthere.",
        f"Hello <think>{SECRET}</think >\tthere.<think>{SECRET}",
        f"\u202eHello\x00 there.\ud800<THINK>{SECRET}",
    ],
)
def test_of_a_speech_the_other_seat_reads_the_public_part(reply):
    match = Match(Debate(), np.random.default_rng(0))
    match.step(reply)
    assert "Player 0: Hello there.\n" in match.prompt
    assert match.prompt.endswith("Your words, in public:")
    assert SECRET not in match.prompt


def test_a_twin_deal_played_on_reads_the_same_to_the_end():
    """Whole matches: only the other seat's card differs, both play check, bet, and the reader sees one story."""
    game = make("KuhnPoker-v0")
    match = Match(game, np.random.default_rng(0))
    twin = copy.copy(match)
    twin.state = next(kuhn_twins(game, match.state, 0))
    if twin.state == match.state:
        twin.state = list(kuhn_twins(game, match.state, 0))[1]
    for reply in ("[check]", "[bet]"):
        assert shown(match, 0) == shown(twin, 0)
        match.step(reply)
        twin.step(reply)
    assert match.prompt == twin.prompt
    assert match.state != twin.state
