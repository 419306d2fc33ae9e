"""What there is to play: a table of every registered game, made from the registry and the games themselves.

    python -m sparring.envs.catalogue               # print it
    python -m sparring.envs.catalogue --update      # write it into docs/catalogue.md

Chosen: no name of a game stands here; what a class does not say (whether moves are listed, how large the tree is) is
found by looking at the game with its default settings. Left out: the games of other libraries, which `list_games` of a
family names.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .check_cases import moves_of
from .game import Game
from .registry import make, own_games
from .tree import NotEnumerable, Tree, enumerate_tree, previous_slots

PAGE = Path("docs/catalogue.md")
BEGIN, END = "<!-- catalogue: begin -->", "<!-- catalogue: end -->"
LIMIT = 10_000
"""States up to which a game's tree is gone through."""
WALKS = 2
"""Random games that are looked at."""
HEADER = ("game", "seats", "rewards", "hidden", "moves", "judged", "exact", "skins", "measure", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the table says of one game with its default settings."""

    id: str
    roles: tuple[str, str]
    """What the seats are; empty where their parts are the same."""
    zero_sum: bool
    hidden: bool | None
    """Whether a seat is kept from knowing something; None: neither said nor found."""
    listed: bool
    """Whether there are turns with a list of legal moves."""
    spoken: bool
    """Whether there are turns of free text."""
    judged: bool
    """Whether a judge may have to decide."""
    states: int | None
    """How many states its tree has; None: it has none, or one larger than the limit."""
    larger: bool
    """Whether it lists its deals and moves, and has more states than the limit."""
    skins: tuple[str, ...]
    figure: str
    """What says how well two copies of a policy play."""
    source: str


@lru_cache(maxsize=512)
def entry(id: str, *, limit: int = LIMIT) -> Entry:
    """Return what there is to say of a registered game; its tree is gone through up to `limit` states."""
    game = make(id)
    tree, larger = _tree(game, limit)
    kinds = _kinds(game)
    hidden = game.hidden_information
    if hidden is None and tree is not None:
        hidden = not tree.perfect_information
    return Entry(
        id=id,
        roles=game.roles,
        zero_sum=game.zero_sum,
        hidden=hidden,
        listed=False in kinds,
        spoken=True in kinds,
        judged=type(game).case is not Game.case,
        states=None if tree is None else len(tree),
        larger=larger,
        skins=game.skins,
        figure=game.figure,
        source=game.source,
    )


def catalogue(*, limit: int = LIMIT) -> tuple[Entry, ...]:
    """Return an entry for every registered game, sorted by id."""
    return tuple(entry(id, limit=limit) for id in own_games())


def table(entries: tuple[Entry, ...], *, limit: int = LIMIT) -> str:
    """Return the entries as a Markdown table."""
    rows = [HEADER, ("---",) * len(HEADER), *(_row(found, limit) for found in entries)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def update(page: Path = PAGE) -> None:
    """Write the table between the page's markers. Raises SystemExit where there are none."""
    if not page.is_file():
        raise SystemExit(f"no {page}: run this from the root of the repository")
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """Return the page's text with the table of today between its markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE} has lost its markers, {BEGIN} and {END}: put them back where the table belongs")
    return f"{before}{BEGIN}\n{table(catalogue())}\n{END}{after}"


def _tree(game: Game[Any], limit: int) -> tuple[Tree[Any] | None, bool]:
    """Return the tree that exact evaluation can use, or None and whether it is only too large."""
    try:
        tree = enumerate_tree(game, limit=limit)
        if not tree.perfect_information:
            previous_slots(tree)
    except NotEnumerable as why:
        return None, "more than" in str(why)
    except NotImplementedError:
        return None, False
    return tree, False


def _kinds(game: Game[Any]) -> set[bool]:
    """Return whether moves are free text, over the turns of a few random games."""
    found = set()
    for number in range(WALKS):
        rng = np.random.default_rng(number)
        state = game.deal(rng)
        for _ in range(game.max_turns):
            if game.seat(state) is None:
                break
            found.add(game.legal(state) is None)
            moves = moves_of(game, state)
            state = game.play(state, moves[int(rng.integers(len(moves)))])
    return found


def _row(found: Entry, limit: int) -> tuple[str, ...]:
    exact = f"above {limit:,} states" if found.larger else "no"
    moves = ["listed"] * found.listed + ["free text"] * found.spoken
    return (
        f"`{found.id}`",
        _cell(" / ".join(filter(None, found.roles)) or "alike"),
        "zero-sum" if found.zero_sum else "general-sum",
        {True: "yes", False: "no", None: "not said"}[found.hidden],
        " and ".join(moves),
        "yes" if found.judged else "no",
        exact if found.states is None else f"{found.states:,} states",
        ", ".join(found.skins),
        found.figure or "reward",
        _cell(found.source or "not said"),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Print the table of all registered games, or write it into the manual."""
    parser = argparse.ArgumentParser(prog="python -m sparring.envs.catalogue", description=main.__doc__)
    parser.add_argument("--update", action="store_true", help=f"write the table into {PAGE} instead")
    parser.add_argument("--limit", type=int, default=LIMIT, help="states up to which trees are gone through")
    options = parser.parse_args()
    if options.update:
        update()
        print(PAGE)
    else:
        print(table(catalogue(limit=options.limit), limit=options.limit))


if __name__ == "__main__":
    main()
