"""Games by name. One `register` gives a game its Gymnasium id and its PettingZoo id as well."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from .game import Game, near


@dataclass(frozen=True, slots=True)
class GameSpec:
    """How to build a registered game."""

    id: str
    entry_point: str | type[Game[Any]]
    """The class, or where to import it from, as `module:Class`."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Constructor arguments unless `make` is given others."""


@dataclass(frozen=True, slots=True)
class Family:
    """Games of another library, which are known to it by name: `make("open_spiel/kuhn_poker")`."""

    prefix: str
    entry_point: str
    """Where to import the class from, as `module:Class`. Its first argument is the game's name in that library; its
    class method `names()` lists those that work."""
    package: str
    """What must be importable."""
    extra: str
    """What installs it: `pip install 'sparring[extra]'`."""


_SPECS: dict[str, GameSpec] = {}
_FAMILIES: dict[str, Family] = {}


def register(id: str, entry_point: str | type[Game[Any]], **kwargs: Any) -> None:
    """Register a game under `id`, for instance `"MyGame-v0"`.

    It is then known to `make`, to Gymnasium as `sparring/<id>` and to PettingZoo as `sparring/<id>`. Registering the
    same entry point again is allowed; another one under a taken id raises ValueError.
    """
    spec = GameSpec(id, entry_point, kwargs)
    old = _SPECS.get(id)
    if old is not None and _origin(old.entry_point) != _origin(entry_point):
        raise ValueError(f"{id!r} is already registered for {old.entry_point}; choose another id or version")
    _SPECS[id] = spec
    if old is None:
        from .views import register_views

        register_views(id)


def register_family(prefix: str, entry_point: str, *, package: str, extra: str) -> None:
    """Make the games of another library known as `prefix/name`. Nothing is imported before one is made."""
    _FAMILIES[prefix] = Family(prefix, entry_point, package, extra)


def make(id: str, *, show_legal: bool | None = None, **kwargs: Any) -> Game[Any]:
    """Build a game.

    Args:
        id: a registered id, or `path/to/file.py:Class`, or `module:Class`, or `family/name` of another library's game.
        show_legal: whether prompts list the legal moves; None keeps the game's own setting.
        kwargs: the game's own settings, for instance `skin="obfuscated"`.

    Raises ValueError for an unknown id (naming the near one) and for an unknown setting, ImportError saying what to
    install where another library is missing.
    """
    family, _, name = id.partition("/")
    if family in _FAMILIES and id not in _SPECS and ":" not in id:
        return _made(_member(_FAMILIES[family], name, kwargs), id, show_legal)
    spec = _SPECS.get(id) or (GameSpec(id, id) if ":" in id else None)
    if spec is None and id.endswith(".py"):
        raise ValueError(f"{id!r} names a file; name the game in it too, as {id}:MyGame")
    if spec is None:
        raise ValueError(f"unknown game {id!r}.{near(id, [*_SPECS, *(f'{prefix}/...' for prefix in _FAMILIES)])}")
    cls = _load(spec.entry_point)
    settings = _named(cls, {**spec.kwargs, **kwargs})
    _check_settings(cls, id, settings)
    return _made(cls(**settings), id if id in _SPECS else cls.__name__, show_legal)


