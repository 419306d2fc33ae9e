"""The critic and turn-level GAE: by hand, against plain passes, a seat's own turns; gradients where they belong."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load, save

from sparring.agents import LanguageModelAgent, Message, RandomAgent, Reply, tiny_agent
from sparring.agents.prefix import reply_logits_and_states
from sparring.envs import Ending, Game, make
from sparring.selfplay import Episode, Learner, PolicyGradient, Sample, play
from sparring.selfplay.critic import Critic
from sparring.selfplay.gae import critic_samples, gae, turn_rewards

KUHN = make("KuhnPoker-v0")


@pytest.fixture(scope="module")
def shared_agent() -> LanguageModelAgent:
    return tiny_agent(KUHN, corpus_games=20, hidden=32, max_new_tokens=3, stop=())


@pytest.fixture
def tiny(shared_agent: LanguageModelAgent) -> LanguageModelAgent:
    return copy.deepcopy(shared_agent)


def opinionated(critic: Critic) -> Critic:
    """Give the head weights, so that its values are not all 0."""
    width = critic.head.weight.shape[1]
    critic.head.weight.data = torch.linspace(-1, 1, width)[None] ** 3
    critic.head.bias.data.fill_(0.25)
    return critic


def prompts_of(agent: LanguageModelAgent) -> list[tuple[int, ...]]:
    episodes = play(KUHN, (agent, agent), games=20, seed=1)
    return [turn.reply.prompt_ids for episode in episodes for turn in episode.turns]


# --- gae ---


def test_gae_by_hand() -> None:
    # delta = (1 + 0.5 * 4 - 2, 0 + 0.5 * 6 - 4, 10 - 6) = (1, -1, 4); gamma lam = 0.25.
    # A_2 = 4, A_1 = -1 + 0.25 * 4 = 0, A_0 = 1 + 0.25 * 0 = 1.
    assert gae([1.0, 0.0, 10.0], [2.0, 4.0, 6.0], gamma=0.5, lam=0.5) == [1.0, 0.0, 4.0]


def test_lambda_1_is_the_return_less_the_value() -> None:
    rewards, values = [0.5, -1.0, 2.0, 0.25], [0.3, -0.2, 0.7, 1.1]
    returns = [rewards[0] + 0.9 * (rewards[1] + 0.9 * (rewards[2] + 0.9 * rewards[3]))]
    for reward in rewards[:3]:
        returns.append((returns[-1] - reward) / 0.9)
    expected = [g - v for g, v in zip(returns, values, strict=True)]
    assert gae(rewards, values, gamma=0.9, lam=1.0) == pytest.approx(expected)


def test_lambda_0_looks_one_step_ahead() -> None:
    rewards, values = [0.5, -1.0, 2.0], [0.3, -0.2, 0.7]
    expected = [0.5 + 0.9 * -0.2 - 0.3, -1.0 + 0.9 * 0.7 + 0.2, 2.0 - 0.7]
    assert gae(rewards, values, gamma=0.9, lam=0.0) == pytest.approx(expected)


def test_a_critic_that_knows_finds_no_surprise_whatever_lambda() -> None:
    rewards, values = [1.0, 2.0, 3.0], [6.0, 5.0, 3.0]
    for lam in (0.0, 0.5, 1.0):
        assert gae(rewards, values, lam=lam) == [0.0, 0.0, 0.0]


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 rewards and 1 values"):
        gae([0.0, 1.0], [0.0])
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], not 1.5"):
        gae([0.0], [0.0], gamma=1.5)
    with pytest.raises(ValueError, match=r"lam must lie in \[0, 1\], not nan"):
        gae([0.0], [0.0], lam=float("nan"))
    with pytest.raises(ValueError, match=r"lam must lie in"):
        critic_samples([], Table({}), lam=-0.1)


# --- turns of a seat ---


class Table:
    """A critic that looks values up by the first token of a prompt, and counts what it is asked."""

    def __init__(self, values: dict[int, float]) -> None:
        self.known = values
        self.asked: list[tuple[int, ...]] = []

    def predict(self, prompts):
        self.asked += prompts
        return [self.known[ids[0]] for ids in prompts]


class Numbered:
    """Says the moves of a script; its replies carry the number of the turn as their prompt's only token."""

    name = "numbered"

    def __init__(self, *moves: str) -> None:
        self.moves = moves
        self.asked = 0

    def reply(self, prompts):
        replies = []
        for _ in prompts:
            replies.append(
                Reply(text=f"[{self.moves[self.asked]}]", prompt_ids=(self.asked,), ids=(0,), logprobs=(0.0,))
            )
            self.asked += 1
        return replies


