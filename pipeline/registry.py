"""From a stage's name to its class: built-ins, installed packages, the user's own modules.

The built-in stage ``kind/which`` lies in module ``stages.kind.which``; ``stages.KINDS`` says which kinds there are. Other
packages name theirs as entry points of group ``streamajig.stages`` (``"kind/which" = "package.module:Class"``). A user's own
file is loaded with :func:`load_module`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.hints import did_you_mean, hint
from pipeline.own_packages import BUILT_IN, built_in, check_is_ours
from pipeline.stage import DECLARED

ENTRY_POINTS = "streamajig.stages"


class UnknownStageError(UserError):
    """There is no stage of that name."""


def load(name: str) -> Any:
    """Return the class of stage `name`.

    >>> load("graph/join").stage_name
    'graph/join'
    >>> load("graph/joim")
    Traceback (most recent call last):
    pipeline.registry.UnknownStageError: there is no stage 'graph/joim'; did you mean 'graph/join'?
    """
    if not _import_built_in(name) and name not in DECLARED:
        _import_of_packages(name)
    if name not in DECLARED:
        raise UnknownStageError(f"there is no stage {name!r}" + did_you_mean(name, names()))
    return DECLARED[name]


def exists(name: str) -> bool:
    """Tell whether there is a stage of this name."""
    try:
        load(name)
    except UnknownStageError:
        return False
    return True


OWN_MODULES = "streamajig_user_"
"""How the names of the modules begin that are made of users' files."""

_module_of: dict[bytes, str] = {}
"""The modules of users' files, by what stands in these."""


def names() -> list[str]:
    """Return the names of all stages that can be loaded, sorted. Imports every module in which a stage may lie."""
    for kind, which in _built_in_modules():
        importlib.import_module(f"{BUILT_IN}.{kind}.{which}")
    importlib.import_module("pipeline.composing.join")
    return sorted({*DECLARED, *(point.name for point in _entry_points())})


def listed() -> list[str]:
    """Return the names of all stages but those of modules that users may load, sorted. Imports no stage."""
    built_in = {f"{kind}/{which}" for kind, which in _built_in_modules()}
    return sorted({*built_in, *DECLARED, *(point.name for point in _entry_points()), "graph/join"})


def load_module(path_or_name: str | Path, relative_to: Path | None = None) -> None:
    """Import a user's module so that its stages can be named: a ``.py`` file or an importable module's name."""
    text = str(path_or_name)
    if not text.endswith(".py"):
        with _declaring(text, f"module {text!r}"):
            importlib.import_module(text)
        return
    path = ((relative_to or Path()) / text).resolve()
    if not path.is_file():
        raise UserError(f"there is no file {path} to load stages from")
    if any(getattr(module, "__file__", None) == str(path) for module in list(sys.modules.values())):
        return  # loaded before, by us or by an import
    content = path.read_bytes()
    if _declared_by(_module_of.get(content, "")):
        return  # a copy of one that is loaded: its stages are there
    name = f"{OWN_MODULES}{path.stem}"
    while name in sys.modules:  # a file of the same name in another folder
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, so that its classes can be pickled by name
    with _declaring(name, str(path), path):
        spec.loader.exec_module(module)
    _module_of[content] = name


@contextmanager
def _declaring(name: str, called: str, path: Path | None = None) -> Iterator[None]:
    """While the user's module `name` is imported: what it raises is theirs to mend, and then it has declared nothing."""
    try:
        yield
        for declared in _declared_by(name):
            keep_built_in(declared)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        for declared in _declared_by(name):
            del DECLARED[declared]
        if isinstance(error, UserError):
            raise
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise UserError(f"{called} cannot be imported: {error}") from error
        line = _line_of(error, path)
        raise UserError(
            f"{called}{f':{line}' if line else ''}: it failed while it was loaded: {type(error).__name__}: {error}{hint(error)}"
        ) from error


def keep_built_in(name: str) -> None:
    """Refuse a stage that is declared under the name of a built-in one, or of one of another package; UserError says so."""
    _import_built_in(name)
    _import_of_packages(name)


def declared_in(path: str | Path) -> list[Any]:
    """Return the stage classes of a user's file that has been loaded, in the order in which they stand there."""
    name = _module_of.get(Path(path).read_bytes(), "")
    return [DECLARED[stage] for stage in _declared_by(name)]


def _declared_by(module: str) -> list[str]:
    return [name for name, cls in DECLARED.items() if cls.__module__ == module]


def _line_of(error: BaseException, path: Path | None) -> int | None:
    """The line of a file in which something was raised last."""
    if isinstance(error, SyntaxError):
        return error.lineno if error.filename == str(path) else None
    lines = [step.lineno for step in traceback.extract_tb(error.__traceback__) if step.filename == str(path)]
    return lines[-1] if lines else None


def _import_built_in(name: str) -> bool:
    """Import the module in which the built-in stage of this name is; return whether there is one."""
    importlib.import_module("pipeline.composing.join")
    kind, _, which = name.partition("/")
    is_built_in = (kind, which) in _built_in_modules()
    if is_built_in:
        importlib.import_module(f"{BUILT_IN}.{kind}.{which}")
    return is_built_in


def _import_of_packages(name: str) -> None:
    """Import what installed packages have under this name."""
    for point in _entry_points():
        if point.name == name:
            point.load()


@functools.lru_cache(maxsize=1)
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    """What installed packages have; to ask for it opens a file of each of them."""
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINTS))


@functools.lru_cache(maxsize=1)
def _built_in_modules() -> frozenset[tuple[str, str]]:
    check_is_ours(BUILT_IN)
    return frozenset(
        (kind, module.name)
        for kind in built_in("KINDS")
        for module in pkgutil.iter_modules(importlib.import_module(f"{BUILT_IN}.{kind}").__path__)
        if not module.name.startswith("_")
    )
