"""How long to wait before a request is sent again.

Chosen: exponential backoff with full jitter (a uniform share of a bound that doubles), drawn from the prompt's noise,
so that many that failed together do not come back together and no random state is kept; on top of what the server
asked for. Left out: a budget of retries that all requests share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .agent import mix, uniform

_JITTER = 0x6A69747465720000
"""What sets the stream of waits apart from that of replies."""


def pause(attempt: int, key: int, *, first: float = 0.5, most: float = 30.0) -> float:
    """Return the seconds to wait after the try of number `attempt`, from 0, of a request whose noise is `key`.

    >>> pause(0, 7) < 0.5, pause(9, 7) < 30.0, pause(3, 7) == pause(3, 7), pause(3, 7) == pause(3, 8)
    (True, True, True, False)
    """
    return uniform(mix(key ^ _JITTER, 0), attempt) * min(most, first * 2.0 ** min(attempt, 60))


def read_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a server asks to wait, None where it does not say or says what cannot be.

    A date is counted from the server's own, where it gives that: the two clocks may differ.

    >>> read_retry_after({"retry-after": "20"}), read_retry_after({"retry-after": "soon"})
    (20.0, None)
    """
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    if (seconds := _seconds(said)) is not None:
        return seconds
    until = _date(said)
    if until is None:
        return None
    since = _date(headers.get("date", "")) or now or datetime.now(UTC)
    return max(0.0, (until - since).total_seconds())


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
