"""The log of a tournament: a line a pair, on the disk before the next is counted; and games replayed from it.

Chosen: append-only JSON lines, so that a killed run loses at most the line it was writing; prompts are kept as hashes,
because the game, the deal and the replies give them again. A pair that a failure made void may be played again, and
what was played then counts in its place. Left out: anything about who was asked with which key.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sparring.envs import Game, Match, Reply, Verdict

from .episode import Episode
from .play import deal
from .tournament import PairKey, Played

FORMAT = 1


class LogError(ValueError):
    """A log cannot be read, continued or merged; the message says what to do."""


class MatchLog:
    """Appends to one file. Opening it again reads what is there and goes on behind it."""

    def __init__(self, path: str | Path, header: Mapping[str, Any], *, alone: bool = True) -> None:
        """Open or make the file.

        `header` says what was played: "games" and "players" by name, each with whatever makes two of one name the
        same; "versions" and the like may differ between runs. `alone` keeps others from opening the file meanwhile.

        Raises LogError if the file is of other games or players of the same names, or of no tournament, or another
        process is writing it.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8")
        try:
            if alone:
                _lock(self._file, self.path)
            old, self.records, whole = _read(self.path)
            check_same([*old, header], str(path))
        except BaseException:
            self._file.close()
            raise
        if self.path.stat().st_size > whole:
            # The line that a kill cut short.
            os.truncate(self.path, whole)
        self.headers = [*old, {"format": FORMAT, **header}]
        """Of all runs that wrote the file, this one's last."""
        self._digest = header_digest(self.headers[-1])
        self._write(self.headers[-1])

    @property
    def done(self) -> dict[PairKey, dict[str, Any]]:
        """The pairs of which no game is void: what need not be played again."""
        return {key: record for key, record in self.records.items() if not is_void(record)}

    def add(self, played: Played, *, retries: int = 0) -> None:
        """Write a pair; returns when it is on the disk.

        A pair that is in already is not written again, unless it was void and now says more.
        """
        record = pair_record(played, retries=retries, header=self._digest)
        known = self.records.get(played.key)
        if known is not None and not _supersedes(record, known):
            return
        try:
            self._write(record)
        except KeyboardInterrupt:
            # It comes while the disk is waited for: the line is in the file, or will be when that is closed.
            self.records[played.key] = record
            raise
        self.records[played.key] = record

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=True) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _lock(file: IO[str], path: Path) -> None:
    """Keep other processes from writing the file until it is closed, or raise LogError if one is."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LogError(
            f"{path} is being written by another process; wait until that is done, or take another file (--out)"
        ) from error
    except OSError:
        # A file system that knows no locks is no reason not to play.
        return


def merge(paths: Iterable[str | Path]) -> tuple[list[dict[str, Any]], dict[PairKey, dict[str, Any]]]:
    """Return the headers and the pairs of several logs, each pair once; one that was played, before one that was void.

    Raises LogError if they speak of different games or players by one name, or tell one pair in two ways.
    """
    headers: list[dict[str, Any]] = []
    records: dict[PairKey, dict[str, Any]] = {}
    for path in paths:
        found, more, _ = _read(Path(path))
        headers += found
        check_same(headers, str(path))
        for key, record in more.items():
            known = records.setdefault(key, record)
            if _supersedes(record, known):
                records[key] = record
            elif not (is_void(record) or is_void(known)) and _outcome(known) != _outcome(record):
                raise LogError(
                    f"{path} has another result of {called(key)}: a player is not the same; name it otherwise, "
                    "or give the run another seed"
                )
    return headers, records


def who_played(path: Path) -> set[tuple[str, str]]:
    """Return who has played which game to its end, by name and label, as far as a log says; none if there is no log."""
    if not path.exists():
        return set()
    records = merge([path])[1]
    return {(name, key.game) for key, r in records.items() if not is_void(r) for name in (key.one, key.other)}


def check_same(headers: Iterable[Mapping[str, Any]], where: str) -> None:
    """Refuse headers that mean different things by one name; what only one of them says is no difference."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for header in headers:
        for kind in ("games", "players"):
            for name, about in header.get(kind, {}).items():
                before = known.setdefault((kind, name), {})
                if any(before[key] != about[key] for key in before.keys() & about.keys()):
                    raise LogError(
                        f"{where}: {name!r} is not the same as before ({before} then, {about} now); "
                        "take another file, or another name"
                    )
                before.update(about)


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[PairKey, dict[str, Any]], int]:
    """Return headers, pairs, and how many bytes hold whole lines."""
    headers: list[dict[str, Any]] = []
    records: dict[PairKey, dict[str, Any]] = {}
    whole = 0
    data = path.read_bytes()
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        try:
            record = json.loads(line)
            if not line.endswith(b"\n"):
                raise ValueError("no end of line")
            if "format" in record:
                headers.append(_checked(record, path))
            else:
                key = PairKey(*record["pair"])
                if headers and "header" not in record:
                    # A log of before each record said it.
                    record["header"] = header_digest(headers[-1])
                if key not in records or _supersedes(record, records[key]):
                    records[key] = record
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, LogError):
                raise
            if whole + len(line) == len(data):
                break
            raise LogError(
                f"{path}, line {number} is damaged ({error}); remove that line, or take another file"
            ) from error
        whole += len(line)
    if not headers and records:
        raise LogError(f"{path} has no header; it is no log of a tournament")
    return headers, records, whole


