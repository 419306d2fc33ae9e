"""Games to step through: the first of each match-up, played again from the log, with what each seat was shown.

Chosen: a game that does not replay, because it is another one by now, is left out and told; the results in the log
stand. Left out: keeping the prompts themselves, which are most of what is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sparring.envs import Game

from .findings import why_lost
from .match_log import is_void, replay
from .standings import Record
from .tournament import PairKey

SHOWN = 3
"""Pairs of each match-up whose transcripts a report holds."""


def transcripts(
    records: Iterable[Record],
    games: Mapping[str, Game[Any]],
    lost: dict[PairKey, str] | None = None,
    *,
    tried: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the first games of each match-up with what each seat was shown, by playing them again.

    All pairs are played again, so that `lost`, which takes in why one does not replay, has all of those; but for pairs
    without a void game of the games `tried`, which `regrets` has played again. A pair that is lost is left out.
    """
    lost = {} if lost is None else lost
    found: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], int] = {}
    for record in records:
        key = PairKey(*record["pair"])
        matchup = (key.game, key.one, key.other)
        is_shown = seen.get(matchup, 0) < SHOWN
        if key.game not in games or not (is_shown or key.game not in tried or is_void(record)):
            continue
        try:
            both = [_transcript(record, which, games[key.game]) for which in (0, 1)]
        except Exception as error:  # noqa: BLE001 (what another version of a game makes of it)
            lost.setdefault(key, why_lost(error))
            continue
        if is_shown:
            found += both
            seen[matchup] = seen.get(matchup, 0) + 1
    return found


def _transcript(record: Record, which: int, game: Game[Any]) -> dict[str, Any]:
    told, key = record["games"][which], PairKey(*record["pair"])
    shown = [
        {"seat": seat, "prompt": prompt, "reply": reply, "problem": turn["problem"]}
        for (seat, prompt, reply), turn in zip(replay(record, which, game), told["turns"], strict=True)
    ]
    about = {key: told[key] for key in ("players", "rewards", "ending", "offender", "why")}
    return {"game": key.game, "seed": key.seed, "pair": key.number, **about, "turns": shown}
