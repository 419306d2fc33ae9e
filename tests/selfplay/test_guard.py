"""The guard against scripted runs: what each rule sees, when it fires, what it asks for, and what counts as good."""

import json
import math
from typing import Any

import pytest

from sparring.agents import Reply
from sparring.envs import Ending
from sparring.selfplay import Episode, Turn
from sparring.selfplay.guard import Action, Guard, GuardRule, LastGood, default_rules, read_rules, vital_signs
from sparring.selfplay.guard_rules import DEFAULTS, METRICS, changed_rules

NAN, INF = math.nan, math.inf


def rule(metric: str = "entropy", action: str = "rollback", **settings: Any) -> GuardRule:
    (found,) = read_rules([{"metric": metric, "action": action, **settings}])
    return found


def run(guard: Guard, metric: str, values: list[float]) -> list[str]:
    return [guard.check(update, {metric: value}).action.value for update, value in enumerate(values)]


def test_an_absolute_bound_is_broken_beyond_it_and_not_at_it() -> None:
    guard = Guard([rule("kl_start", "stop", above=2.0, below=-1.0, warmup=0)])
    assert run(guard, "kl_start", [2.0, 2.01, -1.0, -1.01]) == ["go on", "stop", "go on", "stop"]


def test_patience_counts_values_in_a_row() -> None:
    guard = Guard([rule(above=1.0, patience=3, warmup=0)])
    found = run(guard, "entropy", [2, 2, 0, 2, 2, 2, 2, 0, 2])
    assert found == ["go on"] * 5 + ["rollback", "rollback", "go on", "go on"]


def test_a_warning_is_given_once_while_trouble_lasts() -> None:
    guard = Guard([rule(action="warn", above=1.0, patience=2, warmup=0)])
    assert run(guard, "entropy", [2, 2, 2, 2, 0, 2, 2]) == ["go on", "warn", *["go on"] * 4, "warn"]


def test_a_multiple_of_the_start() -> None:
    """The start is the median of 1.0, 3.0 and 2.0, that is 2.0, so the bounds are 0.5 and 4.0."""
    guard = Guard([rule(below=0.25, above=2.0, unit="times", warmup=3)])
    assert run(guard, "entropy", [1.0, 3.0, 2.0]) == ["go on"] * 3
    assert run(guard, "entropy", [0.5, 0.49, 4.0, 4.01]) == ["go on", "rollback", "go on", "rollback"]


def test_no_value_is_judged_before_the_start_is_known() -> None:
    guard = Guard([rule("kl_start", above=1.0, warmup=2)])
    assert run(guard, "kl_start", [9.0, 9.0, 9.0]) == ["go on", "go on", "rollback"]


def test_a_difference_to_the_best() -> None:
    """Best 0.5, then 0.75: a fall of more than 0.25 from it."""
    guard = Guard([rule("strength", below=-0.25, unit="plus", reference="best")])
    assert run(guard, "strength", [0.5, 0.25, 0.75, 0.5, 0.375]) == ["go on"] * 4 + ["rollback"]


def test_a_multiple_of_the_recent_median_follows_the_run() -> None:
    guard = Guard([rule("grad_norm", above=10.0, unit="times", reference="median", warmup=3)])
    assert run(guard, "grad_norm", [1.0, 1.0, 1.0, 11.0]) == ["go on"] * 3 + ["rollback"]
    assert set(run(guard, "grad_norm", [5.0] * 50)) == {"go on"}
    assert run(guard, "grad_norm", [49.0, 51.0]) == ["go on", "rollback"]


def test_multiples_of_zero_are_not_judged() -> None:
    guard = Guard([rule("grad_norm", above=10.0, unit="times", reference="median")])
    assert run(guard, "grad_norm", [0.0, 1.0]) == ["go on", "go on"]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_any_metric_that_is_not_finite_is_seen_at_once(value: float) -> None:
    guard = Guard([rule("any", warmup=0)])
    assert guard.check(1, {"entropy": 1.0, "unheard_of": 2.0}).action == "go on"
    verdict = guard.check(2, {"entropy": 1.0, "unheard_of": value})
    assert verdict.action == "rollback"
    assert f"update 2: unheard_of is {value}" in verdict.message


def test_nan_breaks_a_rule_though_it_compares_as_no_breach_and_is_not_remembered() -> None:
    guard = Guard([rule(above=2.0, unit="times", warmup=1)])
    assert run(guard, "entropy", [NAN, 1.0, 2.5]) == ["rollback", "go on", "rollback"]


