"""Measures which games of another library work here, and writes the tables in `envs/known/`.

    python -m sparring.envs.bridges open_spiel                     # measure every game and print the table
    python -m sparring.envs.bridges open_spiel chess hex           # only these
    python -m sparring.envs.bridges textarena --update             # measure and write envs/known/textarena.tsv

A game works if 20 random games of it come to an end by its rules and it keeps the contract of `check_game`. Each is
measured in a process of its own, because a library may crash, hang, print or reach for the network.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .bridged import Bridged, Known, plain
from .check import check_game
from .check_cases import moves_of
from .game import Ending, Game, Refused, Void, near
from .match import Match
from .registry import make

CLASSES = {
    "open_spiel": "from_open_spiel:OpenSpielGame",
    "textarena": "from_textarena:TextArenaGame",
    "pettingzoo": "from_pettingzoo:PettingZooGame",
}
FOLDER = Path("envs/known")
GAMES = 20
PLIES = 6_000
"""Moves that `check_game` looks at, about; it sees more games of short games than of long ones."""
SPOKEN = 600
"""As many where moves are free text, because each of them is searched for first."""
MOST_SECONDS = 600
"""After which a game is given up, unless said otherwise."""
COLUMNS = "# game\tworks\texact\tturns\tcharacters\twhy"


def measure(family: str, name: str) -> Known:
    """Return what is to be known of one game; what goes wrong in it is data."""
    turns = characters = 0
    try:
        game = make(f"{family}/{name}")
        branching = 1.0
        for number in range(GAMES):
            played, longest, moves = _random_game(game, number)
            turns, characters = max(turns, played), max(characters, longest)
            branching = max(branching, played * moves)
        plies = SPOKEN if game.keeps_brackets else PLIES
        check_game(game, games=max(1, min(GAMES, int(plies / branching))))
        return Known(name, True, _lists_deals(game), turns, characters, "")
    except Refused:
        return Known(name, False, False, turns, characters, "in some position no reply was found that the game takes")
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return Known(name, False, False, turns, characters, _one_line(error))


def _random_game(game: Game[Any], seed: int) -> tuple[int, int, float]:
    """Play a random game to its end; return its turns, its longest prompt and its mean number of moves."""
    rng = np.random.default_rng(seed)
    match = Match(game, np.random.default_rng([seed, 1]))
    longest, choices = 0, 0
    while match.seat is not None:
        longest = max(longest, len(match.prompt))
        moves = moves_of(game, match.state)
        choices += len(moves)
        move = moves[rng.integers(len(moves))]
        match.step(move if match.legal is None else f"[{move}]")
    if match.ending is Ending.ILLEGAL:
        raise Void(f"after {match.turns} turns no reply was found that the game takes")
    if match.ending is not Ending.PLAYED:
        raise Void(f"a random game ended {match.ending and match.ending.value} after {match.turns} turns. {match.why}")
    return match.turns, longest, choices / match.turns


def _lists_deals(game: Game[Any]) -> bool:
    try:
        next(iter(game.deals()))
    except NotImplementedError:
        return False
    return True


def _one_line(error: BaseException) -> str:
    text = " ".join(plain(str(error) or type(error).__name__).replace("\n", " ").split())
    return text.rpartition("cannot be played here: ")[2][:200]


def measured_apart(family: str, name: str, *, seconds: int) -> Known:
    """Return what `measure` returns in a process of its own."""
    command = [sys.executable, "-m", "sparring.envs.bridges", family, name, "--here"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Known(name, False, False, 0, 0, f"it took more than {seconds} seconds")
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"{name}\t")]
    if not lines:
        return Known(name, False, False, 0, 0, f"its process ended with code {done.returncode}")
    _, works, exact, turns, characters, why = lines[-1].split("\t")
    return Known(name, works == "yes", exact == "yes", int(turns), int(characters), why)


def table(family: str, names: list[str], *, seconds: int) -> Iterator[Known]:
    """Yield what is known of each game, in order."""
    candidates = family_class(family).candidates()
    for name in names or sorted(candidates):
        if name not in candidates:
            raise ValueError(f"{family} has no {name!r}.{near(name, candidates)}")
        if why := candidates[name]:
            yield Known(name, False, False, 0, 0, why)
        else:
            yield measured_apart(family, name, seconds=seconds)


def family_class(family: str) -> type[Bridged[Any, Any]]:
    """Return the class of a family's games. Raises ImportError where its library is missing."""
    module, _, name = CLASSES[family].partition(":")
    found: type[Bridged[Any, Any]] = getattr(importlib.import_module(f".{module}", __package__), name)
    return found


def written(known: Known) -> str:
    """Return a line of the table."""
    yes = ("no", "yes")
    cells = (known.name, yes[known.works], yes[known.exact], known.turns, known.characters, known.why)
    return "\t".join(map(str, cells))


def main() -> None:
    """Measure which games of another library work here."""
    parser = argparse.ArgumentParser(prog="python -m sparring.envs.bridges", description=main.__doc__)
    parser.add_argument("family", choices=sorted(CLASSES))
    parser.add_argument("names", nargs="*", help="games of it; all of them if none is named")
    parser.add_argument("--update", action="store_true", help=f"write {FOLDER}/<family>.tsv, of all or the named games")
    parser.add_argument("--seconds", type=int, default=MOST_SECONDS, help="after which a game is given up")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.here:
        print(*(written(measure(options.family, name)) for name in options.names), sep="\n")
        return
    lines = {}
    for known in table(options.family, options.names, seconds=options.seconds):
        lines[known.name] = written(known)
        print(lines[known.name], flush=True)
    if options.update:
        update(options.family, lines, whole=not options.names)


def update(family: str, lines: dict[str, str], *, whole: bool) -> None:
    """Write the table; if it is not measured as a whole, lines of other games stay."""
    file = FOLDER / f"{family}.tsv"
    if not FOLDER.is_dir():
        raise SystemExit(f"no folder {FOLDER}: run this from the root of the repository")
    if not whole and file.is_file():
        old = file.read_text(encoding="utf-8").splitlines()
        lines = {line.partition("\t")[0]: line for line in old if not line.startswith("#")} | lines
    rows = [lines[name] for name in sorted(lines)]
    file.write_text("\n".join([COLUMNS, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