def _named(cls: type[Game[Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out the skin "plain" where a game has no other, and so no setting for it."""
    if settings.get("skin") == "plain" and "skin" not in inspect.signature(cls).parameters:
        return {name: value for name, value in settings.items() if name != "skin"}
    return settings


def _made(game: Game[Any], name: str, show_legal: bool | None) -> Game[Any]:
    game.name = name
    if show_legal is not None:
        game.show_legal = show_legal
    return game


def _member(family: Family, name: str, settings: dict[str, Any]) -> Game[Any]:
    """Return a game of another library."""
    cls: Any = _load(_installed(family).entry_point)
    _check_settings(cls, f"{family.prefix}/{name}", settings)
    game: Game[Any] = cls(name, **settings)
    return game


def _installed(family: Family) -> Family:
    if importlib.util.find_spec(family.package) is None:
        raise ImportError(
            f"the games of {family.prefix} need {family.package}; install it: pip install 'sparring[{family.extra}]'"
        )
    return family


def list_games(family: str | None = None) -> list[str]:
    """Return the registered ids, sorted, or the ids of the games of another library that work here.

    Raises ValueError for a family that is not known, ImportError where its library is missing.
    """
    if family is None:
        return sorted(_SPECS)
    if family not in _FAMILIES:
        raise ValueError(f"unknown family {family!r}.{near(family, _FAMILIES)}")
    cls: Any = _load(_installed(_FAMILIES[family]).entry_point)
    return [f"{family}/{name}" for name in sorted(cls.names())]


def own_games() -> list[str]:
    """Return the ids of this package's own games, sorted: those that no user registered."""
    return [id for id in list_games() if str(_SPECS[id].entry_point).startswith("sparring.envs.")]


def read_options(words: Iterable[str]) -> dict[str, Any]:
    """Read a game's settings from a command line: `["dice=2", "heaps=[3, 4]"]`.

    >>> read_options(["dice=2", "heaps=[3, 4]", "hidden_bids=true", "points_order=random"])
    {'dice': 2, 'heaps': (3, 4), 'hidden_bids': True, 'points_order': 'random'}

    Raises ValueError for a word that is not name=value.
    """
    options: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise ValueError(f"{word!r} is no setting of a game; write name=value")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        options[name] = tuple(value) if isinstance(value, list) else value
    return options


def default_settings(id: str) -> dict[str, Any]:
    """Return the settings that `make` gives a game where none is named. Raises as `make`."""
    family, _, _ = id.partition("/")
    if family in _FAMILIES and id not in _SPECS and ":" not in id:
        return _defaults(_load(_installed(_FAMILIES[family]).entry_point))
    spec = _SPECS.get(id) or GameSpec(id, id)
    return _defaults(_load(spec.entry_point)) | spec.kwargs


def _defaults(cls: type[Game[Any]]) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def library_of(id: str) -> str | None:
    """Return the distribution whose game this is, or None if it is no other library's."""
    prefix, slash, _ = id.partition("/")
    return _FAMILIES[prefix].extra if slash and prefix in _FAMILIES and ":" not in id else None


def _origin(entry_point: str | type[Game[Any]]) -> str:
    if isinstance(entry_point, str):
        return entry_point
    return f"{inspect.getsourcefile(entry_point)}:{entry_point.__qualname__}"


def _load(entry_point: str | type[Game[Any]]) -> type[Game[Any]]:
    if not isinstance(entry_point, str):
        return entry_point
    module_name, _, attribute = entry_point.rpartition(":")
    module = load_module(module_name)
    found = getattr(module, attribute, None)
    if not (isinstance(found, type) and issubclass(found, Game)):
        games = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Game)]
        raise ValueError(f"{module_name} has no game class {attribute!r}.{near(attribute, games)}")
    return found


def load_module(name: str) -> Any:
    """Return a module by its name, or by the path of its file if that ends in .py."""
    return _load_file(name) if name.endswith(".py") else importlib.import_module(name)


def _load_file(path: str) -> Any:
    file = Path(path).resolve()
    if not file.is_file():
        raise ValueError(f"no such file: {path}")
    # A name of its own, findable by pickle, and the same however often the file is named.
    name = f"sparring_user_{file.stem}_{crc32(str(file).encode()):08x}"
    old = sys.modules.get(name)
    if old is not None and getattr(old, "__file__", None) == str(file):
        return old
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        # Else the next call would take the broken half for the file.
        del sys.modules[name]
        raise
    return module


def _check_settings(cls: type[Game[Any]], id: str, settings: dict[str, Any]) -> None:
    if inspect.isabstract(cls):
        raise ValueError(f"{cls.__name__} is not a whole game; define {', '.join(sorted(cls.__abstractmethods__))}")
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in settings:
        if key not in parameters:
            known = [*parameters, "show_legal"]
            raise ValueError(f"{id} has no setting {key!r}.{near(key, known)}")
