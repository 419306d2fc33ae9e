"""Write the forwarding stubs that let mypy, pyright and editors follow `sparring.*` to the folders.

    python typings/update.py            writes what is missing or stale, removes what has no module
    python typings/update.py --check    changes nothing; says what it would do, exits 1 if that is anything

setuptools maps `sparring.envs` to the folder `envs` on installing. Type checkers do not read that mapping, so
each module gets a stub of one line, `from envs.kuhn import *`; a class then has one identity, the folder's.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "agents", "selfplay")


def wanted(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of every stub that the folders call for, keyed by its path under `typings/sparring`."""
    modules = [source.relative_to(root) for name in PACKAGES for source in sorted((root / name).rglob("*.py"))]
    return {module.with_suffix(".pyi"): _stub(module) for module in modules}


def _stub(module: Path) -> str:
    parts = module.with_suffix("").parts
    dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return f"from {dotted} import *\n"


def update(root: Path = ROOT, *, check: bool = False) -> list[str]:
    """Make `typings/sparring` agree with the folders; return one line a stub that did not.

    With `check` nothing is written.
    """
    stubs = root / "typings" / "sparring"
    want = wanted(root)
    have = {path.relative_to(stubs): path.read_text() for path in stubs.rglob("*.pyi")}
    changes = [f"write {path}" for path in want if have.get(path) != want[path]]
    changes += [f"remove {path}" for path in have if path not in want]
    if check:
        return changes
    for path in have.keys() - want.keys():
        (stubs / path).unlink()
    for path, text in want.items():
        (stubs / path).parent.mkdir(parents=True, exist_ok=True)
        (stubs / path).write_text(text)
    return changes


if __name__ == "__main__":
    only_check = "--check" in sys.argv[1:]
    found = update(check=only_check)
    print("\n".join(found) or "typings are up to date")
    sys.exit(bool(found) and only_check)
