"""Ratings while a run trains: the policy, as it is measured, meets fixed players and the pool's snapshots.

The same pairs, log and model as a tournament's, added to at every measure, so that each rating rests on all games of
the run so far and the anchor ties them together. Left out: games between snapshots, which say nothing of the policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sparring.agents import Agent
from sparring.envs import Game

from .bench import header
from .match_log import MatchLog
from .standings import ratings_table, results_of, staked_games
from .tournament import Entrant, Entry, plan, tournament

NAME = "policy-"
"""What the policy is called at its n-th measure, behind the name."""
SEED = 1 << 34
"""Added to the run's seed, so that no game that is rated was trained on."""


class RunRatings:
    """Rates the policy of a run at each of its measures."""

    def __init__(
        self,
        game: Game[Any],
        path: Path,
        anchors: Sequence[Agent],
        *,
        pairs: int,
        seed: int = 0,
        retries: int = 0,
        snapshots: Callable[[], Sequence[Agent]] = tuple,
    ) -> None:
        """Set up what is played; nothing is, nor is the log opened, before the first measure.

        Args:
            game: what is played.
            path: of the log.
            anchors: players that stay as they are; the first one's rating is 0.
            pairs: pairs of games against each opponent at each measure.
            seed: of the run.
            retries: illegal replies that a seat may take back in a turn.
            snapshots: returns the frozen policies that are met too.
        """
        self.game, self.path, self.anchors, self.snapshots = game, path, tuple(anchors), snapshots
        self.pairs, self.seed, self.retries = pairs, seed + SEED, retries
        self._log: MatchLog | None = None

    @property
    def log(self) -> MatchLog:
        """The log of all games so far."""
        if self._log is None:
            # Snapshots come and go, and are known by the run's own checkpoints.
            anchors = [Entrant(name=anchor.name, agent=anchor) for anchor in self.anchors]
            entry = Entry(label=self.game.name, game=self.game)
            # The run's folder is its own; a run that was left in this process may still have the file open.
            self._log = MatchLog(self.path, header(anchors, [entry], retries=self.retries), alone=False)
        return self._log

    def take(self, player: Agent, number: int) -> dict[str, float]:
        """Let the policy play, and return its rating in Elo above the first anchor, with the ends of its interval.

        An end that nothing bounds is not a number, and so is everything where no game counted.

        Args:
            player: the policy.
            number: of the measure in the run, from 0. Pairs of it that are in the log are not played again, and later
                measures that are there do not count, so that a run that was cut short has the ratings of a whole one.
        """
        log, entry = self.log, Entry(label=self.game.name, game=self.game)
        name = f"{NAME}{number}"
        entrants = [Entrant(name=name, agent=player)]
        entrants += [Entrant(name=other.name, agent=other) for other in (*self.anchors, *self.snapshots())]
        # Other deals at every measure: the same ones would make the same luck look like strength all along.
        keys = plan(entrants, [entry], pairs=self.pairs, seed=self.seed + number, baseline=name)
        for played in tournament(entrants, [entry], keys, done=log.done, retries=self.retries):
            log.add(played, retries=self.retries)
        return self._rating(name, self.seed + number)

    def _rating(self, name: str, last_seed: int) -> dict[str, float]:
        # The seed of a pair says of which measure it is.
        records = [record for key, record in self.log.records.items() if key.seed <= last_seed]
        ranges = {self.game.name: self.game.reward_range}
        staked = staked_games(records, ranges)
        results = [result for record in records for result in results_of(record, ranges, staked)]
        table = ratings_table(results, self.anchors[0].name, 0.95, staked) or {}
        found = table.get("players", {}).get(name, {"elo": math.nan, "low": None, "high": None})
        low, high = (math.nan if found[end] is None else found[end] for end in ("low", "high"))
        return {"rating": found["elo"], "rating_low": low, "rating_high": high}
