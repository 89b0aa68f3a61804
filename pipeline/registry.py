"""From a stage's name to its class: built-ins, installed packages, the user's own modules.

The built-in stage ``kind/which`` lies in module ``stages.kind.which``; ``stages.KINDS`` says which kinds there are. Other
packages name theirs as entry points of group ``streamajig.stages`` (``"kind/which" = "package.module:Class"``). A user's own
file is loaded with :func:`load_module`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.stage import DECLARED

ENTRY_POINTS = "streamajig.stages"
_BUILT_IN_PACKAGE = "stages"


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
    if name not in DECLARED:
        _import_for(name)
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


def names() -> list[str]:
    """Return the names of all stages that can be loaded, sorted. Imports every module in which a stage may lie."""
    for kind, which in _built_in_modules():
        importlib.import_module(f"{_BUILT_IN_PACKAGE}.{kind}.{which}")
    importlib.import_module("pipeline.join")
    return sorted({*DECLARED, *(point.name for point in _entry_points())})


def load_module(path_or_name: str | Path, relative_to: Path | None = None) -> None:
    """Import a user's module so that its stages can be named: a ``.py`` file or an importable module's name."""
    text = str(path_or_name)
    if not text.endswith(".py"):
        try:
            importlib.import_module(text)
        except ImportError as error:
            raise UserError(f"module {text!r} cannot be imported: {error}") from error
        return
    path = ((relative_to or Path()) / text).resolve()
    if not path.is_file():
        raise UserError(f"there is no file {path} to load stages from")
    if any(getattr(module, "__file__", None) == str(path) for module in list(sys.modules.values())):
        return  # loaded before, by us or by an import
    name = f"streamajig_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, so that its classes can be pickled by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's module raises is the user's to mend, not a crash of ours
        del sys.modules[name]
        raise UserError(f"{path} failed while it was loaded: {type(error).__name__}: {error}") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` where something known is close, else what is known.

    >>> did_you_mean("treshold", ["threshold", "min_snr"])
    "; did you mean 'threshold'?"
    >>> did_you_mean("zzz", ["threshold", "min_snr"])
    '; there are: min_snr, threshold'
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; there are: " + ", ".join(known) if known else ""


def _import_for(name: str) -> None:
    """Import the module in which the stage of this name should be, if there is one."""
    importlib.import_module("pipeline.join")
    kind, _, which = name.partition("/")
    if (kind, which) in set(_built_in_modules()):
        importlib.import_module(f"{_BUILT_IN_PACKAGE}.{kind}.{which}")
        return
    for point in _entry_points():
        if point.name == name:
            point.load()


def _entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def _built_in_modules() -> Iterable[tuple[str, str]]:
    for kind in importlib.import_module(_BUILT_IN_PACKAGE).KINDS:
        found = importlib.util.find_spec(f"{_BUILT_IN_PACKAGE}.{kind}")
        for module in pkgutil.iter_modules(found.submodule_search_locations if found else None):
            if not module.name.startswith("_"):
                yield kind, module.name
