"""scripts/evolve.py: runs of the loop, what they leave, that they are taken up again, and bad input in words."""

from __future__ import annotations

import importlib.util
import json
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
from sparring.selfplay.evolve import Experience, Round
from sparring.selfplay.evolve_run import METHODS, EvolveRun, EvolveSettings
from sparring.selfplay.learner import Learner
from sparring.selfplay.self_training import SelfTraining

RECIPES = sorted((Path(__file__).parent.parent / "scripts" / "recipes" / "evolve").glob("*.yaml"))
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


def generations(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]


def test_all_methods_in_one_run_leave_what_can_be_audited(tmp_path: Path) -> None:
    settings = replace(SHORT, method=[f"{name}=1" for name in METHODS], generations=5, out=str(tmp_path / "run"))
    summary = run(settings)
    assert summary["finished"]
    assert summary["generations"] == 5
    assert summary["autonomy"].startswith("low, with medium elements")
    found = generations(tmp_path / "run")
    assert [r["generation"] for r in found] == [0, 1, 2, 3, 4, 5]
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
    """Of games there must be some that are not all forfeits, or the baseline of the rule would make no difference."""
    plays = {"seed_steps": 60, "games": 32, "updates": 2, "gate_margin": None} if method == "critic" else {}
    settings = replace(SHORT, method=[method], generations=3, keep=keep, restart=keep == "none", **plays)
    run(replace(settings, out=str(tmp_path / "whole")))
    run(replace(settings, out=str(tmp_path / "parts")), stop_after=1)
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
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    again = EvolveRun(EvolveSettings(resume=str(tmp_path / "parts")), say=lambda text: None)
    assert (again.learner.lr, again.learner.factor) == (SHORT.lr / 2, 0.5)
    assert again.guard is not None
    assert again.guard.rollbacks == 1


def test_a_run_that_the_guard_stops_says_why_and_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No strength is enough here. What the script prints, and its exit code, are those of a stop, twice."""
    path = Path(__file__).parent.parent / "scripts" / "evolve.py"
    spec = importlib.util.spec_from_file_location("evolve_script", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setenv("COLUMNS", "400")
    few = ("seed_tasks", "seed_steps", "probe_tasks", "hidden_tasks", "prompts", "steps", "hidden", "layers")
    given = [word for name in few for word in (f"--{name}", str(getattr(SHORT, name)))]
    out = str(tmp_path / "run")
    arguments = [*given, "--keep", "none", "--guard_rules", "strength_drop=1:stop", "--out", out]
    for words in (arguments, ["--resume", out]):
        monkeypatch.setattr(sys, "argv", ["evolve.py", *words])
        assert script.main() == 3
        said = capsys.readouterr().out
        assert "the guard stopped the run: generation 1: strength" in said
        assert "by the rule strength_drop: stopping" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["finished"], summary["generations"], summary["accepted"]) == (False, 1, 0)
    assert summary["stopped"].endswith("stopping")


def test_a_warning_of_the_guard_is_printed_and_written_down(tmp_path: Path) -> None:
    settings = replace(SHORT, generations=1, guard="warn", guard_rules=["strength_drop=1:warn"], gate_margin=None)
    whole = EvolveRun(replace(settings, out=str(tmp_path / "run")), say=lambda text: None)
    list(whole.prepare())
    *_, last = whole.evolve()
    assert last.admission == (True, "there is no gate")
    assert generations(tmp_path / "run")[1]["warning"] == last.warning
    assert "by the rule strength_drop: going on" in last.warning


def test_earlier_selves_come_back_with_a_run(tmp_path: Path) -> None:
    """Two generations in, a run that is taken up again holds the weights that voted in it, to the bit."""
    settings = replace(SHORT, method=["self-training"], generations=3, keep="ensemble", out=str(tmp_path / "run"))
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
    ],
)
def test_bad_input_is_refused_in_words(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = EvolveSettings(**({} if "resume" in given else {"out": str(tmp_path / "run")}) | given)
    with pytest.raises(ValueError, match=message):
        EvolveRun(settings, say=lambda text: None)


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
