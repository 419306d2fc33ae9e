"""Tournaments: pairs of games of one deal with the seats swapped, many at once, each player asked in batches.

Chosen: a plan is a pure list of pairs, each with a key of its own, so that what was played before is known and skipped.
Whatever breaks, a player, a judge or a game, makes games void and never lost. Left out: who meets whom by rating.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple
from zlib import crc32

from sparring.agents import Agent, Picky, PlayerLeft, Prompt, Reply, mix
from sparring.envs import Case, Ending, Game, Judge, Match, Verdict
from sparring.envs.judging import decide

from .episode import Episode
from .play import Lane, as_they_end, deal

DOWN_AFTER = 5
"""Prompts in a row that found nobody, after which a player is asked no more."""
DOWN = "down, and not asked any more"
"""How the reason begins for which games of such a player are void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A player in a tournament."""

    name: str
    """How tables call it."""
    agent: Agent | None
    """Who plays; None where it could not be had."""
    broken: str = ""
    """Why it could not be had."""
    spec: str = ""
    """What it was entered as: for a model, the folder or name that it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A game in a tournament."""

    label: str
    """How tables call it: its id, with the skin where it is another."""
    game: Game[Any] | None
    """None where it could not be made."""
    broken: str = ""
    """Why it could not be made."""


class PairKey(NamedTuple):
    """What makes two games of one deal the same two games in any log."""

    seed: int
    game: str
    one: str
    """The first of the two names in the alphabet; it holds seat 0 in the first game."""
    other: str
    number: int


class Played(NamedTuple):
    """A pair of games."""

    key: PairKey
    episodes: tuple[Episode, Episode]
    verdicts: tuple[tuple[float, ...], tuple[float, ...]]
    """What judges said in each, as probabilities that seat 0 is right."""


def unable(
    entrants: Iterable[Entrant], entries: Sequence[Entry], *, able: Collection[tuple[str, str]] = ()
) -> dict[tuple[str, str], str]:
    """Return why some players cannot play some games, by player and game. Who is `able` to is not asked."""
    found: dict[tuple[str, str], str] = {}
    for entrant in entrants:
        for entry in entries:
            where = entrant.name, entry.label
            if isinstance(entrant.agent, Picky) and entry.game is not None and where not in able:
                found[where] = _refusal(entrant.agent, entry.game)
    return {where: why for where, why in found.items() if why}


def _refusal(agent: Picky, game: Game[Any]) -> str:
    try:
        return agent.refusal(game)
    except Exception:  # noqa: BLE001 (a game's own failure, which its games show)
        return ""


def plan(
    entrants: Sequence[Entrant],
    entries: Sequence[Entry],
    *,
    pairs: int,
    seed: int = 0,
    baseline: str | None = None,
    without: Collection[tuple[str, str]] = (),
    with_broken: bool = False,
) -> list[PairKey]:
    """Return the pairs of a round robin, or of everybody against `baseline`, in the order in which they are played.

    Every match-up of every game comes round before the next pair of any, so that what is cut short is balanced. Players
    and games that are broken are left out, unless `with_broken`: a log may have games of theirs. Left out in any case
    are players from the games of `without`, by name and label.

    Raises ValueError for names that are not told apart, or a baseline who has not entered.
    """
    names = [entrant.name for entrant in entrants]
    labels = [entry.label for entry in entries]
    for kind, given in (("players", names), ("games", labels)):
        if twice := {name for name in given if given.count(name) > 1}:
            raise ValueError(f"two {kind} are called {min(twice)!r}; name each once")
    if baseline is not None and baseline not in names:
        raise ValueError(f"the baseline {baseline!r} has not entered; players are {', '.join(names)}")
    if pairs < 1:
        raise ValueError(f"pairs must be 1 or more, not {pairs}")
    able = [entrant.name for entrant in entrants if entrant.agent is not None or with_broken]
    meetings = [(min(two), max(two)) for two in combinations(able, 2) if baseline is None or baseline in two]
    playable = [entry.label for entry in entries if entry.game is not None or with_broken]
    meet = [(label, two) for label in playable for two in meetings if all((name, label) not in without for name in two)]
    return [PairKey(seed, label, *two, number) for number in range(pairs) for label, two in meet]


def tournament(
    entrants: Sequence[Entrant],
    entries: Sequence[Entry],
    keys: Sequence[PairKey],
    *,
    done: Collection[PairKey] = (),
    in_flight: int = 256,
    retries: int = 0,
    down_after: int = DOWN_AFTER,
    in_order: bool = True,
    left: list[Played] | None = None,
) -> Generator[Played]:
    """Play the pairs of a plan and yield each when both of its games are over.

    The two games of a pair have one deal. What a player replies depends on the pair and the seat alone, not on what
    else is played.

    Args:
        entrants: the players.
        entries: the games.
        keys: what is to be played, see `plan`.
        done: what was played before, and is not again.
        in_flight: games at once. It does not change the games.
        retries: illegal replies that a seat may take back in a turn.
        down_after: prompts in a row without anybody reached, after which a player is down: what is left of its games is
            void, and nobody is asked in them.
        in_order: whether a pair waits for those before it in the plan, which may be of longer games.
        left: gets, if this is closed or interrupted, the pairs that are over and were not yielded, and perhaps the last
            one that was.
    """
    players = {e.name: Guarded(e.agent, e.name, down_after) for e in entrants if e.agent is not None}
    games = {e.label: fenced(e.game) for e in entries if e.game is not None}
    over = set(done)
    todo = [key for key in keys if key not in over]
    undealt = _undealt(games, todo)
    yield from (_void_pair(key, undealt[key.game, key.number]) for key in todo if (key.game, key.number) in undealt)
    todo = [key for key in todo if (key.game, key.number) not in undealt]
    verdicts: dict[int, tuple[float, ...]] = {}

    def start(index: int, number: int) -> Lane:
        key, second = todo[index // 2], index % 2
        match, noise = deal(games[key.game], key.seed, key.number, retries, FencedMatch)
        agents = (players[key.one], players[key.other])
        lane = FencedLane(match, agents, index, number, key=mix(mix(noise, salt(key)), second), swapped=bool(second))
        lane.verdicts = verdicts
        if away := next((agent for agent in agents if agent.down), None):
            match.void(f"{away.name}: {away.down}")
        return lane

    def pair(first: Episode, second: Episode) -> Played:
        return Played(todo[first.index // 2], (first, second), (verdicts[first.index], verdicts[second.index]))

    ended: dict[int, Episode] = {}
    episodes = as_they_end(range(2 * len(todo)), start, in_flight, ended)
    yield from _in_pairs(episodes, ended, pair, in_order=in_order, left=left)


def _in_pairs(
    episodes: Generator[Episode],
    ended: Mapping[int, Episode],
    pair: Callable[[Episode, Episode], Played],
    *,
    in_order: bool,
    left: list[Played] | None,
) -> Generator[Played]:
    """Yield the games of `as_they_end` by two; `ended` gets what it leaves, for the rest see `tournament`."""
    halves: dict[int, Episode] = {}
    # By the number of the first game. One stays until the next is asked for, by when the caller has kept it.
    pairs: dict[int, Played] = {}
    due = 0
    try:
        for episode in episodes:
            halves[episode.index] = episode
            first = episode.index - episode.index % 2
            if not {first, first + 1} <= halves.keys():
                continue
            pairs[first] = pair(halves[first], halves[first + 1])
            del halves[first], halves[first + 1]
            while pairs and (not in_order or due in pairs):
                which = due if in_order else first
                yield pairs[which]
                del pairs[which]
                due += 2
    finally:
        episodes.close()
        if left is not None:
            halves |= ended
            both = [first for first in halves if first % 2 == 0 and first + 1 in halves and first not in pairs]
            left += [*pairs.values(), *(pair(halves[first], halves[first + 1]) for first in both)]


def salt(key: PairKey) -> int:
    """Return what sets the choices of a match-up apart from those of another on the same deal.

    Without it alike players would play the same game in every match-up, and what was found once would count often.
    """
    return crc32(f"{key.one}\n{key.other}".encode("utf-8", "surrogatepass"))


def _undealt(games: dict[str, Game[Any]], keys: Sequence[PairKey]) -> dict[tuple[str, int], str]:
    """Return why deals cannot be shown to anybody, by game and number."""
    found: dict[tuple[str, int], str] = {}
    for seed, label, number in dict.fromkeys((key.seed, key.game, key.number) for key in keys):
        try:
            look(deal(games[label], seed, number, 0)[0])
        except Exception as error:  # noqa: BLE001
            found[label, number] = f"{label} broke at the deal: {said(error)}"
    return found


def _void_pair(key: PairKey, why: str) -> Played:
    """Return two games that were never dealt."""
    first, second = (
        Episode(
            game=key.game,
            index=index,
            turns=(),
            rewards=(0.0, 0.0),
            ending=Ending.VOID,
            offender=None,
            players=players,
            seated=(0, 1),
            why=why,
        )
        for index, players in enumerate(((key.one, key.other), (key.other, key.one)))
    )
    return Played(key, (first, second), ((), ()))


class Guarded:
    """A player whose failures are data: what it raises comes back as faults, and replies say how long they took."""

    def __init__(self, agent: Agent, name: str, down_after: int = DOWN_AFTER) -> None:
        self.agent, self.name = agent, name
        self.down = ""
        """Why nobody is asked any more."""
        self._down_after, self._in_a_row = down_after, 0

    def reply(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Return one reply a prompt, in order; a fault where there is none."""
        if self.down:
            return [Reply(text="", fault=self.down, unreached=True)] * len(prompts)
        started = time.perf_counter()
        try:
            replies = _checked(self.agent.reply(prompts), len(prompts))
        except PlayerLeft:
            # A person who leaves ends the tournament, as Ctrl-C does.
            raise
        except Exception as error:  # noqa: BLE001
            # Whatever it is, it is not a move; one prompt must not take the others' games with it.
            if len(prompts) > 1:
                return [reply for prompt in prompts for reply in self.reply([prompt])]
            replies = [Reply(text="", fault=said(error))]
        each = (time.perf_counter() - started) / len(prompts)
        self._note(replies)
        return [replace(reply, seconds=each) for reply in replies]

    def _note(self, replies: Sequence[Reply]) -> None:
        """Notice that nobody is there any more; a fault of one prompt, such as its length, says nothing of that."""
        for reply in replies:
            if not reply.fault:
                self._in_a_row = 0
            elif reply.unreached:
                self._in_a_row += 1
            if self._in_a_row >= self._down_after and not self.down:
                self.down = f"{DOWN} after {self._in_a_row} prompts in a row without an answer: {reply.fault}"


