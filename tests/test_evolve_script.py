"""scripts/evolve.py: runs of the loop, what they leave, that they are taken up again, and bad input in words."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sparring.agents import make_agent, tiny_agent
from sparring.envs import make
from sparring.selfplay.archive import Archive
from sparring.selfplay.checkpoint import Checkpoint, load_checkpoint
from sparring.selfplay.evolve import Experience, Round
from sparring.selfplay.evolve_assembly import make_player
from sparring.selfplay.evolve_checks import RANGES
from sparring.selfplay.evolve_run import METHODS, EvolveRun, EvolveSettings
from sparring.selfplay.learner import Learner
from sparring.selfplay.self_training import SelfTraining
from sparring.selfplay.skills import Curriculum, read_skill

RECIPES = sorted((Path(__file__).parent.parent / "scripts" / "recipes" / "evolve").glob("*.yaml"))
ALL_DRAWN = 4
"""A seed of whose first five generations each is another method's."""
SHORT = EvolveSettings(
    skills=["arithmetic-0", "copy-0"],
    generations=2,
    seed_tasks=16,
    seed_steps=2,
    probe_tasks=4,
    hidden_tasks=4,
    hidden_samples=2,
    prompts=8,
    samples=8,
    steps=2,
    batch=4,
    updates=1,
    games=4,
    hidden=16,
    layers=1,
)


def run(settings: EvolveSettings, stop_after: int | None = None) -> dict[str, Any]:
    """Run it, or leave it after so many generations as if killed."""
    whole = EvolveRun(settings, say=lambda text: None)
    for _ in whole.prepare():
        pass
    for report in whole.evolve():
        if report.generation == stop_after:
            return {}
    return whole.close(finished=True)


