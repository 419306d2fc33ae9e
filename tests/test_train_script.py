"""scripts/train.py as its users meet it: what it writes, what it refuses, what an interrupt leaves."""

import gc
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from sparring.agents import LanguageModelAgent, make_agent
from sparring.envs import make
from sparring.selfplay import exploitability

ROOT = Path(__file__).resolve().parent.parent
SHORT = ("--games", "1024", "--batch_games", "256", "--measure_every", "2")
QUICK = (*SHORT, "--warm_steps", "20")
ENVIRONMENT = {"COLUMNS": "200", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_script", ROOT / "scripts" / "train.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


SCRIPT = _load_script()


def train(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script's `main` in this process, which spares it the imports, some five seconds."""
    said, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(errors):
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        # What is for a process of its own.
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr(gc, "freeze", lambda: None)
        patch.setattr(gc, "set_threshold", lambda _: None)
        try:
            code = SCRIPT.main()
        except SystemExit as error:  # of argparse
            code = error.code
    return subprocess.CompletedProcess([], code, said.getvalue(), errors.getvalue())


def train_apart(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as its users do."""
    command = [sys.executable, "scripts/train.py", *map(str, arguments)]
    environment = os.environ | ENVIRONMENT
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def refuse(*arguments: str | Path) -> str:
    """Return what the script says as it refuses."""
    done = train(*arguments)
    assert done.returncode == 2
    return done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    out = tmp_path_factory.mktemp("runs") / "kuhn"
    done = train_apart(*QUICK, "--seed", "3", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "nashconv" in done.stdout
    return out


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_summary_says_what_was_done(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["game"], summary["seed"], summary["games"], summary["finished"]) == ("KuhnPoker-v0", 3, 1024, True)
    assert 0 < summary["nashconv"] < 2
    assert 0 < summary["nashconv_start"] < 2
    assert 0 <= summary["illegal_rate"] <= 1
    assert summary["seconds"] > 0


def test_metrics_start_before_the_first_game_and_end_with_the_last(run: Path) -> None:
    metrics = lines(run / "metrics.jsonl")
    assert [m["games"] for m in metrics] == [0, 512, 1024]
    summary = json.loads((run / "summary.json").read_text())
    assert metrics[0]["nashconv"] == summary["nashconv_start"]
    assert metrics[-1]["nashconv"] == summary["nashconv"]


def test_the_saved_model_is_the_one_that_was_measured(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    again = exploitability(make("KuhnPoker-v0"), make_agent(str(run / "model"))).nashconv
    assert again == pytest.approx(summary["nashconv"], abs=1e-5)
    assert not list(run.rglob("*.bin")) + list(run.rglob("*.pt"))


def test_transcripts_and_picture_are_there(run: Path) -> None:
    games = lines(run / "transcripts.jsonl")
    assert len(games) == 8
    assert all(g["turns"][0]["prompt"].startswith("You are playing Kuhn poker") for g in games)
    assert (run / "nashconv.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_settings_give_the_same_run(run: Path, tmp_path: Path) -> None:
    """The written config is a config; in flight, batches and time are no part of the result."""
    done = train("--config", run / "config.yaml", "--in_flight", "37", "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((d / "summary.json").read_text()) for d in (run, tmp_path / "again"))
    assert again["nashconv"] == pytest.approx(first["nashconv"], abs=1e-4)


def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path) -> None:
    """A folder with a model in it, but no run, once lost that model to the new one."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("precious")
    for more in ((), ("--overwrite",)):
        refused = train(*QUICK, *more, "--out", tmp_path)
        assert refused.returncode == 2
        assert "is not empty" in refused.stderr
    assert (tmp_path / "model" / "weights").read_text() == "precious"


def test_a_run_is_not_overwritten(run: Path) -> None:
    before = (run / "summary.json").read_bytes()
    refused = train(*QUICK, "--out", run)
    assert refused.returncode == 2
    assert "holds a run already" in refused.stderr
    assert (run / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gmae", "Nim-v0"], "Did you mean 'game'?"),
        (["--game", "KuhnPokr-v0"], "Did you mean 'KuhnPoker-v0'?"),
        (["--opponent", "randm"], "Did you mean 'random'?"),
        (["--update", "poo"], "Did you mean 'ppo'?"),
        (["--skin", "obfuscate"], "Did you mean 'obfuscated'?"),
        (["--games", "many"], "invalid int value: 'many'"),
        (["--model", "random"], "is no language model"),
        (["--games", "0"], "games must be 1 or more"),
        (["--temperature", "0"], "temperature must be above 0"),
        (["--seed", "-1"], "seed must be 0 or more"),
        (["--lr", "-1"], "lr must be above 0"),
        (["--opponent", "human"], "play against the model with scripts/play.py"),
        (["--game", "mine.py"], "as mine.py:MyGame"),
        (["--dtype", "bfloat16"], "dtype is for loaded models"),
        (["--measure", "exat"], "Did you mean 'exact'?"),
        (["--game", "ConnectFour-v0", "--measure", "exact"], "more than 1,000,000 states"),
        (["--game", "no_such_module:Game"], "No module named"),
        (["--options", "dice"], "write name=value"),
        (["--game", "LiarsDice-v0", "--options", "dise=2"], "Did you mean 'dice'?"),
        (["--kl_end", "small"], "a number or none, not 'small'"),
        (["--max_new_tokens", "1.5"], "a whole number or none, not '1.5'"),
        (["--thinking", "perhaps"], "true, false or none, not 'perhaps'"),
        (["stray"], "'stray' belongs to no flag"),
    ],
)
def test_bad_settings_end_at_once_and_name_the_remedy(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert said in refuse(*arguments, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_game": 3}, "Did you mean 'batch_games'?"),
        ({"games": 512.0}, "games must be of kind int, not 512.0"),
        ({"kl": [1]}, "kl must be of kind float"),
        ({"options": [{"dice": 2}]}, "options is a list of words, and {'dice': 2} is none: write \"dice=2\""),
        ({"rate_anchors": [1]}, 'rate_anchors is a list of words, and 1 is none: write "1"'),
        (["games"], "is not a YAML file of settings"),
    ],
)
def test_what_is_wrong_in_a_config_file_is_named(settings: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    assert said in refuse(f"--config={tmp_path / 'c.yaml'}")


OPTIONAL = ("kl_end", "max_new_tokens", "thinking", "skin", "judge", "clip_high", "anchor_every")


def test_what_may_be_left_out_may_be_none_by_flag_and_by_file(tmp_path: Path) -> None:
    """--thinking none was refused, and --skin none a skin of that name."""
    words = {"kl_end": "0.5", "max_new_tokens": "7", "thinking": "false", "skin": "brief", "judge": "rule"}
    given = SCRIPT.read_settings([part for name, word in words.items() for part in (f"--{name}", word)])
    assert [getattr(given, name) for name in words] == [0.5, 7, False, "brief", "rule"]
    path = tmp_path / "c.yaml"
    path.write_text("".join(f"{name}: {word}\n" for name, word in words.items()))
    for none in ("none", "null", "None"):
        flags = [part for name in OPTIONAL for part in (f"--{name}", none)]
        settings = SCRIPT.read_settings(["--config", str(path), *flags])
        assert [getattr(settings, name) for name in OPTIONAL] == [None] * len(OPTIONAL)
    path.write_text("".join(f"{name}: none\n" for name in OPTIONAL))
    settings = SCRIPT.read_settings([f"--config={path}"])
    assert [getattr(settings, name) for name in OPTIONAL] == [None] * len(OPTIONAL)


def test_a_flag_that_cannot_be_read_is_refused_in_a_line_too() -> None:
    """argparse had all flags before it."""
    assert refuse("--games", "many") == "train.py: argument --games: invalid int value: 'many'; see --help\n"


def test_a_refusal_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = train_apart("--games", "0", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr == "train.py: games must be 1 or more, not 0\n"


def test_recipes_are_configs_that_can_be_read() -> None:
    recipes = sorted((ROOT / "scripts" / "recipes").glob("*.yaml"))
    assert {"kuhn", "kuhn_dpo", "kuhn_ppo", "leduc", "qwen_lora", "tictactoe", "tictactoe_pool"} <= {
        r.stem for r in recipes
    }
    assert "games must be 1 or more" in refuse("--config", ROOT / "scripts" / "recipes" / "kuhn.yaml", "--games", "0")


HEARS_CTRL_C = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script. What a shell starts in the background is deaf to SIGINT, and so is whatever that starts in turn."""


def test_an_interrupt_leaves_a_model_that_loads(tmp_path: Path) -> None:
    out = tmp_path / "run"
    script = [sys.executable, "-c", HEARS_CTRL_C, "scripts/train.py"]
    command = [*script, "--games", "10000000", "--warm_steps", "5", "--out", str(out)]
    running = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while running.poll() is None and not (out / "metrics.jsonl").exists():
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert json.loads((out / "summary.json").read_text())["finished"] is False
    assert isinstance(make_agent(str(out / "model")), LanguageModelAgent)


def test_the_saved_model_generates_with_plain_transformers(run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = (c.from_pretrained(run / "model") for c in (AutoTokenizer, AutoModelForCausalLM))
    inputs = tokenizer("Your move, in square brackets:", return_tensors="pt", return_token_type_ids=False)
    assert model.generate(**inputs).shape[1] == inputs["input_ids"].shape[1] + 1


def test_a_saved_model_can_be_trained_further_and_played_against(run: Path, tmp_path: Path) -> None:
    done = train(*SHORT, "--model", run / "model", "--opponent", run / "model", "--out", tmp_path / "next")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "next" / "summary.json").read_text())["finished"] is True


FORGETFUL = """
from sparring.envs import Game


class Forgetful(Game):
    rules = "Seat 0 names a number, then guesses which it was; seat 1 said one in between."

    def deal(self, rng):
        return (str(rng.integers(2)),)

    def deals(self):
        return [(("0",), 0.5), (("1",), 0.5)]

    def seat(self, state):
        return (0, 1, 0, None)[len(state) - 1]

    def observation(self, state, seat):
        return f"This is turn {len(state)}."

    def legal(self, state):
        return ("0", "1") if len(state) < 4 else ()

    def play(self, state, move):
        if move not in self.legal(state):
            raise ValueError(move)
        return (*state, move)

    def rewards(self, state):
        won = 1.0 if len(state) == 4 and state[3] == state[1] else -1.0
        return (won, -won) if len(state) == 4 else (0.0, 0.0)
"""


def test_a_game_without_perfect_recall_is_measured_by_matches_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    small = ("--games", "32", "--batch_games", "16", "--warm_steps", "1", "--measure_every", "2")
    done = train("--game", f"{tmp_path / 'forgetful.py'}:Forgetful", *small, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "no perfect recall" in done.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["reward_vs_random_error"] > 0


def test_nashconv_can_be_sampled(tmp_path: Path) -> None:
    done = train(*QUICK, "--measure", "sampled", "--samples", "20", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["nashconv_lower"] <= summary["nashconv"] <= summary["nashconv_upper"]


def test_a_game_too_large_for_exact_measures_is_measured_by_matches(tmp_path: Path) -> None:
    small = ("--games", "32", "--batch_games", "16", "--warm_steps", "1", "--measure_every", "2")
    done = train("--game", "ConnectFour-v0", *small, "--out", tmp_path / "c4")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "c4" / "summary.json").read_text())
    assert summary["nashconv"] is None
    assert -1 <= summary["reward_vs_random"] <= 1


TINY = ("--hidden", "16", "--layers", "1", "--heads", "2", "--warm_steps", "3", "--batch_games", "32")


def test_a_stop_by_the_guard_has_an_exit_code_and_a_text_of_its_own(tmp_path: Path) -> None:
    """No entropy is enough here. It ended as an interrupt once, with the advice to resume what stops again."""
    rule = ("--guard_rules", "entropy_floor=1e9:stop")
    done = train(*TINY, "--games", "320", "--measure_every", "3", *rule, "--out", tmp_path / "run")
    assert done.returncode == 3, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["finished"], summary["games"]) == (False, 4 * 32)
    assert summary["stopped"].endswith("by the rule entropy_floor: stopping")
    text = " ".join(done.stdout.split())
    assert "the guard stopped the run: update 4: entropy" in text
    assert "for instance --guard_rules entropy_floor=warn" in text
    assert "to go on from the last checkpoint" not in text
    assert isinstance(make_agent(str(tmp_path / "run" / "model")), LanguageModelAgent)


def test_a_model_that_breaks_without_a_guard_ends_with_a_message_and_a_summary(tmp_path: Path) -> None:
    """Weights of 1e15 are finite, what the model computes from them is not."""
    flags = ("--guard", "none", "--lr", "1e15", "--lr_end", "1e15", "--out", tmp_path / "run")
    done = train(*TINY, "--games", "320", "--measure_every", "3", *flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "train.py: update 2: the model's logits are not finite; lower the learning rate" in done.stderr
    assert "with --guard default a run goes back to where it was good" in done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["finished"] is False
    assert "not finite" in summary["broken"]
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_that_is_broken_from_the_start_is_refused_with_a_message(tmp_path: Path) -> None:
    said = refuse(*TINY, "--warm_steps", "0", "--temperature", "1e-40", "--out", tmp_path / "run")
    assert "not finite" in said