def _checked(header: dict[str, Any], path: Path) -> dict[str, Any]:
    if header["format"] != FORMAT:
        raise LogError(f"{path} has format {header['format']}, and this version reads {FORMAT}; take another file")
    return header


def is_void(record: Mapping[str, Any]) -> bool:
    """Whether a game of a pair is void, so that the pair is to be played again."""
    return any(game["ending"] == "void" for game in record["games"])


def _supersedes(record: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a record of a pair counts in place of the one that is known: because fewer of its games are void.

    Of two with as many, what was played decides, and not which was read first, so that logs merge in any order.
    """
    if not is_void(known):
        return False
    new, old = (sum(game["ending"] == "void" for game in r["games"]) for r in (record, known))
    return new < old or (new == old and json.dumps(_outcome(record)) < json.dumps(_outcome(known)))


def _outcome(record: Mapping[str, Any]) -> list[Any]:
    return [(game["rewards"], game["ending"], game["offender"]) for game in record["games"]]


def header_digest(header: Mapping[str, Any]) -> str:
    """Return the first 8 hexadecimal digits of the SHA-256 of a header: how a record says with what it was played."""
    return hashlib.sha256(json.dumps({"format": FORMAT, **header}, sort_keys=True).encode()).hexdigest()[:8]


def pair_record(played: Played, *, retries: int = 0, header: str = "") -> dict[str, Any]:
    """Return a pair as plain data; `header` is the digest of the header that it was played under."""
    games = [_game_record(e, v) for e, v in zip(played.episodes, played.verdicts, strict=True)]
    about = {"header": header} if header else {}
    return {"pair": list(played.key), **about, "retries": retries, "games": games}


def _game_record(episode: Episode, verdicts: tuple[float, ...]) -> dict[str, Any]:
    return {
        "players": episode.players,
        "rewards": episode.rewards,
        "ending": episode.ending.value,
        "offender": episode.offender,
        "why": episode.why,
        "figures": dict(episode.figures),
        "verdicts": verdicts,
        "turns": [
            {
                "seat": turn.seat,
                "prompt": prompt_hash(turn.prompt),
                "reply": turn.reply.text,
                "problem": turn.problem and turn.problem.value,
                **_tokens(turn.reply),
                "seconds": round(turn.reply.seconds, 6),
            }
            for turn in episode.turns
        ],
    }


def _tokens(reply: Reply) -> dict[str, Any]:
    """Return what is known of a reply's tokens: as a server counted them, or as they were sampled here."""
    asked, replied = reply.tokens or (len(reply.prompt_ids) or None, len(reply.ids) or None)
    return {"prompt_tokens": asked, "tokens": replied, "cut_off": reply.cut_off}


def prompt_hash(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a prompt."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def replay(record: Mapping[str, Any], which: int, game: Game[Any]) -> list[tuple[int, str, str]]:
    """Play one game of a recorded pair again; returns (seat, prompt, reply) of every turn.

    Raises LogError at the first prompt, or the end, that is not as it was: the game or its wording has changed since.
    """
    return [(turn["seat"], match.prompt, turn["reply"]) for match, turn in replayed(record, which, game)]


def replayed(record: Mapping[str, Any], which: int, game: Game[Any]) -> Iterator[tuple[Match[Any], Mapping[str, Any]]]:
    """Play one game of a recorded pair again; yields it before each turn, with what was recorded of that. Raises as
    `replay`.
    """
    key, told = PairKey(*record["pair"]), record["games"][which]
    if told["ending"] == "void" and not told["turns"]:
        # It may have broken at the deal, and would again.
        return
    match, _ = deal(game, key.seed, key.number, record["retries"])
    verdicts = iter(told["verdicts"])
    for number, turn in enumerate(told["turns"]):
        _settle(match, verdicts)
        if match.seat != turn["seat"] or prompt_hash(match.prompt) != turn["prompt"]:
            raise LogError(f"turn {number} of {called(key)} is not as it was recorded: {game.name} has changed since")
        yield match, turn
        match.step(turn["reply"])
    if told["ending"] == "void":
        # What ended it, a fault or a break, is no turn that could be played again.
        return
    _settle(match, verdicts)
    ended = None if match.ending is None else match.ending.value
    if (ended, list(match.rewards)) != (told["ending"], list(told["rewards"])):
        raise LogError(f"{called(key)} ended otherwise than recorded: {game.name} has changed since")


def called(key: PairKey) -> str:
    """Return a pair in words."""
    return f"pair {key.number} of {key.one} against {key.other} in {key.game}, seed {key.seed}"


def _settle(match: Match[Any], verdicts: Any) -> None:
    while match.case is not None:
        p = next(verdicts, None)
        match.settle(Verdict(void="no verdict was recorded") if p is None else Verdict(p=p))