@pytest.fixture(scope="module")
def script() -> Any:
    """scripts/evolve.py as a module."""
    path = Path(__file__).parent.parent / "scripts" / "evolve.py"
    spec = importlib.util.spec_from_file_location("evolve_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FEW = ("seed_tasks", "seed_steps", "probe_tasks", "hidden_tasks", "prompts", "steps", "hidden", "layers")
GIVEN = [word for name in FEW for word in (f"--{name}", str(getattr(SHORT, name)))]


def newest(folder: Path) -> Checkpoint:
    found = load_checkpoint(folder / "checkpoints", on_skip=lambda path, why: None)
    assert found is not None
    return found


def generations(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]


def test_all_methods_in_one_run_leave_what_can_be_audited(tmp_path: Path) -> None:
    methods = [f"{name}=1" for name in METHODS]
    summary = run(replace(SHORT, method=methods, generations=5, seed=ALL_DRAWN, out=str(tmp_path / "run")))
    assert summary["finished"]
    assert summary["generations"] == 5
    assert summary["autonomy"].startswith("low, with medium elements")
    assert "the verifier judges its verdicts" in summary["modules"]["feedback"]
    found = generations(tmp_path / "run")
    assert [r["generation"] for r in found] == [0, 1, 2, 3, 4, 5]
    assert {record["method"] for record in found[1:]} == set(METHODS)
    for record in found[1:]:
        assert record["funnel"]["came"] == sum(n for name, n in record["funnel"].items() if name != "came")
        assert set(record["weights"]) == {"arithmetic-0", "copy-0"}
        assert {"pass@1", "pass@2", "worst", "table"} <= record["hidden"].keys()
    archive = Archive(tmp_path / "run" / "archive.jsonl")
    assert len(archive) == summary["archive"] >= 16
    assert all(kept.why and kept.method and kept.parent for kept in archive.samples)
    assert make_agent(str(tmp_path / "run" / "model")).name


@pytest.mark.parametrize(
    ("method", "keep"),
    [
        ("self-training", "none"),
        ("self-training", "ensemble"),
        ("self-instruct", "none"),
        ("self-play", "none"),
        ("critic", "none"),
    ],
)
def test_a_run_that_is_left_and_taken_up_again_ends_the_same(method: str, keep: str, tmp_path: Path) -> None:
    """Of games there must be some that are not all forfeits, or the baseline of the rule would make no difference.

    It is left in a write to the archive, and there is no gate, so that what was learned matters.
    """
    plays = {"seed_steps": 60, "games": 32, "updates": 2} if method == "critic" else {}
    settings = replace(SHORT, method=[method], generations=3, keep=keep, restart=keep == "none", **plays)
    settings = replace(settings, gate_margin=None)
    assert run(replace(settings, out=str(tmp_path / "whole")))["accepted"] >= 1
    begun, learned = (newest(tmp_path / "whole").tensors(part) for part in ("start-model", "model"))
    assert not all(tensor.equal(learned[name]) for name, tensor in begun.items())
    run(replace(settings, out=str(tmp_path / "parts")), stop_after=1)
    with (tmp_path / "parts" / "archive.jsonl").open("a") as archive:
        archive.write('{"prompt": "Work out 3 +')
    run(EvolveSettings(resume=str(tmp_path / "parts")))
    assert generations(tmp_path / "parts") == generations(tmp_path / "whole")
    assert (
        Archive(tmp_path / "parts" / "archive.jsonl").samples == Archive(tmp_path / "whole" / "archive.jsonl").samples
    )
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_self_play_begins_with_the_words_of_its_game(tmp_path: Path) -> None:
    """A tiny model once began without: every reply was illegal, another one, and as long as may be."""
    settings = replace(SHORT, method=["self-play"], seed_steps=150, batch=64, games=64, generations=1, guard="none")
    run(replace(settings, out=str(tmp_path / "run")))
    (_, played) = generations(tmp_path / "run")
    assert played["metrics"]["forfeits"] < 0.7


@torch.no_grad()
def overflow(learner: Learner) -> dict[str, float]:
    """What the model computes is no longer finite."""
    learner.agent.model.model.norm.weight.fill_(3e38)
    learner.agent.flush()
    return {}


@pytest.mark.parametrize("stop_after", [1, 2])
@pytest.mark.parametrize("restart", [False, True])
def test_a_rollback_by_the_guard_is_the_same_over_a_resume(
    restart: bool, stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first generation breaks. Steps stay half as large in what follows, whether it trains from the first policy
    or goes on, and wherever the run is left."""
    gather = SelfTraining.gather

    def harmed(self: SelfTraining, round: Round) -> Experience:
        found = gather(self, round)
        if round.generation == 1:
            found.steps = [*found.steps, overflow]
        return found

    monkeypatch.setattr(SelfTraining, "gather", harmed)
    settings = replace(SHORT, generations=4, keep="none", restart=restart, gate_margin=None)
    summary = run(replace(settings, out=str(tmp_path / "whole")))
    run(replace(settings, out=str(tmp_path / "parts")), stop_after=stop_after)
    assert run(EvolveSettings(resume=str(tmp_path / "parts"))) == summary
    assert (summary["rollbacks"], summary["accepted"], summary["finished"]) == (1, 3, True)
    assert generations(tmp_path / "parts") == generations(tmp_path / "whole")
    assert "by the rule finite: back to" in generations(tmp_path / "whole")[1]["why"]
    kept = [Archive(tmp_path / name / "archive.jsonl").samples for name in ("whole", "parts")]
    assert kept[0] == kept[1]
    assert {s.generation for s in kept[0] if not s.accepted} == {1}
    assert {s.generation for s in kept[0] if s.accepted} >= {0, 2}
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    again = EvolveRun(EvolveSettings(resume=str(tmp_path / "parts")), say=lambda text: None)
    assert (again.learner.lr, again.learner.factor) == (SHORT.lr / 2, 0.5)
    assert again.guard is not None
    assert again.guard.rollbacks == 1


def test_a_run_that_the_guard_stops_says_why_and_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: Any
) -> None:
    """No reply is legal enough here. What the script prints, and its exit code, are those of a stop, twice."""
    monkeypatch.setenv("COLUMNS", "400")
    out = str(tmp_path / "run")
    arguments = [*GIVEN, "--keep", "none", "--guard_rules", "illegal_rise=-2:stop", "--out", out]
    for words in (arguments, ["--resume", out]):
        monkeypatch.setattr(sys, "argv", ["evolve.py", *words])
        assert script.main() == 3
        said = capsys.readouterr().out
        assert "the guard stopped the run: generation 1: illegal_rate" in said
        assert "by the rule illegal_rise: stopping" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["finished"], summary["generations"], summary["accepted"]) == (False, 1, 0)
    assert summary["stopped"].endswith("stopping")


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_ends_a_run_of_rollbacks_and_that_is_no_failure(
    patience: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: Any,
) -> None:
    """Every candidate is rolled back here. A run that is taken up again ends where it had ended."""
    monkeypatch.setenv("COLUMNS", "400")
    out = str(tmp_path / "run")
    guard = ["--guard_rules", "illegal_rise=-2:rollback", "--gate_margin", "none"]
    arguments = [*GIVEN, "--keep", "none", "--patience", str(patience), *guard, "--out", out]
    for words in (arguments, ["--resume", out]):
        monkeypatch.setattr(sys, "argv", ["evolve.py", *words])
        assert script.main() == 0
        assert f"{patience} generations in a row were rolled back" in capsys.readouterr().out
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert (summary["finished"], summary["generations"]) == (True, patience)
        assert summary["ended"] == f"{patience} generations in a row were rolled back"


def test_an_accepted_generation_gives_patience_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generations 1, 3 and 4 break, 2 is let in: two in a row end the run with the fourth of six."""
    gather = SelfTraining.gather

    def harmed(self: SelfTraining, round: Round) -> Experience:
        found = gather(self, round)
        if round.generation in (1, 3, 4):
            found.steps = [*found.steps, overflow]
        return found

    monkeypatch.setattr(SelfTraining, "gather", harmed)
    settings = replace(SHORT, generations=6, keep="none", gate_margin=None, patience=2)
    summary = run(replace(settings, out=str(tmp_path / "run")))
    assert [r["accepted"] for r in generations(tmp_path / "run")] == [True, False, True, False, False]
    assert (summary["finished"], summary["generations"]) == (True, 4)
    # What ends with its last generation anyway says nothing of patience.
    assert "ended" not in run(replace(settings, generations=4, out=str(tmp_path / "short")))


def test_a_run_may_forget_what_earlier_generations_kept(tmp_path: Path, script: Any) -> None:
    settings = script.read_settings(["--accumulates", "false", "--out", str(tmp_path / "run")])
    method: Any = EvolveRun(settings, say=lambda text: None).methods["self-training"][0]
    assert method.accumulates is False


def test_a_warning_of_the_guard_is_printed_and_written_down(tmp_path: Path) -> None:
    settings = replace(SHORT, generations=1, guard="warn", guard_rules=["illegal_rise=-2:warn"], gate_margin=None)
    whole = EvolveRun(replace(settings, out=str(tmp_path / "run")), say=lambda text: None)
    list(whole.prepare())
    *_, last = whole.evolve()
    assert last.admission == (True, "there is no gate")
    assert generations(tmp_path / "run")[1]["warning"] == last.warning
    assert "by the rule illegal_rise: going on" in last.warning


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (ValueError("nothing is left to vote on"), 2)])
def test_what_ends_a_run_leaves_the_last_policy_that_was_let_in(
    error: Any,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: Any,
) -> None:
    """After Ctrl-C in the second generation model/ was half its candidate, and after an error there was none."""
    gather = SelfTraining.gather

    def ends(learner: Learner) -> dict[str, float]:
        raise error

    def ended(self: SelfTraining, round: Round) -> Experience:
        found = gather(self, round)
        if round.generation == 2:
            found.steps = [*found.steps, ends]
        return found

    monkeypatch.setattr(SelfTraining, "gather", ended)
    out = tmp_path / "run"
    monkeypatch.setattr(
        sys, "argv", ["evolve.py", *GIVEN, "--keep", "none", "--gate_margin", "none", "--out", str(out)]
    )
    assert script.main() == code
    assert ("nothing is left to vote on" in capsys.readouterr().err) == (code == 2)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["finished"], summary["generations"], summary["accepted"]) == (False, 1, 1)
    saved = dict(make_agent(str(out / "model")).model.named_parameters())  # type: ignore[attr-defined]
    good, first = (newest(out).tensors(part) for part in ("model", "start-model"))
    assert all(tensor.equal(saved[name]) for name, tensor in good.items())
    assert not all(tensor.equal(saved[name]) for name, tensor in first.items())
    marks = {(sample.generation, sample.accepted) for sample in Archive(out / "archive.jsonl").samples}
    assert marks == {(0, True), (1, True), (2, False)}