# What a move pays to its own seat and to the other.
PAYS = {"mine": (1.0, 0.0), "yours": (0.0, 2.0), "none": (0.0, 0.0)}


@dataclass(frozen=True)
class Taken:
    """The moves so far."""

    moves: tuple[str, ...] = ()


class Take(Game):
    """Seats take turns, three each. "mine" pays the mover 1, "yours" pays the other seat 2, "none" nobody."""

    rules = "Take what you like."
    reward_range = (0.0, 10.0)
    zero_sum = False

    def deal(self, rng):
        return Taken()

    def seat(self, state):
        return len(state.moves) % 2 if len(state.moves) < 6 else None

    def observation(self, state, seat):
        return " ".join(state.moves)

    def legal(self, state):
        return tuple(PAYS)

    def play(self, state, move):
        return Taken((*state.moves, move))

    def earned(self, state):
        paid = [0.0, 0.0]
        for turn, move in enumerate(state.moves):
            paid[turn % 2] += PAYS[move][0]
            paid[1 - turn % 2] += PAYS[move][1]
        return paid[0], paid[1]

    def rewards(self, state):
        return self.earned(state) if self.seat(state) is None else (0.0, 0.0)


def taken(*moves: str, **settings) -> Episode:
    agent = Numbered(*moves)
    (episode,) = play(Take(), (agent, agent), games=1, **settings)
    return episode


