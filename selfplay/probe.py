"""How much can be won against a player by somebody who trains for nothing else: a best response as a probe.

A fresh tiny model is trained against the frozen player within a budget of games; what it then wins is a lower bound on
what a best response would. Left out: several exploiters; the best of them would be biased upwards.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sparring.agents import Agent
from sparring.envs import Ending, Game

from .runs import write_whole
from .standings import mean_interval
from .tournament import Entrant, Entry, Played, plan, said, tournament
from .training import Anneal

MATCH = 1000
"""Most games that are played after training, on deals that were not trained on; no more than were trained on."""
MATCH_SEED = 1 << 33
WARM_STEPS = 200
"""Most steps of imitating random moves before training."""
GAMES_A_STEP = 10
"""Games of the budget that allow for one such step."""
LR, KL = Anneal(2e-3, 1e-4), Anneal(0.1, 0.01)
"""Against a player that does not change there is nothing to circle around, so the pull to the start may be weak."""

Watch = Callable[[str, int, int], None]
"""Is told what is going on, how much of it is done, and how much there is."""


class ProbeLog:
    """A file with what every exploiter won, so that none is trained twice."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Read the file, if there is one. `header` says what makes games and players the same, as that of `MatchLog`.

        Raises ValueError if the file is damaged.
        """
        self.path = path
        self._header = json.loads(json.dumps(header))
        self._found: list[dict[str, Any]] = []
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                self._found.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number} is damaged ({error}); remove that line") from error

    def before(self, about: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what a probe of before found; None if there was none, or it failed."""
        key = self._key(about)
        return next((found for found in self._found if "won" in found and found.items() >= key.items()), None)

    def kept(self, headers: Sequence[Mapping[str, Any]], level: float) -> list[dict[str, Any]]:
        """Return what was last found of each player in each game, if it is one of these headers' of that name.

        `level` is of the intervals of mean rewards.
        """
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for record in self._found:
            game, player = record["game"], record["player"]
            if any([h["games"].get(game), h["players"].get(player)] == record["identity"] for h in headers):
                where = (game, player, record["games"], record["seed"])
                about = {"game": game, "player": player, "games": record["games"]}
                found[where] = {**about, **_outcome(record, level, _told_range(headers, game))}
        return list(found.values())

    def add(self, about: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Keep what a probe found; returns when it is on the disk."""
        self._found.append({**self._key(about), **found})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, "".join(json.dumps(record) + "\n" for record in self._found))

    def _key(self, about: Mapping[str, Any]) -> dict[str, Any]:
        return {**about, "identity": [self._header["games"][about["game"]], self._header["players"][about["player"]]]}


def kept_probes(
    logs: Iterable[Path], headers: Sequence[Mapping[str, Any]], *, level: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what exploiters have won that is kept beside some logs, and which of that cannot be read."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    notes: list[str] = []
    for folder in dict.fromkeys(path.parent for path in logs):
        try:
            kept = ProbeLog(folder / "probe.jsonl", {}).kept(headers, level)
        except (ValueError, KeyError, OSError) as error:
            notes.append(f"What exploiters won is not told: {said(error)}.")
            continue
        found |= {tuple(map(str, one.values())): one for one in kept}
    return list(found.values()), notes


def probe(
    entrants: Sequence[Entrant],
    entries: Sequence[Entry],
    *,
    games: int,
    seed: int = 0,
    retries: int = 0,
    level: float = 0.95,
    log: ProbeLog | None = None,
    without: Collection[tuple[str, str]] = (),
    watch: Watch = lambda what, done, total: None,
) -> Iterator[dict[str, Any]]:
    """Train an exploiter against each player in each game, and yield what each wins.

    Args:
        entrants: the players.
        entries: the games.
        games: to train on, each.
        seed: of the exploiter and its games.
        retries: illegal replies that a seat may take back in a turn.
        level: of the interval of its mean reward.
        log: what was found before, and is not looked for again; takes in what is found now.
        without: players and games that do not go together, by name and label.
        watch: sees how each goes on.
    """
    there = [(entry, e) for entry in entries for e in entrants if entry.game is not None and e.agent is not None]
    due = [(entry, e) for entry, e in there if (e.name, entry.label) not in without]
    for number, (entry, entrant) in enumerate(due, 1):
        about = {"game": entry.label, "player": entrant.name, "games": games, "seed": seed}
        found = None if log is None else log.before(about)
        if found is None:
            where = f"{number} of {len(due)}, {entrant.name} in {entry.label}"
            found = _try(entry, entrant, games=games, seed=seed, retries=retries, watch=_placed(watch, where))
            if log is not None:
                log.add(about, found)
        yield {"game": entry.label, "player": entrant.name, "games": games, **_outcome(found, level, _range(entry))}


def _placed(watch: Watch, where: str) -> Watch:
    return lambda what, done, total: watch(f"{where}: {what}", done, total)


def _try(entry: Entry, entrant: Entrant, **terms: Any) -> dict[str, Any]:
    assert entry.game is not None
    assert entrant.agent is not None
    try:
        return exploit(entry.game, entrant.agent, **terms)._asdict()
    except Exception as error:  # noqa: BLE001
        # Whatever the player or the game broke on, the other probes go on.
        return {"none": said(error)}


def _range(entry: Entry) -> tuple[float, float]:
    assert entry.game is not None
    return entry.game.reward_range


def _told_range(headers: Iterable[Mapping[str, Any]], label: str) -> tuple[float, float] | None:
    """Return the reward range of a game, if headers tell it."""
    told = (header["games"].get(label, {}).get("reward_range") for header in headers)
    return next(((low, high) for low, high in filter(None, told)), None)


def _outcome(found: Mapping[str, Any], level: float, limits: tuple[float, float] | None) -> dict[str, Any]:
    if "none" in found:
        return {"none": found["none"]}
    # Logs of before say nothing of illegal replies.
    illegal = {"illegal": found["illegal"]} if "illegal" in found else {}
    return {"pairs": len(found["won"]), "reward": mean_interval(found["won"], level, limits), **illegal}


class Exploit(NamedTuple):
    """What an exploiter does."""

    won: list[float]
    """In rewards a game, a mean for each pair of one deal, both seats."""
    illegal: float
    """Share of its replies that were illegal: where it is high, what was won says nothing of what can be."""


def exploit(
    game: Game[Any],
    target: Agent,
    *,
    games: int,
    seed: int = 0,
    retries: int = 0,
    watch: Watch = lambda what, done, total: None,
) -> Exploit:
    """Return what a fresh exploiter does against `target`.

    Raises RuntimeError if no pair of games counts.
    """
    agent = train_exploiter(game, target, games=games, seed=seed, retries=retries, watch=watch)
    players = [Entrant(name="exploiter", agent=agent), Entrant(name="target", agent=target)]
    entries = [Entry(label=game.name, game=game)]
    keys = plan(players, entries, pairs=max(min(MATCH, games) // 2, 1), seed=seed + MATCH_SEED)
    won, replies = [], []
    for done, played in enumerate(tournament(players, entries, keys, retries=retries), 1):
        watch("is played against", done, len(keys))
        if all(episode.ending is not Ending.VOID for episode in played.episodes):
            won.append(_won(played))
            replies += [t for e in played.episodes for t in e.turns if e.players[t.seat] == "exploiter"]
    if not won:
        raise RuntimeError(f"every game against the exploiter was void: {played.episodes[0].why}")
    return Exploit(won, statistics.fmean(turn.problem is not None for turn in replies) if replies else 0.0)


def _won(played: Played) -> float:
    return statistics.fmean(episode.rewards[episode.players.index("exploiter")] for episode in played.episodes)


def train_exploiter(
    game: Game[Any],
    target: Agent,
    *,
    games: int,
    seed: int = 0,
    retries: int = 0,
    watch: Watch = lambda what, done, total: None,
) -> Agent:
    """Return a tiny model trained by PPO against `target`, which stays as it is."""
    from sparring.agents import tiny_agent

    from .advantage import RoleBaseline
    from .learner import Learner
    from .rules import make_objective, make_rule
    from .training import self_play, warm_start

    agent = tiny_agent(game, seed=seed, name="exploiter")
    steps = min(WARM_STEPS, games // GAMES_A_STEP + 1)
    for done, _ in enumerate(warm_start(game, agent, steps=steps, seed=seed + 2 * MATCH_SEED), 1):
        watch("learns the moves", done, steps)
    learner = Learner(agent, make_objective("ppo", kl=KL.start), lr=LR.start, seed=seed)
    rule = make_rule("ppo", learner, baseline=RoleBaseline(0.99))
    batch = max(min(512, games // 20), 1)
    schedules = {"lr": LR, "kl": KL}
    for generation in self_play(
        game,
        agent,
        rule,
        games=games,
        batch_games=batch,
        opponent=target,
        seed=seed,
        schedules=schedules,
        retries=retries,
    ):
        watch("trains", generation.games, games)
    return agent
