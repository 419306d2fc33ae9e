"""Golden playthroughs: what a player of each registered game reads, for people and for `git diff`.

    python -m sparring.envs.playthrough KuhnPoker-v0    # print one
    python -m sparring.envs.playthrough --update        # write tests/playthroughs/<id>.txt for every game

Chosen: fixed seeds, replies in several manners of writing, one game lost by illegal replies, one in the
obfuscated skin. Left out: statistics and the whole tree; other tests look at those.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from .game import Game
from .match import Match
from .reading import Reading
from .registry import list_games, make
from .views import shown

FOLDER = Path("tests/playthroughs")
MANNERS = (
    "[{move}]",
    "<think>Perhaps [{other}]? No.</think> I play [{move}].",
    "[{other}] would be tempting, but [{move}]",
    "My move: [ {shout} ]",
)
SPEECH = "<think>They must not hear this.</think> {words}"
RUBBISH = "I would rather [win at once\x07]."


def playthrough(id: str) -> str:
    """Return the whole text of a registered game's playthrough."""
    skins = make(id).skins
    parts = [f"Playthroughs of {id}"]
    parts += _game("Random play", make(id), legal_replies(seed=1), seed=1)
    game = make(id, show_legal=False)
    note = "retries=1, show_legal=False"
    spoilt = _spoilt(legal_replies(seed=3), first=game.max_turns > 1)
    parts += _game("Illegal replies", game, spoilt, seed=3, retries=1, note=note)
    for skin in skins[1:]:
        game = make(id, skin=skin)
        parts += _game("Another skin", game, legal_replies(seed=1), seed=1, note=f"skin={skin}")
    return "\n".join(parts) + "\n"


def legal_replies(*, seed: int) -> Iterator[Any]:
    """Yield functions from a match to a legal reply, drawn at random and written in each manner in turn."""
    rng = np.random.default_rng(seed)
    for manner in cycle(MANNERS):

        def reply(match: Match[Any], manner: str = manner) -> str:
            if match.legal is None:
                said = match.game.speeches(match.state)
                words = said[rng.integers(len(said))] if said else f"Turn {match.turns}: I stand by what I said."
                return SPEECH.format(words=words)
            move, other = (match.legal[i] for i in rng.integers(len(match.legal), size=2))
            return manner.format(move=move, other=other, shout=move.upper())

        yield reply


def _spoilt(replies: Iterator[Any], *, first: bool) -> Iterator[Any]:
    """Yield, with `first`, an illegal reply and a legal one; then two illegal ones that lose the game."""
    if first:
        yield lambda match: RUBBISH if match.legal is not None else "<think>nothing</think>"
        yield next(replies)
    yield lambda match: None
    yield lambda match: "[[[" if match.legal is not None else " \u202e "


def _game(
    title: str, game: Game[Any], replies: Iterable[Any], *, seed: int, retries: int = 0, note: str = ""
) -> Iterator[str]:
    """Yield the lines of one game."""
    match = Match(game, np.random.default_rng(seed), retries=retries)
    yield f"\n======== {title}: seed {seed}{note and ', '}{note}"
    for seat, rules in enumerate([game.rules] if isinstance(game.rules, str) else game.rules):
        yield from ("", f"Rules{'' if isinstance(game.rules, str) else f' of seat {seat}'}:", *_quoted(rules))
    for reply in replies:
        if match.ending is not None:
            break
        yield from _turn(match, reply(match))
    yield f"\n-- {match.ending and match.ending.value}"
    yield f"offender: {match.offender}   illegal: {match.illegal}   rewards: {match.rewards}"
    for seat in (0, 1):
        yield from (f"seat {seat} reads:", *_quoted(shown(match, seat)))


def _turn(match: Match[Any], reply: object) -> Iterator[str]:
    seat = match.seat
    assert seat is not None
    rules = match.game.rules if isinstance(match.game.rules, str) else match.game.rules[seat]
    yield f"\n-- turn {match.turns}, seat {seat} reads:"
    yield from _quoted(match.prompt.replace(rules, "(rules)"))
    yield f"answers: {reply!a}"
    yield f"read as: {_meaning(match.step(reply))}"


def _meaning(reading: Reading) -> str:
    if reading.problem is None:
        return repr(reading.move)
    return f"{reading.problem.value}: {reading.detail}"


def _quoted(text: str) -> list[str]:
    return [f"| {line}".rstrip() for line in text.split("\n")]


def update(folder: Path = FOLDER) -> list[Path]:
    """Write the playthrough of every registered game, remove the others, and return the files."""
    if not folder.is_dir():
        raise SystemExit(f"no folder {folder}: run this from the root of the repository")
    files = [folder / f"{id}.txt" for id in list_games()]
    for stale in set(folder.glob("*.txt")) - set(files):
        stale.unlink()
    for file in files:
        file.write_text(playthrough(file.stem), encoding="utf-8")
    return files


def main() -> None:
    """Print playthroughs, or write all of them."""
    parser = argparse.ArgumentParser(prog="python -m sparring.envs.playthrough", description=main.__doc__)
    parser.add_argument("id", nargs="*", help="registered games to print; all of them if none is named")
    parser.add_argument("--update", action="store_true", help=f"write {FOLDER}/<id>.txt for every game instead")
    options = parser.parse_args()
    if options.update:
        print(*update(), sep="\n")
        return
    for id in options.id or list_games():
        print(playthrough(id))


if __name__ == "__main__":
    main()