def test_a_turn_is_paid_what_its_seat_earns_up_to_its_own_next_turn() -> None:
    episode = taken("yours", "mine", "mine", "yours", "none", "yours")
    # Seat 0: nothing for its "yours"; 1 for "mine" and 2 from the other's "yours"; 2 from the last "yours".
    assert turn_rewards(episode, 0) == [0.0, 3.0, 2.0]
    # Seat 1 had 2 before its first turn, which no action of its own brought: they count for none.
    assert turn_rewards(episode, 1) == [1.0, 0.0, 0.0]
    assert episode.rewards == (5.0, 3.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_turns_of_a_seat_add_up_to_its_reward(seed: int) -> None:
    agent = RandomAgent()
    for episode in play(Take(), (agent, agent), games=20, seed=seed):
        for seat in (0, 1):
            start = next(turn.earned for turn in episode.turns if turn.seat == seat)
            assert sum(turn_rewards(episode, seat)) == episode.rewards[seat] - start


def test_a_game_that_pays_at_the_end_pays_the_last_turn() -> None:
    agent = RandomAgent()
    for episode in play(make("Nim-v0"), (agent, agent), games=5, seed=2):
        for seat in (0, 1):
            *before, last = turn_rewards(episode, seat)
            assert last == episode.rewards[seat]
            assert not any(before)


def test_a_refused_reply_is_a_turn_and_a_forfeit_pays_the_last_one() -> None:
    episode = taken("mine", "mine", "nonsense", "mine", "mine", "nonsense", "nonsense", retries=1)
    assert (episode.ending, episode.offender) == (Ending.ILLEGAL, 0)
    # The forfeit takes back the 2 that seat 0 had, and brings the other seat all there is.
    assert turn_rewards(episode, 0) == [1.0, 0.0, 1.0, 0.0, -2.0]
    assert turn_rewards(episode, 1) == [1.0, 9.0]


def test_samples_follow_each_seat_s_own_turns() -> None:
    """The values of the other seat's prompts lie in between, and must not get into a seat's advantages."""
    episode = taken("yours", "mine", "mine", "yours", "none", "yours")
    critic = Table({0: 1.0, 1: 100.0, 2: 4.0, 3: 200.0, 4: 2.0, 5: 300.0})
    found = critic_samples([episode], critic, gamma=1.0, lam=0.5)
    assert [sample.reply for sample in found] == [turn.reply for turn in episode.turns]
    first = gae([0.0, 3.0, 2.0], [1.0, 4.0, 2.0], lam=0.5)
    second = gae([1.0, 0.0, 0.0], [100.0, 200.0, 300.0], lam=0.5)
    assert [s.advantage for s in found[::2]] == first == [3.0 + 0.5 * 1.0, 1.0, 0.0]
    assert [s.advantage for s in found[1::2]] == second
    assert [s.value for s in found] == [1.0, 100.0, 4.0, 200.0, 2.0, 300.0]
    assert all(s.target == s.advantage + s.value for s in found)


def test_only_the_player_s_turns_are_sampled_and_only_their_prompts_read() -> None:
    episode = taken("yours", "mine", "mine", "yours", "none", "yours")
    turns = tuple(replace(turn, player=1 - turn.seat) for turn in episode.turns)
    against = replace(episode, turns=turns, seated=(1, 0))
    critic = Table({1: 0.0, 3: 0.0, 5: 0.0})
    assert [s.reply.prompt_ids for s in critic_samples([against], critic, lam=1.0)] == [(1,), (3,), (5,)]
    assert critic.asked == [(1,), (3,), (5,)]


def test_a_seat_without_a_turn_gives_no_sample() -> None:
    episode = taken("mine", "nonsense")
    lone = replace(episode, turns=episode.turns[:1])
    found = critic_samples([lone], Table({0: 0.5}))
    assert [(s.value, s.target) for s in found] == [(0.5, episode.rewards[0])]
    assert critic_samples([], Table({})) == []


def test_replies_without_tokens_are_refused() -> None:
    agent = RandomAgent()
    with pytest.raises(ValueError, match="no prompt ids; only replies of a language model"):
        critic_samples(play(KUHN, (agent, agent), games=1), Table({}))


# --- the critic ---


@pytest.mark.parametrize("separate", [False, True])
def test_a_fresh_critic_says_0_and_draws_nothing(tiny: LanguageModelAgent, separate: bool) -> None:
    before = torch.get_rng_state()
    critic = Critic(tiny, separate=separate)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(critic.predict(prompts_of(tiny))) == {0.0}
    assert critic.separate == separate


@pytest.mark.parametrize("separate", [False, True])
@torch.no_grad()
def test_values_equal_those_of_a_plain_pass(tiny: LanguageModelAgent, separate: bool) -> None:
    """Batching, pads and shared prefixes change nothing; neither do repeats or the size of a batch."""
    critic = opinionated(Critic(tiny, separate=separate))
    prompts = [*prompts_of(tiny), (5, 6), (7,)]
    expected = []
    for ids in prompts:
        states_TH = tiny.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
        expected.append((states_TH[-1] @ critic.head.weight[0] + 0.25).item())
    assert max(expected) - min(expected) > 0.5
    assert critic.predict(prompts) == pytest.approx(expected, abs=1e-4)
    critic.batch_tokens = 1
    assert critic.predict(prompts) == pytest.approx(expected, abs=1e-4)
    assert critic.predict([]) == []


@pytest.mark.parametrize("separate", [False, True])
def test_value_read_at_token_0_would_not_see_the_end_of_the_prompt(tiny: LanguageModelAgent, separate: bool) -> None:
    """The field's bug: read at token 0 of a causal model, every prompt of a game has the same value."""
    critic = opinionated(Critic(tiny, separate=separate))
    prompt = prompts_of(tiny)[0]
    # One a call: read together, prompts would start where they part.
    (value,), (other_end,), (other_start,) = map(critic.predict, ([prompt], [(*prompt[:-1], 9)], [(9, *prompt[1:])]))
    assert abs(value - other_end) > 0.1
    assert abs(value - other_start) > 1e-3


def test_the_value_does_not_depend_on_the_reply(tiny: LanguageModelAgent) -> None:
    critic = opinionated(Critic(tiny))
    prompts = list(dict.fromkeys(prompts_of(tiny)))
    replies = [(p, (p + 3, 8, 9)[: 1 + p % 3]) for p in range(len(prompts))]
    _, states_PH = reply_logits_and_states(tiny.model, prompts, replies)
    assert critic(prompts, states_PH).tolist() == pytest.approx(critic.predict(prompts), abs=1e-5)


def test_known_states_save_a_pass_where_the_model_is_shared(tiny: LanguageModelAgent) -> None:
    shared, separate = opinionated(Critic(tiny)), opinionated(Critic(tiny, separate=True))
    prompts = prompts_of(tiny)[:3]
    states_PH = torch.ones(3, shared.head.weight.shape[1])
    assert torch.equal(shared(prompts, states_PH), shared.values(states_PH))
    assert torch.equal(separate(prompts, states_PH), separate(prompts))
    assert not torch.equal(separate(prompts), separate.values(states_PH))


def has_gradient(parameters) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().max() > 0) for p in parameters)