def test_an_archive_that_has_lost_something_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """It was read as it was, and the run went on with another one."""
    run(replace(SHORT, keep="none", out=str(tmp_path / "run")), stop_after=1)
    path = tmp_path / "run" / "archive.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    settings = EvolveSettings(resume=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"put back what it has lost; or remove .*step-00000001, to go on from the"):
        EvolveRun(settings, say=lambda text: None)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000001")
    again = EvolveRun(settings, say=lambda text: None)
    assert again.progress is not None
    assert again.progress.generation == 0
    assert len(again.archive) == SHORT.seed_tasks


def test_preferences_are_held_to_the_policy_that_the_loop_begins_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference was the policy before it had imitated the labelled tasks, which knew nothing."""
    monkeypatch.setattr(SelfTraining, "_check_voting", lambda self, round: None)
    settings = replace(SHORT, learn="prefer", keep="majority", threshold=0.0, gate_margin=None, seed_steps=100)
    whole = EvolveRun(replace(settings, out=str(tmp_path / "whole")), say=lambda text: None)
    list(whole.prepare())
    assert whole.learner.reference is not None
    held = whole.learner.reference.tensors()
    assert all(p.equal(held[name]) for name, p in whole.agent.model.named_parameters())
    list(whole.evolve())
    run(replace(settings, out=str(tmp_path / "parts")), stop_after=1)
    run(EvolveSettings(resume=str(tmp_path / "parts")))
    assert generations(tmp_path / "parts") == generations(tmp_path / "whole")
    assert any(record["metrics"].get("update/turns") for record in generations(tmp_path / "whole"))
    for part in ("model", "reference"):
        one, other = (newest(tmp_path / name).tensors(part) for name in ("whole", "parts"))
        assert all(tensor.equal(other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("method", ["self-training", "self-instruct", "self-improving", "self-play", "critic"])
def test_policy_gradients_are_held_to_the_policy_that_the_loop_begins_with(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every method that takes them, and over a resume; by no KL at all their updates are others."""
    monkeypatch.setattr(SelfTraining, "_check_voting", lambda self, round: None)
    settings = replace(
        SHORT, method=[method], learn="reinforce", gate_margin=None, seed_steps=50, games=16, kl=0.5, seed_lr=1e-2
    )
    settings = replace(settings, skills=["copy-0"], batch=16, guard="none", prompts=16, updates=2)
    whole = EvolveRun(replace(settings, out=str(tmp_path / "whole")), say=lambda text: None)
    list(whole.prepare())
    assert whole.learner.reference is not None
    held = {name: tensor.clone() for name, tensor in whole.learner.reference.tensors().items()}
    assert all(p.equal(held[name]) for name, p in whole.agent.model.named_parameters())
    list(whole.evolve())
    assert any(report["metrics"].get("update/kl", 0) > 0 for report in whole.reports)
    assert all(tensor.equal(held[name]) for name, tensor in whole.learner.reference.tensors().items())
    run(replace(settings, out=str(tmp_path / "parts")), stop_after=1)
    run(EvolveSettings(resume=str(tmp_path / "parts")))
    assert generations(tmp_path / "parts") == generations(tmp_path / "whole")
    for part in ("model", "reference"):
        one, other = (newest(tmp_path / name).tensors(part) for name in ("whole", "parts"))
        assert all(tensor.equal(other[name]) for name, tensor in one.items())
    run(replace(settings, kl=0.0, out=str(tmp_path / "free")))
    free, here = (newest(tmp_path / name).tensors("model") for name in ("free", "whole"))
    assert not all(tensor.equal(here[name]) for name, tensor in free.items())