def test_a_metric_measured_now_and_then_is_judged_when_it_is_there() -> None:
    guard = Guard([rule("strength", below=-0.1, unit="plus", reference="best", patience=2)])
    seen = [0.8, None, None, 0.6, None, 0.6]
    found = [guard.check(n, {} if value is None else {"strength": value}).action for n, value in enumerate(seen)]
    assert found == ["go on"] * 5 + ["rollback"]
    assert not guard.is_good


def test_the_gravest_speaks_first_and_all_are_named() -> None:
    rules = [rule("kl_start", "warn", above=1.0), rule("entropy", "stop", above=1.0), rule("loss", above=1.0)]
    guard = Guard([*rules])
    calm = {"kl_start": 0.0, "entropy": 0.0, "loss": 0.0}
    assert guard.check(0, calm) == (Action.GO_ON, None, "")
    action, which, message = guard.check(1, dict.fromkeys(calm, 2.0))
    assert (action, which) == ("stop", rules[1])
    assert message == "update 1: entropy 2 is above 1; loss 2 is above 1; kl_start 2 is above 1: stopping"


def test_a_message_says_what_was_seen_the_bound_and_what_is_done() -> None:
    guard = Guard([rule(below=0.25, unit="times", warmup=1, patience=2)], shrink=0.5)
    run(guard, "entropy", [2.0, 0.1])
    assert guard.check(7, {"entropy": 0.125}).message == (
        "update 7: entropy 0.125 is below 0.5 (0.25 times its start, 2), 2 times in a row: "
        "back to the last good state, with the step at 0.5 of what was set"
    )
    drop = Guard([rule("strength", "warn", below=-0.25, unit="plus", reference="best")])
    run(drop, "strength", [0.75])
    assert drop.check(3, {"strength": 0.25}).message == (
        "update 3: strength 0.25 is below 0.5 (-0.25 from its best, 0.75): going on"
    )


def test_every_rollback_shrinks_the_step_and_the_last_is_a_stop() -> None:
    guard = Guard([rule(above=1.0, warmup=0)], shrink=0.5, max_rollbacks=2)
    for factor in (1.0, 0.5):
        assert guard.step_factor == factor
        assert guard.check(1, {"entropy": 2.0}).action == "rollback"
        guard.rolled_back()
    verdict = guard.check(3, {"entropy": 2.0})
    assert (verdict.action, guard.step_factor) == ("stop", 0.25)
    assert "all 2 rollbacks are spent" in verdict.message


def test_a_state_is_good_after_quiet_updates_only() -> None:
    """Quiet runs of 2, broken by one value over the bound that patience still forgives, and by a nan."""
    guard = Guard([rule(above=1.0, patience=5, warmup=0)], good_after=2)
    found = []
    for value in (0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, NAN, 0.0, 0.0):
        guard.check(1, {"entropy": value})
        found.append(guard.is_good)
    assert found == [False, True, False, True, False, False, True, False, False, True]


def test_what_is_not_finite_is_never_good_even_without_a_rule_against_it() -> None:
    guard = Guard([], good_after=1)
    assert [(guard.check(1, {"loss": value}), guard.is_good)[1] for value in (1.0, NAN, INF, 1.0)] == [1, 0, 0, 1]


def test_a_warning_does_not_keep_a_state_from_being_good() -> None:
    guard = Guard([rule(action="warn", above=1.0, warmup=0)], good_after=1)
    assert guard.check(1, {"entropy": 2.0}).action == "warn"
    assert guard.is_good


def test_a_step_that_ruins_the_policy_is_not_taken_for_good() -> None:
    """Metrics speak of the policy before the step. The step of update 4 ruins it, and its metrics are still fine."""
    guard, weights = Guard([rule(above=1.0, warmup=0)], good_after=2), 0
    kept, seen = LastGood(weights), []
    for update in range(1, 6):
        metrics = {"entropy": 9.0 if weights == -1 else 0.0}
        weights = -1 if update == 4 else update
        if guard.check(update, metrics).action == "rollback":
            weights = kept.back()
            guard.rolled_back()
        elif guard.is_good:
            kept.vouch(weights)
        seen.append((weights, kept.good, kept.candidate))
    # After update 4 the ruined weights are the candidate; at update 5 they betray themselves and are given up.
    assert seen == [(1, 0, 0), (2, 0, 2), (3, 0, 2), (-1, 2, -1), (2, 2, 2)]