@pytest.mark.parametrize(
    ("settings", "trunk_learns"),
    [({}, True), ({"detach": True}, False), ({"separate": True}, False)],
    ids=["shared", "detached", "separate"],
)
def test_whose_weights_the_value_loss_moves(
    tiny: LanguageModelAgent, settings: dict[str, bool], trunk_learns: bool
) -> None:
    critic = opinionated(Critic(tiny, **settings))
    prompts = list(dict.fromkeys(prompts_of(tiny)))
    _, states_PH = reply_logits_and_states(tiny.model, prompts, [(0, (4, 5))])
    for states in (None, states_PH):
        tiny.model.zero_grad()
        critic.zero_grad()
        (critic(prompts, states) - 1.0).square().sum().backward()
        assert has_gradient(tiny.model.parameters()) == trunk_learns
        assert has_gradient(critic.head.parameters())
        if critic.separate:
            assert has_gradient(critic.model.parameters())


def test_a_critic_learns_nothing_of_the_policy_s(tiny: LanguageModelAgent) -> None:
    """Its parameters are its own: training them leaves the policy as it was."""
    own = {id(p) for p in tiny.model.parameters()}
    assert {name for name, _ in Critic(tiny).named_parameters()} == {"head.weight", "head.bias"}
    critic = Critic(tiny, separate=True)
    assert not own & {id(p) for p in critic.parameters()}
    before = copy.deepcopy(tiny.model.state_dict())
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    prompts = prompts_of(tiny)[:4]
    for _ in range(3):
        optimizer.zero_grad()
        (critic(prompts) - 1.0).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.model.state_dict().items())
    assert critic.predict(prompts) != [0.0] * 4


def test_predicting_leaves_no_graph_and_no_gradient(tiny: LanguageModelAgent) -> None:
    critic = opinionated(Critic(tiny))
    critic.predict(prompts_of(tiny))
    assert not has_gradient([*critic.parameters(), *tiny.model.parameters()])
    with pytest.raises(ValueError, match="a prompt is empty"):
        critic.predict([(3, 4), ()])


@pytest.mark.parametrize("separate", [False, True])
def test_a_saved_critic_says_the_same(tiny: LanguageModelAgent, separate: bool) -> None:
    """Through safetensors, which refuses a tensor that goes by two names, as tied embeddings do."""
    critic = opinionated(Critic(tiny, separate=separate))
    if separate:
        with torch.no_grad():
            next(critic.model.parameters()).mul_(1.5)
    prompts = prompts_of(tiny)
    again = Critic(tiny, separate=separate)
    again.load_state_dict(load(save(critic.state_dict())))
    assert again.predict(prompts) == critic.predict(prompts) != [0.0] * len(prompts)


def test_a_separate_critic_has_nothing_to_detach(tiny: LanguageModelAgent) -> None:
    with pytest.raises(ValueError, match="leave detach out"):
        Critic(tiny, separate=True, detach=True)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_critic_sits_on_an_adapted_model(tiny: LanguageModelAgent) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    adapted = LanguageModelAgent(get_peft_model(tiny.model, config), tiny.tokenizer, max_new_tokens=3)
    prompts = prompts_of(tiny)[:4]
    shared, separate = opinionated(Critic(adapted)), opinionated(Critic(adapted, separate=True))
    assert shared.predict(prompts) == pytest.approx(separate.predict(prompts), abs=1e-5)
    separate(prompts).sum().backward()
    trained = {name for name, p in separate.named_parameters() if p.grad is not None}
    assert any("lora_A" in name for name in trained)
    assert all("lora" in name or name.startswith("head.") for name in trained)
    assert not has_gradient(adapted.model.parameters())