def _checked(replies: Sequence[Reply], count: int) -> list[Reply]:
    """Return replies if they are what the protocol says; anything else could not be written down."""
    if len(replies) != count:
        raise ValueError(f"{len(replies)} replies to {count} prompts")
    for reply in replies:
        if not isinstance(reply, Reply) or not isinstance(reply.text, str):
            raise TypeError(f"a reply must be a Reply with a text, not {type(reply).__name__}")
    return list(replies)


class GuardedJudge:
    """A game's judge whose failures are data: where it raises, or there is none, the verdict is void."""

    def __init__(self, game: Game[Any]) -> None:
        self.game = game
        self.name = "nobody" if game.judge is None else game.judge.name

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case, in order."""
        if self.game.judge is None:
            return [Verdict(void=f"{self.game.name} has no judge; make it with judge=, or set its `judge`")] * len(
                cases
            )
        return decide(self.game.judge, cases)


def fenced(game: Game[Any]) -> Game[Any]:
    """Return the game with its judge guarded; a game that has no cases as it is."""
    if game.judge is None and type(game).case is Game.case:
        return game
    found = copy.copy(game)
    guarded: Judge = GuardedJudge(game)
    found.judge = guarded
    return found


class FencedMatch(Match[Any]):
    """A match that is void where the game breaks on a verdict."""

    __slots__ = ()

    def settle(self, verdict: Verdict) -> None:
        """Go on after a verdict."""
        try:
            super().settle(verdict)
            look(self)
        except Exception as error:  # noqa: BLE001
            spoil(self, error)


def look(match: Match[Any]) -> None:
    """Do all that showing the position takes, so that what breaks there breaks here, where it is one game's alone."""
    if match.seat is not None:
        match.prompt  # noqa: B018
        if match.legal is None:
            match.game.speeches(match.state)


def spoil(match: Match[Any], error: Exception) -> None:
    """End a match because the game itself broke, or take back how it ended."""
    why = f"{match.game.name} broke: {said(error)}"
    if match.ending is None:
        match.void(why)
    match.ending, match.why, match.rewards, match.offender = Ending.VOID, why, (0.0, 0.0), None


class FencedLane(Lane):
    """A game in flight in which what the game itself raises makes it void."""

    __slots__ = ("verdicts",)

    verdicts: dict[int, tuple[float, ...]]
    """Where what judges said goes when the game is over, by the game's number."""

    def take(self, prompt: Prompt, reply: Reply) -> None:
        """Step the game with a reply."""
        try:
            super().take(prompt, reply)
            look(self.match)
        except Exception as error:  # noqa: BLE001
            spoil(self.match, error)
            self.is_stepping = False

    def episode(self) -> Episode:
        """Return the record of the finished game."""
        self.verdicts[self.index] = tuple(verdict.p for verdict in self.match.verdicts)
        try:
            return super().episode()
        except Exception as error:  # noqa: BLE001
            # Its figures cannot be had. Those of a void game are not asked for.
            spoil(self.match, error)
            return super().episode()


def said(error: BaseException) -> str:
    """Return one line about an exception."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