def test_a_rollback_takes_the_references_back_too() -> None:
    """The strength 0.9 was measured on the way into the collapse; held against the old state it could never recover."""
    rules = [rule("strength", below=-0.2, unit="plus", reference="best"), rule("loss", above=1.0, warmup=0)]
    guard = Guard(rules, good_after=1)
    guard.check(1, {"strength": 0.5, "loss": 0.0})
    guard.check(2, {"strength": 0.5, "loss": 0.0})
    assert guard.check(3, {"strength": 0.9, "loss": 2.0}).action == "rollback"
    guard.rolled_back()
    assert guard.check(4, {"strength": 0.5, "loss": 0.0}).action == "go on"


def test_what_was_measured_before_the_first_update_is_known_after_every_rollback() -> None:
    """A tic-tac-toe run was ruined by its first steps. After a rollback ruin was all that the guard had ever seen."""
    rules = [rule("strength", below=-0.2, unit="plus", reference="best"), rule("loss", above=1.0, warmup=0)]
    guard = Guard(rules)
    guard.begin({"strength": 0.5})
    for update in (1, 2):
        assert guard.check(update, {"strength": 0.2}).action == "rollback"
        guard.rolled_back()
    assert guard.check(3, {"strength": 0.4}).action == "go on"


def test_resumed_it_says_what_an_uninterrupted_one_says() -> None:
    """Interrupted after each of the updates in turn, its state through JSON."""
    values = [1.0, 1.2, 0.9, 1.1, 0.2, 0.1, 0.1, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0]
    rules = [rule(below=0.5, above=3.0, unit="times", warmup=3, patience=2)]

    def fresh() -> Guard:
        return Guard(rules, good_after=2)

    def step(guard: Guard, update: int) -> tuple[Any, ...]:
        verdict = guard.check(update, {"entropy": values[update]})
        if verdict.action == "rollback":
            guard.rolled_back()
        return (*verdict, guard.is_good, guard.step_factor, guard.unseen)

    whole = fresh()
    expected = [step(whole, update) for update in range(len(values))]
    assert [e[0].value for e in expected].count("rollback") == 2
    for cut in range(len(values)):
        before, after = fresh(), fresh()
        first = [step(before, update) for update in range(cut)]
        after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        assert first + [step(after, update) for update in range(cut, len(values))] == expected
        assert after.state_dict() == whole.state_dict()


def test_rules_may_be_changed_for_a_resumed_run() -> None:
    """A stopped run goes on with a wider bound: the streak of the rule that stayed is kept, of the changed one not."""
    stays, changes = rule(above=1.0, patience=2, warmup=0), rule("loss", above=1.0, patience=2, warmup=0)
    old = Guard([changes, stays])
    old.check(1, {"entropy": 2.0, "loss": 2.0})
    new = Guard([stays, rule("loss", above=1.5, patience=2, warmup=0)])
    new.load_state_dict(old.state_dict())
    assert new.check(2, {"entropy": 0.0, "loss": 2.0}).action == "go on"
    new.load_state_dict(old.state_dict())
    assert new.check(2, {"entropy": 2.0, "loss": 2.0}).rule == stays


def test_metrics_that_nobody_reports_can_be_asked_for() -> None:
    guard = Guard([rule("any", warmup=0), rule("entropy", above=1.0), rule("strength", above=1.0)])
    guard.check(1, {"entropy": 1.0, "loss": 1.0})
    assert guard.unseen == ("strength",)
    guard.rolled_back()
    assert guard.unseen == ("strength",)


def collapse(update: int) -> dict[str, float]:
    """A run that looks well for 20 updates, then falls silent: entropy from 1.5 to 0.1, as measured in tic-tac-toe."""
    return {"entropy": 1.5 if update < 20 else max(1.5 - 0.3 * (update - 20), 0.1), "illegal_rate": 0.01, "kl": 0.5}


def test_the_default_rules_see_a_collapse_and_leave_a_run_that_learns_alone() -> None:
    """Entropy 1.5 at the start: warned below 0.375, rolled back below 0.225, each on the third update in a row."""
    guard = Guard(default_rules())
    found = [guard.check(update, collapse(update)).action.value for update in range(28)]
    # 0.3 at update 24, 0.1 from update 25 on.
    assert found == ["go on"] * 26 + ["warn", "rollback"]
    calm = Guard(default_rules())
    for update in range(300):
        metrics = {
            "entropy": 1.5 - 0.8 * update / 300,
            "illegal_rate": 0.02,
            "grad_norm": 0.6 - 0.5 * update / 300,
            "seat_skew": 0.25 + 0.13 * math.sin(update),
            "reply_tokens": 3.0,
            "kl_start": 0.8 * update / 300,
        }
        assert calm.check(update, metrics).action == "go on"


