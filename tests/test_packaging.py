"""What the built distributions hold, and that they live beside the packages that own the short names."""

import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "agents", "selfplay")
NOT_SOURCE = ("*.egg-info", "__pycache__", "build", "dist", "runs", "wandb", ".*")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist, built from a copy of the tree: a build leaves traces where it runs."""
    tree = tmp_path_factory.mktemp("build") / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(tree.parent / "out"),
        str(tree),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (tree.parent / "out").glob("*.whl")
    return built


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder that first held a package `agents` of somebody else's; then our wheel was installed."""
    folder = tmp_path_factory.mktemp("site")
    theirs = folder / "agents"
    theirs.mkdir()
    (theirs / "__init__.py").write_text('OWNER = "theirs"\n')
    (theirs / "agent.py").write_text('OWNER = "theirs"\n')
    # --upgrade: without it, --target leaves a folder alone that is there already, which hides a collision.
    options = ["--no-deps", "--no-index", "--upgrade", "--target", str(folder)]
    command = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def dist_info(wheel: Path) -> str:
    """The name of the wheel's metadata folder: `sparring-0.1.0.dist-info`."""
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"


def run_python(code: str, *path: Path, cwd: Path) -> str:
    """Run `code` in a fresh interpreter that looks in `path` first; return what it printed."""
    environment = {"PYTHONPATH": ":".join(map(str, path)), "PATH": "", "HOME": str(cwd)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {"/".join(name.split("/")[:2]) for name in names if ".dist-info/" not in name}
    assert tops == {f"sparring/{package}" for package in PACKAGES}
    assert {name.split("/")[0] for name in names if ".dist-info/" in name} == {dist_info(wheel)}


def test_wheel_holds_every_module_and_table_of_the_folders(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        f"sparring/{p.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for kind in ("*.py", "*.tsv")
        for p in (ROOT / package).rglob(kind)
    }
    assert modules - names == set()


def test_wheel_holds_what_games_read(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {f"sparring/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "envs" / "data").iterdir()}
    assert data
    assert data - names == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_says_that_it_is_typed(wheel: Path, package: str) -> None:
    assert f"sparring/{package}/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_what_the_page_of_a_benchmark_is_made_of(wheel: Path) -> None:
    for name in ("page.css", "page.js"):
        assert zipfile.ZipFile(wheel).read(f"sparring/selfplay/{name}") == (ROOT / "selfplay" / name).read_bytes()


def test_wheel_carries_the_license(wheel: Path) -> None:
    name = f"{dist_info(wheel)}/licenses/LICENSE"
    assert zipfile.ZipFile(wheel).read(name).decode() == (ROOT / "LICENSE").read_text()


def test_neither_agents_package_breaks_the_other(site: Path, tmp_path: Path) -> None:
    """openai-agents imports as `agents`: a wheel of ours with a top-level `agents` would overwrite it."""
    code = (
        "import agents, agents.agent, sparring.agents, sparring.envs, sparring.selfplay\n"
        "print(agents.OWNER, agents.agent.OWNER)\n"
        "print(*[m.__file__ for m in (sparring.agents, sparring.envs, sparring.selfplay)], sep='\\n')\n"
        "assert sparring.agents.Agent is not getattr(agents, 'Agent', None)\n"
    )
    owners, *files = run_python(code, site, cwd=tmp_path).splitlines()
    assert owners == "theirs theirs"
    assert files == [str(site / "sparring" / name / "__init__.py") for name in ("agents", "envs", "selfplay")]


def test_importing_envs_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys, sparring.envs\n"
        "heavy = 'torch transformers trl peft accelerate open_spiel pyspiel matplotlib wandb scipy'.split()\n"
        "print(*[name for name in heavy if name in sys.modules])"
    )
    assert run_python(code, cwd=tmp_path) == ""


def test_no_source_imports_a_folder_by_its_bare_name() -> None:
    """`from envs import Game` makes a second copy of every class, unequal to the one in `sparring.envs`."""
    flat = re.compile(r"^\s*(from|import) (envs|agents|selfplay)(\.| |$)", re.MULTILINE)
    sources = [p for f in (*PACKAGES, "scripts", "tests", "benchmarks") for p in (ROOT / f).rglob("*.py")]
    assert len(sources) > 10
    assert [str(p.relative_to(ROOT)) for p in sources if flat.search(p.read_text())] == []


def test_every_module_has_its_forwarding_stub() -> None:
    """Without one, type checkers see `Any` behind `sparring.*`. Remedy: `python typings/update.py`."""
    spec = importlib.util.spec_from_file_location("typings_update", ROOT / "typings" / "update.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.update(check=True) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_that_loads_late_has_the_name_of_a_module(package: str) -> None:
    """A module named self_play, once imported, stood where the function of that name was looked for."""
    facade = importlib.import_module(f"sparring.{package}")
    modules = {path.stem for path in (ROOT / package).glob("*.py")}
    assert set(getattr(facade, "_LAZY", {})) & modules == set()
