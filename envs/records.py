"""Frozen records that travel between processes by the thousand.

Chosen: a record is pickled as the tuple of its values. What `dataclasses` does for frozen ones with slots looks its
fields up anew for each record, which is about a third of the time. Left out: changes of format between versions,
since nothing that is pickled outlives a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def travelling(cls: type[T]) -> type[T]:
    """Let a dataclass with slots and two fields or more be pickled by its values."""
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    setters = [getattr(cls, name).__set__ for name in names]

    def take(self: T, values: Sequence[Any]) -> None:
        for put, value in zip(setters, values, strict=True):
            put(self, value)

    values = attrgetter(*names)
    cls.__getstate__ = lambda self: values(self)  # type: ignore[method-assign]
    cls.__setstate__ = take  # type: ignore[attr-defined]
    return cls