@pytest.mark.parametrize(
    ("metric", "start", "bad", "action"),
    [
        ("illegal_rate", 0.02, 0.28, "rollback"),
        ("entropy", 0.5, 1.6, "rollback"),
        ("reply_tokens", 100.0, 301.0, "rollback"),
        ("reply_tokens", 100.0, 19.0, "warn"),
        ("kl_start", 0.1, 5.1, "warn"),
        ("kl_start", 0.1, 15.1, "rollback"),
        ("seat_skew", 0.2, 0.61, "warn"),
        ("seat_skew", 0.2, -0.21, "warn"),
        ("grad_norm", 0.5, 5.1, "warn"),
        ("grad_norm", 0.5, 50.1, "rollback"),
        ("strength", 0.7, 0.59, "rollback"),
        ("turns_a_game", 5.0, NAN, "rollback"),
    ],
)
def test_each_default_rule_fires(metric: str, start: float, bad: float, action: str) -> None:
    guard = Guard(default_rules())
    assert set(run(guard, metric, [start] * 6)) == {"go on"}
    assert action in run(guard, metric, [bad] * 3)


def test_default_rules_can_be_changed_and_left_out_by_name() -> None:
    floor = [r for r in default_rules(entropy_floor=0.05) if r.metric == "entropy" and r.action == "rollback"]
    assert [(r.below, r.above) for r in floor] == [(0.05, None), (None, 3.0)]
    assert len(default_rules(strength_drop=None)) == len(DEFAULTS) - 1
    assert {r.metric for r in default_rules()} <= {*METRICS, "any"}
    with pytest.raises(ValueError, match="Did you mean 'entropy_floor'"):
        default_rules(entropy_flor=0.1)
    with pytest.raises(ValueError, match="None to drop it"):
        default_rules(finite=1.0)


@pytest.mark.parametrize(
    ("word", "bound", "action"),
    [
        ("kl_ceiling=20", 20.0, "rollback"),
        ("kl_ceiling=stop", 15.0, "stop"),
        ("kl_ceiling=20:warn", 20.0, "warn"),
        ("kl_ceiling=1e1:rollback", 10.0, "rollback"),
    ],
)
def test_words_change_the_bound_or_the_action_of_a_rule_and_nothing_else(word: str, bound: float, action: str) -> None:
    rules = {rule.name: rule for rule in changed_rules([word])}
    changed = rules.pop("kl_ceiling")
    assert (changed.above, changed.below, changed.action) == (bound, None, action)
    assert (changed.metric, changed.patience) == ("kl_start", 3)
    assert rules == {name: rule for name, rule in DEFAULTS.items() if name != "kl_ceiling"}