def test_labelled_tasks_that_break_the_numbers_end_the_run_with_the_remedy(tmp_path: Path) -> None:
    """They were imitated without a step, and the run went on with a policy that had learned nothing."""
    settings = replace(SHORT, seed_lr=1e30, seed_steps=4, out=str(tmp_path / "run"))
    whole = EvolveRun(settings, say=lambda text: None)
    with pytest.raises(FloatingPointError, match=r"lower the learning rate \(--seed_lr\), or .* \(--dtype float32\)"):
        list(whole.prepare())


def test_earlier_selves_come_back_with_a_run(tmp_path: Path) -> None:
    """Two generations in, a run that is taken up again holds the weights that voted in it, to the bit."""
    settings = replace(SHORT, generations=3, keep="ensemble", gate_margin=None, out=str(tmp_path / "run"))
    whole = EvolveRun(settings, say=lambda text: None)
    list(whole.prepare())
    for report in whole.evolve():
        if report.generation == 2:
            break
    again = EvolveRun(EvolveSettings(resume=str(tmp_path / "run")), say=lambda text: None)
    methods: list[Any] = [run.methods["self-training"][0] for run in (whole, again)]
    before, after = (method.tensors() for method in methods)
    assert len(methods[1].ensemble.members) == 2
    assert before.keys() == after.keys()
    assert all(after[name].equal(tensor) for name, tensor in before.items())