# --- does it learn what it should? ---


class RandomWithIds(RandomAgent):
    """Random play whose replies carry the prompt as `agent` reads it."""

    def __init__(self, agent: LanguageModelAgent) -> None:
        super().__init__()
        self.agent = agent

    def reply(self, prompts):
        said = super().reply(prompts)
        return [replace(r, prompt_ids=self.agent.encode(p.messages)) for r, p in zip(said, prompts, strict=True)]


def exact_values(agent: LanguageModelAgent) -> dict[tuple[int, ...], float]:
    """What the seat to move will get at each prompt of Kuhn poker if both seats play at random, by the whole tree."""
    weight: dict[tuple[int, ...], float] = {}
    total: dict[tuple[int, ...], float] = {}

    def visit(state, chance: float) -> tuple[float, float]:
        seat = KUHN.seat(state)
        if seat is None:
            return KUHN.rewards(state)
        after = [visit(KUHN.play(state, move), chance / 2) for move in KUHN.legal(state)]
        mean = (after[0][0] + after[1][0]) / 2, (after[0][1] + after[1][1]) / 2
        ids = agent.encode((Message("user", KUHN.prompt(state, seat)),))
        weight[ids] = weight.get(ids, 0.0) + chance
        total[ids] = total.get(ids, 0.0) + chance * mean[seat]
        return mean

    for state, chance in KUHN.deals():
        visit(state, chance)
    return {ids: total[ids] / weight[ids] for ids in total}


def test_a_critic_of_random_kuhn_poker_comes_close_to_the_exact_values() -> None:
    """Trained on 6000 games' returns, it is within 0.3 of each of the 12 values.

    The rarest prompts come up 500 times with a standard deviation of 1.5: a mean's standard error is 0.07, so 0.3 is
    over 4 of them, a false alarm in under 1 of 1000 seeds. The values span -1.5 to 1.25.
    """
    agent = tiny_agent(KUHN, corpus_games=20, hidden=32, seed=1)
    player = RandomWithIds(agent)
    critic = Critic(agent)
    found = critic_samples(play(KUHN, (player, player), games=6000, seed=5), critic, lam=1.0)
    targets: dict[tuple[int, ...], list[float]] = {}
    for sample in found:
        targets.setdefault(sample.reply.prompt_ids, []).append(sample.target)
    prompts = list(targets)
    mean_P = torch.tensor([sum(t) / len(t) for t in targets.values()])
    weight_P = torch.tensor([len(t) / len(found) for t in targets.values()])
    optimizer = torch.optim.Adam([*critic.parameters(), *agent.model.parameters()], lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (weight_P * (critic(prompts) - mean_P).square()).sum().backward()
        optimizer.step()
    exact = exact_values(agent)
    assert len(exact) == len(prompts) == 12
    off = [abs(value - exact[ids]) for ids, value in zip(prompts, critic.predict(prompts), strict=True)]
    assert max(off) < 0.3


def test_the_errors_of_a_separate_critic_do_not_shorten_the_policy_s_step(tiny: LanguageModelAgent) -> None:
    """One length for both once let values that were far off stop the policy from learning, and woke the guard."""
    found = [
        Sample(reply, 1.0 - 2 * (n % 2), target=1e4, value=0.0)
        for n, reply in enumerate(t.reply for e in play(KUHN, (tiny, tiny), games=8) for t in e.turns)
    ]
    objective = PolicyGradient(value_weight=1.0)
    alone = Learner(copy.deepcopy(tiny), PolicyGradient(), max_grad_norm=1e9).update(found)["grad_norm"]
    learner = Learner(tiny, objective, critic=Critic(tiny, separate=True), max_grad_norm=alone / 2)
    assert learner.update(found)["grad_norm"] == pytest.approx(alone, rel=1e-4)
    policy, critic = ([p.grad.norm() for p in group["params"]] for group in learner.optimizer.param_groups)
    assert torch.stack(policy).norm().item() == pytest.approx(alone / 2, rel=1e-3)
    assert torch.stack(critic).norm().item() == pytest.approx(alone / 2, rel=1e-3)