def test_words_drop_rules_change_several_and_are_about_the_rules_that_are_given() -> None:
    found = {rule.name: rule for rule in changed_rules(["strength_drop=none", "finite=stop", "illegal_rise=0.3:warn"])}
    assert "strength_drop" not in found
    assert (found["finite"].action, found["illegal_rise"].action, found["illegal_rise"].above) == ("stop", "warn", 0.3)
    assert changed_rules([]) == tuple(DEFAULTS.values())
    only = {"finite": DEFAULTS["finite"]}
    assert [rule.action for rule in changed_rules(["finite=warn"], only)] == ["warn"]
    with pytest.raises(ValueError, match="no default guard rule is called 'kl_ceiling'"):
        changed_rules(["kl_ceiling=1"], only)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kl_ceiling"], "takes name=number, name=action, name=number:action or name=none, not 'kl_ceiling'"),
        (["kl_ceiling="], "takes name=number"),
        (["kl_ceiling=high"], "not 'kl_ceiling=high'; actions are warn, rollback, stop"),
        (["kl_ceiling=stop:5"], "takes name=number"),
        (["kl_ceiling=none:stop"], "takes name=number"),
        (["kl_ceiling=5:halt"], "unknown action 'halt'"),
        (["kl_ceiling=5:rolback"], "Did you mean 'rollback'"),
        (["kl_ceiling=5:"], "unknown action ''"),
        (["kl_ceilling=5"], "Did you mean 'kl_ceiling'"),
        (["kl_ceiling=5", "kl_ceiling=stop"], "kl_ceiling twice: write both changes as one"),
        (["kl_ceiling=nan"], "nothing breaks"),
        (["finite=1:stop"], "finite has no bound"),
    ],
)
def test_words_that_cannot_be_meant_are_refused_with_a_remedy(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        changed_rules(words)


def test_what_is_foreseen_is_what_check_would_ask_for_and_is_not_remembered() -> None:
    guard = Guard([rule(above=1.0, patience=2, warmup=0), rule("loss", "warn", above=1.0, warmup=0)])
    before = json.dumps(guard.state_dict())
    assert not guard.foresees({"entropy": 2.0, "loss": 2.0})
    assert json.dumps(guard.state_dict()) == before
    guard.check(1, {"entropy": 2.0})
    assert guard.foresees({"entropy": 2.0})
    assert not guard.foresees({"entropy": 0.0, "loss": 2.0})
    assert guard.check(2, {"entropy": 2.0}).action == "rollback"


def test_a_message_names_the_rule() -> None:
    guard = Guard(changed_rules(["kl_ceiling=stop"]))
    for update in range(4):
        verdict = guard.check(update, {"kl_start": 20.0})
    assert verdict.message.startswith("update 3: kl_start 20 is above 15, 3 times in a row, by the rule kl_ceiling; ")
    assert verdict.rule is not None
    assert verdict.rule.name == "kl_ceiling"


def test_rules_come_back_from_plain_data() -> None:
    rules = default_rules()
    assert read_rules(json.loads(json.dumps([r.plain() for r in rules]))) == rules


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ({"metric": "entorpy", "action": "warn", "below": 1}, "Did you mean 'entropy'"),
        ({"metric": "entropy", "action": "rolback", "below": 1}, "Did you mean 'rollback'"),
        ({"metric": "entropy", "action": "go on", "below": 1}, "must warn, rollback or stop"),
        ({"metric": "entropy", "action": "warn", "bellow": 1}, "Did you mean 'below'"),
        ({"metric": "entropy", "action": "warn", "below": 1, "unit": "time"}, "Did you mean 'times'"),
        ({"metric": "entropy", "action": "warn", "below": 1, "reference": "begin"}, "Known: best, median, start"),
        ({"metric": "entropy", "action": "warn", "below": "1e-3"}, "YAML reads 0.001"),
        ({"metric": "entropy", "action": "warn", "below": 1, "patience": True}, "must be a number"),
        ({"metric": "entropy", "action": "warn", "below": NAN}, "nothing breaks"),
        ({"metric": "entropy", "action": "warn"}, "above, below or both"),
        ({"metric": "any", "action": "warn", "above": 1}, "no bound"),
        ({"metric": "entropy", "action": "warn", "below": 1, "unit": "plus", "warmup": 0}, "a value to start from"),
        ({"metric": "entropy", "action": "warn", "below": 1, "patience": 0}, "patience 0"),
        ({"metric": "entropy", "below": 1}, "a metric and an action"),
        ("entropy", "a metric and an action"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_with_a_remedy(entry: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        read_rules([entry])


def test_metrics_of_ones_own_can_be_made_known() -> None:
    (found,) = read_rules([{"metric": "politeness", "action": "warn", "below": 1}], metrics=["politeness"])
    assert found.metric == "politeness"


@pytest.mark.parametrize("settings", [{"shrink": 0.0}, {"shrink": 1.5}, {"max_rollbacks": -1}, {"good_after": 0}])
def test_settings_without_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Guard([], **settings)


def episode(rewards: tuple[float, float], *tokens: int) -> Episode:
    """A game in which agent 0 and agent 1 reply in turn, with so many tokens."""
    turns = tuple(
        Turn(seat=n % 2, player=n % 2, prompt="", reply=Reply(text="", ids=(1,) * count), move="", problem=None)
        for n, count in enumerate(tokens)
    )
    return Episode(
        game="g", index=0, turns=turns, rewards=rewards, ending=Ending.PLAYED, offender=None, players=("a", "b"),
        seated=(0, 1),
    )  # fmt: skip


def test_vital_signs_by_hand() -> None:
    """Agent 0's replies have 2, 4 and 9 tokens. Seat 0 wins two of four games, seat 1 one, one is drawn."""
    games = [episode((1, -1), 2, 100, 4), episode((3, 0), 9), episode((0, 2)), episode((1, 1))]
    assert vital_signs(games) == {"reply_tokens": 5.0, "seat_skew": 0.25}