def shortened(recipe: Path, **changes: Any) -> EvolveSettings:
    """The settings of a recipe, for a smaller model, with fewer of everything."""
    found = yaml.safe_load(recipe.read_text())
    tiny = () if "model" in found else ("hidden", "layers")
    short = ("generations", "seed_tasks", "seed_steps", "prompts", "steps", "updates", "games")
    few = ("probe_tasks", "hidden_tasks", "hidden_samples", *short, *tiny)
    return EvolveSettings(**found | {name: getattr(SHORT, name) for name in few} | changes)


@pytest.mark.parametrize("recipe", [r for r in RECIPES if "hub" not in r.stem], ids=lambda r: r.stem)
def test_a_recipe_runs(recipe: Path, tmp_path: Path) -> None:
    assert run(shortened(recipe, out=str(tmp_path / "run")))["finished"]


@pytest.mark.parametrize("recipe", [r for r in RECIPES if "hub" in r.stem], ids=lambda r: r.stem)
def test_a_hub_models_recipe_runs_with_a_model_of_its_shape(recipe: Path, tmp_path: Path) -> None:
    """Chat template, bfloat16, adapters and all, but for the size of the model and where it comes from."""
    maker = tiny_agent(make("SingleTask-v0"), hidden=16, layers=1, heads=2, stop=(), corpus_games=20)
    maker.save_pretrained(tmp_path / "model")
    settings = shortened(recipe, model=str(tmp_path / "model"), max_new_tokens=24, out=str(tmp_path / "run"))
    assert settings.lora
    assert run(settings)["finished"]
    assert (tmp_path / "run" / "model" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": ["self-trainin"]}, "unknown method 'self-trainin'. Did you mean 'self-training'"),
        ({"skills": ["arithmetic-77"]}, "level of arithmetic must be"),
        ({"preset": "strar"}, "unknown preset 'strar'. Did you mean 'star'"),
        ({"keep": "majorty"}, "Did you mean 'majority'"),
        ({"keep": "length+majorty"}, "unknown keep 'majorty'. Did you mean 'majority'"),
        (
            {"preset": "star", "keep": "verifier+length"},
            r"preset star sets keep to 'verifier', not to 'verifier\+length'",
        ),
        ({"preset": "rest-em", "cap": 2}, "preset rest-em sets cap to 4, not to 2"),
        ({"patience": 2, "gate_margin": None, "guard": "none"}, "patience counts rollbacks, and there is neither"),
        ({"resume": "nowhere"}, "nowhere holds no run to go on with"),
        ({"resume": "nowhere", "games": 3}, "a run goes on with its own settings; leave out games"),
        ({"model": "random"}, "no language model whose weights are here"),
        ({"method": ["critic"], "pays": "prover_verifer"}, "unknown pays 'prover_verifer'. Did you mean"),
        ({"method": ["critic"], "helpful": 1.5}, "helpful is a probability"),
        ({"method": ["critic"], "listed": True}, "answers of arithmetic-2 are too many to list; leave out --listed"),
        ({"method": ["critic"], "rule": "spin"}, "spin imitates another player's moves"),
        ({"method": ["self-play"], "rule": "pppo"}, "unknown update rule 'pppo'. Did you mean 'ppo'"),
        ({"guard": "wran"}, "unknown guard 'wran'. Did you mean 'warn'"),
        ({"guard_rules": ["strenght_drop=0.1"]}, "Did you mean 'strength_drop'"),
        ({"guard_rules": ["strength_drop=0.2"]}, "write -0.2, not 0.2"),
        ({"method": ["self-training=0"]}, "weights of 0 or more, one of them above 0"),
        ({"method": ["self-training=-1", "critic=2"]}, "weights of 0 or more, one of them above 0"),
        ({"preset": "star", "samples": 4}, "preset star sets samples to 1, not to 4: leave one of them out"),
        ({"preset": "star", "method": ["self-play"]}, "preset star is of the method self-training"),
        ({"preset": "ttrl", "restart": True}, "leave restart out"),
        ({"learn": "prefer"}, "take keep='majority', not 'verifier'"),
        ({"learn": "prefer", "method": ["self-instruct"]}, "learn='prefer' is of the method self-training"),
        (
            {"method": ["self-play=0", "self-training"], "opponent": "random"},
            "opponent is of the method self-play: add that",
        ),
        (
            {"method": ["self-instruct", "self-training=0"], "learn": "prefer"},
            "learn='prefer' is of the method self-training",
        ),
        ({"accumulates": False, "learn": "reinforce"}, "accumulates is of what is imitated, and learn is 'reinforce'"),
        ({"kl": 0.1}, "kl is of policy gradients, and no method here takes them: add --learn reinforce"),
        ({"kl": 0.1, "method": ["critic"], "rule": "dpo"}, "kl is of policy gradients, and no method here"),
        ({"kl": 0.1, "preset": "scpo"}, "kl is of policy gradients, and no method here"),
        ({"lora": 8}, "lora is for a loaded model"),
        ({"hidden": 12}, "hidden 12 among 4 heads is 3 each, which must be even"),
        ({"hidden_tasks": 0}, "hidden_tasks must be 1 or more, not 0"),
        ({"lr": 0.0}, "lr must be above 0, not 0.0"),
        ({"gate_margin": float("nan")}, "gate_margin must be 0 or more, not nan"),
    ],
)
def test_bad_input_is_refused_in_words(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = EvolveSettings(**({} if "resume" in given else {"out": str(tmp_path / "run")}) | given)
    with pytest.raises(ValueError, match=message):
        EvolveRun(settings, say=lambda text: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", RANGES)
def test_a_number_below_its_range_is_refused_before_there_is_a_folder(name: str, tmp_path: Path) -> None:
    wrong = replace(SHORT, out=str(tmp_path / "run"), **{name: -1})
    with pytest.raises(ValueError, match=rf"^{name} must be .*, not -1$"):
        EvolveRun(wrong, say=lambda text: None)
    assert not (tmp_path / "run").exists()


def test_every_number_has_a_range() -> None:
    kinds = {name for name, kind in EvolveSettings.__annotations__.items() if kind.split(" | ")[0] in ("int", "float")}
    # A probability, which the critic's game itself refuses.
    assert kinds - RANGES.keys() == {"helpful"}


@pytest.mark.parametrize(
    ("word", "margin"), [("none", None), ("null", None), ("0.25", 0.25), ("5e-2", 0.05), ("0", 0.0)]
)
def test_there_may_be_no_gate_by_flag_and_by_file(word: str, margin: float | None, tmp_path: Path, script: Any) -> None:
    """--help, the manual and the script's own examples said so, and the parser took numbers only."""
    assert script.read_settings(["--gate_margin", word]).gate_margin == margin
    path = tmp_path / "config.yaml"
    path.write_text(f"gate_margin: {word}\nseed_lr: {word}\n")
    for arguments in (["--config", str(path)], [f"--config={path}"]):
        settings = script.read_settings(arguments)
        assert (settings.gate_margin, settings.seed_lr) == (margin, margin)
    assert script.read_settings(["--config", str(path), "--gate_margin", "0.5"]).gate_margin == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate_margin: wide", "a number or none, not 'wide'"),
        ("method: self-play", r"method is a list of words: write \[self-play\]"),
        ("generatons: 3", "unknown setting 'generatons'. Did you mean 'generations'"),
        ("generations: [3]", "generations must be of kind int"),
        ("skills: [", "is not YAML"),
        ("- generations", "is not a YAML file of settings"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused_in_words(
    text: str, message: str, tmp_path: Path, script: Any
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        script.read_settings(["--config", str(tmp_path / "config.yaml")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gate_margin", "wide"], "a number or none, not 'wide'"),
        (["--generations", "few"], "invalid int value: 'few'"),
        (["--generatons", "3"], "unknown flag --generatons. Did you mean 'generations'"),
        (["--config"], "--config needs the name of a YAML file"),
        (["--config", "nowhere.yaml"], "no such file: nowhere.yaml"),
        (["self-play"], "'self-play' belongs to no flag"),
    ],
)
def test_flags_that_cannot_be_are_refused_in_words(arguments: list[str], message: str, script: Any) -> None:
    with pytest.raises(ValueError, match=message):
        script.read_settings(arguments)


def test_adapters_begin_as_they_do_in_training(tmp_path: Path) -> None:
    """By the run's seed, and scaled by twice their rank over it."""
    maker = tiny_agent(make("SingleTask-v0"), hidden=16, layers=1, heads=2, corpus_games=20)
    maker.save_pretrained(tmp_path / "model")
    settings = EvolveSettings(model=str(tmp_path / "model"), lora=4)
    players = [make_player(replace(settings, seed=seed), Curriculum([read_skill("copy-0")])) for seed in (0, 0, 1)]
    first = [[p for name, p in player.model.named_parameters() if "lora_A" in name] for player in players]
    assert all(one.equal(other) for one, other in zip(first[0], first[1], strict=True))
    assert not any(one.equal(other) for one, other in zip(first[0], first[2], strict=True))
    players[0].save_pretrained(tmp_path / "adapted")
    saved = json.loads((tmp_path / "adapted" / "adapter" / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"]) == (4, 8)


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is not empty; choose another --out"):
        EvolveRun(replace(SHORT, out=str(tmp_path)), say=lambda text: None)


@pytest.mark.parametrize("rule", ["dpo", "kto", "rft", "ppo"])
def test_games_are_learned_from_by_any_rule_beside_a_method_with_an_objective_of_its_own(
    rule: str, tmp_path: Path
) -> None:
    """The learner's objective was all there was, so that pairs met a policy gradient, and the other way round."""
    more: dict[str, Any] = {"seed_steps": 60, "games": 32, "generations": 4, "gate_margin": None}
    settings = replace(SHORT, method=["critic=2", "self-training=1"], learn="prefer", keep="majority", rule=rule)
    whole = EvolveRun(replace(settings, **more, out=str(tmp_path / "run")), say=lambda text: None)
    method: Any = whole.methods["self-training"][0]
    method.checks_voting = False
    list(whole.prepare())
    found = list(whole.evolve())
    assert {report.method for report in found[1:]} == {"critic", "self-training"}
    assert any(report.metrics["update/turns"] > 0 for report in found[1:] if report.method == "critic")


def test_labelled_tasks_have_a_learning_rate_of_their_own_and_the_probe_samples(tmp_path: Path) -> None:
    settings = replace(SHORT, seed_lr=1e-2, lr=1e-4, probe_samples=3, out=str(tmp_path / "run"))
    whole = EvolveRun(settings, say=lambda text: None)
    assert [whole.learner.lr for _ in whole.prepare()] == [1e-2] * SHORT.seed_steps
    assert whole.learner.lr == 1e-4
    begun = next(whole.evolve())
    assert {len(task) for tasks in begun.after.right.values() for task in tasks} == {3}
